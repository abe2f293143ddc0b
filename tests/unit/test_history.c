/* Against a real PostgreSQL: what the history counts, what survives its absence, what is dropped.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "database.h"
#include "sched/history.h"

enum { DEADLINE_MS = 60 * 1000, HOUR_S = 1700002800 /* a full hour, in UTC */ };

static struct database db;
static struct postgres *postgres;
static struct history *history;
static int64_t now_ms = 1000;
static int64_t wall_s = HOUR_S;

static int64_t read_mono(void *arg)
{
    (void)arg;
    return now_ms;
}

static int64_t read_wall(void *arg)
{
    (void)arg;
    return wall_s * 1000000;
}

static const struct clock test_clock = {read_mono, read_wall, NULL};

static void flush(struct history *h)
{
    bool done = false;
    history_flush(h, DEADLINE_MS, server_done, &done);
    assert_false(done);
    server_wait(db.base, &done);
}

static void record(struct history *h, const char *host, enum health_result result, uint16_t status,
                   uint32_t total_ms, const char *error)
{
    history_record(h, &(struct health_event){.host = str_of(host),
                                             .result = result,
                                             .transport_failure = status == 0,
                                             .status = status,
                                             .total_ms = total_ms,
                                             .sent_bytes = 100,
                                             .error = str_of(error),
                                             .wall_us = wall_s * 1000000});
}

#define HOURS                                                                                      \
    "SELECT string_agg(concat_ws(' ', host, extract(epoch FROM hour)::bigint - 1700002800, hours," \
    " delivered, retried, rejected, exhausted, sent_bytes, latency[1], latency[4], latency[24]),"  \
    " '|' ORDER BY host, hour) FROM fedpush.domain_hourly"

static void attempts_are_added_up_by_host_and_hour(void **state)
{
    (void)state;

    record(history, "a.test", HEALTH_DELIVERED, 202, 0, "");
    record(history, "a.test", HEALTH_RETRIED, 503, 5, "");
    record(history, "b.test", HEALTH_EXHAUSTED, 0, UINT32_MAX, "went wrong");
    wall_s = HOUR_S + 3599;
    record(history, "a.test", HEALTH_REJECTED, 410, 5, "");
    wall_s = HOUR_S + 3600;
    record(history, "a.test", HEALTH_DELIVERED, 202, 4, "");
    assert_int_equal(history_pending(history), 3 + 3 + 2 + 3);
    flush(history);
    assert_int_equal(history_pending(history), 0);
    record(history, "a.test", HEALTH_DELIVERED, 202, 7, "");
    flush(history);
    database_expect(&db, HOURS,
                    "a.test 0 1 1 1 1 0 300 1 2 0|a.test 3600 1 2 0 0 0 200 0 2 0|"
                    "b.test 0 1 0 0 0 1 100 0 0 1");
}

#define FLEET(table, time)                                                                         \
    "SELECT string_agg(concat_ws(' ', machine, extract(epoch FROM " time                           \
    ")::bigint - 1700002800, delivered, retried, handed_off, sent_bytes, latency[2],"              \
    " COALESCE(queue_length::text, 'unknown'), oldest_age_ms, in_flight, open_circuits), '|'"      \
    " ORDER BY machine, " time ") FROM fedpush." table

static void the_machine_has_its_minutes_and_hours(void **state)
{
    (void)state;

    record(history, "a.test", HEALTH_DELIVERED, 202, 1, "");
    history_sample(history, (const int64_t[]){-1, -1, 7, 1}, 2);
    wall_s += 59;
    record(history, "b.test", HEALTH_DELIVERED, 202, 1, "");
    flush(history);
    wall_s += 1;
    history_sample(history, (const int64_t[]){50, 1000, 6, 2}, 3);
    history_sample(history, (const int64_t[]){40, 2000, 8, 0}, 0);
    record(history, "a.test", HEALTH_RETRIED, 500, 1, "");
    flush(history);
    database_expect(&db, FLEET("fleet_minutely", "minute"),
                    "mx1 0 2 0 2 200 2 unknown 7 1|mx1 60 0 1 3 100 1 50 2000 8 2");
    database_expect(&db, FLEET("fleet_hourly", "hour"), "mx1 0 2 1 5 300 3 50 2000 8 2");
}

#define ERRORS                                                                                     \
    "SELECT string_agg(concat_ws(' ', host, error, status, count, extract(epoch FROM first_at)"    \
    "::bigint - 1700002800, extract(epoch FROM last_at)::bigint - 1700002800), '|'"                \
    " ORDER BY host, error) FROM fedpush.domain_error"

