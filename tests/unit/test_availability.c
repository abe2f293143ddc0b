/* Against a real PostgreSQL and a real Redis: Mastodon's failure tracker, as Rails leaves it. */
#include <hiredis/hiredis.h>
#include <setjmp.h>
#include <sodium.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/log.h"
#include "capture.h"
#include "sched/availability.h"
#include "server.h"

static struct server postgres_server;
static struct server redis_server;
static struct redis_endpoint endpoint;
static redisContext *redis_cli;
static struct event_base *base;

static struct postgres *postgres;
static struct redis *redis_base;
static struct redis *redis_cache;
static struct availability *availability;
static bool answered;

/* 2026-03-01 23:59:30 UTC; the monotonic clock moves by hand, too. */
static int64_t mono_ms;
static int64_t wall_s;

static int64_t read_mono(void *arg)
{
    (void)arg;
    return mono_ms;
}

static int64_t read_wall(void *arg)
{
    (void)arg;
    return wall_s * 1000000;
}

static const struct clock test_clock = {read_mono, read_wall, NULL};

/* --- the world --- */

static void redis_do(const char *format, ...) FP_PRINTF(1, 2);
static void redis_do(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    redisReply *reply = redisvCommand(redis_cli, format, args);
    va_end(args);
    assert_non_null(reply);
    assert_int_not_equal(reply->type, REDIS_REPLY_ERROR);
    freeReplyObject(reply);
}

static long long redis_number(const char *command, const char *key)
{
    redisReply *reply = redisCommand(redis_cli, "%s %s", command, key);
    assert_non_null(reply);
    assert_int_equal(reply->type, REDIS_REPLY_INTEGER);
    long long number = reply->integer;
    freeReplyObject(reply);
    return number;
}

static void assert_rows(const char *expected)
{
    char *rows = server_sql_value(
        &postgres_server,
        "SELECT coalesce(string_agg(domain, ' ' ORDER BY domain), '') FROM unavailable_domains");
    assert_string_equal(rows, expected);
    free(rows);
}

static void add_row(const char *domain)
{
    char sql[256];
    snprintf(sql, sizeof(sql),
             "INSERT INTO unavailable_domains VALUES (DEFAULT, '%s', now(), now())", domain);
    server_sql(&postgres_server, sql);
}

static void wait_for_sql(const char *sql, const char *expected)
{
    for (int i = 0; i < SERVER_WAIT_MS / 50; i++) {
        char *value = server_sql_value(&postgres_server, sql);
        bool reached = strcmp(value, expected) == 0;
        free(value);
        if (reached)
            return;
        server_run(base, 50);
    }
    fail_msg("%s: never %s", sql, expected);
}

static struct postgres *connect_as(const char *user)
{
    char conninfo[256];
    snprintf(conninfo, sizeof(conninfo), "host=%s dbname=fedpush_test user=%s",
             postgres_server.socket, user);
    return postgres_create(base, NULL,
                           &(struct postgres_options){
                               .conninfo = str_of(conninfo), .name = "mastodon", .writes = true});
}

static void wait_until_ready(void)
{
    for (int i = 0; i < SERVER_WAIT_MS / 10; i++) {
        if (postgres_is_ready(postgres) && redis_is_ready(redis_base) &&
            redis_is_ready(redis_cache))
            return;
        server_run(base, 10);
    }
    fail_msg("not connected");
}

static void on_answered(void *arg)
{
    (void)arg;
    answered = true;
}

static void nothing(void *arg)
{
    (void)arg;
}

static void nothing_lost(void *arg, const char *reason)
{
    (void)arg;
    (void)reason;
}

static const struct mastodon_version v4_3 = {.major = 4, .minor = 3};
static const struct mastodon_version v4_5 = {.major = 4, .minor = 5};
static const struct mastodon_version v4_6 = {.major = 4, .minor = 6};

static void open_as(const char *user, const char *redis_namespace,
                    const struct mastodon_version *mastodon)
{
    static const struct redis_handlers handlers = {nothing, nothing_lost};

    postgres = connect_as(user);
    redis_base = redis_create(base, NULL, &endpoint, "base", &handlers, NULL);
    redis_cache = redis_create(base, NULL, &endpoint, "cache", &handlers, NULL);
    availability = availability_create(
        &(struct availability_options){.base = base,
                                       .clock = &test_clock,
                                       .postgres = postgres,
                                       .redis_base = redis_base,
                                       .redis_cache = redis_cache,
                                       .redis_namespace = str_of(redis_namespace),
                                       .mastodon = mastodon,
                                       .answered = on_answered});
    wait_until_ready();
}

static void close_all(void)
{
    postgres_destroy(postgres);
    redis_destroy(redis_base);
    redis_destroy(redis_cache);
    availability_destroy(availability);
}

