/* Why what waits for a host is or isn't being sent: each state of a lane in its own words. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <sodium.h>

#include "sched/lane.h"

enum { MAX_CLAIMS = 32, NOW_MS = 10000000, WINDOW = 4, SLOTS = 16 };

static struct rng rng;

struct fixture {
    struct lanes *lanes;
    struct lane *lane; /* of a.example */
    struct claim *claims[MAX_CLAIMS];
    size_t count;
    struct lane_outside outside;
    int64_t now_ms;
};

static void create_at_rate(struct fixture *f, double max_rate)
{
    const struct lane_options options = {.workers = 1,
                                         .host_window = WINDOW,
                                         .max_in_flight = SLOTS,
                                         .lookahead_jobs = 1000,
                                         .max_rate = max_rate,
                                         .rng = &rng};
    *f = (struct fixture){.lanes = lanes_create(&options), .now_ms = NOW_MS};
    lanes_learn(f->lanes, STR("a.example"), false, 0, f->now_ms);
    f->lane = lanes_get(f->lanes, STR("a.example"), f->now_ms);
    f->lane->window.size = WINDOW;
}

static void create(struct fixture *f)
{
    create_at_rate(f, 0);
}

static void destroy(struct fixture *f)
{
    lanes_destroy(f->lanes);
    for (size_t i = 0; i < f->count; i++)
        claim_destroy(f->claims[i]);
}

static struct claim *add_to(struct fixture *f, struct lane *lane, uint64_t pair, bool low)
{
    assert_true(f->count < MAX_CLAIMS);
    struct claim *claim = claim_create(f->count + 1, ORIGIN_QUEUE, STR_NULL, STR("{}"));
    claim->job.retry_count = -1;
    claim->pair = pair;
    claim->low = low;
    f->claims[f->count++] = claim;
    lanes_add(f->lanes, lane, claim, false, f->now_ms);
    return claim;
}

static void add(struct fixture *f, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        add_to(f, f->lane, 0, false);
}

static struct claim *next(struct fixture *f)
{
    struct claim *claim = lanes_next(f->lanes, 0, f->now_ms);

    if (claim != NULL && !lanes_is_probe(claim->lane))
        lanes_start(f->lanes, claim, f->now_ms);
    return claim;
}

static void land(struct fixture *f, struct claim *claim, struct lane_result result)
{
    result.total_ms = 100;
    lanes_landed(f->lanes, claim, &result, f->now_ms);
}

static void assert_says(const struct fixture *f, const char *reason)
{
    struct said said;

    said_init(&said, 4096);
    lanes_explain(f->lanes, f->lane, &f->outside, &said, f->now_ms);
    const char *text = buf_cstr(&said.text);
    assert_memory_equal(text, "a.example: ", strlen("a.example: "));
    text += strlen("a.example: ");
    if (strncmp(text, reason, strlen(reason)) != 0 || text[strlen(reason)] != ';')
        fail_msg("\"%s\" isn't \"%s\"", text, reason);
    said_clear(&said);
}

static void what_is_sent_is_said(void **state)
{
    struct fixture f;
    (void)state;

    create(&f);
    assert_says(&f, "nothing waits here");
    add(&f, 1);
    assert_says(&f, "its turn comes");
    assert_non_null(next(&f));
    assert_says(&f, "sending all there is");
    add(&f, 4);
    for (int i = 0; i < 3; i++)
        assert_non_null(next(&f));
    assert_says(&f, "sending as much as its window allows");
    destroy(&f);
}

static void a_host_that_never_answered_gets_one(void **state)
{
    struct fixture f;
    (void)state;

    create(&f);
    lanes_learn(f.lanes, STR("a.example"), true, 0, f.now_ms);
    add(&f, 2);
    assert_non_null(next(&f));
    assert_says(&f, "sending, one at a time until it succeeds");
    destroy(&f);
}

