/*
 * Looking after alerts: one machine of the fleet does, whoever has the turn in Redis. Steps for
 * clerks' threads, one at a time; alerter.h calls them.
 */
#ifndef FEDPUSH_ADMIN_ALERT_WATCH_H
#define FEDPUSH_ADMIN_ALERT_WATCH_H

#include "admin/alert_book.h"
#include "admin/desk.h"

struct alert_watch;
/* `config` is borrowed. Never NULL. It lives as long as the process. */
struct alert_watch *alert_watch_create(const struct config *config);

/* How long to rest between two rounds. */
int64_t alert_watch_rest_ms(const struct alert_watch *watch);
/* Whether domains are to be asked for in this round, before alert_watch_look. */
bool alert_watch_wants_domains(const struct alert_watch *watch);
/* Needs PostgreSQL; without it alerts of domains stay as they are. */
void alert_watch_ask_domains(struct alert_watch *watch, struct desk *desk);
/* Takes the turn or goes on with it, looks at the fleet, and writes down what has changed. */
void alert_watch_look(struct alert_watch *watch, struct desk *desk);
/* Whether somebody must be told something now. */
bool alert_watch_has_news(const struct alert_watch *watch);
/* Tells them; waits for their servers. */
void alert_watch_tell(struct alert_watch *watch, struct desk *desk);

#endif
