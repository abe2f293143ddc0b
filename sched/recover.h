/*
 * Returns the claims of an identity that is gone to the queue they came from, oldest served first.
 * Used by the scheduler (former identities of this machine; dead owners elsewhere) and by `fedpush
 * handback`. Every step is one script that duplicates rather than loses when it dies, and can be
 * begun again by anybody.
 */
#ifndef FEDPUSH_SCHED_RECOVER_H
#define FEDPUSH_SCHED_RECOVER_H

#include "base/clock.h"
#include "base/redis.h"
#include "sched/keys.h"

enum recover_mode {
    RECOVER_IF_STALE, /* only when the owner's last beat is over 60 s old by Redis' own clock */
    RECOVER_OWN,      /* the owner is known to be gone: a former identity of this machine */
    RECOVER_AGAIN,    /* it was recovered: what its last BLMOVE, or one of a machine that slept, has
                         put into its list since */
};

struct recover_result {
    bool ok;           /* everything was returned and the identity is gone */
    bool alive;        /* refused: the owner beats */
    char message[256]; /* why not ok */
    uint64_t returned; /* jobs back in their queue */
    uint64_t poisoned; /* jobs put into `dead` as Fedpush::PoisonJob: they ran alone when their
                          owner died */
};

typedef void recover_fn(void *arg, const struct recover_result *result);
struct recovery;
/* fn is called once, from the loop. `redis`, `keys` must outlive it; `identity` is copied. */
struct recovery *recover_start(struct redis *redis, const struct keys *keys, struct str identity,
                               enum recover_mode mode, const struct clock *clock, recover_fn *fn,
                               void *arg);
void recover_cancel(struct recovery *recovery); /* before fn was called */

#endif
