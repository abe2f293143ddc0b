/*
 * What became of attempts over time: by host and hour, by machine and minute and hour, and which
 * errors hosts answered with lately. Each attempt that health records counts here once, in the same
 * way. Added up in memory and written each five seconds, at most one statement a second, in batches
 * (batch.h); a scheduler that is killed takes what it has not written with it, which the ledger
 * alone still counts. While PostgreSQL is away it accumulates; past the bounds below the oldest
 * goes, of errors the newest, with a line in the log. A connection lost during COMMIT may count a
 * batch twice, as in health: nothing but statistics depends on it.
 *
 * Times are UTC. An error is what an answer's status makes of it ("returned code 503"), or the
 * text of a failure without an answer. Of a host the HISTORY_ERRORS latest distinct ones are kept.
 */
#ifndef FEDPUSH_SCHED_HISTORY_H
#define FEDPUSH_SCHED_HISTORY_H

#include "sched/counts.h"

enum {
    HISTORY_EACH_MS = 5000,
    HISTORY_MAX_HOSTS = 50000, /* rows of one host and hour that wait to be written */
    HISTORY_MAX_MINUTES = 2880,
    HISTORY_MAX_HOURS = 720,
    HISTORY_MAX_ERRORS = 4096,
    HISTORY_ERRORS = 20,
};

/* How things stand now; negative: unknown. Of a minute or hour the highest is kept. */
enum history_gauge {
    HISTORY_QUEUE_LENGTH = 0, /* of the queue `push` */
    HISTORY_OLDEST_AGE_MS,    /* of the job there that waits longest */
    HISTORY_IN_FLIGHT,        /* with this machine's workers */
    HISTORY_OPEN_CIRCUITS,    /* as this machine sees it */
    HISTORY_GAUGES
};

struct history;
/* `machine`: this one's name; copied. The rest is borrowed and must outlive it. */
struct history *history_create(struct event_base *base, const struct clock *clock,
                               struct postgres *postgres, struct str machine);
void history_destroy(struct history *history); /* after its PostgreSQL connection; NULL is fine */
void history_record(struct history *history, const struct health_event *event);
/* Each few seconds. `handed_off`: jobs since the last call. */
void history_sample(struct history *history, const int64_t gauges[HISTORY_GAUGES],
                    uint64_t handed_off);
/* Writes what is pending now; `done` (from the loop) when it is written, failed, or after
 * deadline_ms. */
void history_flush(struct history *history, int64_t deadline_ms, loop_fn *done, void *arg);
size_t history_pending(const struct history *history); /* rows waiting to be written */

#endif