/* Asks until the answer is fresh. */
static bool is_unavailable(const char *host)
{
    bool unavailable = false;

    answered = false;
    while (!availability_lookup(availability, str_of(host), &unavailable)) {
        server_wait(base, &answered);
        answered = false;
    }
    return unavailable;
}

static void track_all(const struct tracker_event *events, size_t count)
{
    bool done = false;

    availability_track(availability, events, count, server_done, &done);
    assert_false(done);
    server_wait(base, &done);
}

static void track(const char *host, bool success)
{
    track_all(&(struct tracker_event){str_of(host), success}, 1);
}

/* What was sent to the cache without waiting has been answered. */
static void settle_cache(void)
{
    for (int i = 0; redis_outstanding(redis_cache) > 0 && i < SERVER_WAIT_MS / 10; i++)
        server_run(base, 10);
    assert_int_equal(redis_outstanding(redis_cache), 0);
}

static void set_cache(void)
{
    redis_do("SET cache:unavailable_domains stale");
}

static bool cache_stands(void)
{
    settle_cache();
    return redis_number("EXISTS", "cache:unavailable_domains") == 1;
}

/* --- reading --- */

static void a_host_is_unavailable_while_its_row_stands(void **state)
{
    bool unavailable = true;
    (void)state;

    add_row("down.test");
    assert_false(availability_lookup(availability, STR("down.test"), &unavailable));
    assert_false(unavailable);
    assert_true(is_unavailable("down.test"));
    assert_false(is_unavailable("up.test"));
}

static void an_answer_is_good_for_five_seconds(void **state)
{
    bool unavailable;
    (void)state;

    assert_false(is_unavailable("stop.test"));
    add_row("stop.test"); /* "stop delivery" in Mastodon's admin pages */
    mono_ms += AVAILABILITY_FRESH_MS;
    assert_true(availability_lookup(availability, STR("stop.test"), &unavailable));
    assert_false(unavailable);
    mono_ms += 1;
    assert_false(availability_lookup(availability, STR("stop.test"), &unavailable));
    assert_true(is_unavailable("stop.test"));
}

static void many_hosts_are_asked_for_at_once(void **state)
{
    enum { HOSTS = 2500 };
    char host[32];
    bool unavailable;
    int down = 0;
    (void)state;

    server_sql(&postgres_server, "INSERT INTO unavailable_domains (domain, created_at, updated_at)"
                                 " SELECT 'h' || n || '.test', now(), now() FROM"
                                 " generate_series(0, 2499, 10) AS n");
    for (int i = 0; i < HOSTS; i++) {
        snprintf(host, sizeof(host), "h%d.test", i);
        assert_false(availability_lookup(availability, str_of(host), &unavailable));
    }
    for (int i = 0; i < HOSTS; i++) {
        snprintf(host, sizeof(host), "h%d.test", i);
        down += is_unavailable(host);
    }
    assert_int_equal(down, HOSTS / 10);
}

static void without_postgres_the_last_known_counts(void **state)
{
    bool unavailable;
    (void)state;

    add_row("down.test");
    assert_true(is_unavailable("down.test"));
    server_pause_postgres(&postgres_server);
    for (int i = 0; postgres_is_ready(postgres) && i < SERVER_WAIT_MS / 10; i++)
        server_run(base, 10);
    mono_ms += AVAILABILITY_FRESH_MS + 1;
    assert_true(availability_lookup(availability, STR("down.test"), &unavailable));
    assert_true(unavailable);
    assert_true(availability_lookup(availability, STR("new.test"), &unavailable));
    assert_false(unavailable);
    server_resume_postgres(&postgres_server);
    wait_until_ready();
    assert_false(availability_lookup(availability, STR("new.test"), &unavailable));
}

/* --- tracking --- */

static void seven_days_of_failure_make_a_host_unavailable(void **state)
{
    (void)state;

    set_cache();
    for (int day = 1; day <= TRACKER_DAYS; day++) {
        assert_rows("");
        assert_true(cache_stands());
        track("gone.test", false);
        track("gone.test", false); /* the same day counts once */
        assert_int_equal(redis_number("SCARD", "exhausted_deliveries:gone.test"), day);
        wall_s += 24 * 3600;
    }
    assert_rows("gone.test");
    assert_false(cache_stands());
    assert_true(is_unavailable("gone.test"));
    redisReply *days = redisCommand(redis_cli, "SORT exhausted_deliveries:gone.test LIMIT 0 2");
    assert_string_equal(days->element[0]->str, "20260301");
    assert_string_equal(days->element[1]->str, "20260302");
    freeReplyObject(days);
    char *utc = server_sql_value(&postgres_server,
                                 "SELECT abs(extract(epoch FROM created_at - (now() AT TIME ZONE "
                                 "'utc'))) < 60 AND created_at = updated_at"
                                 " FROM unavailable_domains");
    assert_string_equal(utc, "t");
    free(utc);
}

