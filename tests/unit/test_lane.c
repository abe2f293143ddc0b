/* Lanes are pure: claims go in, and what comes out is compared with what each rule promises. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>
#include <sodium.h>

#include "sched/lane.h"

enum { MAX_CLAIMS = 256 };

struct fixture {
    struct lanes *lanes;
    struct claim *claims[MAX_CLAIMS];
    size_t count;
};

static void create(struct fixture *f, unsigned workers, unsigned window, unsigned slots,
                   unsigned lookahead)
{
    const struct lane_options options = {.workers = workers,
                                         .host_window = window,
                                         .max_in_flight = slots,
                                         .lookahead_jobs = lookahead};
    *f = (struct fixture){.lanes = lanes_create(&options)};
}

static void destroy(struct fixture *f)
{
    lanes_destroy(f->lanes);
    for (size_t i = 0; i < f->count; i++)
        claim_destroy(f->claims[i]);
}

static struct claim *make(struct fixture *f, int64_t retry_count)
{
    assert_true(f->count < MAX_CLAIMS);
    struct claim *claim = claim_create(f->count + 1, ORIGIN_QUEUE, STR_NULL, STR("{}"));
    claim->job.retry_count = retry_count;
    f->claims[f->count++] = claim;
    return claim;
}

static struct lane *healthy(struct fixture *f, const char *host)
{
    lanes_learn(f->lanes, str_of(host), false, 0);
    return lanes_get(f->lanes, str_of(host), 0);
}

static struct lane *failing(struct fixture *f, const char *host)
{
    lanes_learn(f->lanes, str_of(host), true, 0);
    return lanes_get(f->lanes, str_of(host), 0);
}

static struct claim *add(struct fixture *f, struct lane *lane)
{
    struct claim *claim = make(f, -1);
    lanes_add(f->lanes, lane, claim, false);
    return claim;
}

static void land(struct fixture *f, struct claim *claim, bool failed)
{
    lanes_landed(f->lanes, claim, true, failed, 100, 0);
}

static void test_window_bounds_a_lane(void **state)
{
    struct fixture f;
    (void)state;

    create(&f, 1, 3, 100, 1000);
    struct lane *lane = healthy(&f, "a.example");
    for (int i = 0; i < 5; i++)
        add(&f, lane);
    for (size_t i = 0; i < 3; i++) { /* first come, first served */
        assert_ptr_equal(lanes_next(f.lanes, 0), f.claims[i]);
        assert_int_equal(f.claims[i]->state, CLAIM_FLIGHT);
    }
    assert_null(lanes_next(f.lanes, 0));
    assert_int_equal(lanes_in_flight(f.lanes), 3);
    assert_int_equal(lanes_waiting(f.lanes), 2);
    assert_int_equal(lanes_ready(f.lanes), 0);
    land(&f, f.claims[1], false);
    assert_int_equal(f.claims[1]->state, CLAIM_NEW);
    assert_null(f.claims[1]->lane);
    assert_ptr_equal(lanes_next(f.lanes, 0), f.claims[3]);
    assert_null(lanes_next(f.lanes, 0));
    destroy(&f);
}

static void test_suspect_lane_has_a_window_of_one(void **state)
{
    struct fixture f;
    (void)state;

    create(&f, 1, 3, 100, 1000);
    struct lane *lane = lanes_get(f.lanes, STR("new.example"), 0);
    assert_true(lane->suspect);
    for (int i = 0; i < 6; i++)
        add(&f, lane);
    struct claim *first = lanes_next(f.lanes, 0);
    assert_non_null(first);
    assert_null(lanes_next(f.lanes, 0));
    land(&f, first, false); /* one success opens it */
    assert_false(lane->suspect);
    struct claim *flown[3];
    for (int i = 0; i < 3; i++) {
        flown[i] = lanes_next(f.lanes, 0);
        assert_non_null(flown[i]);
    }
    assert_null(lanes_next(f.lanes, 0));
    land(&f, flown[0], true); /* one transport failure closes it: two are still in flight */
    assert_true(lane->suspect);
    assert_null(lanes_next(f.lanes, 0));
    lanes_landed(f.lanes, flown[1], false, false, 0, 0); /* no attempt: no opinion */
    assert_true(lane->suspect);
    assert_null(lanes_next(f.lanes, 0));
    land(&f, flown[2], true);
    assert_non_null(lanes_next(f.lanes, 0));
    destroy(&f);
}

