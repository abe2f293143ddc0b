#include "sched/lane_inside.h"

enum {
    RELEASE_MS = 1000,
    RELEASE_LEAST = 96, /* so that one sender's jobs don't stand for the pace of all */
    PROBE_CALL_MS = 30000,
    TICK_MS = 1000,
    LOOKS_MOST = 8192, /* lanes a tick */
    CALLS_MOST = 1024, /* and of these, scripts for Redis */
};

/* --- which lanes are looked at, and when --- */

void lane_calls_init(struct lane_calls *calls)
{
    TAILQ_INIT(&calls->due);
    for (unsigned i = 0; i < CALL_BUCKETS; i++)
        TAILQ_INIT(&calls->buckets[i]);
}

static struct lane_ring *list_of(struct lane_calls *calls, const struct lane *lane)
{
    return lane->call_tick < calls->tick ? &calls->due
                                         : &calls->buckets[lane->call_tick % CALL_BUCKETS];
}

/* While a circuit is open nothing is called back but its probe. */
static int64_t look_ms(const struct lanes *lanes, const struct lane *lane)
{
    int64_t probe_ms = lane->circuit.probe_ms - lanes->unix_offset_ms;

    if (lane->circuit.state != CIRCUIT_OPEN)
        return INT64_MIN;
    return probe_ms > lane->released_ms + PROBE_CALL_MS ? probe_ms
                                                        : lane->released_ms + PROBE_CALL_MS;
}

/* The tick at which to look at it, as if the next one were a second from now; one that is farther
 * away than there are buckets is looked at in passing. */
static int64_t tick_of(const struct lanes *lanes, const struct lane *lane, int64_t now_ms)
{
    int64_t at_ms = look_ms(lanes, lane);
    int64_t more = at_ms > now_ms ? (at_ms - now_ms - 1) / TICK_MS : 0;

    return lanes->calls.tick + (more < CALL_BUCKETS ? more : CALL_BUCKETS - 1);
}

static void put(struct lanes *lanes, struct lane *lane, int64_t tick)
{
    lane->call_tick = tick;
    TAILQ_INSERT_TAIL(list_of(&lanes->calls, lane), lane, call);
}

static void set_state(struct lanes *lanes, struct lane *lane, enum lane_call state, int64_t now_ms)
{
    struct lane_calls *calls = &lanes->calls;

    if (lane->call_state == LANE_CALL_WANTED)
        TAILQ_REMOVE(list_of(calls, lane), lane, call);
    calls->count -= lane->call_state != LANE_CALL_NONE;
    lane->call_state = state;
    calls->count += state != LANE_CALL_NONE;
    if (state == LANE_CALL_WANTED)
        put(lanes, lane, tick_of(lanes, lane, now_ms));
}

void lane_call_update(struct lanes *lanes, struct lane *lane, int64_t now_ms)
{
    int64_t tick;

    if (lane->call_state != LANE_CALL_WANTED)
        return;
    tick = tick_of(lanes, lane, now_ms);
    if (tick < lane->call_tick) { /* what comes later is found out when it is looked at */
        TAILQ_REMOVE(list_of(&lanes->calls, lane), lane, call);
        put(lanes, lane, tick);
    }
}

void lane_call_withdraw(struct lanes *lanes, struct lane *lane)
{
    set_state(lanes, lane, LANE_CALL_NONE, 0);
}

void lanes_want(struct lanes *lanes, struct lane *lane, int64_t now_ms)
{
    if (lane->call_state == LANE_CALL_ASKED)
        set_state(lanes, lane, LANE_CALL_ASKED_AND_WANTED, now_ms);
    else if (lane->call_state == LANE_CALL_NONE)
        set_state(lanes, lane, LANE_CALL_WANTED, now_ms);
}

unsigned lanes_wanted_back(const struct lanes *lanes)
{
    return lanes->calls.count;
}

/* --- how much is called back --- */

/* A probe is due, and no job is at hand for it that may go. */
static bool lacks_probe(const struct lanes *lanes, const struct lane *lane, int64_t now_ms)
{
    return lane->circuit.state == CIRCUIT_OPEN && lane->probe == LANE_PROBE_NONE &&
           lane->in_flight == 0 && (lane->stuck || lane->waiting + lane->low_waiting == 0) &&
           lane->circuit.probe_ms <= lanes_unix_ms(lanes, now_ms);
}

