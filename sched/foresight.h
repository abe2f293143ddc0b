/*
 * Names that will be asked for: the hosts that were delivered to lately are told to their workers
 * little by little after a start, so that the next post to thousands of them needn't wait for as
 * many look-ups (an old address serves for a day, worker/resolve.h). A worker that is replaced is
 * told again. Losing any of it costs time only.
 */
#ifndef FEDPUSH_SCHED_FORESIGHT_H
#define FEDPUSH_SCHED_FORESIGHT_H

#include "sched/dispatch.h"
#include "sched/lane.h"

enum { FORESIGHT_MAX_HOSTS = 10000, FORESIGHT_LATELY_S = 3 * 24 * 3600 };

struct foresight;
/* Borrowed. `dns_rate`: packets a second that the machine may send, 0: no limit; a quarter of it is
 * used. */
struct foresight *foresight_create(const struct lanes *lanes, struct dispatch *dispatch,
                                   int dns_rate);
/* A normalized authority; those that come first are asked for first. Beyond the limit: ignored. */
void foresight_add(struct foresight *foresight, struct str host);
/* Each second. */
void foresight_tick(struct foresight *foresight);
/* From the beginning, for a worker that knows nothing. */
void foresight_again(struct foresight *foresight);

#endif
