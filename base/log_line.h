/*
 * How a value stands in a line of the log (base/log.h), and such lines taken apart again. Pure.
 */
#ifndef FEDPUSH_BASE_LOG_LINE_H
#define FEDPUSH_BASE_LOG_LINE_H

#include "base/str.h"

/* What is longer than that (as base/escape.h counts) is cut. */
enum { LOG_LINE_VALUE_COLUMNS = 1024 };

/* Appends a value: as it is where it is plain, else quoted and escaped. */
void log_line_put_value(struct buf *line, struct str value);

struct log_line {
    struct str rest; /* borrowed; begins with a key */
};

/* Finds our line in one of a file: at its beginning, behind "<6>" (sd-daemon), or behind the header
 * that syslog and journalctl write ("Nov 29 10:00:00 host fedpush[12]: "). Nowhere else: the lines
 * of other programs may hold what strangers wrote. False: it isn't one of ours. */
bool log_line_open(struct log_line *line, struct str text) FP_MUST_CHECK;
/* The next field: *key is borrowed, *value is replaced by what was logged. False at the end, and at
 * what log_write didn't write, like a line that was cut. */
bool log_line_next(struct log_line *line, struct str *key, struct buf *value) FP_MUST_CHECK;

#endif
