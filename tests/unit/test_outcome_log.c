/* Which deliveries the log names, how, and how many of them. All tests together write less than the
 * 200 lines that base/log.h lets by in a second. */
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
#include "base/log_line.h"
#include "sched/outcome_log.h"

enum { NOW_MS = 5000 };

/* Standard error goes into a file while a test runs. */
struct fixture {
    int file;
    int before;
    struct outcome_log *log;
    struct buf written;
};

static int setup(void **state)
{
    static struct fixture f;

    unsetenv("JOURNAL_STREAM");
    log_open("tester", LOG_LEVEL_INFO);
    f.file = memfd_create("log", 0);
    f.before = dup(STDERR_FILENO);
    f.log = outcome_log_create("failed");
    buf_init(&f.written, 1000000);
    *state = &f;
    return f.file == -1 || dup2(f.file, STDERR_FILENO) == -1;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    dup2(f->before, STDERR_FILENO);
    close(f->before);
    close(f->file);
    outcome_log_destroy(f->log);
    buf_clear(&f->written);
    return 0;
}

/* What was written since the last call. */
static const char *written(struct fixture *f)
{
    char bytes[8192];

    buf_reset(&f->written);
    assert_int_equal(lseek(f->file, 0, SEEK_SET), 0);
    for (ssize_t n; (n = read(f->file, bytes, sizeof(bytes))) > 0;)
        buf_put(&f->written, bytes, (size_t)n);
    assert_int_equal(ftruncate(f->file, 0), 0);
    assert_int_equal(lseek(f->file, 0, SEEK_SET), 0);
    return buf_cstr(&f->written);
}

static size_t count(const char *text, const char *part)
{
    size_t found = 0;

    while ((text = strstr(text, part)) != NULL) {
        found++;
        text++;
    }
    return found;
}

static void add_to(struct fixture *f, const char *inbox, const char *body,
                   enum health_result result, int64_t now_ms)
{
    struct claim claim = {.parsed = true, .has_url = true};
    struct buf json;

    claim.job.retry_count = 1;
    buf_init(&json, 8192);
    json_put_string(&json, str_of(body));
    claim.job.body_json = buf_str(&json);
    snprintf(claim.job.jid, sizeof(claim.job.jid), "0123");
    assert_int_equal(url_parse(&claim.url, str_of(inbox), NULL), FP_OK);
    bool good = result == HEALTH_DELIVERED;
    const struct logged_outcome outcome = {.claim = &claim,
                                           .machine = STR("m:1:x"),
                                           .result = result,
                                           .status = good ? 202 : 503,
                                           .total_ms = 12,
                                           .error = good ? STR_NULL : STR("said \"no\"\n"),
                                           .wall_us = 1700000000123456};
    outcome_log_add(f->log, &outcome, now_ms);
    url_clear(&claim.url);
    buf_clear(&json);
}

static void add(struct fixture *f, const char *inbox, enum health_result result)
{
    add_to(f, inbox, "{\"type\":\"Create\",\"id\":\"https://d.example/1\"}", result, NOW_MS);
}

static void what_failed_is_a_line_of_its_own(void **state)
{
    add(*state, "https://a.example/inbox", HEALTH_RETRIED);
    assert_string_equal(
        written(*state),
        "level=info role=tester msg=\"delivery failed\" outcome=retried at_ms=1700000000123 "
        "machine=m:1:x job=0123 attempt=3 status=503 ms=12 activity=https://d.example/1 "
        "inbox=https://a.example/inbox err=\"said \\\"no\\\"\\x0a\"\n");
    add(*state, "https://a.example/inbox", HEALTH_REJECTED);
    assert_int_equal(count(written(*state), "outcome=rejected"), 1);
    add(*state, "https://a.example/inbox", HEALTH_EXHAUSTED);
    assert_int_equal(count(written(*state), "outcome=exhausted"), 1);
}

static void what_was_delivered_is_told_to_who_asks(void **state)
{
    struct fixture *f = *state;

    add(f, "https://a.example/inbox", HEALTH_DELIVERED);
    outcome_log_flush(f->log, NOW_MS);
    assert_string_equal(written(f), "");
    log_set_level(LOG_LEVEL_DEBUG);
    add(f, "https://a.example/inbox", HEALTH_DELIVERED);
    assert_int_equal(count(written(f), "level=debug role=tester msg=delivered"), 1);
    log_set_level(LOG_LEVEL_WARN);
    outcome_log_configure(f->log, "all");
    add(f, "https://a.example/inbox", HEALTH_DELIVERED);
    add(f, "https://a.example/inbox", HEALTH_RETRIED);
    outcome_log_flush(f->log, NOW_MS);
    assert_string_equal(written(f), "");
}

