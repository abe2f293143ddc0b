/* A machine's use of processor and memory, in a /proc of the test's making and in the real one. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/str.h"
#include "sched/footprint.h"

enum { SUPERVISOR = 100 };

static char folder[64];

static void make(const char *path, const char *text)
{
    char *name = mem_printf("%s/%s", folder, path);

    for (char *at = name + 1; *at != '\0'; at++) {
        if (*at != '/')
            continue;
        *at = '\0';
        (void)mkdir(name, 0700);
        *at = '/';
    }
    FILE *file = fopen(name, "we");
    assert_non_null(file);
    fputs(text, file);
    assert_int_equal(fclose(file), 0);
    free(name);
}

/* With so many ticks of its own and of the kernel's, and as many pages. */
static void make_process(int pid, unsigned user, unsigned system, unsigned pages)
{
    char *path = mem_printf("proc/%d/stat", pid);
    char *text = mem_printf("%d (fedpush: a) b) S 1 2 3 0 -1 4194560 9 9 9 9 %u %u 7 7 20 0 1 0 8 "
                            "99999999 %u 18446744073709551615 1 1 0\n",
                            pid, user, system, pages);
    make(path, text);
    free(text);
    free(path);
}

static int start(void **state)
{
    (void)state;
    snprintf(folder, sizeof(folder), "/tmp/fedpush-footprint-XXXXXX");
    return mkdtemp(folder) == NULL;
}

static int end(void **state)
{
    char *command = mem_printf("rm -rf %s", folder);
    int code = system(command);
    (void)state;
    free(command);
    return code;
}

static struct footprint *create(void)
{
    char *proc = mem_printf("%s/proc", folder);
    char *cgroup = mem_printf("%s/cgroup", folder);
    struct footprint *footprint = footprint_create(SUPERVISOR, proc, cgroup);
    free(cgroup);
    free(proc);
    return footprint;
}

static void all_processes_count(void **state)
{
    struct footprint *footprint = create();
    int64_t ticks = sysconf(_SC_CLK_TCK);
    int64_t page = sysconf(_SC_PAGESIZE);
    double cores;
    int64_t rss;
    (void)state;

    make("proc/100/task/100/children", "101 102 103 "); /* 103 has just ended */
    make_process(100, 5, 5, 10);
    make_process(101, 1000, 0, 20);
    make_process(102, 0, 1000, 30);
    footprint_look(footprint, 10000, &cores, &rss);
    assert_true(cores < 0);
    assert_int_equal(rss, 60 * page);
    make_process(101, 1000 + (unsigned)ticks, 0, 20);
    make_process(102, 0, 1000 + (unsigned)ticks / 2, 30);
    footprint_look(footprint, 12000, &cores, &rss);
    assert_true(cores > 0.74 && cores < 0.76);
    make("proc/100/task/100/children", "101 104 "); /* another took the place of 102 */
    make_process(104, (unsigned)ticks, 0, 5);
    footprint_look(footprint, 14000, &cores, &rss);
    assert_true(cores > 0.49 && cores < 0.51);
    assert_int_equal(rss, 35 * page);
    footprint_destroy(footprint);
}

static void where_processes_are_hidden_the_service_counts(void **state)
{
    struct footprint *footprint = create();
    double cores;
    int64_t rss;
    (void)state;

    footprint_look(footprint, 10000, &cores, &rss);
    assert_true(cores < 0 && rss < 0); /* nothing is there at all */
    make("proc/self/cgroup", "0::/user.slice/session-1.scope\n");
    make("cgroup/user.slice/session-1.scope/cpu.stat", "usage_usec 1\n");
    make("cgroup/user.slice/session-1.scope/memory.stat", "anon 1\n");
    footprint_look(footprint, 10000, &cores, &rss);
    assert_true(cores < 0 && rss < 0); /* others are in that group, too */
    make("proc/self/cgroup", "0::/system.slice/fedpush.service\n");
    make("cgroup/system.slice/fedpush.service/cpu.stat", "usage_usec 5000000\nuser_usec 1\n");
    make("cgroup/system.slice/fedpush.service/memory.stat",
         "anon 4096\nfile 999\nfile_mapped 1000\n");
    footprint_look(footprint, 10000, &cores, &rss);
    assert_true(cores < 0);
    assert_int_equal(rss, 5096);
    make("cgroup/system.slice/fedpush.service/cpu.stat", "usage_usec 6000000\nuser_usec 1\n");
    footprint_look(footprint, 12000, &cores, &rss);
    assert_true(cores > 0.49 && cores < 0.51);
    footprint_destroy(footprint);
}

static void the_real_proc_is_understood(void **state)
{
    struct footprint *footprint = footprint_create(getpid(), "/proc", "/sys/fs/cgroup");
    double cores;
    int64_t rss;
    pid_t child = fork();
    (void)state;

    if (child == 0) {
        pause();
        _exit(0);
    }
    footprint_look(footprint, 10000, &cores, &rss);
    kill(child, SIGKILL);
    assert_int_equal(waitpid(child, NULL, 0), child);
    assert_true(rss > 1024 * 1024);
    footprint_destroy(footprint);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(all_processes_count, start, end),
        cmocka_unit_test_setup_teardown(where_processes_are_hidden_the_service_counts, start, end),
        cmocka_unit_test(the_real_proc_is_understood),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