static void what_an_admin_ordered_is_said(void **state)
{
    struct fixture f;
    struct lane_limits limits = {.max_window = 2};
    (void)state;

    create(&f);
    add(&f, 4);
    lanes_restrict(f.lanes, f.lane, &limits, f.now_ms);
    assert_non_null(next(&f));
    assert_non_null(next(&f));
    assert_says(&f, "sending as many at once as an admin allows");
    f.lane->window.size = 2; /* no wider without the order */
    assert_says(&f, "sending as much as its window allows");
    limits = (struct lane_limits){.min_gap_ms = 20000};
    lanes_restrict(f.lanes, f.lane, &limits, f.now_ms);
    assert_says(&f, "an admin has limited its rate: the next one is due in 20 s");
    f.outside.passes = 1;
    assert_says(
        &f, "its window of 1 is smaller than the fleet: this machine passes its jobs on to those "
            "that serve it");
    limits = (struct lane_limits){.paused = true};
    lanes_restrict(f.lanes, f.lane, &limits, f.now_ms);
    assert_says(&f, "an admin has paused it");
    f.outside.proxy = "eu";
    assert_says(&f, "an admin has ordered proxy eu, which FEDPUSH_PROXIES of this machine lacks: "
                    "it sends nothing there");
    destroy(&f);
}

static void what_the_host_asked_for_is_said(void **state)
{
    struct fixture f;
    (void)state;

    create(&f);
    add(&f, 4);
    land(&f, next(&f), (struct lane_result){.answer = LANE_PUSHED_BACK, .hold_ms = 300000});
    assert_says(&f, "it asked for time (Retry-After): nothing is sent to it for 5 min");
    lanes_remove(f.lanes, f.claims[1], f.now_ms);
    lanes_remove(f.lanes, f.claims[2], f.now_ms);
    lanes_remove(f.lanes, f.claims[3], f.now_ms);
    assert_says(&f, "it asked for time (Retry-After): nothing is sent to it for 5 min");
    add(&f, 1);
    f.lane->window.not_before_ms = 0;
    f.lane->window.started_ms = f.now_ms;
    f.lane->window.gap_ms = 2500;
    f.lane->circuit.failures = 0;
    assert_says(&f, "it pushes back (429 or 503): the next one is due in 3 s");
    destroy(&f);
}

static void a_host_that_fails_is_waited_for(void **state)
{
    struct fixture f;
    (void)state;

    create(&f);
    add(&f, 8);
    land(&f, next(&f), (struct lane_result){.answer = LANE_TRANSPORT});
    assert_says(&f, "it failed 1 times in a row: the next try is due in 1 s");
    for (int i = 1; i < 8; i++)
        lanes_remove(f.lanes, f.claims[i], f.now_ms);
    assert_says(&f, "it failed 1 times in a row, and nothing waits here");
    add(&f, 1);
    lanes_adopt_open(f.lanes, f.lane, f.now_ms - 60000, f.now_ms + 30000, 30000, f.now_ms);
    assert_says(&f, "its circuit has been open for 60 s, the next probe is due in 30 s");
    f.now_ms += 40000;
    assert_says(&f, "its circuit has been open for 100 s, and a probe is due: the next job "
                    "to arrive is it");
    f.outside.probed = true;
    assert_says(&f, "its circuit has been open for 100 s, another machine is probing it");
    lanes_wake(f.lanes, f.now_ms);
    assert_true(lanes_is_probe(f.lane));
    lanes_probe_asked(f.lanes, f.lane, f.now_ms);
    assert_says(&f, "its circuit has been open for 100 s, a probe is under way");
    destroy(&f);
}

static void a_silent_resolver_is_not_taken_for_the_host(void **state)
{
    struct fixture f;
    (void)state;

    create(&f);
    add(&f, 2);
    land(&f, next(&f), (struct lane_result){.answer = LANE_UNRESOLVED});
    assert_says(&f, "no resolver has answered for its name: nothing is sent to it for 2 s");
    destroy(&f);
}

static void the_order_of_a_pair_is_said(void **state)
{
    struct fixture f;
    (void)state;

    create(&f);
    struct claim *first = add_to(&f, f.lane, 7, false);
    add_to(&f, f.lane, 7, false);
    assert_ptr_equal(next(&f), first);
    assert_null(next(&f));
    assert_says(&f, "what waits goes one by one for each sender and inbox");
    land(&f, first, (struct lane_result){.answer = LANE_ANSWERED});
    first->job.created_at_s = 1;
    f.claims[1]->job.created_at_s = 2;
    lanes_left(f.lanes, first, f.now_ms + 60000, f.now_ms); /* it was booked */
    assert_null(next(&f));
    assert_says(&f, "what waits comes after older jobs of the same senders and inboxes, which were "
                    "put off");
    destroy(&f);
}

