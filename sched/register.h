/*
 * Being a Sidekiq process in the eyes of everybody who looks: registration in `processes`,
 * heartbeat, jobs at work, statistics, and the orders that Sidekiq's Web UI leaves in
 * <identity>-signals. Everything here may be lost without losing a job. No MULTI: at maxmemory it
 * is refused whole.
 */
#ifndef FEDPUSH_SCHED_REGISTER_H
#define FEDPUSH_SCHED_REGISTER_H

#include "base/loop.h"
#include "sched/claim.h"
#include "sched/membership.h"

struct register_options {
    const struct clock *clock;
    struct redis *redis;
    const struct keys *keys;
    struct membership *membership;
    int concurrency;           /* advertised */
    const char *const *queues; /* bare names of what is consumed; NULL ends them */
    const char *sidekiq_version;
    int64_t started_us;
    void (*quiet)(void *arg); /* TSTP: stop taking jobs */
    void (*stop)(void *arg);  /* TERM: drain and end */
    void *arg;
};

struct registration;
struct registration *register_create(const struct register_options *options);
void register_destroy(struct registration *registration);

/* Counts an execution's end: processed, and failed in addition. */
void register_count(struct registration *registration, bool failed);
/* One line of <identity>:work; at most 200 of a beat are published. */
struct work {
    const struct claim *claim;
    struct str queue;
};
/* Each 10 s, and at once when the identity is new. `busy`: jobs in flight; `work` the oldest of
 * them. */
void register_beat(struct registration *registration, unsigned busy, const struct work *work,
                   size_t work_count);
/* Flushes the statistics and leaves `processes`. */
void register_leave(struct registration *registration);
void register_set_quiet(struct registration *registration);
unsigned register_processes(
    const struct registration *registration); /* SCARD processes, as of the last beat */

#endif
