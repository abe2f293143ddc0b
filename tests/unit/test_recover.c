/* Recovering an owner that is gone, against a real Redis. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>
#include <sodium.h>

#include "sched/recover.h"
#include "sched/script.h"
#include "store.h"

struct fixture {
    struct store store;
    struct redis *redis;
    struct clock clock;
    bool ready;
    bool ended;
    struct recover_result result;
};

static void on_ready(void *arg)
{
    struct fixture *f = arg;
    f->ready = true;
}

static void on_lost(void *arg, const char *reason)
{
    struct fixture *f = arg;
    (void)reason;
    f->ready = false;
}

static int64_t wall_us(void *arg)
{
    (void)arg;
    return 1800000000123456;
}

static int start(void **state)
{
    static const struct redis_handlers handlers = {on_ready, on_lost};
    struct fixture *f = mem_alloc(sizeof(*f));

    signal(SIGPIPE, SIG_IGN);
    if (sodium_init() < 0)
        return 1;
    store_start(&f->store);
    f->clock = clock_system();
    f->clock.wall_us = wall_us;
    f->redis = redis_create(f->store.base, f->store.dns, &f->store.endpoint, "test", &handlers, f);
    server_wait(f->store.base, &f->ready);
    *state = f;
    return 0;
}

static int end(void **state)
{
    struct fixture *f = *state;
    redis_destroy(f->redis);
    store_stop(&f->store);
    free(f);
    return 0;
}

static void on_recovered(void *arg, const struct recover_result *result)
{
    struct fixture *f = arg;
    f->result = *result;
    f->ended = true;
}

static void recover(struct fixture *f, enum recover_mode mode)
{
    f->ended = false;
    (void)recover_start(f->redis, &f->store.keys, STR("old"), mode, &f->clock, on_recovered, f);
    server_wait(f->store.base, &f->ended);
}

/* An owner that beat at `beat` and holds jobs 1 to `count`, claimed in that order. */
static void make_owner(struct fixture *f, const char *beat, unsigned count)
{
    store_expect(&f->store, NULL, "ZADD fedpush:identities %s old", beat);
    store_expect(&f->store, NULL, "HSET fedpush:claimed:old seq %u", count);
    store_expect(&f->store, NULL, "HSET fedpush:machines old {} other {}");
    for (unsigned i = 1; i <= count; i++)
        store_expect(&f->store, NULL, "HSET fedpush:claimed:old %u %s%u}", i,
                     "q\n{\"id\":116543210987654321,\"n\":", i);
}

/* The consuming end of the queue is its right one: `first` is taken first, `last` last. */
static void expect_queue(struct fixture *f, unsigned first, unsigned last)
{
    char expected[128];
    for (unsigned i = first; i <= last; i++) {
        snprintf(expected, sizeof(expected), "{\"id\":116543210987654321,\"n\":%u}", i);
        store_expect(&f->store, expected, "LINDEX queue:push %d", -(int)(i - first + 1));
    }
}

static void expect_gone(struct fixture *f)
{
    store_expect(&f->store, "0", "EXISTS fedpush:identities fedpush:claimed:old fedpush:wait:old");
    store_expect(&f->store, "other", "HKEYS fedpush:machines");
}

static void test_order_survives_many_rounds(void **state)
{
    struct fixture *f = *state;

    make_owner(f, "1600000000", 230);
    store_expect(&f->store, NULL, "LPUSH fedpush:wait:old %s231}",
                 "{\"id\":116543210987654321,\"n\":");
    store_expect(&f->store, NULL, "LPUSH queue:push %s232}", "{\"id\":116543210987654321,\"n\":");
    recover(f, RECOVER_IF_STALE);
    assert_true(f->result.ok);
    assert_int_equal(f->result.returned, 231);
    assert_int_equal(f->result.poisoned, 0);
    store_expect(&f->store, "232", "LLEN queue:push");
    expect_queue(f, 1, 232);
    expect_gone(f);
}

