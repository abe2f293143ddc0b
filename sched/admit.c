#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "sched/state.h"

enum {
    READY_ENOUGH = 64,
    PROGRESSING_ENOUGH = 256,
    SPARE_JOBS = 64,
    PULL_BATCH = 128, /* fewer aren't worth a claim */
    PULL_SHARE = 4,   /* of the look-ahead's bytes */
};

static bool takes_jobs(const struct scheduler *s)
{
    return s->state == SCHEDULER_RUNNING;
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
    }
    return true;
}

void admit_to_lane(struct scheduler *s, struct claim *claim, bool at_head)
{
    int64_t now_ms = clock_mono_ms(&s->process.clock);
    struct lane *lane = lanes_get(s->lanes, claim->url.authority, now_ms);

    if (at_head || lanes_has_room(s->lanes, lane, claim->low))
        lanes_add(s->lanes, lane, claim, at_head);
    else
        conclude_book(s, claim, lanes_book_ms(s->lanes, lane, claim->low, now_ms));
}

void admit_claim(struct scheduler *s, struct claim *claim)
{
    if (!takes_jobs(s)) {
        conclude_simple(s, claim, SETTLE_RETURN);
        return;
    }
    if (claim->recoveries >= QUARANTINE_RECOVERIES) {
        quarantine_add(s, claim);
        return;
    }
    if (!admit_understand(s, claim))
        return;
    admit_to_lane(s, claim, false);
    admit_dispatch(
        s, lanes_get(s->lanes, claim->url.authority, clock_mono_ms(&s->process.clock))->worker);
}

static void block(struct scheduler *s, struct lane *lane)
{
    lanes_block(s->lanes, lane, true);
    if (s->blocked_count == s->blocked_capacity) {
        s->blocked_capacity = s->blocked_capacity > 0 ? s->blocked_capacity * 2 : 64;
        s->blocked = mem_realloc(s->blocked, s->blocked_capacity * sizeof(struct lane *));
    }
    s->blocked[s->blocked_count++] = lane;
}

void admit_answered(void *scheduler)
{
    struct scheduler *s = scheduler;

    for (size_t i = 0; i < s->blocked_count; i++)
        lanes_block(s->lanes, s->blocked[i], false);
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
    if (followers_waiting(s->followers) < (unsigned)s->process.config.lookahead_jobs / 2)
        followers_wait(s->followers, claim);
    else
        conclude_book(s, claim, CONCLUDE_LONGEST_HOLD_MS);
}

void admit_released(void *scheduler, struct claim *claim)
{
    struct scheduler *s = scheduler;

    if (!takes_jobs(s))
        conclude_simple(s, claim, SETTLE_RETURN);
    else if (claim->recoveries >= QUARANTINE_RECOVERIES)
        quarantine_add(s, claim);
    else
        admit_to_lane(s, claim, true);
}

/* A lane's next claim goes to its worker, unless its host turns out unavailable, or something must
 * be asked first. */
static void launch(struct scheduler *s, struct claim *claim)
{
    int64_t now_ms = clock_mono_ms(&s->process.clock);
    struct lane *lane = claim->lane;
    bool unavailable = false;

    if (!claim->job.bypass_availability &&
        !availability_lookup(s->availability, str_of(claim->tracker_host), &unavailable)) {
        lanes_landed(s->lanes, claim, false, false, 0, now_ms);
        lanes_add(s->lanes, lane, claim, true);
        block(s, lane);
        return;
    }
    if (unavailable) {
        lanes_landed(s->lanes, claim, false, false, 0, now_ms);
        skip_unavailable(s, claim);
        return;
    }
    if (!admit_is_complete(s, claim)) {
        lanes_landed(s->lanes, claim, false, false, 0, now_ms);
        admit_await_followers(s, claim);
        return;
    }
    dispatch_send(s->dispatch, lane->worker, claim);
}

void admit_dispatch(struct scheduler *s, unsigned worker)
{
    struct claim *claim;

    while (takes_jobs(s) && membership_is_fresh(s->membership) &&
           dispatch_has_credit(s->dispatch, worker) &&
           (claim = lanes_next(s->lanes, worker)) != NULL)
        launch(s, claim);
}

void admit_dispatch_all(struct scheduler *s)
{
    for (unsigned i = 0; i < s->workers; i++)
        admit_dispatch(s, i);
    intake_room(s->intake);
}

void admit_counted(void *scheduler)
{
    admit_dispatch_all(scheduler);
}

/* Alone, a machine gains nothing by leaving jobs in the queue. */
static bool should_leave_jobs(const struct scheduler *s)
{
    return observer_identities(s->observer) > 1 && dispatch_is_late(s->dispatch, s->workers);
}

/* As many as find a slot, and some that wait; late workers get fewer. */
static unsigned wanted_jobs(const struct scheduler *s)
{
    unsigned slots = (unsigned)s->process.config.max_in_flight;
    unsigned in_flight = lanes_in_flight(s->lanes);

    if (should_leave_jobs(s)) {
        unsigned coming = lanes_progressing(s->lanes);
        unsigned free_slots = dispatch_free_slots(s->dispatch, s->workers, slots);
        return free_slots > coming ? free_slots - coming : 0;
    }
    return (in_flight < slots ? slots - in_flight : 0) + SPARE_JOBS;
}

/* Claims are wanted while little of what is held can go soon, and the look-ahead has space. */
struct room admit_room(void *scheduler)
{
    struct scheduler *s = scheduler;
    const struct config *config = &s->process.config;
    unsigned waiting = lanes_waiting(s->lanes) + s->held_count + s->quarantine.count +
                       (s->followers != NULL ? followers_waiting(s->followers) : 0);
    unsigned lookahead = (unsigned)config->lookahead_jobs;
    unsigned wanted = wanted_jobs(s);
    struct room room = {0, 0};

    if (!takes_jobs(s) || lanes_ready(s->lanes) >= READY_ENOUGH ||
        lanes_progressing(s->lanes) >= PROGRESSING_ENOUGH || waiting >= lookahead)
        return room;
    room.jobs = lookahead - waiting;
    if (room.jobs > wanted)
        room.jobs = wanted;
    if (s->holdings.bytes < (size_t)config->lookahead_bytes)
        room.bytes = (size_t)config->lookahead_bytes - s->holdings.bytes;
    return room;
}

/* Jobs of `pull` are held apart from the others, so that none of those is claimed later for them.
 */
struct room admit_pull_room(void *scheduler)
{
    struct scheduler *s = scheduler;
    size_t bytes = (size_t)s->process.config.lookahead_bytes;
    struct room room = {lanes_low_room(s->lanes), 0};

    if (!takes_jobs(s) || lanes_low_ready(s->lanes) >= READY_ENOUGH || room.jobs < PULL_BATCH)
        room.jobs = 0;
    if (s->holdings.bytes < bytes && s->holdings.pull_bytes < bytes / PULL_SHARE)
        room.bytes = bytes / PULL_SHARE - s->holdings.pull_bytes;
    return room;
}
