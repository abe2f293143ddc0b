/*
 * Where an activity is: which inboxes have it, which wait, and why.
 */
#ifndef FEDPUSH_ADMIN_FIGURES_TRACE_H
#define FEDPUSH_ADMIN_FIGURES_TRACE_H

#include <jansson.h>

#include "admin/session.h"
#include "admin/trace_log.h"

/*
 * A new object {activity, inboxes: [{inbox, host, state, status, at, due_at, why, machine}], cut};
 * null: unknown. It asks the machines, which remember their latest outcomes, and looks through the
 * queues, claims, `retry`, `schedule` and `dead`: for seconds, or minutes when there are millions.
 * With `logs` it reads these, too (it blocks), and says where each state is known from: `source` of
 * an inbox is queue, memory or log; `logs` are as admin/trace_log.h has them. NULL: no logs.
 * `activity`: see admin/trace_ids.h. progress gets 0 to 1, or is NULL. NULL with err filled:
 * FP_INVALID when it is no address or a log can't be opened, FP_UNAVAILABLE. PostgreSQL may be
 * away.
 */
json_t *figures_trace(struct session *session, struct str activity,
                      const struct trace_log_options *logs,
                      void (*progress)(void *arg, double share), void *arg, struct err *err);

#endif
