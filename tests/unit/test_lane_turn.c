/* Whose turn it is: what is only named takes nothing, the jobs of a pair keep their order wherever
 * they wait, and hosts of which little is known have their turns when there is too much to do. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>
#include <sodium.h>

#include "sched/lane.h"

enum { MAX_CLAIMS = 4096, NOW_MS = 10000000, OFFSET_MS = 1000000000 };

static struct rng rng;

struct fixture {
    struct lanes *lanes;
    struct claim *claims[MAX_CLAIMS];
    size_t count;
    int64_t now_ms;
};

static struct fixture *create(unsigned workers, double max_rate)
{
    const struct lane_options options = {.workers = workers,
                                         .host_window = 32,
                                         .max_in_flight = 512,
                                         .lookahead_jobs = 16384,
                                         .max_rate = max_rate,
                                         .rng = &rng};
    struct fixture *f = mem_alloc(sizeof(*f));

    f->lanes = lanes_create(&options);
    f->now_ms = NOW_MS;
    lanes_set_fleet(f->lanes, 1, OFFSET_MS);
    lanes_set_rate(f->lanes, max_rate, f->now_ms);
    return f;
}

static void destroy(struct fixture *f)
{
    lanes_destroy(f->lanes);
    for (size_t i = 0; i < f->count; i++)
        claim_destroy(f->claims[i]);
    free(f);
}

static struct lane *stranger(struct fixture *f, const char *kind, unsigned number)
{
    char host[32];

    snprintf(host, sizeof(host), "%s%u.example", kind, number);
    return lanes_get(f->lanes, str_of(host), f->now_ms);
}

static struct lane *good(struct fixture *f, unsigned number)
{
    struct lane *lane = stranger(f, "good", number);

    lanes_learn(f->lanes, lane->host, false, 0, f->now_ms);
    return lane;
}

/* A host that wants a request in so long. */
static struct lane *slow(struct fixture *f, int64_t gap_ms)
{
    const struct lane_limits limits = {.min_gap_ms = gap_ms};
    struct lane *lane = good(f, 0);

    lanes_restrict(f->lanes, lane, &limits, f->now_ms);
    return lane;
}

static struct claim *make(struct fixture *f, uint64_t pair, int created_s, int64_t retry_count)
{
    assert_true(f->count < MAX_CLAIMS);
    struct claim *claim = claim_create(f->count + 1, ORIGIN_QUEUE, STR_NULL, STR("{}"));
    claim->pair = pair;
    claim->job.created_at_s = created_s;
    claim->job.retry_count = retry_count;
    f->claims[f->count++] = claim;
    return claim;
}

static struct claim *add(struct fixture *f, struct lane *lane)
{
    struct claim *claim = make(f, 0, 0, -1);

    lanes_add(f->lanes, lane, claim, false, f->now_ms);
    return claim;
}

static struct claim *named(struct fixture *f)
{
    return lanes_next(f->lanes, 0, f->now_ms);
}

static struct claim *next(struct fixture *f, unsigned worker)
{
    struct claim *claim = lanes_next(f->lanes, worker, f->now_ms);

    if (claim != NULL)
        lanes_start(f->lanes, claim, f->now_ms);
    return claim;
}

static void land(struct fixture *f, struct claim *claim, enum lane_answer answer)
{
    const struct lane_result result = {.answer = answer, .total_ms = 10};
    lanes_landed(f->lanes, claim, &result, f->now_ms);
}

static void pass(struct fixture *f, int64_t ms)
{
    f->now_ms += ms;
    lanes_wake(f->lanes, f->now_ms);
}

/* --- what is only named --- */

/* Something must be asked about it, and the answer is good for less than the gap. */
static void test_asking_takes_no_turn(void **state)
{
    struct fixture *f = create(1, 0.02); /* a token each fifty seconds */
    (void)state;

    struct lane *lane = slow(f, 60000);
    struct claim *first = add(f, lane);
    struct claim *second = add(f, lane);
    pass(f, 60000);
    for (int i = 0; i < 20; i++) {
        assert_ptr_equal(named(f), first);
        lanes_block(f->lanes, lane, true, f->now_ms);
        assert_null(named(f));
        pass(f, 5);
        lanes_block(f->lanes, lane, false, f->now_ms);
    }
    assert_ptr_equal(next(f, 0), first);
    land(f, first, LANE_ANSWERED);
    pass(f, 59000);
    assert_null(named(f));
    pass(f, 1100);
    assert_ptr_equal(next(f, 0), second);
    land(f, second, LANE_ANSWERED);
    destroy(f);
}

