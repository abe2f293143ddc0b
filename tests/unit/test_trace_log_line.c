/* What a line of the log says of an activity, and which lines say nothing of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "admin/trace_log_line.h"

#define ACTIVITY "https://d.example/users/u/statuses/1/activity"
#define START "level=info role=scheduler msg=delivered "

struct fixture {
    struct trace_ids ids;
    struct trace_log_lines lines;
    struct buf found; /* "RESULT STATUS AT ATTEMPT MACHINE INBOX ERROR;" each */
};

static void on_found(void *arg, const struct trace_logged *l)
{
    struct fixture *f = arg;
    buf_printf(&f->found, "%d %d %lld %d %.*s %.*s %.*s;", (int)l->result, (int)l->status,
               (long long)l->at_ms, (int)l->attempt, STR_ARG(l->machine), STR_ARG(l->inbox),
               STR_ARG(l->error));
}

static int setup_with(void **state, const char *activity)
{
    static struct fixture f;

    buf_init(&f.found, 8192);
    if (trace_ids_init(&f.ids, str_of(activity), NULL) != FP_OK)
        return -1;
    trace_log_lines_init(&f.lines, &f.ids, on_found, &f);
    *state = &f;
    return 0;
}

static int setup(void **state)
{
    return setup_with(state, "https://d.example/users/u/statuses/1");
}

/* U+202E, which the log escapes, and a sign that it quotes. */
static int setup_strange(void **state)
{
    return setup_with(state, "https://d.example/\xe2\x80\xae?a=\xc3\xa9");
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    trace_log_lines_clear(&f->lines);
    trace_ids_clear(&f->ids);
    buf_clear(&f->found);
    return 0;
}

static void finds(struct fixture *f, const char *line, const char *expected)
{
    buf_reset(&f->found);
    assert_true(trace_log_lines_take(&f->lines, str_of(line)));
    assert_string_equal(buf_cstr(&f->found), expected);
}

static void a_line_tells_of_a_delivery(void **state)
{
    finds(*state,
          "<6>level=info role=scheduler msg=\"delivery failed\" outcome=retried at_ms=1700 "
          "machine=m:1:x job=0123 attempt=2 status=503 ms=12 activity=" ACTIVITY
          " inbox=\"https://a.example/?a=b\" err=\"said \\\"no\\\"\"",
          "1 503 1700 2 m:1:x https://a.example/?a=b said \"no\";");
    finds(*state, START "outcome=exhausted activity=" ACTIVITY " at_ms=1 inbox=https://a/",
          "3 0 1 0  https://a/ ;");
    assert_int_equal(((struct fixture *)*state)->lines.outcomes, 2);
}

static void a_line_tells_of_many_deliveries(void **state)
{
    finds(*state,
          "Nov 29 10:00:00 web fedpush[12]: " START
          "outcome=delivered at_ms=1700 machine=m:1:x status=202 "
          "activity=https://d.example/users/u/statuses/1 inbox=https://a/ inbox=https://b/",
          "0 202 1700 0 m:1:x https://a/ ;0 202 1700 0 m:1:x https://b/ ;");
    /* One that was cut counts as far as it is whole. */
    finds(*state,
          START "outcome=delivered at_ms=1 activity=" ACTIVITY " inbox=https://a/ inbox=\"h",
          "0 0 1 0  https://a/ ;");
}

static void what_says_nothing_of_it_is_left_out(void **state)
{
    static const char *const lines[] = {
        "",
        START "outcome=delivered at_ms=1 activity=" ACTIVITY "s inbox=https://a/",
        START "outcome=delivered at_ms=1 activity=x" ACTIVITY " inbox=https://a/",
        START "outcome=delivered at_ms=1 activity=other err=" ACTIVITY " inbox=https://a/",
        START "outcome=delivered at_ms=1 activity=other err=\" activity=" ACTIVITY
              "\" inbox=https://a/",
        START "outcome=delivered at_ms=0 activity=" ACTIVITY " inbox=https://a/",
        START "outcome=delivered activity=" ACTIVITY " inbox=https://a/",
        START "outcome=lost at_ms=1 activity=" ACTIVITY " inbox=https://a/",
        START "at_ms=1 activity=" ACTIVITY " inbox=https://a/",
        START "outcome=delivered at_ms=1 activity=" ACTIVITY,
        START "outcome=delivered at_ms=1 activity=" ACTIVITY " inbox=\"\"",
        "web nginx: fedpush: " START "outcome=delivered at_ms=1 activity=" ACTIVITY " inbox=x",
    };
    struct fixture *f = *state;

    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++)
        finds(f, lines[i], "");
    assert_int_equal(f->lines.outcomes, 0);
    assert_int_equal(f->lines.lines, sizeof(lines) / sizeof(lines[0]));
}

static void what_is_longer_ago_does_not_count(void **state)
{
    struct fixture *f = *state;

    f->lines.since_ms = 1000;
    finds(f, START "outcome=delivered at_ms=999 activity=" ACTIVITY " inbox=https://a/", "");
    finds(f, START "outcome=delivered at_ms=1000 activity=" ACTIVITY " inbox=https://a/",
          "0 0 1000 0  https://a/ ;");
}

static void an_id_is_found_as_the_log_writes_it(void **state)
{
    finds(*state,
          START
          "outcome=delivered at_ms=1 activity=\"https://d.example/\\u202e?a=\xc3\xa9/activity\" "
          "inbox=https://a/",
          "0 0 1 0  https://a/ ;");
}

static void gaps_are_counted(void **state)
{
    struct fixture *f = *state;

    finds(f, "level=warn role=scheduler msg=\"log lines suppressed\" lines=3", "");
    finds(f, "level=info role=scheduler msg=\"deliveries not logged\" deliveries=40", "");
    finds(f, "level=info role=scheduler msg=other err=\"deliveries not logged\" lines=5", "");
    finds(f, "level=info role=scheduler msg=\"log lines suppressed\" lines=-5", "");
    finds(f, "nginx: \"log lines suppressed\" lines=7", "");
    assert_int_equal(f->lines.left_out, 43);
    trace_log_lines_begin(&f->lines);
    assert_int_equal(f->lines.left_out + f->lines.lines, 0);
}

static void there_is_an_end_to_it(void **state)
{
    struct fixture *f = *state;

    f->lines.max_lines = 2;
    assert_true(trace_log_lines_take(&f->lines, STR("a")));
    assert_true(trace_log_lines_take(&f->lines, STR("b")));
    assert_false(f->lines.cut);
    assert_false(trace_log_lines_take(&f->lines, STR("c")));
    assert_true(f->lines.cut);
    trace_log_lines_begin(&f->lines);
    f->lines.max_bytes = 10;
    assert_true(trace_log_lines_take(&f->lines, STR("0123456789")));
    assert_false(trace_log_lines_take(&f->lines, STR("")));
    assert_true(f->lines.cut);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_line_tells_of_a_delivery, setup, teardown),
        cmocka_unit_test_setup_teardown(a_line_tells_of_many_deliveries, setup, teardown),
        cmocka_unit_test_setup_teardown(what_says_nothing_of_it_is_left_out, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_longer_ago_does_not_count, setup, teardown),
        cmocka_unit_test_setup_teardown(an_id_is_found_as_the_log_writes_it, setup_strange,
                                        teardown),
        cmocka_unit_test_setup_teardown(gaps_are_counted, setup, teardown),
        cmocka_unit_test_setup_teardown(there_is_an_end_to_it, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
