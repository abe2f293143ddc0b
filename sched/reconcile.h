/*
 * Compares fedpush:claimed:ID with memory, after every (re)connection and each minute. All scripts
 * of an identity run on one connection, so when HKEYS is answered every earlier answer has been
 * read: what the hash has and we don't is a lost answer, and is adopted; what we have and the hash
 * doesn't, a fail-over lost, and is put back while we are still registered.
 */
#ifndef FEDPUSH_SCHED_RECONCILE_H
#define FEDPUSH_SCHED_RECONCILE_H

#include "sched/intake.h"

struct reconcile;
struct reconcile *reconcile_create(struct event_base *base, struct redis *redis,
                                   struct membership *membership, const struct keys *keys,
                                   struct holdings *holdings, struct intake *intake);
void reconcile_destroy(struct reconcile *reconcile);
/* Starts a comparison unless one is under way. `done` (may be NULL) is called once when it ends,
 * well or lost. */
void reconcile_run(struct reconcile *reconcile, loop_fn *done, void *arg);
/* Fenced: the comparison under way ends without `done`, and the next one is of another identity. */
void reconcile_forget(struct reconcile *reconcile);

#endif
