/*
 * The admin process: the statistics page, its API, health checks. A role of `fedpush run`.
 */
#ifndef FEDPUSH_ADMIN_SERVER_H
#define FEDPUSH_ADMIN_SERVER_H

/* Returns the exit code. */
int admin_main(void);

#endif
