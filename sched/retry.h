/*
 * When a failed delivery is tried again: Mastodon's formula plus Sidekiq's own jitter. Pure.
 */
#ifndef FEDPUSH_SCHED_RETRY_H
#define FEDPUSH_SCHED_RETRY_H

#include "base/clock.h"

/* Seconds until the retry, for the new retry_count (0 after the first failure): n^4 + 15 + rand(0.5
 * n^4), truncated, plus Sidekiq's jitter: up to 7 randint[0,9] * (n+1), from 8 randint[0, 10 (n+1)
 * - 1]. */
int64_t retry_delay_s(int64_t count, int sidekiq_major, const struct rng *rng);

/* Exhausted when the new count has reached the job's limit (16 or 8 for deliveries). max_retries <
 * 0: no retry at all. */
int retry_exhausted(int64_t count, int64_t max_retries);

/* A sorted-set score with microseconds ("1795419280.392170"), as unique as Sidekiq's own. */
void retry_score(char out[32], int64_t wall_us);

#endif