static void test_slots_bound_all_lanes(void **state)
{
    struct fixture f;
    (void)state;

    create(&f, 1, 10, 4, 1000);
    struct lane *a = healthy(&f, "a.example");
    for (int i = 0; i < 6; i++)
        add(&f, a);
    for (int i = 0; i < 4; i++)
        assert_non_null(lanes_next(f.lanes, 0));
    assert_null(lanes_next(f.lanes, 0));
    assert_int_equal(lanes_ready(f.lanes), 1);
    destroy(&f);
}

static void test_lanes_take_turns(void **state)
{
    struct fixture f;
    (void)state;

    create(&f, 1, 10, 100, 10000);
    struct lane *lanes[3] = {healthy(&f, "a.example"), healthy(&f, "b.example"),
                             healthy(&f, "c.example")};
    for (int i = 0; i < 9; i++) /* a has all of its jobs before the others come */
        add(&f, lanes[i / 3]);
    for (int i = 0; i < 9; i++)
        assert_ptr_equal(lanes_next(f.lanes, 0)->lane, lanes[i % 3]);
    assert_null(lanes_next(f.lanes, 0));
    destroy(&f);
}

static void test_fourth_turn_is_a_retried_jobs(void **state)
{
    static const int64_t expected[] = {-1, -1, -1, 2, -1, -1, -1, 2, -1, 2, 2};
    struct fixture f;
    (void)state;

    create(&f, 1, 100, 100, 10000);
    struct lane *lane = healthy(&f, "a.example");
    for (int i = 0; i < 4; i++)
        lanes_add(f.lanes, lane, make(&f, 2), false);
    for (int i = 0; i < 7; i++)
        add(&f, lane);
    for (size_t i = 0; i < sizeof(expected) / sizeof(expected[0]); i++) {
        struct claim *claim = lanes_next(f.lanes, 0);
        assert_non_null(claim);
        assert_int_equal(claim->job.retry_count, expected[i]);
    }
    assert_null(lanes_next(f.lanes, 0));
    destroy(&f);
}

static unsigned suspects_in_flight(struct fixture *f, unsigned hosts)
{
    unsigned count = 0;
    char host[32];

    for (unsigned i = 0; i < hosts; i++) {
        snprintf(host, sizeof(host), "dead%u.example", i);
        add(f, failing(f, host));
    }
    while (lanes_next(f->lanes, 0) != NULL)
        count++;
    return count;
}

static void test_suspects_leave_a_quarter_free(void **state)
{
    struct fixture f;
    (void)state;

    create(&f, 1, 4, 16, 10000);
    assert_int_equal(suspects_in_flight(&f, 30), 12);
    struct lane *good = healthy(&f, "good.example"); /* what comes now finds free slots */
    for (int i = 0; i < 6; i++)
        add(&f, good);
    for (int i = 0; i < 4; i++)
        assert_ptr_equal(lanes_next(f.lanes, 0)->lane, good);
    assert_null(lanes_next(f.lanes, 0));
    destroy(&f);
}

/* Another worker's healthy lane counts too: its slots are of the same pool. */
static void test_suspects_hold_a_quarter_beside_healthy_work(void **state)
{
    struct fixture f;
    char host[32];
    struct lane *good = NULL;
    (void)state;

    create(&f, 2, 4, 16, 10000);
    for (unsigned i = 0; good == NULL; i++) {
        snprintf(host, sizeof(host), "good%u.example", i);
        struct lane *lane = healthy(&f, host);
        good = lane->worker == 1 ? lane : NULL;
    }
    add(&f, good);
    assert_int_equal(suspects_in_flight(&f, 40), 4);
    assert_ptr_equal(lanes_next(f.lanes, 1)->lane, good);
    unsigned more = 0; /* none is healthy and ready any more: up to three quarters */
    while (lanes_next(f.lanes, 0) != NULL)
        more++;
    assert_int_equal(more, 8);
    destroy(&f);
}

