/* What lanes promise about how fast a host's jobs go: to bookings, and to who claims. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <sodium.h>

#include "sched/lane.h"

enum { MAX_CLAIMS = 512, NOW_MS = 10000000, WINDOW = 8 };

static struct rng rng;

struct fixture {
    struct lanes *lanes;
    struct lane *lane;
    struct claim *claims[MAX_CLAIMS];
    size_t count;
    int64_t now_ms;
};

/* One healthy host with a wide window, whose attempts take 200 ms or so. */
static void create(struct fixture *f)
{
    const struct lane_options options = {.workers = 1,
                                         .host_window = WINDOW,
                                         .max_in_flight = 512,
                                         .lookahead_jobs = 8192,
                                         .rng = &rng};

    *f = (struct fixture){.lanes = lanes_create(&options), .now_ms = NOW_MS};
    lanes_learn(f->lanes, STR("host.example"), false, 0, f->now_ms);
    f->lane = lanes_get(f->lanes, STR("host.example"), f->now_ms);
    f->lane->window.size = WINDOW;
}

static void destroy(struct fixture *f)
{
    lanes_destroy(f->lanes);
    for (size_t i = 0; i < f->count; i++)
        claim_destroy(f->claims[i]);
}

static struct claim *add(struct fixture *f, uint64_t pair)
{
    struct claim *claim = claim_create(f->count + 1, ORIGIN_QUEUE, STR_NULL, STR("{}"));

    assert_true(f->count < MAX_CLAIMS);
    claim->job.retry_count = -1;
    claim->pair = pair;
    f->claims[f->count++] = claim;
    lanes_add(f->lanes, f->lane, claim, false, f->now_ms);
    return claim;
}

static struct claim *next(struct fixture *f)
{
    struct claim *claim = lanes_next(f->lanes, 0, f->now_ms);

    if (claim != NULL && !lanes_is_probe(claim->lane))
        lanes_start(f->lanes, claim, f->now_ms);
    return claim;
}

static void land(struct fixture *f, struct claim *claim)
{
    const struct lane_result result = {.answer = LANE_ANSWERED, .total_ms = 200};
    lanes_landed(f->lanes, claim, &result, f->now_ms);
}

/* Jobs of one sender go one at a time, so that the window says nothing about the pace. */
static void test_a_booking_follows_the_pace_that_is_seen(void **state)
{
    struct fixture f;

    (void)state;
    create(&f);
    int64_t hoped_ms = lanes_pace_ms(f.lanes, f.lane);
    for (unsigned i = 0; i < 100; i++)
        add(&f, 7);
    for (unsigned i = 0; i < 90; i++) {
        struct claim *claim = next(&f);
        assert_non_null(claim);
        assert_null(next(&f));
        f.now_ms += 200;
        land(&f, claim);
    }
    int64_t seen_ms = lanes_pace_ms(f.lanes, f.lane);
    assert_true(hoped_ms < 2 * 200 / WINDOW);
    assert_in_range(seen_ms, 180, 220);
    destroy(&f);
}

/* A pause in which nothing waited says nothing. */
static void test_idle_time_does_not_count(void **state)
{
    struct fixture f;

    (void)state;
    create(&f);
    for (unsigned i = 0; i < 50; i++) {
        add(&f, 0);
        land(&f, next(&f));
        f.now_ms += 1500;
    }
    assert_true(lanes_pace_ms(f.lanes, f.lane) < 2 * 200 / WINDOW);
    destroy(&f);
}

static void test_a_busy_sender_keeps_no_other_waiting(void **state)
{
    struct fixture f;

    (void)state;
    create(&f);
    struct claim *first = add(&f, 7);
    for (unsigned i = 0; i < 200; i++)
        add(&f, 7);
    struct claim *other = add(&f, 8);
    assert_ptr_equal(next(&f), first);
    assert_ptr_equal(next(&f), other);
    assert_null(next(&f));
    land(&f, first);
    assert_non_null(next(&f));
    destroy(&f);
}

/* Ten deliveries a second are all that goes: the window was never the limit, and stays as it is. */
static void test_a_window_that_is_not_the_limit_does_not_grow(void **state)
{
    struct fixture f;
    struct claim *claims[2];
    (void)state;

    create(&f);
    f.lane->window.size = 2;
    lanes_set_rate(f.lanes, 10, f.now_ms);
    while (next(&f) != NULL) /* what the rate's burst allows */
        ;
    for (unsigned i = 0; i < 300; i++)
        add(&f, 0);
    f.now_ms += 1000;
    for (unsigned landed = 0; landed < 60; f.now_ms += 10) {
        claims[0] = next(&f);
        if (claims[0] == NULL)
            continue;
        assert_null(next(&f));
        f.now_ms += 90;
        land(&f, claims[0]);
        landed++;
    }
    assert_int_equal(f.lane->window.size, 2);
    lanes_set_rate(f.lanes, 0, f.now_ms);
    for (unsigned i = 0; i < 4; i++) { /* now it is */
        claims[0] = next(&f);
        claims[1] = next(&f);
        assert_non_null(claims[1]);
        assert_int_equal(f.lane->in_flight, 2);
        land(&f, claims[0]);
        land(&f, claims[1]);
        if (f.lane->window.size > 2)
            break;
    }
    assert_int_equal(f.lane->window.size, 3);
    destroy(&f);
}

static void test_one_lane_counts_for_little_of_the_progress(void **state)
{
    struct fixture f;

    (void)state;
    create(&f);
    for (unsigned i = 0; i < 60; i++)
        add(&f, 0);
    assert_int_equal(lanes_progressing(f.lanes), 60);
    f.lane->mean_ms = 40;
    for (unsigned i = 0; i < 300; i++)
        add(&f, 0);
    assert_int_equal(lanes_progressing(f.lanes), 64);
    destroy(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_booking_follows_the_pace_that_is_seen),
        cmocka_unit_test(test_idle_time_does_not_count),
        cmocka_unit_test(test_a_busy_sender_keeps_no_other_waiting),
        cmocka_unit_test(test_a_window_that_is_not_the_limit_does_not_grow),
        cmocka_unit_test(test_one_lane_counts_for_little_of_the_progress),
    };

    if (sodium_init() == -1)
        return 1;
    rng = rng_system();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
