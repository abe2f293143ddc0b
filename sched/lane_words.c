#include <inttypes.h>

#include "sched/lane_inside.h"

static void put_wait(struct buf *out, const char *what, int64_t at_ms, int64_t now_ms)
{
    int64_t left_ms = at_ms > now_ms ? at_ms - now_ms : 0;
    buf_printf(out, "%s %" PRId64 " s", what, (left_ms + 999) / 1000);
}

static void put_open(const struct lanes *lanes, const struct lane *lane, struct buf *out,
                     int64_t now_ms)
{
    int64_t unix_ms = now_ms + lanes->unix_offset_ms;

    buf_printf(out, "its circuit has been open for %" PRId64 " s",
               (unix_ms - lane->circuit.opened_ms) / 1000);
    if (lane->circuit.state == CIRCUIT_PROBING || lane->probe != LANE_PROBE_NONE)
        buf_put_str(out, STR(", a probe is under way"));
    else if (lane->circuit.probe_ms > unix_ms)
        put_wait(out, ", the next probe is due in", lane->circuit.probe_ms, unix_ms);
    else
        buf_put_str(out, STR(", the next job to arrive is the probe"));
}

/* What time alone holds back. */
static bool put_rest(const struct lanes *lanes, const struct lane *lane, struct buf *out,
                     int64_t now_ms)
{
    int64_t spaced_ms = lane->circuit.failures > 0
                            ? circuit_spaced_ms(&lane->circuit) - lanes->unix_offset_ms
                            : INT64_MIN;

    if (lane->window.not_before_ms > now_ms)
        put_wait(out, "it asked for time (Retry-After): the next try is due in",
                 lane->window.not_before_ms, now_ms);
    else if (spaced_ms > now_ms) {
        buf_printf(out, "it failed %u times in a row: ", lane->circuit.failures);
        put_wait(out, "the next try is due in", spaced_ms, now_ms);
    } else if (lane->window.started_ms + lane->limits.min_gap_ms > now_ms)
        put_wait(out, "an admin has limited its rate: the next one is due in",
                 lane->window.started_ms + lane->limits.min_gap_ms, now_ms);
    else if (window_opens_ms(&lane->window) > now_ms)
        put_wait(out, "it pushes back (429 or 503): the next one is due in",
                 window_opens_ms(&lane->window), now_ms);
    else
        return false;
    return true;
}

static void put_reason(struct lanes *lanes, const struct lane *lane, struct buf *out,
                       int64_t now_ms)
{
    unsigned window = lane_window(lanes, lane);

    if (lane->limits.paused)
        buf_put_str(out, STR("an admin has paused it"));
    else if (lane->circuit.state != CIRCUIT_CLOSED)
        put_open(lanes, lane, out, now_ms);
    else if (lanes_suspicious(lanes, now_ms))
        buf_put_str(out, STR("this machine suspects itself: most good hosts failed at once"));
    else if (put_rest(lanes, lane, out, now_ms))
        return;
    else if (lane->waiting + lane->low_waiting == 0)
        buf_put_str(out, lane->in_flight > 0 ? STR("sending all there is") : STR("nothing waits"));
    else if (lane->blocked)
        buf_put_str(out, STR("it is being asked whether Mastodon holds it for unavailable"));
    else if (lane->in_flight >= window)
        buf_put_str(out, lane->suspect ? STR("sending, one at a time until it succeeds")
                                       : STR("sending as much as its window allows"));
    else if (lane->stuck)
        buf_put_str(out, STR("what waits goes one by one for each sender and inbox"));
    else if (rate_next_ms(&lanes->rate, now_ms) > now_ms)
        buf_put_str(out, STR("its turn comes: FEDPUSH_MAX_RATE is reached"));
    else
        buf_put_str(out, STR("its turn comes"));
}

void lanes_explain(struct lanes *lanes, const struct lane *lane, struct buf *out, int64_t now_ms)
{
    put_reason(lanes, lane, out, now_ms);
    buf_printf(out, "; %u waiting, %u in flight, window %u, %" PRIu32 " ms a delivery",
               lane->waiting + lane->low_waiting, lane->in_flight, lane_window(lanes, lane),
               lane->mean_ms);
}
