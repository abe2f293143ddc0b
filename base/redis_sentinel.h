/*
 * Asks the Sentinels of an endpoint, one after the other, where the master is now: SENTINEL
 * get-master-addr-by-name, over a connection to each that lasts as long as the question. It ends
 * with the first that knows, or when none does.
 */
#ifndef FEDPUSH_BASE_REDIS_SENTINEL_H
#define FEDPUSH_BASE_REDIS_SENTINEL_H

#include "base/redis.h"

enum { REDIS_SENTINEL_LIMIT_MS = 3000 }; /* for each of them, from its name's resolution on */

struct redis_sentinel_answer {
    const char *host; /* NULL: none of them knows; a name or an address */
    uint16_t port;
    size_t sentinel;    /* which one said so: the first to ask next time */
    const char *reason; /* why none: one line, of the last one asked; "" otherwise */
};

struct redis_sentinel;
/* Called once, from the loop; the texts are borrowed for the call. After it only
 * redis_sentinel_destroy is allowed, which may be called from here. */
typedef void redis_sentinel_fn(void *arg, const struct redis_sentinel_answer *answer);

/* `endpoint`, which has Sentinels, is borrowed and must outlive it. `first` is the index of the one
 * to begin with. */
struct redis_sentinel *redis_sentinel_create(struct event_base *base, struct dns *dns,
                                             const struct redis_endpoint *endpoint, size_t first,
                                             redis_sentinel_fn *fn, void *arg);
void redis_sentinel_destroy(
    struct redis_sentinel *sentinel); /* no callback any more; NULL is fine */

#endif
