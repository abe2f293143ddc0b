/* Which lanes are asked what they have use for, in which order, and how many a second. Pure. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>
#include <sodium.h>

#include "sched/lane.h"

enum { NOW_MS = 10000000, SECOND_MS = 1000, HOUR_MS = 3600000, LOOKAHEAD = 4096, A_SECOND = 1024 };

static struct rng rng;

struct fixture {
    struct lanes *lanes;
    int64_t now_ms;
    unsigned count; /* of jobs, the last call's */
};

static void create(struct fixture *f)
{
    const struct lane_options options = {.workers = 2,
                                         .host_window = 32,
                                         .max_in_flight = 2048,
                                         .lookahead_jobs = LOOKAHEAD,
                                         .rng = &rng};
    *f = (struct fixture){.lanes = lanes_create(&options), .now_ms = NOW_MS};
}

static struct lane *lane_of(struct fixture *f, unsigned number)
{
    char host[32];

    snprintf(host, sizeof(host), "%u.example", number);
    return lanes_get(f->lanes, str_of(host), f->now_ms);
}

/* Its circuit has closed. */
static struct lane *closed(struct fixture *f, unsigned number)
{
    struct lane *lane = lane_of(f, number);

    lanes_booked(lane, f->now_ms);
    lanes_want(f->lanes, lane, f->now_ms);
    return lane;
}

static struct lane *opened(struct fixture *f, unsigned number, int64_t probe_ms)
{
    struct lane *lane = lane_of(f, number);

    lanes_adopt_open(f->lanes, lane, f->now_ms, probe_ms, 30000, f->now_ms);
    lanes_want(f->lanes, lane, f->now_ms);
    return lane;
}

static struct lane *next(struct fixture *f)
{
    return lanes_next_call(f->lanes, &f->count, f->now_ms);
}

static void pass(struct fixture *f, int64_t ms)
{
    f->now_ms += ms;
    lanes_begin_calls(f->lanes, f->now_ms);
}

static void test_a_probe_is_called_when_it_is_due(void **state)
{
    struct fixture f;
    (void)state;

    create(&f);
    struct lane *lane = opened(&f, 1, f.now_ms + 90500);
    for (int i = 0; i < 90; i++) {
        pass(&f, SECOND_MS);
        assert_null(next(&f));
    }
    pass(&f, SECOND_MS);
    assert_ptr_equal(next(&f), lane);
    assert_int_equal(f.count, 1);
    assert_null(next(&f));
    lanes_released(f.lanes, lane, 1, 5, f.now_ms);
    for (int i = 0; i < 29; i++) { /* the one that was called is on its way */
        pass(&f, SECOND_MS);
        assert_null(next(&f));
    }
    pass(&f, SECOND_MS);
    assert_ptr_equal(next(&f), lane);
    lanes_released(f.lanes, lane, 1, 0, f.now_ms);
    assert_int_equal(lanes_wanted_back(f.lanes), 0);
    lanes_destroy(f.lanes);
}

/* An admin wants it tried, another machine has tried it. */
static void test_what_is_due_sooner_is_called_sooner(void **state)
{
    struct fixture f;
    (void)state;

    create(&f);
    struct lane *pardoned = opened(&f, 1, f.now_ms + HOUR_MS);
    struct lane *answers = opened(&f, 2, f.now_ms + HOUR_MS);
    opened(&f, 3, f.now_ms + HOUR_MS);
    pass(&f, 5 * SECOND_MS);
    assert_null(next(&f));
    lanes_pardon(f.lanes, pardoned, f.now_ms);
    lanes_adopt_closed(f.lanes, answers, f.now_ms);
    lanes_booked(answers, f.now_ms);
    lanes_want(f.lanes, answers, f.now_ms);
    pass(&f, SECOND_MS);
    assert_ptr_equal(next(&f), pardoned);
    assert_int_equal(f.count, 1);
    assert_ptr_equal(next(&f), answers);
    assert_true(f.count > 1 && f.count <= LANES_RELEASE_MOST);
    assert_null(next(&f));
    lanes_destroy(f.lanes);
}

/* None goes twice before each has gone once: what is left of it is called by the last tick. */
static void test_lanes_take_turns(void **state)
{
    enum { TICKS = 4, LANES = (TICKS - 1) * A_SECOND + 100, PARKED = 2 };
    struct fixture f;
    struct lane *lane;
    (void)state;

    create(&f);
    for (unsigned i = 0; i < LANES; i++)
        closed(&f, i);
    assert_int_equal(lanes_wanted_back(f.lanes), LANES);
    for (unsigned tick = 0; tick < TICKS; tick++) {
        unsigned called = 0;
        pass(&f, SECOND_MS);
        while ((lane = next(&f)) != NULL) {
            called++;
            lanes_released(f.lanes, lane, PARKED, 1, f.now_ms);
        }
        assert_int_equal(called, A_SECOND);
    }
    for (unsigned i = 0; i < LANES; i++)
        assert_true(lane_of(&f, i)->released_ms > NOW_MS);
    lanes_destroy(f.lanes);
}

