/*
 * The scheduler's state, shared by the files that are the scheduler: scheduler.c (life), assemble.c
 * (its parts), admit.c (what comes in), conclude.c (what comes out), circuits.c (hosts that don't
 * answer), quarantine.c (what must run alone), limits.c (what admins ordered), announce.c (what it
 * says of itself), drain.c (the end).
 * Nobody else includes this.
 */
#ifndef FEDPUSH_SCHED_STATE_H
#define FEDPUSH_SCHED_STATE_H

#include "base/role.h"
#include "sched/ahead.h"
#include "sched/availability.h"
#include "sched/backlog.h"
#include "sched/consumer.h"
#include "sched/counts.h"
#include "sched/dispatch.h"
#include "sched/doubts.h"
#include "sched/followers.h"
#include "sched/footprint.h"
#include "sched/foresight.h"
#include "sched/health.h"
#include "sched/history.h"
#include "sched/host_log.h"
#include "sched/incumbent.h"
#include "sched/intake.h"
#include "sched/lane.h"
#include "sched/large.h"
#include "sched/observer.h"
#include "sched/outcome_log.h"
#include "sched/policies.h"
#include "sched/poller.h"
#include "sched/questions.h"
#include "sched/recent.h"
#include "sched/reconcile.h"
#include "sched/register.h"
#include "sched/releases.h"
#include "sched/retention.h"
#include "sched/schemes.h"
#include "sched/settle.h"
#include "sched/standby.h"

/*
 * STARTING --joined--> RUNNING --quiet--> QUIET
 * RUNNING, QUIET --drain--> DRAINING --> drain.c's states --> the supervisor ends the process
 * any but DRAINING --fenced--> FENCED --new identity, joined--> RUNNING, or QUIET when it was told
 * to
 */
enum scheduler_state {
    SCHEDULER_STARTING = 0,
    SCHEDULER_RUNNING,
    SCHEDULER_QUIET,
    SCHEDULER_FENCED,
    SCHEDULER_DRAINING
};

/* Jobs that were twice in dying hands wait here, to run one at a time in a worker of their own. */
enum quarantine_state {
    QUARANTINE_IDLE = 0, /* no such worker */
    QUARANTINE_STARTING, /* the supervisor was asked for it */
    QUARANTINE_READY,    /* it has credit and nothing to do */
    QUARANTINE_MARKING,  /* the mark "alone" is being written */
    QUARANTINE_RUNNING,  /* a job runs alone */
};

struct quarantine {
    enum quarantine_state state;
    struct claim_list waiting;
    unsigned count;
    uint64_t seq;    /* MARKING: of the claim */
    int64_t idle_ms; /* monotonic: since when there is nothing to do */
};

struct limits {
    bool paused;       /* the fleet, or this machine */
    int64_t return_ms; /* paused: monotonic, when what is held goes back next */
    int64_t takers_ms; /* of the fleet that was last followed */
};

enum drain_state {
    DRAIN_NOT = 0,
    DRAIN_INTAKE,
    DRAIN_FLIGHT,
    DRAIN_SETTLE,
    DRAIN_LEAVE,
    DRAIN_LEFT,
    DRAIN_DONE
};

struct scheduler {
    struct role_process process;
    enum scheduler_state state;
    enum drain_state drain;
    int64_t drain_deadline_ms;
    int64_t drain_intake_ms; /* DRAIN_INTAKE ends by then */
    unsigned flushing;       /* DRAIN_DONE: what is still being written */

    struct dns *dns;
    struct redis_endpoint endpoints[3];
    struct redis *redis;      /* the role "sidekiq": all scripts of the identity */
    struct redis *redis_wait; /* BLMOVE */
    struct redis *redis_base; /* may be `redis` itself, when both roles are one database */
    struct redis *redis_cache;
    struct postgres *postgres; /* Mastodon's */
    struct postgres *postgres_fedpush;
    struct postgres *postgres_followers; /* Mastodon's; NULL: no synchronization is sent */
    struct keys keys;
    struct clock due_clock; /* its wall clock is Redis', which is what scores go by */

    struct membership *membership;
    struct holdings holdings;
    struct intake *intake;
    struct reconcile *reconcile;
    struct settle *settle;
    struct observer *observer;
    struct poller *poller;
    struct registration *registration;
    struct consumer *consumer;
    struct consumer *consumer_pull; /* NULL: pull isn't consumed */
    struct incumbent *incumbent;
    struct availability *availability;
    struct followers *followers; /* NULL: no synchronization is sent */
    struct health *health;
    struct history *history;
    struct retention *retention;
    struct backlog *backlog;
    uint64_t handed_off; /* of holdings, as of the last sample */
    struct recent *recent;
    struct outcome_log *outcome_log;
    struct host_log *host_log;
    struct counts counts;
    struct footprint *footprint;
    int64_t started_ms;      /* Unix */
    struct schemes *schemes; /* NULL: FEDPUSH_DOUBLE_KNOCK is false */
    struct policies *policies;
    struct limits limits;
    struct lanes *lanes;
    struct dispatch *dispatch;
    struct foresight *foresight;
    struct quarantine quarantine;
    struct doubts *doubts;
    struct fleet *fleet;
    struct releases *releases;
    struct questions *questions;
    struct claim_list held; /* CLAIM_HELD, by due_ms roughly */
    unsigned held_count;
    unsigned first_served; /* counts on: which worker is the first to be served */
    struct lane **blocked; /* lanes that await an answer about their host */
    size_t blocked_count;
    size_t blocked_capacity;

