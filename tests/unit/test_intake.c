/*
 * What is claimed when, against a real Redis: pull beside push, and the rate. Time stands still
 * but for what the test moves.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <sodium.h>

#include "base/loop.h"
#include "sched/intake.h"
#include "store.h"

struct fixture {
    struct store store;
    struct clock clock;
    int64_t now_ms;
    struct redis *redis;
    struct redis *redis_wait;
    struct membership *membership;
    struct holdings holdings;
    struct intake *intake;
    unsigned room;
    unsigned pull_room;
    bool finite;            /* what is accepted takes from `room` */
    unsigned accepted[128]; /* by origin */
    bool joined;
    bool fenced;
    bool given_up; /* what BLMOVE waited on */
    bool stopped;
    bool quiet; /* Redis has answered all that came before */
};

static int64_t mono_ms(void *arg)
{
    const struct fixture *f = arg;
    return f->now_ms;
}

static int64_t wall_us(void *arg)
{
    (void)arg;
    return INT64_C(1800000000000000);
}

static void on_joined(void *arg)
{
    struct fixture *f = arg;
    intake_start(f->intake);
    f->joined = true;
}

/* As the scheduler does. */
static void on_fenced(void *arg)
{
    struct fixture *f = arg;
    intake_forget(f->intake);
    f->fenced = true;
    f->given_up = !redis_is_ready(f->redis_wait);
}

static void on_ready(void *arg)
{
    struct fixture *f = arg;
    script_load(f->redis);
    membership_redis_ready(f->membership);
}

static void on_lost(void *arg, const char *reason)
{
    struct fixture *f = arg;
    (void)reason;
    membership_redis_lost(f->membership);
}

static void on_wait_ready(void *arg)
{
    (void)arg;
}

static void on_wait_lost(void *arg, const char *reason)
{
    (void)arg;
    (void)reason;
}

static struct room on_room(void *arg)
{
    const struct fixture *f = arg;
    return (struct room){f->room, 1024 * 1024};
}

static struct room on_pull_room(void *arg)
{
    const struct fixture *f = arg;
    return (struct room){f->pull_room, 1024 * 1024};
}

/* Accepted, and at once over with: rooms stay as they are, unless they are to shrink. */
static void on_accept(void *arg, struct claim *claim)
{
    struct fixture *f = arg;

    f->accepted[claim->origin]++;
    if (f->finite && claim->origin == ORIGIN_QUEUE)
        f->room--;
    holdings_remove(&f->holdings, claim);
    claim_destroy(claim);
}

static void wire(struct fixture *f)
{
    static const struct redis_handlers handlers = {on_ready, on_lost};
    static const struct redis_handlers wait_handlers = {on_wait_ready, on_wait_lost};
    const struct membership_handlers member = {on_joined, on_fenced, f};

    f->clock = (struct clock){.mono_ms = mono_ms, .wall_us = wall_us, .arg = f};
    holdings_init(&f->holdings);
    f->redis = redis_create(f->store.base, f->store.dns, &f->store.endpoint, "test", &handlers, f);
    f->redis_wait =
        redis_create(f->store.base, f->store.dns, &f->store.endpoint, "wait", &wait_handlers, f);
    f->membership = membership_create(f->store.base, &f->clock, f->redis, &f->store.keys, &member);
    f->intake = intake_create(&(struct intake_options){.base = f->store.base,
                                                       .clock = &f->clock,
                                                       .redis = f->redis,
                                                       .redis_wait = f->redis_wait,
                                                       .keys = &f->store.keys,
                                                       .membership = f->membership,
                                                       .holdings = &f->holdings,
                                                       .room = on_room,
                                                       .pull_room = on_pull_room,
                                                       .accept = on_accept,
                                                       .arg = f});
}

static void on_quiet(void *arg, enum redis_status status, const redisReply *reply)
{
    struct fixture *f = arg;
    (void)status;
    (void)reply;
    f->quiet = true;
}

/* Until nothing that was asked, or is asked because of an answer, is unanswered. */
static void settle_down(struct fixture *f)
{
    const struct str ping[] = {STR("PING")};

    do {
        f->quiet = false;
        redis_send(f->redis, on_quiet, f, 1, ping);
        server_wait(f->store.base, &f->quiet);
    } while (redis_outstanding(f->redis) > 0);
}

static int start(void **state)
{
    struct fixture *f = mem_alloc(sizeof(*f));

    signal(SIGPIPE, SIG_IGN);
    if (sodium_init() < 0)
        return 1;
    f->now_ms = 1000000;
    store_start(&f->store);
    wire(f);
    membership_adopt(f->membership, STR("me"));
    server_wait(f->store.base, &f->joined);
    settle_down(f);
    *state = f;
    return 0;
}

static int end(void **state)
{
    struct fixture *f = *state;

    f->room = f->pull_room = 0;
    settle_down(f);
    redis_destroy(f->redis);
    redis_destroy(f->redis_wait);
    intake_destroy(f->intake);
    membership_destroy(f->membership);
    holdings_clear(&f->holdings);
    store_stop(&f->store);
    free(f);
    return 0;
}

