#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/json.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static int setup(void **state)
{
    *state = json_create();
    return 0;
}

static int teardown(void **state)
{
    json_destroy(*state);
    return 0;
}

static bool accepts(struct json *json, struct str text)
{
    struct json_value root;
    const char *reason = NULL;
    bool accepted = json_parse(json, text, &root, &reason);

    assert_non_null(reason);
    assert_int_equal(accepted, root.type != JSON_ABSENT);
    assert_int_equal(accepted, reason[0] == '\0');
    return accepted;
}

static struct json_value parse(struct json *json, const char *text)
{
    struct json_value root;
    const char *reason;

    if (!json_parse(json, str_of(text), &root, &reason))
        fail_msg("%s: %s", text, reason);
    return root;
}

static void assert_str(struct str actual, const char *expected)
{
    if (!str_equal(actual, str_of(expected)))
        fail_msg("\"%.*s\" instead of \"%s\"", STR_ARG(actual), expected);
}

static void valid_documents_are_accepted(void **state)
{
    static const char *const valid[] = {
        "1",
        "\"a\"",
        "null",
        " [ ] ",
        "{}",
        "\t{\r\n}",
        "[-0]",
        "[-0.0]",
        "[1e5]",
        "[1E+05]",
        "[0e1]",
        "[1.25e-7]",
        "[true,false]",
        "{\"a\":{\"b\":[1,[2,{}]]}}",
        "[\"\"]",
        "[\"\x7f\"]",
        "{\"\":1}",
        "[\"\\u0000\"]",
        "[\"\\ud83d\\ude00\"]",
        "[\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\xf4\x8f\xbf\xbf\"]",
        "[\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"]",
        "[123456789012345678901234567890]",
    };
    for (size_t i = 0; i < COUNT(valid); i++) {
        if (!accepts(*state, str_of(valid[i])))
            fail_msg("refused: %s", valid[i]);
    }
}

static void documents_that_no_parser_takes_are_refused(void **state)
{
    static const char *const invalid[] = {
        "",
        "   ",
        "nul",
        "tru",
        "truex",
        "[truex]",
        "True",
        "[",
        "[1",
        "[1,",
        "{",
        "{\"a\"",
        "{\"a\":",
        "{\"a\":1",
        "\"a",
        "[\"a",
        "[\"\\",
        "[\"a\\\"",
        "]",
        "}",
        "[1]]",
        "[1]x",
        "[1] [2]",
        "1 2",
        "[1,]",
        "[,1]",
        "[,]",
        "[1,,2]",
        "{,}",
        "{\"a\":1,}",
        "{\"a\" 1}",
        "{\"a\":}",
        "{:1}",
        "{\"a\"}",
        "{a:1}",
        "{1:2}",
        "{null:1}",
        "{'a':1}",
        "['a']",
        "{\"a\":1 \"b\":2}",
        "[1 2]",
        "{\"a\":1:2}",
        "[1:2]",
        "[}",
        "{]",
        "[1}",
        "{\"a\":1]",
        "[01]",
        "[-01]",
        "[00]",
        "[1.]",
        "[.5]",
        "[+1]",
        "[-]",
        "[--1]",
        "[1e]",
        "[1e+]",
        "[2.0e]",
        "[1.5.5]",
        "[0x1]",
        "[1_000]",
        "[1-2]",
        "[NaN]",
        "[Infinity]",
        "[-Infinity]",
        "[\"\\u12\"]",
        "[\"\\uZZZZ\"]",
        "[\"\\u12",
        "[\"\n\"]",
        "[\"\t\"]",
        "[\"\x01\"]",
        "[\"\x1f\"]",
        "[1,\v2]",
        "[1,\f2]",
        "\xef\xbb\xbf[1]",
        "[\302\2401]",
    };
    for (size_t i = 0; i < COUNT(invalid); i++) {
        if (accepts(*state, str_of(invalid[i])))
            fail_msg("accepted: %s", invalid[i]);
        if (json_other_may_accept(*state))
            fail_msg("thought acceptable elsewhere: %s", invalid[i]);
    }
    assert_false(accepts(*state, STR("[1]\0")));
    assert_false(accepts(*state, STR("[\"\0\"]")));
    assert_false(accepts(*state, STR("\0")));
    assert_false(accepts(*state, STR_NULL));
}

