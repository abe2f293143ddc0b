/* The share of the look-ahead that large jobs get, and the pace at which others come again. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "sched/large.h"

enum { MIB = 1024 * 1024, LOOKAHEAD = 12 * MIB };

static void test_large_ones_get_half_of_the_lookahead(void **state)
{
    const struct claim large = {.payload_bytes = MIB};
    const struct claim small = {.payload_bytes = LARGE_BYTES - 1};
    (void)state;

    assert_true(claim_is_large(&large) && !claim_is_large(&small));
    assert_false(large_crowds(&large, LOOKAHEAD / 2, LOOKAHEAD));
    assert_true(large_crowds(&large, LOOKAHEAD / 2 + 1, LOOKAHEAD));
    assert_false(large_crowds(&small, LOOKAHEAD, LOOKAHEAD));
    assert_false(large_crowds(&large, claim_bytes(&large), MIB)); /* alone */
}

static void test_they_come_again_one_after_the_other(void **state)
{
    const struct claim large = {.payload_bytes = MIB};
    int64_t reserved_ms = 0;
    (void)state;

    for (int i = 1; i <= 4; i++)
        assert_int_equal(large_book_ms(&large, &reserved_ms, 5000), i * MIB / LARGE_BYTES_PER_MS);
    assert_int_equal(large_book_ms(&large, &reserved_ms, 100000), MIB / LARGE_BYTES_PER_MS);
    for (int i = 0; i < 20000; i++)
        (void)large_book_ms(&large, &reserved_ms, 100000);
    assert_int_equal(large_book_ms(&large, &reserved_ms, 100000), 3600000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_large_ones_get_half_of_the_lookahead),
        cmocka_unit_test(test_they_come_again_one_after_the_other),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
