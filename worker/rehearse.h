/*
 * `fedpush rehearse`: what fedpush would do with the jobs that wait, or with made-up ones where
 * none wait. It takes and writes nothing.
 */
#ifndef FEDPUSH_WORKER_REHEARSE_H
#define FEDPUSH_WORKER_REHEARSE_H

#include "base/config.h"

/* [--sample N] [--watch SECONDS] [--json]; 0 only when nothing is wrong. */
int command_rehearse(const struct config *config, int argc, char **argv);

#endif
