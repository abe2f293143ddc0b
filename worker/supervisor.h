/*
 * The supervisor: it starts the roles, watches, replaces, drains and ends them, and talks to
 * systemd. It holds the configuration and no connection. What it decides stands in crew.h, how
 * processes are made in spawn.h; here both meet signals, control sockets and time.
 */
#ifndef FEDPUSH_WORKER_SUPERVISOR_H
#define FEDPUSH_WORKER_SUPERVISOR_H

#include "base/config.h"

/* Runs until told to stop; returns the exit code. `config` is the caller's; a reload changes its
 * reloadable values. `mastodon_dir` is the command line's, or NULL: a reload reads there again. */
int supervisor_run(struct config *config, const char *mastodon_dir);

#endif
