/*
 * Looks after the claims of machines that are gone: this machine's former identities at once,
 * others when they were seen with the same stale beat twice, 30 s apart, on one unbroken connection
 * (Redis away for a minute must not make everybody dead). One at a time; those that can't be
 * recovered now wait behind the others.
 *
 * BLMOVE is the one command of an identity that asks nobody whether it still is one. The last one
 * may move a job into the list of an identity that was recovered meanwhile: each is looked at once
 * more, a few seconds later.
 */
#ifndef FEDPUSH_SCHED_OBSERVER_H
#define FEDPUSH_SCHED_OBSERVER_H

#include "base/loop.h"
#include "sched/membership.h"
#include "sched/recover.h"

struct observer_options {
    struct event_base *base;
    const struct clock *clock;
    struct redis *redis;
    const struct keys *keys;
    struct membership *membership;
    void (*former_gone)(void *arg, struct str identity); /* a former identity of this machine holds
                                                        nothing any more, and nothing comes to it */
    void (*returned)(void *arg);                         /* jobs are back in their queue */
    void *arg;
};

struct observer;
struct observer *observer_create(const struct observer_options *options);
void observer_destroy(struct observer *observer);
/* A former identity of this machine, surely gone. */
void observer_former(struct observer *observer, struct str identity);
/* Membership is present: former identities are recovered now. */
void observer_start(struct observer *observer);
/* The connection broke: what was seen before doesn't count. */
void observer_lost(struct observer *observer);
/* Each second. */
void observer_tick(struct observer *observer);
unsigned observer_identities(
    const struct observer *observer); /* seen at the last look: machines that share the queue */

#endif
