#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "admin/web_status.h"

static void assert_problem(int status, const struct err *why, const char *expected)
{
    struct buf text;

    buf_init(&text, 4096);
    web_problem_put(&text, status, why);
    assert_string_equal(buf_cstr(&text), expected);
    buf_clear(&text);
}

static void a_problem_has_the_words_of_its_status(void **state)
{
    struct err err;
    (void)state;

    err_say(&err, FP_INVALID, PHRASE_ORDER_PAUSED, SAYS(SAY_TEXT("name", "a.example")));
    assert_problem(422, &err,
                   "{\"type\":\"about:blank\",\"title\":\"Unprocessable Content\",\"status\":422,"
                   "\"detail\":\"a.example is paused: resume it first\","
                   "\"code\":\"order.paused\",\"params\":{\"name\":\"a.example\"}}");
    assert_string_equal(web_status_text(299), "Status");
}

/* Redis' and PostgreSQL's messages are details, too: cut within a character, or of any bytes. */
static void a_detail_may_be_anything(void **state)
{
    struct err err;
    (void)state;

    err_say(&err, FP_UNAVAILABLE, PHRASE_REDIS_REFUSED,
            SAYS(SAY_TEXT("reason", "\"\xff\x1b[2J\xe2\x80")));
    assert_problem(503, &err,
                   "{\"type\":\"about:blank\",\"title\":\"Service Unavailable\",\"status\":503,"
                   "\"detail\":\"Redis: \\\"??[2J??\",\"code\":\"redis.refused\","
                   "\"params\":{\"reason\":\"\\\"??[2J??\"}}");
}

/* What has no sentence of its own still has a code. */
static void another_error_is_a_reason(void **state)
{
    struct err err;
    (void)state;

    err_set(&err, FP_SYSTEM, "disk full");
    assert_problem(500, &err,
                   "{\"type\":\"about:blank\",\"title\":\"Internal Server Error\",\"status\":500,"
                   "\"detail\":\"disk full\",\"code\":\"ask.other\","
                   "\"params\":{\"reason\":\"disk full\"}}");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_problem_has_the_words_of_its_status),
        cmocka_unit_test(a_detail_may_be_anything),
        cmocka_unit_test(another_error_is_a_reason),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