/* A worker gives it back: its host saw nothing of it. */
static void test_what_was_not_tried_gives_its_turn_back(void **state)
{
    struct fixture *f = create(1, 0.02);
    (void)state;

    struct lane *lane = slow(f, 60000);
    struct claim *first = add(f, lane);
    pass(f, 60000);
    for (int i = 0; i < 5; i++) {
        assert_ptr_equal(next(f, 0), first);
        pass(f, 10);
        land(f, first, LANE_UNTRIED);
        lanes_add(f->lanes, lane, first, true, f->now_ms);
    }
    assert_ptr_equal(next(f, 0), first);
    land(f, first, LANE_ANSWERED);
    add(f, lane);
    pass(f, 59000);
    assert_null(named(f));
    destroy(f);
}

/* A post for followers leaves its lane to be counted for; what else waits would take its turn, and
 * the count be too old at the next one, for ever. */
static void test_a_turn_is_kept_for_what_is_asked_about(void **state)
{
    struct fixture *f = create(1, 0);
    (void)state;

    struct lane *lane = slow(f, 60000);
    struct claim *post = add(f, lane);
    struct claim *other = add(f, lane);
    assert_ptr_equal(named(f), post);
    lanes_remove(f->lanes, post, f->now_ms);
    lanes_keep_turn(f->lanes, lane, f->now_ms);
    pass(f, 20000);
    assert_null(named(f));
    lanes_add(f->lanes, lane, post, true, f->now_ms);
    assert_ptr_equal(next(f, 0), post);
    land(f, post, LANE_ANSWERED);
    pass(f, 60100);
    lanes_keep_turn(f->lanes, lane, f->now_ms); /* for what never comes */
    pass(f, 59000);
    assert_null(named(f));
    pass(f, 1100);
    assert_ptr_equal(named(f), other);
    struct lane *fast = good(f, 1);
    struct claim *at_once = add(f, fast);
    lanes_block(f->lanes, lane, true, f->now_ms);
    lanes_keep_turn(f->lanes, fast, f->now_ms);
    assert_ptr_equal(named(f), at_once);
    destroy(f);
}

/* --- pairs --- */

static void test_undo_waits_for_a_follow_among_many(void **state)
{
    struct fixture *f = create(1, 0);
    struct claim *follow = NULL;
    (void)state;

    struct lane *lane = good(f, 0);
    for (unsigned i = 0; i < 600; i++) {
        struct claim *claim = make(f, i + 1, 100, 0);
        lanes_add(f->lanes, lane, claim, false, f->now_ms);
        if (i == 580)
            follow = claim;
    }
    struct claim *undo = make(f, follow->pair, 200, -1);
    lanes_add(f->lanes, lane, undo, false, f->now_ms);
    assert_ptr_equal(next(f, 0), follow); /* in the place of its Undo */
    for (int i = 0; i < 8; i++) {
        struct claim *claim = next(f, 0);
        assert_ptr_not_equal(claim, undo);
        if (claim != NULL)
            land(f, claim, LANE_ANSWERED);
    }
    land(f, follow, LANE_ANSWERED);
    while (undo->state == CLAIM_LANE) {
        struct claim *claim = next(f, 0);
        assert_non_null(claim);
        land(f, claim, LANE_ANSWERED);
    }
    destroy(f);
}

/* Six senders' jobs, fresh and retried, come in any order, go away and come back. */
static void test_pairs_keep_their_order_whatever_happens(void **state)
{
    enum { JOBS = 400, SENDERS = 6 };
    struct fixture *f = create(1, 0);
    int last_s[SENDERS] = {0};
    unsigned done = 0;
    (void)state;

    struct lane *lane = good(f, 0);
    for (unsigned i = 0; i < JOBS; i++) {
        unsigned created_s = 1 + randombytes_uniform(100000);
        int64_t retries = randombytes_uniform(2) == 0 ? -1 : 3;
        struct claim *claim = make(f, 1 + randombytes_uniform(SENDERS), (int)created_s, retries);
        claim->origin = retries < 0 ? ORIGIN_SCHEDULE : ORIGIN_RETRY;
        lanes_add(f->lanes, lane, claim, randombytes_uniform(8) == 0, f->now_ms);
    }
    for (unsigned i = 0; i < 100; i++) { /* taken out, and put back at either end */
        struct claim *claim = f->claims[randombytes_uniform(JOBS)];
        lanes_remove(f->lanes, claim, f->now_ms);
        lanes_add(f->lanes, lane, claim, i % 2 == 0, f->now_ms);
    }
    while (done < JOBS) {
        struct claim *claim = next(f, 0);
        assert_non_null(claim);
        int *last = &last_s[claim->pair - 1];
        assert_true((int)claim->job.created_at_s >= *last);
        *last = (int)claim->job.created_at_s;
        land(f, claim, LANE_ANSWERED);
        done++;
    }
    assert_null(named(f));
    destroy(f);
}

