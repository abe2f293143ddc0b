/*
 * Statements that wait for their turn on a connection: owned copies, in lists.
 */
#ifndef FEDPUSH_BASE_POSTGRES_STATEMENT_H
#define FEDPUSH_BASE_POSTGRES_STATEMENT_H

#include "base/postgres.h"

struct statement {
    struct statement *next;
    postgres_fn *fn;         /* may be NULL */
    postgres_row_fn *row_fn; /* NULL: the result is kept whole */
    void *arg;
    int64_t expires_ms; /* monotonic: ends as POSTGRES_LOST when it hasn't begun by then */
    char *sql;
    size_t param_count;
    char **params;
};

struct statement *statement_create(const char *sql, size_t param_count, const struct str *params);
void statement_destroy(struct statement *statement);

/* First in, first out. Not to be copied once it was initialized: `tail` may point into it. */
struct statements {
    struct statement *head;
    struct statement **tail;
    size_t count;
};

void statements_init(struct statements *list);
void statements_clear(struct statements *list); /* destroys its statements */
void statements_push(struct statements *list, struct statement *statement);
struct statement *statements_pop(struct statements *list); /* NULL when empty */
/* Moves what has expired at `now_ms` to `expired`; the order stays. */
void statements_take_expired(struct statements *list, int64_t now_ms, struct statements *expired);
int64_t statements_next_expiry_ms(const struct statements *list); /* INT64_MAX when empty */

#endif
