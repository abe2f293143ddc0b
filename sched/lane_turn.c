#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "sched/lane_inside.h"

enum {
    LOW_MOST = 8,   /* of slots, for low jobs */
    LOW_LEAST = 32, /* the same, whatever else there is */
    RETRIED_TURN = 4,
    LOW_TURN = 16,
    SUSPECT_TURN = 8,
    TRIAL_LOOK = 32,
    AWAITED_LOOK_MS = 500,
    LONGEST_INTERVAL_US = 2000000,
    LONGEST_KEPT_MS = 60000,
    SHORT_MS = 1000,
};

/* The first whose pair has nothing in flight, and nothing older away; in its place, the oldest of
 * its pair that waits, in whichever list. When there is none, *again_ms is when that may have
 * changed. */
static struct claim *first_free(const struct lanes *lanes, const struct lane *lane,
                                const struct claim_list *list, int64_t now_ms, int64_t *again_ms)
{
    uint64_t waits = 0; /* the pair just seen: a sender's jobs often stand together */
    struct claim *claim;

    TAILQ_FOREACH(claim, list, entry)
    {
        if (claim->pair != 0 && claim->pair == waits)
            continue;
        if (lane_pair_is_free(lane, claim->pair)) {
            struct claim *first = lane_pair_first(lanes, claim);
            if (lane_awaits_ms(lanes, lane, first, now_ms) <= now_ms)
                return first;
            *again_ms = now_ms + AWAITED_LOOK_MS;
        }
        waits = claim->pair;
    }
    return NULL;
}

/* --- whose turn it is --- */

static struct claim *take(const struct lanes *lanes, const struct lane *lane, int64_t now_ms,
                          int64_t *again_ms)
{
    bool retried_turn = lane->turns % RETRIED_TURN == RETRIED_TURN - 1;

    if (lane_low_fits(lanes, lane) &&
        (lane->waiting == 0 || lane->turns % LOW_TURN == LOW_TURN - 1))
        return TAILQ_FIRST(&lane->low);
    const struct claim_list *first = retried_turn ? &lane->retried : &lane->fresh;
    const struct claim_list *second = retried_turn ? &lane->fresh : &lane->retried;
    struct claim *claim = first_free(lanes, lane, first, now_ms, again_ms);
    if (claim == NULL)
        claim = first_free(lanes, lane, second, now_ms, again_ms);
    if (claim == NULL && lane_low_fits(lanes, lane))
        claim = TAILQ_FIRST(&lane->low);
    return claim;
}

bool lane_suspects_may(const struct lanes *lanes)
{
    unsigned slots = lanes->options.max_in_flight;
    unsigned share = lanes->ready[PLACE_HEALTHY] > 0 ? slots / LANE_SUSPECT_SHARE
                                                     : slots - slots / LANE_SUSPECT_SHARE;
    return lanes->shares[0].suspect_in_flight < (share > 0 ? share : 1);
}

/* What is in flight shares the processors, so that the others' in flight count against it, too. */
static bool low_may(const struct lanes *lanes, bool others)
{
    unsigned most = lanes->options.max_in_flight / LOW_MOST;
    unsigned share = lanes->options.max_in_flight / LOW_LEAST;

    if (!others && most > share + lanes->shares[0].in_flight)
        share = most - lanes->shares[0].in_flight;
    return lanes->shares[1].in_flight < (share > 0 ? share : 1);
}

/* Of their slots, suspect hosts' low jobs leave a quarter to the others; and seven turns of eight.
 */
static struct lane *first_low(const struct lanes *lanes, struct worker_rings *rings)
{
    unsigned share = lanes->options.max_in_flight / LOW_MOST * 3 / 4;
    bool may = lanes->shares[1].suspect_in_flight < (share > 0 ? share : 1);
    struct lane *suspect = may ? TAILQ_FIRST(&rings->of[PLACE_LOW_SUSPECT]) : NULL;
    struct lane *good = TAILQ_FIRST(&rings->of[PLACE_LOW]);

    if (suspect != NULL && rings->low_turns % SUSPECT_TURN == SUSPECT_TURN / 2)
        return suspect;
    return good != NULL ? good : suspect;
}

/* While we suspect ourselves: a host that was good before. Others go to the end of their ring, so
 * that they never hide one. */
static struct lane *trial_lane(struct lanes *lanes, struct worker_rings *rings, int64_t now_ms)
{
    for (int place = PLACE_HEALTHY; place < PLACE_COUNT; place++) {
        struct lane_ring *ring = &rings->of[place];
        for (unsigned i = 0; i < TRIAL_LOOK && !TAILQ_EMPTY(ring); i++) {
            struct lane *lane = TAILQ_FIRST(ring);
            if (suspicion_may_try(&lanes->suspicion, &lane->mark))
                return suspicion_has_trial(&lanes->suspicion, now_ms) ? lane : NULL;
            TAILQ_REMOVE(ring, lane, ring);
            TAILQ_INSERT_TAIL(ring, lane, ring);
        }
    }
    return NULL;
}

