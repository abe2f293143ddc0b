#include "base/secret.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define BUILT_WITH_ASAN 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__)
#define BUILT_WITH_ASAN 1
#endif

#ifdef BUILT_WITH_ASAN
#include <sanitizer/lsan_interface.h>

/* LeakSanitizer looks at a process through ptrace, which a hardened process forbids: its check at
 * exit would then end the process with an error. What isn't hardened (unit tests) is checked. */
int __lsan_is_turned_off(void)
{
    return prctl(PR_GET_DUMPABLE) == 0;
}
#endif

void secret_wipe(void *bytes, size_t len)
{
    if (bytes != NULL && len > 0)
        OPENSSL_cleanse(bytes, len);
}

void secret_free(char *text)
{
    if (text == NULL)
        return;
    secret_wipe(text, strlen(text));
    free(text);
}

void secret_buf_init(struct buf *b, size_t max_bytes)
{
    buf_init(b, max_bytes);
    b->capacity_bytes = max_bytes + 1;
    b->ptr = mem_alloc(b->capacity_bytes);
}

void secret_buf_clear(struct buf *b)
{
    secret_wipe(b->ptr, b->capacity_bytes);
    buf_clear(b);
}

void process_harden(void)
{
    const struct rlimit no_core = {0, 0};

    if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) == -1 || setrlimit(RLIMIT_CORE, &no_core) == -1 ||
        prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == -1)
        abort();
}

void process_bind_to_parent(int parent_pid)
{
    if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) == -1)
        abort();
    /* It may have ended before the signal was asked for. */
    if (getppid() != (pid_t)parent_pid)
        _exit(FP_EXIT_UNAVAILABLE);
}

/* The kernel shows what stands where argv and environ stood at the start: there is one such area
 * in a process. */
static struct {
    char *start;
    size_t len;
} title_area;

/* The end of the strings that follow `end` without a gap. */
static char *extend(char *end, char *const strings[])
{
    for (size_t i = 0; strings[i] != NULL; i++) {
        if (strings[i] == end)
            end += strlen(strings[i]) + 1;
    }
    return end;
}

void process_title_init(int argc, char **argv)
{
    size_t env_count = 0;

    if (argc < 1 || title_area.start != NULL)
        return;
    char *end = extend(extend(argv[0], argv), environ);
    while (environ[env_count] != NULL)
        env_count++;
    char **copy = mem_alloc((env_count + 1) * sizeof(*copy));
    for (size_t i = 0; i < env_count; i++)
        copy[i] = str_dup(str_of(environ[i]));
    environ = copy;
    title_area.start = argv[0];
    title_area.len = (size_t)(end - argv[0]);
    for (int i = 0; i < argc; i++)
        argv[i] = str_dup(str_of(argv[i]));
}

void process_title(const char *format, ...)
{
    va_list args;

    if (title_area.len == 0)
        return;
    /* The rest is blanked too: the environment that stood there may hold passwords. */
    secret_wipe(title_area.start, title_area.len);
    va_start(args, format);
    vsnprintf(title_area.start, title_area.len, format, args);
    va_end(args);
}

bool process_lock_memory(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_MEMLOCK, &limit) == -1)
        return false;
    if (limit.rlim_max != RLIM_INFINITY) {
        /* MCL_FUTURE under a finite limit would let a later allocation fail, whenever that is. */
        errno = ENOMEM;
        return false;
    }
    limit.rlim_cur = limit.rlim_max;
    return setrlimit(RLIMIT_MEMLOCK, &limit) == 0 && mlockall(MCL_CURRENT | MCL_FUTURE) == 0;
}
