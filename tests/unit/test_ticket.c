#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <sodium.h>
#include <string.h>

#include "base/ticket.h"

enum { NOW_S = 1000000 };

static const unsigned char key[TICKET_KEY_BYTES] = "0123456789abcdef0123456789abcde";

static struct ticket sealed_ticket(void)
{
    struct ticket ticket = {
        .serial = 7,
        .account_id = 109876543210987654,
        .expires_s = NOW_S + TICKET_MAX_SECONDS,
        .body_sha256 = "body body body body body body b",
        .origin = STR("https://remote.example"),
        .content_type = STR("application/activity+json"),
        .synchronization = STR("digest=\"00\""),
    };
    ticket_seal(&ticket, key);
    return ticket;
}

static void a_sealed_ticket_is_accepted(void **state)
{
    struct ticket ticket = sealed_ticket();
    (void)state;
    assert_int_equal(ticket_check(&ticket, key, NOW_S, NULL), FP_OK);
    assert_int_equal(ticket_check(&ticket, key, ticket.expires_s - 1, NULL), FP_OK);
}

static void expired_and_too_long_lives_are_denied(void **state)
{
    struct ticket ticket = sealed_ticket();
    struct err err;
    (void)state;

    assert_int_equal(ticket_check(&ticket, key, ticket.expires_s, &err), FP_DENIED);
    assert_non_null(strstr(err.message, "expired"));
    assert_int_equal(ticket_check(&ticket, key, NOW_S - 1, &err), FP_DENIED);
    assert_non_null(strstr(err.message, "longer"));
}

static void assert_denied(const struct ticket *ticket)
{
    struct err err;
    assert_int_equal(ticket_check(ticket, key, NOW_S, &err), FP_DENIED);
    assert_non_null(strstr(err.message, "scheduler"));
}

static void any_changed_field_is_denied(void **state)
{
    struct ticket ticket = sealed_ticket();
    (void)state;

    ticket.serial++;
    assert_denied(&ticket);
    ticket = sealed_ticket();
    ticket.account_id = -99;
    assert_denied(&ticket);
    ticket = sealed_ticket();
    ticket.expires_s--;
    assert_denied(&ticket);
    ticket = sealed_ticket();
    ticket.body_sha256[31] ^= 1;
    assert_denied(&ticket);
    ticket = sealed_ticket();
    ticket.origin = STR("https://remote.exampl3");
    assert_denied(&ticket);
    ticket = sealed_ticket();
    ticket.content_type = STR("application/json");
    assert_denied(&ticket);
    ticket = sealed_ticket();
    ticket.synchronization = STR_NULL;
    assert_denied(&ticket);
    ticket = sealed_ticket();
    ticket.mac[0] ^= 1;
    assert_denied(&ticket);
}

static void bytes_cannot_move_between_fields(void **state)
{
    struct ticket ticket = sealed_ticket();
    (void)state;

    ticket.origin = STR("https://remote.exampleapplication");
    ticket.content_type = STR("/activity+json");
    assert_denied(&ticket);
}

static void another_key_is_denied(void **state)
{
    struct ticket ticket = sealed_ticket();
    unsigned char other[TICKET_KEY_BYTES];
    (void)state;

    memcpy(other, key, sizeof(other));
    other[31] ^= 1;
    assert_int_equal(ticket_check(&ticket, other, NOW_S, NULL), FP_DENIED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_sealed_ticket_is_accepted),
        cmocka_unit_test(expired_and_too_long_lives_are_denied),
        cmocka_unit_test(any_changed_field_is_denied),
        cmocka_unit_test(bytes_cannot_move_between_fields),
        cmocka_unit_test(another_key_is_denied),
    };
    if (sodium_init() < 0)
        return 1;
    return cmocka_run_group_tests_name("ticket", tests, NULL, NULL);
}