static void fill(struct fixture *f, const char *key, unsigned count)
{
    store_expect(&f->store, NULL, "EVAL %s 1 %s %u",
                 "for i = 1, ARGV[1] do redis.call('LPUSH', KEYS[1], i) end", key, count);
}

static uint64_t tick(struct fixture *f)
{
    uint64_t before = intake_calls(f->intake);

    intake_tick(f->intake);
    settle_down(f);
    return intake_calls(f->intake) - before;
}

static void test_idle_pull_costs_a_claim_a_second(void **state)
{
    struct fixture *f = *state;

    f->room = f->pull_room = 1000;
    for (int second = 0; second < 5; second++) {
        assert_int_equal(tick(f), 2); /* one is push's */
        for (int outcome = 0; outcome < 20; outcome++)
            intake_room(f->intake);
        settle_down(f);
    }
    assert_int_equal(intake_calls(f->intake), 10);
}

static void test_full_pull_takes_few_claims(void **state)
{
    struct fixture *f = *state;

    fill(f, "queue:pull", 5000);
    f->room = f->pull_room = 1000;
    uint64_t calls = tick(f);
    assert_int_equal(f->accepted[ORIGIN_PULL], 5000);
    assert_true(calls <= 5000 / INTAKE_MAX_JOBS + 3);
    store_expect(&f->store, "0", "EXISTS queue:pull");
}

static void test_pull_waits_while_push_waits(void **state)
{
    struct fixture *f = *state;

    fill(f, "queue:pull", 1000);
    fill(f, "queue:push", 10);
    f->finite = true;
    f->room = 4;
    f->pull_room = 500;
    for (unsigned second = 1; second <= 3; second++) {
        assert_int_equal(tick(f), second == 1 ? 2 : 1);
        intake_room(f->intake);
        settle_down(f);
        assert_int_equal(f->accepted[ORIGIN_PULL], second * INTAKE_PULL_SHARE);
    }
    assert_int_equal(f->accepted[ORIGIN_QUEUE], 4);
    f->room = 100; /* the end of push is seen: all of pull follows */
    tick(f);
    assert_int_equal(f->accepted[ORIGIN_QUEUE], 10);
    assert_int_equal(f->accepted[ORIGIN_PULL], 1000);
}

static void test_push_comes_first(void **state)
{
    struct fixture *f = *state;

    fill(f, "queue:push", 2000);
    fill(f, "queue:pull", 2000);
    f->room = f->pull_room = 256;
    intake_tick(f->intake);
    while (f->accepted[ORIGIN_QUEUE] < 2000)
        event_base_loop(f->store.base, EVLOOP_ONCE);
    assert_true(f->accepted[ORIGIN_PULL] <= INTAKE_PULL_SHARE);
    settle_down(f);
    assert_int_equal(f->accepted[ORIGIN_PULL], 2000);
}

/* A day without a limit leaves no debt when one is set. */
static void test_rate_bounds_all_that_is_claimed(void **state)
{
    struct fixture *f = *state;
    static const char entries[] =
        "for i = 1, 500 do redis.call('ZADD', KEYS[1], i, "
        "'{\"class\":\"ActivityPub::DeliveryWorker\",\"jid\":\"' .. i .. '\"}') end";

    fill(f, "queue:push", 3000);
    f->room = 256;
    tick(f);
    assert_int_equal(f->accepted[ORIGIN_QUEUE], 3000);
    intake_set_rate(f->intake, 100);
    store_expect(&f->store, NULL, "EVAL %s 1 retry", entries);
    store_expect(&f->store, NULL, "EVAL %s 1 schedule", entries);
    fill(f, "queue:push", 3000);
    fill(f, "queue:pull", 3000);
    f->pull_room = 256;
    memset(f->accepted, 0, sizeof(f->accepted));
    for (unsigned second = 1; second <= 10; second++) {
        f->now_ms += 1000;
        intake_due(f->intake, ORIGIN_RETRY, (struct room){30, 1024 * 1024});
        intake_due(f->intake, ORIGIN_SCHEDULE, (struct room){20, 1024 * 1024});
        tick(f);
        unsigned sum = f->accepted[ORIGIN_RETRY] + f->accepted[ORIGIN_SCHEDULE] +
                       f->accepted[ORIGIN_QUEUE] + f->accepted[ORIGIN_PULL];
        assert_true(sum >= second * 100 - 1 && sum <= second * 100 + 75); /* a debt, not a rate */
    }
    assert_true(f->accepted[ORIGIN_RETRY] >= 100);
    assert_true(f->accepted[ORIGIN_SCHEDULE] >= 100);
    assert_true(f->accepted[ORIGIN_QUEUE] >= 100);
}

