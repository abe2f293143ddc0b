/* What comes later although it was made earlier, and for how long it is awaited. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <sodium.h>

#include "sched/away.h"

enum { NOW_MS = 10000000, MINUTE_MS = 60000, PAIR = 7 };

static int64_t until_ms(const struct away *away, int64_t created_us, int64_t now_ms)
{
    return away_until_ms(away, PAIR, created_us, 0, now_ms);
}

static void only_older_ones_of_the_pair_are_awaited(void **state)
{
    struct away *away = away_create();
    (void)state;

    away_add(away, PAIR, 100, NOW_MS + MINUTE_MS, NOW_MS);
    assert_int_equal(until_ms(away, 101, NOW_MS), NOW_MS + MINUTE_MS + AWAY_GRACE_MS);
    assert_int_equal(until_ms(away, 100, NOW_MS), INT64_MIN);
    assert_int_equal(until_ms(away, 99, NOW_MS), INT64_MIN);
    assert_int_equal(away_until_ms(away, PAIR + 1, 101, 0, NOW_MS), INT64_MIN);
    away_add(away, PAIR, 50, NOW_MS + 2 * MINUTE_MS, NOW_MS); /* the last of them counts */
    assert_int_equal(until_ms(away, 101, NOW_MS), NOW_MS + 2 * MINUTE_MS + AWAY_GRACE_MS);
    away_back(away, PAIR, 50);
    away_back(away, PAIR, 50);
    assert_int_equal(until_ms(away, 101, NOW_MS), NOW_MS + MINUTE_MS + AWAY_GRACE_MS);
    away_back(away, PAIR, 100);
    assert_int_equal(until_ms(away, 101, NOW_MS), INT64_MIN);
    assert_int_equal(away_sweep(away, NOW_MS), 0);
    away_destroy(away);
}

static void what_does_not_come_is_not_awaited_for_ever(void **state)
{
    struct away *away = away_create();
    int64_t end_ms = NOW_MS + MINUTE_MS + AWAY_GRACE_MS;
    (void)state;

    away_add(away, PAIR, 100, NOW_MS, NOW_MS);
    away_add(away, PAIR, 100, NOW_MS + MINUTE_MS, NOW_MS); /* the same one */
    assert_int_equal(until_ms(away, 101, end_ms - 1), end_ms);
    assert_int_equal(until_ms(away, 101, end_ms), INT64_MIN);
    assert_int_equal(away_sweep(away, end_ms - 1), 1);
    assert_int_equal(away_sweep(away, end_ms), 0);
    away_move(away, PAIR, 100, end_ms); /* it came before that was known */
    assert_int_equal(until_ms(away, 101, NOW_MS), INT64_MIN);
    away_destroy(away);
}

static void what_was_called_back_comes_soon(void **state)
{
    struct away *away = away_create();
    int64_t later_ms = NOW_MS + 1000;
    (void)state;

    away_add(away, PAIR, 100, NOW_MS + MINUTE_MS, NOW_MS);
    assert_int_equal(away_until_ms(away, PAIR, 101, later_ms, later_ms), later_ms + AWAY_GRACE_MS);
    away_add(away, PAIR, 100, NOW_MS + MINUTE_MS, later_ms); /* it left again since */
    assert_int_equal(away_until_ms(away, PAIR, 101, later_ms, later_ms),
                     NOW_MS + MINUTE_MS + AWAY_GRACE_MS);
    away_add(away, PAIR, 100, NOW_MS + MINUTE_MS, NOW_MS);
    away_uncalled(away, PAIR, 100);
    assert_int_equal(away_until_ms(away, PAIR, 101, later_ms, later_ms),
                     NOW_MS + MINUTE_MS + AWAY_GRACE_MS);
    away_destroy(away);
}

/* Redis knows of what others have booked, and called back; not of what has not reached it yet. */
static void what_redis_says_is_booked_counts(void **state)
{
    struct away *away = away_create();
    const struct away_booked booked[] = {{50, NOW_MS + MINUTE_MS}, {60, NOW_MS + 2 * MINUTE_MS}};
    (void)state;

    away_heard(away, PAIR, booked, 2, NOW_MS);
    assert_int_equal(until_ms(away, 101, NOW_MS), NOW_MS + 2 * MINUTE_MS + AWAY_GRACE_MS);
    assert_int_equal(until_ms(away, 55, NOW_MS), NOW_MS + MINUTE_MS + AWAY_GRACE_MS);
    away_add(away, PAIR, 70, NOW_MS + 3 * MINUTE_MS, NOW_MS); /* of ours */
    away_heard(away, PAIR, booked, 1, NOW_MS);
    assert_int_equal(until_ms(away, 101, NOW_MS), NOW_MS + 3 * MINUTE_MS + AWAY_GRACE_MS);
    assert_int_equal(until_ms(away, 65, NOW_MS), NOW_MS + MINUTE_MS + AWAY_GRACE_MS);
    away_move(away, PAIR, 70, NOW_MS + 3 * MINUTE_MS); /* it has reached Redis */
    away_heard(away, PAIR, NULL, 0, NOW_MS);
    assert_int_equal(until_ms(away, 101, NOW_MS), INT64_MIN);
    assert_int_equal(away_sweep(away, NOW_MS), 0);
    away_heard(away, PAIR, NULL, 0, NOW_MS);
    away_destroy(away);
}

static void so_many_are_remembered(void **state)
{
    struct away *away = away_create();
    (void)state;

    for (uint64_t pair = 1; pair <= AWAY_MAX + 10; pair++)
        away_add(away, pair, 100, NOW_MS, NOW_MS);
    away_add(away, 0, 100, NOW_MS, NOW_MS);
    assert_int_equal(away_sweep(away, NOW_MS), AWAY_MAX);
    /* Room is made of what isn't awaited any more. */
    away_add(away, AWAY_MAX + 1, 100, NOW_MS + 2 * MINUTE_MS, NOW_MS + MINUTE_MS);
    assert_int_equal(away_sweep(away, NOW_MS + MINUTE_MS), 1);
    away_destroy(away);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_older_ones_of_the_pair_are_awaited),
        cmocka_unit_test(what_does_not_come_is_not_awaited_for_ever),
        cmocka_unit_test(what_was_called_back_comes_soon),
        cmocka_unit_test(what_redis_says_is_booked_counts),
        cmocka_unit_test(so_many_are_remembered),
    };
    if (sodium_init() < 0)
        return 1;
    return cmocka_run_group_tests_name("away", tests, NULL, NULL);
}