/* A probe is made with it: nothing older may be left behind. */
static void test_the_oldest_is_that_of_its_pair(void **state)
{
    struct fixture *f = create(1, 0);
    (void)state;

    struct lane *lane = good(f, 0);
    assert_null(lanes_oldest(lane));
    struct claim *undo = make(f, 7, 200, -1);
    struct claim *other = make(f, 8, 50, 0);
    struct claim *follow = make(f, 7, 100, 0); /* claimed last: it has failed before */
    lanes_add(f->lanes, lane, undo, false, f->now_ms);
    lanes_add(f->lanes, lane, other, false, f->now_ms);
    lanes_add(f->lanes, lane, follow, false, f->now_ms);
    struct claim *const order[] = {follow, undo, other};
    for (size_t i = 0; i < 3; i++) {
        assert_ptr_equal(lanes_oldest(lane), order[i]);
        lanes_remove(f->lanes, order[i], f->now_ms);
    }
    destroy(f);
}

/* --- turns of hosts --- */

/* So long at a hundred a second, with sixty hosts that take all of it. Returns how many went to
 * them. */
static unsigned run_full(struct fixture *f, int64_t ms)
{
    unsigned sent = 0;

    for (int64_t end_ms = f->now_ms + ms; f->now_ms < end_ms; pass(f, 10)) {
        for (unsigned i = 0; i < 2; i++) { /* workers take turns */
            unsigned worker = (unsigned)(f->now_ms / 10 + i) % 2;
            struct claim *claim;
            while ((claim = next(f, worker)) != NULL) {
                struct lane *lane = claim->lane;
                land(f, claim, LANE_ANSWERED);
                if (lane->host.ptr[0] != 'g')
                    continue;
                sent++;
                lanes_add(f->lanes, lane, claim, false, f->now_ms);
            }
        }
    }
    return sent;
}

static void test_strangers_have_turns_when_the_rate_is_the_limit(void **state)
{
    struct fixture *f = create(2, 100);
    struct lane *open = stranger(f, "probed", 0);
    (void)state;

    for (unsigned i = 0; i < 60; i++) {
        struct lane *lane = good(f, i);
        for (int j = 0; j < 4; j++)
            add(f, lane);
    }
    for (unsigned i = 0; i < 30; i++) {
        struct lane *lane = stranger(f, "new", i);
        assert_true(lane->suspect);
        add(f, lane);
    }
    lanes_adopt_open(f->lanes, open, OFFSET_MS, OFFSET_MS + f->now_ms - 1, 30000, f->now_ms);
    lanes_probe_asked(f->lanes, open, f->now_ms);
    struct claim *probe = add(f, open);
    lanes_probe_answered(f->lanes, open, true, f->now_ms);
    unsigned sent = run_full(f, 4000);
    assert_true(lanes_are_short(f->lanes, f->now_ms));
    assert_int_equal(probe->state, CLAIM_NEW);
    for (unsigned i = 0; i < 30; i++)
        assert_int_equal(stranger(f, "new", i)->waiting, 0);
    assert_in_range(sent, 400 - 31 - 5, 400 - 31 + 12);
    destroy(f);
}

/* They don't answer: each eighth turn is all they get. */
static void test_the_dead_take_an_eighth_at_most(void **state)
{
    struct fixture *f = create(1, 100);
    unsigned dead = 0;
    unsigned sent = 0;
    (void)state;

    for (unsigned i = 0; i < 10; i++) {
        struct lane *lane = good(f, i);
        for (int j = 0; j < 40; j++)
            add(f, lane);
    }
    for (unsigned i = 0; i < 200; i++)
        add(f, stranger(f, "dead", i));
    for (int64_t end_ms = f->now_ms + 4000; f->now_ms < end_ms; pass(f, 10)) {
        struct claim *claim;
        while ((claim = next(f, 0)) != NULL) {
            sent++;
            if (claim->lane->host.ptr[0] == 'g')
                land(f, claim, LANE_ANSWERED);
            else
                dead++; /* it says nothing */
        }
    }
    assert_in_range(sent, 395, 412);
    assert_in_range(dead, sent / 8 - 2, sent / 8 + 2);
    assert_false(lanes_are_short(f->lanes, f->now_ms + 1000));
    destroy(f);
}

