/*
 * Entries of `retry` and `schedule` that come due next, as due.lua names them, without their
 * bodies. One that would only be parked again, since its host's circuit is still open, is never
 * claimed: the next call says so (keys and arguments of due.lua), and it is scored anew where it
 * stands. That costs Redis less than a claim and its settling, and its body goes nowhere.
 *
 * All that is kept are names of one call's entries, until the next call for the same set.
 */
#ifndef FEDPUSH_SCHED_AHEAD_H
#define FEDPUSH_SCHED_AHEAD_H

#include "sched/claim.h"
#include "sched/keys.h"
#include "sched/script.h"

struct ahead_options {
    const struct clock *clock; /* its wall clock is Redis' */
    const struct keys *keys;
    /* Whether anything is parked or booked: else nothing is named. */
    bool (*wanted)(void *arg);
    /* An entry (parsed, with URL, of no list; its body is empty) that comes at `due_ms`: when it
     * would come again if it were parked then, or 0: it is to be claimed. Unix milliseconds. Asked
     * when it is named, so that what must be looked up is known when it is asked again, for good,
     * as the next call is made. */
    int64_t (*parks_until_ms)(void *arg, struct claim *entry, int64_t due_ms);
    /* It was: it comes at `back_ms`, Unix time of Redis. */
    void (*parked)(void *arg, const struct claim *entry, int64_t back_ms);
    void *arg;
};

struct ahead;
struct ahead *ahead_create(const struct ahead_options *options);
void ahead_destroy(struct ahead *ahead); /* NULL is fine */

/* A call of due.lua for this set (ORIGIN_RETRY or ORIGIN_SCHEDULE) is being made: which of the
 * entries named last stay. Their keys come behind the call's others, of which there are so many.
 * NULL: the call names and keeps nothing. */
struct ahead_call *ahead_begin(struct ahead *ahead, enum claim_origin origin, unsigned keys);
/* `call`, which may be NULL, is borrowed until script_send. */
void ahead_put_keys(const struct ahead_call *call, struct script_call *script);
void ahead_put_args(const struct ahead_call *call, struct script_call *script);
/* The answer (NULL: lost, refused, or another identity's); frees the call. How many entries were
 * kept out of the claims. */
unsigned ahead_answered(struct ahead_call *call, const redisReply *reply);

#endif
