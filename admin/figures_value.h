/* Values of the figures' objects. */
#ifndef FEDPUSH_ADMIN_FIGURES_VALUE_H
#define FEDPUSH_ADMIN_FIGURES_VALUE_H

#include <hiredis/hiredis.h>
#include <jansson.h>
#include <libpq-fe.h>

#include "admin/latency.h"
#include "base/policy.h"
#include "base/str.h"

enum { FIGURES_TEXT_COLUMNS = 1000 };

/* Text of strangers, made harmless (base/escape.h) and cut where it is too long. */
json_t *figures_text(struct str text);
/* Null for a NULL pointer, and for a time or number that is unknown. */
json_t *figures_text_or_null(const char *text);
json_t *figures_time(double seconds);               /* 0: null */
json_t *figures_count_or_null(int64_t number);      /* negative: null */
json_t *figures_share(int64_t part, int64_t whole); /* null of nothing */
/* The domains for which it is paused. */
json_t *figures_paused_for(const struct policy *policy);
/* Sets p50_ms, p95_ms and p99_ms. */
void figures_set_percentiles(json_t *object, const struct latency *latency);

/* A member's text, "" when it is none. Borrowed from the object. */
const char *figures_text_of(const json_t *object, const char *member);
/* False: it is no number. */
bool figures_number_of(const json_t *object, const char *member, double *out) FP_MUST_CHECK;

/* A field of a result; null stays null. */
json_t *figures_pg_text(const PGresult *result, int row, int column);
json_t *figures_pg_integer(const PGresult *result, int row, int column);
json_t *figures_pg_real(const PGresult *result, int row, int column);
/* 0 for NULL. */
int64_t figures_pg_number(const PGresult *result, int row, int column);
double figures_pg_seconds(const PGresult *result, int row, int column);

/* A string or status of a reply; empty for others. Borrows. */
struct str figures_reply_text(const redisReply *reply);

#endif
