/* Every host's booked jobs are called back, however many hosts there are; through a real Redis, the
 * monotonic clock is the test's. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>
#include <sodium.h>

#include "sched/releases.h"
#include "store.h"

enum { START_MS = 1000000, TICKS = 30, TICK_MS = 1000, HOSTS = 5000 };

struct fixture {
    struct store store;
    struct clock clock;
    struct rng rng;
    int64_t now_ms;
    struct redis *redis;
    struct membership *membership;
    struct fleet *fleet;
    struct lanes *lanes;
    struct releases *releases;
    bool ready;
};

static int64_t mono_ms(void *arg)
{
    return *(int64_t *)arg;
}

static int64_t wall_us(void *arg)
{
    (void)arg;
    return (int64_t)1700000000 * 1000000;
}

static void on_ready(void *arg)
{
    struct fixture *f = arg;
    script_load(f->redis);
    f->ready = true;
}

static void on_lost(void *arg, const char *reason)
{
    (void)arg;
    (void)reason;
}

static void on_event(void *arg)
{
    (void)arg;
}

static int start(void **state)
{
    static const struct redis_handlers handlers = {on_ready, on_lost};
    static const struct membership_handlers member = {on_event, on_event, NULL};
    struct fixture *f = mem_alloc(sizeof(*f));

    signal(SIGPIPE, SIG_IGN);
    store_start(&f->store);
    f->now_ms = START_MS;
    f->clock = (struct clock){mono_ms, wall_us, &f->now_ms};
    f->rng = rng_system();
    f->redis = redis_create(f->store.base, f->store.dns, &f->store.endpoint, "test", &handlers, f);
    f->membership = membership_create(f->store.base, &f->clock, f->redis, &f->store.keys, &member);
    f->fleet = fleet_create(&(struct fleet_options){.clock = &f->clock,
                                                    .rng = &f->rng,
                                                    .redis = f->redis,
                                                    .keys = &f->store.keys,
                                                    .membership = f->membership});
    f->lanes = lanes_create(&(struct lane_options){.workers = 2,
                                                   .host_window = 32,
                                                   .max_in_flight = 2048,
                                                   .lookahead_jobs = 4096,
                                                   .rng = &f->rng});
    f->releases = releases_create(&f->clock, f->lanes, f->fleet);
    server_wait(f->store.base, &f->ready);
    *state = f;
    return 0;
}

static int end(void **state)
{
    struct fixture *f = *state;

    store_settle(&f->store, f->redis, 1);
    redis_destroy(f->redis);
    fleet_destroy(f->fleet);
    membership_destroy(f->membership);
    releases_destroy(f->releases);
    lanes_destroy(f->lanes);
    store_stop(&f->store);
    free(f);
    return 0;
}

/* So many jobs of each host are booked, to come in an hour or more, none at the same time. */
static void book(struct fixture *f, int each)
{
    char lua[512];

    snprintf(lua, sizeof(lua),
             "local now = redis.call('TIME')[1] for i = 1, %d do for j = 1, %d do "
             "local score = string.format('%%d.%%06d', now + 3600 + i, j) "
             "redis.call('ZADD', 'schedule', score, i .. ' ' .. j) "
             "redis.call('ZADD', 'fedpush:booked:' .. i .. '.example', score, 's' .. score) "
             "end end",
             HOSTS, each);
    store_expect(&f->store, NULL, "EVAL %s 0", lua);
}

static struct lane *lane_of(struct fixture *f, int number)
{
    char host[32];

    snprintf(host, sizeof(host), "%d.example", number);
    return lanes_get(f->lanes, str_of(host), f->now_ms);
}

/* How many jobs will come in more than half an hour. */
static unsigned booked(const struct fixture *f)
{
    redisReply *reply =
        redisCommand(f->store.direct, "EVAL %s 0",
                     "return redis.call('ZCOUNT', 'schedule', redis.call('TIME')[1] + 1800,"
                     " '+inf')");
    assert_int_equal(reply->type, REDIS_REPLY_INTEGER);
    unsigned count = (unsigned)reply->integer;
    freeReplyObject(reply);
    return count;
}

/* A second passes; returns how many jobs it called back. */
static unsigned tick(struct fixture *f)
{
    unsigned before = booked(f);

    f->now_ms += TICK_MS;
    releases_tick(f->releases);
    while (redis_outstanding(f->redis) > 0)
        event_base_loop(f->store.base, EVLOOP_ONCE);
    return before - booked(f);
}

static void all_hosts_are_called_back(void **state)
{
    struct fixture *f = *state;

    book(f, 2);
    for (int i = 1; i <= HOSTS; i++) {
        struct lane *lane = lane_of(f, i);
        if (i % 2 == 0) /* a probe is due: one job for each */
            lanes_adopt_open(f->lanes, lane, 0, 1, 30000, f->now_ms);
        else
            lanes_booked(lane, f->now_ms);
        releases_want(f->releases, lane->host);
    }
    assert_true(releases_any(f->releases));
    for (int i = 0; i < TICKS && booked(f) > HOSTS / 2; i++)
        tick(f);
    assert_int_equal(booked(f), HOSTS / 2);
    store_expect(&f->store, "1|0", "EVAL %s 0",
                 "return {redis.call('ZCARD', 'fedpush:booked:5000.example'),"
                 " redis.call('ZCARD', 'fedpush:booked:4999.example')}");
    for (int i = 2; i <= HOSTS; i += 2) {
        struct lane *lane = lane_of(f, i);
        lanes_adopt_closed(f->lanes, lane, f->now_ms); /* another machine's probe was answered */
        lanes_booked(lane, f->now_ms);
        releases_want(f->releases, lane->host);
    }
    for (int i = 0; i < TICKS && booked(f) > 0; i++)
        tick(f);
    assert_int_equal(booked(f), 0);
    for (int i = 0; i < TICKS && releases_any(f->releases); i++)
        tick(f);
    assert_false(releases_any(f->releases));
    for (int i = 1; i <= HOSTS; i++) /* what arrives needn't go behind anything */
        assert_true(lane_of(f, i)->reserved_ms <= f->now_ms);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(all_hosts_are_called_back, start, end),
    };
    return cmocka_run_group_tests_name("releases", tests, NULL, NULL);
}
