/* Virtual attempts: a parked job comes back as often as Mastodon would have tried it, and no
 * longer; but it is given up only when its host was really asked. */
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

/* Open since then; the next probe is due at once. */
static struct circuit open_circuit(void)
{
    return (struct circuit){.state = CIRCUIT_OPEN, .opened_ms = opened_ms, .probe_ms = opened_ms};
}

struct life {
    int touched;
    int64_t age_ms;
};

static struct life live(struct parking_job job, int64_t now_ms, uint64_t seed)
{
    const struct rng rng = {.next = next, .arg = &seed};
    const struct circuit circuit = open_circuit();
    struct life life = {0, 0};
    int64_t began_ms = now_ms;
    int64_t wait_ms;

    while ((wait_ms = parking_wait_ms(&job, &circuit, now_ms, &rng)) >= 0) {
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
    const struct circuit circuit = open_circuit();
    struct parking_job old = {opened_ms - 500 * (int64_t)HOUR_MS, -1, 16};
    struct parking_job late = {opened_ms + 100 * (int64_t)HOUR_MS, -1, 16};
    (void)state;

    assert_true(parking_wait_ms(&old, &circuit, opened_ms, &rng) < 60000);
    assert_true(parking_wait_ms(&late, &circuit, late.created_ms, &rng) < 60000);
    assert_true(parking_wait_ms(&old, &circuit, opened_ms + 100 * (int64_t)HOUR_MS, &rng) < 0);
}

static void test_retries_counted_before_the_opening_are_behind_it(void **state)
{
    uint64_t seed = 7;
    const struct rng rng = {.next = next, .arg = &seed};
    const struct circuit circuit = open_circuit();
    struct parking_job job = {opened_ms - 100 * (int64_t)HOUR_MS, 10, 16};
    (void)state;

    assert_true(parking_wait_ms(&job, &circuit, opened_ms, &rng) >= 14641000); /* 11^4 s */
    job.retry_count = 15;
    assert_true(parking_wait_ms(&job, &circuit, opened_ms, &rng) < 0);
}

/* It failed fourteen times as the probe of a host that was dead already when it was made. */
static void test_retries_counted_as_a_probe_count_once(void **state)
{
    uint64_t seed = 7;
    const struct rng rng = {.next = next, .arg = &seed};
    const struct circuit circuit = open_circuit();
    const struct parking_job job = {opened_ms + HOUR_MS, 13, 16};
    (void)state;

    assert_true(parking_wait_ms(&job, &circuit, opened_ms + 34 * (int64_t)HOUR_MS, &rng) > 0);
    for (int64_t hour = 1; hour < 61; hour++)
        assert_true(parking_wait_ms(&job, &circuit, job.created_ms + hour * HOUR_MS, &rng) > 0);
    assert_true(live(job, job.created_ms, 3).age_ms >= 61 * (int64_t)HOUR_MS);
    assert_true(live(job, job.created_ms, 3).age_ms <= 70 * (int64_t)HOUR_MS);
}

static void test_a_job_without_retries_waits_once(void **state)
{
    (void)state;
    assert_int_equal(live((struct parking_job){opened_ms, -1, -1}, opened_ms, 3).touched, 1);
    assert_true(live((struct parking_job){0, -1, INT64_MAX}, opened_ms, 3).touched > 16);
}

/* Milliseconds, or -1, of what has failed before: it takes no place. */
static int64_t last_ms(const struct circuit *circuit, int64_t now_ms)
{
    const struct parking_job tried = {opened_ms, 0, 8};
    uint64_t seed = (uint64_t)now_ms;
    const struct rng rng = {.next = next, .arg = &seed};
    int64_t taken_ms = 0;
    int64_t wait_ms = parking_last_ms(&tried, circuit, now_ms, &rng, &taken_ms);

    assert_int_equal(parking_wait_ms(&tried, circuit, now_ms, &rng), -1);
    assert_int_equal(taken_ms, 0);
    return wait_ms;
}

/* The host was paused, or we were: nobody has asked it for three hours, or days. */
static void test_nothing_is_given_up_while_nobody_asks(void **state)
{
    struct circuit circuit = open_circuit();
    (void)state;

    circuit.probed_ms = opened_ms + HOUR_MS;
    circuit.probe_ms = opened_ms + 2 * (int64_t)HOUR_MS;
    for (int64_t hour = 3; hour < 100; hour++)
        assert_in_range(last_ms(&circuit, opened_ms + hour * HOUR_MS), 15000, 30000);
    circuit.state = CIRCUIT_PROBING;
    circuit.probe_ms = opened_ms + 100 * (int64_t)HOUR_MS; /* another machine's word */
    assert_in_range(last_ms(&circuit, opened_ms + 99 * (int64_t)HOUR_MS), 15000, 30000);
}

/* The host has asked for six hours. */
static void test_it_waits_for_a_probe_that_fails_when_its_retries_are_over(void **state)
{
    struct circuit circuit = open_circuit();
    int64_t now_ms = opened_ms + 3 * (int64_t)HOUR_MS;
    int64_t wait_ms;
    (void)state;

    circuit.probed_ms = opened_ms + HOUR_MS;
    circuit.probe_ms = opened_ms + 7 * (int64_t)HOUR_MS;
    wait_ms = last_ms(&circuit, now_ms);
    assert_in_range(wait_ms, 4 * (int64_t)HOUR_MS + 15000, 5 * (int64_t)HOUR_MS + 15000);
    assert_true(last_ms(&circuit, now_ms + 1) != wait_ms); /* not all of them at once */
    circuit.probed_ms = opened_ms + 2 * (int64_t)HOUR_MS;
    assert_int_equal(last_ms(&circuit, now_ms), -1);
    now_ms = circuit.probe_ms; /* the next one may show that it is well */
    assert_in_range(last_ms(&circuit, now_ms), 15000, 30000);
}

static void test_one_untried_job_at_a_time_becomes_the_probe(void **state)
{
    const struct parking_job job = {opened_ms, -1, 8};
    uint64_t seed = 7;
    const struct rng rng = {.next = next, .arg = &seed};
    struct circuit circuit = open_circuit();
    int64_t now_ms = opened_ms + 3 * (int64_t)HOUR_MS;
    int64_t taken_ms = 0;
    (void)state;

    circuit.probed_ms = now_ms - 1;
    circuit.probe_ms = now_ms + 600000;
    assert_int_equal(parking_last_ms(&job, &circuit, now_ms, &rng, &taken_ms), 600000);
    assert_int_equal(taken_ms, circuit.probe_ms);
    for (int i = 0; i < 1000; i++)
        assert_int_equal(parking_last_ms(&job, &circuit, now_ms + i, &rng, &taken_ms), -1);
    /* It came, but another was the probe: it isn't over yet. */
    now_ms = circuit.probe_ms + 15000;
    circuit.probed_ms = now_ms;
    circuit.probe_ms = now_ms + HOUR_MS;
    assert_int_equal(parking_last_ms(&job, &circuit, now_ms, &rng, &taken_ms), HOUR_MS);
    now_ms = opened_ms + 6 * (int64_t)HOUR_MS; /* for so long it had its chances */
    circuit.probe_ms = now_ms + HOUR_MS;
    assert_int_equal(parking_last_ms(&job, &circuit, now_ms, &rng, &taken_ms), -1);
    circuit.probed_ms = opened_ms; /* unless nobody has asked */
    assert_int_equal(parking_last_ms(&job, &circuit, now_ms, &rng, &taken_ms), HOUR_MS);
    assert_true(parking_last_ms(&job, &circuit, now_ms, &rng, &taken_ms) > HOUR_MS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_it_lasts_as_long_as_mastodons_retries),
        cmocka_unit_test(test_age_counts_from_the_later_of_creation_and_opening),
        cmocka_unit_test(test_retries_counted_before_the_opening_are_behind_it),
        cmocka_unit_test(test_retries_counted_as_a_probe_count_once),
        cmocka_unit_test(test_a_job_without_retries_waits_once),
        cmocka_unit_test(test_nothing_is_given_up_while_nobody_asks),
        cmocka_unit_test(test_it_waits_for_a_probe_that_fails_when_its_retries_are_over),
        cmocka_unit_test(test_one_untried_job_at_a_time_becomes_the_probe),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