static void test_rings_are_the_workers_own(void **state)
{
    struct fixture f;
    char host[32];
    unsigned per_worker[3] = {0};
    (void)state;

    create(&f, 3, 4, 1000, 10000);
    for (unsigned i = 0; i < 60; i++) {
        snprintf(host, sizeof(host), "host%u.example", i);
        struct lane *lane = healthy(&f, host);
        assert_true(lane->worker < 3);
        assert_ptr_equal(lanes_get(f.lanes, str_of(host), 1), lane);
        per_worker[lane->worker]++;
        add(&f, lane);
    }
    for (unsigned w = 0; w < 3; w++) {
        assert_true(per_worker[w] > 5); /* all work */
        for (unsigned i = 0; i < per_worker[w]; i++)
            assert_int_equal(lanes_next(f.lanes, w)->lane->worker, w);
        assert_null(lanes_next(f.lanes, w));
    }
    destroy(&f);
}

static void test_blocked_lane_waits(void **state)
{
    struct fixture f;
    (void)state;

    create(&f, 1, 4, 100, 1000);
    struct lane *lane = healthy(&f, "a.example");
    add(&f, lane);
    lanes_block(f.lanes, lane, true);
    assert_null(lanes_next(f.lanes, 0));
    assert_int_equal(lanes_ready(f.lanes), 0);
    add(&f, lane); /* what comes meanwhile waits too */
    lanes_learn(f.lanes, STR("a.example"), true, 0);
    assert_null(lanes_next(f.lanes, 0)); /* a change of class doesn't unblock */
    lanes_learn(f.lanes, STR("a.example"), false, 0);
    lanes_block(f.lanes, lane, false);
    assert_ptr_equal(lanes_next(f.lanes, 0), f.claims[0]);
    destroy(&f);
}

static void test_return_to_the_head_and_removal(void **state)
{
    struct fixture f;
    (void)state;

    create(&f, 1, 4, 100, 1000);
    struct lane *lane = healthy(&f, "a.example");
    for (int i = 0; i < 3; i++)
        add(&f, lane);
    struct claim *first = lanes_next(f.lanes, 0);
    lanes_landed(f.lanes, first, false, false, 0, 0);
    lanes_add(f.lanes, lane, first, true);
    lanes_remove(f.lanes, f.claims[1]);
    assert_int_equal(f.claims[1]->state, CLAIM_NEW);
    assert_int_equal(lanes_waiting(f.lanes), 2);
    assert_ptr_equal(lanes_next(f.lanes, 0), f.claims[0]);
    assert_ptr_equal(lanes_next(f.lanes, 0), f.claims[2]);
    assert_null(lanes_next(f.lanes, 0));
    destroy(&f);
}

static void test_room_is_bounded(void **state)
{
    struct fixture f;
    char host[32];
    unsigned lanes_filled = 0;
    (void)state;

    create(&f, 1, 4, 100, 160);
    struct lane *good = healthy(&f, "good.example");
    for (int i = 0; i < 10; i++) { /* a lane: a sixteenth */
        assert_true(lanes_has_room(f.lanes, good, false));
        add(&f, good);
    }
    assert_false(lanes_has_room(f.lanes, good, false));
    for (; lanes_filled < 10; lanes_filled++) { /* all suspect ones together: a quarter */
        snprintf(host, sizeof(host), "dead%u.example", lanes_filled);
        struct lane *lane = failing(&f, host);
        if (!lanes_has_room(f.lanes, lane, false))
            break;
        while (lanes_has_room(f.lanes, lane, false))
            add(&f, lane);
    }
    assert_int_equal(lanes_filled, 4);
    assert_int_equal(lanes_waiting(f.lanes), 50);
    /* A host that is only unknown is not shut out by the dead ones. */
    assert_true(lanes_has_room(f.lanes, lanes_get(f.lanes, STR("unknown.example"), 0), false));
    assert_true(lanes_has_room(f.lanes, healthy(&f, "other.example"), false));
    destroy(&f);
}

