/* Claims in doubt: who gets them back, when, and with which outcome. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>
#include <sodium.h>

#include "sched/doubts.h"

enum { NOW_MS = 10000000 };

static struct rng rng;

struct fixture {
    struct lanes *lanes;
    struct doubts *doubts;
    struct claim *claims[40];
    int count;
};

static void create(struct fixture *f)
{
    const struct lane_options options = {
        .workers = 1, .host_window = 8, .max_in_flight = 100, .lookahead_jobs = 1000, .rng = &rng};
    *f = (struct fixture){.lanes = lanes_create(&options), .doubts = doubts_create()};
}

static void destroy(struct fixture *f)
{
    doubts_destroy(f->doubts);
    lanes_destroy(f->lanes);
    for (int i = 0; i < f->count; i++)
        claim_destroy(f->claims[i]);
}

/* One delivery to a host that was good until now, with this answer; a failure is doubted. */
static struct claim *deliver(struct fixture *f, enum lane_answer answer, int64_t now_ms)
{
    const struct lane_result result = {.answer = answer, .total_ms = 10};
    struct claim *claim = claim_create((uint64_t)f->count + 1, ORIGIN_QUEUE, STR_NULL, STR("{}"));
    char text[32];

    f->claims[f->count] = claim;
    claim->job.retry_count = -1;
    snprintf(text, sizeof(text), "h%d.example", f->count++);
    lanes_learn(f->lanes, str_of(text), false, now_ms - 1000, now_ms);
    lanes_add(f->lanes, lanes_get(f->lanes, str_of(text), now_ms), claim, false, now_ms);
    assert_ptr_equal(lanes_next(f->lanes, 0, now_ms), claim);
    lanes_start(f->lanes, claim, now_ms);
    lanes_landed(f->lanes, claim, &result, now_ms);
    if (answer == LANE_TRANSPORT) {
        const struct message_outcome outcome = {.kind = OUTCOME_TRANSPORT,
                                                .error_class = STR("HTTP::ConnectionError"),
                                                .error_message = str_of(text)};
        assert_true(doubts_add(f->doubts, claim, &outcome, now_ms));
        assert_int_equal(claim->state, CLAIM_DOUBT);
    }
    return claim;
}

static struct claim *next(struct fixture *f, int64_t now_ms, enum doubt *verdict,
                          struct message_outcome *outcome)
{
    return doubts_next(f->doubts, f->lanes, now_ms, verdict, outcome);
}

static void test_without_more_news_it_was_theirs(void **state)
{
    struct fixture f;
    struct message_outcome outcome;
    enum doubt verdict;
    (void)state;

    create(&f);
    struct claim *first = deliver(&f, LANE_TRANSPORT, NOW_MS);
    deliver(&f, LANE_TRANSPORT, NOW_MS + 5000);
    assert_null(next(&f, NOW_MS + SUSPICION_DOUBT_MS - 1, &verdict, &outcome));
    assert_int_equal(doubts_count(f.doubts), 2);
    assert_ptr_equal(next(&f, NOW_MS + SUSPICION_DOUBT_MS, &verdict, &outcome), first);
    assert_int_equal(verdict, DOUBT_THEIRS);
    assert_int_equal(first->state, CLAIM_NEW);
    assert_true(str_equal(outcome.error_class, STR("HTTP::ConnectionError")));
    assert_true(str_equal(outcome.error_message, STR("h0.example")));
    assert_null(next(&f, NOW_MS + SUSPICION_DOUBT_MS, &verdict, &outcome));
    destroy(&f);
}

static void test_when_others_answer_it_was_theirs_at_once(void **state)
{
    struct fixture f;
    struct message_outcome outcome;
    enum doubt verdict;
    (void)state;

    create(&f);
    deliver(&f, LANE_TRANSPORT, NOW_MS);
    for (int i = 0; i < 10; i++)
        deliver(&f, LANE_ANSWERED, NOW_MS);
    assert_non_null(next(&f, NOW_MS + 1, &verdict, &outcome));
    assert_int_equal(verdict, DOUBT_THEIRS);
    destroy(&f);
}

static void test_when_all_fail_it_was_ours(void **state)
{
    struct fixture f;
    struct message_outcome outcome;
    enum doubt verdict;
    (void)state;

    create(&f);
    for (int i = 0; i < SUSPICION_HOSTS; i++)
        deliver(&f, LANE_TRANSPORT, NOW_MS);
    for (int i = 0; i < SUSPICION_HOSTS; i++) {
        assert_ptr_equal(next(&f, NOW_MS, &verdict, &outcome), f.claims[i]);
        assert_int_equal(verdict, DOUBT_OURS);
    }
    assert_null(next(&f, NOW_MS, &verdict, &outcome));
    destroy(&f);
}

static void test_they_are_bounded_and_can_be_taken_out(void **state)
{
    struct fixture f;
    struct claim claims[DOUBTS_MAX + 1] = {0};
    const struct message_outcome outcome = {.kind = OUTCOME_TRANSPORT};
    (void)state;

    create(&f);
    for (int i = 0; i < DOUBTS_MAX; i++)
        assert_true(doubts_add(f.doubts, &claims[i], &outcome, NOW_MS));
    assert_false(doubts_add(f.doubts, &claims[DOUBTS_MAX], &outcome, NOW_MS));
    assert_int_equal(claims[DOUBTS_MAX].state, CLAIM_NEW);
    doubts_remove(f.doubts, &claims[5]);
    assert_int_equal(claims[5].state, CLAIM_NEW);
    assert_int_equal(doubts_count(f.doubts), DOUBTS_MAX - 1);
    doubts_forget(f.doubts);
    assert_int_equal(doubts_count(f.doubts), 0);
    destroy(&f);
}

static int start(void **state)
{
    (void)state;
    rng = rng_system();
    return sodium_init() < 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_without_more_news_it_was_theirs),
        cmocka_unit_test(test_when_others_answer_it_was_theirs_at_once),
        cmocka_unit_test(test_when_all_fail_it_was_ours),
        cmocka_unit_test(test_they_are_bounded_and_can_be_taken_out),
    };
    return cmocka_run_group_tests(tests, start, NULL);
}
