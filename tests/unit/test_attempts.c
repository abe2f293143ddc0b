#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "admin/attempts.h"
#include "base/str.h"

enum { START_MS = 1000000, HOUR_MS = 3600000 };

struct fixture {
    struct attempts attempts;
    int64_t now_ms;
};

static int set_up(void **state)
{
    struct fixture *f = mem_alloc(sizeof(*f));

    f->now_ms = START_MS;
    attempts_init(&f->attempts, f->now_ms);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    free(*state);
    return 0;
}

static int64_t try_from(struct fixture *f, unsigned address)
{
    const unsigned char bytes[16] = {10, (unsigned char)(address >> 8), (unsigned char)address};
    return attempts_begin(&f->attempts, AF_INET, bytes, f->now_ms);
}

static void wrong_ones_slow_an_address_down(void **state)
{
    static const int64_t waits_ms[] = {2000,   4000,   8000,   16000,  32000,  64000,
                                       128000, 256000, 512000, 900000, 900000, 900000};
    struct fixture *f = *state;

    for (unsigned i = 0; i < ATTEMPTS_FREE; i++)
        assert_int_equal(try_from(f, 1), 0);
    for (size_t i = 0; i < sizeof(waits_ms) / sizeof(waits_ms[0]); i++) {
        assert_int_equal(try_from(f, 1), 0);
        assert_int_equal(try_from(f, 1), waits_ms[i]);
        f->now_ms += waits_ms[i] - 1;
        assert_int_equal(try_from(f, 1), 1);
        f->now_ms++;
    }
    assert_int_equal(try_from(f, 2), 0); /* others are not held up */
    f->now_ms += HOUR_MS + 1;
    assert_int_equal(try_from(f, 1), 0);
    assert_int_equal(try_from(f, 1), 0);
}

static void who_gets_in_is_forgiven(void **state)
{
    static const unsigned char bytes[16] = {10, 0, 1};
    struct fixture *f = *state;

    for (int round = 0; round < 50; round++) {
        assert_int_equal(try_from(f, 1), 0);
        attempts_right(&f->attempts, AF_INET, bytes, f->now_ms);
    }
}

static void all_together_are_limited_too(void **state)
{
    static const unsigned char bytes[16] = {10, 0, 1};
    struct fixture *f = *state;
    unsigned address = 100;

    assert_int_equal(try_from(f, 1), 0);
    attempts_right(&f->attempts, AF_INET, bytes, f->now_ms);
    for (unsigned i = 1; i < ATTEMPTS_BURST; i++)
        assert_int_equal(try_from(f, address++), 0);
    int64_t wait_ms = try_from(f, address);
    assert_in_range(wait_ms, 1, ATTEMPTS_EACH_MS + 1);
    assert_int_equal(try_from(f, 1), 0); /* who was in before is not held up by them */
    f->now_ms += wait_ms;
    assert_int_equal(try_from(f, address++), 0);
    assert_true(try_from(f, address) > 0);
    f->now_ms += HOUR_MS;
    unsigned good = 0;
    while (try_from(f, address++) == 0)
        good++;
    assert_int_equal(good, ATTEMPTS_BURST); /* no more is saved up */
}

static void a_network_of_ipv6_is_one_visitor(void **state)
{
    struct fixture *f = *state;
    unsigned char bytes[16] = {0x20, 0x01, 0x0d, 0xb8};

    for (unsigned i = 0; i <= ATTEMPTS_FREE; i++) {
        bytes[15] = (unsigned char)i;
        assert_int_equal(attempts_begin(&f->attempts, AF_INET6, bytes, f->now_ms), 0);
    }
    bytes[15] = 99;
    assert_true(attempts_begin(&f->attempts, AF_INET6, bytes, f->now_ms) > 0);
    bytes[7] = 1;
    assert_int_equal(attempts_begin(&f->attempts, AF_INET6, bytes, f->now_ms), 0);
}

static void the_quietest_is_forgotten_first_but_not_who_was_in(void **state)
{
    static const unsigned char known[16] = {10, 0, 1};
    struct fixture *f = *state;

    assert_int_equal(try_from(f, 1), 0);
    attempts_right(&f->attempts, AF_INET, known, f->now_ms);
    for (unsigned i = 0; i <= ATTEMPTS_FREE; i++) {
        f->now_ms += ATTEMPTS_EACH_MS;
        assert_int_equal(try_from(f, 2), 0);
    }
    for (unsigned i = 0; i < ATTEMPTS_ADDRESSES - 2; i++) {
        f->now_ms += 1;
        (void)try_from(f, 1000 + i); /* refused or not: it is remembered */
    }
    assert_true(f->attempts.entries[0].known);
    assert_true(f->attempts.entries[1].wrong > ATTEMPTS_FREE);
    (void)try_from(f, 9000);
    assert_true(f->attempts.entries[0].known);
    assert_int_equal(f->attempts.entries[1].wrong, 0);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        CASE(wrong_ones_slow_an_address_down),
        CASE(who_gets_in_is_forgiven),
        CASE(all_together_are_limited_too),
        CASE(a_network_of_ipv6_is_one_visitor),
        CASE(the_quietest_is_forgotten_first_but_not_who_was_in),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
