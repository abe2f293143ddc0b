/* The outcome matrix of ActivityPub::DeliveryWorker, row by row and by version. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "sched/judge.h"

static const struct mastodon_version v4_2 = {.major = 4, .minor = 2, .patch = 0};
static const struct mastodon_version v4_3_7 = {.major = 4, .minor = 3, .patch = 7};
static const struct mastodon_version v4_3_8 = {.major = 4, .minor = 3, .patch = 8};
static const struct mastodon_version v4_5_15 = {.major = 4, .minor = 5, .patch = 15};
static const struct mastodon_version v4_6 = {.major = 4, .minor = 6, .patch = 0};
static const struct mastodon_version v4_7 = {.major = 4, .minor = 7, .patch = 1};
static const struct mastodon_version *const versions[] = {&v4_2,    &v4_3_7, &v4_3_8,
                                                          &v4_5_15, &v4_6,   &v4_7};
enum { VERSIONS = sizeof(versions) / sizeof(versions[0]) };

static struct job make_job(int64_t account_id)
{
    return (struct job){.account_id = account_id, .inbox_url = STR("https://A.example/inbox")};
}

static struct judgement of(struct message_outcome outcome, const struct mastodon_version *version,
                           int64_t account_id, int sender_gone)
{
    struct job job = make_job(account_id);
    struct judgement j;
    judge(&j, &outcome, version, &job, sender_gone);
    return j;
}

static struct judgement of_status(unsigned status, const struct mastodon_version *version)
{
    struct judgement j =
        of((struct message_outcome){.kind = OUTCOME_RESPONSE, .status = (uint16_t)status}, version,
           1, -1);
    assert_true(j.attempted);
    assert_true(j.recorded);
    assert_false(j.transport_failure); /* the host answered */
    return j;
}

static void test_success(void **state)
{
    static const unsigned statuses[] = {200, 201, 202, 204, 299};
    (void)state;

    for (size_t v = 0; v < VERSIONS; v++) {
        for (size_t i = 0; i < 5; i++) {
            struct judgement j = of_status(statuses[i], versions[v]);
            assert_int_equal(j.sentence, SENTENCE_DONE);
            assert_int_equal(j.track, TRACK_SUCCESS);
            assert_int_equal(j.result, HEALTH_DELIVERED);
        }
    }
}

static void test_unsalvageable_counts_by_version(void **state)
{
    static const unsigned statuses[] = {400, 403, 404, 405, 406, 410, 413, 422, 451, 499, 501};
    (void)state;

    for (size_t v = 0; v < VERSIONS; v++) {
        bool counts = versions[v] != &v4_6 && versions[v] != &v4_7;
        for (size_t i = 0; i < sizeof(statuses) / sizeof(statuses[0]); i++) {
            struct judgement j = of_status(statuses[i], versions[v]);
            assert_int_equal(j.sentence, SENTENCE_DONE);
            assert_int_equal(j.track, counts ? TRACK_SUCCESS : TRACK_NOTHING);
            assert_int_equal(j.result, HEALTH_REJECTED);
        }
    }
}

static void test_other_statuses_are_retried(void **state)
{
    static const unsigned statuses[] = {100, 199, 300, 304, 399, 401, 408, 429,
                                        500, 502, 503, 504, 526, 599, 999};
    char message[128];
    (void)state;

    for (size_t v = 0; v < VERSIONS; v++) {
        for (size_t i = 0; i < sizeof(statuses) / sizeof(statuses[0]); i++) {
            struct judgement j = of_status(statuses[i], versions[v]);
            assert_int_equal(j.sentence, SENTENCE_RETRY);
            assert_int_equal(j.track, TRACK_FAILURE);
            assert_int_equal(j.result, HEALTH_RETRIED);
            assert_true(str_equal(j.error_class, STR("Mastodon::UnexpectedResponseError")));
            snprintf(message, sizeof(message), "https://A.example/inbox returned code %u",
                     statuses[i]);
            assert_string_equal(j.error_message, message);
        }
    }
}

static struct judgement of_401(const struct mastodon_version *version, bool suspended, int64_t id,
                               int gone)
{
    return of((struct message_outcome){.kind = OUTCOME_RESPONSE,
                                       .status = 401,
                                       .sender_suspended = suspended},
              version, id, gone);
}

static void test_401_to_a_sender_that_is_gone(void **state)
{
    (void)state;
    for (size_t v = 0; v < VERSIONS; v++) {
        bool rule = v >= 2;
        bool counts = v == 2 || v == 3;
        assert_int_equal(of_401(versions[v], false, 1, -1).sentence, SENTENCE_RETRY);
        assert_int_equal(of_401(versions[v], true, 1, -1).sentence,
                         rule ? SENTENCE_ASK : SENTENCE_RETRY);
        assert_int_equal(of_401(versions[v], true, 1, 0).sentence, SENTENCE_RETRY);
        struct judgement j = of_401(versions[v], true, 1, 1);
        assert_int_equal(j.sentence, rule ? SENTENCE_DONE : SENTENCE_RETRY);
        assert_int_equal(j.track, !rule ? TRACK_FAILURE : counts ? TRACK_SUCCESS : TRACK_NOTHING);
        /* The instance actor is never gone. */
        assert_int_equal(of_401(versions[v], true, -99, 1).sentence, SENTENCE_RETRY);
    }
    struct message_outcome forbidden = {
        .kind = OUTCOME_RESPONSE, .status = 503, .sender_suspended = 1};
    assert_int_equal(of(forbidden, &v4_7, 1, -1).sentence, SENTENCE_RETRY); /* 401 alone */
}

