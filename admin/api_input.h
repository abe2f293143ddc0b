/*
 * What the API is asked, checked strictly: what isn't known is refused and named, so that a typing
 * error never means "all" or "now". Errors are FP_INVALID.
 */
#ifndef FEDPUSH_ADMIN_API_INPUT_H
#define FEDPUSH_ADMIN_API_INPUT_H

#include <jansson.h>

#include "base/err.h"
#include "base/str.h"

enum { API_MAX_PARAMETERS = 8, API_MAX_VALUE_BYTES = 2048 };

/* Percent-decoded values of a query, in the order of the names. */
struct api_query {
    size_t count;
    const char *const *names;
    char *values[API_MAX_PARAMETERS]; /* NULL: not given */
};
/* `count` up to API_MAX_PARAMETERS. api_query_clear in any case. */
bool api_query_parse(struct api_query *query, struct str text, const char *const *names,
                     size_t count, struct err *err) FP_MUST_CHECK;
void api_query_clear(struct api_query *query);
struct str api_query_text(const struct api_query *query, size_t index);
/* *number keeps its value when it isn't given. */
bool api_query_number(const struct api_query *query, size_t index, int64_t min, int64_t max,
                      int64_t *number, struct err *err) FP_MUST_CHECK;

/* A new object; an empty body is one without members. NULL: err says what isn't understood. */
json_t *api_body_parse(struct str text, const char *const *names, size_t count, struct err *err);
/* Each keeps what it points to when the member is absent or null. */
bool api_body_number(const json_t *body, const char *name, int64_t min, int64_t max,
                     int64_t *number, struct err *err) FP_MUST_CHECK;
bool api_body_flag(const json_t *body, const char *name, bool *flag, struct err *err) FP_MUST_CHECK;
/* Borrows the body. */
bool api_body_text(const json_t *body, const char *name, const char **text,
                   struct err *err) FP_MUST_CHECK;

#endif