static void test_booking_spreads_at_the_hosts_pace(void **state)
{
    struct fixture f;
    (void)state;

    create(&f, 1, 4, 100, 1000);
    struct lane *lane = healthy(&f, "a.example"); /* 200 ms an attempt, four at once */
    assert_int_equal(lanes_book_ms(f.lanes, lane, false, 1000), 51);
    assert_int_equal(lanes_book_ms(f.lanes, lane, false, 1000), 102);
    assert_int_equal(lanes_book_ms(f.lanes, lane, false, 1050), 103);  /* time passed */
    assert_int_equal(lanes_book_ms(f.lanes, lane, false, 900000), 51); /* long past: no debt */
    add(&f, lane); /* behind what waits in memory */
    add(&f, lane);
    assert_int_equal(lanes_book_ms(f.lanes, lane, false, 1900000), 153);
    struct lane *dead = failing(&f, "dead.example");
    assert_int_equal(lanes_book_ms(f.lanes, dead, false, 0), 201);
    int64_t last = 0;
    for (int i = 0; i < 10000; i++) {
        int64_t delay = lanes_book_ms(f.lanes, dead, false, 0);
        assert_true(delay >= last);
        last = delay;
    }
    assert_int_equal(last, 600000);
    destroy(&f);
}

static void test_progress_follows_the_pace(void **state)
{
    struct fixture f;
    (void)state;

    create(&f, 1, 2, 100, 10000);
    struct lane *lane = healthy(&f, "a.example");
    for (int i = 0; i < 100; i++)
        add(&f, lane);
    assert_int_equal(lanes_progressing(f.lanes), 19); /* 2 x 2000 ms / 201 ms */
    struct lane *dead = failing(&f, "dead.example");
    for (int i = 0; i < 30; i++)
        add(&f, dead);
    for (int i = 0; i < 20; i++) { /* the mean comes close to ten seconds */
        struct claim *claim = lanes_next(f.lanes, 0);
        while (claim->lane != dead) {
            lanes_landed(f.lanes, claim, false, false, 0, 0);
            claim = lanes_next(f.lanes, 0);
        }
        lanes_landed(f.lanes, claim, true, true, 10000, 0);
    }
    for (size_t i = 0; i < f.count; i++) {
        if (f.claims[i]->state == CLAIM_LANE && f.claims[i]->lane == lane)
            lanes_remove(f.lanes, f.claims[i]);
    }
    assert_int_equal(lanes_progressing(f.lanes), 1); /* ten wait, one makes way */
    assert_int_equal(lanes_waiting(f.lanes), 10);
    destroy(&f);
}

static struct claim *add_low(struct fixture *f, struct lane *lane)
{
    struct claim *claim = make(f, -1);
    claim->low = true;
    lanes_add(f->lanes, lane, claim, false);
    return claim;
}

static void test_low_jobs_wait_behind_their_hosts_others(void **state)
{
    struct fixture f;
    (void)state;

    create(&f, 1, 100, 1000, 10000);
    struct lane *lane = healthy(&f, "a.example");
    struct claim *low[3] = {add_low(&f, lane), add_low(&f, lane), add_low(&f, lane)};
    for (int i = 0; i < 16; i++)
        lanes_add(f.lanes, lane, make(&f, i % 2 == 0 ? -1 : 3), false);
    for (int turn = 0; turn < 19; turn++) {
        struct claim *claim = lanes_next(f.lanes, 0);
        assert_non_null(claim);
        assert_int_equal(claim->low, turn == 15 || turn > 16); /* a sixteenth turn, then the rest */
    }
    assert_null(lanes_next(f.lanes, 0));
    for (int i = 0; i < 3; i++)
        assert_int_equal(low[i]->state, CLAIM_FLIGHT);
    assert_int_equal(lanes_waiting(f.lanes), 0);
    assert_int_equal(lanes_low_waiting(f.lanes), 0);
    destroy(&f);
}

