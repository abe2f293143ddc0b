/* Is it them or us? Hosts succeed and fail at times of our choice. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "sched/suspicion.h"

enum { NOW_MS = 10000000, HOSTS = 100 };

struct fixture {
    struct suspicion suspicion;
    struct suspicion_mark marks[HOSTS];
};

/* All were good a minute ago. */
static void create(struct fixture *f)
{
    *f = (struct fixture){.suspicion = {.active = false}};
    for (int i = 0; i < HOSTS; i++)
        f->marks[i].success_ms = NOW_MS - 60000;
}

static void note(struct fixture *f, int from, int to, bool failed, int64_t now_ms)
{
    for (int i = from; i < to; i++)
        suspicion_note(&f->suspicion, &f->marks[i], failed, now_ms);
}

static void test_more_than_half_of_twenty(void **state)
{
    struct fixture f;
    (void)state;

    create(&f);
    note(&f, 0, 19, true, NOW_MS);
    assert_false(suspicion_is_active(&f.suspicion, NOW_MS));
    note(&f, 0, 19, true, NOW_MS + 1000); /* the same hosts again */
    assert_false(suspicion_is_active(&f.suspicion, NOW_MS + 1000));
    note(&f, 19, 20, true, NOW_MS + 1000);
    assert_true(suspicion_is_active(&f.suspicion, NOW_MS + 1000));
}

static void test_half_is_not_enough(void **state)
{
    struct fixture f;
    (void)state;

    create(&f);
    note(&f, 0, 50, false, NOW_MS);
    note(&f, 50, 100, true, NOW_MS);
    assert_false(suspicion_is_active(&f.suspicion, NOW_MS));
    note(&f, 0, 1, true, NOW_MS); /* its last attempt counts, not its first */
    assert_true(suspicion_is_active(&f.suspicion, NOW_MS));
}

static void test_only_hosts_that_were_good_count(void **state)
{
    struct fixture f;
    (void)state;

    create(&f);
    for (int i = 0; i < HOSTS; i++)
        f.marks[i].success_ms = i < 50 ? 0 : NOW_MS - SUSPICION_GOOD_MS;
    note(&f, 0, HOSTS, true, NOW_MS);
    assert_false(suspicion_is_active(&f.suspicion, NOW_MS));
    assert_int_equal(suspicion_judge(&f.suspicion, NOW_MS, NOW_MS, NOW_MS), DOUBT_WAIT);
}

static void test_what_is_long_ago_does_not_count(void **state)
{
    struct fixture f;
    (void)state;

    create(&f);
    note(&f, 0, 15, true, NOW_MS);
    note(&f, 15, 30, true, NOW_MS + SUSPICION_SPAN_MS);
    assert_false(suspicion_is_active(&f.suspicion, NOW_MS + SUSPICION_SPAN_MS));
    suspicion_forget(&f.suspicion, &f.marks[29]);
    note(&f, 40, 45, true, NOW_MS + SUSPICION_SPAN_MS);
    assert_false(suspicion_is_active(&f.suspicion, NOW_MS + SUSPICION_SPAN_MS)); /* 19 */
    note(&f, 45, 46, true, NOW_MS + SUSPICION_SPAN_MS);
    assert_true(suspicion_is_active(&f.suspicion, NOW_MS + SUSPICION_SPAN_MS));
}

static void test_answers_in_a_row_end_it(void **state)
{
    struct fixture f;
    int64_t now_ms = NOW_MS;
    (void)state;

    create(&f);
    note(&f, 0, 30, true, now_ms);
    assert_true(suspicion_is_active(&f.suspicion, now_ms));
    for (int round = 0; round < 5; round++) {
        for (int i = 0; i < SUSPICION_TRIALS; i++)
            assert_true(suspicion_takes_trial(&f.suspicion, now_ms));
        assert_false(suspicion_takes_trial(&f.suspicion, now_ms + SUSPICION_TRIAL_MS - 1));
        now_ms += SUSPICION_TRIAL_MS;
    }
    now_ms += 3600000; /* time alone doesn't */
    assert_true(suspicion_is_active(&f.suspicion, now_ms));
    note(&f, 50, 50 + SUSPICION_TRIALS - 1, false, now_ms); /* luck */
    note(&f, 53, 54, true, now_ms);
    note(&f, 50, 50 + SUSPICION_TRIALS - 1, false, now_ms);
    assert_true(suspicion_is_active(&f.suspicion, now_ms));
    note(&f, 53, 54, false, now_ms);
    assert_false(suspicion_is_active(&f.suspicion, now_ms));
}

