/*
 * Membership, intake, settling and reconciling on one connection, wired as the scheduler wires
 * them, through a proxy that loses answers: nothing is lost, and nothing is done twice.
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
#include "sched/reconcile.h"
#include "sched/settle.h"
#include "store.h"

#define CLAIMED "fedpush:claimed:me"

struct fixture {
    struct store store;
    struct clock clock;
    struct redis *redis;
    struct redis *redis_wait;
    struct redis_endpoint straight;
    struct membership *membership;
    struct holdings holdings;
    struct intake *intake;
    struct reconcile *reconcile;
    struct settle *settle;
    unsigned room;
    unsigned accepted;
    unsigned expected; /* `enough` becomes true with this many accepted */
    bool enough;
    bool reconciled;
    bool settled;
    bool fenced;
    bool stopped;
    uint64_t last_seq;
};

static void on_reconciled(void *arg)
{
    struct fixture *f = arg;

    f->reconciled = true;
    if (membership_state(f->membership) != MEMBER_PRESENT)
        return;
    settle_replay(f->settle);
    intake_start(f->intake);
}

static void on_joined(void *arg)
{
    struct fixture *f = arg;
    reconcile_run(f->reconcile, on_reconciled, f);
}

static void on_fenced(void *arg)
{
    struct fixture *f = arg;
    f->fenced = true;
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

static void on_accept(void *arg, struct claim *claim)
{
    struct fixture *f = arg;

    assert_int_equal(claim->state, CLAIM_NEW);
    claim->state = CLAIM_HELD; /* taken: another acceptance of it fails above */
    f->last_seq = claim->seq;
    f->room--;
    f->enough = ++f->accepted == f->expected;
}

static void on_settled(void *arg)
{
    struct fixture *f = arg;
    f->settled = true;
}

static void on_stopped(void *arg)
{
    struct fixture *f = arg;
    f->stopped = true;
}

static void wire(struct fixture *f)
{
    static const struct redis_handlers handlers = {on_ready, on_lost};
    static const struct redis_handlers wait_handlers = {on_wait_ready, on_wait_lost};
    const struct membership_handlers member = {on_joined, on_fenced, f};

    f->clock = clock_system();
    holdings_init(&f->holdings);
    f->straight.unix_path = str_dup(str_of(f->store.server.socket));
    f->redis = redis_create(f->store.base, f->store.dns, &f->store.endpoint, "test", &handlers, f);
    f->redis_wait =
        redis_create(f->store.base, f->store.dns, &f->straight, "wait", &wait_handlers, f);
    f->membership = membership_create(f->store.base, &f->clock, f->redis, &f->store.keys, &member);
    f->intake = intake_create(&(struct intake_options){.base = f->store.base,
                                                       .clock = &f->clock,
                                                       .redis = f->redis,
                                                       .redis_wait = f->redis_wait,
                                                       .keys = &f->store.keys,
                                                       .membership = f->membership,
                                                       .holdings = &f->holdings,
                                                       .room = on_room,
                                                       .accept = on_accept,
                                                       .arg = f});
    f->reconcile = reconcile_create(f->store.base, f->redis, f->membership, &f->store.keys,
                                    &f->holdings, f->intake);
    f->settle = settle_create(&(struct settle_options){.base = f->store.base,
                                                       .clock = &f->clock,
                                                       .redis = f->redis,
                                                       .keys = &f->store.keys,
                                                       .membership = f->membership,
                                                       .holdings = &f->holdings,
                                                       .settled = on_settled,
                                                       .arg = f});
}

static int start(void **state)
{
    struct fixture *f = mem_alloc(sizeof(*f));

    signal(SIGPIPE, SIG_IGN);
    if (sodium_init() < 0)
        return 1;
    store_start(&f->store);
    wire(f);
    membership_adopt(f->membership, STR("me"));
    server_wait(f->store.base, &f->reconciled);
    *state = f;
    return 0;
}

static int end(void **state)
{
    struct fixture *f = *state;

    f->room = 0;
    while (redis_outstanding(f->redis) > 0) /* what a callback would have freed */
        event_base_loop(f->store.base, EVLOOP_ONCE);
    redis_destroy(f->redis);
    redis_destroy(f->redis_wait);
    settle_destroy(f->settle);
    reconcile_destroy(f->reconcile);
    intake_destroy(f->intake);
    membership_destroy(f->membership);
    holdings_clear(&f->holdings);
    redis_endpoint_clear(&f->straight);
    store_stop(&f->store);
    free(f);
    return 0;
}

static void push(struct fixture *f, unsigned from, unsigned to)
{
    for (unsigned i = from; i <= to; i++)
        store_expect(&f->store, NULL, "LPUSH queue:push {\"jid\":\"j%u\",\"n\":%u}", i, i);
}

static void await(struct fixture *f, unsigned count)
{
    f->expected = count;
    f->enough = f->accepted == count;
    server_wait(f->store.base, &f->enough);
}

/* Claims so many jobs. */
static void claim(struct fixture *f, unsigned count)
{
    push(f, 1, count);
    f->room = 1000;
    intake_tick(f->intake);
    await(f, count);
}

static void settle(struct fixture *f, uint64_t seq, enum settle_verb verb)
{
    struct settlement what = {.verb = verb, .score = "5.5", .handoff_queue = "fedpush_ruby"};
    struct claim *taken = holdings_find(&f->holdings, seq);

    assert_non_null(taken);
    taken->state = CLAIM_NEW;
    buf_init(&what.bytes, 64);
    if (verb != SETTLE_HANDOFF) /* goes as it came */
        buf_printf(&what.bytes, "written%d", (int)seq);
    settle_add(f->settle, taken, &what);
    buf_clear(&what.bytes);
}

static void await_settled(struct fixture *f)
{
    f->settled = false;
    server_wait(f->store.base, &f->settled);
}

static void test_lost_claim_is_adopted_once(void **state)
{
    struct fixture *f = *state;

    push(f, 1, 120);
    f->room = 250;
    store_lose_answer(&f->store);
    intake_tick(f->intake);
    await(f, 120);
    f->reconciled = false;
    reconcile_run(f->reconcile, on_reconciled, f); /* nothing is left to find */
    server_wait(f->store.base, &f->reconciled);
    server_run(f->store.base, 100);
    assert_int_equal(f->accepted, 120);
    assert_int_equal(f->holdings.claimed, 120);
    store_expect(&f->store, "121", "HLEN " CLAIMED);
    store_expect(&f->store, "0", "LLEN queue:push");
}

static void test_lost_settlement_is_replayed_without_effect(void **state)
{
    struct fixture *f = *state;

    claim(f, 3);
    settle(f, 1, SETTLE_RETRY);
    settle(f, 2, SETTLE_RETURN);
    f->room = 0; /* what is returned stays */
    store_lose_answer(&f->store);
    await_settled(f);
    assert_int_equal(settle_pending(f->settle), 0);
    assert_int_equal(f->holdings.fenced, 2); /* the first call ended them */
    assert_null(holdings_find(&f->holdings, 1));
    store_expect(&f->store, "written1", "ZRANGE retry 0 -1");
    store_expect(&f->store, "{\"jid\":\"j2\",\"n\":2}",
                 "LRANGE fedpush:wait:me 0 -1"); /* BLMOVE's */
    store_expect(&f->store, "seq|3|3|q\n{\"jid\":\"j3\",\"n\":3}", "HGETALL " CLAIMED);
}

static void test_batch_writes_each_verb(void **state)
{
    struct fixture *f = *state;

    claim(f, 6);
    f->room = 0;
    settle(f, 1, SETTLE_DONE);
    settle(f, 2, SETTLE_RETRY);
    settle(f, 3, SETTLE_SCHEDULE);
    settle(f, 4, SETTLE_DEAD);
    settle(f, 5, SETTLE_HANDOFF);
    settle(f, 6, SETTLE_HANDOFF);
    assert_int_equal(settle_pending(f->settle), 6);
    await_settled(f);
    assert_int_equal(f->holdings.settled, 6);
    assert_int_equal(f->holdings.bytes, 0);
    store_expect(&f->store, "written2|5.5", "ZRANGE retry 0 -1 WITHSCORES");
    store_expect(&f->store, "written3|5.5", "ZRANGE schedule 0 -1 WITHSCORES");
    store_expect(&f->store, "written4", "ZRANGE dead 0 -1");
    store_expect(&f->store, "{\"jid\":\"j6\",\"n\":6}|{\"jid\":\"j5\",\"n\":5}",
                 "LRANGE queue:fedpush_ruby 0 -1");
    store_expect(&f->store, "fedpush_ruby", "SMEMBERS queues");
    store_expect(&f->store, "seq|6", "HGETALL " CLAIMED);
}

static void test_full_batch_leaves_at_once(void **state)
{
    struct fixture *f = *state;

    claim(f, 130);
    for (uint64_t seq = 1; seq <= 130; seq++)
        settle(f, seq, SETTLE_DONE);
    while (settle_pending(f->settle) > 0)
        await_settled(f);
    assert_int_equal(f->holdings.settled, 130);
    store_expect(&f->store, "1", "HLEN " CLAIMED);
}

static void test_refused_settlement_is_tried_again(void **state)
{
    struct fixture *f = *state;

    claim(f, 1);
    store_expect(&f->store, "OK", "SCRIPT FLUSH");
    settle(f, 1, SETTLE_RETRY);
    await_settled(f);
    assert_int_equal(f->holdings.settled, 1);
    store_expect(&f->store, "written1", "ZRANGE retry 0 -1");
}

static void test_forgotten_settlements_write_nothing_more(void **state)
{
    struct fixture *f = *state;

    claim(f, 2);
    settle(f, 1, SETTLE_RETRY);
    settle_forget(f->settle);
    assert_int_equal(settle_pending(f->settle), 0);
    f->settled = false;
    server_run(f->store.base, 50);
    assert_false(f->settled);
    store_expect(&f->store, "0", "EXISTS retry");
}

static void test_fail_over_loses_no_claim(void **state)
{
    struct fixture *f = *state;

    claim(f, 3);
    settle(f, 2, SETTLE_DONE);
    await_settled(f);
    store_expect(&f->store, "1", "DEL " CLAIMED);
    f->reconciled = false;
    redis_reconnect(f->redis, "test");
    server_wait(f->store.base, &f->reconciled);
    server_run(f->store.base, 50);
    store_expect(&f->store, "q\n{\"jid\":\"j1\",\"n\":1}|nil|q\n{\"jid\":\"j3\",\"n\":3}|3",
                 "HMGET " CLAIMED " 1 2 3 seq");
    assert_int_equal(f->accepted, 3);
}

static void test_condemned_owner_is_told(void **state)
{
    struct fixture *f = *state;

    claim(f, 1);
    store_expect(&f->store, NULL, "ZADD fedpush:identities -1 me");
    intake_tick(f->intake);
    server_wait(f->store.base, &f->fenced);
    assert_int_equal(membership_state(f->membership), MEMBER_FENCED);
    assert_false(membership_is_fresh(f->membership));
    f->reconciled = false;
    intake_forget(f->intake);
    settle_forget(f->settle);
    membership_adopt(f->membership, STR("other")); /* and goes on as another */
    server_wait(f->store.base, &f->reconciled);
    assert_int_equal(membership_state(f->membership), MEMBER_PRESENT);
    store_expect(&f->store, NULL, "ZSCORE fedpush:identities other");
}

/* Fenced in the midst of a comparison: what it was about is nobody's business any more. */
static void test_a_fence_ends_the_comparison(void **state)
{
    struct fixture *f = *state;
    static const char strangers[] =
        "for i = 1, 250 do redis.call('HSET', KEYS[1], 1000 + i, 'q\\n{}') end";

    store_expect(&f->store, NULL, "EVAL %s 1 " CLAIMED, strangers);
    f->room = 1000;
    reconcile_run(f->reconcile, NULL, NULL);
    await(f, 100); /* the first of three answers */
    store_expect(&f->store, "1", "DEL fedpush:identities");
    f->reconciled = false;
    membership_fence(f->membership);
    intake_forget(f->intake);
    settle_forget(f->settle);
    reconcile_forget(f->reconcile);
    holdings_clear(&f->holdings);
    holdings_init(&f->holdings);
    f->accepted = 0;
    membership_adopt(f->membership, STR("other"));
    server_wait(f->store.base, &f->reconciled);
    assert_int_equal(f->holdings.claimed, 0);
    claim(f, 3); /* it has begun */
    store_expect(&f->store, "4", "HLEN fedpush:claimed:other");
}

static void test_what_goes_back_ran_alone_no_longer(void **state)
{
    struct fixture *f = *state;

    store_expect(&f->store, "3", "HSET fedpush:recoveries j1 %s j2 %s j3 %s", "2 1700000000 alone",
                 "2 1700000000", "2 1700000000 alone");
    claim(f, 3);
    f->room = 0;
    settle(f, 1, SETTLE_RETURN);
    settle(f, 2, SETTLE_RETURN);
    settle(f, 3, SETTLE_DONE);
    await_settled(f);
    store_expect(&f->store, "2 1700000000|2 1700000000|nil", "HMGET fedpush:recoveries j1 j2 j3");
}

static void test_condemned_owner_puts_nothing_back(void **state)
{
    struct fixture *f = *state;

    claim(f, 1);
    store_expect(&f->store, "1", "DEL " CLAIMED);
    store_expect(&f->store, NULL, "ZADD fedpush:identities -1 me");
    reconcile_run(f->reconcile, on_reconciled, f);
    server_wait(f->store.base, &f->fenced);
    store_expect(&f->store, "0", "EXISTS " CLAIMED);
}

static void test_idle_queue_wakes_us(void **state)
{
    struct fixture *f = *state;

    f->room = 10;
    intake_tick(f->intake); /* empty: waits */
    server_run(f->store.base, 50);
    uint64_t calls = intake_calls(f->intake);
    push(f, 1, 1);
    await(f, 1); /* without a tick */
    assert_int_equal(intake_calls(f->intake), calls + 1);
    store_expect(&f->store, "0", "EXISTS fedpush:wait:me");
}

static void test_suspicious_job_says_so(void **state)
{
    struct fixture *f = *state;

    store_expect(&f->store, NULL, "HSET fedpush:recoveries j2 %s", "2 1700000000");
    claim(f, 2);
    assert_int_equal(holdings_find(&f->holdings, 1)->recoveries, 0);
    assert_int_equal(holdings_find(&f->holdings, 2)->recoveries, 2);
}

static void test_room_and_due_entries(void **state)
{
    struct fixture *f = *state;
    static const char entry[] = "{\"class\":\"ActivityPub::DeliveryWorker\",\"jid\":\"r%d\"}";
    char text[128];

    for (int i = 0; i < 3; i++) {
        snprintf(text, sizeof(text), entry, i);
        store_expect(&f->store, NULL, "ZADD retry %d %s", i + 1, text);
    }
    push(f, 1, 5);
    f->room = 2;
    intake_tick(f->intake);
    await(f, 2);
    server_run(f->store.base, 50);
    assert_int_equal(f->accepted, 2);
    f->room = 0;
    intake_due(f->intake, ORIGIN_RETRY, (struct room){1, 1000000});
    await(f, 3);
    const struct claim *due = holdings_find(&f->holdings, f->last_seq);
    assert_int_equal(due->origin, ORIGIN_RETRY);
    assert_string_equal(due->score, "1");
    store_expect(&f->store, "2", "ZCARD retry");
}

static void test_stopping_takes_nothing_more(void **state)
{
    struct fixture *f = *state;

    push(f, 1, 2);
    f->room = 1;
    intake_tick(f->intake);
    intake_stop(f->intake, on_stopped, f);
    assert_false(f->stopped);
    server_wait(f->store.base, &f->stopped);
    assert_int_equal(f->accepted, 1); /* the answer that was under way */
    f->room = 10;
    intake_tick(f->intake);
    server_run(f->store.base, 50);
    assert_int_equal(f->accepted, 1);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, start, end)
    const struct CMUnitTest tests[] = {
        TEST(test_lost_claim_is_adopted_once),
        TEST(test_lost_settlement_is_replayed_without_effect),
        TEST(test_batch_writes_each_verb),
        TEST(test_full_batch_leaves_at_once),
        TEST(test_refused_settlement_is_tried_again),
        TEST(test_forgotten_settlements_write_nothing_more),
        TEST(test_fail_over_loses_no_claim),
        TEST(test_condemned_owner_is_told),
        TEST(test_a_fence_ends_the_comparison),
        TEST(test_what_goes_back_ran_alone_no_longer),
        TEST(test_condemned_owner_puts_nothing_back),
        TEST(test_idle_queue_wakes_us),
        TEST(test_suspicious_job_says_so),
        TEST(test_room_and_due_entries),
        TEST(test_stopping_takes_nothing_more),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
