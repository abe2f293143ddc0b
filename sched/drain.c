#include <stdlib.h>

#include "base/log.h"
#include "sched/state.h"

enum {
    FLUSH_MS = 2000,
    WAIT_MS = 4000, /* BLMOVE's 2 s, and its way */
};

/*
 * INTAKE (the answers that can hold a job are read, or late) --> FLIGHT (what is on the wire ends,
 * up to the deadline; then it is returned) --> SETTLE (every claim is acknowledged) --> LEAVE (the
 * identity goes, if nothing is held) --> LEFT (processes, health) --> DONE
 */
static void set_state(struct scheduler *s, enum drain_state state)
{
    static const char *const names[] = {"not",   "intake", "flight", "settle",
                                        "leave", "left",   "done"};
    log_event(LOG_LEVEL_DEBUG, "drain", LOG_TEXT("state", names[state]),
              LOG_INT("held", table_count(s->holdings.by_seq)));
    s->drain = state;
}

static int by_seq_descending(const void *a, const void *b)
{
    uint64_t left = (*(struct claim *const *)a)->seq;
    uint64_t right = (*(struct claim *const *)b)->seq;
    return (left < right) - (left > right);
}

bool drain_unlist(struct scheduler *s, struct claim *claim)
{
    switch (claim->state) {
    case CLAIM_LANE:
        lanes_remove(s->lanes, claim, clock_mono_ms(&s->process.clock));
        return true;
    case CLAIM_HELD:
        TAILQ_REMOVE(&s->held, claim, entry);
        s->held_count--;
        break;
    case CLAIM_FOLLOWERS:
        followers_remove(s->followers, claim);
        return true;
    case CLAIM_SUSPICIOUS:
        TAILQ_REMOVE(&s->quarantine.waiting, claim, entry);
        s->quarantine.count--;
        break;
    case CLAIM_DOUBT:
        doubts_remove(s->doubts, claim);
        return true;
    case CLAIM_NEW:
    case CLAIM_FLIGHT:
    case CLAIM_SETTLING:
        return false;
    }
    claim->state = CLAIM_NEW;
    return true;
}

void drain_return_waiting(struct scheduler *s)
{
    struct claim **waiting =
        mem_alloc((table_count(s->holdings.by_seq) + 1) * sizeof(struct claim *));
    size_t count = 0;
    size_t at = 0;
    struct claim *claim;

    while ((claim = table_next(s->holdings.by_seq, &at)) != NULL) {
        if (drain_unlist(s, claim))
            waiting[count++] = claim;
    }
    qsort(waiting, count, sizeof(struct claim *), by_seq_descending);
    for (size_t i = 0; i < count; i++)
        conclude_simple(s, waiting[i], SETTLE_RETURN);
    free(waiting);
}

static void collect_flight(void *arg, struct claim *claim)
{
    struct claim ***next = arg;
    if (!claim->orphan)
        *(*next)++ = claim;
}

/* The deadline has come: what is still on the wire goes back as well; it may arrive twice, but it
 * is not lost. */
static void return_flight(struct scheduler *s)
{
    struct claim **claims =
        mem_alloc((dispatch_in_flight(s->dispatch) + 1) * sizeof(struct claim *));
    struct claim **end = claims;

    dispatch_each(s->dispatch, collect_flight, &end);
    for (struct claim **claim = claims; claim < end; claim++) {
        struct claim *copy = claim_create((*claim)->seq, (*claim)->origin, str_of((*claim)->score),
                                          (struct str){(*claim)->payload, (*claim)->payload_bytes});
        copy->recoveries = (*claim)->recoveries;
        holdings_remove(&s->holdings, *claim);
        (*claim)->orphan = true; /* its worker may still answer */
        holdings_add(&s->holdings, copy);
        conclude_simple(s, copy, SETTLE_RETURN);
    }
    if (end > claims)
        log_event(LOG_LEVEL_WARN, "drain deadline: jobs on the wire went back to the queue",
                  LOG_INT("jobs", end - claims));
    free(claims);
}

static void on_intake_stopped(void *arg)
{
    struct scheduler *s = arg;

    if (s->drain != DRAIN_INTAKE)
        return;
    drain_return_waiting(s);
    dispatch_cancel(s->dispatch);
    set_state(s, DRAIN_FLIGHT);
    drain_step(s);
}

