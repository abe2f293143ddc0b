/*
 * Status lines, and problem details (RFC 9457).
 */
#ifndef FEDPUSH_ADMIN_WEB_STATUS_H
#define FEDPUSH_ADMIN_WEB_STATUS_H

#include "base/str.h"

const char *web_status_text(int status); /* "Not Found" */
/* Appends {"type":"about:blank","title":..,"status":..,"detail":..}. */
void web_problem_put(struct buf *out, int status, const char *detail);

#endif
