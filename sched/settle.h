/*
 * Writes what became of claims: first the effects in other stores (best effort, at most a second:
 * availability_track), then one script a batch that writes each job where it goes on and removes
 * its claim. Replaying a batch whose answer was lost is harmless: the script does nothing for a
 * claim that is gone.
 *
 * Booking. What goes into `retry` or `schedule` because its host has no time for it now names the
 * host. With `share_ms` it goes on the host's reservation clock, which all machines share: it comes
 * back that long after what was booked last, `score` at the earliest; the clock stands at most an
 * hour ahead. With `pair`, jobs of one sender for one inbox come back in the order of their
 * creation, a millisecond apart at least: a clocked one behind what is booked before it, another
 * one right behind it, so that they stay together. What is booked can be called back
 * (fleet_release).
 */
#ifndef FEDPUSH_SCHED_SETTLE_H
#define FEDPUSH_SCHED_SETTLE_H

#include "sched/availability.h"
#include "sched/holdings.h"
#include "sched/ledger.h"
#include "sched/membership.h"

enum settle_verb {
    SETTLE_DONE = 0,
    SETTLE_RETRY,    /* into `retry` at `score`, as `bytes`, or unchanged when there are none */
    SETTLE_SCHEDULE, /* into `schedule` at `score`, the same */
    SETTLE_DEAD,     /* into `dead`, as `bytes`; its score is the time of settle_add */
    SETTLE_RETURN,   /* back to where it was claimed from, unchanged */
    SETTLE_HANDOFF,  /* to queue `handoff_queue`: `bytes`, or the claim's own when there are none */
    SETTLE_PASS,     /* into the list of machine `host`, unchanged; back, when that is no more */
};

struct settlement {
    enum settle_verb verb;
    char score[32];
    struct str host; /* booked at this host; empty: not booked. Of SETTLE_PASS: the machine. Copied
                        by settle_add */
    uint32_t share_ms; /* 0: `score` is when it comes back, but for its pair's order */
    uint64_t pair;     /* of sender and inbox; 0: comes in any order */
    struct buf bytes;  /* taken over (moved out) by settle_add */
    bool uncalled; /* booked at a host, but not among what is called back when that takes more */
    const char *handoff_queue; /* bare name; copied */
    enum track track;
    enum ledger_entry entry; /* LEDGER_BY_VERB unless something else is meant */
};

struct settle_options {
    struct event_base *base;
    const struct clock *clock;
    struct redis *redis;
    const struct keys *keys;
    struct membership *membership;
    struct holdings *holdings;
    struct availability *availability; /* NULL: no effects (a tool) */
    /* For each claim that was ours to the end, before it goes: `back_ms`, Unix time of Redis, is
     * when it comes again that was booked at a host, else 0. NULL: nobody wants to know. */
    void (*ended)(void *arg, const struct claim *claim, int64_t back_ms);
    void (*settled)(
        void *arg); /* after each batch: claims were removed from holdings and destroyed */
    /* Before that: jobs wait in this machine's list, perhaps for what has just ended. NULL is fine.
     */
    void (*listed)(void *arg);
    void *arg;
};

struct settle;
struct settle *settle_create(const struct settle_options *options);
void settle_destroy(struct settle *settle);
/* Takes a claim (CLAIM_NEW; it becomes CLAIM_SETTLING). A batch leaves at 128 claims, 512 KiB, or
 * after 10 ms. */
void settle_add(struct settle *settle, struct claim *claim, struct settlement *settlement);
/* Membership is (again) present and reconciled: batches whose answer is missing are sent again. */
void settle_replay(struct settle *settle);
/* Fenced: the batches are forgotten; the claims in `holdings` are the caller's to drop. */
void settle_forget(struct settle *settle);
unsigned settle_pending(const struct settle *settle); /* claims not yet acknowledged */

#endif
