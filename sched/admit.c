#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "sched/state.h"

/* Which worker waits for a lane's time is told by none but the lanes: all of them are asked. */
enum {
    FOLLOWERS_MS = 1000, /* to count them; when that takes long, the sender's other jobs pass */
};

bool admit_takes_jobs(const struct scheduler *s)
{
    return s->state == SCHEDULER_RUNNING && !s->limits.paused && policies_are_known(s->policies);
}

/* What belongs to another queue than ours (a due entry of `retry`) goes there; a job of one that we
 * empty would come back to us, so that it goes to the queue that Ruby serves instead. */
static const char *handoff_queue(const struct scheduler *s, const char *queue)
{
    const struct config *config = &s->process.config;

    if (strcmp(queue, "push") == 0)
        return config->handoff_queue;
    if (s->takes_pull && strcmp(queue, "pull") == 0)
        return config->handoff_queue_pull;
    return queue;
}

/* Handed off: what fedpush must not or cannot do. The bytes are the claim's own, but for the
 * retry_queue of a locked job. */
static void hand_off(struct scheduler *s, struct claim *claim)
{
    char *queue = conclude_queue(s, claim);
    struct settlement what = {.verb = SETTLE_HANDOFF, .handoff_queue = handoff_queue(s, queue)};

    if (claim->job.has_lock && !claim->job.has_retry_queue && what.handoff_queue != queue) {
        buf_init(&what.bytes, claim->payload_bytes + 1024);
        job_put_retry_queue(&what.bytes, s->json,
                            (struct str){claim->payload, claim->payload_bytes}, str_of(queue));
        if (what.bytes.overflow)
            buf_clear(&what.bytes);
    }
    log_event(LOG_LEVEL_DEBUG, "handed off", LOG_TEXT("job", claim->job.jid),
              LOG_TEXT("reason", claim->job.reason), LOG_TEXT("queue", what.handoff_queue));
    settle_add(s->settle, claim, &what);
    free(queue);
}

static bool known_unavailable(struct scheduler *s, const struct claim *claim)
{
    bool unavailable;
    return !claim->job.bypass_availability &&
           availability_lookup(s->availability, str_of(claim->tracker_host), &unavailable) &&
           unavailable;
}

/* Ruby does nothing for a host that is marked unavailable, and counts the job as done. */
static void skip_unavailable(struct scheduler *s, struct claim *claim)
{
    struct settlement what = {.verb = SETTLE_DONE, .entry = LEDGER_SKIPPED};

    register_count(s->registration, claim->job.class_name, false, 0);
    settle_add(s->settle, claim, &what);
}

bool admit_understand(struct scheduler *s, struct claim *claim)
{
    struct err err;

    if (!claim->parsed) {
        job_parse(&claim->job, s->json, (struct str){claim->payload, claim->payload_bytes});
        claim->parsed = true;
        claim->low = claim->origin == ORIGIN_PULL || claim->job.low_priority;
        claim->moved = claim->job.moved || claim->job.retry_count >= 0;
        if (claim->origin == ORIGIN_QUEUE && claim->job.retry_count < 0 &&
            claim->job.created_at_s > 0)
            incumbent_saw_job(s->incumbent, claim->job.integer_ms_times);
    }
    if (claim->job.kind == JOB_MALFORMED) {
        conclude_dead(s, claim, claim->job.reason);
        return false;
    }
    if (claim->job.kind == JOB_HANDOFF) {
        hand_off(s, claim);
        return false;
    }
    if (claim->tracker_host == NULL)
        claim->tracker_host = url_tracker_host(claim->job.inbox_url);
    if (known_unavailable(s, claim)) {
        skip_unavailable(s, claim);
        return false;
    }
    if (!claim->has_url) {
        if (url_parse(&claim->url, claim->job.inbox_url, &err) != FP_OK) {
            conclude_failed(s, claim, STR("Addressable::URI::InvalidURIError"),
                            str_of(err.message));
            return false;
        }
        claim->has_url = true;
        claim->pair = claim_pair_of(claim);
    }
    return true;
}

