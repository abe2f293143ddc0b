/* What an activity may be called, and what is put together of its deliveries. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <sodium.h>

#include "admin/trace_ids.h"
#include "admin/trace_rows.h"

enum { LOOKED_MS = 1000000 };

static void ids_are(const char *text, const char *account, const char *const *expected)
{
    struct trace_ids ids;

    assert_int_equal(trace_ids_init(&ids, str_of(text), NULL), FP_OK);
    if (account != NULL)
        trace_ids_add_account(&ids, str_of(text), str_of(account));
    for (size_t i = 0; i < ids.count; i++)
        assert_string_equal(ids.ids[i], expected[i]);
    assert_null(expected[ids.count]);
    trace_ids_clear(&ids);
}

static void an_activity_has_several_names(void **state)
{
    (void)state;
    ids_are("https://d.example/users/u/statuses/1", NULL,
            (const char *const[]){"https://d.example/users/u/statuses/1",
                                  "https://d.example/users/u/statuses/1/activity", NULL});
    ids_are("https://d.example/users/u/statuses/1/activity", NULL,
            (const char *const[]){"https://d.example/users/u/statuses/1/activity", NULL});
    ids_are("https://d.example/@u/12", "7",
            (const char *const[]){"https://d.example/users/u/statuses/12",
                                  "https://d.example/users/u/statuses/12/activity",
                                  "https://d.example/ap/users/7/statuses/12",
                                  "https://d.example/ap/users/7/statuses/12/activity", NULL});
    /* Somebody else's post, and no post at all. */
    ids_are("https://d.example/@u@e.example/12", NULL,
            (const char *const[]){"https://d.example/@u@e.example/12",
                                  "https://d.example/@u@e.example/12/activity", NULL});
    ids_are("https://d.example/@u/about", NULL,
            (const char *const[]){"https://d.example/@u/about",
                                  "https://d.example/@u/about/activity", NULL});
}

static void what_is_no_address_is_refused(void **state)
{
    static const char *const wrong[] = {"",
                                        "alice",
                                        "ftp://d.example/1",
                                        "https://d.example/a b",
                                        "https://d.example/\x1b",
                                        "https://d.example/\"",
                                        "https://d.example/\xff"};
    struct trace_ids ids;
    struct err err;

    (void)state;
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        assert_int_equal(trace_ids_init(&ids, str_of(wrong[i]), &err), FP_INVALID);
        assert_non_null(strstr(err.message, "give its id"));
        trace_ids_clear(&ids);
    }
}

static int64_t born_ms(const char *text)
{
    struct trace_ids ids;

    assert_int_equal(trace_ids_init(&ids, str_of(text), NULL), FP_OK);
    int64_t found_ms = trace_ids_born_ms(&ids, INT64_C(1800000000000));
    trace_ids_clear(&ids);
    return found_ms;
}

static void a_number_tells_when_a_post_was_made(void **state)
{
    (void)state;
    assert_int_equal(born_ms("https://d.example/users/u/statuses/111411200000000000/activity"),
                     INT64_C(1700000000000));
    assert_int_equal(born_ms("https://d.example/@u/111411200000000000"), INT64_C(1700000000000));
    assert_int_equal(born_ms("https://d.example/users/u/statuses/111411200000000000#updates/1"),
                     INT64_C(1700000000000));
    assert_int_equal(born_ms("https://d.example/users/u/statuses/7"), 0);
    assert_int_equal(born_ms("https://d.example/users/u/statuses/121411200000000000"), 0);
    assert_int_equal(born_ms("https://d.example/users/u/statuses/99999999999999999999"), 0);
    assert_int_equal(born_ms("https://d.example/notes/111411200000000000"), 0);
    assert_int_equal(born_ms("https://d.example/users/u/statuses/"), 0);
}

/* --- rows --- */

static const struct str inbox = {"https://a.example/inbox", 23};

static int setup(void **state)
{
    static struct trace_rows rows;

    trace_rows_init(&rows, LOOKED_MS);
    *state = &rows;
    return 0;
}

static int teardown(void **state)
{
    trace_rows_clear(*state);
    return 0;
}

static void add_job(struct trace_rows *rows, enum trace_place place, double due_s)
{
    const struct trace_job job = {.place = place,
                                  .inbox = inbox,
                                  .due_s = due_s,
                                  .error = STR("returned code 503"),
                                  .failures = 2};
    trace_rows_add_job(rows, &job);
}

