/* A token bucket keeps its rate, whenever it is asked. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "sched/rate.h"

enum { NOW_MS = 10000000 };

static unsigned taken(struct rate *rate, int64_t from_ms, int64_t to_ms, int64_t step_ms)
{
    unsigned count = 0;
    for (int64_t now_ms = from_ms; now_ms < to_ms; now_ms += step_ms) {
        while (rate_take(rate, now_ms))
            count++;
    }
    return count;
}

static void test_so_many_a_second(void **state)
{
    struct rate rate = {.per_s = 0};
    (void)state;

    rate_set(&rate, 100, NOW_MS);
    assert_in_range(taken(&rate, NOW_MS, NOW_MS + 10000, 7), 990, 1011);
    assert_in_range(taken(&rate, NOW_MS + 100000, NOW_MS + 100001, 1), 10, 11); /* no more saved */
}

static void test_less_than_one_a_second(void **state)
{
    struct rate rate = {.per_s = 0};
    (void)state;

    rate_set(&rate, 1.0 / 60, NOW_MS);
    assert_int_equal(taken(&rate, NOW_MS, NOW_MS + 600500, 10), 10);
    assert_in_range(rate_next_ms(&rate, NOW_MS + 600500) - NOW_MS, 658000, 662000);
}

static void test_none_is_no_limit(void **state)
{
    struct rate rate = {.per_s = 0};
    (void)state;

    for (int i = 0; i < 100000; i++)
        assert_true(rate_take(&rate, NOW_MS));
    assert_int_equal(rate_next_ms(&rate, NOW_MS), NOW_MS);
    rate_set(&rate, 5, NOW_MS);
    assert_false(rate_take(&rate, NOW_MS)); /* from now on */
    rate_set(&rate, 0, NOW_MS);
    assert_true(rate_take(&rate, NOW_MS));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_so_many_a_second),
        cmocka_unit_test(test_less_than_one_a_second),
        cmocka_unit_test(test_none_is_no_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
