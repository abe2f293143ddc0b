#include <assert.h>
#include <limits.h>
#include <stdlib.h>

#include "base/table.h"
#include "sched/lane_inside.h"

/* What one lane counts for is bounded: a busy host's jobs don't keep the others' from being
 * claimed.
 */
enum {
    PROGRESS_MS = 2000,
    PROGRESS_MOST = 64,
    RATE_REST_MS = 10, /* starts in batches: no timer for each */
    SILENT_MS = 500,   /* a suspect host that takes longer may be a black hole */
};

void lane_rings_init(struct lanes *lanes)
{
    lanes->rings = mem_alloc(lanes->options.workers * sizeof(struct worker_rings));
    for (unsigned i = 0; i < lanes->options.workers; i++) {
        for (int place = 0; place < PLACE_COUNT; place++)
            TAILQ_INIT(&lanes->rings[i].of[place]);
    }
    for (unsigned i = 0; i < WHEEL_BUCKETS; i++)
        TAILQ_INIT(&lanes->wheel.buckets[i]);
    lane_calls_init(&lanes->calls);
}

unsigned lane_window(const struct lanes *lanes, const struct lane *lane)
{
    unsigned most = lanes->options.host_window;
    unsigned window = lane->suspect ? 1 : lane->window.size;

    if (lane->limits.max_window > 0 && lane->limits.max_window < most)
        most = lane->limits.max_window;
    most = most > lanes->machines ? most / lanes->machines : 1;
    window = window > most ? most : window;
    assert(window > 0);
    return window;
}

static int64_t later(int64_t a_ms, int64_t b_ms)
{
    return a_ms > b_ms ? a_ms : b_ms;
}

int64_t lanes_pace_ms(const struct lanes *lanes, const struct lane *lane)
{
    int64_t pace_ms = later(lane->mean_ms / lane_window(lanes, lane), lane->interval_us / 1000);
    return later(later(pace_ms, lane->window.gap_ms), lane->limits.min_gap_ms) + 1;
}

struct lane_ring *lane_ring_of(struct lanes *lanes, const struct lane *lane)
{
    return &lanes->rings[lane->worker].of[lane->place];
}

bool lane_low_fits(const struct lanes *lanes, const struct lane *lane)
{
    unsigned window = lane_window(lanes, lane);
    return lane->low_waiting > 0 && lane->low_in_flight < (window > 1 ? window - 1 : 1);
}

int64_t lane_opens_ms(const struct lanes *lanes, const struct lane *lane)
{
    int64_t at_ms =
        later(window_opens_ms(&lane->window), lane->window.started_ms + lane->limits.min_gap_ms);

    switch (lane->circuit.state) {
    case CIRCUIT_OPEN:
        if (lane->probe != LANE_PROBE_NONE || lane->in_flight > 0)
            return INT64_MAX;
        return lane->circuit.probe_ms - lanes->unix_offset_ms;
    case CIRCUIT_PROBING:
        return lane->in_flight > 0 ? INT64_MAX : 0;
    case CIRCUIT_CLOSED:
        break;
    }
    at_ms = later(at_ms, lane->kept_ms);
    if (lane->circuit.failures > 0)
        at_ms = later(at_ms, circuit_spaced_ms(&lane->circuit) - lanes->unix_offset_ms);
    return at_ms;
}

/* Where it may stand but for the time. */
static enum lane_place place_of(const struct lanes *lanes, const struct lane *lane)
{
    if (lane->blocked || lane->limits.paused || lane->stuck ||
        lane->in_flight >= lane_window(lanes, lane))
        return PLACE_NONE;
    if (lane->waiting > 0)
        return lane->suspect ? PLACE_SUSPECT : PLACE_HEALTHY;
    if (!lane_low_fits(lanes, lane))
        return PLACE_NONE;
    return lane->suspect ? PLACE_LOW_SUSPECT : PLACE_LOW;
}

int64_t lane_silent_ms(const struct lane *lane)
{
    bool awaited = lane->suspect && lane->in_flight > 0 && lane->waiting > 0;
    return awaited ? lane->window.started_ms + SILENT_MS : INT64_MAX;
}

/* How many jobs the lane gets rid of within PROGRESS_MS. */
static void count_progressing(struct lanes *lanes, struct lane *lane, int64_t now_ms)
{
    unsigned soon = (unsigned)(PROGRESS_MS / lanes_pace_ms(lanes, lane));

    if (soon == 0)
        soon = 1;
    if (soon > PROGRESS_MOST)
        soon = PROGRESS_MOST;
    if (soon > lane->waiting)
        soon = lane->waiting;
    if (lane->circuit.state != CIRCUIT_CLOSED || lane_silent_ms(lane) <= now_ms ||
        lane_is_held_back(lanes, lane, now_ms))
        soon = 0;
    lanes->progressing += soon - lane->progressing; /* unsigned arithmetic wraps back */
    lane->progressing = soon;
}

static void count_slow(struct lanes *lanes, struct lane *lane, int64_t now_ms)
{
    bool slow = lane->suspect || lane_is_held_back(lanes, lane, now_ms);
    unsigned sign = slow ? 1 : UINT_MAX; /* unsigned arithmetic wraps back */

    if (lane->slow == slow)
        return;
    lane->slow = slow;
    lanes->shares[0].slow_waiting += sign * lane->waiting;
    lanes->shares[1].slow_waiting += sign * lane->low_waiting;
}