static void on_left(void *arg, enum redis_status status, const redisReply *reply)
{
    struct scheduler *s = arg;

    if (s->drain != DRAIN_LEAVE)
        return;
    if (status == REDIS_LOST || reply->type != REDIS_REPLY_INTEGER) {
        set_state(s, DRAIN_SETTLE); /* again, when Redis is back */
        return;
    }
    if (reply->integer > 0) { /* claims that we don't know: they are adopted and returned */
        set_state(s, DRAIN_SETTLE);
        reconcile_run(s->reconcile, NULL, NULL);
        return;
    }
    register_leave(s->registration);
    announce_end(s);
    membership_left(s->membership);
    set_state(s, DRAIN_LEFT);
    drain_step(s);
}

static void leave(struct scheduler *s)
{
    struct script_call *call = script_begin(SCRIPT_LEAVE);

    script_key(call, s->keys.identities);
    script_key(call, membership_claimed_key(s->membership));
    script_key(call, membership_wait_key(s->membership));
    script_key(call, s->keys.queue_push);
    script_key(call, membership_ledger_key(s->membership));
    script_key(call, s->keys.ledger);
    script_key(call, membership_held_key(s->membership));
    script_arg(call, membership_identity(s->membership));
    set_state(s, DRAIN_LEAVE);
    script_send(call, s->redis, on_left, s);
}

/* Nothing is left under this identity, and nothing comes to it. A fenced one may only be unknown
 * to Redis, with all its claims. */
static bool is_over(const struct scheduler *s)
{
    return membership_state(s->membership) != MEMBER_FENCED && !intake_may_receive(s->intake);
}

static void on_flushed(void *arg)
{
    struct scheduler *s = arg;

    if (--s->flushing > 0)
        return;
    if (is_over(s))
        control_send(s->process.control, CONTROL_IDENTITY_GONE, membership_identity(s->membership),
                     -1);
    control_send(s->process.control, CONTROL_DRAINED, STR_NULL, -1);
    set_state(s, DRAIN_DONE);
    log_event(LOG_LEVEL_INFO, "drained", LOG_INT("claimed", s->holdings.claimed),
              LOG_INT("settled", s->holdings.settled), LOG_INT("fenced", s->holdings.fenced));
}

static bool nothing_in_flight(const struct scheduler *s)
{
    return dispatch_in_flight(s->dispatch) == 0;
}

void drain_step(struct scheduler *s)
{
    bool late = clock_mono_ms(&s->process.clock) >= s->drain_deadline_ms;

    switch (s->drain) {
    case DRAIN_INTAKE: /* an answer that is missing: what it brings is found by whoever looks after
                          our identity */
        if (clock_mono_ms(&s->process.clock) >= s->drain_intake_ms)
            on_intake_stopped(s);
        break;
    case DRAIN_NOT:
    case DRAIN_LEAVE:
    case DRAIN_DONE:
        break;
    case DRAIN_FLIGHT:
        if (!nothing_in_flight(s) && !late)
            break;
        return_flight(s);
        set_state(s, DRAIN_SETTLE);
        /* fall through */
    case DRAIN_SETTLE:
        if (membership_beat_age_ms(s->membership) ==
            INT64_MAX) { /* never joined: nothing to leave */
            set_state(s, DRAIN_LEFT);
            break;
        }
        if (table_count(s->holdings.by_seq) == 0 &&
            membership_state(s->membership) == MEMBER_PRESENT)
            leave(s);
        break;
    case DRAIN_LEFT:
        s->drain = DRAIN_DONE;
        s->flushing = 2;
        announce_sample(s);
        outcome_log_flush(s->outcome_log, clock_mono_ms(&s->process.clock));
        host_log_flush(s->host_log, clock_mono_ms(&s->process.clock));
        health_flush(s->health, FLUSH_MS, on_flushed, s);
        history_flush(s->history, FLUSH_MS, on_flushed, s);
        break;
    }
}

void drain_start(struct scheduler *s, unsigned seconds)
{
    int64_t now_ms = clock_mono_ms(&s->process.clock);

    if (s->state == SCHEDULER_DRAINING)
        return;
    log_event(LOG_LEVEL_INFO, "draining", LOG_INT("seconds", seconds),
              LOG_INT("in_flight", dispatch_in_flight(s->dispatch)),
              LOG_INT("held", table_count(s->holdings.by_seq)));
    s->state = SCHEDULER_DRAINING;
    s->drain_deadline_ms = now_ms + (int64_t)seconds * 1000;
    s->drain_intake_ms = now_ms + (seconds > WAIT_MS / 1000 ? (int64_t)seconds * 1000 : WAIT_MS);
    register_set_quiet(s->registration);
    poller_stop(s->poller);
    set_state(s, DRAIN_INTAKE);
    intake_stop(s->intake, on_intake_stopped, s);
}
