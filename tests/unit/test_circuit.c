/* One host's circuit, step by step: each rule of sched/circuit.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "sched/circuit.h"

enum { NOW_MS = 10000000 };

static uint64_t lowest(void *arg)
{
    (void)arg;
    return 0; /* no jitter */
}

static uint64_t highest(void *arg)
{
    (void)arg;
    return UINT64_MAX - 100000; /* rng_below refuses the very last ones */
}

static const struct rng rng = {.next = lowest};

static enum circuit_event miss(struct circuit *circuit, int64_t started_ms, bool certain)
{
    return circuit_failed(circuit, started_ms, certain, 0, started_ms + 10, &rng);
}

static void test_five_spaced_failures_open_it(void **state)
{
    struct circuit circuit = {.failures = 0};
    int64_t now_ms = NOW_MS;
    (void)state;

    for (int i = 1; i < CIRCUIT_FAILURES; i++) {
        assert_int_equal(miss(&circuit, now_ms, false), CIRCUIT_SAME);
        assert_int_equal(circuit.failures, i);
        assert_int_equal(miss(&circuit, now_ms, false), CIRCUIT_SAME); /* started before */
        assert_int_equal(circuit.failures, i);
        int64_t space_ms = circuit_spaced_ms(&circuit) - (now_ms + 10);
        assert_int_equal(space_ms, CIRCUIT_FIRST_SPACE_MS << (i - 1));
        now_ms = circuit_spaced_ms(&circuit);
    }
    assert_int_equal(miss(&circuit, now_ms, false), CIRCUIT_OPENED);
    assert_int_equal(circuit.state, CIRCUIT_OPEN);
    assert_int_equal(circuit.opened_ms, now_ms + 10);
    assert_int_equal(circuit.probe_ms, now_ms + 10 + CIRCUIT_FIRST_BACKOFF_MS);
}

static void test_while_it_may_be_us_nothing_opens(void **state)
{
    struct circuit circuit = {.failures = 0};
    int64_t now_ms = NOW_MS;
    (void)state;

    for (int i = 0; i < 2 * CIRCUIT_FAILURES; i++) {
        circuit_doubted(&circuit, now_ms, true, now_ms + 10);
        assert_int_equal(circuit.state, CIRCUIT_CLOSED);
        assert_int_equal(circuit.first_ms, NOW_MS + 10);
        assert_true(circuit_spaced_ms(&circuit) > now_ms); /* but it is asked less often */
        now_ms = circuit_spaced_ms(&circuit);
    }
    assert_int_equal(miss(&circuit, now_ms, false), CIRCUIT_OPENED);
    circuit_doubted(&circuit, now_ms + 20, false, now_ms + 30);
    assert_int_equal(circuit.opened_ms, now_ms + 10);
}

static void test_three_open_it_when_there_is_no_doubt(void **state)
{
    struct circuit circuit = {.failures = 0};
    (void)state;

    assert_int_equal(miss(&circuit, NOW_MS, true), CIRCUIT_SAME);
    assert_int_equal(miss(&circuit, NOW_MS + 2000, true), CIRCUIT_SAME);
    assert_int_equal(miss(&circuit, NOW_MS + 5000, true), CIRCUIT_OPENED);
}

static void test_an_answer_begins_anew(void **state)
{
    struct circuit circuit = {.failures = 0};
    (void)state;

    for (int i = 0; i < 100; i++) {
        for (int k = 1; k < CIRCUIT_FAILURES; k++)
            assert_int_equal(miss(&circuit, NOW_MS + i * 100000 + k * 9000, false), CIRCUIT_SAME);
        assert_int_equal(circuit_answered(&circuit), CIRCUIT_SAME);
        assert_int_equal(circuit_spaced_ms(&circuit), INT64_MIN);
    }
}

static void open_it(struct circuit *circuit, int64_t now_ms)
{
    *circuit = (struct circuit){.state = CIRCUIT_CLOSED};
    circuit_adopt_open(circuit, now_ms, now_ms + CIRCUIT_FIRST_BACKOFF_MS, CIRCUIT_FIRST_BACKOFF_MS,
                       now_ms);
}

