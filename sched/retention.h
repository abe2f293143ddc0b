/*
 * Keeps the history small: minutes for two days, hours of hosts for eight days and then one row a
 * day, hours of machines and days of hosts for FEDPUSH_HISTORY_DAYS, errors for 30 days after they
 * were last seen; and of the audit two years, at most the latest 100,000 rows. About once an hour,
 * by one machine at a time, in short statements that wait for nobody; what another machine has done
 * already, or does just now, is left to it.
 */
#ifndef FEDPUSH_SCHED_RETENTION_H
#define FEDPUSH_SCHED_RETENTION_H

#include "base/clock.h"
#include "base/loop.h"
#include "base/postgres.h"

enum { RETENTION_ROWS = 2000 /* of one statement */, RETENTION_AUDIT_ROWS = 100000 };

struct retention;
struct retention *retention_create(struct event_base *base, const struct clock *clock,
                                   const struct rng *rng, struct postgres *postgres, int days);
void retention_destroy(struct retention *retention); /* after its postgres; NULL is fine */
/* Each few seconds: begins when it is time, for the first time within the first minutes. */
void retention_tick(struct retention *retention);
/* Begins at once; `done` from the loop, also when it fails. Not while it runs. */
void retention_run(struct retention *retention, loop_fn *done, void *arg);

#endif
