/* Percentiles from counts by powers of two. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <string.h>

#include "admin/latency.h"

static void assert_percentile(const struct latency *latency, double share, double expected_ms)
{
    assert_true(fabs(latency_percentile_ms(latency, share) - expected_ms) < 1e-6);
}

static void nothing_has_no_percentile(void **state)
{
    const struct latency none = {{0}};

    (void)state;
    assert_percentile(&none, 0.5, -1);
}

static void one_bucket_is_interpolated(void **state)
{
    struct latency latency = {{0}};

    (void)state;
    latency.count[7] = 100; /* 64 to 128 ms */
    assert_percentile(&latency, 0, 64);
    assert_percentile(&latency, 0.5, 96);
    assert_percentile(&latency, 1, 128);
}

static void percentiles_find_their_bucket(void **state)
{
    struct latency latency = {{0}};

    (void)state;
    latency.count[0] = 10;
    latency.count[1] = 80;  /* 1 to 2 ms */
    latency.count[11] = 10; /* 1,024 to 2,048 ms */
    assert_percentile(&latency, 0.05, 0);
    assert_percentile(&latency, 0.5, 1.5);
    assert_percentile(&latency, 0.95, 1536);
    assert_percentile(&latency, 0.99, 1024 + 1024 * 0.9);
}

static void what_is_beyond_the_last_bucket_counts_as_its_end(void **state)
{
    struct latency latency = {{0}};

    (void)state;
    latency.count[LATENCY_BUCKETS - 1] = 1;
    assert_percentile(&latency, 1, 8388608);
}

static void arrays_are_added(void **state)
{
    struct latency latency = {{0}};
    static const char good[] = "{1,2,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,9}";

    (void)state;
    assert_true(latency_add_array(&latency, str_of(good)));
    assert_true(latency_add_array(&latency, str_of(good)));
    assert_int_equal(latency.count[1], 4);
    assert_int_equal(latency.count[23], 18);
    assert_int_equal(latency_total(&latency), 24);
}

static void other_arrays_add_nothing(void **state)
{
    static const char *const bad[] = {
        "",
        "{}",
        "1,2",
        "{1,2}",
        "{1,2,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0}",
        "{1,2,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,9,9}",
        "{1,2,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,NULL}",
        "{1,2,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,-1}",
    };
    struct latency latency = {{0}};

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_false(latency_add_array(&latency, str_of(bad[i])));
    assert_int_equal(latency_total(&latency), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_has_no_percentile),
        cmocka_unit_test(one_bucket_is_interpolated),
        cmocka_unit_test(percentiles_find_their_bucket),
        cmocka_unit_test(what_is_beyond_the_last_bucket_counts_as_its_end),
        cmocka_unit_test(arrays_are_added),
        cmocka_unit_test(other_arrays_add_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
