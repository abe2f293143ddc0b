/*
 * What became of deliveries, in the log, so that it is known when no memory has it any more
 * (`fedpush trace --log`). What failed is a line of its own:
 *
 *   msg="delivery failed" outcome=retried at_ms=… machine=… job=… attempt=2 status=503 ms=12
 *       activity=… inbox=… err="…"
 *
 * What was delivered is one at debug only. Where FEDPUSH_LOG_DELIVERIES asks for it, the inboxes of
 * one activity stand together instead, a second later, or some seconds when there are many:
 *
 *   msg=delivered outcome=delivered at_ms=… machine=… status=202 activity=… inbox=… inbox=…
 *
 * At most OUTCOME_LOG_LINES a second, so that they don't crowd out what else is to be said (at
 * debug half of them, so that failures pass); what is left out is counted. A name that would take
 * more than OUTCOME_LOG_NAME_BYTES in its line is left out of it.
 */
#ifndef FEDPUSH_SCHED_OUTCOME_LOG_H
#define FEDPUSH_SCHED_OUTCOME_LOG_H

#include "sched/claim.h"
#include "sched/health.h"

enum {
    OUTCOME_LOG_LINES = 100,
    OUTCOME_LOG_NAME_BYTES = 1000,
    OUTCOME_LOG_GROUPS = 256, /* activities whose inboxes are being collected */
};

/* What each result is called, here and among machines. */
extern const char *const outcome_names[HEALTH_RESULTS];
/* What a reader finds a gap by: behind it deliveries=N. */
#define OUTCOME_LOG_GAP "deliveries not logged"

struct logged_outcome {
    const struct claim *claim; /* parsed; borrowed for the call, like all texts */
    struct str machine;        /* our identity */
    enum health_result result;
    unsigned status; /* 0: no answer */
    unsigned total_ms;
    struct str error; /* empty: none */
    int64_t wall_us;
};

struct outcome_log;
struct outcome_log *outcome_log_create(const char *which);
/* FEDPUSH_LOG_DELIVERIES, perhaps another than before. */
void outcome_log_configure(struct outcome_log *log, const char *which);
void outcome_log_destroy(struct outcome_log *log); /* writes nothing any more */
/* now_ms: monotonic. */
void outcome_log_add(struct outcome_log *log, const struct logged_outcome *outcome, int64_t now_ms);
/* Each second: writes what has waited for one. */
void outcome_log_tick(struct outcome_log *log, int64_t now_ms);
/* All that waits, at the end. */
void outcome_log_flush(struct outcome_log *log, int64_t now_ms);

#endif
