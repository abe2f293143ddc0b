#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "sched/lag.h"

enum { START_MS = 1000000 };

static void one_question_at_a_time(void **state)
{
    struct lag lag = {0};
    (void)state;

    assert_int_equal(lag_ms(&lag, START_MS), 0);
    assert_true(lag_ask(&lag, START_MS));
    assert_false(lag_ask(&lag, START_MS + 1000));
    lag_answered(&lag, START_MS - 1, START_MS + 1500); /* to another question */
    assert_false(lag_ask(&lag, START_MS + 2000));
    lag_answered(&lag, START_MS, START_MS + 2500);
    assert_int_equal(lag_ms(&lag, START_MS + 2500), 2500);
    assert_true(lag_ask(&lag, START_MS + 3000));
}

static void silence_is_lateness(void **state)
{
    struct lag lag = {0};
    (void)state;

    assert_true(lag_ask(&lag, START_MS));
    assert_int_equal(lag_ms(&lag, START_MS + 10), 10);
    assert_int_equal(lag_ms(&lag, START_MS + 900), 900);
    lag_answered(&lag, START_MS, START_MS + 900);
    assert_int_equal(lag_ms(&lag, START_MS + 950), 900);
}

static void the_worst_is_forgotten_after_a_while(void **state)
{
    struct lag lag = {0};
    int64_t now_ms = START_MS;
    (void)state;

    assert_true(lag_ask(&lag, now_ms));
    lag_answered(&lag, now_ms, now_ms + 800);
    for (now_ms += 1000; now_ms <= START_MS + 2 * LAG_WINDOW_MS; now_ms += 1000) {
        assert_int_equal(lag_ms(&lag, now_ms), now_ms <= START_MS + 2 * LAG_WINDOW_MS ? 800 : 0);
        assert_true(lag_ask(&lag, now_ms));
        lag_answered(&lag, now_ms, now_ms + 3);
    }
    assert_true(lag_ask(&lag, now_ms));
    lag_answered(&lag, now_ms, now_ms + 3);
    assert_int_equal(lag_ms(&lag, now_ms + 3), 3);
}

static void the_late_get_little_but_something(void **state)
{
    (void)state;
    assert_int_equal(lag_share(0, 1024), 1024);
    assert_int_equal(lag_share(LAG_TOLERATED_MS, 1024), 1024);
    assert_int_equal(lag_share(2 * LAG_TOLERATED_MS, 1024), 256);
    assert_in_range(lag_share(3 * LAG_TOLERATED_MS, 1024), 113, 114);
    assert_int_equal(lag_share(60000, 1024), 32);
    assert_int_equal(lag_share(UINT32_MAX, 1024), 32);
    assert_int_equal(lag_share(UINT32_MAX, 1), 1);
    assert_int_equal(lag_share(250, 1024), 655);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_question_at_a_time),
        cmocka_unit_test(silence_is_lateness),
        cmocka_unit_test(the_worst_is_forgotten_after_a_while),
        cmocka_unit_test(the_late_get_little_but_something),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
