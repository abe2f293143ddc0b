/*
 * How a role is started: fork and exec of this binary with a fresh environment and no descriptor
 * but 0-2 and its control socket. When to do so is the crew's to say (crew.h).
 */
#ifndef FEDPUSH_WORKER_SPAWN_H
#define FEDPUSH_WORKER_SPAWN_H

#include <sys/types.h>

#include "base/control.h"
#include "base/err.h"

struct spawned {
    pid_t pid;
    int control_fd; /* the supervisor's end; the caller's to close */
};

/* Runs `fedpush role NAME INDEX` with CONTROL_FD. The child is killed when this process ends. */
enum fp_err spawn_role(enum role role, unsigned index, struct spawned *spawned,
                       struct err *err) FP_MUST_CHECK;

/* A channel for struct ipc between two roles: both ends are the caller's to send and to close. */
enum fp_err spawn_channel(int ends[2], struct err *err) FP_MUST_CHECK;

/* Raises the limits of open files and locked memory as far as this process may; children inherit
 * them. Also makes sure that descriptors 0-2 are open, so that no socket takes their place. */
void spawn_prepare(void);

#endif
