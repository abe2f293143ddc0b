/*
 * Whether this machine's fedpush is at work, for load balancers and monitors.
 */
#ifndef FEDPUSH_ADMIN_HEALTH_H
#define FEDPUSH_ADMIN_HEALTH_H

#include "admin/desk.h"

enum { HEALTH_BEAT_S = 30 };

/* Redis answers and has a beat of this machine's scheduler (`supervisor_pid`'s) that is not older
 * than HEALTH_BEAT_S. NULL, or what is wrong in some words. */
const char *health_problem(struct desk *desk, int supervisor_pid);

/* What this machine's identities begin with: "HOST:PID:". Appends. */
void health_put_prefix(struct buf *out, int supervisor_pid);

#endif
