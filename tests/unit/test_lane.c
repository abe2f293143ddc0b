/* Lanes are pure: claims go in, and what comes out is compared with what each rule promises. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>
#include <sodium.h>

#include "sched/lane.h"

enum { MAX_CLAIMS = 256, NOW_MS = 10000000 };

static struct rng rng;

struct fixture {
    struct lanes *lanes;
    struct claim *claims[MAX_CLAIMS];
    size_t count;
    unsigned window;
    int64_t now_ms;
};

static void create(struct fixture *f, unsigned workers, unsigned window, unsigned slots,
                   unsigned lookahead)
{
    const struct lane_options options = {.workers = workers,
                                         .host_window = window,
                                         .max_in_flight = slots,
                                         .lookahead_jobs = lookahead,
                                         .rng = &rng};
    *f = (struct fixture){.lanes = lanes_create(&options), .window = window, .now_ms = NOW_MS};
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

static void learn(struct fixture *f, const char *host, bool suspect)
{
    lanes_learn(f->lanes, str_of(host), suspect, 0, f->now_ms);
}

/* Its window is as wide as it may be. */
static struct lane *lane_of(struct fixture *f, const char *host)
{
    struct lane *lane = lanes_get(f->lanes, str_of(host), f->now_ms);
    lane->window.size = f->window;
    return lane;
}

static struct lane *healthy(struct fixture *f, const char *host)
{
    learn(f, host, false);
    return lane_of(f, host);
}

static struct lane *failing(struct fixture *f, const char *host)
{
    learn(f, host, true);
    return lane_of(f, host);
}

static struct claim *next(struct fixture *f, unsigned worker)
{
    struct claim *claim = lanes_next(f->lanes, worker, f->now_ms);

    if (claim != NULL && !lanes_is_probe(claim->lane))
        lanes_start(f->lanes, claim, f->now_ms);
    return claim;
}

static bool has_room(struct fixture *f, struct lane *lane, bool low)
{
    const struct claim claim = {.origin = ORIGIN_QUEUE, .low = low};
    return lanes_course(f->lanes, lane, &claim, f->now_ms) == COURSE_LANE;
}

static struct claim *add(struct fixture *f, struct lane *lane)
{
    struct claim *claim = make(f, -1);
    lanes_add(f->lanes, lane, claim, false, f->now_ms);
    return claim;
}

static void land_as(struct fixture *f, struct claim *claim, enum lane_answer answer)
{
    const struct lane_result result = {.answer = answer, .total_ms = 100};
    lanes_landed(f->lanes, claim, &result, f->now_ms);
}

static void land(struct fixture *f, struct claim *claim, bool failed)
{
    land_as(f, claim, failed ? LANE_TRANSPORT : LANE_ANSWERED);
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
        assert_ptr_equal(next(&f, 0), f.claims[i]);
        assert_int_equal(f.claims[i]->state, CLAIM_FLIGHT);
    }
    assert_null(next(&f, 0));
    assert_int_equal(lanes_in_flight(f.lanes), 3);
    assert_int_equal(lanes_waiting(f.lanes), 2);
    assert_int_equal(lanes_ready(f.lanes), 0);
    land(&f, f.claims[1], false);
    assert_int_equal(f.claims[1]->state, CLAIM_NEW);
    assert_null(f.claims[1]->lane);
    assert_ptr_equal(next(&f, 0), f.claims[3]);
    assert_null(next(&f, 0));
    destroy(&f);
}

static void test_suspect_lane_has_a_window_of_one(void **state)
{
    struct fixture f;
    (void)state;

    create(&f, 1, 3, 100, 1000);
    struct lane *lane = lane_of(&f, "new.example");
    assert_true(lane->suspect);
    for (int i = 0; i < 6; i++)
        add(&f, lane);
    struct claim *first = next(&f, 0);
    assert_non_null(first);
    assert_null(next(&f, 0));
    land(&f, first, false); /* one success opens it */
    assert_false(lane->suspect);
    struct claim *flown[3];
    for (int i = 0; i < 3; i++) {
        flown[i] = next(&f, 0);
        assert_non_null(flown[i]);
    }
    assert_null(next(&f, 0));
    land(&f, flown[0], true); /* one transport failure closes it: two are still in flight */
    assert_true(lane->suspect);
    assert_null(next(&f, 0));
    land_as(&f, flown[1], LANE_UNTRIED); /* no attempt: no opinion */
    assert_true(lane->suspect);
    assert_null(next(&f, 0));
    land(&f, flown[2], true);
    assert_null(next(&f, 0)); /* not at once */
    f.now_ms += 2000;
    lanes_wake(f.lanes, f.now_ms);
    assert_non_null(next(&f, 0));
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
        assert_non_null(next(&f, 0));
    assert_null(next(&f, 0));
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
        assert_ptr_equal(next(&f, 0)->lane, lanes[i % 3]);
    assert_null(next(&f, 0));
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
        lanes_add(f.lanes, lane, make(&f, 2), false, f.now_ms);
    for (int i = 0; i < 7; i++)
        add(&f, lane);
    for (size_t i = 0; i < sizeof(expected) / sizeof(expected[0]); i++) {
        struct claim *claim = next(&f, 0);
        assert_non_null(claim);
        assert_int_equal(claim->job.retry_count, expected[i]);
    }
    assert_null(next(&f, 0));
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
    while (next(f, 0) != NULL)
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
        assert_ptr_equal(next(&f, 0)->lane, good);
    assert_null(next(&f, 0));
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
    assert_ptr_equal(next(&f, 1)->lane, good);
    unsigned more = 0; /* none is healthy and ready any more: up to three quarters */
    while (next(&f, 0) != NULL)
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
        assert_ptr_equal(lane_of(&f, host), lane);
        per_worker[lane->worker]++;
        add(&f, lane);
    }
    for (unsigned w = 0; w < 3; w++) {
        assert_true(per_worker[w] > 5); /* all work */
        for (unsigned i = 0; i < per_worker[w]; i++)
            assert_int_equal(next(&f, w)->lane->worker, w);
        assert_null(next(&f, w));
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
    lanes_block(f.lanes, lane, true, f.now_ms);
    assert_null(next(&f, 0));
    assert_int_equal(lanes_ready(f.lanes), 0);
    add(&f, lane); /* what comes meanwhile waits too */
    learn(&f, "a.example", true);
    assert_null(next(&f, 0)); /* a change of class doesn't unblock */
    learn(&f, "a.example", false);
    lanes_block(f.lanes, lane, false, f.now_ms);
    assert_ptr_equal(next(&f, 0), f.claims[0]);
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
    struct claim *first = next(&f, 0);
    land_as(&f, first, LANE_UNTRIED);
    lanes_add(f.lanes, lane, first, true, f.now_ms);
    lanes_remove(f.lanes, f.claims[1], f.now_ms);
    assert_int_equal(f.claims[1]->state, CLAIM_NEW);
    assert_int_equal(lanes_waiting(f.lanes), 2);
    assert_ptr_equal(next(&f, 0), f.claims[0]);
    assert_ptr_equal(next(&f, 0), f.claims[2]);
    assert_null(next(&f, 0));
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
        assert_true(has_room(&f, good, false));
        add(&f, good);
    }
    assert_false(has_room(&f, good, false));
    for (; lanes_filled < 10; lanes_filled++) { /* all suspect ones together: a quarter */
        snprintf(host, sizeof(host), "dead%u.example", lanes_filled);
        struct lane *lane = failing(&f, host);
        if (!has_room(&f, lane, false))
            break;
        while (has_room(&f, lane, false))
            add(&f, lane);
    }
    assert_int_equal(lanes_filled, 4);
    assert_int_equal(lanes_waiting(f.lanes), 50);
    /* A host that is only unknown is not shut out by the dead ones. */
    assert_true(has_room(&f, lane_of(&f, "unknown.example"), false));
    assert_true(has_room(&f, healthy(&f, "other.example"), false));
    destroy(&f);
}

