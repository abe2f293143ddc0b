/*
 * What SIGHUP changes in a running fedpush, and what it can't.
 */
#ifndef FEDPUSH_WORKER_RELOAD_H
#define FEDPUSH_WORKER_RELOAD_H

#include "base/config.h"

/* Takes fresh's reloadable values over into *config. Appends to *restart the names, separated by
 * ", ", of what else differs and would need a restart; values are never among them. */
void reload_merge(struct config *config, const struct config *fresh, struct buf *restart);
/* The same when another Mastodon is installed: its version is all that is taken over. */
void reload_upgrade(struct config *config, const struct config *fresh, struct buf *restart);

#endif
