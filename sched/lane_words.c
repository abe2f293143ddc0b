#include "sched/lane_inside.h"

enum { REASON_BYTES = 2048 };

/* Whole seconds, rounded up. */
static int64_t seconds_until(int64_t at_ms, int64_t now_ms)
{
    int64_t left_ms = at_ms > now_ms ? at_ms - now_ms : 0;
    return (left_ms + 999) / 1000;
}

static void say(struct said *out, enum phrase phrase, struct says says)
{
    said_add(out, "", phrase, says);
}

static void say_plainly(struct said *out, enum phrase phrase)
{
    said_add(out, "", phrase, SAYS_NOTHING);
}

static bool is_empty(const struct lane *lane)
{
    return lane->waiting + lane->low_waiting == 0;
}

static void say_open(const struct lanes *lanes, const struct lane *lane,
                     const struct lane_outside *outside, struct said *out, int64_t now_ms)
{
    int64_t unix_ms = now_ms + lanes->unix_offset_ms;
    int64_t seconds = (unix_ms - lane->circuit.opened_ms) / 1000;
    const struct say open_s = SAY_NUMBER("open_s", seconds);

    if (lane->circuit.state == CIRCUIT_PROBING || lane->probe != LANE_PROBE_NONE)
        say(out, PHRASE_LANE_PROBING, SAYS(open_s));
    else if (outside->probed)
        say(out, PHRASE_LANE_PROBED, SAYS(open_s));
    else if (lane->circuit.probe_ms > unix_ms)
        say(out, PHRASE_LANE_PROBE_DUE,
            SAYS(open_s, SAY_NUMBER("wait_s", seconds_until(lane->circuit.probe_ms, unix_ms))));
    else
        say(out, PHRASE_LANE_PROBE_WANTED, SAYS(open_s));
}

/* What the host, or the resolver, holds back whether something waits or not. */
static bool say_hold(const struct lane *lane, struct said *out, int64_t now_ms)
{
    int64_t until_ms = lane->window.not_before_ms;
    const struct say wait_s = SAY_NUMBER("wait_s", seconds_until(until_ms, now_ms));

    if (until_ms <= now_ms)
        return false;
    if (until_ms == lane->unresolved_ms)
        say(out, PHRASE_LANE_UNRESOLVED, SAYS(wait_s));
    else
        say(out, PHRASE_LANE_RETRY_AFTER, SAYS(wait_s));
    return true;
}

/* What time alone holds back of what waits. */
static bool say_rest(const struct lanes *lanes, const struct lane *lane, struct said *out,
                     int64_t now_ms)
{
    int64_t spaced_ms = lane->circuit.failures > 0
                            ? circuit_spaced_ms(&lane->circuit) - lanes->unix_offset_ms
                            : INT64_MIN;
    int64_t rate_ms = lane->window.started_ms + lane->limits.min_gap_ms;
    int64_t gap_ms = window_opens_ms(&lane->window);

    if (spaced_ms > now_ms)
        say(out, PHRASE_LANE_SPACED,
            SAYS(SAY_NUMBER("failures", lane->circuit.failures),
                 SAY_NUMBER("wait_s", seconds_until(spaced_ms, now_ms))));
    else if (rate_ms > now_ms)
        say(out, PHRASE_LANE_RATE, SAYS(SAY_NUMBER("wait_s", seconds_until(rate_ms, now_ms))));
    else if (gap_ms > now_ms)
        say(out, PHRASE_LANE_GAP, SAYS(SAY_NUMBER("wait_s", seconds_until(gap_ms, now_ms))));
    else
        return false;
    return true;
}

/* Without the order its window would be wider. */
static bool is_ordered(const struct lanes *lanes, const struct lane *lane)
{
    unsigned most = lane->limits.max_window;
    return most > 0 && lane->window.size > most / lanes->machines;
}

static enum phrase full_of(const struct lanes *lanes, const struct lane *lane)
{
    if (lane->suspect)
        return PHRASE_LANE_SUSPECT;
    return is_ordered(lanes, lane) ? PHRASE_LANE_ORDERED : PHRASE_LANE_WINDOW;
}

/* What could go, but for the others. */
static enum phrase turn_of(const struct lanes *lanes, const struct lane *lane,
                           const struct lane_outside *outside, int64_t now_ms)
{
    if (outside->busy)
        return PHRASE_LANE_WORKER;
    if (lanes_in_flight(lanes) >= lanes->options.max_in_flight)
        return PHRASE_LANE_SLOTS;
    if (rate_next_ms(&lanes->rate, now_ms) > now_ms)
        return PHRASE_LANE_MAX_RATE;
    if (lane->waiting == 0)
        return PHRASE_LANE_LOW;
    return lane->suspect && !lane_suspects_may(lanes) ? PHRASE_LANE_SUSPECTS : PHRASE_LANE_TURN;
}

/* What holds back a host that time doesn't. */
static enum phrase reason_of(const struct lanes *lanes, const struct lane *lane,
                             const struct lane_outside *outside, int64_t now_ms)
{
    if (outside->still)
        return lane->in_flight > 0 ? PHRASE_LANE_ENDING : PHRASE_LANE_STILL;
    if (is_empty(lane))
        return lane->in_flight > 0 ? PHRASE_LANE_ALL : PHRASE_LANE_EMPTY;
    if (lane->blocked)
        return PHRASE_LANE_BLOCKED;
    if (lane->in_flight >= lane_window(lanes, lane))
        return full_of(lanes, lane);
    if (lane->stuck) /* until something lands; or comes back, which is looked for */
        return lane->unstuck_ms == INT64_MAX ? PHRASE_LANE_PAIRS : PHRASE_LANE_AWAITS;
    return turn_of(lanes, lane, outside, now_ms);
}

static void say_why(const struct lanes *lanes, const struct lane *lane,
                    const struct lane_outside *outside, struct said *out, int64_t now_ms)
{
    if (outside->proxy != NULL)
        say(out, PHRASE_LANE_PROXY, SAYS(SAY_TEXT("proxy", outside->proxy)));
    else if (lane->limits.paused)
        say_plainly(out, PHRASE_LANE_PAUSED);
    else if (outside->passes > 0)
        say(out, PHRASE_LANE_PASSES, SAYS(SAY_NUMBER("deliveries", outside->passes)));
    else if (lane->circuit.state != CIRCUIT_CLOSED)
        say_open(lanes, lane, outside, out, now_ms);
    else if (say_hold(lane, out, now_ms) || (!is_empty(lane) && say_rest(lanes, lane, out, now_ms)))
        return;
    else if (is_empty(lane) && lane->in_flight == 0 && lane->circuit.failures > 0)
        say(out, PHRASE_LANE_FAILED, SAYS(SAY_NUMBER("failures", lane->circuit.failures)));
    else
        say_plainly(out, reason_of(lanes, lane, outside, now_ms));
}

void lanes_explain(const struct lanes *lanes, const struct lane *lane,
                   const struct lane_outside *outside, struct said *out, int64_t now_ms)
{
    struct said reason;

    said_init(&reason, REASON_BYTES);
    say_why(lanes, lane, outside, &reason, now_ms);
    said_add(out, "\n", PHRASE_LANE_WORDS,
             SAYS(SAY_STR("host", lane->host), SAY_SAID("reason", &reason),
                  SAY_NUMBER("waiting", lane->waiting + lane->low_waiting),
                  SAY_NUMBER("in_flight", lane->in_flight),
                  SAY_NUMBER("window", lane_window(lanes, lane)),
                  SAY_NUMBER("mean_ms", lane->mean_ms)));
    said_clear(&reason);
}