static void test_what_finds_no_room_books_behind_what_waits(void **state)
{
    struct fixture f;
    const struct claim arriving = {.origin = ORIGIN_QUEUE};
    const struct claim returning = {.origin = ORIGIN_SCHEDULE};
    (void)state;

    create(&f, 1, 4, 100, 160);
    struct lane *lane = healthy(&f, "a.example"); /* 200 ms an attempt, four at once */
    assert_int_equal(lanes_pace_ms(f.lanes, lane), 51);
    for (int i = 0; i < 10; i++)
        add(&f, lane);
    assert_int_equal(lanes_course(f.lanes, lane, &arriving, f.now_ms), COURSE_BOOK);
    /* What was booked has its turn: it isn't sent away again. */
    assert_int_equal(lanes_course(f.lanes, lane, &returning, f.now_ms), COURSE_LANE);
    for (int i = 1; i <= 100; i++) {
        assert_int_equal(lanes_book_ms(f.lanes, lane, f.now_ms), 510);
        assert_int_equal(lane->reserved_ms, f.now_ms + 510 + 51 * i);
    }
    for (size_t i = 0; i < 10; i++)
        lanes_remove(f.lanes, f.claims[i], f.now_ms);
    /* There is room now, but what came before it is booked. */
    assert_int_equal(lanes_course(f.lanes, lane, &arriving, f.now_ms), COURSE_BOOK);
    assert_int_equal(lanes_course(f.lanes, lane, &returning, f.now_ms), COURSE_LANE);
    unsigned called = lanes_release(f.lanes, lane, f.now_ms); /* so that it is called back */
    assert_int_equal(called, 10);                             /* what the lane holds */
    assert_int_equal(lanes_release(f.lanes, lane, f.now_ms + 999), 0);
    lanes_released(f.lanes, lane, 10, 3, f.now_ms);
    assert_int_equal(lanes_release(f.lanes, lane, f.now_ms + 1000), 10);
    lanes_released(f.lanes, lane, 10, 0, f.now_ms);
    assert_int_equal(lanes_course(f.lanes, lane, &arriving, f.now_ms), COURSE_LANE);
    assert_int_equal(lanes_release(f.lanes, lane, f.now_ms + 2000), 0);
    for (int i = 0; i < 100000; i++)
        lanes_book_ms(f.lanes, lane, f.now_ms);
    assert_int_equal(lane->reserved_ms, f.now_ms + 3600000);
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
    dead->mean_ms = 10000;
    learn(&f, "dead.example", true);
    for (size_t i = 0; i < f.count; i++) {
        if (f.claims[i]->state == CLAIM_LANE && f.claims[i]->lane == lane)
            lanes_remove(f.lanes, f.claims[i], f.now_ms);
    }
    assert_int_equal(lanes_progressing(f.lanes), 1); /* thirty wait, one makes way */
    assert_int_equal(lanes_waiting(f.lanes), 30);
    destroy(&f);
}

