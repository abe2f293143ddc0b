#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "sched/claim.h"

static void test_what_is_put_is_parsed_again(void **state)
{
    static const struct {
        enum claim_origin origin;
        struct str score, payload, value;
    } cases[] = {
        {ORIGIN_QUEUE, {NULL, 0}, {"{\"a\":1}", 7}, {"q\n{\"a\":1}", 9}},
        {ORIGIN_PULL, {NULL, 0}, {"{}", 2}, {"p\n{}", 4}},
        {ORIGIN_RETRY, {"1700000000.25", 13}, {"{}", 2}, {"r1700000000.25\n{}", 17}},
        {ORIGIN_SCHEDULE, {"7", 1}, {"a\nb\0c", 5}, {"s7\na\nb\0c", 8}},
        {ORIGIN_QUEUE, {NULL, 0}, {"", 0}, {"q\n", 2}},
    };
    (void)state;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct claim *claim = claim_create(5, cases[i].origin, cases[i].score, cases[i].payload);
        enum claim_origin origin;
        struct str score, payload;
        struct buf out;
        buf_init(&out, 256);
        claim_value_put(&out, claim);
        assert_true(str_equal(buf_str(&out), cases[i].value));
        assert_true(claim_value_parse(buf_str(&out), &origin, &score, &payload));
        assert_int_equal(origin, cases[i].origin);
        assert_true(str_equal(score, cases[i].score));
        assert_true(str_equal(payload, cases[i].payload));
        assert_int_equal(claim_bytes(claim), 2 * cases[i].payload.len);
        buf_clear(&out);
        claim_destroy(claim);
    }
}

static void test_values_of_another_form_are_refused(void **state)
{
    static const struct str values[] = {
        {NULL, 0},     {"q", 1},     {"\n{}", 3},  {"q1\n{}", 5}, /* a queue has no scores */
        {"p1\n{}", 5}, {"r\n{}", 4}, {"s\n{}", 4}, {"x\n{}", 4},  {"r1.5 {}", 7}, {"{\"a\":1}", 7},
    };
    enum claim_origin origin;
    struct str score, payload;
    (void)state;

    for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++)
        assert_false(claim_value_parse(values[i], &origin, &score, &payload));
}

static void test_a_claim_owns_a_copy(void **state)
{
    char bytes[] = "{\"a\":1}";
    struct claim *claim = claim_create(UINT64_MAX, ORIGIN_RETRY, STR("1.5"), str_of(bytes));
    (void)state;

    memset(bytes, 'x', sizeof(bytes) - 1);
    assert_string_equal(claim->payload, "{\"a\":1}");
    assert_string_equal(claim->score, "1.5");
    assert_true(claim->seq == UINT64_MAX);
    assert_int_equal(claim->state, CLAIM_NEW);
    claim_destroy(claim);
    claim_destroy(NULL);
}

/* Redis never prints one so long; it must not run over. */
static void test_a_score_that_does_not_fit_is_left_out(void **state)
{
    static const char score[] = "12345678901234567890123456789012";
    (void)state;

    struct claim *claim = claim_create(1, ORIGIN_RETRY, (struct str){score, 32}, STR("{}"));
    assert_string_equal(claim->score, "");
    claim_destroy(claim);
    claim = claim_create(1, ORIGIN_RETRY, (struct str){score, 31}, STR("{}"));
    assert_int_equal(strlen(claim->score), 31);
    claim_destroy(claim);
}

/* Everything it may hold is freed with it: the sanitizer watches. */
static void test_destroy_frees_what_was_found_out(void **state)
{
    struct claim *claim = claim_create(1, ORIGIN_QUEUE, STR_NULL,
                                       STR("{\"class\":\"ActivityPub::DeliveryWorker\",\"args\":"
                                           "[\"{}\",1,\"https://remote.test/inbox\"]}"));
    struct json *json = json_create();
    struct err err;
    (void)state;

    job_parse(&claim->job, json, (struct str){claim->payload, claim->payload_bytes});
    claim->parsed = true;
    assert_int_equal(claim->job.kind, JOB_DELIVERY);
    assert_int_equal(url_parse(&claim->url, claim->job.inbox_url, &err), FP_OK);
    claim->has_url = true;
    claim->tracker_host = url_tracker_host(claim->job.inbox_url);
    json_destroy(json);
    claim_destroy(claim);
}

static void test_holds_double_up_to_half_a_minute(void **state)
{
    static const int64_t expected_ms[] = {1000, 2000, 4000, 8000, 16000, 30000, 30000, 30000};
    struct claim claim = {.holds = 0};
    (void)state;

    for (size_t i = 0; i < sizeof(expected_ms) / sizeof(expected_ms[0]); i++)
        assert_int_equal(claim_hold_ms(&claim), expected_ms[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_put_is_parsed_again),
        cmocka_unit_test(test_values_of_another_form_are_refused),
        cmocka_unit_test(test_a_claim_owns_a_copy),
        cmocka_unit_test(test_a_score_that_does_not_fit_is_left_out),
        cmocka_unit_test(test_destroy_frees_what_was_found_out),
        cmocka_unit_test(test_holds_double_up_to_half_a_minute),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