    struct json *json;
    unsigned workers;
    int quarantine_fd;                    /* until start: 0 or a channel */
    int worker_fds[DISPATCH_MAX_WORKERS]; /* until start: -1 or a channel */
    char *identity_text;                  /* CONTROL_IDENTITY's, until start */
    bool ready_sent;
    bool quiet;      /* told to be, for good: whatever identity it has */
    bool takes_pull; /* FEDPUSH_QUEUES */
    struct loop_timer *tick;
    struct loop_timer *wake; /* lanes that sleep */
    int64_t wake_ms;         /* when it is set for; 0: it isn't */
    struct large_clock large_clock;
    uint64_t ticks;
    struct standby standby;
    bool suspicious;           /* that it is us was said */
    uint64_t asked_generation; /* bumped by a fence: answers from before are stale */
};

/* assemble.c: makes all parts of a scheduler that has its configuration. */
void assemble(struct scheduler *s);

/* scheduler.c: what its parts call. */
void scheduler_on_credit(void *arg, unsigned worker);
void scheduler_on_outcome(void *arg, unsigned worker, struct claim *claim,
                          const struct message_outcome *outcome);
void scheduler_on_lost(void *arg, unsigned worker, struct claim *claim);
void scheduler_on_stuck(void *arg, unsigned worker);
void scheduler_on_joined(void *arg);
void scheduler_on_fenced(void *arg);
void scheduler_on_redis_ready(void *arg);
void scheduler_on_redis_lost(void *arg, const char *reason);
void scheduler_on_side_ready(void *arg);
void scheduler_on_side_lost(void *arg, const char *reason);
void scheduler_on_share(void *arg);
void scheduler_on_ended(void *arg, const struct claim *claim, int64_t back_ms);
void scheduler_on_settled(void *arg);
void scheduler_on_listed(void *arg);
void scheduler_on_former_gone(void *arg, struct str identity);
void scheduler_on_returned(void *arg);
void scheduler_on_quiet(void *arg);
void scheduler_on_stop(void *arg);

/* Whether deliveries are taken and dispatched now. */
bool admit_takes_jobs(const struct scheduler *s);
/* admit.c: a new claim, or one that comes back, finds its place. */
void admit_claim(struct scheduler *s, struct claim *claim);
/* One that comes back unattempted: to the head of its lane. */
void admit_again(struct scheduler *s, struct claim *claim);
/* What the lane must part with, since its host or an admin holds it back, is booked. */
void admit_shed(struct scheduler *s, struct lane *lane);
/* Parses and judges without a lane: true when the claim is a delivery with url and tracker host,
 * otherwise it has been settled. */
bool admit_understand(struct scheduler *s, struct claim *claim);
/* Jobs leave for this worker while it has credit and lanes have work. */
void admit_dispatch(struct scheduler *s, unsigned worker);
void admit_dispatch_all(struct scheduler *s);
/* Whether all that the request of this claim (parsed) says is known; otherwise it must wait for its
 * sender's followers to be counted, off every list (CLAIM_NEW). */
bool admit_is_complete(struct scheduler *s, struct claim *claim);
void admit_await_followers(struct scheduler *s, struct claim *claim);
/* followers' `release` and `answered`. */
void admit_released(void *scheduler, struct claim *claim);
void admit_counted(void *scheduler);
/* availability's `answered`. */
void admit_answered(void *scheduler);
/* Claims that wait outside of the lanes. */
unsigned admit_elsewhere(const struct scheduler *s);
/* FEDPUSH_LOOKAHEAD, or what fits of it into its bytes (appetite_jobs). */
unsigned admit_lookahead(const struct scheduler *s);
struct room admit_room(void *scheduler);
struct room admit_pull_room(void *scheduler);

/* Sleeping lanes may have woken up. */
void admit_wake(void *scheduler);

/* circuits.c */
/* fleet's handlers. */
void circuits_opened_elsewhere(void *scheduler, struct str host, int64_t opened_ms,
                               int64_t probe_ms, uint32_t backoff_ms);
