#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/escape.h"
#include "base/utf8.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static void check(struct str text, enum escape_sink sink, size_t columns, const char *expected)
{
    struct buf out;

    buf_init(&out, 4096);
    size_t used = escape_put(&out, text, sink, columns);
    assert_string_equal(buf_cstr(&out), expected);
    assert_true(used <= columns);
    buf_clear(&out);
}

/* A line, a colour, a title, an override of direction, an isolate, zero width, C1, not UTF-8. */
#define HOSTILE                                                                                    \
    "a\r\nb\x1b[31mc\x1b]0;t\x07"                                                                  \
    "d\xe2\x80\xae"                                                                                \
    "e\xe2\x81\xa6"                                                                                \
    "f\xe2\x80\x8b"                                                                                \
    "g\xc2\x9b"                                                                                    \
    "h\xff"                                                                                        \
    "i\xed\xa0\x80"                                                                                \
    "j\0k"

static void a_hostile_text_is_harmless_in_every_sink(void **state)
{
    static const char marked[] = "a??b?[31mc?]0;t?d?e?f?g?h?i???j?k";
    const struct str text = STR(HOSTILE);

    (void)state;
    check(text, ESCAPE_TERMINAL, 100, marked);
    check(text, ESCAPE_MAIL_HEADER, 100, marked);
    check(text, ESCAPE_MAIL_BODY, 100, marked);
    check(text, ESCAPE_LABEL, 100, marked);
    check(text, ESCAPE_JSON, 100, marked);
    check(text, ESCAPE_CSV, 100, "\"a??b?[31mc?]0;t?d?e?f?g?h?i???j?k\"");
    check(text, ESCAPE_LOG, 100,
          "a\\x0d\\x0ab\\x1b[31mc\\x1b]0;t\\x07d\\u202ee\\u2066f\\u200bg\\u009bh\\xffi\\xed\\xa0"
          "\\x80j\\x00k");
}

static void each_hidden_character_is_shown(void **state)
{
    static const char *const hidden[] = {"\xc2\x85",     "\xc2\xad",
                                         "\xd8\x9c",     "\xe2\x80\x8f",
                                         "\xe2\x80\xa8", "\xe2\x80\xa9",
                                         "\xe2\x80\xaa", "\xe2\x80\xab",
                                         "\xe2\x80\xac", "\xe2\x80\xad",
                                         "\xe2\x81\xa0", "\xe2\x81\xa7",
                                         "\xe2\x81\xa8", "\xe2\x81\xa9",
                                         "\xe3\x85\xa4", "\xef\xb8\x8f",
                                         "\xef\xbb\xbf", "\xf3\xa0\x81\x81",
                                         "\xef\xbf\xbe", "\xf0\x9f\xbf\xbf",
                                         "\x7f",         "\x01",
                                         "\x1f",         "\xf4\x90\x80\x80"};

    (void)state;
    for (size_t i = 0; i < COUNT(hidden); i++) {
        struct buf out;
        buf_init(&out, 64);
        escape_put(&out, str_of(hidden[i]), ESCAPE_TERMINAL, 10);
        assert_int_equal(buf_cstr(&out)[0], '?');
        assert_null(strstr(buf_cstr(&out), hidden[i]));
        buf_clear(&out);
    }
}

static void what_people_write_stays(void **state)
{
    static const char text[] = "caf\xc3\xa9 \xe3\x81\x82 \xd7\x90 \xf0\x9f\x90\x98 a-b.c";

    (void)state;
    check(str_of(text), ESCAPE_TERMINAL, 100, text);
    check(str_of(text), ESCAPE_MAIL_BODY, 100, text);
    check(str_of(text), ESCAPE_JSON, 100, text);
    check(str_of(text), ESCAPE_LOG, 100, text);
    check(str_of(text), ESCAPE_MAIL_HEADER, 100, "caf? ? ? ? a-b.c");
}

static void quotes_end_no_value(void **state)
{
    const struct str text = STR("a\"b\\c");

    (void)state;
    check(text, ESCAPE_LOG, 100, "a\\\"b\\\\c");
    check(text, ESCAPE_LABEL, 100, "a\\\"b\\\\c");
    check(text, ESCAPE_CSV, 100, "\"a\"\"b\\c\"");
    check(text, ESCAPE_TERMINAL, 100, "a\"b\\c");
    check(text, ESCAPE_JSON, 100, "a\"b\\c");
}

static void a_spreadsheet_gets_no_formula(void **state)
{
    static const struct {
        const char *text, *field;
    } cases[] = {
        {"=HYPERLINK(\"x\")", "\"'=HYPERLINK(\"\"x\"\")\""},
        {"+1", "\"'+1\""},
        {"-1", "\"'-1\""},
        {"@SUM(A1)", "\"'@SUM(A1)\""},
        {" =1", "\"' =1\""},
        {"\t=1", "\"'?=1\""},
        {"\xef\xbc\x9d"
         "1",
         "\"'\xef\xbc\x9d"
         "1\""},
        {"a=b,c", "\"a=b,c\""},
        {"", "\"\""},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++)
        check(str_of(cases[i].text), ESCAPE_CSV, 100, cases[i].field);
}

static void columns_are_those_of_a_terminal(void **state)
{
    struct buf out;

    (void)state;
    check(STR("abcdef"), ESCAPE_TERMINAL, 3, "abc");
    check(STR("\xe3\x81\x82\xe3\x81\x84"), ESCAPE_TERMINAL, 3, "\xe3\x81\x82");
    check(STR("a\x1b\x1b\x1b"), ESCAPE_LOG, 2, "a\\x1b");
    check(STR("abc"), ESCAPE_CSV, 2, "\"ab\"");
    check(STR("abc"), ESCAPE_TERMINAL, 0, "");
    buf_init(&out, 100);
    assert_int_equal(escape_put(&out, STR("a\xe3\x81\x82?\xff"), ESCAPE_TERMINAL, 100), 5);
    buf_clear(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_hostile_text_is_harmless_in_every_sink),
        cmocka_unit_test(each_hidden_character_is_shown),
        cmocka_unit_test(what_people_write_stays),
        cmocka_unit_test(quotes_end_no_value),
        cmocka_unit_test(a_spreadsheet_gets_no_formula),
        cmocka_unit_test(columns_are_those_of_a_terminal),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