/* Of what comes from `pull`, which has an eighth of the slots. */
static void test_low_jobs_of_strangers_have_turns_among_low_ones(void **state)
{
    struct fixture *f = create(2, 100);
    (void)state;

    for (unsigned i = 0; i < 40; i++) {
        struct claim *claim = make(f, 0, 0, -1);
        claim->low = true;
        lanes_add(f->lanes, i < 30 ? good(f, i) : stranger(f, "new", i), claim, false, f->now_ms);
    }
    assert_true(run_full(f, 4000) > 300);
    for (unsigned i = 30; i < 40; i++)
        assert_int_equal(stranger(f, "new", i)->low_waiting, 0);
    destroy(f);
}

static void forget_all(struct fixture *f)
{
    pass(f, 3600001);
    assert_int_equal(lanes_sweep(f->lanes, f->now_ms), 0);
}

static void test_a_good_host_is_no_stranger_when_it_was_forgotten(void **state)
{
    struct fixture *f = create(1, 0);
    (void)state;

    good(f, 0);
    struct lane *bad = stranger(f, "bad", 0);
    add(f, bad);
    land(f, next(f, 0), LANE_TRANSPORT);
    forget_all(f);
    assert_true(stranger(f, "bad", 0)->suspect);
    struct lane *lane = stranger(f, "good", 0);
    assert_false(lane->suspect);
    assert_true(lane->tried);
    add(f, lane);
    land(f, next(f, 0), LANE_TRANSPORT); /* now it isn't any more */
    assert_true(lane->suspect);
    forget_all(f);
    assert_true(stranger(f, "good", 0)->suspect);
    destroy(f);
}

/* --- probes --- */

/* Its sender is gone, or it was dropped: another job, or another machine, is to make it. */
static void test_a_probe_without_a_job_is_due_again(void **state)
{
    struct fixture *f = create(1, 0);
    struct lane *lane = good(f, 0);
    int64_t unix_ms = lanes_unix_ms(f->lanes, f->now_ms);
    (void)state;

    lanes_adopt_open(f->lanes, lane, unix_ms - 60000, unix_ms - 1, 3600000, f->now_ms);
    for (int round = 0; round < 2; round++) {
        struct claim *claim = add(f, lane);
        assert_ptr_equal(named(f), claim);
        lanes_probe_asked(f->lanes, lane, f->now_ms);
        lanes_probe_answered(f->lanes, lane, true, f->now_ms);
        assert_null(lanes_abandon_probe(f->lanes, f->now_ms));
        if (round == 0) {
            assert_ptr_equal(next(f, 0), claim);
            assert_null(lanes_abandon_probe(f->lanes, f->now_ms));
            land(f, claim, LANE_UNTRIED);
        } else {
            lanes_remove(f->lanes, claim, f->now_ms);
        }
        assert_int_equal(lane->circuit.state, CIRCUIT_PROBING);
        assert_ptr_equal(lanes_abandon_probe(f->lanes, f->now_ms), lane);
        assert_null(lanes_abandon_probe(f->lanes, f->now_ms));
        assert_int_equal(lane->circuit.state, CIRCUIT_OPEN);
        assert_true(lane->circuit.probe_ms <= lanes_unix_ms(f->lanes, f->now_ms));
        assert_int_equal(lane->circuit.backoff_ms, 3600000);
        pass(f, 40000);
        assert_int_equal(lanes_release(f->lanes, lane, f->now_ms), 1); /* one is called */
    }
    destroy(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_asking_takes_no_turn),
        cmocka_unit_test(test_what_was_not_tried_gives_its_turn_back),
        cmocka_unit_test(test_a_turn_is_kept_for_what_is_asked_about),
        cmocka_unit_test(test_undo_waits_for_a_follow_among_many),
        cmocka_unit_test(test_pairs_keep_their_order_whatever_happens),
        cmocka_unit_test(test_the_oldest_is_that_of_its_pair),
        cmocka_unit_test(test_strangers_have_turns_when_the_rate_is_the_limit),
        cmocka_unit_test(test_the_dead_take_an_eighth_at_most),
        cmocka_unit_test(test_low_jobs_of_strangers_have_turns_among_low_ones),
        cmocka_unit_test(test_a_good_host_is_no_stranger_when_it_was_forgotten),
        cmocka_unit_test(test_a_probe_without_a_job_is_due_again),
    };
    if (sodium_init() == -1)
        return 1;
    rng = rng_system();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
