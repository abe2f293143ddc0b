/* The share of the look-ahead that large jobs get, and the pace at which others come again. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "sched/appetite.h"
#include "sched/holdings.h"
#include "sched/large.h"

enum { MIB = 1024 * 1024, LOOKAHEAD = 12 * MIB };

static void test_large_ones_get_half_of_the_lookahead(void **state)
{
    const struct claim large = {.payload_bytes = MIB};
    const struct claim small = {.payload_bytes = LARGE_BYTES - 1};
    (void)state;

    assert_true(claim_is_large(&large) && !claim_is_large(&small));
    assert_false(large_crowds(&large, LOOKAHEAD / 2 - 1, LOOKAHEAD));
    assert_true(large_crowds(&large, LOOKAHEAD / 2, LOOKAHEAD));
    assert_false(large_crowds(&small, LOOKAHEAD, LOOKAHEAD));
    assert_false(large_crowds(&large, 0, MIB)); /* alone */
}

/* Those that came together don't keep each other out. */
static void test_only_what_has_a_place_counts(void **state)
{
    struct holdings holdings;
    char payload[LARGE_BYTES];
    struct claim *claims[3];
    (void)state;

    memset(payload, 'x', sizeof(payload));
    holdings_init(&holdings);
    for (uint64_t i = 0; i < 3; i++) {
        claims[i] = claim_create(i, ORIGIN_QUEUE, STR_NULL, (struct str){payload, LARGE_BYTES});
        assert_ptr_equal(holdings_add(&holdings, claims[i]), claims[i]);
    }
    assert_int_equal(holdings.large_bytes, 3 * 2 * LARGE_BYTES);
    assert_int_equal(holdings.large_count, 3);
    assert_int_equal(holdings.placed_bytes, 0);
    holdings_place(&holdings, claims[0]);
    holdings_place(&holdings, claims[0]);
    holdings_place(&holdings, claims[1]);
    assert_int_equal(holdings.placed_bytes, 2 * 2 * LARGE_BYTES);
    holdings_let_go(&holdings, claims[0]);
    assert_int_equal(holdings.placed_bytes, 2 * LARGE_BYTES);
    holdings_clear(&holdings);
    assert_int_equal(holdings.placed_bytes, 0);
    assert_int_equal(holdings.large_count, 0);
}

/* With larger payloads than usual fewer jobs fill the bytes: what has a share of the look-ahead
 * must not take all of them. */
static void test_the_lookahead_shrinks_with_large_payloads(void **state)
{
    (void)state;

    assert_int_equal(appetite_jobs(4096, LOOKAHEAD, 0, 0), 4096);
    assert_int_equal(appetite_jobs(4096, LOOKAHEAD, LOOKAHEAD, 63), 4096); /* too few to tell */
    assert_int_equal(appetite_jobs(4096, LOOKAHEAD, 1000 * 3000, 1000), 4096);
    assert_int_equal(appetite_jobs(4096, LOOKAHEAD, 1000 * 6400, 1000), LOOKAHEAD / 6400);
}

static void test_they_come_again_one_after_the_other(void **state)
{
    enum { GAP_MS = MIB / LARGE_BYTES_PER_MS };
    const struct claim large = {.payload_bytes = MIB};
    struct large_clock clock = {.reserved_ms = 0};
    (void)state;

    for (int i = 1; i <= 4; i++)
        assert_int_equal(large_book_ms(&clock, &large, 0, 5000), i * GAP_MS);
    /* Nothing goes: ever slower, once a second. */
    assert_int_equal(large_book_ms(&clock, &large, 0, 6000), 2 * GAP_MS);
    assert_int_equal(large_book_ms(&clock, &large, 0, 6000), 4 * GAP_MS);
    for (int64_t now_ms = 100000; now_ms < 120000; now_ms += 1000)
        (void)large_book_ms(&clock, &large, 0, now_ms);
    assert_int_equal(large_book_ms(&clock, &large, 0, 200000), LARGE_SLOWEST * GAP_MS);
    /* One has gone. */
    assert_int_equal(large_book_ms(&clock, &large, 1, 300000), GAP_MS);
    for (int i = 0; i < 200000; i++)
        (void)large_book_ms(&clock, &large, 1, 300000);
    assert_int_equal(large_book_ms(&clock, &large, 1, 300000), 3600000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_large_ones_get_half_of_the_lookahead),
        cmocka_unit_test(test_only_what_has_a_place_counts),
        cmocka_unit_test(test_the_lookahead_shrinks_with_large_payloads),
        cmocka_unit_test(test_they_come_again_one_after_the_other),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