static struct claim *add_low(struct fixture *f, struct lane *lane)
{
    struct claim *claim = make(f, -1);
    claim->low = true;
    lanes_add(f->lanes, lane, claim, false, f->now_ms);
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
        lanes_add(f.lanes, lane, make(&f, i % 2 == 0 ? -1 : 3), false, f.now_ms);
    for (int turn = 0; turn < 19; turn++) {
        struct claim *claim = next(&f, 0);
        assert_non_null(claim);
        assert_int_equal(claim->low, turn == 15 || turn > 16); /* a sixteenth turn, then the rest */
    }
    assert_null(next(&f, 0));
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
        assert_ptr_equal(next(&f, 0), f.claims[i]);
    assert_null(next(&f, 0));
    assert_int_equal(lanes_low_ready(f.lanes), 0);
    struct claim *other = add(&f, lane);
    assert_int_equal(lanes_ready(f.lanes), 1);
    assert_ptr_equal(next(&f, 0), other);
    land(&f, f.claims[0], false);
    assert_ptr_equal(next(&f, 0), f.claims[2]);
    struct lane *unknown = lane_of(&f, "new.example"); /* has but one place */
    struct claim *only = add_low(&f, unknown);
    assert_ptr_equal(next(&f, 0), only);
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
        low[i] = next(&f, 0);
        assert_non_null(low[i]);
    }
    assert_null(next(&f, 0));
    for (int i = 0; i < 100; i++)
        add(&f, many);
    for (int i = 0; i < 56; i++) /* the free ones at once */
        assert_ptr_equal(next(&f, 0)->lane, many);
    assert_null(next(&f, 0));
    for (int i = 0; i < 7; i++) { /* and each that a low job leaves */
        land(&f, low[i], false);
        assert_ptr_equal(next(&f, 0)->lane, many);
    }
    for (int i = 0; i < 16; i++) { /* but for the low jobs' own turn */
        struct claim *oldest = NULL;
        for (size_t k = 0; k < f.count && oldest == NULL; k++)
            oldest = f.claims[k]->state == CLAIM_FLIGHT && !f.claims[k]->low ? f.claims[k] : NULL;
        land(&f, oldest, false);
        assert_non_null(next(&f, 0));
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
    while (next(&f, 0) != NULL)
        low++;
    assert_int_equal(low, 6);
    struct lane *good = healthy(&f, "good.example");
    add_low(&f, good);
    assert_ptr_equal(next(&f, 0)->lane, good);
    assert_int_equal(suspects_in_flight(&f, 60), 48);
    /* A change of opinion moves what is counted with the lane. */
    learn(&f, "gone0.example", false);
    learn(&f, "dead0.example", false);
    assert_non_null(next(&f, 0));
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
        assert_true(has_room(&f, lane, true));
        add_low(&f, lane);
    }
    assert_false(has_room(&f, lane, true));
    struct lane *dead = failing(&f, "dead.example");
    for (int i = 0; i < 20; i++)
        add_low(&f, dead);
    assert_false(has_room(&f, failing(&f, "gone.example"), true));
    for (int i = 0; i < 2; i++) { /* more than all of them may hold: it came back to its lane */
        snprintf(host, sizeof(host), "b%d.example", i);
        while (has_room(&f, healthy(&f, host), true))
            add_low(&f, healthy(&f, host));
    }
    assert_int_equal(lanes_low_room(f.lanes), 0);
    assert_false(has_room(&f, healthy(&f, "c.example"), true));
    assert_true(has_room(&f, lane, false));
    assert_true(has_room(&f, dead, false));
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
        assert_int_equal(lanes_book_low_ms(f.lanes, lanes[i], NOW_MS), 5 * (i + 1) + 51);
    }
    assert_int_equal(lanes_book_ms(f.lanes, lanes[0], NOW_MS), 0); /* never behind them */
    int64_t last = 0;
    for (int i = 0; i < 800000; i++)
        last = lanes_book_low_ms(f.lanes, lanes[i % 100], NOW_MS);
    assert_int_equal(last, 3600000);
    destroy(&f);
}

static void restrict_to(struct fixture *f, struct lane *lane, const struct lane_limits *limits)
{
    lanes_restrict(f->lanes, lane, limits, f->now_ms);
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
    restrict_to(&f, lane, &two);
    for (size_t i = 0; i < 2; i++)
        assert_ptr_equal(next(&f, 0), f.claims[i]);
    assert_null(next(&f, 0));
    restrict_to(&f, lane, &many); /* it never widens */
    assert_ptr_equal(next(&f, 0), f.claims[2]);
    assert_null(next(&f, 0));
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
    assert_ptr_equal(next(&f, 0), f.claims[0]);
    restrict_to(&f, lane, &paused);
    assert_null(next(&f, 0));
    land(&f, f.claims[0], false);
    assert_null(next(&f, 0));
    assert_int_equal(lanes_ready(f.lanes), 0);
    restrict_to(&f, lane, &none);
    assert_ptr_equal(next(&f, 0), f.claims[1]);
    destroy(&f);
}

static void test_a_lane_with_a_gap_rests_holds_little_and_books_slowly(void **state)
{
    struct fixture f;
    const struct lane_limits slow = {.min_gap_ms = 20000};
    (void)state;

    create(&f, 1, 3, 100, 1000);
    struct lane *lane = healthy(&f, "a.example");
    restrict_to(&f, lane, &slow);
    for (int i = 0; i < 3; i++) {
        assert_true(has_room(&f, lane, false));
        add(&f, lane);
    }
    assert_false(has_room(&f, lane, false));         /* a minute's worth */
    assert_int_equal(lanes_progressing(f.lanes), 0); /* nobody waits for them to be claimed */
    assert_int_equal(lanes_pace_ms(f.lanes, lane), 20001);
    assert_ptr_equal(next(&f, 0), f.claims[0]);
    assert_null(next(&f, 0));
    f.now_ms += 19900;
    lanes_wake(f.lanes, f.now_ms);
    assert_null(next(&f, 0));
    f.now_ms += 200;
    lanes_wake(f.lanes, f.now_ms);
    assert_ptr_equal(next(&f, 0), f.claims[1]);
    destroy(&f);
}

static struct claim *add_pair(struct fixture *f, struct lane *lane, uint64_t pair, int64_t retries)
{
    struct claim *claim = make(f, retries);
    claim->pair = pair;
    lanes_add(f->lanes, lane, claim, false, f->now_ms);
    return claim;
}

static void test_one_of_a_pair_at_a_time_in_order(void **state)
{
    struct fixture f;
    (void)state;

    create(&f, 1, 8, 100, 1000);
    struct lane *lane = healthy(&f, "a.example");
    struct claim *follow = add_pair(&f, lane, 7, -1);
    struct claim *undo = add_pair(&f, lane, 7, -1);
    struct claim *other = add_pair(&f, lane, 8, -1);
    assert_ptr_equal(next(&f, 0), follow);
    assert_ptr_equal(next(&f, 0), other);
    assert_null(next(&f, 0));
    assert_int_equal(lanes_ready(f.lanes), 0); /* it doesn't turn in vain */
    land(&f, other, false);
    assert_null(next(&f, 0));
    land_as(&f, follow, LANE_UNTRIED);
    lanes_add(f.lanes, lane, follow, true, f.now_ms);
    assert_ptr_equal(next(&f, 0), follow);
    land(&f, follow, false);
    assert_ptr_equal(next(&f, 0), undo);
    destroy(&f);
}

static void test_a_retried_job_keeps_the_place_of_its_pair(void **state)
{
    struct fixture f;
    (void)state;

    create(&f, 1, 8, 100, 1000);
    struct lane *lane = healthy(&f, "a.example");
    struct claim *follow = add_pair(&f, lane, 7, 2);
    struct claim *undo = add_pair(&f, lane, 7, -1);
    assert_ptr_equal(next(&f, 0), follow); /* though fresh ones go first */
    assert_null(next(&f, 0));
    land(&f, follow, false);
    assert_ptr_equal(next(&f, 0), undo);
    destroy(&f);
}

