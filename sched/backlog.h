/*
 * How much waits in the queue `push`, for everybody to take: its length and how old its oldest job
 * is, asked of Redis now and then, for the history.
 */
#ifndef FEDPUSH_SCHED_BACKLOG_H
#define FEDPUSH_SCHED_BACKLOG_H

#include "base/clock.h"
#include "base/redis.h"
#include "sched/keys.h"

enum { BACKLOG_EACH_MS = 10000 };

struct backlog;
/* All borrowed. */
struct backlog *backlog_create(const struct clock *clock, struct redis *redis,
                               const struct keys *keys);
void backlog_destroy(struct backlog *backlog); /* after its redis; NULL is fine */
void backlog_tick(struct backlog *backlog);    /* each second or so */
/* As of the last look; -1: unknown, or it was too long ago. `oldest_ms`: 0 while nothing waits. */
int64_t backlog_length(const struct backlog *backlog);
int64_t backlog_oldest_ms(const struct backlog *backlog);

#endif
