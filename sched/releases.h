/*
 * Calls back what was booked for later at hosts that could take it sooner: their circuit closed, or
 * they turned out faster than it was booked for. Each second, as much as a lane has use for; until
 * nothing of that host is booked any more. Also one job for each probe that is due and finds none
 * at hand: what is parked comes back rarely.
 */
#ifndef FEDPUSH_SCHED_RELEASES_H
#define FEDPUSH_SCHED_RELEASES_H

#include "sched/fleet.h"
#include "sched/lane.h"

struct releases;
/* All are borrowed and must outlive it. */
struct releases *releases_create(const struct clock *clock, struct lanes *lanes,
                                 struct fleet *fleet);
/* After its fleet's redis; NULL is fine. */
void releases_destroy(struct releases *releases);
/* Something of this host, which has a lane, may be booked. */
void releases_want(struct releases *releases, struct str host);
bool releases_any(const struct releases *releases); /* of some that was said */
void releases_tick(struct releases *releases);      /* each second */

#endif
