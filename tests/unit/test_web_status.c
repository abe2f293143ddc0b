#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "admin/web_status.h"

static void assert_problem(int status, const char *detail, const char *expected)
{
    struct buf text;

    buf_init(&text, 4096);
    web_problem_put(&text, status, detail);
    assert_string_equal(buf_cstr(&text), expected);
    buf_clear(&text);
}

static void a_problem_has_the_words_of_its_status(void **state)
{
    (void)state;
    assert_problem(404, "there is no such page",
                   "{\"type\":\"about:blank\",\"title\":\"Not Found\",\"status\":404,"
                   "\"detail\":\"there is no such page\"}");
    assert_string_equal(web_status_text(299), "Status");
}

/* Redis' and PostgreSQL's messages are details, too: cut within a character, or of any bytes. */
static void a_detail_may_be_anything(void **state)
{
    (void)state;
    assert_problem(503, "Redis: \"\xff\x1b[2J\xe2\x80",
                   "{\"type\":\"about:blank\",\"title\":\"Service Unavailable\",\"status\":503,"
                   "\"detail\":\"Redis: \\\"??[2J??\"}");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_problem_has_the_words_of_its_status),
        cmocka_unit_test(a_detail_may_be_anything),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