static void errors_are_told_apart_and_counted(void **state)
{
    (void)state;

    record(history, "a.test", HEALTH_DELIVERED, 202, 1, "");
    record(history, "a.test", HEALTH_RETRIED, 503, 1, "https://a.test/1 returned code 503");
    record(history, "a.test", HEALTH_RETRIED, 503, 1, "https://a.test/2 returned code 503");
    record(history, "a.test", HEALTH_REJECTED, 410, 1, "");
    record(history, "b.test", HEALTH_RETRIED, 0, 1, "a\xff\x01{\"\\");
    flush(history);
    wall_s += 5;
    record(history, "a.test", HEALTH_EXHAUSTED, 503, 1, "");
    flush(history);
    database_expect(&db, ERRORS,
                    "a.test returned code 410 410 1 0 0|a.test returned code 503 503 3 0 5|"
                    "b.test a\xef\xbf\xbd\x01{\"\\ 1 0 0");
}

static void the_latest_errors_of_a_host_take_the_place_of_the_oldest(void **state)
{
    char text[32];
    (void)state;

    for (int i = 0; i < 30; i++) { /* in one batch */
        snprintf(text, sizeof(text), "error %02d", i);
        record(history, "a.test", HEALTH_RETRIED, 0, 1, text);
        record(history, "a.test", HEALTH_RETRIED, 0, 1, "error 00");
        wall_s++;
    }
    record(history, "b.test", HEALTH_RETRIED, 0, 1, "other");
    flush(history);
    database_expect(&db,
                    "SELECT count(*) || ' ' || string_agg(error, ',' ORDER BY error) FILTER (WHERE "
                    "error IN ('error 00', 'error 10', 'error 11', 'error 29')) FROM "
                    "fedpush.domain_error WHERE host = 'a.test'",
                    "20 error 00,error 11,error 29");
    for (int i = 50; i < 53; i++) { /* in another one */
        snprintf(text, sizeof(text), "error %02d", i);
        record(history, "a.test", HEALTH_RETRIED, 0, 1, text);
    }
    flush(history);
    database_expect(&db,
                    "SELECT count(*) || ' ' || min(error) FILTER (WHERE error > 'error 00') FROM "
                    "fedpush.domain_error WHERE host = 'a.test'",
                    "20 error 14");
    database_expect(&db, "SELECT count(*) FROM fedpush.domain_error WHERE host = 'b.test'", "1");
}

static void nothing_is_lost_while_postgres_is_away(void **state)
{
    bool done = false;
    (void)state;

    record(history, "a.test", HEALTH_DELIVERED, 202, 1, "");
    flush(history);
    server_pause_postgres(&db.server);
    record(history, "a.test", HEALTH_RETRIED, 503, 1, "");
    history_flush(history, 300, server_done, &done);
    server_wait(db.base, &done);
    record(history, "a.test", HEALTH_RETRIED, 503, 1, "");
    wall_s += 3600;
    record(history, "a.test", HEALTH_DELIVERED, 202, 1, "");
    server_resume_postgres(&db.server);
    for (int i = 0; history_pending(history) > 0 && i < 50; i++)
        flush(history);
    database_expect(
        &db,
        "SELECT string_agg(concat_ws(' ', delivered, retried, latency[2]), '|' ORDER BY "
        "hour) FROM fedpush.domain_hourly",
        "1 2 3|1 0 1");
    database_expect(&db,
                    "SELECT string_agg(concat_ws(' ', delivered, retried), '|' ORDER BY hour) FROM "
                    "fedpush.fleet_hourly",
                    "1 2|1 0");
    database_expect(&db, "SELECT count FROM fedpush.domain_error", "2");
}

static void a_refused_row_takes_no_other_with_it(void **state)
{
    char host[32];
    (void)state;

    server_sql(&db.server, "ALTER TABLE fedpush.domain_hourly ADD CHECK (host !~ '^bad')");
    for (int i = 0; i < 300; i++) {
        snprintf(host, sizeof(host), "%s%d.test", i % 100 == 7 ? "bad" : "good", i);
        record(history, host, HEALTH_DELIVERED, 202, 1, "");
    }
    flush(history);
    assert_int_equal(history_pending(history), 0);
    database_expect(&db, "SELECT sum(delivered) FROM fedpush.domain_hourly", "297");
    database_expect(&db, "SELECT sum(delivered) FROM fedpush.fleet_minutely", "300");
}

