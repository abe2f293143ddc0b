/*
 * How attempts ended: since the start, in the last minute, and how long they took. Pure.
 */
#ifndef FEDPUSH_SCHED_COUNTS_H
#define FEDPUSH_SCHED_COUNTS_H

#include "sched/health.h"

enum { COUNTS_BUCKETS = 24, COUNTS_RECENT_S = 60 };

struct counts_second {
    int64_t second; /* monotonic */
    uint32_t results[HEALTH_RESULTS];
};

/* Zero: nothing has happened. */
struct counts {
    uint64_t results[HEALTH_RESULTS]; /* by enum health_result */
    uint64_t sent_bytes;
    uint64_t unresolved; /* of the attempts: our resolver didn't say where */
    uint64_t latency[COUNTS_BUCKETS];
    struct counts_second recent[COUNTS_RECENT_S];
};

/* Bucket 0: 0 ms; i: from 2^(i-1) to below 2^i ms; the last takes the rest. */
unsigned counts_bucket(uint32_t total_ms);
void counts_add(struct counts *counts, const struct health_event *event, int64_t now_ms);
/* What ended in the 60 seconds up to now. */
void counts_recent(const struct counts *counts, int64_t now_ms, uint64_t results[HEALTH_RESULTS]);

#endif
