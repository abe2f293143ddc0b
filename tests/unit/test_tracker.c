/* Mastodon's delivery failure tracker, against a real PostgreSQL and a real Redis. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/loop.h"
#include "sched/availability.h"
#include "store.h"

static const struct mastodon_version v4_3 = {.major = 4, .minor = 3};

struct fixture {
    struct store store;
    struct server database;
    struct redis *redis;
    struct postgres *postgres;
    struct availability *availability;
    struct clock clock;
    int64_t ahead_ms;
    bool redis_ready;
    bool answered;
    bool done;
};

static int64_t mono_ms(void *arg)
{
    const struct fixture *f = arg;
    const struct clock system = clock_system();
    return clock_mono_ms(&system) + f->ahead_ms;
}

static int64_t wall_us(void *arg)
{
    const struct fixture *f = arg;
    return 1800000000000000 + f->ahead_ms * 1000; /* 15 January 2027 */
}

static void on_ready(void *arg)
{
    struct fixture *f = arg;
    f->redis_ready = true;
}

static void on_lost(void *arg, const char *reason)
{
    (void)arg;
    (void)reason;
}

static void on_answered(void *arg)
{
    struct fixture *f = arg;
    f->answered = true;
}

static void on_done(void *arg)
{
    struct fixture *f = arg;
    f->done = true;
}

static int start(void **state)
{
    static const struct redis_handlers handlers = {on_ready, on_lost};
    struct fixture *f = mem_alloc(sizeof(*f));
    char conninfo[256];

    store_start(&f->store);
    server_start_postgres(&f->database);
    server_sql(&f->database,
               "CREATE TABLE unavailable_domains (id bigserial PRIMARY KEY, "
               "domain varchar NOT NULL DEFAULT '' UNIQUE, created_at timestamp NOT NULL, "
               "updated_at timestamp NOT NULL)");
    snprintf(conninfo, sizeof(conninfo), "host=%s user=postgres dbname=fedpush_test",
             f->database.socket);
    f->clock = (struct clock){mono_ms, wall_us, f};
    f->redis = redis_create(f->store.base, f->store.dns, &f->store.endpoint, "test", &handlers, f);
    f->postgres = postgres_create(
        f->store.base, f->store.dns,
        &(struct postgres_options){.conninfo = str_of(conninfo), .name = "test", .writes = true});
    f->availability = availability_create(&(struct availability_options){.base = f->store.base,
                                                                         .clock = &f->clock,
                                                                         .postgres = f->postgres,
                                                                         .redis_base = f->redis,
                                                                         .redis_cache = f->redis,
                                                                         .mastodon = &v4_3,
                                                                         .answered = on_answered,
                                                                         .arg = f});
    server_wait(f->store.base, &f->redis_ready);
    for (int i = 0; i < 200 && !postgres_is_ready(f->postgres); i++)
        server_run(f->store.base, 20);
    assert_true(postgres_is_ready(f->postgres));
    *state = f;
    return 0;
}

static int end(void **state)
{
    struct fixture *f = *state;

    redis_destroy(f->redis);
    postgres_destroy(f->postgres);
    availability_destroy(f->availability);
    server_stop(&f->database);
    store_stop(&f->store);
    free(f);
    return 0;
}

static void track(struct fixture *f, const char *host, bool success)
{
    const struct tracker_event event = {str_of(host), success};
    f->done = false;
    availability_track(f->availability, &event, 1, on_done, f);
    assert_false(f->done); /* from the loop */
    server_wait(f->store.base, &f->done);
}

static bool is_unavailable(struct fixture *f, const char *host)
{
    bool unavailable;

    f->answered = false;
    if (!availability_lookup(f->availability, str_of(host), &unavailable)) {
        server_wait(f->store.base, &f->answered);
        assert_true(availability_lookup(f->availability, str_of(host), &unavailable));
    }
    return unavailable;
}

static void expect_rows(struct fixture *f, const char *expected)
{
    char *rows = server_sql_value(
        &f->database, "SELECT coalesce(string_agg(domain, ',' ORDER BY domain), '') FROM "
                      "unavailable_domains");
    assert_string_equal(rows, expected);
    free(rows);
}

/* By a command that nobody waits for. */
static void expect_cache_dropped(struct fixture *f)
{
    bool there = true;

    for (int waited_ms = 0; there && waited_ms < SERVER_WAIT_MS; waited_ms += 20) {
        redisReply *reply = redisCommand(f->store.direct, "EXISTS cache:unavailable_domains");
        assert_non_null(reply);
        there = reply->integer != 0;
        freeReplyObject(reply);
        if (there)
            server_run(f->store.base, 20);
    }
    assert_false(there);
}

static void test_seven_days_make_a_host_unavailable(void **state)
{
    struct fixture *f = *state;

    store_expect(&f->store, "OK", "SET cache:unavailable_domains x");
    assert_false(is_unavailable(f, "a.example"));
    for (int day = 1; day <= 7; day++) {
        expect_rows(f, "");
        track(f, "a.example", false);
        track(f, "a.example", false); /* a day counts once */
        f->ahead_ms += 24 * 3600 * 1000;
    }
    expect_rows(f, "a.example");
    store_expect(&f->store, "7", "SCARD exhausted_deliveries:a.example");
    store_expect(&f->store, "1", "SISMEMBER exhausted_deliveries:a.example 20270115");
    expect_cache_dropped(f);
    assert_true(is_unavailable(f, "a.example"));
    assert_false(is_unavailable(f, "b.example"));
    store_expect(&f->store, "OK", "SET cache:unavailable_domains x");
    track(f, "a.example", false); /* there is a row already: nothing changed for Rails */
    server_run(f->store.base, 50);
    store_expect(&f->store, "1", "EXISTS cache:unavailable_domains");
    expect_rows(f, "a.example");
}

static void test_success_clears_everything(void **state)
{
    struct fixture *f = *state;

    track(f, "a.example", true);
    expect_rows(f, "");
    store_expect(&f->store, "0", "EXISTS exhausted_deliveries:a.example");
    expect_cache_dropped(f);
    assert_false(is_unavailable(f, "a.example"));
}

static void test_last_known_answer_while_postgres_is_away(void **state)
{
    struct fixture *f = *state;

    server_sql(&f->database, "INSERT INTO unavailable_domains (domain, created_at, updated_at) "
                             "VALUES ('dead.example', now(), now())");
    assert_true(is_unavailable(f, "dead.example"));
    server_pause_postgres(&f->database);
    while (postgres_is_ready(f->postgres))
        event_base_loop(f->store.base, EVLOOP_ONCE);
    f->ahead_ms += AVAILABILITY_FRESH_MS + 1000;
    assert_true(is_unavailable(f, "dead.example"));
    assert_false(is_unavailable(f, "never-asked.example"));
    track(f, "dead.example", true); /* holds nobody for longer than a second */
    store_expect(&f->store, "0", "EXISTS exhausted_deliveries:dead.example");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_seven_days_make_a_host_unavailable),
        cmocka_unit_test(test_success_clears_everything),
        cmocka_unit_test(test_last_known_answer_while_postgres_is_away),
    };
    return cmocka_run_group_tests(tests, start, end);
}
