/* The audit trail's items, for the whole and for one domain. */
#ifndef FEDPUSH_ADMIN_FIGURES_AUDIT_H
#define FEDPUSH_ADMIN_FIGURES_AUDIT_H

#include <jansson.h>

#include "admin/desk.h"

/* A new array, the latest first; `domain`: of this one and what is below it; empty: all. While
 * PostgreSQL doesn't answer it holds what waits in Redis; NULL when nothing does: err says why. */
json_t *figures_audit_items(struct desk *desk, struct str domain, int64_t limit, int64_t before_us,
                            struct err *err);

#endif