static void test_failed_probes_double_the_backoff_up_to_an_hour(void **state)
{
    struct circuit circuit;
    int64_t expected_ms = CIRCUIT_FIRST_BACKOFF_MS;
    (void)state;

    open_it(&circuit, NOW_MS);
    for (int i = 0; i < 20; i++) {
        int64_t now_ms = circuit.probe_ms;
        circuit_probe(&circuit);
        expected_ms =
            expected_ms * 2 < CIRCUIT_LAST_BACKOFF_MS ? expected_ms * 2 : CIRCUIT_LAST_BACKOFF_MS;
        assert_int_equal(miss(&circuit, now_ms, false), CIRCUIT_REOPENED);
        assert_int_equal(circuit.state, CIRCUIT_OPEN);
        assert_int_equal(circuit.probe_ms - now_ms - 10, expected_ms);
        assert_int_equal(circuit.opened_ms, NOW_MS); /* the age of jobs counts from there */
        assert_int_equal(circuit.probed_ms, now_ms + 10);
    }
    circuit_probe(&circuit);
    assert_int_equal(circuit_answered(&circuit), CIRCUIT_CLOSED_AGAIN);
    assert_int_equal(circuit.state, CIRCUIT_CLOSED);
}

static void test_a_probe_that_shows_nothing_is_made_again(void **state)
{
    struct circuit circuit;
    (void)state;

    open_it(&circuit, NOW_MS);
    assert_int_equal(circuit_unproven(&circuit, NOW_MS, &rng), CIRCUIT_SAME); /* no probe of it */
    assert_int_equal(circuit.probe_ms, NOW_MS + CIRCUIT_FIRST_BACKOFF_MS);
    int64_t now_ms = circuit.probe_ms;
    circuit_probe(&circuit);
    assert_int_equal(circuit_unproven(&circuit, now_ms, &rng), CIRCUIT_UNPROVEN);
    assert_int_equal(circuit.state, CIRCUIT_OPEN);
    assert_int_equal(circuit.backoff_ms, CIRCUIT_FIRST_BACKOFF_MS);
    assert_int_equal(circuit.probe_ms, now_ms + CIRCUIT_FIRST_BACKOFF_MS);
    assert_int_equal(circuit.opened_ms, NOW_MS);
    assert_int_equal(circuit.probed_ms, 0);
    circuit_adopt_closed(&circuit);
    assert_int_equal(circuit_unproven(&circuit, now_ms, &rng), CIRCUIT_SAME);
    assert_int_equal(circuit.state, CIRCUIT_CLOSED);
}

/* Its host was paused for days, or fedpush was down. */
static void test_time_in_which_nobody_asks_does_not_count(void **state)
{
    const int64_t late_ms = INT64_C(72) * 3600000;
    struct circuit circuit;
    (void)state;

    open_it(&circuit, NOW_MS);
    circuit_probe(&circuit);
    int64_t now_ms = circuit.probe_ms + late_ms;
    assert_int_equal(miss(&circuit, now_ms - 10, false), CIRCUIT_REOPENED);
    assert_int_equal(circuit.opened_ms, now_ms);
    assert_int_equal(circuit.probed_ms, now_ms);
    circuit_probe(&circuit);
    int64_t in_time_ms = circuit.probe_ms + CIRCUIT_OVERDUE_MS; /* so long it may take */
    assert_int_equal(miss(&circuit, in_time_ms - 10, false), CIRCUIT_REOPENED);
    assert_int_equal(circuit.opened_ms, now_ms);
    now_ms = circuit.probe_ms + late_ms; /* no more do probes that show nothing */
    for (int i = 0; i < 3; i++) {
        circuit_probe(&circuit);
        assert_int_equal(circuit_unproven(&circuit, now_ms, &rng), CIRCUIT_UNPROVEN);
        now_ms = circuit.probe_ms;
    }
    circuit_probe(&circuit);
    assert_int_equal(miss(&circuit, now_ms, false), CIRCUIT_REOPENED);
    assert_int_equal(circuit.opened_ms, now_ms + 10);
}