static void test_low_jobs_leave_a_place_of_their_host(void **state)
{
    struct fixture f;
    (void)state;

    create(&f, 1, 3, 1000, 10000);
    struct lane *lane = healthy(&f, "a.example");
    for (int i = 0; i < 4; i++)
        add_low(&f, lane);
    assert_int_equal(lanes_low_ready(f.lanes), 1);
    assert_int_equal(lanes_ready(f.lanes), 0);
    for (size_t i = 0; i < 2; i++)
        assert_ptr_equal(lanes_next(f.lanes, 0), f.claims[i]);
    assert_null(lanes_next(f.lanes, 0));
    assert_int_equal(lanes_low_ready(f.lanes), 0);
    struct claim *other = add(&f, lane);
    assert_int_equal(lanes_ready(f.lanes), 1);
    assert_ptr_equal(lanes_next(f.lanes, 0), other);
    land(&f, f.claims[0], false);
    assert_ptr_equal(lanes_next(f.lanes, 0), f.claims[2]);
    struct lane *unknown = lanes_get(f.lanes, STR("new.example"), 0); /* has but one place */
    struct claim *only = add_low(&f, unknown);
    assert_ptr_equal(lanes_next(f.lanes, 0), only);
    destroy(&f);
}

/* 64 slots: low jobs get eight of them while nobody else is there, then two. */
static void test_low_jobs_get_the_slots_that_others_leave(void **state)
{
    struct fixture f;
    struct claim *low[8];
    (void)state;

    create(&f, 1, 80, 64, 10000);
    struct lane *few = healthy(&f, "few.example");
    struct lane *many = healthy(&f, "many.example");
    for (int i = 0; i < 12; i++)
        add_low(&f, few);
    for (int i = 0; i < 8; i++) {
        low[i] = lanes_next(f.lanes, 0);
        assert_non_null(low[i]);
    }
    assert_null(lanes_next(f.lanes, 0));
    for (int i = 0; i < 100; i++)
        add(&f, many);
    for (int i = 0; i < 56; i++) /* the free ones at once */
        assert_ptr_equal(lanes_next(f.lanes, 0)->lane, many);
    assert_null(lanes_next(f.lanes, 0));
    for (int i = 0; i < 7; i++) { /* and each that a low job leaves */
        land(&f, low[i], false);
        assert_ptr_equal(lanes_next(f.lanes, 0)->lane, many);
    }
    for (int i = 0; i < 16; i++) { /* but for the low jobs' own turn */
        struct claim *oldest = NULL;
        for (size_t k = 0; k < f.count && oldest == NULL; k++)
            oldest = f.claims[k]->state == CLAIM_FLIGHT && !f.claims[k]->low ? f.claims[k] : NULL;
        land(&f, oldest, false);
        assert_non_null(lanes_next(f.lanes, 0));
    }
    unsigned flying = 0;
    for (size_t k = 0; k < f.count; k++)
        flying += f.claims[k]->state == CLAIM_FLIGHT && f.claims[k]->low;
    assert_int_equal(flying, 2);
    assert_int_equal(lanes_in_flight(f.lanes), 64);
    destroy(&f);
}

/* Hosts that don't answer, of low jobs and of others, take no slots from each other's share. */
static void test_low_jobs_of_suspects_have_their_own_share(void **state)
{
    struct fixture f;
    char host[32];
    (void)state;

    create(&f, 1, 4, 64, 10000);
    for (unsigned i = 0; i < 20; i++) {
        snprintf(host, sizeof(host), "gone%u.example", i);
        add_low(&f, failing(&f, host));
    }
    unsigned low = 0;
    while (lanes_next(f.lanes, 0) != NULL)
        low++;
    assert_int_equal(low, 6);
    struct lane *good = healthy(&f, "good.example");
    add_low(&f, good);
    assert_ptr_equal(lanes_next(f.lanes, 0)->lane, good);
    assert_int_equal(suspects_in_flight(&f, 60), 48);
    /* A change of opinion moves what is counted with the lane. */
    lanes_learn(f.lanes, STR("gone0.example"), false, 0);
    lanes_learn(f.lanes, STR("dead0.example"), false, 0);
    assert_non_null(lanes_next(f.lanes, 0));
    destroy(&f);
}

