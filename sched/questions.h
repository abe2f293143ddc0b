/*
 * What admins ask about a host, and what this machine answers: `fedpush domain show` puts the host
 * into fedpush:questions, for ten seconds, and each machine looks there once a second and writes
 * why the host's deliveries are or aren't being sent into the hash fedpush:answers:HOST, under its
 * identity, for half a minute. Losing any of it loses an answer. Where it looks, the order to drain
 * this machine stands, too: fedpush:drain:IDENTITY, which is taken away and followed once.
 */
#ifndef FEDPUSH_SCHED_QUESTIONS_H
#define FEDPUSH_SCHED_QUESTIONS_H

#include "sched/lane.h"
#include "sched/membership.h"

enum { QUESTIONS_AT_ONCE = 16, QUESTIONS_ANSWER_S = 30 };

/* All are borrowed and must outlive it. */
struct questions_options {
    const struct clock *clock;
    struct redis *redis;
    const struct keys *keys;
    struct membership *membership;
    struct lanes *lanes;
    void (*drain)(void *arg); /* an admin wants this machine to drain and end */
    void *arg;
};

struct questions;
struct questions *questions_create(const struct questions_options *options);
void questions_destroy(struct questions *questions); /* after its redis; NULL is fine */
void questions_tick(struct questions *questions);    /* each second */

#endif
