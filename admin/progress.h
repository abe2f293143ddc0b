/*
 * How far a long look has come, as a bar on standard error when that is a terminal.
 */
#ifndef FEDPUSH_ADMIN_PROGRESS_H
#define FEDPUSH_ADMIN_PROGRESS_H

#include <stdbool.h>

struct progress {
    bool shown;  /* standard error is a terminal */
    int percent; /* that stands there; -1: nothing yet */
};

void progress_begin(struct progress *progress);
/* A `progress` function of the figures: arg is the struct, share 0 to 1. */
void progress_tell(void *arg, double share);
/* Takes the bar away. */
void progress_end(struct progress *progress);

#endif