static struct claim *make_pair(struct fixture *f, int created_s, int64_t retries)
{
    struct claim *claim = make(f, retries);

    claim->pair = 7;
    claim->job.created_at_s = created_s;
    return claim;
}

/* Booked, in doubt, without a key: its sender's next job for the same inbox waits for it. */
static void test_nothing_passes_what_is_away(void **state)
{
    struct fixture f;
    (void)state;

    create(&f, 1, 8, 100, 1000);
    struct lane *lane = healthy(&f, "a.example");
    struct claim *follow = make_pair(&f, 1, -1);
    struct claim *undo = make_pair(&f, 2, -1);
    struct claim *other = make(&f, -1);
    other->pair = 8;
    lanes_left(f.lanes, follow, f.now_ms + 500, f.now_ms);
    assert_int_equal(lanes_course(f.lanes, lane, undo, f.now_ms), COURSE_LANE); /* for so long */
    lanes_add(f.lanes, lane, undo, false, f.now_ms);
    assert_null(next(&f, 0));
    lanes_add(f.lanes, lane, other, false, f.now_ms);
    assert_ptr_equal(next(&f, 0), other);
    assert_null(next(&f, 0));
    follow->moved = true; /* by Ruby, so that it comes from the queue */
    assert_int_equal(lanes_course(f.lanes, lane, follow, f.now_ms), COURSE_LANE);
    lanes_add(f.lanes, lane, follow, false, f.now_ms); /* behind it, but made before it */
    assert_ptr_equal(next(&f, 0), follow);
    assert_null(next(&f, 0));
    land(&f, follow, false);
    assert_ptr_equal(next(&f, 0), undo);
    destroy(&f);
}

static void test_what_never_comes_is_not_awaited_for_ever(void **state)
{
    struct fixture f;
    (void)state;

    create(&f, 1, 8, 100, 1000);
    struct lane *lane = healthy(&f, "a.example");
    struct claim *undo = make_pair(&f, 2, -1);
    lanes_left(f.lanes, make_pair(&f, 1, -1), f.now_ms + 1000, f.now_ms);
    lanes_add(f.lanes, lane, undo, false, f.now_ms);
    for (int64_t end_ms = f.now_ms + 10000; f.now_ms < end_ms; f.now_ms += 100) {
        lanes_wake(f.lanes, f.now_ms);
        assert_null(next(&f, 0));
    }
    f.now_ms += 2000;
    lanes_wake(f.lanes, f.now_ms);
    assert_ptr_equal(next(&f, 0), undo);
    destroy(&f);
}

static void test_what_is_away_for_long_is_awaited_in_redis(void **state)
{
    struct fixture f;
    (void)state;

    create(&f, 1, 8, 100, 1000);
    struct lane *lane = healthy(&f, "a.example");
    struct claim *follow = make_pair(&f, 1, -1);
    struct claim *undo = make_pair(&f, 2, -1);
    lanes_left(f.lanes, follow, f.now_ms + 500, f.now_ms);
    lanes_left_until(f.lanes, follow, f.now_ms + 60000);
    assert_int_equal(lanes_course(f.lanes, lane, undo, f.now_ms), COURSE_BOOK);
    lanes_left(f.lanes, undo, f.now_ms + 60001, f.now_ms);
    assert_int_equal(lanes_course(f.lanes, lane, make_pair(&f, 3, -1), f.now_ms), COURSE_BOOK);
    undo->moved = true; /* it came early: back behind the other */
    assert_int_equal(lanes_course(f.lanes, lane, undo, f.now_ms), COURSE_BOOK);
    lanes_came(f.lanes, follow);
    lanes_came(f.lanes, undo);
    assert_int_equal(lanes_course(f.lanes, lane, make_pair(&f, 4, -1), f.now_ms), COURSE_LANE);
    destroy(&f);
}

/* One try after another, none sooner than the space after a failure. */
static void fail_until_open(struct fixture *f, struct lane *lane)
{
    const struct lane_result failed = {.answer = LANE_TRANSPORT, .total_ms = 10};
    enum circuit_event event = CIRCUIT_SAME;
    int tries = 0;

    while (event != CIRCUIT_OPENED) {
        struct claim *claim = next(f, 0);
        if (claim != NULL) {
            event = lanes_landed(f->lanes, claim, &failed, f->now_ms);
            tries++;
        }
        f->now_ms += 100;
        lanes_wake(f->lanes, f->now_ms);
        assert_true(tries <= CIRCUIT_FAILURES);
    }
    assert_int_equal(tries, CIRCUIT_FAILURES);
    assert_int_equal(lane->circuit.state, CIRCUIT_OPEN);
}

static void test_an_open_circuit_lets_one_probe_pass(void **state)
{
    struct fixture f;
    const struct claim arriving = {.origin = ORIGIN_QUEUE};
    (void)state;

    create(&f, 1, 8, 100, 1000);
    lanes_set_fleet(f.lanes, 1, 1000000000);
    struct lane *lane = healthy(&f, "a.example");
    for (int i = 0; i < 8; i++)
        add(&f, lane);
    fail_until_open(&f, lane);
    assert_int_equal(lanes_course(f.lanes, lane, &arriving, f.now_ms), COURSE_PARK);
    assert_null(next(&f, 0));
    lanes_remove(f.lanes, lanes_oldest(lane), f.now_ms); /* parked by the caller */
    lanes_remove(f.lanes, lanes_oldest(lane), f.now_ms);
    assert_int_equal(lanes_course(f.lanes, lane, &arriving, f.now_ms), COURSE_PARK);
    f.now_ms = lane->circuit.probe_ms - 1000000000 - 1;
    lanes_wake(f.lanes, f.now_ms);
    assert_null(next(&f, 0));
    f.now_ms += 100;
    lanes_wake(f.lanes, f.now_ms);
    struct claim *claim = next(&f, 0);
    assert_non_null(claim);
    assert_true(lanes_is_probe(lane)); /* its token is asked for */
    lanes_probe_asked(f.lanes, lane, f.now_ms);
    assert_null(next(&f, 0));
    lanes_probe_answered(f.lanes, lane, true, f.now_ms);
    assert_int_equal(lanes_course(f.lanes, lane, &arriving, f.now_ms), COURSE_PARK);
    lanes_remove(f.lanes, claim, f.now_ms); /* whatever became of it, the next one is the probe */
    assert_int_equal(lanes_course(f.lanes, lane, &arriving, f.now_ms), COURSE_LANE);
    lanes_add(f.lanes, lane, claim, true, f.now_ms);
    assert_ptr_equal(next(&f, 0), claim);
    assert_false(lanes_is_probe(lane));
    assert_int_equal(lanes_course(f.lanes, lane, &arriving, f.now_ms), COURSE_PARK);
    add(&f, lane);
    assert_null(next(&f, 0));
    const struct lane_result good = {.answer = LANE_ANSWERED, .total_ms = 10};
    assert_int_equal(lanes_landed(f.lanes, claim, &good, f.now_ms), CIRCUIT_CLOSED_AGAIN);
    assert_non_null(next(&f, 0));
    destroy(&f);
}

