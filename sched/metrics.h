/*
 * What the Metrics page of Sidekiq 7 and 8 shows: runs, failures and milliseconds of each class a
 * minute, and a histogram of the successes' times, under the names that the version in use reads.
 * Sidekiq 6 has no such page: nothing is written there. Gathered in memory and flushed each beat;
 * the bucket is the minute of the flush, in UTC, as Sidekiq does it. What a flush loses is lost.
 */
#ifndef FEDPUSH_SCHED_METRICS_H
#define FEDPUSH_SCHED_METRICS_H

#include "base/clock.h"
#include "sched/incumbent.h"

/* More classes than fedpush runs; those beyond aren't counted. */
enum { METRICS_MAX_CLASSES = 8, METRICS_SLOTS = 26 };

struct metrics;
/* All borrowed. */
struct metrics *metrics_create(const struct clock *clock, struct redis *redis,
                               const struct keys *keys, const struct incumbent_version *sidekiq);
void metrics_destroy(struct metrics *metrics);
/* The end of one execution; `ms` counts for successes only. */
void metrics_count(struct metrics *metrics, struct str class_name, bool failed, uint64_t ms);
/* Sends what was counted since the last flush, and forgets it. */
void metrics_flush(struct metrics *metrics);
/* The histogram's slot: the first whose limit is above `ms`. */
unsigned metrics_slot(uint64_t ms);

#endif
