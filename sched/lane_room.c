/* What lanes may hold: memory is bounded, and nobody waits for hosts that take little. */
#include "sched/lane_inside.h"

enum {
    HELD_MS = 60000,     /* of a lane that is slowed down: what leaves within a minute */
    HELD_SOON_MS = 2000, /* who holds back for longer keeps others waiting */
    SLOW_GAP_MS = 100,
    LOW_SUSPECT_SHARE = 16,
};

int64_t lane_gap_ms(const struct lane *lane)
{
    int64_t gap_ms = lane->window.gap_ms;
    return gap_ms > lane->limits.min_gap_ms ? gap_ms : lane->limits.min_gap_ms;
}

int64_t lane_wait_ms(const struct lanes *lanes, const struct lane *lane, int64_t now_ms)
{
    int64_t wait_ms = lane_opens_ms(lanes, lane) - now_ms;
    return lane->circuit.state == CIRCUIT_CLOSED && wait_ms > 0 ? wait_ms : 0;
}

bool lane_is_held_back(const struct lanes *lanes, const struct lane *lane, int64_t now_ms)
{
    return lane_gap_ms(lane) >= SLOW_GAP_MS || lane_wait_ms(lanes, lane, now_ms) > HELD_SOON_MS;
}

unsigned lane_holds(const struct lanes *lanes, const struct lane *lane, int64_t now_ms)
{
    int64_t left_ms = HELD_MS - lane_wait_ms(lanes, lane, now_ms);
    int64_t most = lanes->options.lookahead_jobs;

    if (left_ms <= 0)
        return 1;
    if (lane_gap_ms(lane) > 0 && (left_ms - 1) / lane_gap_ms(lane) + 1 < most)
        most = (left_ms - 1) / lane_gap_ms(lane) + 1;
    return (unsigned)most;
}

/* All slow lanes together. */
static bool slow_have_room(const struct lanes *lanes, bool low)
{
    unsigned share = low ? LOW_SUSPECT_SHARE : LANE_SUSPECT_SHARE;
    return lanes->shares[low].slow_waiting < lanes->options.lookahead_jobs / share;
}

bool lane_has_room(const struct lanes *lanes, const struct lane *lane, const struct claim *claim,
                   int64_t now_ms)
{
    bool low = claim->low;
    bool returned = claim_is_returned(claim);
    unsigned share = lanes->options.lookahead_jobs / LANE_SHARE / lanes->machines;
    unsigned most = (share > 0 ? share : 1) * (returned ? 2 : 1); /* 0 would never deliver */

    if ((low ? lane->low_waiting : lane->waiting) >= most || (low && lanes_low_room(lanes) == 0))
        return false;
    /* Another machine may know the host for a faster one, and have called it back. */
    if (!returned && lane->waiting + lane->low_waiting >= lane_holds(lanes, lane, now_ms))
        return false;
    bool held_back = lane_is_held_back(lanes, lane, now_ms);
    bool unknown = !lane->tried && lane_silent_ms(lane) > now_ms;
    return (!held_back && (!lane->suspect || unknown)) || slow_have_room(lanes, low);
}

struct claim *lanes_excess(const struct lanes *lanes, const struct lane *lane, int64_t now_ms)
{
    unsigned most = lane_wait_ms(lanes, lane, now_ms) < HELD_MS ? 1 : 0;
    struct claim *claim;

    if (lane->circuit.state != CIRCUIT_CLOSED || !lane_is_held_back(lanes, lane, now_ms) ||
        slow_have_room(lanes, false) || lane->waiting <= most)
        return NULL;
    TAILQ_FOREACH(claim, &lane->fresh, entry)
    {
        if (most-- == 0)
            return claim;
    }
    TAILQ_FOREACH(claim, &lane->retried, entry)
    {
        if (most-- == 0)
            return claim;
    }
    return NULL;
}
