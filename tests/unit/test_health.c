/* Against a real PostgreSQL: what is counted, what survives its absence, what is dropped. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "capture.h"
#include "database.h"
#include "sched/health.h"

enum { DEADLINE_MS = 60 * 1000 };

static struct database db;
static struct postgres *postgres;
static struct health *health;
static int64_t now_ms = 1000;

static int64_t read_mono(void *arg)
{
    (void)arg;
    return now_ms;
}

static int64_t read_wall(void *arg)
{
    (void)arg;
    return 1700000000LL * 1000000;
}

static const struct clock test_clock = {read_mono, read_wall, NULL};

static void flush(struct health *h)
{
    bool done = false;
    health_flush(h, DEADLINE_MS, server_done, &done);
    assert_false(done);
    server_wait(db.base, &done);
}

static void record(const char *host, const char *inbox, enum health_result result, uint16_t status,
                   int64_t second)
{
    health_record(health, &(struct health_event){
                              .host = str_of(host),
                              .inbox = str_of(inbox),
                              .result = result,
                              .transport_failure = status == 0,
                              .status = status,
                              .total_ms = 10,
                              .sent_bytes = 100,
                              .error = str_of(result == HEALTH_DELIVERED ? NULL : "went wrong"),
                              .wall_us = (1700000000 + second) * 1000000});
}

static void outcomes_are_counted_per_inbox_and_host(void **state)
{
    (void)state;

    record("a.test", "https://a.test/1", HEALTH_DELIVERED, 202, 1);
    record("a.test", "https://a.test/1", HEALTH_RETRIED, 503, 2);
    record("a.test", "https://a.test/2", HEALTH_REJECTED, 410, 3);
    record("a.test", "https://a.test/2", HEALTH_EXHAUSTED, 0, 4);
    assert_int_equal(health_pending(health), 2);
    flush(health);
    assert_int_equal(health_pending(health), 0);
    record("a.test", "https://a.test/1", HEALTH_DELIVERED, 200, 5);
    flush(health);
    database_expect(&db,
                    "SELECT concat_ws(' ', host, delivered, retried, rejected, exhausted, total_ms,"
                    " sent_bytes, last_status, last_transport_failure, extract(epoch FROM "
                    "last_attempt_at)::bigint - 1700000000) FROM fedpush.inbox_health"
                    " WHERE inbox_url = 'https://a.test/1'",
                    "a.test 2 1 0 0 30 300 200 f 5");
    database_expect(&db,
                    "SELECT concat_ws(' ', delivered, retried, rejected, exhausted, last_error,"
                    " last_transport_failure, last_status IS NULL) FROM fedpush.inbox_health"
                    " WHERE inbox_url = 'https://a.test/2'",
                    "0 0 1 1 went wrong t t");
    database_expect(&db,
                    "SELECT concat_ws(' ', delivered, retried, rejected, exhausted, total_ms,"
                    " sent_bytes) FROM fedpush.domain_health WHERE host = 'a.test'",
                    "2 1 1 1 50 500");
}

static void a_streak_of_failures_goes_on_until_a_success(void **state)
{
    static const char sql[] = "SELECT concat_ws(' ', consecutive_failures, extract(epoch FROM "
                              "failing_since)::bigint - 1700000000) FROM fedpush.domain_health";
    (void)state;

    record("b.test", "https://b.test/", HEALTH_RETRIED, 500, 1);
    record("b.test", "https://b.test/", HEALTH_RETRIED, 500, 2);
    flush(health);
    database_expect(&db, sql, "2 1");
    record("b.test", "https://b.test/", HEALTH_RETRIED, 500, 3);
    flush(health);
    database_expect(&db, sql, "3 1");
    record("b.test", "https://b.test/", HEALTH_DELIVERED, 200, 4);
    record("b.test", "https://b.test/", HEALTH_RETRIED, 500, 5);
    flush(health);
    database_expect(&db, sql, "1 5");
    record("b.test", "https://b.test/", HEALTH_DELIVERED, 200, 6);
    flush(health);
    database_expect(&db, sql, "0");
}

static void any_bytes_of_an_error_are_recorded(void **state)
{
    char text[1000];
    (void)state;

    memset(text, 'x', sizeof(text));
    memcpy(text, "a\0b\xff\"\\{", 7);
    struct health_event event = {.host = STR("c.test"),
                                 .inbox = STR("https://c.test/"),
                                 .result = HEALTH_RETRIED,
                                 .error = {text, sizeof(text)},
                                 .wall_us = 1};
    health_record(health, &event);
    flush(health);
    database_expect(&db,
                    "SELECT octet_length(last_error) BETWEEN 290 AND 300 AND last_error LIKE "
                    "E'a\\uFFFDb\\uFFFD\"\\\\\\\\{xx%' FROM fedpush.inbox_health",
                    "t");
}

static void a_refused_row_takes_no_other_with_it(void **state)
{
    char inbox[64];
    (void)state;

    server_sql(&db.server, "ALTER TABLE fedpush.inbox_health ADD CHECK (inbox_url !~ '/bad')");
    for (int i = 0; i < 600; i++) {
        snprintf(inbox, sizeof(inbox), "https://d.test/%s%d", i % 100 == 7 ? "bad" : "", i);
        record("d.test", inbox, HEALTH_DELIVERED, 200, 1);
    }
    flush(health);
    assert_int_equal(health_pending(health), 0);
    database_expect(&db, "SELECT count(*) FROM fedpush.inbox_health", "594");
    database_expect(&db, "SELECT delivered FROM fedpush.domain_health", "600");
}

static void nothing_is_lost_while_postgres_is_away(void **state)
{
    bool done = false;
    (void)state;

    record("e.test", "https://e.test/", HEALTH_DELIVERED, 200, 1);
    flush(health);
    server_pause_postgres(&db.server);
    record("e.test", "https://e.test/", HEALTH_RETRIED, 500, 2);
    health_flush(health, 300, server_done, &done);
    server_wait(db.base, &done);
    record("e.test", "https://e.test/", HEALTH_RETRIED, 500, 3);
    record("f.test", "https://f.test/", HEALTH_DELIVERED, 200, 4);
    server_resume_postgres(&db.server);
    flush(health);
    for (int i = 0; health_pending(health) > 0 && i < 50; i++)
        flush(health);
    database_expect(
        &db,
        "SELECT concat_ws(' ', delivered, retried, consecutive_failures, extract(epoch FROM "
        "failing_since)::bigint - 1700000000, extract(epoch FROM "
        "last_success_at)::bigint - 1700000000, last_error) FROM fedpush.inbox_health"
        " WHERE host = 'e.test'",
        "1 2 2 2 1 went wrong");
    database_expect(&db, "SELECT sum(delivered + retried) FROM fedpush.domain_health", "4");
}

static void what_failed_joins_what_came_since(void **state)
{
    bool done = false;
    (void)state;

    server_sql(&db.server, "ALTER SCHEMA fedpush RENAME TO elsewhere");
    record("j.test", "https://j.test/", HEALTH_DELIVERED, 200, 1);
    record("j.test", "https://j.test/", HEALTH_RETRIED, 500, 2);
    record("k.test", "https://k.test/", HEALTH_RETRIED, 0, 2);
    health_flush(health, DEADLINE_MS, server_done, &done);
    record("j.test", "https://j.test/", HEALTH_RETRIED, 502, 3);
    record("k.test", "https://k.test/", HEALTH_DELIVERED, 200, 4);
    server_wait(db.base, &done); /* refused */
    server_sql(&db.server, "ALTER SCHEMA elsewhere RENAME TO fedpush");
    flush(health);
    database_expect(&db,
                    "SELECT concat_ws(' ', delivered, retried, total_ms, sent_bytes, last_status,"
                    " consecutive_failures, extract(epoch FROM failing_since)::bigint - 1700000000,"
                    " extract(epoch FROM last_success_at)::bigint - 1700000000)"
                    " FROM fedpush.inbox_health WHERE host = 'j.test'",
                    "1 2 30 300 502 2 2 1");
    database_expect(
        &db,
        "SELECT concat_ws(' ', delivered, retried, consecutive_failures, last_error,"
        " last_transport_failure, extract(epoch FROM last_failure_at)::bigint - 1700000000)"
        " FROM fedpush.inbox_health WHERE host = 'k.test'",
        "1 1 0 went wrong f 2");
}

