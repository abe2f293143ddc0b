#include "sched/lane_inside.h"

enum {
    LOW_BOOK_MS = 5, /* between two booked low jobs of the whole machine */
    BOOK_HORIZON_MS = 3600000,
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
