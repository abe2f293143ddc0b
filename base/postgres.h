/*
 * One asynchronous PostgreSQL connection: libpq without a blocking call (host names are resolved by
 * dns.h). One statement at a time, queued, without session state (PgBouncer in transaction mode):
 * only PQsendQueryParams, no prepared statement, no SET outside a statement's own transaction.
 * Reconnects with backoff (250 ms doubling to 10 s, jittered). A connection whose session is
 * read-only (after a fail-over) is dropped when the owner said it writes; of several hosts in the
 * conninfo, each is tried in turn until one takes writes, with or without target_session_attrs.
 */
#ifndef FEDPUSH_BASE_POSTGRES_H
#define FEDPUSH_BASE_POSTGRES_H

#include <event2/event.h>
#include <libpq-fe.h>

#include "base/dns.h"
#include "base/err.h"
#include "base/str.h"

enum postgres_status {
    POSTGRES_OK = 0, /* `result` has PGRES_TUPLES_OK or PGRES_COMMAND_OK */
    POSTGRES_ERROR,  /* the server refused the statement; `result` holds the error fields (SQLSTATE)
                      */
    POSTGRES_LOST,   /* connection lost or not there (queued longer than deadline_ms), no result
                        within 30 s, or an error that ends the session (SQLSTATE 08xxx, 25006,
                        57P01..57P03): executed or not, nobody knows */
};

/* `result` is borrowed for the call (NULL for POSTGRES_LOST). `message`: one line, no values.
 * Called from the loop only. */
typedef void postgres_fn(void *arg, enum postgres_status status, PGresult *result,
                         const char *message);
/* `row` holds one row and is borrowed for the call. */
typedef void postgres_row_fn(void *arg, const PGresult *row);

struct postgres_options {
    struct str conninfo; /* libpq keyword/value; copied; password and all */
    const char *name;    /* for the log: "mastodon", "fedpush", "keys" */
    bool writes;         /* refuse a read-only session */
    bool secret_results; /* wipe results and buffers that held them: the signer's connection.
                            Results are overwritten before PQclear, and after each statement libpq's
                            input buffer is overwritten by a statement that returns blanks of at
                            least the same length; OpenSSL cleanses its plaintext. */
};

struct postgres;
struct postgres *postgres_create(struct event_base *base, struct dns *dns,
                                 const struct postgres_options *options);
/* No callback is called any more. NULL is fine. Not from one of its own callbacks: loop_defer. */
void postgres_destroy(struct postgres *postgres);
bool postgres_is_ready(const struct postgres *postgres);
/* Why it isn't ready: one line, no secret; "" when it is. */
const char *postgres_problem(const struct postgres *postgres);
/* How often, since it last was ready, every host and address has been tried in vain. */
unsigned postgres_failed_rounds(const struct postgres *postgres);
/* The role it is connected as, for GRANTs in messages; "" when there is no connection. Borrowed
 * until the next turn of the loop. */
const char *postgres_user(const struct postgres *postgres);
/* All parameters are text (NULL ptr: SQL NULL), copied. `sql` is copied. Waits in the queue for at
 * most `deadline_ms` (bounded: 256 statements; one more ends at once, from the loop, as
 * POSTGRES_LOST). fn may be NULL. */
void postgres_query(struct postgres *postgres, postgres_fn *fn, void *arg, int64_t deadline_ms,
                    const char *sql, size_t param_count, const struct str *params);
/*
 * The same for results of any size: `row_fn` gets each row as it arrives, so that only one is in
 * memory, and a slow reader slows the server down. Then fn, once, with an empty result. Rows that
 * came before a POSTGRES_ERROR or POSTGRES_LOST are part of an unknown whole. The 30 s begin anew
 * with whatever arrives. Not for secret results: rows are not wiped.
 */
void postgres_stream(struct postgres *postgres, postgres_row_fn *row_fn, postgres_fn *fn, void *arg,
                     int64_t deadline_ms, const char *sql, size_t param_count,
                     const struct str *params);

/* Appends one element to a PostgreSQL array literal under construction: start with an empty buf,
 * end with postgres_array_end. Elements are quoted and escaped; NUL bytes and invalid UTF-8 are
 * replaced. */
void postgres_array_add(struct buf *array, struct str element);
void postgres_array_end(struct buf *array); /* "{}" when nothing was added */

#endif
