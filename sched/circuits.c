/* What follows when a host's circuit opens, is probed, or closes. */
#include "base/log.h"
#include "sched/state.h"

static int64_t now_of(const struct scheduler *s)
{
    return clock_mono_ms(&s->process.clock);
}

/* Its oldest job comes back when a probe is due; all others when Mastodon would have tried them
 * again. */
static void park_all(struct scheduler *s, struct lane *lane)
{
    int64_t now_ms = now_of(s);
    int64_t probe_wait_ms = lane->circuit.probe_ms - lanes_unix_ms(s->lanes, now_ms);
    bool oldest = true;
    struct claim *claim;

    while ((claim = lanes_oldest(lane)) != NULL) {
        lanes_remove(s->lanes, claim, now_ms);
        if (oldest)
            conclude_book(s, claim, probe_wait_ms > 0 ? probe_wait_ms : 0);
        else
            conclude_park(s, claim, lane);
        oldest = false;
    }
}

void circuits_happened(struct scheduler *s, struct lane *lane, enum circuit_event event)
{
    switch (event) {
    case CIRCUIT_SAME:
        return;
    case CIRCUIT_OPENED:
        log_event(LOG_LEVEL_INFO, "circuit opened", LOG_STR("host", lane->host));
        break;
    case CIRCUIT_REOPENED:
        log_event(LOG_LEVEL_DEBUG, "probe failed", LOG_STR("host", lane->host),
                  LOG_INT("backoff_ms", lane->circuit.backoff_ms));
        break;
    case CIRCUIT_CLOSED_AGAIN:
        log_event(LOG_LEVEL_INFO, "circuit closed", LOG_STR("host", lane->host));
        return;
    }
    park_all(s, lane);
}

void circuits_ask_probe(struct scheduler *s, struct lane *lane)
{
    int64_t now_ms = now_of(s);

    lanes_probe_asked(s->lanes, lane, now_ms);
    lanes_probe_answered(s->lanes, lane, true, now_ms);
}

void circuits_pardon(struct scheduler *s, struct lane *lane)
{
    if (lane->circuit.state != CIRCUIT_CLOSED)
        lanes_pardon(s->lanes, lane, now_of(s));
}