static void fail_to_write(void)
{
    record("g.test", "https://g.test/", HEALTH_DELIVERED, 200, 1);
    for (int i = 0; i < 3; i++) {
        bool done = false;
        health_flush(health, 400, server_done, &done);
        server_wait(db.base, &done);
    }
}

static void a_missing_schema_is_complained_of_once_a_minute(void **state)
{
    (void)state;

    server_sql(&db.server, "ALTER SCHEMA fedpush RENAME TO elsewhere");
    assert_int_equal(capture_count(fail_to_write, "fedpush setup"), 1);
    assert_int_equal(capture_count(fail_to_write, "fedpush setup"), 0);
    now_ms += 61 * 1000;
    assert_int_equal(capture_count(fail_to_write, "fedpush setup"), 1);
    server_sql(&db.server, "ALTER SCHEMA elsewhere RENAME TO fedpush");
    flush(health);
    database_expect(&db, "SELECT delivered FROM fedpush.domain_health WHERE host = 'g.test'", "3");
}

static void missing_rights_are_named(void **state)
{
    (void)state;

    health_destroy(health);
    postgres_destroy(postgres);
    postgres = database_connect(&db, "runner");
    health = health_create(db.base, &test_clock, postgres);
    assert_int_equal(
        capture_count(fail_to_write, "GRANT USAGE ON SCHEMA fedpush TO \\\"runner\\\""), 1);
    server_sql(&db.server,
               "GRANT USAGE ON SCHEMA fedpush TO \"runner\"; GRANT SELECT, INSERT, UPDATE "
               "ON ALL TABLES IN SCHEMA fedpush TO \"runner\"");
    flush(health);
    database_expect(&db, "SELECT delivered FROM fedpush.domain_health WHERE host = 'g.test'", "1");
}