/* Undo waits in the lane for its Follow, which is parked: whatever else comes is the probe. */
static void test_who_waits_for_another_is_not_the_probe(void **state)
{
    struct fixture f;
    struct claim arriving = {.origin = ORIGIN_QUEUE};
    (void)state;

    create(&f, 1, 8, 100, 1000);
    lanes_set_fleet(f.lanes, 1, 1000000000);
    struct lane *lane = healthy(&f, "a.example");
    for (int i = 0; i < 8; i++)
        add(&f, lane);
    fail_until_open(&f, lane);
    while (lanes_oldest(lane) != NULL)
        lanes_remove(f.lanes, lanes_oldest(lane), f.now_ms);
    lanes_left(f.lanes, make_pair(&f, 1, -1), f.now_ms + 3600000, f.now_ms);
    lanes_add(f.lanes, lane, make_pair(&f, 2, -1), false, f.now_ms);
    f.now_ms = lane->circuit.probe_ms - 1000000000;
    assert_int_equal(lanes_course(f.lanes, lane, &arriving, f.now_ms), COURSE_PARK);
    lanes_wake(f.lanes, f.now_ms);
    assert_null(next(&f, 0));
    assert_int_equal(lanes_course(f.lanes, lane, &arriving, f.now_ms), COURSE_LANE);
    assert_int_equal(lanes_release(f.lanes, lane, f.now_ms + 60000), 1); /* or is called back */
    destroy(&f);
}

/* The name of the probe's host gets no answer: it says nothing about the host, and yet it ends. */
static void test_a_probe_without_an_address_ends(void **state)
{
    struct fixture f;
    const struct claim arriving = {.origin = ORIGIN_QUEUE};
    const struct lane_result unresolved = {.answer = LANE_UNRESOLVED, .total_ms = 5000};
    (void)state;

    create(&f, 1, 8, 100, 1000);
    struct lane *lane = healthy(&f, "a.example");
    lanes_adopt_open(f.lanes, lane, f.now_ms - 1000, f.now_ms - 1, 60000, f.now_ms);
    struct claim *claim = add(&f, lane);
    assert_ptr_equal(next(&f, 0), claim);
    lanes_probe_asked(f.lanes, lane, f.now_ms);
    lanes_probe_answered(f.lanes, lane, true, f.now_ms);
    assert_ptr_equal(next(&f, 0), claim);
    assert_int_equal(lanes_landed(f.lanes, claim, &unresolved, f.now_ms), CIRCUIT_UNPROVEN);
    assert_int_equal(lane->circuit.state, CIRCUIT_OPEN);
    assert_int_equal(lane->circuit.backoff_ms, 60000);
    assert_in_range(lane->circuit.probe_ms - f.now_ms, 60000, 72000);
    assert_int_equal(lanes_course(f.lanes, lane, &arriving, f.now_ms), COURSE_PARK);
    destroy(&f);
}

/* Others get theirs: nothing is known of the host, but the probe was all that could be done. */
static void test_a_probe_whose_name_alone_has_no_answer_fails(void **state)
{
    struct fixture f;
    const struct lane_result unserved = {.answer = LANE_UNSERVED, .total_ms = 5000};
    (void)state;

    create(&f, 1, 8, 100, 1000);
    struct lane *lane = healthy(&f, "a.example");
    lanes_adopt_open(f.lanes, lane, f.now_ms - 1000, f.now_ms - 1, 60000, f.now_ms);
    struct claim *claim = add(&f, lane);
    assert_ptr_equal(next(&f, 0), claim);
    lanes_probe_asked(f.lanes, lane, f.now_ms);
    lanes_probe_answered(f.lanes, lane, true, f.now_ms);
    assert_ptr_equal(next(&f, 0), claim);
    assert_int_equal(lanes_landed(f.lanes, claim, &unserved, f.now_ms), CIRCUIT_REOPENED);
    assert_int_equal(lane->circuit.backoff_ms, 120000);
    assert_int_equal(lane->circuit.probed_ms, f.now_ms);
    assert_int_equal(lane->window.size, 8);
    destroy(&f);
}

/* Another machine has opened the circuit of a host that is good here: a probe of ours that fails
 * ends as one, too, or every job that comes would be tried at once. */
static void test_a_probe_of_a_good_host_fails(void **state)
{
    struct fixture f;
    const struct claim arriving = {.origin = ORIGIN_QUEUE};
    const struct lane_result dark = {.answer = LANE_TRANSPORT, .total_ms = 5000};
    (void)state;

    create(&f, 1, 8, 100, 1000);
    lanes_learn(f.lanes, STR("a.example"), false, f.now_ms - 60000, f.now_ms);
    struct lane *lane = lanes_get(f.lanes, STR("a.example"), f.now_ms);
    lanes_adopt_open(f.lanes, lane, f.now_ms - 1000, f.now_ms - 1, 60000, f.now_ms);
    struct claim *claim = add(&f, lane);
    assert_ptr_equal(next(&f, 0), claim);
    lanes_probe_asked(f.lanes, lane, f.now_ms);
    lanes_probe_answered(f.lanes, lane, true, f.now_ms);
    assert_ptr_equal(next(&f, 0), claim);
    assert_true(suspicion_is_good(&lane->mark, f.now_ms));
    assert_int_equal(lanes_landed(f.lanes, claim, &dark, f.now_ms), CIRCUIT_REOPENED);
    assert_int_equal(lane->circuit.backoff_ms, 120000);
    assert_int_equal(lanes_course(f.lanes, lane, &arriving, f.now_ms), COURSE_PARK);
    destroy(&f);
}