static void book(struct scheduler *s, struct claim *claim, struct lane *lane, int64_t now_ms)
{
    if (claim->low) {
        conclude_book(s, claim, lanes_book_low_ms(s->lanes, lane, now_ms));
        return;
    }
    conclude_book_at_host(s, claim, lane, lanes_book_ms(s->lanes, lane, now_ms),
                          (uint32_t)lanes_pace_ms(s->lanes, lane));
    releases_want(s->releases, lane->host);
}

void admit_shed(struct scheduler *s, struct lane *lane)
{
    int64_t now_ms = clock_mono_ms(&s->process.clock);
    struct claim *claim;

    while ((claim = lanes_excess(s->lanes, lane, now_ms)) != NULL) {
        lanes_remove(s->lanes, claim, now_ms);
        book(s, claim, lane, now_ms);
    }
}

/* What is booked of its pair, by any machine. */
static void hear(struct scheduler *s, struct claim *claim, int64_t now_ms)
{
    int64_t offset_ms = fleet_unix_offset_ms(s->fleet);

    if (!claim->has_heard || claim->pair == 0)
        return;
    claim->has_heard = false;
    for (unsigned i = 0; i < claim->heard_count; i++)
        claim->heard[i].back_ms -= offset_ms;
    lanes_heard(s->lanes, claim, claim->heard, claim->heard_count, now_ms);
    free(claim->heard);
    claim->heard = NULL;
}

/* Its lane rests until it is known whether its host is unavailable. */
static void block(struct scheduler *s, struct lane *lane)
{
    if (lane->blocked)
        return;
    lanes_block(s->lanes, lane, true, clock_mono_ms(&s->process.clock));
    if (s->blocked_count == s->blocked_capacity) {
        s->blocked_capacity = s->blocked_capacity > 0 ? s->blocked_capacity * 2 : 64;
        s->blocked = mem_realloc(s->blocked, s->blocked_capacity * sizeof(struct lane *));
    }
    s->blocked[s->blocked_count++] = lane;
}

static size_t lookahead_bytes(const struct scheduler *s)
{
    return (size_t)s->process.config.lookahead_bytes;
}

unsigned admit_lookahead(const struct scheduler *s)
{
    const struct holdings *held = &s->holdings;

    return appetite_jobs((unsigned)s->process.config.lookahead_jobs, lookahead_bytes(s),
                         held->bytes - held->large_bytes,
                         table_count(held->by_seq) - held->large_count);
}

/* Puts a parsed claim with a URL into its lane, or back into Redis: when the lane is full, or the
 * host's circuit open. */
static void to_lane(struct scheduler *s, struct claim *claim)
{
    int64_t now_ms = clock_mono_ms(&s->process.clock);
    struct lane *lane;
    bool unavailable;

    hear(s, claim, now_ms);
    lanes_came(s->lanes, claim);
    if (limits_settle(s, claim))
        return;
    lane = lanes_get(s->lanes, claim->url.authority, now_ms);
    limits_follow(s, lane);
    switch (lanes_course(s->lanes, lane, claim, now_ms)) {
    case COURSE_LANE:
        if (lane->circuit.state == CIRCUIT_CLOSED &&
            large_crowds(claim, s->holdings.placed_bytes, lookahead_bytes(s))) {
            conclude_book(s, claim,
                          large_book_ms(&s->large_clock, claim, s->holdings.displaced, now_ms));
            break;
        }
        holdings_place(&s->holdings, claim);
        lanes_add(s->lanes, lane, claim, false, now_ms);
        break;
    case COURSE_BOOK:
        book(s, claim, lane, now_ms);
        break;
    case COURSE_PARK:
        if (lane->circuit.state == CIRCUIT_OPEN && !claim->job.bypass_availability &&
            !availability_lookup(s->availability, str_of(claim->tracker_host), &unavailable))
            block(s, lane);
        conclude_park(s, claim, lane);
        break;
    }
}

