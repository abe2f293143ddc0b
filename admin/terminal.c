#include "admin/terminal.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

static const char enter_text[] = "\x1b[?1049h\x1b[?25l";
static const char leave_text[] = "\x1b[0m\x1b[?25h\x1b[?1049l";

/* There is one terminal, and the handlers of signals have no argument. */
static struct {
    volatile sig_atomic_t entered;
    struct termios before;
} terminal;

static const int ending[] = {SIGINT,  SIGTERM, SIGHUP, SIGQUIT, SIGABRT,
                             SIGSEGV, SIGBUS,  SIGFPE, SIGILL,  SIGPIPE};
enum { ENDING = sizeof(ending) / sizeof(ending[0]) };
static struct sigaction formerly[ENDING];

/* Only what may be called in a handler. */
void terminal_leave(void)
{
    if (!terminal.entered)
        return;
    terminal.entered = 0;
    ssize_t ignored = write(STDOUT_FILENO, leave_text, sizeof(leave_text) - 1);
    (void)ignored;
    tcsetattr(STDIN_FILENO, TCSAFLUSH, &terminal.before);
}

/* The process then ends as it would have: by the same signal. */
static void on_ending(int number)
{
    terminal_leave();
    for (size_t i = 0; i < ENDING; i++) {
        if (ending[i] == number)
            sigaction(number, &formerly[i], NULL);
    }
    raise(number);
}

static void catch_ending(void)
{
    struct sigaction action = {.sa_handler = on_ending};
    static bool caught;

    if (caught)
        return;
    caught = true;
    sigemptyset(&action.sa_mask);
    for (size_t i = 0; i < ENDING; i++) {
        sigaction(ending[i], &action, &formerly[i]);
        /* The clerks' sessions ignore it, and would again. */
        if (formerly[i].sa_handler == SIG_IGN)
            sigaction(ending[i], &formerly[i], NULL);
    }
}

bool terminal_is_here(void)
{
    const char *kind = getenv("TERM");

    return isatty(STDIN_FILENO) && isatty(STDOUT_FILENO) && kind != NULL && kind[0] != '\0' &&
           strcmp(kind, "dumb") != 0;
}

bool terminal_wants_colour(void)
{
    const char *without = getenv("NO_COLOR");
    return without == NULL || without[0] == '\0';
}

bool terminal_enter(void)
{
    struct termios keys;

    if (tcgetattr(STDIN_FILENO, &terminal.before) != 0)
        return false;
    keys = terminal.before;
    keys.c_lflag &= ~(tcflag_t)(ICANON | ECHO); /* signals of keys stay */
    keys.c_cc[VMIN] = 1;
    keys.c_cc[VTIME] = 0;
    catch_ending();
    terminal.entered = 1;
    if (tcsetattr(STDIN_FILENO, TCSAFLUSH, &keys) != 0 ||
        write(STDOUT_FILENO, enter_text, sizeof(enter_text) - 1) < 0) {
        terminal_leave();
        return false;
    }
    return true;
}

void terminal_size(size_t *columns, size_t *rows)
{
    struct winsize size;

    *columns = 80;
    *rows = 24;
    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col >= 20 && size.ws_row >= 5) {
        *columns = size.ws_col;
        *rows = size.ws_row;
    }
}