static void test_what_started_before_the_end_is_ours(void **state)
{
    struct fixture f;
    int64_t end_ms = NOW_MS + 60000;
    (void)state;

    create(&f);
    assert_false(suspicion_excuses(&f.suspicion, NOW_MS, NOW_MS));
    note(&f, 0, 30, true, NOW_MS);
    assert_true(suspicion_excuses(&f.suspicion, NOW_MS, NOW_MS));
    note(&f, 50, 50 + SUSPICION_TRIALS, false, end_ms);
    assert_false(suspicion_is_active(&f.suspicion, end_ms));
    assert_true(suspicion_excuses(&f.suspicion, end_ms - 1, end_ms + 5000));
    assert_false(suspicion_excuses(&f.suspicion, end_ms, end_ms + 5000));
    note(&f, 60, 90, false, end_ms + 4000);
    assert_int_equal(suspicion_judge(&f.suspicion, end_ms - 1000, end_ms + 4000, end_ms + 4000),
                     DOUBT_OURS);
    assert_int_equal(suspicion_judge(&f.suspicion, end_ms + 1000, end_ms + 4000, end_ms + 4000),
                     DOUBT_THEIRS);
}

static void test_doubts_end(void **state)
{
    struct fixture f;
    (void)state;

    create(&f);
    note(&f, 0, 3, true, NOW_MS);
    assert_int_equal(suspicion_judge(&f.suspicion, NOW_MS, NOW_MS, NOW_MS + 10), DOUBT_WAIT);
    assert_int_equal(suspicion_judge(&f.suspicion, NOW_MS, NOW_MS, NOW_MS + SUSPICION_DOUBT_MS),
                     DOUBT_THEIRS);
    note(&f, 10, 19, false, NOW_MS + 20); /* so many others answer: it can't be us */
    assert_int_equal(suspicion_judge(&f.suspicion, NOW_MS, NOW_MS, NOW_MS + 30), DOUBT_WAIT);
    note(&f, 19, 20, false, NOW_MS + 20);
    assert_int_equal(suspicion_judge(&f.suspicion, NOW_MS, NOW_MS, NOW_MS + 30), DOUBT_THEIRS);
    note(&f, 20, 70, true, NOW_MS + 40);
    assert_int_equal(suspicion_judge(&f.suspicion, NOW_MS, NOW_MS, NOW_MS + 50), DOUBT_OURS);
}

static void test_a_trial_is_of_a_host_that_was_good_then(void **state)
{
    struct fixture f;
    int64_t hours_later_ms = NOW_MS + 3 * (int64_t)SUSPICION_GOOD_MS;
    (void)state;

    create(&f);
    f.marks[50].success_ms = NOW_MS - SUSPICION_GOOD_MS - 1;
    note(&f, 0, 20, true, NOW_MS);
    assert_true(suspicion_is_active(&f.suspicion, NOW_MS));
    assert_true(suspicion_is_active(&f.suspicion, hours_later_ms));
    assert_false(suspicion_is_good(&f.marks[0], hours_later_ms));
    assert_true(suspicion_may_try(&f.suspicion, &f.marks[0]));
    assert_false(suspicion_may_try(&f.suspicion, &f.marks[50]));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_more_than_half_of_twenty),
        cmocka_unit_test(test_half_is_not_enough),
        cmocka_unit_test(test_only_hosts_that_were_good_count),
        cmocka_unit_test(test_what_is_long_ago_does_not_count),
        cmocka_unit_test(test_answers_in_a_row_end_it),
        cmocka_unit_test(test_what_started_before_the_end_is_ours),
        cmocka_unit_test(test_a_trial_is_of_a_host_that_was_good_then),
        cmocka_unit_test(test_doubts_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
