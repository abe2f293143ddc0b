/*
 * What is known of an activity's deliveries, a row for each inbox, put together from the jobs that
 * were found, what the machines remember, and what their logs say. Pure.
 */
#ifndef FEDPUSH_ADMIN_TRACE_ROWS_H
#define FEDPUSH_ADMIN_TRACE_ROWS_H

#include "admin/trace_log_line.h"
#include "admin/trace_look.h"
#include "base/table.h"

enum { TRACE_MAX_ROWS = 20000 };

enum trace_state {
    TRACE_IN_FLIGHT = 0,
    TRACE_WAITING,
    TRACE_SCHEDULED,
    TRACE_RETRIED,
    TRACE_EXHAUSTED,
    TRACE_REJECTED,
    TRACE_IN_DEAD,
    TRACE_GONE, /* by a log it failed, to be retried; but no job of it is left */
    TRACE_DELIVERED,
    TRACE_STATES
};
extern const char *const trace_state_names[TRACE_STATES];

/* Where a state is known from. */
enum trace_source { TRACE_BY_JOB = 0, TRACE_BY_MEMORY, TRACE_BY_LOG, TRACE_SOURCES };
extern const char *const trace_source_names[TRACE_SOURCES];

struct trace_row {
    char *inbox;
    char *host; /* as policies name it, or "" */
    char *lane; /* the same with its port, as circuits name it */
    enum trace_state state;
    enum trace_source source;
    bool has_job;      /* a job of it stands somewhere */
    int64_t status;    /* HTTP; 0: unknown */
    int64_t at_ms;     /* of its latest outcome; 0: unknown */
    double due_s;      /* 0: none */
    char *error;       /* of its latest failure, or NULL; strangers' words */
    int64_t failures;  /* so far; 0: unknown */
    const char *queue; /* that it waits in, or NULL */
    char *machine;     /* that has it or had it last, or NULL */
};

struct trace_rows {
    struct table *rows;
    int64_t looked_ms; /* wall clock, when the look for jobs began */
    bool cut;          /* more than are kept, or than machines told of */
};

void trace_rows_init(struct trace_rows *rows, int64_t looked_ms);
void trace_rows_clear(struct trace_rows *rows);
/* One job that was found, in the order in which jobs move. */
void trace_rows_add_job(struct trace_rows *rows, const struct trace_job *job);
/* What a log says of one delivery. */
void trace_rows_add_logged(struct trace_rows *rows, const struct trace_logged *logged);
/* A machine's words: lines "OUTCOME STATUS UNIX_MS INBOX", or "more N"; others are left out. */
void trace_rows_add_answer(struct trace_rows *rows, struct str machine, struct str words);
/* A new array of the rows, the troubled ones first; free() it. *count: how many. */
struct trace_row **trace_rows_sorted(const struct trace_rows *rows, size_t *count);

#endif
