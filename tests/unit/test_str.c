#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <sodium.h>

#include "base/log.h"
#include "base/str.h"
#include "base/table.h"
#include "capture.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static void slices_compare_by_bytes(void **state)
{
    (void)state;
    assert_true(str_equal(STR("a\0b"), STR("a\0b")));
    assert_false(str_equal(STR("a\0b"), STR("a\0c")));
    assert_false(str_equal(STR("a"), STR("ab")));
    assert_true(str_equal(STR_NULL, STR("")));
    assert_true(str_equal(str_of(NULL), STR_NULL));
    assert_true(str_equal_nocase(STR("HoSt"), STR("hOsT")));
    assert_false(str_equal_nocase(STR("host"), STR("hosts")));
    assert_true(str_starts_with(STR("abc"), STR("ab")));
    assert_true(str_starts_with(STR("abc"), STR_NULL));
    assert_false(str_starts_with(STR("a"), STR("ab")));
    assert_true(str_ends_with(STR("abc"), STR("bc")));
    assert_false(str_ends_with(STR("bc"), STR("abc")));
    assert_false(str_ends_with(STR("abd"), STR("bc")));
}

static void slices_are_cut(void **state)
{
    (void)state;
    assert_true(str_equal(str_trim(STR(" \t a b\r\n")), STR("a b")));
    assert_int_equal(str_trim(STR(" \n ")).len, 0);
    assert_true(str_equal(str_slice(STR("abc"), 1), STR("bc")));
    assert_int_equal(str_slice(STR("abc"), 3).len, 0);
    assert_int_equal(str_slice(STR("abc"), 99).len, 0);
    assert_int_equal(str_find(STR("abcb"), 'b'), 1);
    assert_int_equal(str_find(STR("abc"), 'x'), 3);
    assert_int_equal(str_find(STR_NULL, 'x'), 0);
}

static void numbers_are_read_strictly(void **state)
{
    static const struct {
        const char *text;
        bool ok;
        int64_t value;
    } cases[] = {
        {"0", true, 0},
        {"-0", true, 0},
        {"007", true, 7},
        {"9223372036854775807", true, INT64_MAX},
        {"-9223372036854775808", true, INT64_MIN},
        {"9223372036854775808", false, 0},
        {"-9223372036854775809", false, 0},
        {"92233720368547758070", false, 0},
        {"", false, 0},
        {"-", false, 0},
        {"+1", false, 0},
        {" 1", false, 0},
        {"1 ", false, 0},
        {"1.0", false, 0},
        {"0x1", false, 0},
    };
    int64_t value;

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        value = 0;
        assert_int_equal(str_to_i64(str_of(cases[i].text), INT64_MIN, INT64_MAX, &value),
                         cases[i].ok);
        assert_int_equal(value, cases[i].value);
    }
    assert_true(str_to_i64(STR("5"), 5, 5, &value));
    assert_false(str_to_i64(STR("4"), 5, 5, &value));
    assert_false(str_to_i64(STR("6"), 5, 5, &value));
}

static void buffers_leave_out_whole_what_does_not_fit(void **state)
{
    struct buf b;

    (void)state;
    buf_init(&b, 5);
    assert_string_equal(buf_cstr(&b), "");
    buf_put_str(&b, STR("abc"));
    buf_put_str(&b, STR("def"));
    assert_true(b.overflow);
    assert_string_equal(buf_cstr(&b), "abc");
    buf_printf(&b, "%d", 12);
    assert_string_equal(buf_cstr(&b), "abc12");
    buf_put_char(&b, 'x');
    buf_printf(&b, "%d", 1);
    assert_string_equal(buf_cstr(&b), "abc12");
    assert_true(b.overflow);
    buf_reset(&b);
    assert_false(b.overflow);
    buf_put(&b, NULL, 0);
    assert_int_equal(buf_str(&b).len, 0);
    buf_clear(&b);
    assert_int_equal(b.max_bytes, 5);
}

