/*
 * How FEDPUSH_MAX_RATE is shared by the machines of a fleet: by what each of them wants. Pure.
 *
 * Each machine asks in its pulse for what share_of says, and is given at most what the others don't
 * hold (fleet.lua): all of them together never hold more than the rate, whatever they believe.
 */
#ifndef FEDPUSH_SCHED_SHARE_H
#define FEDPUSH_SCHED_SHARE_H

#include <stddef.h>

enum {
    SHARE_LEASE_MS = 3000, /* what was given stands so long; then at most an even share of it */
    SHARE_LEAST = 16,      /* who wants nothing holds this part of an even share, to begin with */
    SHARE_MACHINES = 64,   /* more share evenly */
};

/* Who can't tell, or wants all it can get. */
extern const double share_all;

/*
 * This machine's share: it wants `mine`, the others `others` (deliveries a second). Who wants less
 * than the others gets what it wants, and they get the rest; what nobody wants is shared evenly.
 */
double share_of(double rate, double mine, const double *others, size_t count);

#endif
