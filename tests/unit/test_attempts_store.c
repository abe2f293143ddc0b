/* The fleet's count of attempts, against a real Redis. Its time is Redis' own, so that what is
 * stored grows older here instead. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "admin/attempts.h"
#include "admin/attempts_store.h"
#include "store.h"

/* More than what a test takes to come to its next step. */
enum { SLACK_MS = 60 * 1000, HOUR_MS = 3600 * 1000 };
/* A wait that is known to the second, this long after it was asked for. */
#define assert_wait(wait_ms, expected_ms)                                                          \
    assert_in_range(wait_ms, (expected_ms)-SLACK_MS, expected_ms)

static char none[] = "";

struct fixture {
    struct store store;
    char *url;
    struct config config;
    struct session session[2]; /* of two machines */
};

static int set_up(void **state)
{
    struct fixture *f = mem_alloc(sizeof(*f));
    struct err err;

    store_start(&f->store);
    f->url = mem_printf("unix://%s?db=0", f->store.server.socket);
    f->config = (struct config){.resolvers = none,
                                .redis_namespace = none,
                                .redis_base_url = f->url,
                                .redis_sidekiq_url = f->url,
                                .redis_cache_url = f->url,
                                .redis_ca_file = none,
                                .redis_cert_file = none,
                                .redis_key_file = none};
    for (size_t i = 0; i < 2; i++)
        assert_true(session_open(&f->session[i], &f->config, &err));
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;

    for (size_t i = 0; i < 2; i++)
        session_close(&f->session[i]);
    store_stop(&f->store);
    free(f->url);
    free(f);
    return 0;
}

static int64_t try_at(struct fixture *f, size_t machine, unsigned address)
{
    const unsigned char bytes[16] = {10, (unsigned char)(address >> 8), (unsigned char)address};
    int64_t wait_ms;
    struct err err;

    assert_true(attempts_store_begin(&f->session[machine], AF_INET, bytes, &wait_ms, &err));
    return wait_ms;
}

static void get_in(struct fixture *f, unsigned address)
{
    const unsigned char bytes[16] = {10, (unsigned char)(address >> 8), (unsigned char)address};
    struct err err;

    assert_true(attempts_store_right(&f->session[0], AF_INET, bytes, &err));
}

/* As if all that is stored had been written that much earlier; a negative one: by a clock ahead. */
static void grow_older(struct fixture *f, int64_t ms)
{
    store_expect(&f->store, NULL, "EVAL %s 0 %lld",
                 "for _, key in ipairs(redis.call('KEYS', 'fedpush:attempts:*')) do"
                 " redis.call('HINCRBY', key, 'until', -ARGV[1])"
                 " redis.call('HINCRBY', key, 'last', -ARGV[1]) end"
                 " if redis.call('EXISTS', 'fedpush:attempts') == 1 then"
                 " redis.call('INCRBY', 'fedpush:attempts', -ARGV[1]) end return 1",
                 (long long)ms);
}

static void wrong_ones_slow_an_address_down_whoever_they_ask(void **state)
{
    /* Of the shorter ones a slow run could miss the end. */
    static const int64_t waits_ms[] = {128000, 256000, 512000, 900000, 900000};
    struct fixture *f = *state;

    for (unsigned i = 0; i < ATTEMPTS_FREE; i++)
        assert_int_equal(try_at(f, i % 2, 1), 0);
    for (unsigned i = 0; i < 6; i++) { /* 2 to 64 seconds */
        assert_int_equal(try_at(f, i % 2, 1), 0);
        grow_older(f, 64000);
    }
    for (size_t i = 0; i < sizeof(waits_ms) / sizeof(waits_ms[0]); i++) {
        assert_int_equal(try_at(f, i % 2, 1), 0);
        assert_wait(try_at(f, 0, 1), waits_ms[i]);
        assert_wait(try_at(f, 1, 1), waits_ms[i]);
        grow_older(f, waits_ms[i]);
    }
    assert_int_equal(try_at(f, 1, 2), 0); /* others are not held up */
    grow_older(f, HOUR_MS + 1);
    for (unsigned i = 0; i <= ATTEMPTS_FREE; i++)
        assert_int_equal(try_at(f, 0, 1), 0);
}

