#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/secret.h"

enum { LIMIT_S = 10 };

static void wiping_leaves_zeros(void **state)
{
    char bytes[] = "hidden";
    static const char zeros[sizeof(bytes)];
    (void)state;

    secret_wipe(bytes, 3);
    assert_memory_equal(bytes, "\0\0\0den", 6);
    secret_wipe(bytes, sizeof(bytes));
    assert_memory_equal(bytes, zeros, sizeof(bytes));
    secret_wipe(NULL, 0);
    secret_free(NULL);
    secret_free(str_dup(STR("hidden")));
}

static void a_secret_buffer_never_moves(void **state)
{
    struct buf b;
    (void)state;

    secret_buf_init(&b, 1000);
    const char *start = b.ptr;
    for (int i = 0; i < 1000; i++)
        buf_put_char(&b, 'x');
    assert_false(b.overflow);
    assert_string_equal(buf_cstr(&b) + 998, "xx");
    assert_ptr_equal(b.ptr, start);
    buf_put_char(&b, 'x');
    assert_true(b.overflow);
    assert_ptr_equal(b.ptr, start);
    secret_buf_clear(&b);
    assert_null(b.ptr);
}

/* ---- processes: each in a child, which tells the result as its exit code ---- */

static int exit_code(pid_t pid)
{
    int status;

    alarm(LIMIT_S); /* a child that stays is a failure, not a wait for ever */
    assert_int_equal(waitpid(pid, &status, 0), pid);
    alarm(0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

static int check_hardened(void)
{
    struct rlimit core;

    process_harden();
    if (prctl(PR_GET_DUMPABLE) != 0)
        return 1;
    if (getrlimit(RLIMIT_CORE, &core) == -1 || core.rlim_cur != 0 || core.rlim_max != 0)
        return 2;
    return prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1 ? 0 : 3;
}

static void a_hardened_process_gives_nothing_away(void **state)
{
    pid_t pid = fork();
    (void)state;

    if (pid == 0)
        _exit(check_hardened());
    assert_int_equal(exit_code(pid), 0);
}

static void a_process_without_its_parent_ends_at_once(void **state)
{
    pid_t pid = fork();
    (void)state;

    if (pid == 0) {
        process_bind_to_parent(getpid()); /* not the parent: as if that had ended */
        _exit(0);
    }
    assert_int_equal(exit_code(pid), FP_EXIT_UNAVAILABLE);
}

/* The middle process dies; its child, bound to it, must close the pipe by dying too. */
static void a_process_ends_with_its_parent(void **state)
{
    int ends[2];
    char byte;
    (void)state;

    assert_int_equal(pipe(ends), 0);
    pid_t middle = fork();
    if (middle == 0) {
        pid_t parent = getpid();
        if (fork() == 0) {
            process_bind_to_parent(parent);
            if (write(ends[1], "r", 1) != 1)
                _exit(1);
            for (;;)
                pause();
        }
        for (;;)
            pause();
    }
    close(ends[1]);
    struct pollfd readable = {.fd = ends[0], .events = POLLIN};
    assert_int_equal(poll(&readable, 1, LIMIT_S * 1000), 1);
    assert_int_equal(read(ends[0], &byte, 1), 1);
    assert_int_equal(kill(middle, SIGKILL), 0);
    assert_int_equal(exit_code(middle), -SIGKILL);
    assert_int_equal(poll(&readable, 1, LIMIT_S * 1000), 1);
    assert_int_equal(read(ends[0], &byte, 1), 0);
    close(ends[0]);
}

/* ---- the title: of this test program itself ---- */

/* As `ps` reads it, up to the first NUL. */
static void read_file(const char *path, char *out, size_t size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    assert_true(fd >= 0);
    ssize_t n = read(fd, out, size - 1);
    close(fd);
    assert_true(n >= 0);
    out[n] = '\0';
}

static void a_title_replaces_the_arguments(void **state)
{
    char shown[4096];
    (void)state;

    process_title("fedpush: %s %d", "worker", 1);
    read_file("/proc/self/cmdline", shown, sizeof(shown));
    assert_string_equal(shown, "fedpush: worker 1");
    process_title("short");
    read_file("/proc/self/cmdline", shown, sizeof(shown));
    assert_string_equal(shown, "short");
}

static void a_title_of_any_length_is_cut(void **state)
{
    char shown[4096];
    char *longest = mem_alloc(1 << 20);
    (void)state;

    memset(longest, 'x', (1 << 20) - 1);
    process_title("%s", longest);
    read_file("/proc/self/cmdline", shown, sizeof(shown));
    assert_memory_equal(shown, "xxx", 3);
    assert_string_equal(getenv("FEDPUSH_TEST_SECRET"), "hidden");
    free(longest);
}

static void the_environment_moves_and_its_old_place_is_wiped(void **state)
{
    static char shown[1 << 18];
    (void)state;

    process_title("fedpush");
    int fd = open("/proc/self/environ", O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    ssize_t n = read(fd, shown, sizeof(shown));
    close(fd);
    assert_true(n > 0);
    assert_null(memmem(shown, (size_t)n, "FEDPUSH_TEST_SECRET", 19));
    assert_string_equal(getenv("FEDPUSH_TEST_SECRET"), "hidden");
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(wiping_leaves_zeros),
        cmocka_unit_test(a_secret_buffer_never_moves),
        cmocka_unit_test(a_hardened_process_gives_nothing_away),
        cmocka_unit_test(a_process_without_its_parent_ends_at_once),
        cmocka_unit_test(a_process_ends_with_its_parent),
        cmocka_unit_test(a_title_replaces_the_arguments),
        cmocka_unit_test(a_title_of_any_length_is_cut),
        cmocka_unit_test(the_environment_moves_and_its_old_place_is_wiped),
    };

    /* The variable must stand in the environment from the start of the program on. */
    if (getenv("FEDPUSH_TEST_SECRET") == NULL) {
        if (setenv("FEDPUSH_TEST_SECRET", "hidden", 1) == 0)
            execv("/proc/self/exe", argv);
        return 1;
    }
    process_title_init(argc, argv);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
