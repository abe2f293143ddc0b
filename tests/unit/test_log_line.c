/* What the log writes is what is read from it, wherever the line stands. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/log_line.h"

/* Opens the line and takes its fields; "KEY=VALUE;" each, and "!" when more is there. */
static void read_as(struct str text, struct buf *out)
{
    struct log_line line;
    struct str key;
    struct buf value;

    buf_reset(out);
    buf_init(&value, 8192);
    if (!log_line_open(&line, text)) {
        buf_put_str(out, STR("not ours"));
    } else {
        while (log_line_next(&line, &key, &value))
            buf_printf(out, "%.*s=%.*s;", STR_ARG(key), STR_ARG(buf_str(&value)));
    }
    buf_clear(&value);
}

static void reads(const char *text, const char *expected)
{
    struct buf out;

    buf_init(&out, 8192);
    read_as(str_of(text), &out);
    assert_string_equal(buf_cstr(&out), expected);
    buf_clear(&out);
}

static void a_line_is_found_where_it_may_stand(void **state)
{
    static const char *const before[] = {
        "",
        "<6>",
        "Nov 29 10:00:00 web fedpush[12]: ",
        "Nov 29 10:00:00 web fedpush: ",
        "2026-11-29T10:00:00.123456+00:00 web fedpush[12]: ",
        "fedpush[1]: ",
        "Nov 29 10:00:00 web fedpush[12]: <4>",
    };

    (void)state;
    for (size_t i = 0; i < sizeof(before) / sizeof(before[0]); i++) {
        struct buf line;
        buf_init(&line, 200);
        buf_printf(&line, "%slevel=info msg=\"an event\" n=-5", before[i]);
        reads(buf_cstr(&line), "level=info;msg=an event;n=-5;");
        buf_clear(&line);
    }
}

static void what_other_programs_wrote_is_not_ours(void **state)
{
    static const char *const lines[] = {
        "",
        " ",
        ": ",
        "<6>",
        "<9>level=info",
        "x level=info",
        "Nov 29 10:00:00 web nginx: GET /fedpush: level=info msg=delivered",
        "Nov 29 10:00:00 web nginx[12]: fedpush[12]: level=info msg=delivered",
        "192.0.2.1 - - [29/Nov/2026:10:00:00 +0000] \"GET / fedpush: level=info",
        "Nov 29 10:00:00 web fedpushd[12]: level=info",
        "Nov 29 10:00:00 web fedpush[x]: level=info",
        "Nov 29 10:00:00 web fedpush[]: level=info",
        "Nov 29 10:00:00 web fedpush[: level=info",
        "Nov 29 10:00:00 web fedpush[12]: Assertion failed: level=info",
    };

    (void)state;
    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++)
        reads(lines[i], "not ours");
}

static void what_is_broken_ends_the_line(void **state)
{
    (void)state;
    reads("level=info msg=\"cut in the mid", "level=info;");
    reads("level=info msg=\"x\"y=1 z=2", "level=info;");
    reads("level=info msg=\"\\q\" z=2", "level=info;");
    reads("level=info msg=\"\\x4\" z=2", "level=info;");
    reads("level=info msg=\"\\Uffffffff\" z=2", "level=info;");
    reads("level=info =1", "level=info;");
    reads("level=info a", "level=info;");
    reads("level=info a=", "level=info;");
    reads("level=info  a=1", "level=info;");
    reads("level=info A=1", "level=info;");
    reads("level=info \"a\"=1", "level=info;");
    reads("level=", "");
}

static void a_value_is_read_as_it_was_written(void **state)
{
    static const struct str values[] = {
        {"", 0},
        {"plain", 5},
        {"https://a.example/inbox?a=b", 27},
        {"x\nlevel=error msg=\"no\" \\\r\x1b[0m\0z", 31},
        {"caf\xc3\xa9 \xe3\x81\x82 \xf0\x9f\x90\x98", 15},
        {"\xe2\x80\xae\xc2\xad\xc2\x85\xf3\xa0\x81\x81\xef\xbb\xbf", 14},
        {"\xff\xfe\x80 \xc3", 5},
        {"\" msg=\"forged", 13},
        {"\\x41\\", 5},
    };
    struct log_line line;
    struct buf text;
    struct buf value;
    struct str key;

    (void)state;
    buf_init(&text, 8192);
    buf_init(&value, 8192);
    for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
        buf_reset(&text);
        buf_put_str(&text, STR("level="));
        log_line_put_value(&text, values[i]);
        buf_put_str(&text, STR(" n=1"));
        assert_null(memchr(text.ptr, '\n', text.len));
        assert_true(log_line_open(&line, buf_str(&text)));
        assert_true(log_line_next(&line, &key, &value));
        assert_int_equal(value.len, values[i].len);
        assert_memory_equal(value.len > 0 ? value.ptr : "", values[i].len > 0 ? values[i].ptr : "",
                            value.len);
        assert_true(log_line_next(&line, &key, &value));
        assert_true(str_equal(buf_str(&value), STR("1")));
        assert_false(log_line_next(&line, &key, &value));
    }
    buf_clear(&text);
    buf_clear(&value);
}

static void a_value_that_fits_nowhere_ends_the_line(void **state)
{
    struct log_line line;
    struct str key;
    struct buf value;

    (void)state;
    buf_init(&value, 4);
    assert_true(log_line_open(&line, STR("level=info a=12345 b=1")));
    assert_true(log_line_next(&line, &key, &value));
    assert_false(log_line_next(&line, &key, &value));
    assert_false(log_line_next(&line, &key, &value));
    buf_clear(&value);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_line_is_found_where_it_may_stand),
        cmocka_unit_test(what_other_programs_wrote_is_not_ours),
        cmocka_unit_test(what_is_broken_ends_the_line),
        cmocka_unit_test(a_value_is_read_as_it_was_written),
        cmocka_unit_test(a_value_that_fits_nowhere_ends_the_line),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
