#include "base/loop.h"

#include <stdlib.h>

#include "base/str.h"

struct event_base *loop_create(void)
{
    struct event_base *base = event_base_new();
    if (base == NULL)
        abort();
    return base;
}

struct loop_timer {
    struct event *event;
    loop_fn *fn;
    void *arg;
};

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
    struct loop_timer *timer = arg;
    (void)fd;
    (void)what;
    timer->fn(timer->arg);
}

struct loop_timer *loop_timer_create(struct event_base *base, loop_fn *fn, void *arg)
{
    struct loop_timer *timer = mem_alloc(sizeof(*timer));
    *timer = (struct loop_timer){evtimer_new(base, on_timer, timer), fn, arg};
    if (timer->event == NULL)
        abort();
    return timer;
}

void loop_timer_destroy(struct loop_timer *timer)
{
    if (timer == NULL)
        return;
    event_free(timer->event);
    free(timer);
}

static struct timeval to_timeval(int64_t delay_ms)
{
    if (delay_ms < 0)
        delay_ms = 0;
    return (struct timeval){delay_ms / 1000, (suseconds_t)(delay_ms % 1000 * 1000)};
}

void loop_timer_set(struct loop_timer *timer, int64_t delay_ms)
{
    struct timeval delay = to_timeval(delay_ms);
    evtimer_add(timer->event, &delay);
}

void loop_timer_now(struct loop_timer *timer)
{
    evtimer_del(timer->event);
    event_active(timer->event, EV_TIMEOUT, 0);
}

void loop_timer_clear(struct loop_timer *timer)
{
    evtimer_del(timer->event);
}

int loop_timer_pending(const struct loop_timer *timer)
{
    return evtimer_pending(timer->event, NULL);
}

void loop_watch(struct event_base *base, struct event **event, evutil_socket_t fd, short what,
                event_callback_fn fn, void *arg)
{
    loop_unwatch(event);
    *event = event_new(base, fd, what, fn, arg);
    if (*event == NULL || event_add(*event, NULL) != 0)
        abort();
}

void loop_unwatch(struct event **event)
{
    if (*event != NULL)
        event_free(*event);
    *event = NULL;
}

struct deferred {
    loop_fn *fn;
    void *arg;
};

static void on_deferred(evutil_socket_t fd, short what, void *arg)
{
    struct deferred deferred = *(struct deferred *)arg;
    (void)fd;
    (void)what;
    free(arg);
    deferred.fn(deferred.arg);
}

void loop_defer(struct event_base *base, loop_fn *fn, void *arg)
{
    struct deferred *deferred = mem_alloc(sizeof(*deferred));
    struct timeval now = {0, 0};
    *deferred = (struct deferred){fn, arg};
    if (event_base_once(base, -1, EV_TIMEOUT, on_deferred, deferred, &now) != 0)
        abort();
}