/* Nor is anything else held against a host whose name gets no answer. */
static void test_a_name_without_an_answer_is_not_the_hosts_fault(void **state)
{
    struct fixture f;
    const struct lane_result results[] = {{.answer = LANE_UNRESOLVED, .total_ms = 5000},
                                          {.answer = LANE_UNSERVED, .total_ms = 5000}};
    (void)state;

    create(&f, 1, 8, 100, 1000);
    struct lane *lane = healthy(&f, "a.example");
    for (int i = 0; i < 20; i++) {
        add(&f, lane);
        struct claim *claim = next(&f, 0);
        assert_non_null(claim);
        assert_int_equal(lanes_landed(f.lanes, claim, &results[i % 2], f.now_ms), CIRCUIT_SAME);
        add(&f, lane);
        assert_null(next(&f, 0)); /* but it isn't asked for at once again */
        f.now_ms += 2000;
        lanes_wake(f.lanes, f.now_ms);
        lanes_remove(f.lanes, lanes_oldest(lane), f.now_ms);
    }
    assert_int_equal(lane->circuit.state, CIRCUIT_CLOSED);
    assert_int_equal(lane->circuit.failures, 0);
    assert_int_equal(lane->window.size, 8);
    assert_false(lane->suspect);
    destroy(&f);
}

static void test_a_pardoned_host_is_probed_at_once(void **state)
{
    struct fixture f;
    const struct claim arriving = {.origin = ORIGIN_QUEUE};
    (void)state;

    create(&f, 1, 8, 100, 1000);
    lanes_set_fleet(f.lanes, 1, 1000000000);
    struct lane *lane = healthy(&f, "a.example");
    int64_t unix_ms = lanes_unix_ms(f.lanes, f.now_ms);
    lanes_adopt_open(f.lanes, lane, unix_ms - 1000, unix_ms + 3600000, 3600000, f.now_ms);
    assert_int_equal(lanes_course(f.lanes, lane, &arriving, f.now_ms), COURSE_PARK);
    lanes_pardon(f.lanes, lane, f.now_ms);
    assert_int_equal(lane->circuit.state, CIRCUIT_OPEN); /* what is parked stays until it answers */
    assert_int_equal(lanes_course(f.lanes, lane, &arriving, f.now_ms), COURSE_LANE);
    add(&f, lane);
    assert_non_null(next(&f, 0));
    assert_true(lanes_is_probe(lane));
    destroy(&f);
}

static void test_a_lost_token_leaves_the_probe_to_another(void **state)
{
    struct fixture f;
    const struct claim arriving = {.origin = ORIGIN_QUEUE};
    (void)state;

    create(&f, 1, 8, 100, 1000);
    struct lane *lane = healthy(&f, "a.example");
    lanes_adopt_open(f.lanes, lane, f.now_ms - 1000, f.now_ms - 1, 30000, f.now_ms);
    assert_int_equal(lanes_course(f.lanes, lane, &arriving, f.now_ms), COURSE_LANE);
    struct claim *claim = add(&f, lane);
    assert_int_equal(lanes_course(f.lanes, lane, &arriving, f.now_ms), COURSE_PARK);
    assert_ptr_equal(next(&f, 0), claim);
    lanes_probe_asked(f.lanes, lane, f.now_ms);
    lanes_probe_answered(f.lanes, lane, false, f.now_ms);
    assert_null(next(&f, 0));
    lanes_adopt_closed(f.lanes, lane, f.now_ms);
    assert_ptr_equal(next(&f, 0), claim);
    destroy(&f);
}

/* A job for the probe is claimed, and there would be none if all were kept away. */
static void test_what_comes_is_parked_unless_a_probe_is_near(void **state)
{
    struct fixture f;
    const struct claim arriving = {.origin = ORIGIN_SCHEDULE};
    (void)state;

    create(&f, 1, 8, 100, 1000);
    struct lane *lane = healthy(&f, "a.example");
    assert_false(lanes_parks(f.lanes, lane, &arriving, f.now_ms));
    lanes_adopt_open(f.lanes, lane, f.now_ms, f.now_ms + 5000, 30000, f.now_ms);
    assert_true(lanes_parks(f.lanes, lane, &arriving, f.now_ms + 3999));
    assert_false(lanes_parks(f.lanes, lane, &arriving, f.now_ms + 4000));
    assert_int_equal(lanes_course(f.lanes, lane, &arriving, f.now_ms + 4000), COURSE_PARK);
    f.now_ms += 5000;
    assert_false(lanes_parks(f.lanes, lane, &arriving, f.now_ms));
    struct claim *claim = add(&f, lane); /* the probe's */
    assert_true(lanes_parks(f.lanes, lane, &arriving, f.now_ms));
    lanes_probe_asked(f.lanes, lane, f.now_ms);
    lanes_probe_answered(f.lanes, lane, true, f.now_ms);
    assert_ptr_equal(next(&f, 0), claim);
    assert_true(lanes_parks(f.lanes, lane, &arriving, f.now_ms));
    land_as(&f, claim, LANE_UNTRIED); /* won, and nothing to make it with */
    assert_false(lanes_parks(f.lanes, lane, &arriving, f.now_ms));
    destroy(&f);
}

static void test_windows_and_rate_are_the_machines_share(void **state)
{
    struct fixture f;
    (void)state;

    create(&f, 1, 8, 100, 1000);
    struct lane *lane = healthy(&f, "a.example");
    for (int i = 0; i < 20; i++)
        add(&f, lane);
    lanes_set_fleet(f.lanes, 4, 0);
    assert_non_null(next(&f, 0));
    assert_non_null(next(&f, 0));
    assert_null(next(&f, 0));
    lanes_set_fleet(f.lanes, 1, 0);
    lanes_set_rate(f.lanes, 10, f.now_ms);
    land(&f, f.claims[0], false);
    unsigned started = 0;
    for (int64_t end = f.now_ms + 1000; f.now_ms < end; f.now_ms++) {
        struct claim *claim = next(&f, 0);
        if (claim != NULL) {
            started++;
            land(&f, claim, false);
        }
    }
    assert_in_range(started, 9, 11);
    destroy(&f);
}