void admit_again(struct scheduler *s, struct claim *claim)
{
    int64_t now_ms = clock_mono_ms(&s->process.clock);
    struct lane *lane;

    lanes_came(s->lanes, claim);
    if (limits_settle(s, claim))
        return;
    lane = lanes_get(s->lanes, claim->url.authority, now_ms);
    if (lane->circuit.state == CIRCUIT_OPEN &&
        lanes_course(s->lanes, lane, claim, now_ms) == COURSE_PARK)
        conclude_park(s, claim, lane);
    else
        lanes_add(s->lanes, lane, claim, true, now_ms);
}

void admit_claim(struct scheduler *s, struct claim *claim)
{
    if (!admit_takes_jobs(s)) {
        conclude_simple(s, claim, SETTLE_RETURN);
        return;
    }
    standby_took(&s->standby);
    if (claim->recoveries >= QUARANTINE_RECOVERIES) {
        quarantine_add(s, claim);
        return;
    }
    if (!admit_understand(s, claim))
        return;
    to_lane(s, claim);
    if (claim->state == CLAIM_LANE)
        admit_dispatch(s, claim->lane->worker);
}

/* What waits behind an open circuit isn't asked about before a probe is due: whoever restarts
 * delivery would wait for that, too. */
static void pardon_unavailable(struct scheduler *s, struct lane *lane)
{
    bool unavailable = false;
    char *inbox;
    char *name;

    if (lane->circuit.state != CIRCUIT_OPEN)
        return;
    inbox = mem_printf("https://%.*s/", STR_ARG(lane->host));
    name = url_tracker_host(str_of(inbox));
    if (availability_lookup(s->availability, str_of(name), &unavailable) && unavailable)
        circuits_pardon(s, lane);
    free(inbox);
    free(name);
}

void admit_answered(void *scheduler)
{
    struct scheduler *s = scheduler;

    for (size_t i = 0; i < s->blocked_count; i++) {
        lanes_block(s->lanes, s->blocked[i], false, clock_mono_ms(&s->process.clock));
        pardon_unavailable(s, s->blocked[i]);
    }
    s->blocked_count = 0;
    admit_dispatch_all(s);
}

bool admit_is_complete(struct scheduler *s, struct claim *claim)
{
    return !claim->job.synchronize_followers || s->followers == NULL ||
           followers_lookup(s->followers, claim);
}

void admit_await_followers(struct scheduler *s, struct claim *claim)
{
    int64_t now_ms = clock_mono_ms(&s->process.clock);

    if (followers_waiting(s->followers) < admit_lookahead(s) / 2) {
        lanes_left(s->lanes, claim, now_ms + FOLLOWERS_MS, now_ms);
        followers_wait(s->followers, claim);
    } else {
        conclude_book(s, claim, CONCLUDE_LONGEST_HOLD_MS);
    }
}

void admit_released(void *scheduler, struct claim *claim)
{
    struct scheduler *s = scheduler;

    if (!admit_takes_jobs(s))
        conclude_simple(s, claim, SETTLE_RETURN);
    else if (claim->recoveries >= QUARANTINE_RECOVERIES)
        quarantine_add(s, claim);
    else
        admit_again(s, claim);
}

/* A lane's next claim goes to its worker, unless its host turns out unavailable, or something must
 * be asked first: then the lane has not had its turn. */
static void launch(struct scheduler *s, struct claim *claim)
{
    int64_t now_ms = clock_mono_ms(&s->process.clock);
    struct lane *lane = claim->lane;
    bool unavailable = false;

    if (!claim->job.bypass_availability &&
        !availability_lookup(s->availability, str_of(claim->tracker_host), &unavailable)) {
        block(s, lane);
    } else if (unavailable) {
        lanes_remove(s->lanes, claim, now_ms);
        skip_unavailable(s, claim);
    } else if (!admit_is_complete(s, claim)) {
        lanes_remove(s->lanes, claim, now_ms);
        lanes_keep_turn(s->lanes, lane, now_ms);
        admit_await_followers(s, claim);
    } else if (lanes_is_probe(lane)) {
        circuits_ask_probe(s, lane, claim);
    } else {
        lanes_start(s->lanes, claim, now_ms);
        dispatch_send(s->dispatch, lane->worker, claim);
    }
}

