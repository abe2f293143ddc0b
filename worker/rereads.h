/*
 * Accounts whose latest signature was answered by 401: maybe their key was replaced, so the signer
 * reads it again before it signs for them the next time. Bounded: the oldest are forgotten, and
 * followed by the signer's own refresh.
 */
#ifndef FEDPUSH_WORKER_REREADS_H
#define FEDPUSH_WORKER_REREADS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { REREADS_MAX = 64 };

struct rereads {
    size_t count;
    int64_t accounts[REREADS_MAX]; /* oldest first */
};

void rereads_note(struct rereads *rereads, int64_t account);
/* True, once, when it was noted. */
bool rereads_take(struct rereads *rereads, int64_t account);

#endif