/* However small the look-ahead and large the fleet: what is only booked is never delivered. */
static void test_a_lane_has_room_for_one_in_any_fleet(void **state)
{
    struct fixture f;
    (void)state;

    create(&f, 1, 8, 16, 16);
    lanes_set_fleet(f.lanes, 40, 0);
    struct lane *lane = healthy(&f, "a.example");
    assert_true(has_room(&f, lane, false));
    add(&f, lane);
    assert_false(has_room(&f, lane, false));
    assert_non_null(next(&f, 0));
    assert_true(has_room(&f, lane, false));
    destroy(&f);
}

/* Thirty hosts that were good fail at once: it is us, and nothing is held against them. */
static void test_when_all_fail_we_suspect_ourselves(void **state)
{
    struct fixture f;
    char host[32];
    (void)state;

    create(&f, 1, 8, 100, 1000);
    for (unsigned i = 0; i < 30; i++) {
        snprintf(host, sizeof(host), "h%u.example", i);
        lanes_learn(f.lanes, str_of(host), false, f.now_ms - 60000, f.now_ms);
        add(&f, lane_of(&f, host));
        add(&f, lane_of(&f, host));
    }
    for (unsigned i = 0; i < 30; i++)
        assert_non_null(next(&f, 0));
    for (unsigned i = 0; i < 30; i++) {
        assert_int_equal(lanes_suspicious(f.lanes, f.now_ms), i >= SUSPICION_HOSTS);
        land(&f, f.claims[(size_t)i * 2], true);
    }
    assert_int_equal(lanes_doubt(f.lanes, f.now_ms, f.now_ms, f.now_ms), DOUBT_OURS);
    assert_int_equal(lanes_find(f.lanes, STR("h3.example"))->circuit.failures, 0);
    unsigned trials = 0;
    struct claim *trial[SUSPICION_TRIALS] = {NULL};
    for (struct claim *claim; (claim = next(&f, 0)) != NULL; trials++)
        trial[trials % SUSPICION_TRIALS] = claim;
    assert_int_equal(trials, SUSPICION_TRIALS);
    land_as(&f, trial[0], LANE_UNTRIED); /* it wasn't made after all: another may be */
    trial[0] = next(&f, 0);
    assert_non_null(trial[0]);
    assert_null(next(&f, 0));
    f.now_ms += SUSPICION_TRIAL_MS;
    struct claim *late = next(&f, 0);
    assert_non_null(late);
    f.now_ms += 10;
    for (unsigned i = 0; i < SUSPICION_TRIALS; i++) {
        assert_true(lanes_suspicious(f.lanes, f.now_ms));
        land(&f, trial[i], false);
    }
    assert_false(lanes_suspicious(f.lanes, f.now_ms));
    f.now_ms += 100;
    struct lane *lane = late->lane;
    land(&f, late, true); /* it started before the end */
    assert_int_equal(lane->circuit.failures, 0);
    while (next(&f, 0) != NULL)
        trials++;
    assert_true(trials > 20);
    destroy(&f);
}

/* Whatever is known of a host: what fails while the trouble is ours is not held against its job. */
static void test_our_own_trouble_is_nobodys_fault(void **state)
{
    struct fixture f;
    char host[32];
    (void)state;

    create(&f, 1, 8, 100, 1000);
    lanes_learn(f.lanes, STR("bad.example"), true, 0, f.now_ms);
    assert_false(lanes_is_blameless(f.lanes, lane_of(&f, "new.example"), f.now_ms));
    lanes_learn(f.lanes, STR("good.example"), false, f.now_ms - 60000, f.now_ms);
    add(&f, lane_of(&f, "good.example"));
    land(&f, next(&f, 0), true);
    bool bad = lanes_is_blameless(f.lanes, lane_of(&f, "bad.example"), f.now_ms);
    bool unknown = lanes_is_blameless(f.lanes, lane_of(&f, "new.example"), f.now_ms);
    assert_false(bad);
    assert_true(unknown); /* while good ones fail */
    assert_int_equal(lanes_blame(f.lanes, bad, f.now_ms, f.now_ms), DOUBT_THEIRS);
    assert_int_equal(lanes_blame(f.lanes, unknown, f.now_ms, f.now_ms), DOUBT_WAIT);
    for (unsigned i = 0; i < 20; i++) { /* good before this machine's clock began */
        snprintf(host, sizeof(host), "h%u.example", i);
        lanes_learn(f.lanes, str_of(host), true, f.now_ms - NOW_MS - 1000,
                    f.now_ms - NOW_MS + 5000);
        assert_true(lanes_is_blameless(f.lanes, lane_of(&f, host), f.now_ms - NOW_MS + 5000));
    }
    destroy(&f);

    create(&f, 1, 8, 100, 1000);
    for (unsigned i = 0; i < 20; i++) {
        snprintf(host, sizeof(host), "h%u.example", i);
        lanes_learn(f.lanes, str_of(host), false, f.now_ms - 60000, f.now_ms);
        add(&f, lane_of(&f, host));
        land(&f, next(&f, 0), true);
    }
    assert_true(lanes_suspicious(f.lanes, f.now_ms));
    assert_int_equal(lanes_blame(f.lanes, bad, f.now_ms, f.now_ms), DOUBT_OURS);
    int64_t started_ms = f.now_ms;
    f.now_ms += SUSPICION_TRIAL_MS;
    for (unsigned i = 0; i < SUSPICION_TRIALS; i++) {
        snprintf(host, sizeof(host), "h%u.example", i);
        add(&f, lane_of(&f, host));
        land(&f, next(&f, 0), false);
    }
    assert_false(lanes_suspicious(f.lanes, f.now_ms));
    assert_int_equal(lanes_blame(f.lanes, bad, started_ms, f.now_ms + 5000), DOUBT_OURS);
    assert_int_equal(lanes_blame(f.lanes, bad, f.now_ms, f.now_ms + 5000), DOUBT_THEIRS);
    destroy(&f);
}

/* What waits behind an attempt that may never end must not keep others from being claimed. */
static void test_a_silent_suspect_is_not_waited_for(void **state)
{
    struct fixture f;
    (void)state;

    create(&f, 1, 4, 100, 160);
    struct lane *unknown = lanes_get(f.lanes, STR("unknown.example"), f.now_ms);
    for (int i = 0; i < 8; i++)
        add(&f, unknown);
    struct claim *first = next(&f, 0);
    assert_non_null(first);
    f.now_ms += 499;
    lanes_wake(f.lanes, f.now_ms);
    assert_int_equal(lanes_progressing(f.lanes), 7);
    f.now_ms += 1 + 32;
    lanes_wake(f.lanes, f.now_ms);
    assert_int_equal(lanes_progressing(f.lanes), 0);
    land(&f, first, false);
    assert_int_equal(lanes_progressing(f.lanes), 7);
    destroy(&f);
}

