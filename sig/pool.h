/*
 * The threads that sign: a bounded queue under a mutex, and an eventfd back to the loop, which owns
 * everything else. Order is not kept. What is low waits while there is anything else, but for each
 * sixteenth turn: a backlog of it (hundreds in flight at once, a millisecond each) delays no post.
 */
#ifndef FEDPUSH_SIG_POOL_H
#define FEDPUSH_SIG_POOL_H

#include <event2/event.h>
#include <sys/queue.h>

#include "sig/key.h"

/* Lives in the caller's memory, unmoved, from pool_submit until it is done. */
struct pool_job {
    struct key *key;
    unsigned char sha256[DIGEST_SHA256_BYTES];
    bool low;
    /* Results. */
    bool good;
    size_t signature_len;
    unsigned char signature[KEY_MAX_SIGNATURE_BYTES];
    STAILQ_ENTRY(pool_job) link; /* the pool's */
};

/* From the loop. The job is the caller's again. */
typedef void pool_done_fn(void *arg, struct pool_job *job);

struct pool;
/* `threads` > 0; each uses the copy of a key with its own number. NULL when a thread can't be
 * started. */
struct pool *pool_create(struct event_base *base, unsigned threads, size_t max_queued,
                         pool_done_fn *done, void *arg);
/* Waits for the signatures being made; of the jobs left no one is told. NULL is fine. */
void pool_destroy(struct pool *pool);
/* False: max_queued wait already. */
bool pool_submit(struct pool *pool, struct pool_job *job) FP_MUST_CHECK;

#endif
