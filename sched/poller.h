/*
 * Sidekiq's poller: due entries of `retry` and `schedule`. Native deliveries are claimed directly
 * each second (intake_due), at most as many as the lanes can take, so that a wave of retries never
 * stands in front of fresh posts. Other classes go to their queue as Sidekiq does it, at its
 * cadence (5 s a registered process), but atomically and at most 1,000 of a set a round; entries
 * with a lock_digest are left to Ruby, whose client middleware must see them. However many of those
 * are due, they hide nothing behind them for ever.
 */
#ifndef FEDPUSH_SCHED_POLLER_H
#define FEDPUSH_SCHED_POLLER_H

#include "base/loop.h"
#include "sched/incumbent.h"
#include "sched/intake.h"

struct poller_options {
    const struct clock *clock; /* its wall clock is Redis': scores are compared with it */
    const struct rng *rng;
    struct redis *redis;
    const struct keys *keys;
    struct membership *membership;
    struct intake *intake;
    const struct incumbent_version *sidekiq; /* enqueued_at and the cadence as it has them */
    struct room (*room)(void *arg);
    void *arg;
};

struct poller;
struct poller *poller_create(const struct poller_options *options);
void poller_destroy(struct poller *poller);
/* Each second. `processes`: registered Sidekiq processes (SCARD). */
void poller_tick(struct poller *poller, unsigned processes);
void poller_stop(struct poller *poller); /* draining: nothing is taken any more */
void poller_lost(struct poller *poller); /* the connection broke */
/* How long Sidekiq's own poller would sleep. Pure. */
int64_t poller_cadence_ms(const struct incumbent_version *sidekiq, unsigned processes,
                          const struct rng *rng);

#endif