static void past_the_bound_new_inboxes_count_to_their_host(void **state)
{
    enum { BOUND = 50000 };
    char inbox[64];
    (void)state;

    for (int i = 0; i <= BOUND + 1; i++) {
        snprintf(inbox, sizeof(inbox), "https://h.test/%d", i);
        record("h.test", inbox, HEALTH_DELIVERED, 200, 1);
    }
    record("h.test", "https://h.test/0", HEALTH_DELIVERED, 200, 2);
    assert_int_equal(health_pending(health), BOUND);
    flush(health);
    assert_int_equal(health_pending(health), 0);
    database_expect(&db, "SELECT count(*) || ' ' || sum(delivered) FROM fedpush.inbox_health",
                    "50000 50001");
    database_expect(&db, "SELECT delivered FROM fedpush.domain_health", "50003");
}

static void two_machines_write_the_same_rows(void **state)
{
    enum { ROUNDS = 5, HOSTS = 300 };
    struct postgres *other_postgres = database_connect(&db, "postgres");
    struct health *other = health_create(db.base, &test_clock, other_postgres);
    char host[64];
    (void)state;

    for (int round = 0; round < ROUNDS; round++) {
        bool done[2] = {false, false};
        for (int i = 0; i < HOSTS; i++) {
            struct health_event event = {.result = HEALTH_DELIVERED, .status = 200, .wall_us = 1};
            snprintf(host, sizeof(host), "host%d.test", round % 2 == 0 ? i : HOSTS - 1 - i);
            event.host = event.inbox = str_of(host);
            health_record(health, &event);
            health_record(other, &event);
        }
        health_flush(health, DEADLINE_MS, server_done, &done[0]);
        health_flush(other, DEADLINE_MS, server_done, &done[1]);
        server_wait(db.base, &done[0]);
        server_wait(db.base, &done[1]);
    }
    database_expect(&db,
                    "SELECT min(delivered) || ' ' || max(delivered) || ' ' || count(*)"
                    " FROM fedpush.domain_health",
                    "10 10 300");
    postgres_destroy(other_postgres);
    health_destroy(other);
}

static void it_is_written_without_being_asked(void **state)
{
    (void)state;

    record("i.test", "https://i.test/", HEALTH_DELIVERED, 200, 1);
    for (int i = 0; health_pending(health) > 0 && i < SERVER_WAIT_MS / 20; i++)
        server_run(db.base, 20);
    flush(health);
    database_expect(&db, "SELECT delivered FROM fedpush.domain_health", "1");
}

