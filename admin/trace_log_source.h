/*
 * One log of trace_log.h, read line by line: each kind is a file of its own.
 */
#ifndef FEDPUSH_ADMIN_TRACE_LOG_SOURCE_H
#define FEDPUSH_ADMIN_TRACE_LOG_SOURCE_H

#include "admin/trace_log_line.h"
#include "base/err.h"

enum { TRACE_LOG_PROBLEM_BYTES = 256 };

struct trace_log_source {
    const char *name;              /* of the file; NULL: the journal of this machine */
    struct trace_log_lines *lines; /* take what is read */
    int64_t now_ms;
    void (*progress)(void *arg, double share); /* of this log */
    void *arg;
    char problem[TRACE_LOG_PROBLEM_BYTES]; /* "": none */
};

/* Text, perhaps compressed; "-" is standard input. False with err filled: it can't be opened. */
bool trace_log_file(struct trace_log_source *source, struct err *err) FP_MUST_CHECK;
/* systemd's own form: the file, or the journal of this machine, which may be missing. */
bool trace_log_journal(struct trace_log_source *source, struct err *err) FP_MUST_CHECK;

#endif