/* The lanes' own time: when one may go on that must not yet. */
static void set_wake(struct scheduler *s)
{
    int64_t now_ms = clock_mono_ms(&s->process.clock);
    int64_t at_ms = lanes_wake_ms(s->lanes, now_ms);

    if (s->wake_ms != 0 && s->wake_ms <= at_ms)
        return;
    s->wake_ms = at_ms;
    loop_timer_set(s->wake, at_ms > now_ms ? at_ms - now_ms : 0);
}

/* Won for jobs that are gone: others may make them. */
static void abandon_probes(struct scheduler *s)
{
    struct lane *lane;

    while ((lane = lanes_abandon_probe(s->lanes, clock_mono_ms(&s->process.clock))) != NULL)
        circuits_happened(s, lane, CIRCUIT_UNPROVEN);
}

void admit_wake(void *scheduler)
{
    struct scheduler *s = scheduler;

    s->wake_ms = 0;
    abandon_probes(s);
    lanes_wake(s->lanes, clock_mono_ms(&s->process.clock));
    admit_dispatch_all(s);
}

static void serve(struct scheduler *s, unsigned worker)
{
    struct claim *claim;

    while (admit_takes_jobs(s) && membership_is_fresh(s->membership) &&
           dispatch_has_credit(s->dispatch, worker) &&
           (claim = lanes_next(s->lanes, worker, clock_mono_ms(&s->process.clock))) != NULL)
        launch(s, claim);
}

/* Another one is the first each time: it may take all that the rate allows. */
static void serve_all(struct scheduler *s)
{
    s->first_served++;
    for (unsigned i = 0; i < s->workers; i++)
        serve(s, (s->first_served + i) % s->workers);
}

void admit_dispatch(struct scheduler *s, unsigned worker)
{
    if (lanes_are_short(s->lanes, clock_mono_ms(&s->process.clock)))
        serve_all(s);
    else
        serve(s, worker);
    set_wake(s);
}

void admit_dispatch_all(struct scheduler *s)
{
    serve_all(s);
    set_wake(s);
    intake_room(s->intake);
}

void admit_counted(void *scheduler)
{
    admit_dispatch_all(scheduler);
}

static struct appetite appetite_of(const struct scheduler *s)
{
    const struct config *config = &s->process.config;
    unsigned slots = (unsigned)config->max_in_flight;

    return (struct appetite){.lookahead_jobs = admit_lookahead(s),
                             .lookahead_bytes = lookahead_bytes(s),
                             .max_in_flight = slots,
                             .trials = s->standby.trials,
                             .shares = fleet_machines(s->fleet) > 1,
                             .late = dispatch_is_late(s->dispatch, s->workers),
                             .free_slots = dispatch_free_slots(s->dispatch, s->workers, slots)};
}

unsigned admit_elsewhere(const struct scheduler *s)
{
    return s->held_count + s->quarantine.count + doubts_count(s->doubts) +
           (s->followers != NULL ? followers_waiting(s->followers) : 0);
}

struct room admit_room(void *scheduler)
{
    struct scheduler *s = scheduler;
    const struct appetite appetite = appetite_of(s);

    lanes_set_lookahead(s->lanes, appetite.lookahead_jobs);
    if (!admit_takes_jobs(s))
        return (struct room){0, 0};
    return appetite_room(&appetite, s->lanes, admit_elsewhere(s), s->holdings.bytes,
                         clock_mono_ms(&s->process.clock));
}

struct room admit_pull_room(void *scheduler)
{
    struct scheduler *s = scheduler;
    const struct appetite appetite = appetite_of(s);

    if (!admit_takes_jobs(s))
        return (struct room){0, 0};
    return appetite_pull_room(&appetite, s->lanes, s->holdings.bytes, s->holdings.pull_bytes,
                              clock_mono_ms(&s->process.clock));
}
