/* Which machines serve a host that allows fewer deliveries than there are machines. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "sched/seats.h"

enum { MACHINES = 5, HOSTS = 1000 };

static const struct str machines[MACHINES] = {{"web1:1:aaaa", 11},
                                              {"web2:1:bbbb", 11},
                                              {"web3:1:cccc", 11},
                                              {"web4:1:dddd", 11},
                                              {"web5:1:eeee", 11}};

static struct str host_of(char text[32], int i)
{
    snprintf(text, 32, "h%d.example", i);
    return str_of(text);
}

static void so_many_have_a_place(void **state)
{
    int places[MACHINES] = {0};
    char text[32];
    (void)state;

    for (int i = 0; i < HOSTS; i++) {
        struct str host = host_of(text, i);
        for (unsigned window = 1; window <= MACHINES; window++) {
            unsigned count = 0;
            for (int m = 0; m < MACHINES; m++)
                count += seats_has(machines, MACHINES, host, window, machines[m]);
            assert_int_equal(count, window);
        }
        for (int m = 0; m < MACHINES; m++)
            places[m] += seats_has(machines, MACHINES, host, 1, machines[m]);
    }
    for (int m = 0; m < MACHINES; m++)
        assert_in_range(places[m], HOSTS / MACHINES * 3 / 4, HOSTS / MACHINES * 5 / 4);
}

static void jobs_go_to_those_alone(void **state)
{
    bool met[MACHINES] = {false};
    unsigned count = 0;
    (void)state;

    for (uint64_t key = 0; key < 20; key++) {
        struct str machine = seats_machine(machines, MACHINES, STR("a.example"), 2, key);
        assert_true(seats_has(machines, MACHINES, STR("a.example"), 2, machine));
        assert_ptr_equal(machine.ptr,
                         seats_machine(machines, MACHINES, STR("a.example"), 2, key).ptr);
        for (int m = 0; m < MACHINES; m++)
            met[m] = met[m] || machine.ptr == machines[m].ptr;
    }
    for (int m = 0; m < MACHINES; m++)
        count += met[m];
    assert_int_equal(count, 2);
    assert_true(str_equal(seats_machine(machines, 1, STR("a.example"), 9, 7), machines[0]));
}

/* The hosts of the others stay where they are. */
static void who_leaves_takes_its_own_hosts_along(void **state)
{
    char text[32];
    (void)state;

    for (int i = 0; i < HOSTS; i++) {
        struct str host = host_of(text, i);
        struct str before = seats_machine(machines, MACHINES, host, 1, 0);
        struct str after = seats_machine(machines, MACHINES - 1, host, 1, 0);
        if (!str_equal(before, machines[MACHINES - 1]))
            assert_true(str_equal(before, after));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(so_many_have_a_place),
        cmocka_unit_test(jobs_go_to_those_alone),
        cmocka_unit_test(who_leaves_takes_its_own_hosts_along),
    };
    return cmocka_run_group_tests_name("seats", tests, NULL, NULL);
}
