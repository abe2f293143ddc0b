/*
 * Reads fedpush's own logs for what became of one activity: files (plain, .gz, or systemd's
 * .journal), standard input, or the journal of this machine. It blocks: for commands, not for a
 * process that serves.
 */
#ifndef FEDPUSH_ADMIN_TRACE_LOG_H
#define FEDPUSH_ADMIN_TRACE_LOG_H

#include <jansson.h>

#include "admin/trace_log_line.h"
#include "base/err.h"

struct trace_log_options {
    const char *const *names; /* files; "-" is standard input */
    size_t count;             /* 0: the journal */
    int64_t since_s; /* no outcomes that are longer ago; 0: all of a file, and of the journal
                        what is younger than the activity, or TRACE_LOG_DAYS */
};
enum { TRACE_LOG_DAYS = 7 };

struct trace_log {
    const struct trace_log_options *options;
    const struct trace_ids *ids;
    int64_t now_ms; /* Unix */
    void (*found)(void *arg, const struct trace_logged *logged);
    void (*progress)(void *arg, double share); /* 0 to 1; NULL: not told */
    void *arg;
};

/* *A new array*, one {name, lines, outcomes, left_out, cut, problem} a log. `problem` is null or
 * one line why it wasn't read to its end, with the remedy. NULL with err filled: a file that was
 * named can't be opened. */
json_t *trace_log_read(const struct trace_log *log, struct err *err);

#endif
