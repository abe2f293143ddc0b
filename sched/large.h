/*
 * Large jobs: a few would fill the look-ahead, and while their hosts are slow nobody else's job
 * could be claimed. They get half of it; what comes beyond that is booked, at a pace that bounds
 * how much of it travels to and from Redis meanwhile: slower and slower while none of those that
 * have a place goes. Pure.
 */
#ifndef FEDPUSH_SCHED_LARGE_H
#define FEDPUSH_SCHED_LARGE_H

#include "sched/claim.h"

enum {
    LARGE_BYTES = 64 * 1024, /* of payload */
    LARGE_BYTES_PER_MS = 32 * 1024,
    LARGE_SLOWEST = 64, /* times slower than that */
};

/* Monotonic times; zeroed at first. */
struct large_clock {
    int64_t reserved_ms;
    int64_t changed_ms;
    uint64_t gone; /* as it was told last */
    unsigned slowness;
};

bool claim_is_large(const struct claim *claim);
/* The look-ahead's half for large jobs is full. `placed_bytes`: what those count that have a place
 * (holdings_place). The last one may reach beyond, so that the largest aren't passed for ever. */
bool large_crowds(const struct claim *claim, size_t placed_bytes, size_t lookahead_bytes);
/* In how many milliseconds it comes again; takes that place on the clock, within an hour. `gone`:
 * how many have left their places (holdings.displaced). */
int64_t large_book_ms(struct large_clock *clock, const struct claim *claim, uint64_t gone,
                      int64_t now_ms);

#endif