static void hosts_can_be_chosen(void **state)
{
    static const struct {
        const char *host;
        size_t told;
    } cases[] = {{"a.example", 1},     {"x.a.example", 0}, {"b.example", 0},     {"x.b.example", 1},
                 {"y.x.b.example", 1}, {"xb.example", 0},  {"failed.example", 0}};
    struct fixture *f = *state;

    outcome_log_configure(f->log, "a.example, *.b.example");
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char *inbox = mem_printf("https://%s:8443/inbox", cases[i].host);
        add(f, inbox, HEALTH_DELIVERED);
        outcome_log_flush(f->log, NOW_MS);
        assert_int_equal(count(written(f), inbox), cases[i].told);
        free(inbox);
    }
}

static void inboxes_of_an_activity_stand_together(void **state)
{
    struct fixture *f = *state;

    outcome_log_configure(f->log, "all");
    add(f, "https://a.example/inbox", HEALTH_DELIVERED);
    add_to(f, "https://c.example/inbox", "{\"id\":\"https://d.example/2\"}", HEALTH_DELIVERED,
           NOW_MS);
    add(f, "https://b.example/inbox?a=b", HEALTH_DELIVERED);
    outcome_log_tick(f->log, NOW_MS + 999);
    assert_string_equal(written(f), "");
    outcome_log_tick(f->log, NOW_MS + 1000);
    assert_string_equal(
        written(f), "level=info role=tester msg=delivered outcome=delivered at_ms=1700000000123 "
                    "machine=m:1:x status=202 activity=https://d.example/1 "
                    "inbox=https://a.example/inbox inbox=\"https://b.example/inbox?a=b\"\n"
                    "level=info role=tester msg=delivered outcome=delivered at_ms=1700000000123 "
                    "machine=m:1:x status=202 activity=https://d.example/2 "
                    "inbox=https://c.example/inbox\n");
    outcome_log_tick(f->log, NOW_MS + 3000);
    assert_string_equal(written(f), "");
}

/* Each line is whole, and each inbox in one of them, however long they are. */
static void a_fanout_is_told_whole(void **state)
{
    enum { INBOXES = 1000 };
    struct fixture *f = *state;
    size_t told = 0;
    struct log_line line;
    struct str key;
    struct buf value;

    outcome_log_configure(f->log, "all");
    for (int i = 0; i < INBOXES; i++) {
        char *inbox = mem_printf("https://host%d.example/%0*d", i, i % 90 + 1, i);
        add(f, inbox, HEALTH_DELIVERED);
        free(inbox);
    }
    outcome_log_flush(f->log, NOW_MS);
    buf_init(&value, 8192);
    struct str rest = str_of(written(f));
    size_t lines = count(rest.ptr, "\n");
    assert_int_equal(count(rest.ptr, OUTCOME_LOG_GAP), 0);
    while (rest.len > 0) {
        size_t end = str_find(rest, '\n');
        assert_true(end < 4096);
        assert_true(log_line_open(&line, (struct str){rest.ptr, end}));
        while (log_line_next(&line, &key, &value))
            told += str_equal(key, STR("inbox"));
        assert_null(line.rest.ptr);
        rest = str_slice(rest, end + 1);
    }
    buf_clear(&value);
    assert_int_equal(told, INBOXES);
    assert_in_range(lines, 2, INBOXES / 20);
}

static void add_activity(struct fixture *f, int number, int64_t now_ms)
{
    char body[100];

    snprintf(body, sizeof(body), "{\"id\":\"https://d.example/%d\"}", number);
    add_to(f, "https://a.example/inbox", body, HEALTH_DELIVERED, now_ms);
}

static void of_too_many_activities_the_oldest_goes(void **state)
{
    struct fixture *f = *state;

    outcome_log_configure(f->log, "all");
    for (int i = 0; i < OUTCOME_LOG_GROUPS + 8; i++)
        add_activity(f, i, NOW_MS + i);
    const char *first = strstr(written(f), "activity=");
    assert_true(str_starts_with(str_of(first), STR("activity=https://d.example/0 ")));
    assert_int_equal(count(first, "activity="), 8);
}

