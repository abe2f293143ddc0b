/*
 * When what waits for a domain is tried next. The time at which a job stands in `retry` or
 * `schedule` is that only while nothing else holds its host back: while a circuit is open the next
 * try is its probe, and what is paused is not tried before the pause ends.
 */
#ifndef FEDPUSH_ADMIN_NEXT_DUE_H
#define FEDPUSH_ADMIN_NEXT_DUE_H

#include "admin/orders.h"
#include "admin/waiting.h"

struct next_due {
    double at_s;       /* Unix, Redis' clock; past: now. 0: nothing waits for its time, or `why` */
    enum phrase why;   /* PHRASE_NONE: it is the job's own time */
    const char *error; /* how that job failed the last time, borrowed of `waiting`; or NULL */
};

/* Of all that `waiting` has found, with the orders that were read. False with err filled. */
bool next_due_find(struct next_due *next, const struct waiting *waiting,
                   const struct orders *orders, struct err *err) FP_MUST_CHECK;

#endif
