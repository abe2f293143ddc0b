/*
 * Being a Sidekiq process in the eyes of everybody who looks: registration in `processes`,
 * heartbeat, jobs at work, statistics, and the orders that Sidekiq's Web UI leaves in
 * <identity>-signals. Everything here may be lost without losing a job. No MULTI: at maxmemory it
 * is refused whole.
 *
 * Each registered process makes every poller slower, so that REGISTER_MAX_MACHINES of a fleet
 * register at most; another one counts its work all the same, and takes the place of one that ends.
 */
#ifndef FEDPUSH_SCHED_REGISTER_H
#define FEDPUSH_SCHED_REGISTER_H

#include "base/loop.h"
#include "sched/claim.h"
#include "sched/incumbent.h"
#include "sched/membership.h"

enum { REGISTER_MAX_MACHINES = 4, REGISTER_MAX_WORK = 200, REGISTER_MAX_WORK_BYTES = 1024 * 1024 };

struct register_options {
    const struct clock *clock;
    struct redis *redis;
    const struct keys *keys;
    struct membership *membership;
    const struct incumbent_version *sidekiq; /* the one in use, whose version we show as ours */
    const char *const *queues;               /* bare names of what is consumed; NULL ends them */
    int concurrency; /* shown; Mastodon deletes 5 times as many old posts a run, at most 300 */
    int64_t started_us;
    void (*quiet)(void *arg); /* TSTP: stop taking jobs */
    void (*stop)(void *arg);  /* TERM: drain and end */
    void *arg;
};

struct registration;
struct registration *register_create(const struct register_options *options);
void register_destroy(struct registration *registration);

/* Counts an execution's end: processed, and failed in addition; and for the Metrics page. */
void register_count(struct registration *registration, struct str class_name, bool failed,
                    uint64_t ms);
/* One line of <identity>:work. Jobs without jid or created_at are left out: the Web UI and the
 * reaper of sidekiq-unique-jobs stumble over them. */
struct work {
    const struct claim *claim;
    struct str queue;
};
/* At once when the identity is new, then each register_beat_s. `busy`: jobs in flight; `work`: of
 * them, the oldest first; those with a lock and as many others are published as the limits above
 * allow. Takes one order from the Web UI. */
void register_beat(struct registration *registration, unsigned busy, const struct work *work,
                   size_t work_count);
/* Seconds between beats: 5 for Sidekiq 6, 10 later. */
unsigned register_beat_s(const struct registration *registration);
/* The identity is lost: what is shown of it goes; the next beat is another one's. */
void register_fenced(struct registration *registration);
/* Flushes the statistics and leaves `processes`. */
void register_leave(struct registration *registration);
void register_set_quiet(struct registration *registration);
/* SCARD processes, as of the last beat. */
unsigned register_processes(const struct registration *registration);

#endif