/* More waits than one call returns: what was claimed still goes in front of it, in order. */
static void test_order_survives_a_long_wait_list(void **state)
{
    struct fixture *f = *state;

    make_owner(f, "-1", 120);
    for (unsigned i = 121; i <= 420; i++)
        store_expect(&f->store, NULL, "LPUSH fedpush:wait:old %s%u}",
                     "{\"id\":116543210987654321,\"n\":", i);
    recover(f, RECOVER_IF_STALE);
    assert_true(f->result.ok);
    assert_int_equal(f->result.returned, 420);
    expect_queue(f, 1, 420);
    expect_gone(f);
}

static void test_living_owner_is_left_alone(void **state)
{
    struct fixture *f = *state;
    char now[32];

    make_owner(f, "1", 1);
    snprintf(now, sizeof(now), "%lld", (long long)time(NULL));
    store_expect(&f->store, NULL, "ZADD fedpush:identities %s old", now);
    recover(f, RECOVER_IF_STALE);
    assert_false(f->result.ok);
    assert_true(f->result.alive);
    store_expect(&f->store, "2", "HLEN fedpush:claimed:old");
    store_expect(&f->store, "2", "HLEN fedpush:machines");
    store_expect(&f->store, "0", "EXISTS queue:push");
    recover(f, RECOVER_OWN); /* of this machine, and known to be gone */
    assert_true(f->result.ok);
    assert_int_equal(f->result.returned, 1);
    expect_gone(f);
}

static void test_job_that_ran_alone_is_poison(void **state)
{
    struct fixture *f = *state;
    static const char job[] = "{\"class\":\"X\",\"jid\":\"%s\",\"id\":116543210987654321}";
    char text[128];

    make_owner(f, "-1", 0);
    snprintf(text, sizeof(text), job, "bad");
    store_expect(&f->store, NULL, "HSET fedpush:claimed:old 1 %s%s", "q\n", text);
    snprintf(text, sizeof(text), job, "good");
    store_expect(&f->store, NULL, "HSET fedpush:claimed:old 2 %s%s", "r7.5\n", text);
    store_expect(&f->store, NULL, "HSET fedpush:recoveries bad %s", "2 1700000000 alone");
    recover(f, RECOVER_IF_STALE);
    assert_true(f->result.ok);
    assert_int_equal(f->result.returned, 1);
    assert_int_equal(f->result.poisoned, 1);
    store_expect(&f->store,
                 "{\"class\":\"X\",\"jid\":\"bad\",\"id\":116543210987654321,"
                 "\"error_message\":\"it ran alone when its process died\","
                 "\"error_class\":\"Fedpush::PoisonJob\"}|1800000000",
                 "ZRANGE dead 0 -1 WITHSCORES");
    store_expect(&f->store, text, "ZRANGEBYSCORE retry 7.5 7.5");
    store_expect(&f->store, "good|1 1800000000", "HGETALL fedpush:recoveries");
    expect_gone(f);
}

static void test_lost_answer_fails_and_can_be_begun_again(void **state)
{
    struct fixture *f = *state;

    make_owner(f, "-1", 60);
    store_lose_answer(&f->store);
    recover(f, RECOVER_IF_STALE);
    assert_false(f->result.ok);
    assert_false(f->result.alive);
    assert_string_not_equal(f->result.message, "");
    server_wait(f->store.base, &f->ready);
    recover(f, RECOVER_IF_STALE);
    assert_true(f->result.ok);
    store_expect(&f->store, "60", "LLEN queue:push");
    expect_queue(f, 1, 60);
    expect_gone(f);
}

static void test_cancelled_recovery_calls_nobody(void **state)
{
    struct fixture *f = *state;

    make_owner(f, "-1", 1);
    recover_cancel(recover_start(f->redis, &f->store.keys, STR("old"), RECOVER_OWN, &f->clock,
                                 on_recovered, f));
    server_run(f->store.base, 100);
    assert_false(f->ended);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, start, end)
    const struct CMUnitTest tests[] = {
        TEST(test_order_survives_many_rounds),
        TEST(test_order_survives_a_long_wait_list),
        TEST(test_living_owner_is_left_alone),
        TEST(test_job_that_ran_alone_is_poison),
        TEST(test_lost_answer_fails_and_can_be_begun_again),
        TEST(test_cancelled_recovery_calls_nobody),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
