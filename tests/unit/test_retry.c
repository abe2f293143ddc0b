#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "sched/retry.h"

enum { COUNTS = 16 };

/* Answers a list of numbers; a number below a bound comes out of rng_below as it is, the bound
 * itself as 0. */
struct script {
    uint64_t values[2];
    size_t drawn;
};

static uint64_t script_next(void *arg)
{
    struct script *script = arg;
    assert_in_range(script->drawn, 0, 1);
    return script->values[script->drawn++];
}

/* The integers that Ruby's rand(0.5 * n ** 4) can give: below this bound, none for 0. */
static const uint64_t mastodon_bounds[COUNTS] = {
    0, 0, 8, 40, 128, 312, 648, 1200, 2048, 3280, 5000, 7320, 10368, 14280, 19208, 25312};

static int64_t delay_s(int64_t count, int sidekiq_major, uint64_t mastodon, uint64_t sidekiq)
{
    bool drawn = mastodon_bounds[count] > 0;
    struct script script = {{drawn ? mastodon : sidekiq, sidekiq}, 0};
    struct rng rng = {script_next, &script};
    int64_t result_s = retry_delay_s(count, sidekiq_major, &rng);

    assert_int_equal(script.drawn, drawn ? 2 : 1);
    return result_s;
}

static void the_least_delay_is_the_formula_without_jitter(void **state)
{
    static const int64_t expected_s[COUNTS] = {
        15, 16, 31, 96, 271, 640, 1311, 2416, 4111, 6576, 10015, 14656, 20751, 28576, 38431, 50640};

    (void)state;
    for (int64_t n = 0; n < COUNTS; n++) {
        for (int major = 6; major <= 8; major++) {
            assert_int_equal(delay_s(n, major, 0, 0), expected_s[n]);
            /* What a draw beyond the greatest would be: the bounds are neither less nor more. */
            uint64_t bound = major < 8 ? 10 : 10 * (uint64_t)(n + 1);
            assert_int_equal(delay_s(n, major, mastodon_bounds[n], bound), expected_s[n]);
        }
    }
}

static void the_greatest_delay_before_sidekiq_8(void **state)
{
    static const int64_t expected_s[COUNTS] = {24,    34,    65,    171,  443,   1005,
                                               2021,  3687,  6239,  9945, 15113, 22083,
                                               31235, 42981, 57773, 76095};

    (void)state;
    for (int64_t n = 0; n < COUNTS; n++) {
        assert_int_equal(delay_s(n, 6, mastodon_bounds[n] - 1, 9), expected_s[n]);
        assert_int_equal(delay_s(n, 7, mastodon_bounds[n] - 1, 9), expected_s[n]);
    }
}

static void the_greatest_delay_from_sidekiq_8_on(void **state)
{
    static const int64_t expected_s[COUNTS] = {24,    35,    67,    174,  447,   1010,
                                               2027,  3694,  6247,  9954, 15123, 22094,
                                               31247, 42994, 57787, 76110};

    (void)state;
    for (int64_t n = 0; n < COUNTS; n++)
        assert_int_equal(delay_s(n, 8, mastodon_bounds[n] - 1, 10 * (uint64_t)(n + 1) - 1),
                         expected_s[n]);
}

static void jitter_before_sidekiq_8_is_a_multiple_of_the_runs(void **state)
{
    (void)state;
    for (int64_t n = 0; n < COUNTS; n++) {
        assert_int_equal(delay_s(n, 7, 0, 1) - delay_s(n, 7, 0, 0), n + 1);
        assert_int_equal(delay_s(n, 8, 0, 1) - delay_s(n, 8, 0, 0), 1);
    }
}

static uint64_t zero(void *arg)
{
    (void)arg;
    return 0;
}

static void absurd_counts_do_not_overflow(void **state)
{
    struct rng rng = {zero, NULL};

    (void)state;
    assert_int_equal(retry_delay_s(-1, 8, &rng), 15);
    assert_int_equal(retry_delay_s(INT64_MIN, 7, &rng), 15);
    assert_true(retry_delay_s(INT64_MAX, 7, &rng) >= retry_delay_s(9999, 7, &rng));
    assert_true(retry_delay_s(INT64_MAX, 8, &rng) >= retry_delay_s(9999, 8, &rng));
}

static void exhausted_when_the_count_reaches_the_limit(void **state)
{
    (void)state;
    assert_false(retry_exhausted(15, 16));
    assert_true(retry_exhausted(16, 16));
    assert_true(retry_exhausted(17, 16));
    assert_false(retry_exhausted(7, 8));
    assert_true(retry_exhausted(8, 8));
    assert_true(retry_exhausted(0, 0));
    assert_true(retry_exhausted(0, -1));
    assert_false(retry_exhausted(0, 1));
}

static void scores_have_microseconds(void **state)
{
    char score[32];

    (void)state;
    retry_score(score, 1795419280392170);
    assert_string_equal(score, "1795419280.392170");
    retry_score(score, 1795419280000007);
    assert_string_equal(score, "1795419280.000007");
    retry_score(score, INT64_MAX);
    assert_string_equal(score, "9223372036854.775807");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_least_delay_is_the_formula_without_jitter),
        cmocka_unit_test(the_greatest_delay_before_sidekiq_8),
        cmocka_unit_test(the_greatest_delay_from_sidekiq_8_on),
        cmocka_unit_test(jitter_before_sidekiq_8_is_a_multiple_of_the_runs),
        cmocka_unit_test(absurd_counts_do_not_overflow),
        cmocka_unit_test(exhausted_when_the_count_reaches_the_limit),
        cmocka_unit_test(scores_have_microseconds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
