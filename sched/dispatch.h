/*
 * The workers: channels, credits, what each has in flight, and what to do when one is stuck or
 * dies. Jobs are sent only against credit; outcomes are always taken.
 */
#ifndef FEDPUSH_SCHED_DISPATCH_H
#define FEDPUSH_SCHED_DISPATCH_H

#include "base/clock.h"
#include "base/ipc.h"
#include "base/message.h"
#include "sched/claim.h"
#include "sched/lag.h"
#include "sched/policies.h"
#include "sched/schemes.h"

enum {
    DISPATCH_MAX_WORKERS = 64,
    DISPATCH_DEADLINE_MS = 130000, /* an attempt's limit × 2 + 10 s: past it the worker is pinged */
    DISPATCH_PONG_MS = 5000,       /* and this long after the ping it is killed */
};

struct dispatch_options {
    struct event_base *base;
    const struct clock *clock;
    unsigned char ticket_key[TICKET_KEY_BYTES];
    const struct schemes *schemes;   /* NULL: draft-cavage alone, no second knock */
    const struct policies *policies; /* NULL: nobody orders anything */
    void (*credit)(void *arg,
                   unsigned worker); /* it can take jobs: at HELLO and after each outcome */
    /* The claim is off the worker's list, still CLAIM_FLIGHT. */
    void (*outcome)(void *arg, unsigned worker, struct claim *claim,
                    const struct message_outcome *outcome);
    /* Its process died with this claim in its hands; CLAIM_FLIGHT, off its list. */
    void (*lost)(void *arg, unsigned worker, struct claim *claim);
    void (*kill)(void *arg, unsigned worker); /* stuck: the supervisor must kill it */
    void *arg;
};

struct dispatch;
/* `workers` 0…workers-1 take lanes; index CONTROL_QUARANTINE_INDEX takes suspicious jobs. */
struct dispatch *dispatch_create(const struct dispatch_options *options);
/* A channel to a (new) worker; what the former one had in flight is reported as lost first. */
void dispatch_connect(struct dispatch *dispatch, unsigned worker, int fd);
bool dispatch_has_credit(const struct dispatch *dispatch, unsigned worker);
/* Connected, with credit, and nothing in flight: what is sent now runs alone. */
bool dispatch_is_idle(const struct dispatch *dispatch, unsigned worker);
/* Sends a claim (CLAIM_FLIGHT, parsed, url set). Needs credit. */
void dispatch_send(struct dispatch *dispatch, unsigned worker, struct claim *claim);
/* Asks every worker to give up what isn't on the wire yet. */
void dispatch_cancel(struct dispatch *dispatch);
/* Asks its worker to end this claim (CLAIM_FLIGHT) at once, even when it is on the wire. */
void dispatch_abort(struct dispatch *dispatch, const struct claim *claim);
/* Tells a worker that jobs for this host will come; nothing when there is no such worker. */
void dispatch_foresee(struct dispatch *dispatch, unsigned worker, struct str host);
/* Each second: looks for stuck workers, and what waits for failing hosts. */
void dispatch_tick(struct dispatch *dispatch);
/* How late the latest worker is (lag.h). */
uint32_t dispatch_lag_ms(const struct dispatch *dispatch, unsigned workers);
/* Some worker is later than LAG_TOLERATED_MS. */
bool dispatch_is_late(const struct dispatch *dispatch, unsigned workers);
/* How many more jobs the workers should be given, as late as they are, of `slots` for all of them.
 * What has been waiting for a failing host for five seconds takes no place. */
unsigned dispatch_free_slots(const struct dispatch *dispatch, unsigned workers, unsigned slots);
unsigned dispatch_in_flight(const struct dispatch *dispatch); /* orphans included */
/* Calls fn for every claim in flight, oldest first for each worker; fn may not change the lists. */
void dispatch_each(struct dispatch *dispatch, void (*fn)(void *arg, struct claim *claim),
                   void *arg);

#endif
