/*
 * The live updates of the page: server-sent events. All streams share one question every two
 * seconds; nobody asks while nobody listens. Each ten seconds a stream passes the gate again.
 */
#ifndef FEDPUSH_ADMIN_EVENTS_H
#define FEDPUSH_ADMIN_EVENTS_H

#include "admin/entrance.h"
#include "admin/web.h"

enum {
    EVENTS_MAX = 32,
    EVENTS_EVERY_MS = 2000,
    EVENTS_PING_MS = 15000,
    EVENTS_ENTER_MS = 10000,
};

struct events;
/* `clerks`: all of them; borrowed, as is the gate. Never NULL. It lives as long as the process. */
struct events *events_create(struct event_base *base, struct gate *gate,
                             struct clerk *const *clerks);
/* Turns the exchange into a stream once its caller is let in, or refuses him. False: there are
 * EVENTS_MAX already, or too much is being asked; the exchange is as it was. */
bool events_add(struct events *events, struct web_exchange *exchange,
                const struct caller *caller) FP_MUST_CHECK;

#endif
