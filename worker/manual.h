/*
 * `fedpush manual`: the man page fedpush(1), made from the help texts (worker/usage.h).
 */
#ifndef FEDPUSH_WORKER_MANUAL_H
#define FEDPUSH_WORKER_MANUAL_H

#include "base/str.h"

/* Appends its source, in the macros of man(7). */
void manual_put(struct buf *out);

#endif
