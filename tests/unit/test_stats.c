/* The rows of `fedpush stats`: their order, and that what strangers wrote stays harmless. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "admin/stats_rows.h"

static void add(struct stats_rows *rows, const char *name, int64_t delivered, int64_t retried,
                double p95_ms)
{
    struct stats_row *row = stats_rows_add(rows);

    row->name = str_dup(str_of(name));
    row->delivered = delivered;
    row->retried = retried;
    row->p95_ms = p95_ms;
    row->p50_ms = row->p99_ms = -1;
    row->mean_ms = row->sent_bytes = row->last_status = -1;
    row->success_age_s = row->failing_for_s = -1;
}

static int setup(void **state)
{
    static struct stats_rows rows;

    rows = (struct stats_rows){.spans = true};
    add(&rows, "busy.example", 90, 10, 50);
    add(&rows, "bad.example", 1, 19, 900);
    add(&rows, "idle.example", 0, 0, -1);
    *state = &rows;
    return 0;
}

static int teardown(void **state)
{
    stats_rows_clear(*state);
    return 0;
}

static void order_is(struct stats_rows *rows, const char *sort, const char *first, const char *last)
{
    enum stats_sort parsed;

    assert_true(stats_sort_parse(str_of(sort), &parsed));
    stats_rows_sort(rows, parsed);
    assert_string_equal(rows->list[0].name, first);
    assert_string_equal(rows->list[2].name, last);
}

static void rows_are_sorted(void **state)
{
    enum stats_sort sort;

    order_is(*state, "attempts", "busy.example", "idle.example");
    order_is(*state, "failed", "bad.example", "idle.example");
    order_is(*state, "success", "bad.example", "idle.example");
    order_is(*state, "time", "bad.example", "idle.example");
    order_is(*state, "host", "bad.example", "idle.example");
    order_is(*state, "delivered", "busy.example", "idle.example");
    assert_false(stats_sort_parse(STR("hosts"), &sort));
}

static const char *const hostile = "=1+1\x1b[31m\"\xe2\x80\xae\nnext";

static void make_hostile(struct stats_rows *rows)
{
    struct stats_row *row = &rows->list[0];

    row->last_error = str_dup(str_of(hostile));
    row->consecutive_failures = 1;
    free(row->name);
    row->name = str_dup(STR("@evil\r\n.example"));
}

static void a_spreadsheet_gets_quoted_fields(void **state)
{
    struct stats_rows *rows = *state;
    struct buf out;

    buf_init(&out, 65536);
    make_hostile(rows);
    stats_rows_put_csv(&out, rows, 1);
    assert_non_null(strstr(buf_cstr(&out), "\r\n\"'@evil??.example\",90,10,0,0,0.9000,1,,,50,,,,,,"
                                           "\"'=1+1?[31m\"\"??next\"\r\n"));
    buf_clear(&out);
}

static void people_get_lines(void **state)
{
    struct stats_rows *rows = *state;
    struct buf out;

    buf_init(&out, 65536);
    make_hostile(rows);
    stats_rows_put_table(&out, rows, 2);
    assert_non_null(strstr(buf_cstr(&out), "\n@evil??.example "));
    assert_non_null(strstr(buf_cstr(&out), "  =1+1?[31m\"??next\n"));
    assert_non_null(strstr(buf_cstr(&out), "  90.0%      -     50      -"));
    assert_non_null(strstr(buf_cstr(&out), "\n(1 more)\n"));
    buf_clear(&out);
}

static void programs_get_objects(void **state)
{
    struct stats_rows *rows = *state;

    make_hostile(rows);
    json_t *list = stats_rows_json(rows, 10);
    const json_t *first = json_array_get(list, 0);
    assert_int_equal(json_array_size(list), 3);
    assert_string_equal(json_string_value(json_object_get(first, "host")), "@evil??.example");
    assert_string_equal(json_string_value(json_object_get(first, "last_error")),
                        "=1+1?[31m\"??next");
    assert_true(json_is_null(json_object_get(first, "p50_ms")));
    assert_true(json_is_null(json_object_get(json_array_get(list, 2), "success_rate")));
    json_decref(list);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(rows_are_sorted, setup, teardown),
        cmocka_unit_test_setup_teardown(a_spreadsheet_gets_quoted_fields, setup, teardown),
        cmocka_unit_test_setup_teardown(people_get_lines, setup, teardown),
        cmocka_unit_test_setup_teardown(programs_get_objects, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
