/*
 * What is recorded about inboxes and hosts: aggregated in memory (bounded by distinct inboxes) and
 * written in batches of `unnest … ON CONFLICT DO UPDATE` about once a second; while hundreds of new
 * ones come each second, once they no longer do, or after five. While PostgreSQL is away it
 * accumulates; no delivery ever waits for it.
 */
#ifndef FEDPUSH_SCHED_HEALTH_H
#define FEDPUSH_SCHED_HEALTH_H

#include "base/clock.h"
#include "base/loop.h"
#include "base/postgres.h"

enum { HEALTH_ERROR_BYTES = 300 };

enum health_result {
    HEALTH_DELIVERED = 0,
    HEALTH_RETRIED,   /* failed, will be tried again */
    HEALTH_REJECTED,  /* unsalvageable answer, or refused address: dropped */
    HEALTH_EXHAUSTED, /* failed for the last time */
    HEALTH_RESULTS
};

struct health_event {
    struct str host;  /* normalized authority */
    struct str inbox; /* url.text */
    enum health_result result;
    bool transport_failure; /* no HTTP answer */
    bool unresolved;        /* of these: our resolver didn't say where the host is */
    uint16_t status;        /* 0 without an answer */
    uint32_t total_ms;
    uint32_t sent_bytes;
    struct str error; /* one line, or empty */
    int64_t wall_us;
};

/* What is kept of an error: valid UTF-8 without NUL, at most HEALTH_ERROR_BYTES; free(). */
char *health_clean_error(struct str text);

struct health;
struct health *health_create(struct event_base *base, const struct clock *clock,
                             struct postgres *postgres);
/* After its PostgreSQL connection was destroyed: it holds callbacks. */
void health_destroy(struct health *health);
void health_record(struct health *health, const struct health_event *event);
/* Writes what is pending now; `done` (from the loop) when it is written, failed, or after
 * deadline_ms. At the end of a drain. */
void health_flush(struct health *health, int64_t deadline_ms, loop_fn *done, void *arg);
size_t health_pending(const struct health *health); /* distinct inboxes waiting to be written */

/* Reads domain_health at start: hosts whose last outcome was a transport failure or that never
 * succeeded are `suspect`; `success_s`: seconds since the last success, -1: none. fn for each host
 * (most recent first, at most 50,000), then done, once, also when PostgreSQL can't answer within
 * deadline_ms. */
typedef void health_host_fn(void *arg, struct str host, bool suspect, int64_t success_s);
void health_load(struct health *health, int64_t deadline_ms, health_host_fn *fn, loop_fn *done,
                 void *arg);

#endif