static void test_low_jobs_take_no_room_from_others(void **state)
{
    struct fixture f;
    char host[32];
    (void)state;

    create(&f, 1, 4, 100, 320);
    assert_int_equal(lanes_low_room(f.lanes), 80);
    struct lane *lane = healthy(&f, "a.example");
    for (int i = 0; i < 20; i++) {
        assert_true(lanes_has_room(f.lanes, lane, true));
        add_low(&f, lane);
    }
    assert_false(lanes_has_room(f.lanes, lane, true));
    struct lane *dead = failing(&f, "dead.example");
    for (int i = 0; i < 20; i++)
        add_low(&f, dead);
    assert_false(lanes_has_room(f.lanes, failing(&f, "gone.example"), true));
    for (int i = 0; i < 2; i++) { /* more than all of them may hold: it came back to its lane */
        snprintf(host, sizeof(host), "b%d.example", i);
        while (lanes_has_room(f.lanes, healthy(&f, host), true))
            add_low(&f, healthy(&f, host));
    }
    assert_int_equal(lanes_low_room(f.lanes), 0);
    assert_false(lanes_has_room(f.lanes, healthy(&f, "c.example"), true));
    assert_true(lanes_has_room(f.lanes, lane, false));
    assert_true(lanes_has_room(f.lanes, dead, false));
    assert_int_equal(lanes_waiting(f.lanes), 0);
    assert_int_equal(lanes_progressing(f.lanes), 0);
    destroy(&f);
}

static void test_booked_low_jobs_come_back_one_by_one(void **state)
{
    struct fixture f;
    struct lane *lanes[100];
    char host[32];
    (void)state;

    create(&f, 1, 4, 100, 1000);
    for (int i = 0; i < 100; i++) {
        snprintf(host, sizeof(host), "h%d.example", i);
        lanes[i] = healthy(&f, host);
        assert_int_equal(lanes_book_ms(f.lanes, lanes[i], true, 1000), 5 * (i + 1) + 51);
    }
    assert_int_equal(lanes_book_ms(f.lanes, lanes[0], false, 1000), 51); /* never behind them */
    int64_t last = 0;
    for (int i = 0; i < 200000; i++)
        last = lanes_book_ms(f.lanes, lanes[i % 100], true, 1000);
    assert_int_equal(last, 600000);
    destroy(&f);
}

static void test_a_restricted_window_is_smaller(void **state)
{
    struct fixture f;
    const struct lane_limits two = {.max_window = 2};
    const struct lane_limits many = {.max_window = 9};
    (void)state;

    create(&f, 1, 3, 100, 1000);
    struct lane *lane = healthy(&f, "a.example");
    for (int i = 0; i < 5; i++)
        add(&f, lane);
    lanes_restrict(f.lanes, lane, &two);
    for (size_t i = 0; i < 2; i++)
        assert_ptr_equal(lanes_next(f.lanes, 0), f.claims[i]);
    assert_null(lanes_next(f.lanes, 0));
    lanes_restrict(f.lanes, lane, &many); /* it never widens */
    assert_ptr_equal(lanes_next(f.lanes, 0), f.claims[2]);
    assert_null(lanes_next(f.lanes, 0));
    destroy(&f);
}

static void test_nothing_leaves_a_paused_lane(void **state)
{
    struct fixture f;
    const struct lane_limits paused = {.paused = true};
    const struct lane_limits none = {.paused = false};
    (void)state;

    create(&f, 1, 3, 100, 1000);
    struct lane *lane = healthy(&f, "a.example");
    add(&f, lane);
    add(&f, lane);
    assert_ptr_equal(lanes_next(f.lanes, 0), f.claims[0]);
    lanes_restrict(f.lanes, lane, &paused);
    assert_null(lanes_next(f.lanes, 0));
    land(&f, f.claims[0], false);
    assert_null(lanes_next(f.lanes, 0));
    assert_int_equal(lanes_ready(f.lanes), 0);
    lanes_restrict(f.lanes, lane, &none);
    assert_ptr_equal(lanes_next(f.lanes, 0), f.claims[1]);
    destroy(&f);
}