static void an_existing_row_leaves_the_cache_alone(void **state)
{
    (void)state;

    for (int day = 0; day < TRACKER_DAYS; day++)
        redis_do("SADD exhausted_deliveries:gone.test 2026010%d", day);
    add_row("gone.test");
    set_cache();
    track("gone.test", false);
    assert_rows("gone.test");
    assert_true(cache_stands());
}

static void a_success_clears_days_and_row(void **state)
{
    (void)state;

    redis_do("SADD exhausted_deliveries:back.test 20260101");
    add_row("back.test");
    add_row("other.test");
    set_cache();
    track("back.test", true);
    assert_int_equal(redis_number("EXISTS", "exhausted_deliveries:back.test"), 0);
    assert_rows("other.test");
    assert_false(cache_stands());
    set_cache();
    track("back.test", true);
    assert_true(cache_stands());
}

static void a_row_that_was_not_known_goes_in_the_background(void **state)
{
    (void)state;

    assert_false(is_unavailable("late.test"));
    add_row("late.test");
    track("late.test", true);
    assert_rows("late.test"); /* nobody waited for PostgreSQL */
    wait_for_sql("SELECT count(*) FROM unavailable_domains", "0");
}

static void the_last_event_of_a_host_counts(void **state)
{
    (void)state;

    track_all((struct tracker_event[]){{STR("a.test"), false},
                                       {STR("b.test"), true},
                                       {STR("c.test"), false},
                                       {STR("a.test"), true},
                                       {STR("b.test"), false}},
              5);
    assert_int_equal(redis_number("EXISTS", "exhausted_deliveries:a.test"), 0);
    assert_int_equal(redis_number("SCARD", "exhausted_deliveries:b.test"), 1);
    assert_int_equal(redis_number("SCARD", "exhausted_deliveries:c.test"), 1);
}

static void a_batch_is_one_round_trip(void **state)
{
    struct tracker_event events[40];
    char hosts[40][16];
    (void)state;

    for (int i = 0; i < 40; i++) {
        snprintf(hosts[i], sizeof(hosts[i]), "host%d.test", i);
        events[i] = (struct tracker_event){str_of(hosts[i]), i % 2 == 0};
    }
    uint64_t before = redis_round_trips(redis_base);
    track_all(events, 40);
    assert_int_equal(redis_round_trips(redis_base) - before, 1);
    assert_int_equal(redis_number("SCARD", "exhausted_deliveries:host39.test"), 1);
}

static void an_empty_batch_is_done(void **state)
{
    (void)state;
    track_all(NULL, 0);
}

static void nobody_waits_longer_than_a_second(void **state)
{
    bool done = false;
    struct tracker_event event = {STR("slow.test"), true};
    (void)state;

    add_row("slow.test");
    struct postgres *other = connect_as("postgres");
    postgres_query(
        other, NULL, NULL, 60000,
        "BEGIN; SELECT * FROM unavailable_domains FOR UPDATE; SELECT pg_sleep(8); COMMIT", 0, NULL);
    wait_for_sql("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'", "1");
    struct clock real = clock_system();
    int64_t before = clock_mono_ms(&real);
    availability_track(availability, &event, 1, server_done, &done);
    server_wait(base, &done);
    int64_t waited_ms = clock_mono_ms(&real) - before;
    assert_true(waited_ms >= TRACKER_WAIT_MS - 50 && waited_ms < 7500);
    assert_rows("slow.test");
    /* the late answer finds nobody that waits for it */
    wait_for_sql("SELECT count(*) FROM unavailable_domains", "0");
    postgres_destroy(other);
}

static void a_namespace_is_part_of_every_key(void **state)
{
    (void)state;

    close_all();
    open_as("postgres", "masto", &v4_3);
    redis_do("SET masto_cache:unavailable_domains stale");
    for (int day = 0; day < TRACKER_DAYS; day++) {
        track("gone.test", false);
        wall_s += 24 * 3600;
    }
    assert_int_equal(redis_number("SCARD", "masto:exhausted_deliveries:gone.test"), TRACKER_DAYS);
    settle_cache();
    assert_int_equal(redis_number("EXISTS", "masto_cache:unavailable_domains"), 0);
    track("gone.test", true);
    assert_int_equal(redis_number("EXISTS", "masto:exhausted_deliveries:gone.test"), 0);
    assert_rows("");
}