static void what_ruby_may_accept_is_refused_and_told(void **state)
{
    static const char *const lax[] = {
        "[\"\\ud800\"]",
        "[\"\\ud800x\"]",
        "[\"\\ud800\\n\"]",
        "[\"\\ud800\\ud800\"]",
        "[\"\\udc00\"]",
        "[\"\\q\"]",
        "[\"\\'\"]",
        "/* c */[1]",
        "[1]// c",
        "[1,/**/2]",
        "[\"\xff\"]",
        "[\"\x80\"]",
        "[\"\xc3\"]",
        "[\"\xc0\xaf\"]",
        "[\"\xed\xa0\x80\"]",
        "[\"\xf4\x90\x80\x80\"]",
        "[\"\xe2\x82",
        "[\"\xf5\x80\x80\x80\"]",
        "[\"\xe0\x80\x80\"]",
        "[\"\xf0\x8f\xbf\xbf\"]",
    };
    for (size_t i = 0; i < COUNT(lax); i++) {
        if (accepts(*state, str_of(lax[i])))
            fail_msg("accepted: %s", lax[i]);
        if (!json_other_may_accept(*state))
            fail_msg("thought hopeless: %s", lax[i]);
    }
    assert_true(accepts(*state, STR("[]")));
    assert_false(json_other_may_accept(*state));
}

static struct buf repeat(const char *before, const char *unit, size_t count, const char *behind)
{
    struct buf out;

    buf_init(&out, 16777216);
    buf_put_str(&out, str_of(before));
    for (size_t i = 0; i < count; i++)
        buf_put_str(&out, str_of(unit));
    buf_put_str(&out, str_of(behind));
    assert_false(out.overflow);
    return out;
}

static void depth_and_number_of_values_are_bounded(void **state)
{
    struct buf texts[4] = {
        repeat("[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[", "", 0, "]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]"),
        repeat("[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[", "", 0, "]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]"),
        repeat("[1", ",1", 4094, "]"),
        repeat("[1", ",1", 4095, "]"),
    };
    static const bool accepted[] = {true, false, true, false};

    for (size_t i = 0; i < COUNT(texts); i++) {
        assert_int_equal(accepts(*state, buf_str(&texts[i])), accepted[i]);
        assert_int_equal(json_other_may_accept(*state), !accepted[i]);
        buf_clear(&texts[i]);
    }
    struct buf deep = repeat("", "[", 1000000, "");
    assert_false(accepts(*state, buf_str(&deep)));
    buf_clear(&deep);
}

static void the_last_of_duplicate_keys_counts(void **state)
{
    struct json_value root = parse(*state, "{\"a\":1,\"b\":2,\"\\u0061\":3}");

    assert_str(json_member(*state, root, STR("a")).raw, "3");
    assert_str(json_member(*state, root, STR("b")).raw, "2");
    assert_int_equal(json_length(*state, root), 3);
}

static void keys_are_compared_after_decoding(void **state)
{
    struct json_value root =
        parse(*state, "{\"\\u0063l\\u0061ss\":\"x\",\"a\\u0000b\":1,\"\\ud83d\\ude00\":2,\"\":3}");

    assert_str(json_member(*state, root, STR("class")).raw, "\"x\"");
    assert_str(json_member(*state, root, STR("a\0b")).raw, "1");
    assert_str(json_member(*state, root, STR("\xf0\x9f\x98\x80")).raw, "2");
    assert_str(json_member(*state, root, STR("")).raw, "3");
    assert_int_equal(json_member(*state, root, STR("a")).type, JSON_ABSENT);
    assert_int_equal(json_member(*state, root, STR("clas")).type, JSON_ABSENT);
}