static struct message_outcome failed(enum outcome_kind kind)
{
    return (struct message_outcome){.kind = (uint8_t)kind,
                                    .failure = FAILURE_REFUSED,
                                    .error_class = STR("Some::Error"),
                                    .error_message = STR("said so")};
}

static void test_hosts_that_ask_for_time(void **state)
{
    struct message_outcome busy = {
        .kind = OUTCOME_RESPONSE, .status = 503, .retry_after_ms = 90000};
    (void)state;

    struct judgement j = of(busy, &v4_5_15, 1, -1);
    assert_int_equal(j.sentence, SENTENCE_RETRY);
    assert_int_equal(j.retry_after_ms, 90000);
    assert_int_equal(of_status(503, &v4_5_15).retry_after_ms, 0);
    assert_int_equal(of_status(202, &v4_5_15).failure, FAILURE_NONE);
}

static void test_no_answer(void **state)
{
    (void)state;
    struct judgement j = of(failed(OUTCOME_TRANSPORT), &v4_5_15, 1, -1);
    assert_int_equal(j.sentence, SENTENCE_RETRY);
    assert_int_equal(j.track, TRACK_FAILURE);
    assert_true(j.attempted && j.transport_failure && j.recorded);
    assert_int_equal(j.failure, FAILURE_REFUSED);
    assert_int_equal(j.result, HEALTH_RETRIED);
    assert_true(str_equal(j.error_class, STR("Some::Error")));
    assert_string_equal(j.error_message, "said so");

    struct message_outcome outcome = failed(OUTCOME_TRANSPORT);
    outcome.failure = FAILURE_UNSERVED; /* as Mastodon: its job must end some day */
    j = of(outcome, &v4_5_15, 1, -1);
    assert_int_equal(j.sentence, SENTENCE_RETRY);
    assert_int_equal(j.track, TRACK_FAILURE);
    outcome.failure = FAILURE_RESOLVER;
    j = of(outcome, &v4_5_15, 1, -1);
    assert_int_equal(j.sentence, SENTENCE_WAIT);
    assert_int_equal(j.track, TRACK_NOTHING);
    assert_false(j.attempted || j.recorded);

    j = of(failed(OUTCOME_REFUSED), &v4_5_15, 1, -1); /* Mastodon swallows it */
    assert_int_equal(j.sentence, SENTENCE_DONE);
    assert_int_equal(j.track, TRACK_FAILURE);
    assert_true(j.recorded);
    assert_false(j.attempted || j.transport_failure);
    assert_int_equal(j.result, HEALTH_REJECTED);
}

static void test_no_key(void **state)
{
    (void)state;
    struct judgement j = of(failed(OUTCOME_SENDER_MISSING), &v4_5_15, 116543210987654321, -1);
    assert_int_equal(j.sentence, SENTENCE_RETRY);
    assert_int_equal(j.track, TRACK_NOTHING);
    assert_false(j.attempted || j.recorded);
    assert_true(str_equal(j.error_class, STR("ActiveRecord::RecordNotFound")));
    assert_string_equal(j.error_message, "Couldn't find Account with 'id'=116543210987654321");

    j = of(failed(OUTCOME_KEY_UNUSABLE), &v4_5_15, 1, -1);
    assert_int_equal(j.sentence, SENTENCE_RETRY);
    assert_int_equal(j.track, TRACK_FAILURE);
    assert_false(j.attempted || j.recorded);
    assert_string_equal(j.error_message, "said so");

    j = of(failed(OUTCOME_KEY_WAIT), &v4_5_15, 1, -1);
    assert_int_equal(j.sentence, SENTENCE_WAIT);
    assert_int_equal(j.track, TRACK_NOTHING);
    assert_false(j.attempted || j.recorded);

    j = of(failed(OUTCOME_NOT_TRIED), &v4_5_15, 1, -1);
    assert_int_equal(j.sentence, SENTENCE_AGAIN);
    assert_int_equal(j.track, TRACK_NOTHING);
    assert_false(j.attempted || j.recorded);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_success),
        cmocka_unit_test(test_unsalvageable_counts_by_version),
        cmocka_unit_test(test_other_statuses_are_retried),
        cmocka_unit_test(test_401_to_a_sender_that_is_gone),
        cmocka_unit_test(test_hosts_that_ask_for_time),
        cmocka_unit_test(test_no_answer),
        cmocka_unit_test(test_no_key),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
