/*
 * Mastodon's DeliveryFailureTracker: whether a host is marked unavailable, and what an attempt's
 * outcome does to `exhausted_deliveries:HOST` (base Redis), `unavailable_domains` (PostgreSQL) and
 * the Rails cache key `cache:unavailable_domains` (cache Redis). Hosts are url_tracker_host()'s.
 */
#ifndef FEDPUSH_SCHED_AVAILABILITY_H
#define FEDPUSH_SCHED_AVAILABILITY_H

#include "base/clock.h"
#include "base/config.h"
#include "base/loop.h"
#include "base/postgres.h"
#include "base/redis.h"

enum { AVAILABILITY_FRESH_MS = 5000, TRACKER_DAYS = 7, TRACKER_WAIT_MS = 1000 };

/* What an attempt means to the tracker. */
enum track { TRACK_NOTHING = 0, TRACK_SUCCESS, TRACK_FAILURE };

struct availability_options {
    struct event_base *base;
    const struct clock *clock;
    struct postgres *postgres; /* Mastodon's database */
    struct redis *redis_base;
    struct redis *redis_cache;
    struct str redis_namespace; /* "" or the namespace: keys "NS:exhausted_deliveries:…",
                                   "NS_cache:unavailable_domains" */
    const struct mastodon_version *mastodon; /* followed; from 4.6 on UNLINK, before it DEL */
    void (*answered)(void *arg); /* from the loop: look-ups that were not fresh are fresh now (or
                                    PostgreSQL is away) */
    void *arg;
};

struct availability;
struct availability *availability_create(const struct availability_options *options);
/* After its Redis and PostgreSQL connections were destroyed: they hold its callbacks. */
void availability_destroy(struct availability *availability);

/*
 * True: *unavailable is at most AVAILABILITY_FRESH_MS old (or, while PostgreSQL can't answer, the
 * last known; available if never known). False: not known freshly: the host is in the next batch
 * (one statement at a time, up to 1,000 hosts), and `answered` will be called. Memory: hosts not
 * asked for in 10 minutes are forgotten.
 */
bool availability_lookup(struct availability *availability, struct str host,
                         bool *unavailable) FP_MUST_CHECK;

struct tracker_event {
    struct str host; /* borrowed for the call */
    bool success;    /* track_success, else track_failure */
};
/*
 * Writes the effects of a batch of attempts: failure: SADD exhausted_deliveries:HOST YYYYMMDD
 * (UTC), SCARD, at >= 7 INSERT … ON CONFLICT DO NOTHING and, if a row was made, the cache key.
 * Success: DEL exhausted_deliveries:HOST; DELETE the row (one statement for all hosts of the batch
 * when one is known or not known not to exist; otherwise in the background once a second), and, if
 * one was, the cache key. `done` is called once from the loop: when all is acknowledged, or after
 * TRACKER_WAIT_MS: effects are best effort and never hold a job longer.
 */
void availability_track(struct availability *availability, const struct tracker_event *events,
                        size_t count, loop_fn *done, void *arg);

#endif
