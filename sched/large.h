/*
 * Large jobs: a few would fill the look-ahead, and while their hosts are slow nobody else's job
 * could be claimed. They get half of it; what comes beyond that is booked, at a pace that bounds
 * how much of it travels to and from Redis meanwhile. Pure.
 */
#ifndef FEDPUSH_SCHED_LARGE_H
#define FEDPUSH_SCHED_LARGE_H

#include "sched/claim.h"

enum { LARGE_BYTES = 64 * 1024 /* of payload */, LARGE_BYTES_PER_MS = 4096 };

bool claim_is_large(const struct claim *claim);
/* The look-ahead's half for large jobs is too little for this one, too. `placed_bytes`: what those
 * count that have a place (holdings_place). Alone it always has room. */
bool large_crowds(const struct claim *claim, size_t placed_bytes, size_t lookahead_bytes);
/* In how many milliseconds it comes again; takes that place on the clock *reserved_ms (monotonic),
 * within an hour. */
int64_t large_book_ms(const struct claim *claim, int64_t *reserved_ms, int64_t now_ms);

#endif
