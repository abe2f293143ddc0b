/*
 * The worker's role: resolves, connects, POSTs. It faces the internet's bytes and holds no
 * credential and no key; what it knows is in the jobs it was given.
 */
#ifndef FEDPUSH_WORKER_WORKER_H
#define FEDPUSH_WORKER_WORKER_H

/* Runs the role on CONTROL_FD; returns the exit code. */
int worker_main(unsigned index);

#endif