static void buffers_grow(void **state)
{
    struct buf b;

    (void)state;
    buf_init(&b, 1000000);
    for (int i = 0; i < 100000; i++)
        buf_put_str(&b, STR("0123456789"));
    assert_false(b.overflow);
    assert_int_equal(b.len, 1000000);
    assert_int_equal(strlen(buf_cstr(&b)), 1000000);
    assert_memory_equal(b.ptr + 999990, "0123456789", 10);
    buf_put_char(&b, 'x');
    assert_true(b.overflow);
    buf_clear(&b);
}

static void copies_end_in_nul(void **state)
{
    char *copy = str_dup(STR_NULL);

    (void)state;
    assert_string_equal(copy, "");
    free(copy);
    copy = str_dup((struct str){"abcdef", 3});
    assert_string_equal(copy, "abc");
    free(copy);
    copy = mem_printf("%s-%d", "x", 7);
    assert_string_equal(copy, "x-7");
    free(copy);
}

static void tables_add_replace_and_remove(void **state)
{
    struct table *table = table_create();
    int one = 1, two = 2;

    (void)state;
    assert_null(table_get(table, STR("a")));
    assert_null(table_put(table, STR("a"), &one));
    assert_ptr_equal(table_put(table, STR("a"), &two), &one);
    assert_ptr_equal(table_get(table, STR("a")), &two);
    assert_null(table_put(table, STR_NULL, &one));
    assert_ptr_equal(table_get(table, STR("")), &one);
    assert_int_equal(table_count(table), 2);
    assert_ptr_equal(table_remove(table, STR("a")), &two);
    assert_null(table_remove(table, STR("a")));
    assert_null(table_get(table, STR("a")));
    assert_int_equal(table_count(table), 1);
    table_destroy(table);
    table_destroy(NULL);
}

enum { ENTRIES = 5000 };

/* Keys come and go in changing neighbourhoods: tombstones, growing and shrinking. */
static void tables_keep_what_was_not_removed(void **state)
{
    struct table *table = table_create();
    static uint64_t ids[ENTRIES];

    (void)state;
    for (int round = 0; round < 5; round++) {
        for (size_t i = 0; i < ENTRIES; i++) {
            ids[i] = i;
            assert_null(table_put(table, table_key_u64(&ids[i]), &ids[i]));
        }
        for (size_t i = 0; i < ENTRIES; i += 2)
            assert_ptr_equal(table_remove(table, table_key_u64(&ids[i])), &ids[i]);
        assert_int_equal(table_count(table), ENTRIES / 2);
        for (size_t i = 0; i < ENTRIES; i++)
            assert_ptr_equal(table_get(table, table_key_u64(&ids[i])), i % 2 == 1 ? &ids[i] : NULL);
        for (size_t i = 1; i < ENTRIES; i += 2)
            assert_ptr_equal(table_remove(table, table_key_u64(&ids[i])), &ids[i]);
        assert_int_equal(table_count(table), 0);
    }
    table_destroy(table);
}

static void iteration_meets_each_entry_once_even_when_removing(void **state)
{
    struct table *table = table_create();
    static uint64_t ids[ENTRIES];
    static bool seen[ENTRIES];
    size_t at = 0;
    size_t met = 0;
    const uint64_t *id;

    (void)state;
    for (size_t i = 0; i < ENTRIES; i++) {
        ids[i] = i;
        table_put(table, table_key_u64(&ids[i]), &ids[i]);
    }
    while ((id = table_next(table, &at)) != NULL) {
        assert_false(seen[*id]);
        seen[*id] = true;
        met++;
        if (*id % 3 == 0)
            table_remove(table, table_key_u64(id));
    }
    assert_int_equal(met, ENTRIES);
    assert_int_equal(table_count(table), ENTRIES - (ENTRIES + 2) / 3);
    table_destroy(table);
}

static void write_hostile_line(void)
{
    log_open("tester", LOG_LEVEL_INFO);
    log_event(LOG_LEVEL_INFO, "an event", LOG_STR("host", STR("a.example")),
              LOG_STR("forged", STR("x\nlevel=error msg=\"no\"\\\r\x1b[0m\0z")),
              LOG_STR("empty", STR("")), LOG_INT("n", -5));
    log_event(LOG_LEVEL_DEBUG, "left out", LOG_INT("n", 1));
}