static int64_t real_ms(void)
{
    const struct clock clock = clock_system();
    return clock_mono_ms(&clock);
}

static void rows_that_keep_coming_wait_for_each_other(void **state)
{
    enum { HOSTS_EACH_TURN = 200, LATEST_MS = 5000 };
    int64_t began_ms = real_ms();
    size_t pending = 0;
    char host[64];
    (void)state;

    for (int i = 0; health_pending(health) == pending; i++) {
        assert_true(real_ms() - began_ms < SERVER_WAIT_MS);
        for (int n = 0; n < HOSTS_EACH_TURN; n++, pending++) {
            snprintf(host, sizeof(host), "l%d-%d.test", i, n);
            record(host, host, HEALTH_DELIVERED, 200, 1);
        }
        server_run(db.base, 100);
    }
    assert_true(real_ms() - began_ms >= LATEST_MS - 100);
    flush(health);
    assert_int_equal(health_pending(health), 0);
    database_expect(&db, "SELECT sum(delivered) = count(*) FROM fedpush.inbox_health", "t");
}

struct history {
    bool done;
    char text[256];
};

static void on_host(void *arg, struct str host, bool suspect, int64_t success_s)
{
    struct history *history = arg;
    size_t len = strlen(history->text);
    snprintf(history->text + len, sizeof(history->text) - len, "%.*s%s%s ", STR_ARG(host),
             suspect ? "?" : "", success_s < 0 ? "-" : "");
    assert_true(success_s >= -1);
}

static void on_history(void *arg)
{
    ((struct history *)arg)->done = true;
}

static void history_tells_whom_to_suspect(void **state)
{
    struct history history = {.done = false};
    (void)state;

    record("never.test", "https://never.test/", HEALTH_RETRIED, 500, 1);
    record("good.test", "https://good.test/", HEALTH_DELIVERED, 200, 2);
    record("gone.test", "https://gone.test/", HEALTH_DELIVERED, 200, 3);
    record("gone.test", "https://gone.test/", HEALTH_RETRIED, 0, 4);
    record("sick.test", "https://sick.test/", HEALTH_DELIVERED, 200, 5);
    record("sick.test", "https://sick.test/", HEALTH_RETRIED, 500, 6);
    flush(health);
    health_load(health, DEADLINE_MS, on_host, on_history, &history);
    assert_false(history.done);
    server_wait(db.base, &history.done);
    assert_string_equal(history.text, "sick.test gone.test? good.test never.test?- ");
}

static void a_start_without_history_goes_on(void **state)
{
    struct history history = {.done = false};
    (void)state;

    server_sql(&db.server, "DROP TABLE fedpush.domain_health");
    health_load(health, DEADLINE_MS, on_host, on_history, &history);
    server_wait(db.base, &history.done);
    assert_string_equal(history.text, "");
}

static int prepare(void **state)
{
    (void)state;

    server_sql(&db.server, "DROP SCHEMA IF EXISTS fedpush CASCADE");
    postgres = database_connect(&db, "postgres");
    database_set_up(&db, postgres);
    health = health_create(db.base, &test_clock, postgres);
    return 0;
}

static int finish(void **state)
{
    (void)state;
    postgres_destroy(postgres);
    health_destroy(health);
    return 0;
}

static int start(void **state)
{
    (void)state;
    database_start(&db);
    server_sql(&db.server, "CREATE ROLE runner LOGIN");
    return 0;
}

static int stop(void **state)
{
    (void)state;
    database_stop(&db);
    return 0;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, prepare, finish)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(outcomes_are_counted_per_inbox_and_host),
        TEST(a_streak_of_failures_goes_on_until_a_success),
        TEST(any_bytes_of_an_error_are_recorded),
        TEST(a_refused_row_takes_no_other_with_it),
        TEST(nothing_is_lost_while_postgres_is_away),
        TEST(what_failed_joins_what_came_since),
        TEST(a_missing_schema_is_complained_of_once_a_minute),
        TEST(missing_rights_are_named),
        TEST(past_the_bound_new_inboxes_count_to_their_host),
        TEST(two_machines_write_the_same_rows),
        TEST(it_is_written_without_being_asked),
        TEST(rows_that_keep_coming_wait_for_each_other),
        TEST(history_tells_whom_to_suspect),
        TEST(a_start_without_history_goes_on),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
