#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "worker/rereads.h"

static void an_account_is_taken_once(void **state)
{
    struct rereads rereads = {0};
    (void)state;

    assert_false(rereads_take(&rereads, 7));
    rereads_note(&rereads, 7);
    rereads_note(&rereads, -99);
    rereads_note(&rereads, 7);
    assert_false(rereads_take(&rereads, 8));
    assert_true(rereads_take(&rereads, 7));
    assert_false(rereads_take(&rereads, 7));
    assert_true(rereads_take(&rereads, -99));
    assert_int_equal(rereads.count, 0);
}

static void the_oldest_are_forgotten(void **state)
{
    struct rereads rereads = {0};
    (void)state;

    for (int64_t i = 0; i <= REREADS_MAX; i++) {
        rereads_note(&rereads, i);
        rereads_note(&rereads, 1); /* again and again: never the oldest */
    }
    assert_false(rereads_take(&rereads, 0));
    assert_true(rereads_take(&rereads, 1));
    for (int64_t i = 3; i <= REREADS_MAX; i++)
        assert_true(rereads_take(&rereads, i));
    assert_false(rereads_take(&rereads, 3));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_account_is_taken_once),
        cmocka_unit_test(the_oldest_are_forgotten),
    };
    return cmocka_run_group_tests_name("rereads", tests, NULL, NULL);
}
