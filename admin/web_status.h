/*
 * Status lines, and problem details (RFC 9457).
 */
#ifndef FEDPUSH_ADMIN_WEB_STATUS_H
#define FEDPUSH_ADMIN_WEB_STATUS_H

#include "base/err.h"

struct json_t; /* jansson's */

const char *web_status_text(int status); /* "Not Found" */
/* A new object {"type":"about:blank","title":..,"status":..,"detail":..,"code":..,"params":..}; the
 * message of `why` is the detail: it is made harmless and may be anything. */
struct json_t *web_problem_json(int status, const struct err *why);
/* Appends its text. */
void web_problem_put(struct buf *out, int status, const struct err *why);

#endif
