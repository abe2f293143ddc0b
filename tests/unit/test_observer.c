/* Looking after the claims of others, against a real Redis, with a clock of the test's choice. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

#include "sched/observer.h"
#include "sched/script.h"
#include "store.h"

struct fixture {
    struct store store;
    struct redis *redis;
    struct clock clock;
    int64_t now_ms;
    struct membership *membership;
    struct observer *observer;
    bool joined;
    bool returned;
    bool gone;
    char gone_identity[64];
};

static int64_t mono_ms(void *arg)
{
    return *(int64_t *)arg;
}

static int64_t wall_us(void *arg)
{
    (void)arg;
    return 1800000000123456;
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
    f->joined = false;
    membership_redis_lost(f->membership);
    observer_lost(f->observer);
}

static void on_joined(void *arg)
{
    struct fixture *f = arg;
    f->joined = true;
    observer_start(f->observer);
}

static void on_fenced(void *arg)
{
    (void)arg;
    fail();
}

static void on_former_gone(void *arg, struct str identity)
{
    struct fixture *f = arg;
    f->gone = true;
    snprintf(f->gone_identity, sizeof(f->gone_identity), "%.*s", STR_ARG(identity));
}

static void on_returned(void *arg)
{
    struct fixture *f = arg;
    f->returned = true;
}

static int start(void **state)
{
    static const struct redis_handlers handlers = {on_ready, on_lost};
    struct fixture *f = mem_alloc(sizeof(*f));

    store_start(&f->store);
    f->now_ms = 1000000;
    f->clock = (struct clock){mono_ms, wall_us, &f->now_ms};
    f->redis = redis_create(f->store.base, f->store.dns, &f->store.endpoint, "test", &handlers, f);
    f->membership = membership_create(f->store.base, &f->clock, f->redis, &f->store.keys,
                                      &(struct membership_handlers){on_joined, on_fenced, f});
    f->observer = observer_create(&(struct observer_options){f->store.base, &f->clock, f->redis,
                                                             &f->store.keys, f->membership,
                                                             on_former_gone, on_returned, f});
    membership_adopt(f->membership, STR("self"));
    *state = f;
    return 0;
}

static int end(void **state)
{
    struct fixture *f = *state;

    store_settle(&f->store, f->redis, 5); /* an answer under way frees its recovery */
    redis_destroy(f->redis);
    observer_destroy(f->observer);
    membership_destroy(f->membership);
    store_stop(&f->store);
    free(f);
    return 0;
}

/* An owner with one claim, whose last beat was `age_s` ago. */
static void make_owner(struct fixture *f, const char *identity, int age_s)
{
    char beat[32];

    snprintf(beat, sizeof(beat), "%lld", (long long)time(NULL) - age_s);
    store_expect(&f->store, NULL, "ZADD fedpush:identities %s %s", beat, identity);
    store_expect(&f->store, NULL, "HSET fedpush:claimed:%s seq 1 1 %s", identity,
                 "q\n{\"jid\":\"a\",\"id\":116543210987654321}");
}

static void expect_untouched(struct fixture *f, const char *identity)
{
    store_expect(&f->store, "2", "HLEN fedpush:claimed:%s", identity);
    store_expect(&f->store, "0", "EXISTS queue:push");
    assert_false(f->returned);
}

static void expect_recovered(struct fixture *f, const char *identity)
{
    store_expect(&f->store, "0", "EXISTS fedpush:claimed:%s", identity);
    store_expect(&f->store, "nil", "ZSCORE fedpush:identities %s", identity);
    store_expect(&f->store, "{\"jid\":\"a\",\"id\":116543210987654321}", "LINDEX queue:push -1");
    store_expect(&f->store, "1", "LLEN queue:push");
}

/* Moves the clock on and looks. What was sent by then, and what follows from it in two more
 * rounds, is over when it returns. */
static void look_after(struct fixture *f, int64_t ms)
{
    f->now_ms += ms;
    observer_tick(f->observer);
    store_settle(&f->store, f->redis, 3);
}

static bool is_gone(struct fixture *f, const char *identity)
{
    redisReply *reply = redisCommand(f->store.direct, "ZSCORE fedpush:identities %s", identity);
    bool gone;

    assert_non_null(reply);
    gone = reply->type == REDIS_REPLY_NIL;
    freeReplyObject(reply);
    return gone;
}

static void await_gone(struct fixture *f, const char *identity)
{
    for (int waits = 0; !is_gone(f, identity); waits++) {
        assert_true(waits < SERVER_WAIT_MS / 10);
        server_run(f->store.base, 10);
    }
}

static void join(struct fixture *f)
{
    server_wait(f->store.base, &f->joined);
}

static void test_stale_twice_is_recovered(void **state)
{
    struct fixture *f = *state;

    make_owner(f, "old", 120);
    join(f);
    look_after(f, 0); /* seen first */
    look_after(f, 10000);
    look_after(f, 10000);
    expect_untouched(f, "old");
    look_after(f, 10000);
    server_wait(f->store.base, &f->returned);
    expect_recovered(f, "old");
    assert_false(f->gone); /* was never ours */
    look_after(f, 10000);
    assert_int_equal(observer_identities(f->observer), 1);
}

static void test_a_living_one_is_untouched(void **state)
{
    struct fixture *f = *state;

    make_owner(f, "living", 40); /* late, not stale */
    join(f);
    for (unsigned i = 0; i < 6; i++)
        look_after(f, 10000);
    expect_untouched(f, "living");
    assert_int_equal(observer_identities(f->observer), 2);
}

