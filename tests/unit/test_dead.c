#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "sched/job.h"

static void expect(struct str payload, const char *message, const char *expected)
{
    struct buf out;

    buf_init(&out, 4096);
    job_put_dead(&out, payload, STR("Fedpush::PoisonJob"), str_of(message));
    assert_false(out.overflow);
    assert_string_equal(buf_cstr(&out), expected);
    buf_clear(&out);
}

#define WITH(message) ",\"error_message\":\"" message "\",\"error_class\":\"Fedpush::PoisonJob\"}"

static void test_members_go_in_before_the_last_brace(void **state)
{
    (void)state;
    expect(STR("{\"id\":116543210987654321,\"args\":[{\"a\":{}}]}"), "died",
           "{\"id\":116543210987654321,\"args\":[{\"a\":{}}]" WITH("died"));
    expect(STR(" {\"a\":1}\n"), "died", "{\"a\":1" WITH("died"));
    expect(STR("{\"error_class\":\"Old\"}"), "died",
           "{\"error_class\":\"Old\"" WITH("died")); /* Ruby takes the later one */
}

static void test_the_message_is_escaped(void **state)
{
    (void)state;
    expect(STR("{\"a\":1}"), "a \"b\" \\ c", "{\"a\":1" WITH("a \\\"b\\\" \\\\ c"));
}

static void test_what_has_no_members_stays_as_it_is(void **state)
{
    static const char *const payloads[] = {"",     "{}",      "{ }", "[1]",          "null",
                                           " {} ", "{\"a\"}", "x:1", "{\"a\":[1,2]", "}"};
    (void)state;

    for (size_t i = 0; i < sizeof(payloads) / sizeof(payloads[0]); i++)
        expect(str_of(payloads[i]), "died", payloads[i]);
    expect(STR_NULL, "died", "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_members_go_in_before_the_last_brace),
        cmocka_unit_test(test_the_message_is_escaped),
        cmocka_unit_test(test_what_has_no_members_stays_as_it_is),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