static void test_a_later_time_for_the_next_probe_tells_of_one_that_failed(void **state)
{
    struct circuit circuit;
    int64_t due_ms = NOW_MS + CIRCUIT_FIRST_BACKOFF_MS;
    (void)state;

    open_it(&circuit, NOW_MS);
    assert_int_equal(circuit.probed_ms, 0);                           /* unknown */
    circuit_adopt_open(&circuit, NOW_MS, due_ms, 30000, NOW_MS + 10); /* read again */
    assert_int_equal(circuit.probed_ms, 0);
    circuit_adopt_open(&circuit, NOW_MS, NOW_MS + 20, 30000, NOW_MS + 20); /* try it now */
    assert_int_equal(circuit.probed_ms, 0);
    circuit_adopt_open(&circuit, NOW_MS, due_ms, 60000, NOW_MS + 5000);
    assert_int_equal(circuit.probed_ms, NOW_MS + 20);
    circuit_adopt_open(&circuit, NOW_MS, due_ms + 90000, 60000, due_ms + 7000);
    assert_int_equal(circuit.probed_ms, due_ms);
    circuit_adopt_open(&circuit, NOW_MS, due_ms + 99000, 60000,
                       due_ms + 8000); /* before its time */
    assert_int_equal(circuit.probed_ms, due_ms + 8000);
    circuit_adopt_closed(&circuit);
    circuit_adopt_open(&circuit, due_ms + 99000, due_ms + 129000, 30000, due_ms + 100000);
    assert_int_equal(circuit.probed_ms, 0);
}

static void test_stragglers_decide_nothing(void **state)
{
    struct circuit circuit;
    (void)state;

    open_it(&circuit, NOW_MS);
    int64_t probe_ms = circuit.probe_ms;
    assert_int_equal(miss(&circuit, NOW_MS - 5000, true), CIRCUIT_SAME);
    assert_int_equal(circuit.probe_ms, probe_ms);
}

static void test_retry_after_and_jitter_only_lengthen(void **state)
{
    const struct rng late = {.next = highest};
    struct circuit circuit;
    (void)state;

    open_it(&circuit, NOW_MS);
    circuit_probe(&circuit);
    circuit_failed(&circuit, NOW_MS, false, 7200000, NOW_MS, &rng);
    assert_int_equal(circuit.probe_ms, NOW_MS + 7200000);
    open_it(&circuit, NOW_MS);
    circuit_probe(&circuit);
    circuit_failed(&circuit, NOW_MS, false, 1, NOW_MS, &late);
    assert_in_range(circuit.probe_ms - NOW_MS, 60000, 72000);
}

static void test_what_others_say_is_bounded(void **state)
{
    struct circuit circuit = {.failures = 0};
    (void)state;

    circuit_adopt_open(&circuit, NOW_MS, NOW_MS + 1, UINT32_MAX, NOW_MS);
    assert_int_equal(circuit.backoff_ms, CIRCUIT_LAST_BACKOFF_MS);
    circuit_adopt_open(&circuit, NOW_MS, NOW_MS + 1, 0, NOW_MS);
    assert_int_equal(circuit.backoff_ms, CIRCUIT_FIRST_BACKOFF_MS);
    circuit_probe(&circuit);
    circuit_adopt_open(&circuit, NOW_MS, NOW_MS + 5, 60000, NOW_MS);
    assert_int_equal(circuit.state, CIRCUIT_PROBING); /* its token decides */
    circuit_adopt_closed(&circuit);
    assert_int_equal(circuit.state, CIRCUIT_CLOSED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_five_spaced_failures_open_it),
        cmocka_unit_test(test_while_it_may_be_us_nothing_opens),
        cmocka_unit_test(test_three_open_it_when_there_is_no_doubt),
        cmocka_unit_test(test_an_answer_begins_anew),
        cmocka_unit_test(test_failed_probes_double_the_backoff_up_to_an_hour),
        cmocka_unit_test(test_a_probe_that_shows_nothing_is_made_again),
        cmocka_unit_test(test_time_in_which_nobody_asks_does_not_count),
        cmocka_unit_test(test_a_later_time_for_the_next_probe_tells_of_one_that_failed),
        cmocka_unit_test(test_stragglers_decide_nothing),
        cmocka_unit_test(test_retry_after_and_jitter_only_lengthen),
        cmocka_unit_test(test_what_others_say_is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
