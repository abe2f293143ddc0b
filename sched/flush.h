/*
 * Somebody waits until all statistics are written, but no longer than a deadline.
 */
#ifndef FEDPUSH_SCHED_FLUSH_H
#define FEDPUSH_SCHED_FLUSH_H

#include <stdbool.h>

#include "base/loop.h"

struct flush {
    struct event_base *base;
    struct loop_timer *timer;
    loop_fn *done; /* NULL: nobody waits */
    void *arg;
};

void flush_init(struct flush *flush, struct event_base *base);
void flush_clear(struct flush *flush); /* tells nobody */
/* `done` is called once, from the loop: at flush_end, or when the deadline is over. */
void flush_begin(struct flush *flush, int64_t deadline_ms, loop_fn *done, void *arg);
bool flush_is_awaited(const struct flush *flush);
/* All is written, or what isn't can't be. */
void flush_end(struct flush *flush);

#endif