static void past_the_bound_the_oldest_hour_goes(void **state)
{
    char host[32];
    (void)state;

    record(history, "first.test", HEALTH_DELIVERED, 202, 1, "");
    wall_s += 3600;
    for (int i = 0; i < HISTORY_MAX_HOSTS; i++) {
        snprintf(host, sizeof(host), "%d.test", i);
        record(history, host, HEALTH_DELIVERED, 202, 1, "");
    }
    record(history, "0.test", HEALTH_DELIVERED, 202, 1, "");
    assert_int_equal(history_pending(history), HISTORY_MAX_HOSTS + 2 + 2);
    flush(history);
    database_expect(
        &db,
        "SELECT count(*) || ' ' || sum(delivered) || ' ' || count(*) FILTER (WHERE host = "
        "'first.test') FROM fedpush.domain_hourly",
        "50000 50001 0");
    database_expect(&db, "SELECT sum(delivered) FROM fedpush.fleet_hourly", "50002");
}

static void errors_are_bounded_too(void **state)
{
    char host[32];
    (void)state;

    for (int i = 0; i < HISTORY_MAX_ERRORS + 10; i++) {
        snprintf(host, sizeof(host), "%d.test", i);
        record(history, host, HEALTH_RETRIED, 500, 1, "");
    }
    flush(history);
    database_expect(&db, "SELECT count(*) FROM fedpush.domain_error", "4096");
    record(history, "late.test", HEALTH_RETRIED, 500, 1, "");
    flush(history);
    database_expect(&db, "SELECT count(*) FROM fedpush.domain_error", "4097");
}

static void two_machines_write_the_same_rows(void **state)
{
    enum { ROUNDS = 5, HOSTS = 200 };
    struct postgres *other_postgres = database_connect(&db, "postgres");
    struct history *other = history_create(db.base, &test_clock, other_postgres, STR("mx2"));
    char host[32];
    (void)state;

    for (int round = 0; round < ROUNDS; round++) {
        bool done[2] = {false, false};
        for (int i = 0; i < HOSTS; i++) {
            snprintf(host, sizeof(host), "%d.test", round % 2 == 0 ? i : HOSTS - 1 - i);
            record(history, host, HEALTH_RETRIED, 500, 1, "");
            record(other, host, HEALTH_RETRIED, 0, 1, "went wrong");
        }
        history_flush(history, DEADLINE_MS, server_done, &done[0]);
        history_flush(other, DEADLINE_MS, server_done, &done[1]);
        server_wait(db.base, &done[0]);
        server_wait(db.base, &done[1]);
    }
    database_expect(&db,
                    "SELECT min(retried) || ' ' || max(retried) || ' ' || count(*)"
                    " FROM fedpush.domain_hourly",
                    "10 10 200");
    database_expect(&db,
                    "SELECT string_agg(machine || ' ' || retried, '|' ORDER BY machine) FROM "
                    "fedpush.fleet_hourly",
                    "mx1 1000|mx2 1000");
    database_expect(&db, "SELECT min(count) || ' ' || count(*) FROM fedpush.domain_error", "5 400");
    postgres_destroy(other_postgres);
    history_destroy(other);
}

static void it_is_written_without_being_asked(void **state)
{
    size_t pending;
    (void)state;

    record(history, "a.test", HEALTH_RETRIED, 500, 1, "");
    pending = history_pending(history);
    now_ms += HISTORY_EACH_MS;
    for (int i = 0; history_pending(history) == pending && i < 300; i++)
        server_run(db.base, 100);
    database_expect(&db, "SELECT retried FROM fedpush.domain_hourly", "1");
    /* What comes within the next five seconds waits for them to be over. */
    record(history, "a.test", HEALTH_RETRIED, 500, 1, "");
    server_run(db.base, 1500);
    assert_true(history_pending(history) > 0);
    database_expect(&db, "SELECT retried FROM fedpush.domain_hourly", "1");
}

static int start(void **state)
{
    (void)state;

    postgres = database_connect(&db, "postgres");
    database_set_up(&db, postgres);
    history = history_create(db.base, &test_clock, postgres, STR("mx1"));
    wall_s = HOUR_S;
    return 0;
}

static int end(void **state)
{
    (void)state;
    postgres_destroy(postgres);
    history_destroy(history);
    server_sql(&db.server, "DROP SCHEMA fedpush CASCADE");
    return 0;
}

static int start_all(void **state)
{
    (void)state;
    database_start(&db);
    return 0;
}

static int end_all(void **state)
{
    (void)state;
    database_stop(&db);
    return 0;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, start, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(attempts_are_added_up_by_host_and_hour),
        TEST(the_machine_has_its_minutes_and_hours),
        TEST(errors_are_told_apart_and_counted),
        TEST(the_latest_errors_of_a_host_take_the_place_of_the_oldest),
        TEST(nothing_is_lost_while_postgres_is_away),
        TEST(a_refused_row_takes_no_other_with_it),
        TEST(past_the_bound_the_oldest_hour_goes),
        TEST(errors_are_bounded_too),
        TEST(two_machines_write_the_same_rows),
        TEST(it_is_written_without_being_asked),
    };
    return cmocka_run_group_tests(tests, start_all, end_all);
}
