/*
 * /metrics. Two parts, each asked of its clerk and kept for some seconds, so that several
 * Prometheus ask no more than one: the fleet, from Redis, which every answer waits for; and
 * domains, from PostgreSQL, which are left out when they don't come in time.
 */
#ifndef FEDPUSH_ADMIN_METRICS_PAGE_H
#define FEDPUSH_ADMIN_METRICS_PAGE_H

#include "admin/clerk.h"
#include "admin/web.h"

struct metrics_page;
/* `supervisor_pid`: whose machine it is. Never NULL. It lives as long as the process. */
struct metrics_page *metrics_page_create(struct event_base *base, struct clerk *state,
                                         struct clerk *records, int supervisor_pid);
/* Answers it, at once or within seconds. False: too many wait. */
bool metrics_page_add(struct metrics_page *page, struct web_exchange *exchange) FP_MUST_CHECK;

#endif