static bool was_unlinked(void)
{
    redisReply *reply = redisCommand(redis_cli, "INFO commandstats");
    bool unlinked = strstr(reply->str, "cmdstat_unlink") != NULL;
    freeReplyObject(reply);
    return unlinked;
}

static void the_cache_key_goes_as_rails_does_it(void **state)
{
    (void)state;

    for (int unlink_too = 0; unlink_too < 2; unlink_too++) {
        close_all();
        open_as("postgres", "", unlink_too == 1 ? &v4_6 : &v4_5);
        redis_do("CONFIG RESETSTAT");
        add_row("back.test");
        set_cache();
        track("back.test", true);
        assert_false(cache_stands());
        assert_int_equal(was_unlinked(), unlink_too);
    }
}

static void read_and_track_in_vain(void)
{
    assert_false(is_unavailable("down.test"));
    track("down.test", true);
    for (int day = 0; day < TRACKER_DAYS; day++) {
        track("failing.test", false);
        wall_s += 24 * 3600;
    }
}

static void missing_rights_are_named_and_deliveries_go_on(void **state)
{
    (void)state;

    close_all();
    open_as("limited", "", &v4_5);
    add_row("down.test");
    assert_int_equal(capture_count(read_and_track_in_vain,
                                   "GRANT SELECT, INSERT, DELETE ON public.unavailable_domains TO "
                                   "\\\"limited\\\"; GRANT USAGE ON SEQUENCE "
                                   "public.unavailable_domains_id_seq TO \\\"limited\\\""),
                     1);
    assert_rows("down.test");
    server_sql(&postgres_server,
               "GRANT SELECT, INSERT, DELETE ON public.unavailable_domains TO \"limited\"; GRANT "
               "USAGE ON SEQUENCE public.unavailable_domains_id_seq TO \"limited\"");
    mono_ms += AVAILABILITY_FRESH_MS + 1;
    assert_true(is_unavailable("down.test"));
    track("down.test", true);
    track("failing.test", false);
    assert_rows("failing.test");
}

/* --- the frame --- */

static int prepare(void **state)
{
    (void)state;
    server_sql(&postgres_server, "TRUNCATE unavailable_domains");
    redis_do("FLUSHALL");
    mono_ms = 1000 * 1000;
    wall_s = 1772409570;
    answered = false;
    open_as("postgres", "", &v4_5);
    return 0;
}

static int finish(void **state)
{
    (void)state;
    close_all();
    return 0;
}

static int start(void **state)
{
    char url[160];
    struct err err;
    (void)state;

    if (sodium_init() < 0)
        return -1;
    log_open("test", LOG_LEVEL_ERROR);
    base = loop_create();
    server_start_postgres(&postgres_server);
    server_start_redis(&redis_server);
    snprintf(url, sizeof(url), "unix://%s", redis_server.socket);
    if (redis_endpoint_parse(&endpoint, str_of(url), STR_NULL, &err) != FP_OK)
        return -1;
    redis_cli = redisConnectUnix(redis_server.socket);
    server_sql(&postgres_server,
               "CREATE TABLE unavailable_domains (id bigserial PRIMARY KEY,"
               " domain varchar NOT NULL DEFAULT '', created_at timestamp(6) NOT NULL,"
               " updated_at timestamp(6) NOT NULL);"
               "CREATE UNIQUE INDEX index_unavailable_domains_on_domain"
               " ON unavailable_domains (domain);"
               "CREATE ROLE limited LOGIN;"
               "ALTER DATABASE fedpush_test SET timezone = 'Asia/Tokyo'");
    return redis_cli != NULL && redis_cli->err == 0 ? 0 : -1;
}

static int stop(void **state)
{
    (void)state;
    redisFree(redis_cli);
    redis_endpoint_clear(&endpoint);
    server_stop(&redis_server);
    server_stop(&postgres_server);
    event_base_free(base);
    return 0;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, prepare, finish)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_host_is_unavailable_while_its_row_stands),
        TEST(an_answer_is_good_for_five_seconds),
        TEST(many_hosts_are_asked_for_at_once),
        TEST(without_postgres_the_last_known_counts),
        TEST(seven_days_of_failure_make_a_host_unavailable),
        TEST(an_existing_row_leaves_the_cache_alone),
        TEST(a_success_clears_days_and_row),
        TEST(a_row_that_was_not_known_goes_in_the_background),
        TEST(the_last_event_of_a_host_counts),
        TEST(a_batch_is_one_round_trip),
        TEST(an_empty_batch_is_done),
        TEST(nobody_waits_longer_than_a_second),
        TEST(a_namespace_is_part_of_every_key),
        TEST(the_cache_key_goes_as_rails_does_it),
        TEST(missing_rights_are_named_and_deliveries_go_on),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
