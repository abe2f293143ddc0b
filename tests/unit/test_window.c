/* How a host's window follows its answers: each rule of sched/window.h, with times of our choice.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "sched/window.h"

enum { NOW_MS = 10000000 };

static void succeed(struct window *window, int times, unsigned most)
{
    for (int i = 0; i < times; i++)
        window_succeeded(window, true, most);
}

static void test_grows_by_one_for_each_window_of_successes(void **state)
{
    struct window window;
    (void)state;

    window_init(&window, NOW_MS);
    assert_int_equal(window.size, WINDOW_FIRST);
    succeed(&window, 1, 32);
    assert_int_equal(window.size, 2);
    succeed(&window, 1, 32);
    assert_int_equal(window.size, 3);
    succeed(&window, 3 + 4, 32);
    assert_int_equal(window.size, 5);
    for (int i = 0; i < 100; i++) /* nobody waited: it was wide enough */
        window_succeeded(&window, false, 32);
    assert_int_equal(window.size, 5);
    succeed(&window, 10000, 32);
    assert_int_equal(window.size, 32);
}

static void test_errors_of_one_restart_are_one_failure(void **state)
{
    struct window window;
    (void)state;

    window_init(&window, NOW_MS);
    succeed(&window, 10000, 32);
    assert_true(window_failed(&window, NOW_MS, false, NOW_MS + 100));
    for (int i = 1; i < 32; i++) /* all had started before the first came back */
        assert_false(window_failed(&window, NOW_MS + i, false, NOW_MS + 100 + i));
    assert_int_equal(window.size, 16);
    assert_true(window_failed(&window, NOW_MS + 200, false, NOW_MS + 300));
    assert_int_equal(window.size, 8);
}

static void test_a_host_that_pushes_back_gets_gaps(void **state)
{
    struct window window;
    int64_t now_ms = NOW_MS;
    (void)state;

    window_init(&window, now_ms);
    window.size = 1;
    assert_true(window_opens_ms(&window) <= now_ms);
    for (uint32_t gap_ms = WINDOW_FIRST_GAP_MS; gap_ms <= 8000; gap_ms *= 2) {
        window_started(&window, now_ms);
        assert_true(window_failed(&window, now_ms, true, now_ms + 10));
        assert_int_equal(window.gap_ms, gap_ms);
        assert_int_equal(window_opens_ms(&window), now_ms + gap_ms);
        now_ms += 100000;
    }
    uint32_t before_ms = window.gap_ms;
    succeed(&window, 1, 32);
    assert_in_range(window.gap_ms, before_ms * 9 / 10, before_ms - 1);
    succeed(&window, 200, 32); /* and some day it is gone */
    assert_int_equal(window.gap_ms, 0);
    for (int i = 0; i < 40; i++) {
        window_failed(&window, now_ms, true, now_ms + 1);
        window.size = 1;
        now_ms += 1000;
    }
    assert_int_equal(window.gap_ms, WINDOW_MAX_GAP_MS);
}

static void test_a_dead_host_gets_no_gap(void **state)
{
    struct window window;
    (void)state;

    window_init(&window, NOW_MS);
    for (int i = 0; i < 10; i++)
        window_failed(&window, NOW_MS + i * 1000, false, NOW_MS + i * 1000 + 1);
    assert_int_equal(window.size, 1);
    assert_int_equal(window.gap_ms, 0);
}

static void test_retry_after_holds_and_is_bounded(void **state)
{
    struct window window;
    (void)state;

    window_init(&window, NOW_MS);
    window_hold(&window, 5000, NOW_MS);
    assert_int_equal(window_opens_ms(&window), NOW_MS + 5000);
    window_hold(&window, 1000, NOW_MS); /* an earlier end doesn't shorten it */
    assert_int_equal(window_opens_ms(&window), NOW_MS + 5000);
    window_hold(&window, INT64_C(1) << 50, NOW_MS);
    assert_int_equal(window_opens_ms(&window), NOW_MS + WINDOW_MAX_RETRY_AFTER_MS);
}

static void test_idleness_narrows_it(void **state)
{
    struct window window;
    (void)state;

    window_init(&window, NOW_MS);
    succeed(&window, 10000, 32);
    window_started(&window, NOW_MS);
    window_started(&window, NOW_MS + WINDOW_IDLE_MS - 1);
    assert_int_equal(window.size, 32);
    window_started(&window, NOW_MS + 2 * WINDOW_IDLE_MS);
    assert_int_equal(window.size, WINDOW_REST);
    window.size = 2; /* it never widens it */
    window_started(&window, NOW_MS + 4 * WINDOW_IDLE_MS);
    assert_int_equal(window.size, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_grows_by_one_for_each_window_of_successes),
        cmocka_unit_test(test_errors_of_one_restart_are_one_failure),
        cmocka_unit_test(test_a_host_that_pushes_back_gets_gaps),
        cmocka_unit_test(test_a_dead_host_gets_no_gap),
        cmocka_unit_test(test_retry_after_holds_and_is_bounded),
        cmocka_unit_test(test_idleness_narrows_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