static const struct trace_row *only(const struct trace_rows *rows)
{
    size_t at = 0;

    assert_int_equal(table_count(rows->rows), 1);
    return table_next(rows->rows, &at);
}

static void a_job_that_moved_is_where_it_was_seen_last(void **state)
{
    add_job(*state, TRACE_PUSH, 0);
    assert_int_equal(only(*state)->state, TRACE_WAITING);
    assert_string_equal(only(*state)->queue, "push");
    add_job(*state, TRACE_RETRY, 1234.5);
    assert_int_equal(only(*state)->state, TRACE_RETRIED);
    assert_true(only(*state)->due_s > 1234 && only(*state)->queue == NULL);
    assert_string_equal(only(*state)->error, "returned code 503");
}

static void an_outcome_after_the_look_ends_what_was_seen(void **state)
{
    add_job(*state, TRACE_PUSH, 0);
    trace_rows_add_answer(*state, STR("m:1:x"),
                          STR("delivered 202 1000500 https://a.example/inbox"));
    assert_int_equal(only(*state)->state, TRACE_DELIVERED);
    assert_int_equal(only(*state)->status, 202);
    assert_string_equal(only(*state)->machine, "m:1:x");
}

static void an_older_outcome_tells_only_how_it_went(void **state)
{
    add_job(*state, TRACE_RETRY, 2000);
    trace_rows_add_answer(*state, STR("m:1:x"),
                          STR("retried 503 900000 https://a.example/inbox\n"
                              "retried 500 800000 https://a.example/inbox"));
    assert_int_equal(only(*state)->state, TRACE_RETRIED);
    assert_int_equal(only(*state)->status, 503);
    assert_int_equal(only(*state)->at_ms, 900000);
    assert_true(only(*state)->due_s > 0);
}

static void of_two_machines_the_later_outcome_counts(void **state)
{
    trace_rows_add_answer(*state, STR("m:1:x"),
                          STR("delivered 202 900000 https://a.example/inbox"));
    trace_rows_add_answer(*state, STR("n:1:x"), STR("retried 0 800000 https://a.example/inbox"));
    assert_int_equal(only(*state)->state, TRACE_DELIVERED);
    assert_string_equal(only(*state)->machine, "m:1:x");
}

static void what_a_machine_has_in_flight_is_there(void **state)
{
    add_job(*state, TRACE_RETRY, 2000);
    trace_rows_add_answer(*state, STR("m:1:x"),
                          STR("in_flight 0 0 https://a.example/inbox\nmore 3\n"));
    assert_int_equal(only(*state)->state, TRACE_IN_FLIGHT);
    assert_true(((struct trace_rows *)*state)->cut);
}

static void what_is_not_understood_is_left_out(void **state)
{
    struct trace_rows *rows = *state;

    trace_rows_add_answer(rows, STR("old"),
                          STR("nothing of it is here, and nothing holds it back"));
    trace_rows_add_answer(rows, STR("m"),
                          STR("delivered x 1 https://a.example/inbox\n\n"
                              "delivered 202 1\ndelivered 1000 1 https://a/"));
    assert_int_equal(table_count(rows->rows), 0);
    assert_false(rows->cut);
}

static void an_inbox_with_a_nul_is_one_row(void **state)
{
    trace_rows_add_answer(*state, STR("m"),
                          STR("delivered 202 1 https://a/\0b\nretried 0 2 https://a/"));
    assert_int_equal(only(*state)->state, TRACE_RETRIED);
}

static void add_logged(struct trace_rows *rows, enum health_result result, int64_t at_ms)
{
    bool good = result == HEALTH_DELIVERED;
    const struct trace_logged logged = {.inbox = inbox,
                                        .result = result,
                                        .status = good ? 202 : 503,
                                        .at_ms = at_ms,
                                        .attempt = 3,
                                        .machine = STR("old:1:x"),
                                        .error = good ? STR_NULL : STR("returned code 503")};
    trace_rows_add_logged(rows, &logged);
}

