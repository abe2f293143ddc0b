/* Rows of the history and how they are written, shared by history.c and history_tables.c. Nobody
 * else includes this. */
#ifndef FEDPUSH_SCHED_HISTORY_INSIDE_H
#define FEDPUSH_SCHED_HISTORY_INSIDE_H

#include <sys/queue.h>

#include "sched/batch.h"
#include "sched/history.h"

enum history_table {
    HISTORY_OF_HOST = 0, /* domain_hourly */
    HISTORY_OF_MINUTE,   /* fleet_minutely */
    HISTORY_OF_HOUR,     /* fleet_hourly */
    HISTORY_OF_ERROR,    /* domain_error */
    HISTORY_TABLES
};

/* What was added up. */
struct history_sums {
    uint64_t results[HEALTH_RESULTS];
    uint64_t sent_bytes;
    uint64_t handed_off;
    int64_t gauges[HISTORY_GAUGES]; /* of a machine */
    uint32_t latency[COUNTS_BUCKETS];
};

/* Of one host or machine, and one hour or minute. Its key: 8 bytes of from_s, and the name. */
struct history_row {
    TAILQ_ENTRY(history_row) entry;
    struct history_sums sums;
    int64_t from_s; /* Unix: its beginning */
    size_t key_bytes;
    char key[]; /* NUL-terminated behind its bytes */
};

TAILQ_HEAD(history_rows, history_row);

struct history_error {
    TAILQ_ENTRY(history_error) entry; /* of its host's */
    char *host;
    char *error;
    uint16_t status; /* 0: no answer */
    uint64_t count;
    int64_t first_us, last_us;
};

struct history_row *history_row_create(int64_t from_s, struct str name);
struct str history_row_key(const struct history_row *row);
void history_sums_clear(struct history_sums *sums);
void history_sums_add(struct history_sums *sums, const struct history_sums *more);
void history_error_free(struct history_error *error);

extern const struct batch_table history_tables[HISTORY_TABLES];

#endif
