#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <sodium.h>
#include <string.h>

#include "sig/uses.h"

enum { NOW_S = 60 * 1000000 };

static struct ticket ticket_of(uint64_t serial, int64_t expires_s)
{
    static const unsigned char key[TICKET_KEY_BYTES] = "key";
    struct ticket ticket = {.serial = serial, .expires_s = expires_s};

    ticket_seal(&ticket, key);
    return ticket;
}

static void the_ninth_use_is_refused(void **state)
{
    struct uses *uses = uses_create(USES_MAX_TICKETS);
    struct ticket one = ticket_of(1, NOW_S + 600);
    struct ticket other = ticket_of(2, NOW_S + 600);
    (void)state;

    for (int i = 0; i < TICKET_MAX_USES; i++)
        assert_int_equal(uses_count(uses, &one, NOW_S), USE_ALLOWED);
    assert_int_equal(uses_count(uses, &one, NOW_S), USE_EXHAUSTED);
    assert_int_equal(uses_count(uses, &one, NOW_S + 599), USE_EXHAUSTED);
    assert_int_equal(uses_count(uses, &other, NOW_S), USE_ALLOWED);
    assert_int_equal(uses_remembered(uses), 2);
    uses_destroy(uses);
}

static void counts_survive_growth(void **state)
{
    enum { TICKETS = 20000 };
    struct uses *uses = uses_create(USES_MAX_TICKETS);
    (void)state;

    for (int round = 0; round < TICKET_MAX_USES; round++) {
        for (uint64_t i = 0; i < TICKETS; i++) {
            struct ticket ticket = ticket_of(i, NOW_S + 1 + (int64_t)(i % 600));
            assert_int_equal(uses_count(uses, &ticket, NOW_S), USE_ALLOWED);
        }
    }
    assert_int_equal(uses_remembered(uses), TICKETS);
    for (uint64_t i = 0; i < TICKETS; i++) {
        struct ticket ticket = ticket_of(i, NOW_S + 1 + (int64_t)(i % 600));
        assert_int_equal(uses_count(uses, &ticket, NOW_S), USE_EXHAUSTED);
    }
    uses_destroy(uses);
}

static void a_full_table_refuses_new_tickets_until_some_expire(void **state)
{
    struct uses *uses = uses_create(10);
    (void)state;

    for (uint64_t i = 0; i < 10; i++) {
        struct ticket ticket = ticket_of(i, NOW_S + 30);
        assert_int_equal(uses_count(uses, &ticket, NOW_S), USE_ALLOWED);
    }
    struct ticket known = ticket_of(0, NOW_S + 30);
    struct ticket fresh = ticket_of(99, NOW_S + 120);
    assert_int_equal(uses_count(uses, &fresh, NOW_S), USE_FULL);
    assert_int_equal(uses_count(uses, &known, NOW_S), USE_ALLOWED);
    assert_int_equal(uses_count(uses, &fresh, NOW_S + 59), USE_FULL);
    assert_int_equal(uses_count(uses, &fresh, NOW_S + 60), USE_ALLOWED);
    assert_int_equal(uses_remembered(uses), 1);
    uses_destroy(uses);
}

static void what_expired_is_forgotten(void **state)
{
    struct uses *uses = uses_create(USES_MAX_TICKETS);
    (void)state;

    for (int64_t minute = 0; minute < 100; minute++) {
        int64_t now_s = NOW_S + 60 * minute;
        struct ticket ticket = ticket_of((uint64_t)minute, now_s + 600);
        assert_int_equal(uses_count(uses, &ticket, now_s), USE_ALLOWED);
        assert_true(uses_remembered(uses) <= TICKET_MAX_SECONDS / 60 + 2);
    }
    uses_destroy(uses);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_ninth_use_is_refused),
        cmocka_unit_test(counts_survive_growth),
        cmocka_unit_test(a_full_table_refuses_new_tickets_until_some_expire),
        cmocka_unit_test(what_expired_is_forgotten),
    };
    if (sodium_init() < 0)
        return 1;
    return cmocka_run_group_tests_name("uses", tests, NULL, NULL);
}
