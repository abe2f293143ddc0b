#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/resource.h>

#include <cmocka.h>

#include "base/limits.h"

static const uint64_t plenty = (uint64_t)64 << 30;

static void a_common_machine_has_what_is_configured(void **state)
{
    (void)state;
    struct limits l = limits_of(2048, 2, LIMITS_DESCRIPTORS, plenty);
    assert_int_equal(l.in_flight, 1024);
    assert_int_equal(l.connections, 5000);
    l = limits_of(2048, 3, LIMITS_DESCRIPTORS, plenty);
    assert_int_equal(l.in_flight, 683); /* rounded up: none of them is lost */
    assert_int_equal(l.connections, 3333);
    l = limits_of(65536, 1, LIMITS_DESCRIPTORS, plenty);
    assert_int_equal(l.in_flight, (LIMITS_DESCRIPTORS - LIMITS_OWN_DESCRIPTORS) / 4);
}

static void few_descriptors_bound_both(void **state)
{
    (void)state;
    for (unsigned descriptors = LIMITS_OWN_DESCRIPTORS + 4; descriptors < 6000; descriptors++) {
        struct limits l = limits_of(2048, 2, descriptors, plenty);
        assert_in_range(l.in_flight, 1, 1024);
        assert_in_range(l.connections, 1, 5000);
        assert_true(2 * l.in_flight + l.connections + LIMITS_OWN_DESCRIPTORS <= descriptors);
    }
    struct limits l = limits_of(2048, 2, 1024, plenty);
    assert_int_equal(l.in_flight, 240);
    assert_int_equal(l.connections, 480);
    for (unsigned descriptors = 0; descriptors <= LIMITS_OWN_DESCRIPTORS; descriptors++) {
        l = limits_of(2048, 2, descriptors, plenty);
        assert_int_equal(l.in_flight, 1); /* it can't work, but says so where sockets are made */
        assert_int_equal(l.connections, 1);
    }
}

static void little_memory_keeps_fewer_connections(void **state)
{
    (void)state;
    struct limits l = limits_of(2048, 2, LIMITS_DESCRIPTORS, (uint64_t)512 << 20);
    assert_int_equal(l.in_flight, 1024);
    assert_int_equal(l.connections,
                     (512 << 20) / LIMITS_MEMORY_SHARE / LIMITS_CONNECTION_BYTES / 2);
    assert_int_equal(limits_of(1, 64, LIMITS_DESCRIPTORS, 0).connections, 1);
}

static void the_soft_limit_is_raised_within_reason(void **state)
{
    struct rlimit before;
    struct rlimit after;
    (void)state;

    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    const struct rlimit low = {.rlim_cur = 64, .rlim_max = before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
    limits_raise_descriptors();
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &after), 0);
    assert_true(after.rlim_cur ==
                (before.rlim_max < LIMITS_DESCRIPTORS ? before.rlim_max : LIMITS_DESCRIPTORS));
    assert_true(after.rlim_max == before.rlim_max);
    assert_true(limits_descriptors() == after.rlim_cur);
}

static void workers_are_configured_or_one_a_core(void **state)
{
    struct config config = {.workers = 7, .max_in_flight = 70};
    (void)state;

    assert_int_equal(limits_workers(&config), 7);
    assert_in_range(limits_here(&config).in_flight, 1, 10);
    config.workers = 0;
    assert_true(limits_workers(&config) >= 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_common_machine_has_what_is_configured),
        cmocka_unit_test(few_descriptors_bound_both),
        cmocka_unit_test(little_memory_keeps_fewer_connections),
        cmocka_unit_test(the_soft_limit_is_raised_within_reason),
        cmocka_unit_test(workers_are_configured_or_one_a_core),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
