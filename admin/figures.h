/*
 * All numbers that anybody sees of fedpush: page, API, `--json`, metrics and alerts are made from
 * these objects, and so they agree. Times are unix seconds of Redis' or PostgreSQL's clock,
 * durations *_s or *_ms, null is unknown; admin/page/openapi.json describes each.
 *
 * Each gives a new object, or NULL with err filled: FP_UNAVAILABLE, FP_DENIED, FP_INVALID (what
 * was asked can't be).
 */
#ifndef FEDPUSH_ADMIN_FIGURES_H
#define FEDPUSH_ADMIN_FIGURES_H

#include <jansson.h>

#include "admin/desk.h"

/* From Redis alone. */
json_t *figures_overview(struct desk *desk, struct err *err);
json_t *figures_machines(struct desk *desk, struct err *err);

/* `span`: "1h", "24h", "7d", "30d"; `host_or_empty`: of that host, else of the fleet. */
json_t *figures_series(struct desk *desk, struct str span, struct str host_or_empty,
                       struct err *err);

struct figures_filter {
    struct str search; /* a part of the host's name; empty: all */
    struct str state;  /* as in the items; empty: all */
    struct str sort;   /* host, state, delivered, failed, success_rate, p95_ms, last_success_at,
                          failing_since, followers; empty: delivered */
    struct str order;  /* "asc", "desc"; empty: as is usual for the column */
    int64_t limit;     /* 1 to FIGURES_MAX_LIMIT */
    int64_t offset;
};
enum { FIGURES_MAX_LIMIT = 1000 };
/* All hosts that were ever delivered to, and those that an order or an open circuit names. They are
 * read at most each five seconds; followers are counted once an hour. */
json_t *figures_domains(struct desk *desk, const struct figures_filter *filter, struct err *err);
/* The machines are asked what they do with it, and answer within a second or two: they are waited
 * for at most wait_ms. With 0 what they have said is all, and "asking" tells that more comes. */
json_t *figures_domain(struct desk *desk, struct str host, int64_t wait_ms, struct err *err);
/* The same, but what is in PostgreSQL is null when it can't be read: *missing says why, else its
 * code is FP_OK. */
json_t *figures_domain_known(struct desk *desk, struct str host, int64_t wait_ms,
                             struct err *missing, struct err *err);
/* Adds to its words what the machines say of another host of the domain. */
bool figures_domain_add_words(struct desk *desk, json_t *domain, struct str host,
                              struct err *err) FP_MUST_CHECK;

/* Heard between two steps of a long look through Redis: `share` from 0 to 1. NULL is fine. */
typedef void figures_progress_fn(void *arg, double share);
/* What waits for all hosts that the domain means (domain_hosts.h), as an order to drop it would: of
 * each queue and set at most WAITING_MAX jobs are looked at. "dead" are its dead jobs, which an
 * order leaves alone. */
json_t *figures_waiting(struct desk *desk, struct str host, figures_progress_fn *progress,
                        void *arg, struct err *err);
/* What waits altogether, by place, class and host. */
json_t *figures_jobs(struct desk *desk, figures_progress_fn *progress, void *arg, struct err *err);
/* The same of one host and all below it, and of one class, whole or without its modules; empty: of
 * any. Each place says how many it has ("matched"). */
struct figures_jobs_filter {
    struct str host;
    struct str class_name;
};
json_t *figures_jobs_of(struct desk *desk, const struct figures_jobs_filter *filter,
                        figures_progress_fn *progress, void *arg, struct err *err);

/* What admins did, the latest first; `before_us` 0: from now on back. */
json_t *figures_audit(struct desk *desk, int64_t limit, int64_t before_us, struct err *err);

#endif