static void test_a_lane_with_a_gap_rests_holds_little_and_books_slowly(void **state)
{
    struct fixture f;
    const struct lane_limits slow = {.min_gap_ms = 20000};
    (void)state;

    create(&f, 1, 3, 100, 1000);
    struct lane *lane = healthy(&f, "a.example");
    lanes_restrict(f.lanes, lane, &slow);
    for (int i = 0; i < 3; i++) {
        assert_true(lanes_has_room(f.lanes, lane, false));
        add(&f, lane);
    }
    assert_false(lanes_has_room(f.lanes, lane, false)); /* a minute's worth */
    assert_int_equal(lanes_progressing(f.lanes), 1);
    assert_int_equal(lanes_book_ms(f.lanes, lane, false, 0), 80000);
    assert_int_equal(lanes_book_ms(f.lanes, lane, false, 0), 100000);
    assert_ptr_equal(lanes_next(f.lanes, 0), f.claims[0]);
    lanes_rest(f.lanes, lane, true);
    assert_null(lanes_next(f.lanes, 0));
    assert_int_equal(lanes_sweep(f.lanes, 4000000), 1);
    lanes_rest(f.lanes, lane, false);
    assert_ptr_equal(lanes_next(f.lanes, 0), f.claims[1]);
    destroy(&f);
}

static void test_sweep_forgets_idle_lanes(void **state)
{
    struct fixture f;
    size_t at = 0;
    (void)state;

    create(&f, 1, 2, 100, 1000);
    lanes_learn(f.lanes, STR("idle.example"), false, 0);
    lanes_learn(f.lanes, STR("recent.example"), false, 1000);
    struct lane *busy = lanes_get(f.lanes, STR("busy.example"), 0);
    add(&f, busy);
    struct lane *flying = lanes_get(f.lanes, STR("flying.example"), 0);
    lanes_block(f.lanes, busy, true);
    add(&f, flying);
    assert_ptr_equal(lanes_next(f.lanes, 0), f.claims[1]);
    assert_int_equal(lanes_count(f.lanes), 4);
    assert_int_equal(lanes_sweep(f.lanes, 3600001), 3);
    for (struct lane *lane; (lane = lanes_each(f.lanes, &at)) != NULL;)
        assert_false(str_equal(lane->host, STR("idle.example")));
    destroy(&f);
}

static int start(void **state)
{
    (void)state;
    return sodium_init() < 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_window_bounds_a_lane),
        cmocka_unit_test(test_suspect_lane_has_a_window_of_one),
        cmocka_unit_test(test_slots_bound_all_lanes),
        cmocka_unit_test(test_lanes_take_turns),
        cmocka_unit_test(test_fourth_turn_is_a_retried_jobs),
        cmocka_unit_test(test_suspects_leave_a_quarter_free),
        cmocka_unit_test(test_suspects_hold_a_quarter_beside_healthy_work),
        cmocka_unit_test(test_rings_are_the_workers_own),
        cmocka_unit_test(test_blocked_lane_waits),
        cmocka_unit_test(test_return_to_the_head_and_removal),
        cmocka_unit_test(test_room_is_bounded),
        cmocka_unit_test(test_booking_spreads_at_the_hosts_pace),
        cmocka_unit_test(test_progress_follows_the_pace),
        cmocka_unit_test(test_low_jobs_wait_behind_their_hosts_others),
        cmocka_unit_test(test_low_jobs_leave_a_place_of_their_host),
        cmocka_unit_test(test_low_jobs_get_the_slots_that_others_leave),
        cmocka_unit_test(test_low_jobs_of_suspects_have_their_own_share),
        cmocka_unit_test(test_low_jobs_take_no_room_from_others),
        cmocka_unit_test(test_booked_low_jobs_come_back_one_by_one),
        cmocka_unit_test(test_a_restricted_window_is_smaller),
        cmocka_unit_test(test_nothing_leaves_a_paused_lane),
        cmocka_unit_test(test_a_lane_with_a_gap_rests_holds_little_and_books_slowly),
        cmocka_unit_test(test_sweep_forgets_idle_lanes),
    };
    return cmocka_run_group_tests(tests, start, NULL);
}