static void long_escaped_keys_are_found(void **state)
{
    struct buf text = repeat("{\"", "\\u0041", 1000, "\":7}");
    struct buf key = repeat("", "A", 1000, "");
    struct json_value root = parse(*state, buf_cstr(&text));

    assert_str(json_member(*state, root, buf_str(&key)).raw, "7");
    key.ptr[999] = 'B';
    assert_int_equal(json_member(*state, root, buf_str(&key)).type, JSON_ABSENT);
    buf_clear(&text);
    buf_clear(&key);
}

static void elements_and_members_are_found_by_index(void **state)
{
    struct json_value root =
        parse(*state, "{\"a\":[1,[2,3],{\"x\":[]},\"s\"],\"b\\n\":{\"c\":null}}");
    struct json_value a = json_member(*state, root, STR("a"));
    struct buf key;

    assert_int_equal(a.type, JSON_ARRAY);
    assert_int_equal(json_length(*state, a), 4);
    assert_str(json_element(*state, a, 0).raw, "1");
    assert_str(json_element(*state, a, 1).raw, "[2,3]");
    assert_str(json_element(*state, json_element(*state, a, 1), 1).raw, "3");
    assert_str(json_element(*state, a, 3).raw, "\"s\"");
    assert_int_equal(json_element(*state, a, 4).type, JSON_ABSENT);
    assert_int_equal(json_element(*state, root, 0).type, JSON_ABSENT);
    assert_int_equal(json_member(*state, a, STR("x")).type, JSON_ABSENT);

    buf_init(&key, 100);
    assert_str(json_member_at(*state, root, 1, &key).raw, "{\"c\":null}");
    assert_str(buf_str(&key), "b\n");
    assert_int_equal(json_member_at(*state, root, 2, &key).type, JSON_ABSENT);
    assert_int_equal(json_member_at(*state, a, 0, &key).type, JSON_ABSENT);
    buf_clear(&key);
}

static void values_of_another_document_have_no_members(void **state)
{
    static const char other[] = "{\"a\":1}";
    struct json_value stranger = {JSON_OBJECT, {other, sizeof(other) - 1}};

    parse(*state, "{\"a\":1}");
    assert_int_equal(json_member(*state, stranger, STR("a")).type, JSON_ABSENT);
    assert_int_equal(json_length(*state, (struct json_value){JSON_ABSENT, STR_NULL}), 0);
    assert_false(accepts(*state, STR("{\"a\":1")));
    assert_int_equal(json_member(*state, (struct json_value){JSON_OBJECT, STR_NULL}, STR("a")).type,
                     JSON_ABSENT);
}

static void integers_keep_all_their_digits(void **state)
{
    static const struct {
        const char *text;
        bool ok;
        int64_t value;
    } cases[] = {
        {"9223372036854775807", true, INT64_MAX},
        {"-9223372036854775808", true, INT64_MIN},
        {"9007199254740993", true, 9007199254740993},
        {"-99", true, -99},
        {"-0", true, 0},
        {"9223372036854775808", false, 0},
        {"1.0", false, 0},
        {"1e3", false, 0},
        {"\"1\"", false, 0},
        {"null", false, 0},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        int64_t value = 0;
        assert_int_equal(json_to_i64(parse(*state, cases[i].text), &value), cases[i].ok);
        assert_int_equal(value, cases[i].value);
    }
}

static void strings_are_decoded(void **state)
{
    static const struct {
        const char *text, *decoded;
    } cases[] = {
        {"\"\"", ""},
        {"\"plain\"", "plain"},
        {"\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", "\"\\/\b\f\n\r\t"},
        {"\"\\u00e9\\u20AC\\ud83d\\uDE00\\u0041\"", "\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80"
                                                    "A"},
        {"\"\\udbff\\udfff\"", "\xf4\x8f\xbf\xbf"},
        {"\"\xc3\xa9\\\\u0041\"", "\xc3\xa9\\u0041"},
    };
    struct buf out;

    buf_init(&out, 1000);
    for (size_t i = 0; i < COUNT(cases); i++) {
        buf_reset(&out);
        assert_true(json_to_text(parse(*state, cases[i].text), &out));
        assert_str(buf_str(&out), cases[i].decoded);
    }
    buf_reset(&out);
    assert_true(json_to_text(parse(*state, "\"a\\u0000b\""), &out));
    assert_true(str_equal(buf_str(&out), STR("a\0b")));
    assert_false(json_to_text(parse(*state, "1"), &out));
    buf_clear(&out);
}

