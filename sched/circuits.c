/* What follows when a host's circuit opens, is probed, or closes. */
#include "base/log.h"
#include "sched/parking.h"
#include "sched/state.h"

/* Less isn't told: who is given a little each minute would have those who come later refused each
 * time. */
enum { TOLD_HOLD_MS = 120000 };

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
            conclude_book_at_host(s, claim, lane, probe_wait_ms > 0 ? probe_wait_ms : 0, 0);
        else
            conclude_park(s, claim, lane);
        oldest = false;
    }
}

/* What was parked comes back, and what arrives goes behind it. */
static void call_back(struct scheduler *s, struct lane *lane)
{
    lanes_booked(lane, now_of(s));
    releases_want(s->releases, lane->host);
}

void circuits_happened(struct scheduler *s, struct lane *lane, enum circuit_event event)
{
    const struct circuit *circuit = &lane->circuit;

    switch (event) {
    case CIRCUIT_SAME:
        return;
    case CIRCUIT_OPENED:
        log_event(LOG_LEVEL_INFO, "circuit opened", LOG_STR("host", lane->host));
        break;
    case CIRCUIT_REOPENED:
        log_event(LOG_LEVEL_DEBUG, "probe failed", LOG_STR("host", lane->host),
                  LOG_INT("backoff_ms", circuit->backoff_ms));
        break;
    case CIRCUIT_CLOSED_AGAIN:
        log_event(LOG_LEVEL_INFO, "circuit closed", LOG_STR("host", lane->host));
        fleet_tell_closed(s->fleet, lane->host);
        call_back(s, lane);
        return;
    case CIRCUIT_UNPROVEN:
        log_event(LOG_LEVEL_DEBUG, "probe showed nothing", LOG_STR("host", lane->host));
        fleet_tell_unprobed(s->fleet, lane->host);
        park_all(s, lane);
        return;
    }
    fleet_tell_open(s->fleet, lane->host, circuit->opened_ms, circuit->probe_ms,
                    circuit->backoff_ms);
    park_all(s, lane);
}

/* Whole seconds: several answers of one moment say the same. */
void circuits_held(struct scheduler *s, const struct lane *lane, int64_t hold_ms)
{
    int64_t until_ms = lanes_unix_ms(s->lanes, now_of(s)) + hold_ms;

    if (hold_ms >= TOLD_HOLD_MS)
        fleet_tell_held(s->fleet, lane->host, (until_ms / 1000 + 1) * 1000);
}

void circuits_held_elsewhere(void *scheduler, struct str host, int64_t until_ms)
{
    struct scheduler *s = scheduler;
    struct lane *lane = lanes_get(s->lanes, host, now_of(s));

    lanes_adopt_hold(s->lanes, lane, until_ms, now_of(s));
    admit_shed(s, lane);
}

static void on_probe(void *arg, struct str host, bool won)
{
    struct scheduler *s = arg;
    struct lane *lane = lanes_find(s->lanes, host);

    if (lane != NULL)
        lanes_probe_answered(s->lanes, lane, won, now_of(s));
    if (won && (lane == NULL || lane->probe != LANE_PROBE_WON))
        fleet_tell_unprobed(s->fleet, host);
    if (lane == NULL)
        return;
    if (!won && lane->circuit.state != CIRCUIT_CLOSED)
        park_all(s, lane);
    admit_dispatch(s, lane->worker);
}

void circuits_ask_probe(struct scheduler *s, struct lane *lane, const struct claim *claim)
{
    const struct fleet_prober prober = {.pair = claim->pair, .created_us = claim_created_us(claim)};

    lanes_probe_asked(s->lanes, lane, now_of(s));
    fleet_ask_probe(s->fleet, lane->host, &prober, on_probe, s);
}

void circuits_pardon(struct scheduler *s, struct lane *lane)
{
    if (lane->circuit.state != CIRCUIT_OPEN ||
        lane->circuit.probe_ms <= lanes_unix_ms(s->lanes, now_of(s)))
        return;
    log_event(LOG_LEVEL_INFO, "unavailable, and probed as soon as it no longer is",
              LOG_STR("host", lane->host));
    lanes_pardon(s->lanes, lane, now_of(s));
    fleet_probe_now(s->fleet, lane->host);
}

void circuits_opened_elsewhere(void *scheduler, struct str host, int64_t opened_ms,
                               int64_t probe_ms, uint32_t backoff_ms)
{
    struct scheduler *s = scheduler;
    struct lane *lane = lanes_get(s->lanes, host, now_of(s));

    lanes_adopt_open(s->lanes, lane, opened_ms, probe_ms, backoff_ms, now_of(s));
    if (lane->circuit.state == CIRCUIT_OPEN && lane->probe == LANE_PROBE_NONE)
        park_all(s, lane);
    releases_want(s->releases, host); /* also what was parked before this machine was there */
}

void circuits_closed_elsewhere(void *scheduler, struct str host)
{
    struct scheduler *s = scheduler;
    struct lane *lane = lanes_find(s->lanes, host);

    if (lane != NULL && lane->circuit.state == CIRCUIT_CLOSED)
        return;
    if (lane == NULL) /* it closed before this machine was there: not all may have come back */
        lane = lanes_get(s->lanes, host, now_of(s));
    else
        lanes_adopt_closed(s->lanes, lane, now_of(s));
    call_back(s, lane);
    admit_dispatch(s, lane->worker);
}

bool circuits_have_parked(void *scheduler)
{
    return releases_any(((struct scheduler *)scheduler)->releases);
}

static bool is_available(struct scheduler *s, const struct claim *entry)
{
    bool unavailable;
    return entry->job.bypass_availability ||
           !availability_lookup(s->availability, str_of(entry->tracker_host), &unavailable) ||
           !unavailable;
}

int64_t circuits_park_until_ms(void *scheduler, struct claim *entry, int64_t due_ms)
{
    struct scheduler *s = scheduler;
    const struct lane *lane = lanes_find(s->lanes, entry->url.authority);
    const struct parking_job parked = parking_job_of(&entry->job);
    int64_t at_ms = lanes_unix_ms(s->lanes, now_of(s));

    if (lane == NULL || !lanes_parks(s->lanes, lane, entry, now_of(s)) || !limits_let(s, entry) ||
        !is_available(s, entry))
        return 0;
    if (at_ms < due_ms)
        at_ms = due_ms;
    int64_t wait_ms = parking_wait_ms(&parked, &lane->circuit, at_ms, &s->process.rng);
    int64_t taken_ms = lane->last_ms;
    if (wait_ms < 0)
        wait_ms = parking_last_ms(&parked, &lane->circuit, at_ms, &s->process.rng, &taken_ms);
    /* Who is given up, or takes the place of the next probe, is claimed for that. */
    return wait_ms < 0 || taken_ms != lane->last_ms ? 0 : at_ms + wait_ms;
}

void circuits_parked(void *scheduler, const struct claim *entry, int64_t back_ms)
{
    struct scheduler *s = scheduler;
    int64_t back_mono_ms = back_ms - fleet_unix_offset_ms(s->fleet);

    lanes_left(s->lanes, entry, back_mono_ms, now_of(s));
    lanes_left_until(s->lanes, entry, back_mono_ms);
    releases_want(s->releases, entry->url.authority);
}