static void test_a_beat_in_between_starts_over(void **state)
{
    struct fixture *f = *state;

    make_owner(f, "slow", 120);
    join(f);
    look_after(f, 0);
    look_after(f, 20000);
    make_owner(f, "slow", 100); /* another beat, stale as well */
    look_after(f, 10000);
    look_after(f, 29999);
    expect_untouched(f, "slow");
    look_after(f, 10000);
    server_wait(f->store.base, &f->returned);
    expect_recovered(f, "slow");
}

static void test_a_lost_connection_starts_over(void **state)
{
    struct fixture *f = *state;

    make_owner(f, "old", 120);
    join(f);
    look_after(f, 0);
    look_after(f, 20000);
    store_lose_answer(&f->store);
    const struct str ping[] = {STR("PING")};
    redis_send(f->redis, NULL, NULL, 1, ping);
    for (int waits = 0; f->joined; waits++) {
        assert_true(waits < 1000);
        server_run(f->store.base, 10);
    }
    join(f);
    look_after(f, 20000); /* 40 s after the first look, and the first on this connection */
    look_after(f, 20000);
    expect_untouched(f, "old");
    look_after(f, 10000);
    server_wait(f->store.base, &f->returned);
    expect_recovered(f, "old");
}

static void test_a_condemned_one_is_recovered_at_once(void **state)
{
    struct fixture *f = *state;

    make_owner(f, "old", 0);
    store_expect(&f->store, NULL, "ZADD fedpush:identities -5 old");
    join(f);
    look_after(f, 0);
    server_wait(f->store.base, &f->returned);
    expect_recovered(f, "old");
}

static void test_former_identities_are_recovered_at_once(void **state)
{
    struct fixture *f = *state;

    make_owner(f, "former", 1); /* its beat is fresh, and it is surely gone */
    observer_former(f->observer, STR("former"));
    assert_false(f->gone); /* not before membership is present */
    join(f);
    server_wait(f->store.base, &f->returned);
    expect_recovered(f, "former");
    look_after(f, 4000);
    assert_false(f->gone); /* what comes late is looked for first */
    f->returned = false;
    look_after(f, 1000);
    server_wait(f->store.base, &f->gone);
    assert_string_equal(f->gone_identity, "former");
    assert_false(f->returned);

    f->gone = false;
    observer_former(f->observer, STR("nobody")); /* one that holds nothing */
    observer_former(f->observer, STR("nobody")); /* and is named twice */
    look_after(f, 0);
    look_after(f, 5000);
    server_wait(f->store.base, &f->gone);
    assert_string_equal(f->gone_identity, "nobody");
    assert_false(f->returned);
    f->gone = false;
    look_after(f, 5000);
    assert_false(f->gone);
}

static void test_what_comes_late_is_found(void **state)
{
    struct fixture *f = *state;

    make_owner(f, "former", 1);
    make_owner(f, "other", 0);
    store_expect(&f->store, NULL, "ZADD fedpush:identities -5 other");
    observer_former(f->observer, STR("former"));
    join(f);
    look_after(f, 0);
    await_gone(f, "former");
    await_gone(f, "other");
    store_expect(&f->store, NULL, "LPUSH fedpush:wait:former late"); /* as BLMOVE would */
    store_expect(&f->store, NULL, "LPUSH fedpush:wait:other late");
    look_after(f, 2000);
    store_expect(&f->store, "2", "EXISTS fedpush:wait:former fedpush:wait:other");
    assert_false(f->gone);
    look_after(f, 5000);
    server_wait(f->store.base, &f->gone);
    f->returned = false;
    server_wait(f->store.base, &f->returned);
    store_expect(&f->store, "0", "EXISTS fedpush:wait:former fedpush:wait:other");
    store_expect(&f->store, "late|late", "LRANGE queue:push -2 -1");
    store_expect(&f->store, "self", "ZRANGE fedpush:identities 0 -1");
}

/* One that can't be recovered hides none of those behind it. */
static void test_who_fails_comes_last(void **state)
{
    struct fixture *f = *state;
    static const char *const others[] = {"second", "third"};

    make_owner(f, "first", 0);
    store_expect(&f->store, NULL, "DEL fedpush:claimed:first");
    store_expect(&f->store, NULL, "SET fedpush:claimed:first broken");
    store_expect(&f->store, NULL, "ZADD fedpush:identities -9 first");
    for (unsigned i = 0; i < 2; i++) {
        make_owner(f, others[i], 0);
        store_expect(&f->store, NULL, "ZADD fedpush:identities -5 %s", others[i]);
    }
    join(f);
    look_after(f, 0); /* all in one look */
    for (unsigned i = 0; i < 2; i++)
        await_gone(f, others[i]);
    assert_false(is_gone(f, "first"));
    store_expect(&f->store, NULL, "DEL fedpush:claimed:first");
    look_after(f, 5000);
    await_gone(f, "first");
}

static void test_our_own_identity_is_never_recovered(void **state)
{
    struct fixture *f = *state;

    join(f);
    make_owner(f, "self", 300);
    for (unsigned i = 0; i < 5; i++)
        look_after(f, 10000);
    expect_untouched(f, "self");
    assert_int_equal(membership_state(f->membership), MEMBER_PRESENT);
    assert_int_equal(observer_identities(f->observer), 1); /* it did look */
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, start, end)
    const struct CMUnitTest tests[] = {
        TEST(test_stale_twice_is_recovered),
        TEST(test_a_living_one_is_untouched),
        TEST(test_a_beat_in_between_starts_over),
        TEST(test_a_lost_connection_starts_over),
        TEST(test_a_condemned_one_is_recovered_at_once),
        TEST(test_former_identities_are_recovered_at_once),
        TEST(test_what_comes_late_is_found),
        TEST(test_who_fails_comes_last),
        TEST(test_our_own_identity_is_never_recovered),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
