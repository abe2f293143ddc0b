#include "sched/lane_inside.h"

enum {
    LOW_BOOK_MS = 5, /* between two booked low jobs of the whole machine */
    BOOK_HORIZON_MS = 3600000,
    RELEASE_MS = 1000,
    RELEASE_LEAST = 96, /* so that one sender's jobs don't stand for the pace of all */
    PROBE_CALL_MS = 30000,
};

static int64_t later(int64_t a_ms, int64_t b_ms)
{
    return a_ms > b_ms ? a_ms : b_ms;
}

static int64_t within_horizon(int64_t at_ms, int64_t now_ms)
{
    return at_ms < now_ms + BOOK_HORIZON_MS ? at_ms : now_ms + BOOK_HORIZON_MS;
}

int64_t lanes_book_ms(struct lanes *lanes, struct lane *lane, int64_t now_ms)
{
    int64_t share_ms = lanes_pace_ms(lanes, lane);
    unsigned holds = lane_holds(lanes, lane, now_ms); /* what exceeds that is about to be booked */
    unsigned before = lane->waiting < holds ? lane->waiting : holds;
    int64_t queued_ms = lane_wait_ms(lanes, lane, now_ms) + (int64_t)before * share_ms;

    lane->reserved_ms =
        within_horizon(later(lane->reserved_ms, now_ms + queued_ms) + share_ms, now_ms);
    return queued_ms;
}

int64_t lanes_book_low_ms(struct lanes *lanes, struct lane *lane, int64_t now_ms)
{
    int64_t share_ms = lanes_pace_ms(lanes, lane);
    int64_t tail_ms = now_ms + lane_wait_ms(lanes, lane, now_ms) +
                      (int64_t)(lane->waiting + lane->low_waiting) * share_ms;

    lanes->low_reserved_ms =
        within_horizon(later(lanes->low_reserved_ms, now_ms) + LOW_BOOK_MS, now_ms);
    tail_ms = later(later(tail_ms, lane->low_reserved_ms), lanes->low_reserved_ms);
    lane->low_reserved_ms = within_horizon(tail_ms + share_ms, now_ms);
    return lane->low_reserved_ms - now_ms;
}

void lanes_booked(struct lane *lane, int64_t now_ms)
{
    lane->reserved_ms = now_ms + BOOK_HORIZON_MS;
}

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
    lane->released_ms = now_ms;
    return room > 0 ? (unsigned)room : 1;
}

void lanes_released(struct lane *lane, unsigned left, int64_t now_ms)
{
    if (left == 0)
        lane->reserved_ms = lane->emptied_ms = now_ms;
    else
        lanes_booked(lane, now_ms);
}