static void test_unknown_hosts_have_room_while_they_may_answer(void **state)
{
    struct fixture f;
    char host[32];
    (void)state;

    create(&f, 1, 4, 100, 160);
    struct lane *lane = NULL;
    for (unsigned i = 0; i < 30; i++) { /* sixty wait, of a look-ahead of 160 */
        snprintf(host, sizeof(host), "u%u.example", i);
        lane = lanes_get(f.lanes, str_of(host), f.now_ms);
        add(&f, lane);
        add(&f, lane);
        add(&f, lane);
    }
    while (next(&f, 0) != NULL)
        ;
    assert_true(has_room(&f, lane, false));
    f.now_ms += 500;
    assert_false(has_room(&f, lane, false));
    lane = lanes_get(f.lanes, STR("new.example"), f.now_ms);
    assert_true(has_room(&f, lane, false));
    destroy(&f);
}

static void test_suspects_without_a_slot_are_not_ready(void **state)
{
    struct fixture f;
    char host[32];
    (void)state;

    create(&f, 1, 4, 8, 1000);
    for (unsigned i = 0; i < 10; i++) {
        snprintf(host, sizeof(host), "s%u.example", i);
        add(&f, failing(&f, host));
    }
    assert_int_equal(lanes_ready(f.lanes), 10);
    while (next(&f, 0) != NULL)
        ;
    assert_int_equal(lanes_in_flight(f.lanes), 6);
    assert_int_equal(lanes_ready(f.lanes), 0);
    add(&f, healthy(&f, "h.example"));
    assert_int_equal(lanes_ready(f.lanes), 1);
    destroy(&f);
}

static void test_sweep_forgets_idle_lanes(void **state)
{
    struct fixture f;
    size_t at = 0;
    (void)state;

    create(&f, 1, 2, 100, 1000);
    learn(&f, "idle.example", false);
    f.now_ms += 1000;
    learn(&f, "recent.example", false);
    f.now_ms -= 1000;
    struct lane *busy = lane_of(&f, "busy.example");
    add(&f, busy);
    struct lane *flying = lane_of(&f, "flying.example");
    lanes_block(f.lanes, busy, true, f.now_ms);
    add(&f, flying);
    assert_ptr_equal(next(&f, 0), f.claims[1]);
    assert_int_equal(lanes_count(f.lanes), 4);
    assert_int_equal(lanes_sweep(f.lanes, f.now_ms + 3600001), 3);
    for (struct lane *lane; (lane = lanes_each(f.lanes, &at)) != NULL;)
        assert_false(str_equal(lane->host, STR("idle.example")));
    destroy(&f);
}

/* What was learnt until a known time isn't forgotten sooner. */
static void test_sweep_keeps_what_has_a_time(void **state)
{
    enum { HOUR_MS = 3600000 };
    struct fixture f;
    (void)state;

    create(&f, 1, 2, 100, 1000);
    struct lane *told = healthy(&f, "told.example");
    add(&f, told);
    const struct lane_result later = {
        .answer = LANE_UNAVAILABLE, .total_ms = 100, .hold_ms = 4 * HOUR_MS};
    lanes_landed(f.lanes, next(&f, 0), &later, f.now_ms);
    struct lane *heard = healthy(&f, "heard.example"); /* from another machine */
    lanes_adopt_hold(f.lanes, heard, lanes_unix_ms(f.lanes, f.now_ms) + 4 * HOUR_MS, f.now_ms);
    struct lane *booked = healthy(&f, "booked.example");
    lanes_booked(booked, f.now_ms + HOUR_MS);
    assert_int_equal(lanes_sweep(f.lanes, f.now_ms + HOUR_MS + 1), 3);
    assert_int_equal(lanes_sweep(f.lanes, f.now_ms + 2 * HOUR_MS), 2);
    assert_int_equal(lanes_sweep(f.lanes, f.now_ms + 4 * HOUR_MS - 1), 2);
    assert_int_equal(lanes_sweep(f.lanes, f.now_ms + 5 * HOUR_MS), 0);
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
        cmocka_unit_test(test_what_finds_no_room_books_behind_what_waits),
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
        cmocka_unit_test(test_one_of_a_pair_at_a_time_in_order),
        cmocka_unit_test(test_a_retried_job_keeps_the_place_of_its_pair),
        cmocka_unit_test(test_nothing_passes_what_is_away),
        cmocka_unit_test(test_what_never_comes_is_not_awaited_for_ever),
        cmocka_unit_test(test_what_is_away_for_long_is_awaited_in_redis),
        cmocka_unit_test(test_an_open_circuit_lets_one_probe_pass),
        cmocka_unit_test(test_who_waits_for_another_is_not_the_probe),
        cmocka_unit_test(test_a_probe_without_an_address_ends),
        cmocka_unit_test(test_a_probe_whose_name_alone_has_no_answer_fails),
        cmocka_unit_test(test_a_probe_of_a_good_host_fails),
        cmocka_unit_test(test_a_name_without_an_answer_is_not_the_hosts_fault),
        cmocka_unit_test(test_a_pardoned_host_is_probed_at_once),
        cmocka_unit_test(test_a_lost_token_leaves_the_probe_to_another),
        cmocka_unit_test(test_what_comes_is_parked_unless_a_probe_is_near),
        cmocka_unit_test(test_windows_and_rate_are_the_machines_share),
        cmocka_unit_test(test_a_lane_has_room_for_one_in_any_fleet),
        cmocka_unit_test(test_when_all_fail_we_suspect_ourselves),
        cmocka_unit_test(test_our_own_trouble_is_nobodys_fault),
        cmocka_unit_test(test_a_silent_suspect_is_not_waited_for),
        cmocka_unit_test(test_unknown_hosts_have_room_while_they_may_answer),
        cmocka_unit_test(test_suspects_without_a_slot_are_not_ready),
        cmocka_unit_test(test_sweep_forgets_idle_lanes),
        cmocka_unit_test(test_sweep_keeps_what_has_a_time),
    };
    return cmocka_run_group_tests(tests, start, NULL);
}
