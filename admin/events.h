/*
 * The live updates of the page: server-sent events. All streams share one question every two
 * seconds; nobody asks while nobody listens.
 */
#ifndef FEDPUSH_ADMIN_EVENTS_H
#define FEDPUSH_ADMIN_EVENTS_H

#include "admin/clerk.h"
#include "admin/web.h"

enum { EVENTS_MAX = 32, EVENTS_EVERY_MS = 2000, EVENTS_PING_MS = 15000 };

struct events;
struct events *events_create(struct event_base *base, struct clerk *state);
/* After the connections are closed, and before the clerk ends. NULL is fine. */
void events_destroy(struct events *events);
/* Turns the exchange into a stream. False: there are EVENTS_MAX already, and it is as it was. */
bool events_add(struct events *events, struct web_exchange *exchange) FP_MUST_CHECK;

#endif
