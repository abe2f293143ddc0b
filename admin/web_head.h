/*
 * The head of an HTTP/1.1 request, read strictly: what two parsers could understand differently is
 * refused, so that no proxy in front is misled. Pure; everything is borrowed from the bytes given.
 */
#ifndef FEDPUSH_ADMIN_WEB_HEAD_H
#define FEDPUSH_ADMIN_WEB_HEAD_H

#include "base/str.h"

enum {
    WEB_HEAD_MAX_BYTES = 16 * 1024,
    WEB_BODY_MAX_BYTES = 64 * 1024,
    WEB_MAX_FIELDS = 100,
};

struct web_field {
    struct str name, value; /* the value without blanks around it */
};

struct web_head {
    struct str method; /* "GET" */
    struct str target; /* as it came, "/path?query" */
    bool keep_alive;
    bool old;          /* HTTP/1.0: no browser speaks it, proxies do */
    size_t body_bytes; /* Content-Length */
    size_t field_count;
    struct web_field fields[WEB_MAX_FIELDS];
};

/* The bytes of the head with its empty line; 0: it isn't complete. */
size_t web_head_find_end(struct str bytes);
/* `bytes` end with the empty line. 0, or the status to refuse it with: 400, 413, 431, 501, 505. */
int web_head_parse(struct web_head *head, struct str bytes) FP_MUST_CHECK;
/* The value of the first field of that name, case ignored; .ptr is NULL when there is none. */
struct str web_head_field(const struct web_head *head, struct str name);
size_t web_head_count(const struct web_head *head, struct str name);

/* Divides a target into its path, decoded once, and its query, as it came. False: not an absolute
 * path, a wrong escape, a control character, a backslash, NUL, or a segment "." or "..". `path`
 * is appended to. */
bool web_target_parse(struct str target, struct buf *path, struct str *query) FP_MUST_CHECK;
/* Takes `prefix` ("" or "/fedpush") off a decoded path: a proxy may have left it. */
struct str web_path_without(struct str path, struct str prefix);

/* The value of `name` in a query or form, decoded once ('+' is a blank), appended to out. False:
 * it isn't there, or its escapes are wrong. */
bool web_query_value(struct str query, struct str name, struct buf *out) FP_MUST_CHECK;
/* The value of a cookie in the value of a Cookie field; .ptr is NULL when there is none. */
struct str web_cookie(struct str cookies, struct str name);

#endif