static void an_answer_about_availability_is_awaited(void **state)
{
    struct fixture f;
    (void)state;

    create(&f);
    add(&f, 1);
    lanes_block(f.lanes, f.lane, true, f.now_ms);
    assert_says(&f, "it is being asked whether Mastodon holds it for unavailable");
    destroy(&f);
}

static void a_machine_that_is_still_says_so_first(void **state)
{
    struct fixture f;
    (void)state;

    create(&f);
    add(&f, 2);
    f.outside.still = true;
    assert_says(&f, "nothing of its own holds it back");
    assert_non_null(next(&f));
    assert_says(&f, "what is in flight ends, and nothing more is sent");
    lanes_adopt_open(f.lanes, f.lane, f.now_ms, f.now_ms + 30000, 30000, f.now_ms);
    assert_says(&f, "its circuit has been open for 0 s, the next probe is due in 30 s");
    destroy(&f);
}

static void what_others_take_is_said(void **state)
{
    struct fixture f;
    (void)state;

    create(&f);
    add(&f, 1);
    f.outside.busy = true;
    assert_says(&f, "its turn comes: its worker takes no more at the moment");
    f.outside.busy = false;
    struct lane *other = lanes_get(f.lanes, STR("b.example"), f.now_ms);
    lanes_learn(f.lanes, STR("b.example"), false, 0, f.now_ms);
    other->window.size = SLOTS;
    lanes_block(f.lanes, f.lane, true, f.now_ms);
    for (int i = 0; i < 4; i++) { /* four hosts with a window of four fill all slots */
        char host[] = "0.example";
        host[0] = (char)('0' + i);
        lanes_learn(f.lanes, str_of(host), false, 0, f.now_ms);
        other = lanes_get(f.lanes, str_of(host), f.now_ms);
        other->window.size = WINDOW;
        for (int n = 0; n < WINDOW; n++)
            add_to(&f, other, 0, false);
    }
    for (int i = 0; i < SLOTS; i++)
        assert_non_null(next(&f));
    lanes_block(f.lanes, f.lane, false, f.now_ms);
    assert_says(&f, "its turn comes: all slots of this machine are in use (FEDPUSH_MAX_IN_FLIGHT)");
    destroy(&f);
}

static void the_rate_of_the_fleet_is_said(void **state)
{
    struct fixture f;
    (void)state;

    create_at_rate(&f, 1);
    add(&f, 3);
    while (next(&f) != NULL)
        continue;
    assert_says(&f, "its turn comes: FEDPUSH_MAX_RATE is reached");
    destroy(&f);
}

static void suspects_have_a_share_of_the_slots(void **state)
{
    struct fixture f;
    (void)state;

    create(&f);
    for (int i = 0; i < SLOTS; i++) {
        char host[] = "a.test";
        host[0] = (char)('a' + i);
        add_to(&f, lanes_get(f.lanes, str_of(host), f.now_ms), 0, false);
    }
    lanes_learn(f.lanes, STR("a.example"), true, 0, f.now_ms);
    while (next(&f) != NULL)
        continue;
    add(&f, 1);
    assert_says(&f, "its turn comes: hosts that may not answer have their share of the slots");
    destroy(&f);
}

static void jobs_of_the_lowest_priority_wait_for_others(void **state)
{
    struct fixture f;
    (void)state;

    create(&f);
    add_to(&f, f.lane, 0, true);
    assert_says(&f, "what waits has the lowest priority: it goes when others leave it a slot");
    add(&f, 1);
    assert_says(&f, "its turn comes");
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
        cmocka_unit_test(what_is_sent_is_said),
        cmocka_unit_test(a_host_that_never_answered_gets_one),
        cmocka_unit_test(what_an_admin_ordered_is_said),
        cmocka_unit_test(what_the_host_asked_for_is_said),
        cmocka_unit_test(a_host_that_fails_is_waited_for),
        cmocka_unit_test(a_silent_resolver_is_not_taken_for_the_host),
        cmocka_unit_test(the_order_of_a_pair_is_said),
        cmocka_unit_test(an_answer_about_availability_is_awaited),
        cmocka_unit_test(a_machine_that_is_still_says_so_first),
        cmocka_unit_test(what_others_take_is_said),
        cmocka_unit_test(the_rate_of_the_fleet_is_said),
        cmocka_unit_test(suspects_have_a_share_of_the_slots),
        cmocka_unit_test(jobs_of_the_lowest_priority_wait_for_others),
    };
    return cmocka_run_group_tests_name("lane_words", tests, start, NULL);
}
