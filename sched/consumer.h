/*
 * Watches over a hand-off queue: jobs that need Ruby go there, so that a live Sidekiq process
 * must serve it. Looked at when the machine joins and each minute; a missing consumer is said, and
 * said again each ten minutes. Jobs handed off meanwhile wait safely.
 */
#ifndef FEDPUSH_SCHED_CONSUMER_H
#define FEDPUSH_SCHED_CONSUMER_H

#include "base/clock.h"
#include "base/redis.h"
#include "sched/keys.h"

struct consumer;
/* All borrowed; `queue` is the bare name, `setting` the variable that names it. */
struct consumer *consumer_create(const struct clock *clock, struct redis *redis,
                                 const struct keys *keys, const char *queue, const char *setting);
/* True when `info` (the JSON of a Sidekiq process, as it registers itself) is of a process that
 * serves this queue and isn't fedpush. */
bool consumer_serves(struct str info, struct str queue);
/* At the last look there was none. */
bool consumer_is_missing(const struct consumer *consumer);
/* Looks now, unless a look is under way. */
void consumer_look(struct consumer *consumer);

#endif