/* A probe was won, and no job is there, or under way, to make it with. */
static void count_probeless(struct lanes *lanes, struct lane *lane)
{
    bool probeless = lane->circuit.state == CIRCUIT_PROBING && lane->in_flight == 0 &&
                     lane->waiting + lane->low_waiting == 0;

    if (lane->probeless == probeless)
        return;
    lane->probeless = probeless;
    lanes->probeless += probeless ? 1 : UINT_MAX; /* unsigned arithmetic wraps back */
}

static void set_place(struct lanes *lanes, struct lane *lane, enum lane_place place)
{
    if (place == lane->place)
        return;
    if (lane->place != PLACE_NONE)
        TAILQ_REMOVE(lane_ring_of(lanes, lane), lane, ring);
    lanes->ready[lane->place]--; /* PLACE_NONE's number means nothing */
    lane->place = place;
    lanes->ready[place]++;
    if (place != PLACE_NONE)
        TAILQ_INSERT_TAIL(lane_ring_of(lanes, lane), lane, ring);
}

/* A bucket is looked at when its tick is over: never early. */
static int64_t tick_of(const struct lane_wheel *wheel, int64_t wake_ms)
{
    int64_t tick = wake_ms / WHEEL_TICK_MS;

    if (tick < wheel->tick)
        tick = wheel->tick;
    return tick < wheel->tick + WHEEL_BUCKETS ? tick : wheel->tick + WHEEL_BUCKETS - 1;
}

static void rise(struct lane_wheel *wheel, struct lane *lane)
{
    if (lane->wake_tick == 0)
        return;
    TAILQ_REMOVE(&wheel->buckets[lane->wake_tick % WHEEL_BUCKETS], lane, sleep);
    lane->wake_tick = 0;
    wheel->count--;
}

static void lie_down(struct lane_wheel *wheel, struct lane *lane, int64_t wake_ms)
{
    int64_t tick = tick_of(wheel, wake_ms);

    if (lane->wake_tick == tick)
        return;
    rise(wheel, lane);
    lane->wake_tick = tick;
    TAILQ_INSERT_TAIL(&wheel->buckets[tick % WHEEL_BUCKETS], lane, sleep);
    wheel->count++;
}

void lane_update(struct lanes *lanes, struct lane *lane, int64_t now_ms)
{
    if (lane->stuck && lane->unstuck_ms <= now_ms)
        lane->stuck = false;
    enum lane_place place = place_of(lanes, lane);
    int64_t at_ms = place != PLACE_NONE ? lane_opens_ms(lanes, lane) : INT64_MAX;

    count_progressing(lanes, lane, now_ms);
    count_slow(lanes, lane, now_ms);
    lane_call_update(lanes, lane, now_ms);
    count_probeless(lanes, lane);
    if (lane->waiting + lane->low_waiting == 0)
        lane->pressed = false;
    set_place(lanes, lane, at_ms <= now_ms ? place : PLACE_NONE);
    if (at_ms == INT64_MAX && lane_silent_ms(lane) > now_ms)
        at_ms = lane_silent_ms(lane);
    if (lane->stuck && lane->unstuck_ms < at_ms)
        at_ms = lane->unstuck_ms;
    if (at_ms <= now_ms || at_ms == INT64_MAX)
        rise(&lanes->wheel, lane);
    else
        lie_down(&lanes->wheel, lane, at_ms);
}

void lane_withdraw(struct lanes *lanes, struct lane *lane)
{
    rise(&lanes->wheel, lane);
    set_place(lanes, lane, PLACE_NONE);
    lane_call_withdraw(lanes, lane);
    lanes->progressing -= lane->progressing;
    lane->progressing = 0;
    lanes->probeless -= lane->probeless;
    lane->probeless = false;
}

void lanes_wake(struct lanes *lanes, int64_t now_ms)
{
    struct lane_wheel *wheel = &lanes->wheel;
    int64_t end = now_ms / WHEEL_TICK_MS;
    struct lane_ring due = TAILQ_HEAD_INITIALIZER(due);
    struct lane *lane;

    if (wheel->count == 0 || end - wheel->tick > WHEEL_BUCKETS) {
        if (end - wheel->tick > WHEEL_BUCKETS)
            wheel->tick = end - WHEEL_BUCKETS;
        if (wheel->count == 0 && end > wheel->tick)
            wheel->tick = end;
    }
    for (; wheel->tick < end; wheel->tick++)
        TAILQ_CONCAT(&due, &wheel->buckets[wheel->tick % WHEEL_BUCKETS], sleep);
    while ((lane = TAILQ_FIRST(&due)) != NULL) {
        TAILQ_REMOVE(&due, lane, sleep);
        lane->wake_tick = 0;
        wheel->count--;
        lane_update(lanes, lane, now_ms);
    }
}

int64_t lanes_wake_ms(const struct lanes *lanes, int64_t now_ms)
{
    const struct lane_wheel *wheel = &lanes->wheel;
    int64_t wake_ms = now_ms + 1000;
    bool ready = lanes_ready(lanes) > 0 || lanes->ready[PLACE_LOW] > 0 ||
                 lanes->ready[PLACE_LOW_SUSPECT] > 0;

    if (ready && rate_next_ms(&lanes->rate, now_ms) > now_ms)
        wake_ms = later(rate_next_ms(&lanes->rate, now_ms), now_ms + RATE_REST_MS);
    for (int64_t tick = wheel->tick; wheel->count > 0 && (tick + 1) * WHEEL_TICK_MS < wake_ms;
         tick++) {
        if (!TAILQ_EMPTY(&wheel->buckets[tick % WHEEL_BUCKETS]))
            wake_ms = (tick + 1) * WHEEL_TICK_MS;
    }
    return wake_ms;
}