static void lines_are_bounded_and_a_gap_is_told(void **state)
{
    struct fixture *f = *state;

    log_set_level(LOG_LEVEL_DEBUG);
    for (int i = 0; i < 70; i++)
        add(f, "https://a.example/inbox", HEALTH_DELIVERED);
    for (int i = 0; i < 80; i++)
        add(f, "https://a.example/inbox", HEALTH_RETRIED);
    const char *text = written(f);
    assert_int_equal(count(text, "level=debug"), OUTCOME_LOG_LINES / 2);
    assert_int_equal(count(text, "level=info"), OUTCOME_LOG_LINES / 2);
    outcome_log_tick(f->log, NOW_MS + 1000);
    assert_string_equal(written(f),
                        "level=info role=tester msg=\"deliveries not logged\" deliveries=50\n");
    add_to(f, "https://a.example/inbox", "{}", HEALTH_RETRIED, NOW_MS + 1000);
    assert_int_equal(count(written(f), "activity=\"\""), 1);
}

/* What is collected isn't left out for want of a line: it goes on waiting for one. */
static void what_is_collected_waits_for_a_line(void **state)
{
    struct fixture *f = *state;

    outcome_log_configure(f->log, "all");
    for (int i = 0; i < OUTCOME_LOG_LINES + 1; i++)
        add_activity(f, i, NOW_MS);
    log_set_level(LOG_LEVEL_ERROR); /* these lines count, and needn't be seen */
    outcome_log_tick(f->log, NOW_MS + 1000);
    log_set_level(LOG_LEVEL_INFO);
    outcome_log_tick(f->log, NOW_MS + 1900);
    assert_string_equal(written(f), "");
    add_activity(f, OUTCOME_LOG_LINES, NOW_MS + 1900);
    outcome_log_tick(f->log, NOW_MS + 2000);
    const char *text = written(f);
    assert_int_equal(count(text, "\n"), 1);
    assert_int_equal(count(text, "inbox="), 2);
}

static void a_name_that_would_be_cut_is_left_out(void **state)
{
    struct fixture *f = *state;
    char *body = mem_printf("{\"id\":\"https://d.example/%01000d\"}", 1);
    char *hostile = mem_printf("{\"id\":\"https://d.example/%0*d\"}", 300, 1);
    char *inbox = mem_printf("https://a.example/%01000d", 1);

    for (char *c = strchr(hostile, '0'); *c == '0'; c++)
        *c = '\x01';
    add_to(f, "https://a.example/inbox", body, HEALTH_RETRIED, NOW_MS);
    add_to(f, "https://a.example/inbox", hostile, HEALTH_RETRIED, NOW_MS);
    assert_int_equal(count(written(f), "activity=\"\" inbox=https://a.example/inbox"), 2);
    add(f, inbox, HEALTH_RETRIED);
    assert_int_equal(count(written(f), "activity=https://d.example/1 inbox=\"\""), 1);
    outcome_log_configure(f->log, "all");
    add_to(f, "https://a.example/inbox", body, HEALTH_DELIVERED, NOW_MS);
    add(f, inbox, HEALTH_DELIVERED);
    outcome_log_flush(f->log, NOW_MS);
    assert_string_equal(written(f), "");
    free(body);
    free(hostile);
    free(inbox);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_failed_is_a_line_of_its_own, setup, teardown),
        cmocka_unit_test_setup_teardown(what_was_delivered_is_told_to_who_asks, setup, teardown),
        cmocka_unit_test_setup_teardown(hosts_can_be_chosen, setup, teardown),
        cmocka_unit_test_setup_teardown(inboxes_of_an_activity_stand_together, setup, teardown),
        cmocka_unit_test_setup_teardown(a_fanout_is_told_whole, setup, teardown),
        cmocka_unit_test_setup_teardown(of_too_many_activities_the_oldest_goes, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_collected_waits_for_a_line, setup, teardown),
        cmocka_unit_test_setup_teardown(lines_are_bounded_and_a_gap_is_told, setup, teardown),
        cmocka_unit_test_setup_teardown(a_name_that_would_be_cut_is_left_out, setup, teardown),
    };

    if (sodium_init() == -1)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