void circuits_closed_elsewhere(void *scheduler, struct str host);
void circuits_held_elsewhere(void *scheduler, struct str host, int64_t until_ms);
/* The host has asked for so much time: the other machines are told. */
void circuits_held(struct scheduler *s, const struct lane *lane, int64_t hold_ms);
void circuits_happened(struct scheduler *s, struct lane *lane, enum circuit_event event);
/* A probe is due and a job for it is at hand. */
void circuits_ask_probe(struct scheduler *s, struct lane *lane, const struct claim *claim);
/* Mastodon holds the host for unavailable: nothing is sent to it as long as it does, and afterwards
 * its next job is to go at once, whenever the probe was due. What is parked stays where it is: it
 * is called back when that job is answered. */
void circuits_pardon(struct scheduler *s, struct lane *lane);
/* ahead's handlers: what is due next, and would only be parked again. */
bool circuits_have_parked(void *scheduler);
int64_t circuits_park_until_ms(void *scheduler, struct claim *entry, int64_t due_ms);
void circuits_parked(void *scheduler, const struct claim *entry, int64_t back_ms);

/* conclude.c: what an attempt led to. */
void conclude_outcome(struct scheduler *s, struct claim *claim,
                      const struct message_outcome *outcome);
/* Fails a claim that never reached a worker, as Ruby would: retry or exhausted; nothing is tracked.
 */
void conclude_failed(struct scheduler *s, struct claim *claim, struct str error_class,
                     struct str message);
void conclude_simple(struct scheduler *s, struct claim *claim, enum settle_verb verb);
/* Into the dead set; with the reason when the payload is a JSON object, untouched otherwise. */
void conclude_dead(struct scheduler *s, struct claim *claim, const char *reason);
/* Its host's circuit is open: it waits in Redis without losing a retry, until it is too old. */
void conclude_park(struct scheduler *s, struct claim *claim, struct lane *lane);
/* Each second: claims that failed, when it can be told whose fault it was. */
void conclude_doubts(struct scheduler *s);
/* Back into a zset at now + delay, unchanged, in the order of its pair: no attempt is counted. */
enum { CONCLUDE_LONGEST_HOLD_MS = CLAIM_LONGEST_HOLD_MS };
void conclude_book(struct scheduler *s, struct claim *claim, int64_t delay_ms);
/* The same at its host: in the order of its pair, to be called back early; with `share_ms` behind
 * what else is booked there (sched/settle.h). */
void conclude_book_at_host(struct scheduler *s, struct claim *claim, const struct lane *lane,
                           int64_t delay_ms, uint32_t share_ms);
/* The bare name of the queue that the job came from or belongs to; free(). */
char *conclude_queue(struct scheduler *s, const struct claim *claim);
/* A worker died with this claim in its hands. */
void conclude_lost(struct scheduler *s, unsigned worker, struct claim *claim);

/* limits.c: what admins have ordered. */
void limits_start(struct scheduler *s);
/* True: this claim (CLAIM_NEW, with a URL) must not wait for its host now: it has been settled. */
bool limits_settle(struct scheduler *s, struct claim *claim);
/* True: it was made before an order to drop, and isn't tried again. */
bool limits_drops(const struct scheduler *s, const struct claim *claim);
/* False: an order says what becomes of it, even while it only waits. */
bool limits_let(const struct scheduler *s, const struct claim *claim);
/* A window so small that others serve this host, whose jobs go to them; or 0. questions'
 * `passes_on`. */
unsigned limits_pass_on(void *scheduler, struct str host, const struct policy *policy);
/* A lane that was just made follows, too. */
void limits_follow(struct scheduler *s, struct lane *lane);
void limits_tick(struct scheduler *s); /* each second */

/* announce.c */
void announce(struct scheduler *s); /* each MACHINE_REPORT_EACH_S */
/* How things stand, for the history: as often, and at the end. */
void announce_sample(struct scheduler *s);
/* questions' `stands` and `is_busy`. */
void announce_standing(void *scheduler, struct standing *standing);
bool announce_is_busy(void *scheduler, unsigned worker);
void announce_end(struct scheduler *s); /* the identity ends */

/* quarantine.c */
enum { QUARANTINE_RECOVERIES = 2 };
void quarantine_add(struct scheduler *s, struct claim *claim);
/* It ran alone, and its process lives. True: no attempt was made, and it waits for its next turn.
 */
bool quarantine_landed(struct scheduler *s, struct claim *claim, bool tried);
void quarantine_step(struct scheduler *s); /* after anything that may let it go on; each second */
void quarantine_forget(struct scheduler *s);
void quarantine_prune(struct scheduler *s); /* each hour */

/* drain.c */
void drain_start(struct scheduler *s, unsigned seconds);
void drain_step(struct scheduler *s); /* after anything that may let it go on; each second */
/* Takes a waiting claim off its list (it becomes CLAIM_NEW); false for one that isn't waiting. */
bool drain_unlist(struct scheduler *s, struct claim *claim);
/* Everything that waits goes back to where it came from, the newest first, so that the oldest is
 * served first. */
void drain_return_waiting(struct scheduler *s);

#endif
