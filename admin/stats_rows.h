/*
 * The rows of `fedpush stats`, their order, and what is shown of them. Pure.
 */
#ifndef FEDPUSH_ADMIN_STATS_ROWS_H
#define FEDPUSH_ADMIN_STATS_ROWS_H

#include <jansson.h>

#include "admin/latency.h"

enum { STATS_MAX_ROWS = 100000 };

/* Numbers are -1 where they aren't known. */
struct stats_row {
    char *name; /* a host or an inbox */
    int64_t delivered, retried, rejected, exhausted;
    int64_t consecutive_failures;
    int64_t mean_ms;               /* of all attempts since setup */
    double p50_ms, p95_ms, p99_ms; /* of a span */
    int64_t sent_bytes;            /* of a span */
    int64_t last_status;
    char *last_error; /* or NULL */
    int64_t success_age_s, failing_for_s;
};

struct stats_rows {
    bool inboxes; /* else hosts */
    bool spans;   /* of the last hours or days, else since setup */
    size_t count, capacity;
    struct stats_row *list;
};

enum stats_sort {
    STATS_ATTEMPTS = 0, /* the busiest first */
    STATS_HOST,
    STATS_DELIVERED,
    STATS_FAILED,
    STATS_SUCCESS, /* the worst first */
    STATS_TIME,    /* the slowest first */
    STATS_FAILING, /* for longest first */
    STATS_SORTS
};
/* "attempts", "host", "delivered", "failed", "success", "time", "failing" */
bool stats_sort_parse(struct str name, enum stats_sort *sort) FP_MUST_CHECK;

void stats_rows_clear(struct stats_rows *rows);
/* An empty row; NULL when there are too many. The caller fills it, its texts by str_dup. */
struct stats_row *stats_rows_add(struct stats_rows *rows);
void stats_rows_sort(struct stats_rows *rows, enum stats_sort sort);

/* The first `most` rows: for people, for a spreadsheet (RFC 4180), for programs. */
void stats_rows_put_table(struct buf *out, const struct stats_rows *rows, size_t most);
void stats_rows_put_csv(struct buf *out, const struct stats_rows *rows, size_t most);
json_t *stats_rows_json(const struct stats_rows *rows, size_t most); /* a new array */

#endif
