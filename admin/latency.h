/*
 * How long attempts took, as the scheduler counts them: 24 buckets by powers of two. Bucket 0 is
 * 0 ms, bucket i is from 2^(i-1) to below 2^i ms, the last one takes the rest. Percentiles anywhere
 * (page, API, commands, metrics) are this file's.
 */
#ifndef FEDPUSH_ADMIN_LATENCY_H
#define FEDPUSH_ADMIN_LATENCY_H

#include "base/str.h"

enum { LATENCY_BUCKETS = 24 };

struct latency {
    int64_t count[LATENCY_BUCKETS];
};

/* Adds a bigint[] as PostgreSQL prints it. False: it isn't 24 counts; nothing is added then. */
bool latency_add_array(struct latency *latency, struct str array) FP_MUST_CHECK;
void latency_add(struct latency *latency, const struct latency *other);
int64_t latency_total(const struct latency *latency);
/* The milliseconds that this share (0 to 1) of the attempts took at most, by interpolation within a
 * bucket; -1 when there were none. */
double latency_percentile_ms(const struct latency *latency, double share);

#endif
