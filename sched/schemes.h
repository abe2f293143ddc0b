/*
 * Which signature scheme an origin accepts, as second knocks have shown (worker/knock.h): a bounded
 * table in memory, shared with the other machines through one sorted set in Redis, which is read
 * when a connection stands and each 5 s from where the last reading ended. Losing any of it costs
 * one request more for a delivery, so nothing waits for it and nothing is kept for good:
 *
 *   unknown                draft-cavage first, as all Mastodons do; RFC 9421 after a 400 or 401
 *   RFC 9421, for 7 days   that first, so that a server that knows nothing else costs one request
 *   neither, for 10 min    no second knock: most often the key couldn't be fetched, or we're
 * blocked
 *
 * What is expired is found out again, so that a server's upgrade is noticed.
 */
#ifndef FEDPUSH_SCHED_SCHEMES_H
#define FEDPUSH_SCHED_SCHEMES_H

#include "base/clock.h"
#include "base/message.h"
#include "sched/keys.h"
#include "sched/script.h"

enum {
    SCHEMES_MAX = 32768, /* origins */
    SCHEMES_ACCEPTED_S = 7 * 24 * 3600,
    SCHEMES_VAIN_S = 600,
    SCHEMES_READ_MS = 5000,
};

struct schemes;
/* Everything is borrowed and must outlive it. */
struct schemes *schemes_create(const struct clock *clock, struct redis *redis,
                               const struct keys *keys);
void schemes_destroy(struct schemes *schemes); /* NULL is fine */
/* Each time a connection stands and its scripts are loaded: reads all again. */
void schemes_redis_ready(struct schemes *schemes);
/* Each second: writes what was learnt, and reads what others have learnt. */
void schemes_tick(struct schemes *schemes);

/* How a job for this origin (url.origin) is to be knocked with. */
enum knock schemes_knock(const struct schemes *schemes, struct str origin);
/* What an attempt has shown. */
void schemes_learn(struct schemes *schemes, struct str origin, enum learnt learnt);
size_t schemes_count(const struct schemes *schemes); /* origins remembered */

#endif
