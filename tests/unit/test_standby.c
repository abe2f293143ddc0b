/* What a machine that suspects itself does with its jobs, second by second. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "sched/standby.h"
#include "sched/suspicion.h"

enum { NOW_MS = 10000000, SECOND_MS = 1000 };

static void nothing_happens_without_suspicion(void **state)
{
    struct standby standby = {0};
    (void)state;

    for (int64_t at_ms = NOW_MS; at_ms < NOW_MS + 60 * SECOND_MS; at_ms += SECOND_MS) {
        assert_false(standby_tick(&standby, false, 2, at_ms));
        assert_int_equal(standby.trials, 0);
    }
}

static void jobs_go_back_after_five_seconds(void **state)
{
    struct standby standby = {0};
    (void)state;

    for (int64_t at_ms = 0; at_ms < STANDBY_AFTER_MS; at_ms += SECOND_MS)
        assert_false(standby_tick(&standby, true, 1, NOW_MS + at_ms));
    assert_true(standby_tick(&standby, true, 1, NOW_MS + STANDBY_AFTER_MS));
    assert_true(standby_tick(&standby, true, 1, NOW_MS + STANDBY_AFTER_MS + SECOND_MS));
    /* The others have the same trouble now, or are gone. */
    assert_false(standby_tick(&standby, true, 0, NOW_MS + STANDBY_AFTER_MS + 2 * SECOND_MS));
    /* It is over, and the next time begins anew. */
    assert_false(standby_tick(&standby, false, 1, NOW_MS + STANDBY_AFTER_MS + 3 * SECOND_MS));
    assert_false(standby_tick(&standby, true, 1, NOW_MS + STANDBY_AFTER_MS + 4 * SECOND_MS));
}

/* Alone or not: without jobs, nothing would ever end it. */
static void each_round_claims_jobs_for_trials(void **state)
{
    struct standby standby = {0};
    unsigned claimed = 0;
    (void)state;

    for (int64_t at_ms = 0; at_ms <= 4 * STANDBY_ROUND_MS; at_ms += SECOND_MS) {
        standby_tick(&standby, true, at_ms < 2 * STANDBY_ROUND_MS, NOW_MS + at_ms);
        while (standby.trials > 0) {
            standby_took(&standby);
            claimed++;
        }
        standby_took(&standby); /* a due entry that was on its way */
        assert_int_equal(standby.trials, 0);
    }
    assert_int_equal(claimed, 4 * SUSPICION_TRIALS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_happens_without_suspicion),
        cmocka_unit_test(jobs_go_back_after_five_seconds),
        cmocka_unit_test(each_round_claims_jobs_for_trials),
    };
    return cmocka_run_group_tests_name("standby", tests, NULL, NULL);
}
