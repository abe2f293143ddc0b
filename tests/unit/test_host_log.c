/* What the log says of hosts every ten minutes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>
#include <sodium.h>

#include "base/log.h"
#include "sched/host_log.h"

/* Standard error goes into a file while a test runs. */
struct fixture {
    int file;
    int before;
    struct host_log *log;
    char written[65536];
};

static int setup(void **state)
{
    static struct fixture f;

    unsetenv("JOURNAL_STREAM");
    log_open("tester", LOG_LEVEL_INFO);
    f.file = memfd_create("log", 0);
    f.before = dup(STDERR_FILENO);
    f.log = host_log_create(1000);
    *state = &f;
    return f.file == -1 || dup2(f.file, STDERR_FILENO) == -1;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    dup2(f->before, STDERR_FILENO);
    close(f->before);
    close(f->file);
    host_log_destroy(f->log);
    return 0;
}

static const char *written(struct fixture *f)
{
    assert_int_equal(lseek(f->file, 0, SEEK_SET), 0);
    ssize_t n = read(f->file, f->written, sizeof(f->written) - 1);
    assert_true(n >= 0);
    f->written[n] = '\0';
    assert_int_equal(ftruncate(f->file, 0), 0);
    assert_int_equal(lseek(f->file, 0, SEEK_SET), 0);
    return f->written;
}

static void add(struct fixture *f, const char *host, enum health_result result, const char *error)
{
    const struct health_event event = {
        .host = str_of(host), .result = result, .error = str_of(error)};
    host_log_add(f->log, &event);
}

static void hosts_that_failed_have_a_line(void **state)
{
    struct fixture *f = *state;

    add(f, "good.example", HEALTH_DELIVERED, NULL);
    add(f, "good.example", HEALTH_DELIVERED, NULL);
    add(f, "bad.example", HEALTH_RETRIED, "first");
    add(f, "worse.example", HEALTH_RETRIED, "returned code 503");
    add(f, "worse.example", HEALTH_EXHAUSTED, "forged\" host=x\n");
    add(f, "worse.example", HEALTH_DELIVERED, NULL);
    add(f, "bad.example", HEALTH_REJECTED, "returned code 410");
    add(f, "worse.example", HEALTH_RETRIED, "timed out");
    host_log_tick(f->log, 1000 + HOST_LOG_EACH_MS - 1);
    assert_string_equal(written(f), "");
    host_log_tick(f->log, 1000 + HOST_LOG_EACH_MS);
    assert_string_equal(
        written(f),
        "level=info role=tester msg=\"host failed\" host=worse.example seconds=600 delivered=1 "
        "retried=2 rejected=0 exhausted=1 err=\"timed out\"\n"
        "level=info role=tester msg=\"host failed\" host=bad.example seconds=600 delivered=0 "
        "retried=1 rejected=1 exhausted=0 err=\"returned code 410\"\n"
        "level=info role=tester msg=\"hosts delivered to\" seconds=600 hosts=3 delivered=3 "
        "failing_hosts=2 failed=5\n");
    host_log_tick(f->log, 1000 + 2LL * HOST_LOG_EACH_MS); /* each counts once */
    assert_string_equal(written(f), "");
}

static void lines_and_memory_are_bounded(void **state)
{
    struct fixture *f = *state;
    char host[32];
    int lines = 0;

    for (int i = 0; i < HOST_LOG_HOSTS + 100; i++) {
        snprintf(host, sizeof(host), "h%d.example", i);
        add(f, host, HEALTH_RETRIED, "no");
    }
    host_log_flush(f->log, 61000);
    for (const char *at = written(f); (at = strchr(at, '\n')) != NULL; at++)
        lines++;
    assert_int_equal(lines, HOST_LOG_LINES + 1);
    assert_non_null(strstr(f->written, "seconds=60 hosts=4096 delivered=0 failing_hosts=4096 "
                                       "failed=4196\n"));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(hosts_that_failed_have_a_line),
        TEST(lines_and_memory_are_bounded),
    };
    if (sodium_init() < 0)
        return 1;
    return cmocka_run_group_tests_name("host_log", tests, NULL, NULL);
}
