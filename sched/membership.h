/*
 * Being one of the machines that may hold claims: the identity's place in fedpush:identities, its
 * beat each 5 s, and what follows when it is lost. Redis' clock decides; ours only says how long
 * ago the last beat was acknowledged.
 *
 *   ABSENT --redis ready--> JOINING --beat acknowledged--> MEMBER --redis lost--> JOINING' (beats
 * first) ... any --FENCED--> FENCED --membership_adopt(new identity)--> JOINING MEMBER
 * --membership_leave--> LEFT
 */
#ifndef FEDPUSH_SCHED_MEMBERSHIP_H
#define FEDPUSH_SCHED_MEMBERSHIP_H

#include "base/clock.h"
#include "base/loop.h"
#include "sched/keys.h"
#include "sched/script.h"

enum membership_state {
    MEMBER_ABSENT = 0,
    MEMBER_JOINING,
    MEMBER_PRESENT,
    MEMBER_FENCED,
    MEMBER_LEFT
};

enum { MEMBER_BEAT_MS = 5000, MEMBER_FRESH_MS = 30000 };

struct membership_handlers {
    void (*joined)(void *arg); /* after each (re)connection, when its first beat is acknowledged */
    void (*fenced)(void *arg); /* the identity is gone: what it held belongs to others */
    void *arg;
};

struct membership;
/* Everything given is borrowed and must outlive it. */
struct membership *membership_create(struct event_base *base, const struct clock *clock,
                                     struct redis *redis, const struct keys *keys,
                                     const struct membership_handlers *handlers);
void membership_destroy(struct membership *membership);
/* The identity to be; joins as soon as Redis is there. Also after FENCED. */
void membership_adopt(struct membership *membership, struct str identity);
void membership_redis_ready(struct membership *membership);
void membership_redis_lost(struct membership *membership);
/* Any script of this identity answered FENCED. */
void membership_fence(struct membership *membership);
/* No more beats: the identity has left by script_leave. */
void membership_left(struct membership *membership);

enum membership_state membership_state(const struct membership *membership);
struct str membership_identity(const struct membership *membership);
/* Present, and the last acknowledged beat is at most MEMBER_FRESH_MS old: jobs may be dispatched.
 */
bool membership_is_fresh(const struct membership *membership);
int64_t membership_beat_age_ms(const struct membership *membership);
const char *membership_claimed_key(const struct membership *membership);
const char *membership_wait_key(const struct membership *membership);
const char *membership_ledger_key(const struct membership *membership);
const char *membership_held_key(const struct membership *membership);

#endif
