#include "worker/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

static const char *const inherited[] = {
    "JOURNAL_STREAM",
#ifdef FEDPUSH_FAULTS
    "ASAN_OPTIONS",
    "UBSAN_OPTIONS",
    "LSAN_OPTIONS",
#endif
};
enum { INHERITED_COUNT = sizeof(inherited) / sizeof(inherited[0]), FIXED_COUNT = 2 };

/* Everything the child needs is made before the fork. */
struct image {
    char path_variable[sizeof("PATH=/usr/local/bin:/usr/bin:/bin")];
    char lang_variable[sizeof("LANG=C")];
    char name[16];
    char role[32];
    char index[16];
    char *arguments[5];
    char *environment[FIXED_COUNT + INHERITED_COUNT + 1];
    pid_t parent;
};

static void image_init(struct image *image, enum role role, unsigned index)
{
    char **variable = image->environment;

    *image = (struct image){.path_variable = "PATH=/usr/local/bin:/usr/bin:/bin",
                            .lang_variable = "LANG=C",
                            .name = "fedpush",
                            .parent = getpid()};
    snprintf(image->role, sizeof(image->role), "%s", role_names[role]);
    snprintf(image->index, sizeof(image->index), "%u", index);
    static char word[] = "role";
    char *arguments[] = {image->name, word, image->role, image->index, NULL};
    memcpy(image->arguments, arguments, sizeof(arguments));
    *variable++ = image->path_variable;
    *variable++ = image->lang_variable;
    for (size_t i = 0; i < INHERITED_COUNT; i++) {
        const char *value = getenv(inherited[i]);
        if (value != NULL)
            *variable++ = mem_printf("%s=%s", inherited[i], value);
    }
    *variable = NULL;
}

static void image_clear(struct image *image)
{
    for (char **variable = image->environment + FIXED_COUNT; *variable != NULL; variable++)
        free(*variable);
}

static bool place_descriptors(int control_fd)
{
    if (control_fd == CONTROL_FD) {
        if (fcntl(CONTROL_FD, F_SETFD, 0) == -1)
            return false;
    } else if (dup2(control_fd, CONTROL_FD) == -1) {
        return false;
    }
    return close_range(CONTROL_FD + 1, ~0U, 0) == 0;
}

static void default_signals(void)
{
    struct sigaction action = {.sa_handler = SIG_DFL};
    sigset_t none;

    for (int number = 1; number < NSIG; number++)
        sigaction(number, &action, NULL); /* refused for SIGKILL and SIGSTOP */
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

FP_NORETURN static void become_role(const struct image *image, int control_fd)
{
    static const char failed[] = "level=error role=supervisor msg=\"a role can't be executed; is "
                                 "/proc mounted, and the binary executable for this user?\"\n";

    default_signals();
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != image->parent)
        _exit(FP_EXIT_OK);
    if (place_descriptors(control_fd))
        execve("/proc/self/exe", image->arguments, image->environment);
    ssize_t ignored = write(STDERR_FILENO, failed, sizeof(failed) - 1);
    (void)ignored;
    _exit(FP_EXIT_OS);
}

enum fp_err spawn_role(enum role role, unsigned index, struct spawned *spawned, struct err *err)
{
    struct image image;
    int ends[2];

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) == -1)
        return err_set(err, FP_SYSTEM, "no control socket for the %s: %s", role_names[role],
                       strerror(errno));
    image_init(&image, role, index);
    pid_t pid = fork();
    if (pid == 0)
        become_role(&image, ends[1]);
    int fork_errno = errno;
    image_clear(&image);
    close(ends[1]);
    if (pid == -1) {
        close(ends[0]);
        return err_set(err, FP_SYSTEM, "no process for the %s: %s", role_names[role],
                       strerror(fork_errno));
    }
    *spawned = (struct spawned){pid, ends[0]};
    return FP_OK;
}

enum fp_err spawn_channel(int ends[2], struct err *err)
{
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) == -1)
        return err_set(err, FP_SYSTEM, "no channel between two roles: %s", strerror(errno));
    return FP_OK;
}

static void raise_limit(int resource)
{
    struct rlimit limit;

    if (getrlimit((__rlimit_resource_t)resource, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit((__rlimit_resource_t)resource, &limit);
    }
}

void spawn_prepare(void)
{
    int fd;

    do
        fd = open("/dev/null", O_RDWR);
    while (fd >= 0 && fd <= STDERR_FILENO);
    if (fd > STDERR_FILENO)
        close(fd);
    raise_limit(RLIMIT_NOFILE);
    raise_limit(RLIMIT_MEMLOCK);
}
