/* Against a real PostgreSQL: what of the history is kept, and what becomes of the rest. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "database.h"
#include "sched/retention.h"

static struct database db;
static struct postgres *postgres;
static struct retention *retention;
static struct clock test_clock;
static struct rng rng;

static void run(void)
{
    bool done = false;

    retention_run(retention, server_done, &done);
    server_wait(db.base, &done);
}

/* A full day in UTC, so long ago that it is rolled up. */
#define DAY "(date_trunc('day', now() AT TIME ZONE 'UTC') AT TIME ZONE 'UTC' - interval '9 days')"
#define ROWS                                                                                       \
    "SELECT string_agg(concat_ws(' ', host, extract(epoch FROM hour - " DAY                        \
    ")::bigint / 3600, hours, delivered, exhausted, sent_bytes, latency[1], latency[24]), '|' "    \
    "ORDER BY host, hour) FROM fedpush.domain_hourly"

static void add_hours(const char *host, const char *from, const char *count)
{
    char *sql = mem_printf(
        "INSERT INTO fedpush.domain_hourly (host, hour, delivered, exhausted, sent_bytes,"
        " latency) SELECT '%s', " DAY " + make_interval(hours => i), i, 1, 10,"
        " array_fill(2::bigint, ARRAY[24]) FROM generate_series(%s, %s) i",
        host, from, count);
    server_sql(&db.server, sql);
    free(sql);
}

static void old_hours_become_a_day(void **state)
{
    (void)state;

    add_hours("a.test", "0", "23");
    add_hours("b.test", "3", "5");
    add_hours("b.test", "24", "25"); /* of the first day that is kept as it is */
    run();
    database_expect(&db, ROWS,
                    "a.test 0 24 276 24 240 48 48|b.test 0 24 12 3 30 6 6|"
                    "b.test 24 1 24 1 10 2 2|b.test 25 1 25 1 10 2 2");
    add_hours("a.test", "7", "8"); /* a machine was long without PostgreSQL */
    run();
    run();
    database_expect(
        &db,
        "SELECT concat_ws(' ', hours, delivered, latency[24]) FROM fedpush.domain_hourly "
        "WHERE host = 'a.test'",
        "24 291 52");
}

static void many_rows_take_several_turns(void **state)
{
    (void)state;

    server_sql(&db.server, "INSERT INTO fedpush.domain_hourly (host, hour, delivered)"
                           " SELECT 'h' || h, " DAY " + make_interval(hours => i), 1"
                           " FROM generate_series(0, 23) i, generate_series(1, 200) h;"
                           "INSERT INTO fedpush.fleet_minutely (minute, machine)"
                           " SELECT now() - interval '49 hours' - make_interval(mins => i), 'mx1'"
                           " FROM generate_series(1, 5000) i");
    run();
    database_expect(&db,
                    "SELECT count(*) || ' ' || min(delivered) || ' ' || max(delivered) || ' ' || "
                    "min(hours) FROM fedpush.domain_hourly",
                    "200 24 24 24");
    database_expect(&db, "SELECT count(*) FROM fedpush.fleet_minutely", "0");
}

static void each_kind_of_row_has_its_age(void **state)
{
    (void)state;

    server_sql(&db.server,
               "INSERT INTO fedpush.fleet_minutely (minute, machine) SELECT now() - "
               "make_interval(hours => i), 'mx1' FROM unnest(ARRAY[47, 49]) i;"
               "INSERT INTO fedpush.fleet_hourly (hour, machine) SELECT now() - "
               "make_interval(days => i), 'mx1' FROM unnest(ARRAY[29, 31]) i;"
               "INSERT INTO fedpush.domain_hourly (host, hour, hours) SELECT 'a.test', now() - "
               "make_interval(days => i), 24 FROM unnest(ARRAY[29, 31]) i;"
               "INSERT INTO fedpush.domain_error (host, error, first_at, last_at) SELECT 'a.test',"
               " i, now() - interval '99 days', now() - make_interval(days => i)"
               " FROM unnest(ARRAY[29, 31]) i");
    run();
    database_expect(
        &db,
        "SELECT count(*) || ' ' || min(extract(epoch FROM now() - minute)::bigint / 3600) "
        "FROM fedpush.fleet_minutely",
        "1 47");
    database_expect(
        &db,
        "SELECT count(*) || ' ' || min(extract(epoch FROM now() - hour)::bigint / 86400) "
        "FROM fedpush.fleet_hourly",
        "1 29");
    database_expect(
        &db,
        "SELECT count(*) || ' ' || min(extract(epoch FROM now() - hour)::bigint / 86400) "
        "FROM fedpush.domain_hourly",
        "1 29");
    database_expect(&db, "SELECT string_agg(error, ',') FROM fedpush.domain_error", "29");
}

