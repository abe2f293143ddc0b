/* Hosts that hold us back (429 with and without Retry-After) and those that an admin slows down:
 * what waits for them takes neither the look-ahead nor the claims of the others. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>
#include <sodium.h>

#include "sched/appetite.h"

enum { MAX_CLAIMS = 1024, NOW_MS = 10000000, LOOKAHEAD = 640, SHARE = LOOKAHEAD / 16 };

static struct rng rng;

struct fixture {
    struct lanes *lanes;
    struct claim *claims[MAX_CLAIMS];
    size_t count;
    int64_t now_ms;
};

static void create(struct fixture *f)
{
    const struct lane_options options = {.workers = 1,
                                         .host_window = 8,
                                         .max_in_flight = 512,
                                         .lookahead_jobs = LOOKAHEAD,
                                         .rng = &rng};

    *f = (struct fixture){.lanes = lanes_create(&options), .now_ms = NOW_MS};
}

static void destroy(struct fixture *f)
{
    lanes_destroy(f->lanes);
    for (size_t i = 0; i < f->count; i++)
        claim_destroy(f->claims[i]);
}

static struct claim *add(struct fixture *f, struct lane *lane)
{
    struct claim *claim = claim_create(f->count + 1, ORIGIN_QUEUE, STR_NULL, STR("{}"));

    assert_true(f->count < MAX_CLAIMS);
    claim->job.retry_count = -1;
    f->claims[f->count++] = claim;
    lanes_add(f->lanes, lane, claim, false, f->now_ms);
    return claim;
}

static enum course course(const struct fixture *f, const struct lane *lane,
                          enum claim_origin origin)
{
    const struct claim claim = {.origin = origin};
    return lanes_course(f->lanes, lane, &claim, f->now_ms);
}

static struct lane *healthy(struct fixture *f, unsigned number)
{
    char host[32];

    snprintf(host, sizeof(host), "h%u.example", number);
    lanes_learn(f->lanes, str_of(host), false, 0, f->now_ms);
    return lanes_get(f->lanes, str_of(host), f->now_ms);
}

/* NULL, or what goes next. */
static struct claim *next(struct fixture *f)
{
    struct claim *claim = lanes_next(f->lanes, 0, f->now_ms);

    if (claim != NULL)
        lanes_start(f->lanes, claim, f->now_ms);
    return claim;
}

/* One job of this host is answered so. */
static void answer(struct fixture *f, struct lane *lane, const struct lane_result *result)
{
    add(f, lane);
    struct claim *claim = next(f);
    assert_non_null(claim);
    assert_ptr_equal(claim->lane, lane);
    lanes_landed(f->lanes, claim, result, f->now_ms);
}

/* It answers 429 and wants nothing for so long; `waiting` jobs are there already. */
static struct lane *held(struct fixture *f, unsigned number, int64_t hold_ms, unsigned waiting)
{
    const struct lane_result result = {
        .answer = LANE_PUSHED_BACK, .total_ms = 10, .hold_ms = hold_ms};
    struct lane *lane = healthy(f, number);

    answer(f, lane, &result);
    for (unsigned i = 0; i < waiting; i++)
        add(f, lane);
    return lane;
}

static unsigned room(struct fixture *f)
{
    const struct appetite appetite = {
        .lookahead_jobs = LOOKAHEAD, .lookahead_bytes = 1000000, .max_in_flight = 512};
    return appetite_room(&appetite, f->lanes, 0, 0, f->now_ms).jobs;
}

/* Large payloads make the look-ahead short: a quarter of it is less than a good batch then. */
static void test_pull_has_room_in_a_short_lookahead(void **state)
{
    const struct appetite appetite = {.lookahead_bytes = 1000000};
    struct fixture f;
    (void)state;

    create(&f);
    lanes_set_lookahead(f.lanes, 400);
    assert_int_equal(appetite_pull_room(&appetite, f.lanes, 0, 0, f.now_ms).jobs, 100);
    destroy(&f);
}

static void test_nothing_goes_before_retry_after(void **state)
{
    struct fixture f;
    (void)state;

    create(&f);
    struct lane *lane = held(&f, 0, 5000, 3);
    assert_null(next(&f));
    f.now_ms += 4900;
    lanes_wake(f.lanes, f.now_ms);
    assert_null(next(&f));
    f.now_ms += 200;
    lanes_wake(f.lanes, f.now_ms);
    assert_non_null(next(&f));
    assert_int_equal(lane->circuit.state, CIRCUIT_CLOSED);
    destroy(&f);
}

/* Whoever was told goes first: three seconds later the others may. */
static void test_what_another_machine_was_told_holds_here_too(void **state)
{
    struct fixture f;
    (void)state;

    create(&f);
    lanes_set_fleet(f.lanes, 2, 1000000000);
    struct lane *lane = healthy(&f, 0);
    lanes_adopt_hold(f.lanes, lane, 1000000000 + f.now_ms + 600000, f.now_ms);
    assert_in_range(lane->window.not_before_ms - f.now_ms, 603000, 615000);
    add(&f, lane);
    f.now_ms += 602000;
    lanes_wake(f.lanes, f.now_ms);
    assert_null(next(&f));
    f.now_ms += 13100;
    lanes_wake(f.lanes, f.now_ms);
    assert_non_null(next(&f));
    lanes_adopt_hold(f.lanes, lane, 1000000000 + f.now_ms, f.now_ms); /* it is over */
    assert_true(lane->window.not_before_ms <= f.now_ms);
    destroy(&f);
}

