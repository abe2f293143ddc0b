/*
 * `fedpush version`: what a report of a problem should begin with.
 */
#ifndef FEDPUSH_WORKER_VERSION_H
#define FEDPUSH_WORKER_VERSION_H

#include "base/str.h"

/* Appends fedpush's version and, a line each, those of the libraries that are loaded. */
void version_print(struct buf *out);
/* The same for programs, to standard output. */
void version_print_json(void);

#endif
