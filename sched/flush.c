#include "sched/flush.h"

static void on_late(void *arg)
{
    flush_end(arg);
}

void flush_init(struct flush *flush, struct event_base *base)
{
    *flush = (struct flush){.base = base, .timer = loop_timer_create(base, on_late, flush)};
}

void flush_clear(struct flush *flush)
{
    loop_timer_destroy(flush->timer);
}

void flush_begin(struct flush *flush, int64_t deadline_ms, loop_fn *done, void *arg)
{
    flush->done = done;
    flush->arg = arg;
    loop_timer_set(flush->timer, deadline_ms);
}

bool flush_is_awaited(const struct flush *flush)
{
    return flush->done != NULL;
}

void flush_end(struct flush *flush)
{
    loop_fn *done = flush->done;

    flush->done = NULL;
    loop_timer_clear(flush->timer);
    if (done != NULL)
        loop_defer(flush->base, done, flush->arg);
}