static void the_audit_has_an_age_and_a_size(void **state)
{
    (void)state;

    server_sql(&db.server, "INSERT INTO fedpush.audit (id, at, who, action, domain, detail)"
                           " SELECT 'a' || i, now() - make_interval(days => i), 'w', 'a', 'd', ''"
                           " FROM unnest(ARRAY[700, 740]) i");
    run();
    database_expect(&db, "SELECT string_agg(id, ',') FROM fedpush.audit", "a700");
    server_sql(&db.server, "INSERT INTO fedpush.audit (id, at, who, action, domain, detail)"
                           " SELECT 'b' || i, now() - make_interval(secs => i), 'w', 'a', 'd', ''"
                           " FROM generate_series(1, 104500) i");
    run();
    database_expect(&db,
                    "SELECT count(*) || ' ' || bool_or(id = 'b1') || ' ' || bool_or(id = 'b100000')"
                    " || ' ' || bool_or(id = 'a700') FROM fedpush.audit",
                    "100000 true true false");
}

static void nobody_is_waited_for(void **state)
{
    PGconn *other;
    char *conninfo = mem_printf("host=%s dbname=fedpush_test user=postgres", db.server.socket);
    (void)state;

    add_hours("a.test", "0", "1");
    add_hours("b.test", "0", "1");
    other = PQconnectdb(conninfo);
    free(conninfo);
    /* Somebody counts a row up that should go. */
    PQclear(PQexec(other, "BEGIN; UPDATE fedpush.domain_hourly SET delivered = 100 WHERE host = "
                          "'a.test'"));
    run();
    database_expect(&db,
                    "SELECT string_agg(host || ' ' || hours, ',' ORDER BY host, hour) FROM "
                    "fedpush.domain_hourly",
                    "a.test 1,a.test 1,b.test 24");
    /* And another machine is at it just now. */
    PQclear(PQexec(other, "COMMIT; BEGIN; SELECT pg_advisory_xact_lock(8316293742)"));
    run();
    database_expect(&db, "SELECT count(*) FROM fedpush.domain_hourly", "3");
    PQclear(PQexec(other, "COMMIT"));
    run();
    database_expect(
        &db,
        "SELECT string_agg(host || ' ' || hours || ' ' || delivered, ',' ORDER BY host) "
        "FROM fedpush.domain_hourly",
        "a.test 24 200,b.test 24 1");
    PQfinish(other);
}

static void it_begins_by_itself(void **state)
{
    (void)state;

    add_hours("a.test", "0", "1");
    /* Within the first minutes: the clock is the test's, and it goes fast. */
    for (int i = 0; i < 100; i++) {
        char *rows = server_sql_value(&db.server, "SELECT count(*) FROM fedpush.domain_hourly");
        bool rolled_up = rows[0] == '1';
        free(rows);
        if (rolled_up)
            return;
        *(int64_t *)test_clock.arg += 10000;
        retention_tick(retention);
        server_run(db.base, 100);
    }
    fail();
}

static int64_t mono_ms(void *arg)
{
    return *(int64_t *)arg;
}

static int start(void **state)
{
    static int64_t now_ms = 1000;
    (void)state;

    test_clock = (struct clock){.mono_ms = mono_ms, .arg = &now_ms};
    postgres = database_connect(&db, "postgres");
    database_set_up(&db, postgres);
    retention = retention_create(db.base, &test_clock, &rng, postgres, 30);
    return 0;
}

static int end(void **state)
{
    (void)state;
    postgres_destroy(postgres);
    retention_destroy(retention);
    server_sql(&db.server, "DROP SCHEMA fedpush CASCADE");
    return 0;
}

static int start_all(void **state)
{
    (void)state;
    database_start(&db);
    rng = rng_system();
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
        TEST(old_hours_become_a_day),       TEST(many_rows_take_several_turns),
        TEST(each_kind_of_row_has_its_age), TEST(the_audit_has_an_age_and_a_size),
        TEST(nobody_is_waited_for),         TEST(it_begins_by_itself),
    };
    return cmocka_run_group_tests(tests, start_all, end_all);
}
