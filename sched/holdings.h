/*
 * All claims of this machine's present identity, by seq, and the account of what became of them.
 */
#ifndef FEDPUSH_SCHED_HOLDINGS_H
#define FEDPUSH_SCHED_HOLDINGS_H

#include "base/table.h"
#include "sched/claim.h"

struct holdings {
    struct table *by_seq;
    size_t bytes;
    size_t pull_bytes;  /* of them, of claims from queue:pull */
    size_t large_bytes; /* of them, of large ones (sched/large.h) */
    size_t large_count;
    size_t placed_bytes; /* of these, of those that have a place */
    uint64_t displaced;  /* had one, since start */
    uint64_t claimed;    /* since start */
    uint64_t settled;
    uint64_t handed_off; /* of these, to another queue */
    uint64_t fenced;     /* settled by us, but no longer ours */
    struct table *hands; /* by claim->hold: what is in our hands of each pair */
};

void holdings_init(struct holdings *holdings);
void holdings_clear(struct holdings *holdings); /* destroys what is left */
/* NULL when that seq is held already (the caller destroys its claim). */
struct claim *holdings_add(struct holdings *holdings, struct claim *claim);
struct claim *holdings_find(const struct holdings *holdings, uint64_t seq);
/* A large one takes its place in the look-ahead, until it is let go. */
void holdings_place(struct holdings *holdings, struct claim *claim);
/* The script that ends it is being sent: it counts no more for its pair. Sets claim->let_go when no
 * other of that pair is in our hands. Does nothing the second time. */
void holdings_let_go(struct holdings *holdings, struct claim *claim);
/* Out of the table; the claim is the caller's. */
void holdings_remove(struct holdings *holdings, struct claim *claim);

#endif
