/* What the API takes and what it refuses. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "admin/api_input.h"

static const char *const names[] = {"search", "limit"};

static void a_query_is_decoded_once(void **state)
{
    struct api_query query;
    struct err err;
    int64_t limit = 100;

    (void)state;
    assert_true(api_query_parse(&query, STR("&search=a%2Bb+%c3%a9%2525&limit=7"), names, 2, &err));
    assert_true(str_equal(api_query_text(&query, 0), STR("a+b \xc3\xa9%25")));
    assert_true(api_query_number(&query, 1, 1, 1000, &limit, &err));
    assert_int_equal(limit, 7);
    api_query_clear(&query);
}

static void what_is_not_given_keeps_its_value(void **state)
{
    static const char *const queries[] = {"", "limit=", "search=x"};
    struct api_query query;
    struct err err;

    (void)state;
    for (size_t i = 0; i < sizeof(queries) / sizeof(queries[0]); i++) {
        int64_t limit = 100;
        assert_true(api_query_parse(&query, str_of(queries[i]), names, 2, &err));
        assert_true(api_query_number(&query, 1, 1, 1000, &limit, &err));
        assert_int_equal(limit, 100);
        api_query_clear(&query);
    }
}

static void other_queries_are_refused(void **state)
{
    static const char *const queries[] = {
        "sort=host",  "Limit=1",    "limit=1&limit=1", "search=%",    "search=%4", "search=%zz",
        "search=%00", "search=%0a", "search=%7f",      "search=a\nb", "=1",
    };
    char longest[API_MAX_VALUE_BYTES + 20] = "search=";
    struct api_query query;
    struct err err;

    (void)state;
    for (size_t i = 0; i < sizeof(queries) / sizeof(queries[0]); i++) {
        assert_false(api_query_parse(&query, str_of(queries[i]), names, 2, &err));
        assert_int_equal(err.code, FP_INVALID);
        api_query_clear(&query);
    }
    memset(longest + strlen("search="), 'x', API_MAX_VALUE_BYTES + 1);
    assert_false(api_query_parse(&query, str_of(longest), names, 2, &err));
    api_query_clear(&query);
}

static void numbers_have_bounds(void **state)
{
    static const char *const queries[] = {
        "limit=0",   "limit=1001", "limit=1.5", "limit=-1", "limit=9999999999999999999",
        "limit=1%20"};
    struct api_query query;
    struct err err;

    (void)state;
    for (size_t i = 0; i < sizeof(queries) / sizeof(queries[0]); i++) {
        int64_t limit = 100;
        assert_true(api_query_parse(&query, str_of(queries[i]), names, 2, &err));
        assert_false(api_query_number(&query, 1, 1, 1000, &limit, &err));
        assert_string_equal(err.message, "limit: a number from 1 to 1000");
        api_query_clear(&query);
    }
}

static void a_body_is_one_object_of_known_members(void **state)
{
    static const char *const good[] = {"", " \n", "{}", "{\"limit\":1}", "{\"search\":null}"};
    static const char *const bad[] = {
        "[]", "1", "{\"limit\":1,\"limit\":2}", "{\"more\":1}", "{} ,", "{", "{\"limit\":1}x"};
    struct err err;

    (void)state;
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        json_t *body = api_body_parse(str_of(good[i]), names, 2, &err);
        assert_non_null(body);
        json_decref(body);
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_null(api_body_parse(str_of(bad[i]), names, 2, &err));
        assert_int_equal(err.code, FP_INVALID);
    }
}

static void a_name_of_strangers_is_harmless_in_the_answer(void **state)
{
    struct err err;

    (void)state;
    assert_null(api_body_parse(STR("{\"a\\u001b[31m\\u202eb\":1}"), names, 2, &err));
    assert_string_equal(err.message, "member \"a?[31m?b\" isn't known here: search, limit");
}

static void members_have_their_kinds(void **state)
{
    json_t *body = json_pack("{s:i, s:b, s:s, s:f, s:n, s:s%}", "n", 5, "f", 1, "t", "x", "r", 1.5,
                             "null", "nul", "a\0b", (size_t)3);
    const char *text = NULL;
    int64_t number = 0;
    bool flag = false;
    struct err err;

    (void)state;
    assert_true(api_body_number(body, "n", 1, 9, &number, &err) && number == 5);
    assert_true(api_body_flag(body, "f", &flag, &err) && flag);
    assert_true(api_body_text(body, "t", &text, &err));
    assert_string_equal(text, "x");
    assert_true(api_body_number(body, "null", 1, 9, &number, &err) && number == 5);
    assert_true(api_body_flag(body, "absent", &flag, &err) && flag);
    assert_false(api_body_number(body, "n", 6, 9, &number, &err));
    assert_false(api_body_number(body, "r", 1, 9, &number, &err));
    assert_false(api_body_number(body, "t", 1, 9, &number, &err));
    assert_false(api_body_flag(body, "n", &flag, &err));
    assert_false(api_body_text(body, "n", &text, &err));
    assert_false(api_body_text(body, "nul", &text, &err));
    json_decref(body);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_query_is_decoded_once),
        cmocka_unit_test(what_is_not_given_keeps_its_value),
        cmocka_unit_test(other_queries_are_refused),
        cmocka_unit_test(numbers_have_bounds),
        cmocka_unit_test(a_body_is_one_object_of_known_members),
        cmocka_unit_test(a_name_of_strangers_is_harmless_in_the_answer),
        cmocka_unit_test(members_have_their_kinds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
