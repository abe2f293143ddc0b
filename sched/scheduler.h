/*
 * The scheduler's role: one a machine. It claims, decides and records; it holds Redis and
 * PostgreSQL credentials and every claimed job, and no private key. Files: state.h (what it holds),
 * admit.c, conclude.c, quarantine.c, drain.c.
 */
#ifndef FEDPUSH_SCHED_SCHEDULER_H
#define FEDPUSH_SCHED_SCHEDULER_H

/* Runs the role on CONTROL_FD; returns the exit code. */
int scheduler_main(void);

#endif
