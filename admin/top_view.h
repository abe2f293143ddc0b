/*
 * What `fedpush top` shows, made from the figures' objects. Pure.
 */
#ifndef FEDPUSH_ADMIN_TOP_VIEW_H
#define FEDPUSH_ADMIN_TOP_VIEW_H

#include <jansson.h>

#include "base/str.h"

/* Which hosts are shown, in which order; `s` goes from one to the next. */
enum top_order {
    TOP_BOTH = 0, /* the busiest, and below them the worst */
    TOP_DELIVERED,
    TOP_FAILED,
    TOP_SUCCESS_RATE,
    TOP_P95,
    TOP_FAILING_SINCE,
    TOP_HOST,
    TOP_ORDERS
};
/* As figures_domains knows it: the sort, and whether it ascends. TOP_BOTH: that of the busiest. */
const char *top_order_sort(enum top_order order);
const char *top_order_direction(enum top_order order);

struct top_view {
    size_t columns, rows; /* of the screen; at least 20 and 5 are assumed */
    bool colour;
    enum top_order order;
    int64_t offset;      /* hosts scrolled past; not with TOP_BOTH */
    struct str filter;   /* only hosts with this in their name */
    bool typing;         /* the filter is being typed */
    bool held;           /* `p`: nothing new is asked for */
    const char *clock;   /* the time, as it is shown */
    const char *problem; /* why there are no new figures, or NULL */
    const char *domains_problem;
};

/* How many hosts are worth asking for. */
size_t top_view_hosts(const struct top_view *view, const json_t *overview);

/*
 * Appends at most `rows` lines, each ended by "\n" and of at most `columns` columns, but for
 * colours. overview, busiest, worst: the figures, or NULL when there are none yet. `worst` with
 * TOP_BOTH only.
 */
void top_view_put(struct buf *out, const struct top_view *view, const json_t *overview,
                  const json_t *busiest, const json_t *worst);

#endif
