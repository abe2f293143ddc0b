/*
 * Reads the configuration again: when told to (SIGHUP), and when another Mastodon is installed
 * under a running fedpush, which DIR/lib/mastodon/version.rb shows. A thread reads: that directory
 * may be on a file system that hangs, and the supervisor must not.
 */
#ifndef FEDPUSH_WORKER_REREAD_H
#define FEDPUSH_WORKER_REREAD_H

#include <event2/event.h>

#include "base/config.h"

enum { REREAD_LOOK_MS = 10000 };

enum reread_reason {
    REREAD_ORDERED = 0, /* reread_order */
    REREAD_UPGRADE,     /* version.rb is not the file that it was */
};

/* From the loop. `fresh` is lent for the call; NULL: the configuration is invalid, as `error` says
 * in a line. */
typedef void reread_fn(void *arg, enum reread_reason reason, const struct config *fresh,
                       const char *error);

struct reread;
/* `config`: as it was read at the start. While its version was set (FEDPUSH_MASTODON_VERSION), or
 * no directory is known, nothing is looked for. `mastodon_dir` (may be NULL) is borrowed, as
 * config_load's. Never NULL. */
struct reread *reread_create(struct event_base *base, const struct config *config,
                             const char *mastodon_dir, int64_t look_ms, reread_fn *done, void *arg);
/* What is being read is never told. */
void reread_destroy(struct reread *reread);
/* Reads now, or as soon as what is being read is told. */
void reread_order(struct reread *reread);

#endif