static void strangers_cannot_forge_log_lines(void **state)
{
    struct buf out;

    (void)state;
    unsetenv("JOURNAL_STREAM");
    buf_init(&out, 100000);
    capture_log(&out, write_hostile_line);
    assert_string_equal(
        buf_cstr(&out),
        "level=info role=tester msg=\"an event\" host=a.example forged=\"x\\x0alevel="
        "error msg=\\\"no\\\"\\\\\\x0d\\x1b[0m\\x00z\" empty=\"\" n=-5\n");
    buf_clear(&out);
}

static void write_long_line(void)
{
    char value[10000];

    memset(value, 'v', sizeof(value));
    log_open("tester", LOG_LEVEL_INFO);
    for (int i = 0; i < 3; i++)
        log_event(LOG_LEVEL_INFO, "long", LOG_STR("value", ((struct str){value, sizeof(value)})));
}

static void long_values_are_cut_and_lines_stay_lines(void **state)
{
    struct buf out;
    size_t lines = 0;

    (void)state;
    buf_init(&out, 100000);
    capture_log(&out, write_long_line);
    for (size_t i = 0; i < out.len; i++)
        lines += out.ptr[i] == '\n';
    assert_int_equal(lines, 3);
    assert_in_range(out.len, 3 * 1024, 3 * 1200);
    buf_clear(&out);
}

static void write_many_lines(void)
{
    log_open("tester", LOG_LEVEL_INFO);
    for (int i = 0; i < 20000; i++)
        log_plain(LOG_LEVEL_INFO, "many");
}

/* 20,000 lines take far less than 20 s, and at most 200 (and one of notice) a second are let by. */
static void a_flood_of_lines_is_limited(void **state)
{
    struct buf out;
    size_t lines = 0;

    (void)state;
    buf_init(&out, 10000000);
    capture_log(&out, write_many_lines);
    for (size_t i = 0; i < out.len; i++)
        lines += out.ptr[i] == '\n';
    assert_in_range(lines, 1, 20 * 201);
    buf_clear(&out);
}

static void levels_have_names(void **state)
{
    enum log_level level = LOG_LEVEL_ERROR;

    (void)state;
    assert_true(log_level_parse(STR("Debug"), &level));
    assert_int_equal(level, LOG_LEVEL_DEBUG);
    assert_false(log_level_parse(STR("trace"), &level));
    log_set_level(LOG_LEVEL_WARN);
    assert_true(log_wants(LOG_LEVEL_ERROR));
    assert_false(log_wants(LOG_LEVEL_INFO));
}

static void two_hexadecimal_digits_are_a_byte(void **state)
{
    (void)state;
    assert_int_equal(str_hex_byte(STR("%fF"), 1), 0xff);
    assert_int_equal(str_hex_byte(STR("00"), 0), 0);
    assert_int_equal(str_hex_byte(STR("%9a"), 1), 0x9a);
    assert_int_equal(str_hex_byte(STR("%9"), 1), -1);
    assert_int_equal(str_hex_byte(STR("%g0"), 1), -1);
    assert_int_equal(str_hex_byte(STR("%0 "), 1), -1);
    assert_int_equal(str_hex_byte(STR("%"), 1), -1);
    assert_int_equal(str_hex_byte(STR_NULL, 1), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(slices_compare_by_bytes),
        cmocka_unit_test(slices_are_cut),
        cmocka_unit_test(numbers_are_read_strictly),
        cmocka_unit_test(buffers_leave_out_whole_what_does_not_fit),
        cmocka_unit_test(buffers_grow),
        cmocka_unit_test(copies_end_in_nul),
        cmocka_unit_test(tables_add_replace_and_remove),
        cmocka_unit_test(tables_keep_what_was_not_removed),
        cmocka_unit_test(iteration_meets_each_entry_once_even_when_removing),
        cmocka_unit_test(two_hexadecimal_digits_are_a_byte),
        cmocka_unit_test(strangers_cannot_forge_log_lines),
        cmocka_unit_test(long_values_are_cut_and_lines_stay_lines),
        cmocka_unit_test(a_flood_of_lines_is_limited),
        cmocka_unit_test(levels_have_names),
    };

    if (sodium_init() < 0)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