static void test_held_hosts_stop_no_claims(void **state)
{
    struct fixture f;
    (void)state;

    create(&f);
    for (unsigned i = 0; i < 4; i++)
        held(&f, i, 6 * 3600000, SHARE)->mean_ms = 1;
    assert_int_equal(lanes_progressing(f.lanes), 0);
    assert_true(room(&f) > 64);
    f.now_ms += 6 * 3600000; /* then they go, and are waited for */
    lanes_wake(f.lanes, f.now_ms);
    assert_int_equal(lanes_progressing(f.lanes), 4 * SHARE);
    destroy(&f);
}

/* All held and failing hosts together hold a quarter of the look-ahead. */
static void test_held_hosts_leave_room_to_others(void **state)
{
    struct fixture f;
    unsigned filled = 0;
    (void)state;

    create(&f);
    for (; filled < 20; filled++) {
        struct lane *lane = held(&f, filled, 50000, 0);
        if (course(&f, lane, ORIGIN_QUEUE) != COURSE_LANE)
            break;
        while (course(&f, lane, ORIGIN_QUEUE) == COURSE_LANE)
            add(&f, lane);
    }
    assert_int_equal(filled, 4);
    assert_int_equal(lanes_waiting(f.lanes), LOOKAHEAD / 4);
    assert_int_equal(course(&f, healthy(&f, 50), ORIGIN_QUEUE), COURSE_LANE);
    f.now_ms += 51000; /* they are as good as any other */
    lanes_wake(f.lanes, f.now_ms);
    assert_int_equal(course(&f, lanes_find(f.lanes, STR("h4.example")), ORIGIN_QUEUE), COURSE_LANE);
    destroy(&f);
}

/* What arrives waits in Redis when it can't go within a minute; but one is at hand. */
static void test_a_host_that_pushes_back_holds_a_minutes_worth(void **state)
{
    struct fixture f;
    (void)state;

    create(&f);
    struct lane *lane = held(&f, 1, 3600000, 0);
    assert_int_equal(course(&f, lane, ORIGIN_QUEUE), COURSE_LANE);
    add(&f, lane);
    assert_int_equal(course(&f, lane, ORIGIN_QUEUE), COURSE_BOOK);
    lane = healthy(&f, 0);
    lane->window.gap_ms = 20000;
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(course(&f, lane, ORIGIN_QUEUE), COURSE_LANE);
        add(&f, lane);
    }
    assert_int_equal(course(&f, lane, ORIGIN_QUEUE), COURSE_BOOK);
    assert_int_equal(course(&f, lane, ORIGIN_SCHEDULE), COURSE_LANE); /* it has waited there */
    destroy(&f);
}

static void test_what_is_held_begins_when_the_host_wants_it(void **state)
{
    struct fixture f;
    (void)state;

    create(&f);
    struct lane *lane = held(&f, 0, 1800000, 1);
    assert_in_range(lanes_book_ms(f.lanes, lane, f.now_ms), 1800000, 1801000);
    assert_in_range(lanes_book_low_ms(f.lanes, lane, f.now_ms), 1800000, 1802000);
    lanes_booked(lane, f.now_ms);
    assert_int_equal(lanes_release(f.lanes, lane, f.now_ms + 60000), 0); /* nor earlier */
    lanes_remove(f.lanes, lanes_oldest(lane), f.now_ms);
    assert_true(lanes_release(f.lanes, lane, f.now_ms + 1800000) > 0);
    destroy(&f);
}

/* They were full of jobs when their hosts asked for time: the quarter is kept all the same. */
static void test_what_exceeds_the_quarter_is_booked(void **state)
{
    struct fixture f;
    struct lane *lanes[16];
    (void)state;

    create(&f);
    for (unsigned i = 0; i < 16; i++) {
        lanes[i] = held(&f, i, i % 2 == 0 ? 3600000 : 30000, 0);
        for (unsigned j = 0; j < SHARE; j++)
            add(&f, lanes[i]);
    }
    assert_int_equal(lanes_waiting(f.lanes), LOOKAHEAD);
    for (unsigned i = 0; i < 16; i++) {
        struct claim *claim;
        uint64_t last = 0;
        while ((claim = lanes_excess(f.lanes, lanes[i], f.now_ms)) != NULL) {
            assert_true(claim->seq > last); /* in their order */
            last = claim->seq;
            lanes_remove(f.lanes, claim, f.now_ms);
        }
        assert_true(lanes[i]->waiting >= i % 2);
    }
    assert_in_range(lanes_waiting(f.lanes), 1, LOOKAHEAD / 4);
    assert_null(lanes_excess(f.lanes, healthy(&f, 50), f.now_ms));
    destroy(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pull_has_room_in_a_short_lookahead),
        cmocka_unit_test(test_nothing_goes_before_retry_after),
        cmocka_unit_test(test_what_another_machine_was_told_holds_here_too),
        cmocka_unit_test(test_held_hosts_stop_no_claims),
        cmocka_unit_test(test_held_hosts_leave_room_to_others),
        cmocka_unit_test(test_a_host_that_pushes_back_holds_a_minutes_worth),
        cmocka_unit_test(test_what_is_held_begins_when_the_host_wants_it),
        cmocka_unit_test(test_what_exceeds_the_quarter_is_booked),
    };

    if (sodium_init() == -1)
        return 1;
    rng = rng_system();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
