#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "admin/commands.h"
#include "base/secret.h"

enum {
    MIN_CHARACTERS = 12,
    MAX_BYTES = 1024,
    OPERATIONS = 3,
    MEMORY_BYTES = 64 * 1024 * 1024,
};

static int fail(int exit_code, const char *text)
{
    fprintf(stderr, "fedpush: password: %s\n", text);
    return exit_code;
}

/* One line of standard input without its end, into a buffer of MAX_BYTES + 2. */
static bool read_line(char *line)
{
    if (fgets(line, MAX_BYTES + 2, stdin) == NULL)
        return false;
    size_t len = strcspn(line, "\r\n");
    bool whole = len <= MAX_BYTES;
    line[len] = '\0';
    return whole;
}

/* From the terminal, which shows nothing of it. */
static bool ask(const char *prompt, char *line)
{
    struct termios before;
    struct termios silent;
    sigset_t interrupts;
    sigset_t others;
    bool known = tcgetattr(STDIN_FILENO, &before) == 0;

    fputs(prompt, stderr);
    /* Ctrl-C must not leave the terminal silent: it takes effect afterwards. */
    sigemptyset(&interrupts);
    sigaddset(&interrupts, SIGINT);
    sigaddset(&interrupts, SIGTSTP);
    sigprocmask(SIG_BLOCK, &interrupts, &others);
    silent = before;
    silent.c_lflag &= ~(tcflag_t)ECHO;
    bool good = known && tcsetattr(STDIN_FILENO, TCSAFLUSH, &silent) == 0 && read_line(line);
    if (known)
        tcsetattr(STDIN_FILENO, TCSAFLUSH, &before);
    sigprocmask(SIG_SETMASK, &others, NULL);
    fputc('\n', stderr);
    return good;
}

/* Characters, not bytes: the further bytes of one in UTF-8 aren't counted. */
static size_t characters(const char *text)
{
    size_t count = 0;

    for (; *text != '\0'; text++)
        count += ((unsigned char)*text & 0xc0) != 0x80;
    return count;
}

static int print_hash(const char *password)
{
    char hash[crypto_pwhash_STRBYTES];

    if (characters(password) < MIN_CHARACTERS)
        return fail(FP_EXIT_FAILURE, "it needs twelve characters: three words will do");
    if (crypto_pwhash_str_alg(hash, password, strlen(password), OPERATIONS, MEMORY_BYTES,
                              crypto_pwhash_ALG_ARGON2ID13) != 0)
        return fail(FP_EXIT_OS, "64 MiB of memory are not to be had");
    /* The quotes keep what reads the file from taking $argon2id for a variable. */
    printf("FEDPUSH_ADMIN_PASSWORD_HASH='%s'\n", hash);
    return FP_EXIT_OK;
}

int command_password(int argc)
{
    char password[MAX_BYTES + 2] = "";
    char again[MAX_BYTES + 2] = "";
    bool terminal = isatty(STDIN_FILENO) == 1;
    int exit_code;

    if (argc > 0)
        return fail(FP_EXIT_USAGE, "it takes no arguments: it asks");
    bool good =
        terminal ? ask("Password: ", password) && ask("Again: ", again) : read_line(password);
    if (!good)
        exit_code = fail(FP_EXIT_FAILURE, "none was given, or one longer than 1,024 bytes");
    else if (terminal && strcmp(password, again) != 0)
        exit_code = fail(FP_EXIT_FAILURE, "these are two different ones");
    else
        exit_code = print_hash(password);
    secret_wipe(password, sizeof(password));
    secret_wipe(again, sizeof(again));
    return exit_code;
}
