/* How long the poller sleeps: as Sidekiq's own would, by its version. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "sched/poller.h"

/* A number below a bound comes out of rng_below as it is, the bound itself as 0. */
static uint64_t given(void *arg)
{
    return *(uint64_t *)arg;
}

static void the_interval_grows_with_the_processes(void **state)
{
    static const struct {
        const char *version;
        unsigned processes;
        int64_t least_ms, below_ms;
    } cases[] = {
        {"6.5.12", 0, 2500, 7500},  {"8.1.6", 1, 2500, 7500}, {"7.3.9", 9, 22500, 67500},
        {"8.1.6", 9, 22500, 67500}, {"6.5.12", 10, 0, 50000}, {"7.3.9", 10, 0, 50000},
        {"8.0.9", 10, 0, 50000},    {"8.1.6", 10, 0, 100000}, {"8.1.6", 20, 0, 200000},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct incumbent_version version;
        uint64_t draw = (uint64_t)(cases[i].below_ms - cases[i].least_ms);
        const struct rng rng = {given, &draw};

        assert_true(incumbent_version_parse(&version, str_of(cases[i].version)));
        assert_int_equal(poller_cadence_ms(&version, cases[i].processes, &rng), cases[i].least_ms);
        draw--;
        assert_int_equal(poller_cadence_ms(&version, cases[i].processes, &rng),
                         cases[i].below_ms - 1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_interval_grows_with_the_processes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