static unsigned release_for_probe(const struct lanes *lanes, struct lane *lane, int64_t now_ms)
{
    if (!lacks_probe(lanes, lane, now_ms) || now_ms - lane->released_ms < PROBE_CALL_MS)
        return 0;
    lane->released_ms = now_ms;
    return 1;
}

unsigned lanes_release(struct lanes *lanes, struct lane *lane, int64_t now_ms)
{
    int64_t room = RELEASE_MS * 2 / lanes_pace_ms(lanes, lane);
    bool held_back = lane_is_held_back(lanes, lane, now_ms);

    if (lane->limits.paused)
        return 0;
    if (lane->circuit.state != CIRCUIT_CLOSED)
        return release_for_probe(lanes, lane, now_ms);
    if (lane_wait_ms(lanes, lane, now_ms) > RELEASE_MS * 2)
        return 0;
    if (!lane->suspect && !held_back && room < RELEASE_LEAST)
        room = RELEASE_LEAST;
    if (lane->reserved_ms <= now_ms + BOOKED_SOON_MS * 2 ||
        now_ms - lane->released_ms < RELEASE_MS || (int64_t)lane->waiting * 2 > room)
        return 0;
    if (room > lanes->options.lookahead_jobs / LANE_SHARE)
        room = lanes->options.lookahead_jobs / LANE_SHARE;
    if (room > LANES_RELEASE_MOST)
        room = LANES_RELEASE_MOST;
    lane->released_ms = now_ms;
    return room > 0 ? (unsigned)room : 1;
}

/* --- the ticks --- */

void lanes_begin_calls(struct lanes *lanes, int64_t now_ms)
{
    struct lane_calls *calls = &lanes->calls;
    int64_t passed = (now_ms - calls->began_ms + TICK_MS / 2) / TICK_MS;

    if (passed > CALL_BUCKETS)
        passed = CALL_BUCKETS;
    calls->began_ms = now_ms;
    calls->looks = 0;
    calls->asked = 0;
    calls->moved = 0;
    do {
        TAILQ_CONCAT(&calls->due, &calls->buckets[calls->tick % CALL_BUCKETS], call);
        calls->tick++;
    } while (--passed > 0);
}

/* However long it takes: what is booked there waits for as long. */
static bool is_kept_waiting(const struct lanes *lanes, const struct lane *lane, int64_t now_ms)
{
    return lane->limits.paused || lane_wait_ms(lanes, lane, now_ms) > RELEASE_MS * 2;
}

struct lane *lanes_next_call(struct lanes *lanes, unsigned *count, int64_t now_ms)
{
    struct lane_calls *calls = &lanes->calls;
    struct lane *lane;

    while ((lane = TAILQ_FIRST(&calls->due)) != NULL && calls->looks < LOOKS_MOST &&
           calls->asked < CALLS_MOST && calls->moved < lanes->options.lookahead_jobs) {
        calls->looks++;
        *count = lanes_release(lanes, lane, now_ms);
        if (*count > 0) { /* what is called back next must come behind these */
            calls->asked++;
            set_state(lanes, lane, LANE_CALL_ASKED, now_ms);
            return lane;
        }
        if (is_kept_waiting(lanes, lane, now_ms))
            lanes_booked(lane, now_ms);
        if (lane->circuit.state == CIRCUIT_CLOSED && lane->reserved_ms <= now_ms)
            set_state(lanes, lane, LANE_CALL_NONE, now_ms); /* it comes by itself */
        else
            set_state(lanes, lane, LANE_CALL_WANTED, now_ms);
    }
    return NULL;
}

void lanes_released(struct lanes *lanes, struct lane *lane, unsigned moved, unsigned left,
                    int64_t now_ms)
{
    bool more = left > 0 || lane->call_state == LANE_CALL_ASKED_AND_WANTED;

    lanes->calls.moved += moved;
    if (more)
        lanes_booked(lane, now_ms);
    else
        lane->reserved_ms = lane->emptied_ms = now_ms;
    set_state(lanes, lane, more ? LANE_CALL_WANTED : LANE_CALL_NONE, now_ms);
}
