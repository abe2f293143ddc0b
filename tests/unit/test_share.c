/* Who gets which part of the fleet's rate. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "sched/share.h"

enum { RATE = 1000 };

static void expect(double mine, const double *others, size_t count, double share)
{
    double got = share_of(RATE, mine, others, count);

    if (fabs(got - share) > 0.001)
        fail_msg("%f instead of %f", got, share);
}

static void alone_it_is_all(void **state)
{
    (void)state;
    expect(0, NULL, 0, RATE);
    expect(10, NULL, 0, RATE);
    expect(share_all, NULL, 0, RATE);
}

static void an_idle_machine_leaves_its_share(void **state)
{
    const double idle[] = {0};
    const double busy[] = {share_all};
    (void)state;

    expect(share_all, idle, 1, RATE - RATE / 2.0 / SHARE_LEAST);
    expect(0, busy, 1, RATE / 2.0 / SHARE_LEAST); /* to begin with, when work comes */
    expect(0, idle, 1, RATE / 2.0);
}

static void who_wants_all_shares_what_others_leave(void **state)
{
    const double others[] = {share_all, 100, 50};
    const double unknown[] = {share_all, share_all, share_all};
    (void)state;

    expect(share_all, others, 3, (RATE - 150) / 2.0);
    expect(300, others, 3, 300);
    expect(share_all, unknown, 3, RATE / 4.0);
    expect(200, unknown, 3, 200);
}

static void all_together_it_is_never_more(void **state)
{
    const double levels[] = {0, 30, 249, 250, 251, 400, 1200, share_all};
    const size_t count = sizeof(levels) / sizeof(levels[0]);
    (void)state;

    for (size_t i = 0; i < count * count * count; i++) {
        double wants[3] = {levels[i % count], levels[i / count % count], levels[i / count / count]};
        double sum = 0;
        for (size_t me = 0; me < 3; me++) {
            const double others[] = {wants[(me + 1) % 3], wants[(me + 2) % 3]};
            sum += share_of(RATE, wants[me], others, 2);
        }
        if (sum > RATE + 0.001 || sum < RATE - 0.001)
            fail_msg("%f %f %f: %f", wants[0], wants[1], wants[2], sum);
    }
}

static void very_many_share_evenly(void **state)
{
    double others[2 * SHARE_MACHINES] = {0};
    (void)state;

    expect(share_all, others, 2 * SHARE_MACHINES, RATE / (2.0 * SHARE_MACHINES + 1));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(alone_it_is_all),
        cmocka_unit_test(an_idle_machine_leaves_its_share),
        cmocka_unit_test(who_wants_all_shares_what_others_leave),
        cmocka_unit_test(all_together_it_is_never_more),
        cmocka_unit_test(very_many_share_evenly),
    };
    return cmocka_run_group_tests_name("share", tests, NULL, NULL);
}