/* Of one job a second, the queue gets its share beside the looks into both sets. */
static void test_lowest_rate_starves_nobody(void **state)
{
    struct fixture *f = *state;

    intake_set_rate(f->intake, 1);
    fill(f, "queue:push", 100);
    f->room = f->pull_room = 256;
    for (int second = 0; second < 10; second++) {
        f->now_ms += 1000;
        intake_due(f->intake, ORIGIN_RETRY, (struct room){128, 1024 * 1024});
        intake_due(f->intake, ORIGIN_SCHEDULE, (struct room){128, 1024 * 1024});
        tick(f);
    }
    assert_int_equal(f->accepted[ORIGIN_QUEUE], 10);
}

/* Where Ruby takes nothing, what is left to it must not hide deliveries for ever. */
static void test_due_is_found_behind_locks(void **state)
{
    struct fixture *f = *state;
    static const char entries[] =
        "for i = 1, 900 do redis.call('ZADD', KEYS[1], i, '{\"lock_digest\":\"' .. i .. '\"}') end "
        "redis.call('ZADD', KEYS[1], 1000, '{\"class\":\"ActivityPub::DeliveryWorker\"}')";

    store_expect(&f->store, NULL, "EVAL %s 1 retry", entries);
    store_expect(&f->store, NULL, "EVAL %s 1 schedule", entries);
    for (int second = 0; second < 10; second++) {
        intake_due(f->intake, ORIGIN_RETRY, (struct room){128, 1024 * 1024});
        intake_due(f->intake, ORIGIN_SCHEDULE, (struct room){128, 1024 * 1024});
        settle_down(f);
    }
    assert_int_equal(f->accepted[ORIGIN_RETRY], 1);
    assert_int_equal(f->accepted[ORIGIN_SCHEDULE], 1);
}

static bool redis_waits(struct fixture *f)
{
    redisReply *reply = redisCommand(f->store.direct, "CLIENT LIST");
    bool waits;

    assert_non_null(reply);
    waits = strstr(reply->str, "cmd=blmove") != NULL;
    freeReplyObject(reply);
    return waits;
}

static void await_blmove(struct fixture *f, bool there)
{
    for (int waits = 0; redis_waits(f) != there; waits++) {
        assert_true(waits < SERVER_WAIT_MS / 10);
        server_run(f->store.base, 10);
    }
}

/* The queue is empty, and BLMOVE looks at it. */
static void wait_in_redis(struct fixture *f)
{
    f->room = 100;
    while (!redis_is_ready(f->redis_wait))
        event_base_loop(f->store.base, EVLOOP_ONCE);
    tick(f);
    await_blmove(f, true);
}

static void fence(struct fixture *f)
{
    store_expect(&f->store, "1", "DEL fedpush:identities");
    membership_redis_ready(f->membership); /* the next beat */
    server_wait(f->store.base, &f->fenced);
}

/* What it waits for as an identity that is no more would be nobody's. */
static void test_a_fence_ends_the_wait(void **state)
{
    struct fixture *f = *state;

    wait_in_redis(f);
    fence(f);
    assert_true(f->given_up);
    await_blmove(f, false);
    assert_false(intake_may_receive(f->intake));
    f->joined = false;
    membership_adopt(f->membership, STR("next"));
    server_wait(f->store.base, &f->joined);
    settle_down(f);
    wait_in_redis(f);
    store_expect(&f->store, "1", "LPUSH queue:push job");
    for (int waits = 0; f->accepted[ORIGIN_QUEUE] == 0; waits++) {
        assert_true(waits < SERVER_WAIT_MS / 10);
        server_run(f->store.base, 10);
    }
    store_expect(&f->store, "0", "EXISTS fedpush:wait:me");
}

static void on_stopped(void *arg)
{
    struct fixture *f = arg;
    f->stopped = true;
}

static void test_a_fence_ends_a_stop(void **state)
{
    struct fixture *f = *state;

    wait_in_redis(f);
    intake_stop(f->intake, on_stopped, f);
    settle_down(f);
    assert_false(f->stopped);
    assert_true(intake_may_receive(f->intake));
    fence(f);
    server_wait(f->store.base, &f->stopped);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_idle_pull_costs_a_claim_a_second, start, end),
        cmocka_unit_test_setup_teardown(test_full_pull_takes_few_claims, start, end),
        cmocka_unit_test_setup_teardown(test_pull_waits_while_push_waits, start, end),
        cmocka_unit_test_setup_teardown(test_push_comes_first, start, end),
        cmocka_unit_test_setup_teardown(test_rate_bounds_all_that_is_claimed, start, end),
        cmocka_unit_test_setup_teardown(test_lowest_rate_starves_nobody, start, end),
        cmocka_unit_test_setup_teardown(test_a_fence_ends_the_wait, start, end),
        cmocka_unit_test_setup_teardown(test_a_fence_ends_a_stop, start, end),
        cmocka_unit_test_setup_teardown(test_due_is_found_behind_locks, start, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