static void test_a_second_calls_what_the_look_ahead_holds(void **state)
{
    enum { LANES = 100, EACH = 96 };
    struct fixture f;
    struct lane *lane;
    unsigned called = 0;
    (void)state;

    create(&f);
    for (unsigned i = 0; i < LANES; i++)
        closed(&f, i);
    pass(&f, SECOND_MS);
    while ((lane = next(&f)) != NULL) {
        called++;
        lanes_released(f.lanes, lane, EACH, 1000, f.now_ms);
    }
    assert_int_equal(called, LOOKAHEAD / EACH + 1);
    pass(&f, SECOND_MS);
    assert_non_null(next(&f));
    lanes_destroy(f.lanes);
}

static void test_what_is_booked_meanwhile_is_called_too(void **state)
{
    struct fixture f;
    (void)state;

    create(&f);
    struct lane *lane = closed(&f, 1);
    pass(&f, SECOND_MS);
    assert_ptr_equal(next(&f), lane);
    pass(&f, SECOND_MS); /* Redis hasn't answered */
    assert_null(next(&f));
    lanes_want(f.lanes, lane, f.now_ms);
    lanes_released(f.lanes, lane, 7, 0, f.now_ms);
    assert_true(lane->reserved_ms > f.now_ms);
    pass(&f, SECOND_MS);
    assert_ptr_equal(next(&f), lane);
    lanes_released(f.lanes, lane, 1, 0, f.now_ms);
    assert_int_equal(lane->reserved_ms, f.now_ms);
    assert_int_equal(lanes_wanted_back(f.lanes), 0);
    lanes_destroy(f.lanes);
}

/* A pause, or a host that has asked for hours: what is booked there is called when they are over.
 */
static void test_however_long_it_must_wait_it_is_called(void **state)
{
    const struct lane_limits paused = {.paused = true};
    const struct lane_limits none = {.paused = false};
    struct fixture f;
    (void)state;

    create(&f);
    struct lane *lane = closed(&f, 1);
    lanes_restrict(f.lanes, lane, &paused, f.now_ms);
    for (int minutes = 0; minutes < 180; minutes++) {
        pass(&f, 60 * SECOND_MS);
        assert_null(next(&f));
    }
    assert_int_equal(lanes_wanted_back(f.lanes), 1);
    lanes_restrict(f.lanes, lane, &none, f.now_ms);
    pass(&f, SECOND_MS);
    assert_ptr_equal(next(&f), lane);
    lanes_released(f.lanes, lane, 1, 0, f.now_ms);
    assert_int_equal(lanes_wanted_back(f.lanes), 0);
    lanes_destroy(f.lanes);
}

static void test_a_lane_that_is_forgotten_is_on_no_list(void **state)
{
    struct fixture f;
    (void)state;

    create(&f);
    closed(&f, 1);
    closed(&f, 2);
    pass(&f, SECOND_MS);
    assert_non_null(next(&f)); /* one is asked for, one is due */
    assert_int_equal(lanes_sweep(f.lanes, f.now_ms + 2 * HOUR_MS), 0);
    assert_int_equal(lanes_wanted_back(f.lanes), 0);
    pass(&f, SECOND_MS);
    assert_null(next(&f));
    struct lane *lane = lane_of(&f, 1); /* made anew before the answer comes */
    lanes_released(f.lanes, lane, 1, 3, f.now_ms);
    pass(&f, SECOND_MS);
    assert_ptr_equal(next(&f), lane);
    lanes_destroy(f.lanes);
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
        cmocka_unit_test(test_a_probe_is_called_when_it_is_due),
        cmocka_unit_test(test_what_is_due_sooner_is_called_sooner),
        cmocka_unit_test(test_lanes_take_turns),
        cmocka_unit_test(test_a_second_calls_what_the_look_ahead_holds),
        cmocka_unit_test(test_what_is_booked_meanwhile_is_called_too),
        cmocka_unit_test(test_however_long_it_must_wait_it_is_called),
        cmocka_unit_test(test_a_lane_that_is_forgotten_is_on_no_list),
    };
    return cmocka_run_group_tests(tests, start, NULL);
}