static void who_gets_in_is_forgiven(void **state)
{
    struct fixture *f = *state;

    for (int round = 0; round < 50; round++) {
        assert_int_equal(try_at(f, 1, 1), 0);
        get_in(f, 1);
    }
}

/* How many addresses that nobody knows are let before one has to wait, of which nothing is kept. */
static unsigned let_strangers(struct fixture *f, unsigned address)
{
    unsigned count = 0;
    int64_t wait_ms = 0;

    while (count < 2 * ATTEMPTS_BURST && (wait_ms = try_at(f, count % 2, address + count)) == 0)
        count++;
    assert_in_range(wait_ms, 1, ATTEMPTS_EACH_MS);
    char *key = mem_printf("fedpush:attempts:0a%04x00", address + count);
    store_expect(&f->store, "0", "EXISTS %s", key);
    free(key);
    return count;
}

static void all_together_are_limited_too(void **state)
{
    struct fixture *f = *state;

    get_in(f, 1);
    assert_true(let_strangers(f, 100) >= ATTEMPTS_BURST);
    assert_int_equal(try_at(f, 1, 1), 0); /* who was in before is not held up by them */
    grow_older(f, 2 * HOUR_MS);
    assert_true(let_strangers(f, 1000) >= ATTEMPTS_BURST); /* and no more was saved up */
}

static void a_clock_that_went_back_holds_nobody_up(void **state)
{
    struct fixture *f = *state;

    for (unsigned i = 0; i <= ATTEMPTS_FREE; i++)
        assert_int_equal(try_at(f, 0, 1), 0);
    grow_older(f, -24 * HOUR_MS);
    assert_int_equal(try_at(f, 0, 1), 0);
    assert_int_equal(try_at(f, 0, 2), 0);
}

/* Within a minute before that. */
static void expect_expiry(struct fixture *f, const char *key, int64_t after_ms)
{
    store_expect(&f->store, "1", "EVAL %s 1 %s %lld",
                 "local left = ARGV[1] - redis.call('PTTL', KEYS[1])"
                 " return left >= 0 and left < 60000 and 1 or 0",
                 key, (long long)after_ms);
}

static void what_is_counted_expires(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(try_at(f, 0, 1), 0);
    expect_expiry(f, "fedpush:attempts:0a000100", HOUR_MS);
    expect_expiry(f, "fedpush:attempts", ATTEMPTS_EACH_MS);
    get_in(f, 1);
    expect_expiry(f, "fedpush:attempts:0a000100", INT64_C(30) * 24 * HOUR_MS);
}

static void a_network_of_ipv6_is_one_visitor(void **state)
{
    unsigned char bytes[16] = {0x20, 1, 0xd, 0xb8};
    struct fixture *f = *state;
    int64_t wait_ms;
    struct err err;

    for (unsigned char i = 0; i < 2; i++) {
        bytes[15] = i;
        assert_true(attempts_store_begin(&f->session[0], AF_INET6, bytes, &wait_ms, &err));
    }
    store_expect(&f->store, "2", "HGET fedpush:attempts:20010db800000000 wrong");
    assert_true(attempts_store_begin(&f->session[0], AF_UNIX, bytes, &wait_ms, &err));
    store_expect(&f->store, "1", "HGET fedpush:attempts:local wrong");
}

static void what_redis_refuses_nobody_knows(void **state)
{
    static const unsigned char bytes[16] = {10};
    struct fixture *f = *state;
    int64_t wait_ms;
    struct err err;

    store_expect(&f->store, NULL, "HSET fedpush:attempts wrong kind");
    assert_false(attempts_store_begin(&f->session[0], AF_INET, bytes, &wait_ms, &err));
    assert_non_null(strstr(err.message, "Redis: WRONGTYPE"));
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        CASE(wrong_ones_slow_an_address_down_whoever_they_ask),
        CASE(who_gets_in_is_forgiven),
        CASE(all_together_are_limited_too),
        CASE(a_clock_that_went_back_holds_nobody_up),
        CASE(what_is_counted_expires),
        CASE(a_network_of_ipv6_is_one_visitor),
        CASE(what_redis_refuses_nobody_knows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
