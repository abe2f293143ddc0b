/* Virtual attempts: a parked job comes back as often as Mastodon would have tried it, and no
 * longer. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "sched/parking.h"

enum { HOUR_MS = 3600000 };

static const int64_t opened_ms = INT64_C(1790000000000);

static uint64_t next(void *arg)
{
    uint64_t *seed = arg;
    *seed = *seed * 6364136223846793005u + 1442695040888963407u;
    return *seed;
}

struct life {
    int touched;
    int64_t age_ms;
};

static struct life live(struct parking_job job, int64_t now_ms, uint64_t seed)
{
    const struct rng rng = {.next = next, .arg = &seed};
    struct life life = {0, 0};
    int64_t began_ms = now_ms;
    int64_t wait_ms;

    while ((wait_ms = parking_wait_ms(&job, opened_ms, now_ms, &rng)) >= 0) {
        assert_true(wait_ms >= 15000);
        now_ms += wait_ms;
        life.touched++;
        assert_true(life.touched < 100);
    }
    life.age_ms = now_ms - began_ms;
    return life;
}

static void test_it_lasts_as_long_as_mastodons_retries(void **state)
{
    (void)state;

    for (uint64_t seed = 1; seed < 200; seed++) {
        struct life all = live((struct parking_job){opened_ms, -1, 16}, opened_ms, seed);
        assert_in_range(all.touched, 14, 16);
        assert_in_range(all.age_ms, 50 * (int64_t)HOUR_MS, 90 * (int64_t)HOUR_MS);
        struct life low = live((struct parking_job){opened_ms, -1, 8}, opened_ms, seed);
        assert_in_range(low.touched, 7, 8);
        assert_in_range(low.age_ms, HOUR_MS, 3 * (int64_t)HOUR_MS);
    }
}

static void test_age_counts_from_the_later_of_creation_and_opening(void **state)
{
    uint64_t seed = 7;
    const struct rng rng = {.next = next, .arg = &seed};
    struct parking_job old = {opened_ms - 500 * (int64_t)HOUR_MS, -1, 16};
    struct parking_job late = {opened_ms + 100 * (int64_t)HOUR_MS, -1, 16};
    (void)state;

    assert_true(parking_wait_ms(&old, opened_ms, opened_ms, &rng) < 60000);
    assert_true(parking_wait_ms(&late, opened_ms, late.created_ms, &rng) < 60000);
    assert_true(parking_wait_ms(&old, opened_ms, opened_ms + 100 * (int64_t)HOUR_MS, &rng) < 0);
}

static void test_counted_retries_are_behind_it(void **state)
{
    uint64_t seed = 7;
    const struct rng rng = {.next = next, .arg = &seed};
    struct parking_job job = {opened_ms, 10, 16};
    (void)state;

    assert_true(parking_wait_ms(&job, opened_ms, opened_ms, &rng) >= 14641000); /* 11^4 s */
    job.retry_count = 15;
    assert_true(parking_wait_ms(&job, opened_ms, opened_ms, &rng) < 0);
}

static void test_a_job_without_retries_waits_once(void **state)
{
    (void)state;
    assert_int_equal(live((struct parking_job){opened_ms, -1, -1}, opened_ms, 3).touched, 1);
    assert_true(live((struct parking_job){0, -1, INT64_MAX}, opened_ms, 3).touched > 16);
}

static void test_one_untried_job_at_a_time_becomes_the_probe(void **state)
{
    const struct parking_job job = {opened_ms, -1, 8};
    const struct parking_job tried = {opened_ms, 0, 8};
    int64_t now_ms = opened_ms + 3 * (int64_t)HOUR_MS;
    int64_t probe_ms = now_ms + 600000;
    int64_t taken_ms = 0;
    (void)state;

    assert_int_equal(parking_last_ms(&tried, opened_ms, probe_ms, now_ms, &taken_ms), -1);
    assert_int_equal(taken_ms, 0);
    assert_int_equal(parking_last_ms(&job, opened_ms, probe_ms, now_ms, &taken_ms), 600000);
    for (int i = 0; i < 1000; i++)
        assert_int_equal(parking_last_ms(&job, opened_ms, probe_ms, now_ms + i, &taken_ms), -1);
    /* It came, but another was the probe: it isn't over yet. */
    assert_int_equal(parking_last_ms(&job, opened_ms, probe_ms, probe_ms, &taken_ms), 15000);
    now_ms = probe_ms + 15000;
    probe_ms += HOUR_MS;
    assert_int_equal(parking_last_ms(&job, opened_ms, probe_ms, now_ms, &taken_ms),
                     HOUR_MS - 15000);
    now_ms = opened_ms + 6 * (int64_t)HOUR_MS; /* for so long it had its chances */
    assert_int_equal(parking_last_ms(&job, opened_ms, probe_ms, now_ms, &taken_ms), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_it_lasts_as_long_as_mastodons_retries),
        cmocka_unit_test(test_age_counts_from_the_later_of_creation_and_opening),
        cmocka_unit_test(test_counted_retries_are_behind_it),
        cmocka_unit_test(test_a_job_without_retries_waits_once),
        cmocka_unit_test(test_one_untried_job_at_a_time_becomes_the_probe),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
