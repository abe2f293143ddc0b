/* What the log gets, as standard error has it. Functions fail the test (cmocka). */
#ifndef FEDPUSH_TESTS_UNIT_CAPTURE_H
#define FEDPUSH_TESTS_UNIT_CAPTURE_H

#include "base/str.h"

/* Appends what `write` says. */
void capture_log(struct buf *out, void (*write)(void));
/* How many lines of that, from warnings on, have this text in them; the log is quiet but for errors
 * afterwards. */
unsigned capture_count(void (*write)(void), const char *text);

#endif
