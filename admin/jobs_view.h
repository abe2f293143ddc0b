/*
 * `fedpush jobs` for people, made from the figures' object. Pure.
 */
#ifndef FEDPUSH_ADMIN_JOBS_VIEW_H
#define FEDPUSH_ADMIN_JOBS_VIEW_H

#include <jansson.h>

#include "base/str.h"

/* Appends two tables, by class and by host (at most `hosts` lines), ends of line included. */
void jobs_view_put(struct buf *out, const json_t *figures, size_t hosts);

#endif