static void strings_are_written_as_ruby_does(void **state)
{
    static const struct {
        struct str text;
        const char *json;
    } cases[] = {
        {{"", 0}, "\"\""},
        {{"a/<b>&\x7f", 7}, "\"a/<b>&\x7f\""},
        {{"\0\x1f\x0b", 3}, "\"\\u0000\\u001f\\u000b\""},
        {{"\"\\\b\f\n\r\t", 7}, "\"\\\"\\\\\\b\\f\\n\\r\\t\""},
        {{"\xc3\xa9\xe2\x80\xa8", 5}, "\"\xc3\xa9\xe2\x80\xa8\""},
        {{"\xe2\x82x", 3}, "\"\xef\xbf\xbd\xef\xbf\xbdx\""},
        {{"\xff\xc0\xaf", 3}, "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\""},
        {{"a\xf0\x9f\x98", 4}, "\"a\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\""},
    };
    struct buf out;

    (void)state;
    buf_init(&out, 1000);
    for (size_t i = 0; i < COUNT(cases); i++) {
        buf_reset(&out);
        json_put_string(&out, cases[i].text);
        assert_str(buf_str(&out), cases[i].json);
    }
    buf_clear(&out);
}

static void every_byte_survives_writing_and_reading(void **state)
{
    char bytes[0x80];
    struct buf text;
    struct buf back;

    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = (char)i;
    buf_init(&text, 1000);
    buf_init(&back, 1000);
    json_put_string(&text, (struct str){bytes, sizeof(bytes)});
    assert_true(json_to_text(parse(*state, buf_cstr(&text)), &back));
    assert_int_equal(back.len, sizeof(bytes));
    assert_memory_equal(back.ptr, bytes, sizeof(bytes));
    buf_clear(&text);
    buf_clear(&back);
}

/* A quadratic path would need minutes. */
static void hostile_documents_take_linear_time(void **state)
{
    struct clock clock = clock_system();
    int64_t start_ms = clock_mono_ms(&clock);
    struct buf texts[] = {
        repeat("\"", "\\\\", 1000000, "\""),
        repeat("\"", "\\u0041", 500000, "\""),
        repeat("{\"", "\\u0041", 500000, "\":1}"),
        repeat("{\"a\":1", ",\"a\":1", 2046, "}"),
        repeat("", " ", 2000000, "1"),
        repeat("", "1", 2000000, ""),
    };

    for (size_t i = 0; i < COUNT(texts); i++) {
        struct json_value root = parse(*state, buf_cstr(&texts[i]));
        for (int n = 0; n < 100; n++)
            assert_int_equal(json_member(*state, root, STR("jid")).type, JSON_ABSENT);
        buf_clear(&texts[i]);
    }
    assert_in_range(clock_mono_ms(&clock) - start_ms, 0, 10000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(valid_documents_are_accepted),
        cmocka_unit_test(documents_that_no_parser_takes_are_refused),
        cmocka_unit_test(what_ruby_may_accept_is_refused_and_told),
        cmocka_unit_test(depth_and_number_of_values_are_bounded),
        cmocka_unit_test(the_last_of_duplicate_keys_counts),
        cmocka_unit_test(keys_are_compared_after_decoding),
        cmocka_unit_test(long_escaped_keys_are_found),
        cmocka_unit_test(elements_and_members_are_found_by_index),
        cmocka_unit_test(values_of_another_document_have_no_members),
        cmocka_unit_test(integers_keep_all_their_digits),
        cmocka_unit_test(strings_are_decoded),
        cmocka_unit_test(strings_are_written_as_ruby_does),
        cmocka_unit_test(every_byte_survives_writing_and_reading),
        cmocka_unit_test(hostile_documents_take_linear_time),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
