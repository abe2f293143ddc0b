/*
 * Takes jobs in: claim rounds while there is room, BLMOVE while the queue is empty (on a connection
 * of its own), due entries for the poller, and the look into fedpush:recoveries before a job that
 * was in dying hands is accepted. Jobs of `pull` are claimed while `push` has none waiting; while
 * it has, a small share of them each second. An empty `pull` costs one claim a second.
 *
 * Order between machines. A claim names the others, so that the script can see what they have in
 * their hands; when these have changed, the script says which they are, and is called again.
 */
#ifndef FEDPUSH_SCHED_INTAKE_H
#define FEDPUSH_SCHED_INTAKE_H

#include "sched/appetite.h"
#include "sched/holdings.h"
#include "sched/membership.h"

enum { INTAKE_MAX_JOBS = 256, INTAKE_MAX_BYTES = 512 * 1024, INTAKE_PULL_SHARE = 64 };

struct intake_options {
    struct event_base *base;
    const struct clock *clock; /* its wall clock is Redis' */
    struct redis *redis; /* where everything else of this identity runs: answers come in order */
    struct redis *redis_wait; /* only for BLMOVE */
    const struct keys *keys;
    struct membership *membership;
    struct holdings *holdings;
    struct ahead *ahead;            /* which due entries stay where they are; NULL: none does */
    int claim_rate;                 /* jobs a second, 0: no limit */
    struct room (*room)(void *arg); /* how much may be claimed now */
    /* The same of `pull`; NULL: that queue isn't ours. Small rooms make many claims: it answers 0
     * until a good part of a batch fits. */
    struct room (*pull_room)(void *arg);
    void (*accept)(
        void *arg,
        struct claim *claim); /* a new claim, CLAIM_NEW, in holdings; recoveries are known */
    void *arg;
};

struct intake;
struct intake *intake_create(const struct intake_options *options);
void intake_destroy(struct intake *intake);
void intake_set_rate(struct intake *intake, int claim_rate);
/* The rate is what keeps it from claiming now. */
bool intake_has_spent(const struct intake *intake);
/* Membership is (again) present: begin. */
void intake_start(struct intake *intake);
/* Room may have appeared. Cheap: does nothing while the queue is known to be empty. */
void intake_room(struct intake *intake);
/* Other machines have put jobs into our list. */
void intake_listed(struct intake *intake);
/* Each second: claims regardless of what the wait connection says, so that a half-open socket never
 * looks like an idle queue. */
void intake_tick(struct intake *intake);
/* Each second, whatever the state: a connection on which BLMOVE isn't answered is made anew. */
void intake_watch(struct intake *intake);
/* BLMOVE is under way, or nobody knows what became of it: a job may still come into our list. */
bool intake_may_receive(const struct intake *intake);
/* Each second: what waits in our list goes back, when there is no room for it, or nothing is
 * claimed any more. */
void intake_yield(struct intake *intake);
/* Claims due native entries of `retry` (ORIGIN_RETRY) or `schedule` (ORIGIN_SCHEDULE), at most
 * `room`. */
void intake_due(struct intake *intake, enum claim_origin origin, struct room room);
/* Takes a claim that the hash has and we don't know (a lost answer). `value` is "ORIGIN\nJOB". */
void intake_adopt(struct intake *intake, uint64_t seq, struct str value);
/* No more claims; `done`, once, from the loop, when every answer that can hold a job has been read
 * (or its connection is lost). */
void intake_stop(struct intake *intake, loop_fn *done, void *arg);
/* Fenced: what is being looked up is forgotten (claims in `holdings` are the caller's to drop), and
 * BLMOVE given up. */
void intake_forget(struct intake *intake);
/* Scripts sent so far: for the test of claims per delivery. */
uint64_t intake_calls(const struct intake *intake);

#endif
