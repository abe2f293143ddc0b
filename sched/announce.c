/* What this machine says of itself (machine_report.h), each two seconds, for as long as it has its
 * identity. Losing it loses two seconds of what is shown. */
#include <inttypes.h>
#include <unistd.h>

#include "sched/machine_report.h"
#include "sched/state.h"

static const char *state_of(const struct scheduler *s)
{
    switch (s->state) {
    case SCHEDULER_STARTING:
        return "starting";
    case SCHEDULER_RUNNING:
        return s->limits.paused ? "paused" : "running";
    case SCHEDULER_QUIET:
        return "quiet";
    case SCHEDULER_FENCED:
        return "fenced";
    case SCHEDULER_DRAINING:
        break;
    }
    return "draining";
}

static unsigned count_open(const struct lanes *lanes)
{
    const struct lane *lane;
    unsigned count = 0;
    size_t at = 0;

    while ((lane = lanes_each(lanes, &at)) != NULL)
        count += lane->circuit.state != CIRCUIT_CLOSED;
    return count;
}

static const char *problem_of(const struct scheduler *s)
{
    const char *problem = postgres_problem(s->postgres);

    return problem[0] != '\0' ? problem : postgres_problem(s->postgres_fedpush);
}

static void gather(struct scheduler *s, struct machine_report *report)
{
    const struct config *config = &s->process.config;
    int64_t now_ms = clock_mono_ms(&s->process.clock);

    *report = (struct machine_report){
        .at_ms = lanes_unix_ms(s->lanes, now_ms),
        .mastodon = config->mastodon.text,
        .sidekiq = incumbent_said(s->incumbent),
        .state = state_of(s),
        .suspicious = s->suspicious,
        .started_ms = s->started_ms,
        .workers = s->workers,
        .in_flight = dispatch_in_flight(s->dispatch),
        .slots = (unsigned)config->max_in_flight,
        .held = table_count(s->holdings.by_seq),
        .waiting = lanes_waiting(s->lanes) + lanes_low_waiting(s->lanes),
        .lookahead = (unsigned)config->lookahead_jobs,
        .lanes = lanes_count(s->lanes),
        .open_circuits = count_open(s->lanes),
        .keys_waiting = s->held_count,
        .lag_ms = dispatch_lag_ms(s->dispatch, s->workers),
        .counts = &s->counts,
        .handed_off = s->holdings.handed_off,
        .postgres = problem_of(s),
    };
    footprint_look(s->footprint, now_ms, &report->cores, &report->rss_bytes);
    counts_recent(&s->counts, now_ms, report->recent);
}

/* It has put jobs there, of which nobody knows whether they still wait. */
static const char *unserved_handoff(const struct scheduler *s)
{
    const struct config *config = &s->process.config;

    if (s->holdings.handed_off == 0)
        return NULL;
    if (consumer_is_missing(s->consumer))
        return config->handoff_queue;
    return s->consumer_pull != NULL && consumer_is_missing(s->consumer_pull)
               ? config->handoff_queue_pull
               : NULL;
}

void announce_standing(void *scheduler, struct standing *standing)
{
    struct scheduler *s = scheduler;
    const struct config *config = &s->process.config;
    const struct room room = admit_room(s);
    bool late = dispatch_is_late(s->dispatch, s->workers);

    *standing = (struct standing){
        .draining = s->state == SCHEDULER_DRAINING,
        .quiet = s->state == SCHEDULER_QUIET,
        .policies_known = policies_are_known(s->policies),
        .fleet_paused = policies_pause_fleet(s->policies),
        .paused = s->limits.paused,
        .fresh = membership_is_fresh(s->membership),
        .suspicious = s->suspicious,
        .standing_by = s->standby.active,
        .has_room = room.jobs > 0 && room.bytes > 0,
        .leaves = late && fleet_machines(s->fleet) > 1,
        .rate_used = intake_has_spent(s->intake),
        .beat_age_ms = membership_beat_age_ms(s->membership),
        .lag_ms = dispatch_lag_ms(s->dispatch, s->workers),
        .waiting = lanes_waiting(s->lanes) + admit_elsewhere(s),
        .lookahead = (unsigned)config->lookahead_jobs,
        .bytes = s->holdings.bytes,
        .lookahead_bytes = (size_t)config->lookahead_bytes,
        .claim_rate = config->claim_rate,
        .unserved_handoff = unserved_handoff(s),
    };
}

bool announce_is_busy(void *scheduler, unsigned worker)
{
    const struct scheduler *s = scheduler;
    return !dispatch_has_credit(s->dispatch, worker);
}

void announce_sample(struct scheduler *s)
{
    const int64_t gauges[HISTORY_GAUGES] = {[HISTORY_QUEUE_LENGTH] = backlog_length(s->backlog),
                                            [HISTORY_OLDEST_AGE_MS] = backlog_oldest_ms(s->backlog),
                                            [HISTORY_IN_FLIGHT] = dispatch_in_flight(s->dispatch),
                                            [HISTORY_OPEN_CIRCUITS] = count_open(s->lanes)};

    history_sample(s->history, gauges, s->holdings.handed_off - s->handed_off);
    s->handed_off = s->holdings.handed_off;
}

void announce(struct scheduler *s)
{
    struct machine_report report;
    char host[256] = "localhost";
    struct buf json;

    if (membership_state(s->membership) != MEMBER_PRESENT)
        return;
    gather(s, &report);
    gethostname(host, sizeof(host) - 1);
    report.host = str_of(host);
    buf_init(&json, MACHINE_REPORT_BYTES);
    machine_report_put(&json, &report);
    const struct str words[] = {STR("HSET"), str_of(s->keys.machines),
                                membership_identity(s->membership), buf_str(&json)};
    if (!json.overflow)
        redis_send(s->redis, NULL, NULL, 4, words);
    buf_clear(&json);
}

void announce_end(struct scheduler *s)
{
    const struct str words[] = {STR("HDEL"), str_of(s->keys.machines),
                                membership_identity(s->membership)};
    redis_send(s->redis, NULL, NULL, 3, words);
}
