/*
 * Where a PostgreSQL database is, as libpq's keywords and values.
 */
#ifndef FEDPUSH_BASE_CONNINFO_H
#define FEDPUSH_BASE_CONNINFO_H

#include <libpq-fe.h>

#include "base/dotenv.h"

#define CONNINFO_CONNECT_TIMEOUT_S "15" /* Mastodon's */

struct conninfo {
    PQconninfoOption *options; /* every keyword that libpq knows; the values are secrets */
};

void conninfo_init(struct conninfo *conninfo);
void conninfo_clear(struct conninfo *conninfo); /* wipes */
/* Copied; NULL: not set. The keyword must be libpq's. */
void conninfo_set(struct conninfo *conninfo, const char *keyword, const char *value);

enum conninfo_rules {
    CONNINFO_OF_RAILS = 0, /* what libpq doesn't know (pool, prepared_statements, …) is left out */
    CONNINFO_OF_LIBPQ,     /* … is refused */
};
/* What the URL says replaces what is set. Errors name `variable`, never its value. */
enum fp_err conninfo_merge_url(struct conninfo *conninfo, const char *variable, const char *url,
                               enum conninfo_rules rules, struct err *err) FP_MUST_CHECK;
/* libpq's own variables (PGSSLROOTCERT, …) for what is not set, and the time to connect: the
 * processes that connect get no environment. */
void conninfo_add_environment(struct conninfo *conninfo, const struct dotenv *dotenv);
/* "host='…' port='…'", quoted. A new string: secret_free. */
char *conninfo_text(const struct conninfo *conninfo);

#endif
