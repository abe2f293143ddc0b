/*
 * The scheduler's copy of what admins have ordered (base/policy.h): one script a second asks Redis
 * whether anything is new, and reads all of it only then. Ends by themselves follow Redis' clock.
 * What Redis has lost comes back from this copy, or from PostgreSQL (policy_sync.h).
 */
#ifndef FEDPUSH_SCHED_POLICIES_H
#define FEDPUSH_SCHED_POLICIES_H

#include "base/clock.h"
#include "base/loop.h"
#include "base/policy.h"
#include "base/postgres.h"
#include "sched/keys.h"
#include "sched/script.h"

struct policies_options {
    const struct clock *clock;
    struct redis *redis; /* where this machine claims: a reading is answered before later claims */
    const struct keys *keys;
    struct postgres *postgres; /* of the schema fedpush */
    struct str proxy_names;    /* config.proxy_names */
    loop_fn *changed;          /* something else is in force now; from the loop */
    void *arg;
};

struct policies;
/* Everything is borrowed and must outlive it. */
struct policies *policies_create(const struct policies_options *options);
/* After its Redis and PostgreSQL connections were destroyed. NULL is fine. */
void policies_destroy(struct policies *policies);
/* Each time a connection stands and its scripts are loaded. */
void policies_redis_ready(struct policies *policies);
void policies_tick(struct policies *policies); /* each second */

/* They have been read once: before that nothing may be dispatched. */
bool policies_are_known(const struct policies *policies);
bool policies_pause_fleet(const struct policies *policies);
/* Whether the fleet, or the machine with this identity, is paused. */
bool policies_pause_machine(const struct policies *policies, struct str identity);
/* False, at no cost, where nobody has ordered anything. Else what decides about url.host; one that
 * names a proxy that isn't in FEDPUSH_PROXIES here is paused: nothing may go there by another way.
 */
bool policies_look(const struct policies *policies, struct str host, struct policy *policy);
/* The same, but that it is paused only where that was ordered; *lacks: its proxy isn't there. */
bool policies_look_at(const struct policies *policies, struct str host, struct policy *policy,
                      bool *lacks);
/* Whether a job for url.host that was made then (Unix seconds) is to be dropped; *now: at once,
 * though it be in flight. */
bool policies_drop(const struct policies *policies, struct str host, double made_s, bool *now);
/* Place of this name in FEDPUSH_PROXIES, from 1; 0: it isn't there. */
unsigned policies_proxy(const struct policies *policies, struct str name);
int64_t policies_now_s(const struct policies *policies);     /* Redis' time */
unsigned policies_machines(const struct policies *policies); /* that are alive; at least 1 */

#endif