static struct lane *choose(struct lanes *lanes, struct worker_rings *rings, int64_t now_ms)
{
    bool others = lanes->ready[PLACE_HEALTHY] > 0 ||
                  (lanes->ready[PLACE_SUSPECT] > 0 && lane_suspects_may(lanes));
    struct lane *lane = NULL;

    if (lanes->suspicion.active)
        return trial_lane(lanes, rings, now_ms);
    if (rings->turns % LOW_TURN == LOW_TURN - 1 && low_may(lanes, true))
        lane = first_low(lanes, rings);
    else if (rings->turns % SUSPECT_TURN == SUSPECT_TURN / 2 && lane_suspects_may(lanes))
        lane = TAILQ_FIRST(&rings->of[PLACE_SUSPECT]);
    if (lane == NULL)
        lane = TAILQ_FIRST(&rings->of[PLACE_HEALTHY]);
    if (lane == NULL && lane_suspects_may(lanes))
        lane = TAILQ_FIRST(&rings->of[PLACE_SUSPECT]);
    if (lane == NULL && low_may(lanes, others))
        lane = first_low(lanes, rings);
    return lane;
}

/* A lane of which nothing can go, since all pairs that wait are in flight or behind what is away,
 * leaves its ring. */
static struct claim *choose_claim(struct lanes *lanes, struct worker_rings *rings, int64_t now_ms)
{
    struct lane *lane;

    while ((lane = choose(lanes, rings, now_ms)) != NULL) {
        int64_t again_ms = INT64_MAX;
        struct claim *claim = take(lanes, lane, now_ms, &again_ms);
        if (claim != NULL)
            return claim;
        lane->stuck = true;
        lane->unstuck_ms = again_ms;
        lane_update(lanes, lane, now_ms);
    }
    return NULL;
}

/* How fast it really goes: other limits than its window's may be narrower. */
static void measure_pace(struct lane *lane, int64_t now_ms)
{
    int64_t interval_us = (now_ms - lane->window.started_ms) * 1000;

    if (!lane->pressed)
        return;
    if (interval_us > LONGEST_INTERVAL_US)
        interval_us = LONGEST_INTERVAL_US;
    lane->interval_us = (uint32_t)(((int64_t)lane->interval_us * 15 + interval_us) / 16);
}

void lanes_start(struct lanes *lanes, struct claim *claim, int64_t now_ms)
{
    struct lane *lane = claim->lane;

    assert(claim->state == CLAIM_LANE && !lanes_is_probe(lane));
    measure_pace(lane, now_ms);
    (void)rate_take(&lanes->rate, now_ms);
    if (lanes->suspicion.active)
        (void)suspicion_takes_trial(&lanes->suspicion, now_ms);
    lanes->starts++;
    lanes_remove(lanes, claim, now_ms);
    claim->state = CLAIM_FLIGHT;
    claim->lane = lane;
    claim->started_ms = now_ms;
    lane->turns++;
    lanes->rings[lane->worker].turns++;
    lanes->rings[lane->worker].low_turns += claim->low;
    lane_pair_started(lane, claim->pair);
    lane_count_in_flight(lanes, lane, claim->low, 1);
    window_started(&lane->window, now_ms);
    lane->pressed = lane->waiting + lane->low_waiting > 0;
    lane->filled = lane->in_flight >= lane->window.size;
    lane_update(lanes, lane, now_ms);
    if (lane->place != PLACE_NONE) { /* one job a turn: to the end of the ring */
        TAILQ_REMOVE(lane_ring_of(lanes, lane), lane, ring);
        TAILQ_INSERT_TAIL(lane_ring_of(lanes, lane), lane, ring);
    }
}

bool lanes_are_short(const struct lanes *lanes, int64_t now_ms)
{
    return now_ms - lanes->short_ms < SHORT_MS;
}

void lanes_keep_turn(struct lanes *lanes, struct lane *lane, int64_t now_ms)
{
    int64_t gap_ms = lane_gap_ms(lane);

    if (gap_ms > 0)
        lane->kept_ms = now_ms + (gap_ms < LONGEST_KEPT_MS ? gap_ms : LONGEST_KEPT_MS);
    lane_update(lanes, lane, now_ms);
}

struct claim *lanes_next(struct lanes *lanes, unsigned worker, int64_t now_ms)
{
    struct claim *claim;

    if (lanes_in_flight(lanes) >= lanes->options.max_in_flight) {
        lanes->short_ms = now_ms;
        return NULL;
    }
    claim = choose_claim(lanes, &lanes->rings[worker], now_ms);
    if (claim != NULL && !rate_has(&lanes->rate, now_ms)) {
        lanes->short_ms = now_ms;
        lanes->limited = true;
        return NULL;
    }
    return claim;
}
