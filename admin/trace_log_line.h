/*
 * Lines of fedpush's log (sched/outcome_log.h), looked through for what became of one activity. It
 * may be any text that an admin has taken for a log. Pure.
 */
#ifndef FEDPUSH_ADMIN_TRACE_LOG_LINE_H
#define FEDPUSH_ADMIN_TRACE_LOG_LINE_H

#include "admin/trace_ids.h"
#include "sched/health.h"

/* Of one log. */
enum { TRACE_LOG_MAX_LINES = 50 * 1000 * 1000 };
#define TRACE_LOG_MAX_BYTES (INT64_C(8) * 1024 * 1024 * 1024)

/* One delivery; texts are borrowed for the call, and what strangers may have written. */
struct trace_logged {
    struct str inbox;
    enum health_result result;
    int64_t status;  /* HTTP; 0: no answer */
    int64_t at_ms;   /* Unix, by its machine's clock */
    int64_t attempt; /* the first is 1; 0: it doesn't say */
    struct str machine;
    struct str error;
};

struct trace_log_lines {
    const struct trace_ids *ids;
    char *marks[TRACE_MAX_IDS]; /* the ids as they stand in a line */
    int64_t since_ms;           /* older outcomes don't count */
    int64_t max_lines;
    int64_t max_bytes;
    void (*found)(void *arg, const struct trace_logged *logged);
    void *arg;
    struct buf value;
    struct buf machine;
    struct buf error;
    /* of this log, until trace_log_lines_begin */
    int64_t lines;
    int64_t bytes;
    int64_t outcomes; /* that were found */
    int64_t left_out; /* lines and deliveries that the log says it left out */
    bool cut;         /* there was more than is looked at */
};

/* max_lines and max_bytes are TRACE_LOG_MAX_… and may be changed. `ids` must outlive it. */
void trace_log_lines_init(struct trace_log_lines *lines, const struct trace_ids *ids,
                          void (*found)(void *arg, const struct trace_logged *logged), void *arg);
void trace_log_lines_clear(struct trace_log_lines *lines);
/* Another log begins: counts from zero. */
void trace_log_lines_begin(struct trace_log_lines *lines);
/* One line without its end. False: no more are looked at. */
bool trace_log_lines_take(struct trace_log_lines *lines, struct str line) FP_MUST_CHECK;

#endif
