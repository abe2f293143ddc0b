/*
 * The event loop: libevent's. Nothing may block on it (DNS, PostgreSQL, Redis, disk).
 * An object is never freed inside its own callback: hand it to loop_defer, whose function runs
 * after the callbacks of this turn.
 */
#ifndef FEDPUSH_BASE_LOOP_H
#define FEDPUSH_BASE_LOOP_H

#include <event2/event.h>
#include <stdint.h>

typedef void loop_fn(void *arg);

/* Never NULL. Aborts when epoll can't be had. */
struct event_base *loop_create(void);

/* A timer that is not yet pending; event_free() it. */
struct loop_timer;
struct loop_timer *loop_timer_create(struct event_base *base, loop_fn *fn, void *arg);
void loop_timer_destroy(struct loop_timer *timer);               /* NULL is fine */
void loop_timer_set(struct loop_timer *timer, int64_t delay_ms); /* once; replaces a pending one */
/* At the end of this turn: no look at the sockets before it. Not from the timer's own callback,
 * which would hold the loop. */
void loop_timer_now(struct loop_timer *timer);
void loop_timer_clear(struct loop_timer *timer);
int loop_timer_pending(const struct loop_timer *timer);

/* Watches `fd` for EV_READ, EV_WRITE or both, once, in place of what *event watched; NULL: nothing.
 */
void loop_watch(struct event_base *base, struct event **event, evutil_socket_t fd, short what,
                event_callback_fn fn, void *arg);
/* Before the descriptor is closed, or epoll and libevent disagree about the next one of its number.
 */
void loop_unwatch(struct event **event);

/* Runs fn(arg) once, after the callbacks that are running now. */
void loop_defer(struct event_base *base, loop_fn *fn, void *arg);

#endif