static void a_log_tells_what_nobody_remembers(void **state)
{
    add_logged(*state, HEALTH_DELIVERED, 900);
    assert_int_equal(only(*state)->state, TRACE_DELIVERED);
    assert_int_equal(only(*state)->source, TRACE_BY_LOG);
    assert_int_equal(only(*state)->at_ms, 900);
    assert_string_equal(only(*state)->machine, "old:1:x");
    add_logged(*state, HEALTH_EXHAUSTED, 800); /* logs come in any order */
    assert_int_equal(only(*state)->state, TRACE_DELIVERED);
    add_logged(*state, HEALTH_EXHAUSTED, 950);
    assert_int_equal(only(*state)->state, TRACE_EXHAUSTED);
    assert_int_equal(only(*state)->failures, 3);
    assert_string_equal(only(*state)->error, "returned code 503");
}

static void a_failure_without_a_job_is_an_open_end(void **state)
{
    add_logged(*state, HEALTH_RETRIED, 900);
    assert_int_equal(only(*state)->state, TRACE_GONE);
    /* A memory that knows the same attempt has no words for it. */
    trace_rows_add_answer(*state, STR("m:1:x"), STR("retried 503 900 https://a.example/inbox"));
    assert_int_equal(only(*state)->source, TRACE_BY_MEMORY);
    assert_string_equal(only(*state)->error, "returned code 503");
    trace_rows_add_answer(*state, STR("m:1:x"), STR("delivered 202 950 https://a.example/inbox"));
    assert_int_equal(only(*state)->state, TRACE_DELIVERED);
    assert_null(only(*state)->error);
    assert_int_equal(only(*state)->failures, 0);
}

static void a_job_is_newer_than_what_a_log_says(void **state)
{
    add_logged(*state, HEALTH_RETRIED, 900);
    add_job(*state, TRACE_RETRY, 2000);
    assert_int_equal(only(*state)->state, TRACE_RETRIED);
    assert_int_equal(only(*state)->source, TRACE_BY_JOB);
    assert_int_equal(only(*state)->at_ms, 900);
    assert_int_equal(only(*state)->status, 503);
    add_logged(*state, HEALTH_DELIVERED, 950);
    assert_int_equal(only(*state)->state, TRACE_RETRIED);
    add_logged(*state, HEALTH_DELIVERED, LOOKED_MS);
    assert_int_equal(only(*state)->state, TRACE_DELIVERED);
    assert_int_equal(only(*state)->source, TRACE_BY_LOG);
}

static void trouble_comes_first(void **state)
{
    size_t count;

    trace_rows_add_answer(*state, STR("m"),
                          STR("delivered 202 1 https://a/\nretried 0 1 https://c/\n"
                              "retried 0 1 https://b/\nin_flight 0 0 https://d/"));
    struct trace_row **sorted = trace_rows_sorted(*state, &count);
    assert_int_equal(count, 4);
    assert_string_equal(sorted[0]->inbox, "https://d/");
    assert_string_equal(sorted[1]->inbox, "https://b/");
    assert_string_equal(sorted[2]->inbox, "https://c/");
    assert_string_equal(sorted[3]->inbox, "https://a/");
    free(sorted);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_activity_has_several_names),
        cmocka_unit_test(what_is_no_address_is_refused),
        cmocka_unit_test(a_number_tells_when_a_post_was_made),
        cmocka_unit_test_setup_teardown(a_log_tells_what_nobody_remembers, setup, teardown),
        cmocka_unit_test_setup_teardown(a_failure_without_a_job_is_an_open_end, setup, teardown),
        cmocka_unit_test_setup_teardown(a_job_is_newer_than_what_a_log_says, setup, teardown),
        cmocka_unit_test_setup_teardown(a_job_that_moved_is_where_it_was_seen_last, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(an_outcome_after_the_look_ends_what_was_seen, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(an_older_outcome_tells_only_how_it_went, setup, teardown),
        cmocka_unit_test_setup_teardown(of_two_machines_the_later_outcome_counts, setup, teardown),
        cmocka_unit_test_setup_teardown(what_a_machine_has_in_flight_is_there, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_not_understood_is_left_out, setup, teardown),
        cmocka_unit_test_setup_teardown(an_inbox_with_a_nul_is_one_row, setup, teardown),
        cmocka_unit_test_setup_teardown(trouble_comes_first, setup, teardown),
    };

    if (sodium_init() == -1)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
