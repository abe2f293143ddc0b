/*
 * Rows of statistics on their way into a table of PostgreSQL: one statement, whose parameters are
 * an array for each column, in key order, so that two machines never wait for each other in a
 * circle. When the server refuses the data, the batch is halved until the bad row is alone; that is
 * dropped with a log line. What can't be written for another reason is the owner's again.
 */
#ifndef FEDPUSH_SCHED_BATCH_H
#define FEDPUSH_SCHED_BATCH_H

#include "base/clock.h"
#include "base/postgres.h"

enum { BATCH_MAX_ROWS = 2000, BATCH_MAX_COLUMNS = 16 };

/* What all batches of a table have in common; outlives them. */
struct batch_table {
    const char *name; /* for the log */
    const char *sql;  /* $1 … $columns: text forms of arrays, one element a row */
    size_t columns;
    int (*compare)(const void *a, const void *b); /* for qsort: pointers to rows */
    /* One element for each column: postgres_array_add or batch_put_…. */
    void (*put)(struct buf *arrays, const void *row);
    const char *(*key)(const void *row); /* of a dropped row, for the log */
    void (*free)(void *row);
};

/* All rows are written or dropped (POSTGRES_OK), or those that batch_next gives are not. `result`
 * and `message` as for postgres_fn. From the loop; the batch is the callee's to destroy. */
struct batch;
typedef void batch_fn(void *arg, struct batch *batch, enum postgres_status status, PGresult *result,
                      const char *message);

struct batch *batch_create(struct postgres *postgres, const struct batch_table *table);
void batch_add(struct batch *batch, void *row); /* takes it over; at most BATCH_MAX_ROWS */
size_t batch_count(const struct batch *batch);
/* Begins; fn once. */
void batch_write(struct batch *batch, batch_fn *fn, void *arg);
/* Gives back one of the rows that aren't written; NULL: that was all. */
void *batch_next(struct batch *batch);
/* Frees what is left in it. While it is being written only after its postgres. NULL is fine. */
void batch_destroy(struct batch *batch);

/* What batch_table.put may append beside texts. */
void batch_put_number(struct buf *array, uint64_t number);
void batch_put_plain(struct buf *array, const char *text); /* as it is: NULL, t, f, a number */
void batch_put_time(struct buf *array, int64_t wall_us);   /* Unix seconds; NULL for 0 */

/* Says, once a minute, why they can't be written and what helps. *complained_ms: 0 at first. */
void batch_complain(int64_t *complained_ms, const struct clock *clock, struct postgres *postgres,
                    const char *name, enum postgres_status status, const PGresult *result,
                    const char *message);

#endif
