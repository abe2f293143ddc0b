/*
 * A connection to PostgreSQL on its way: in rounds over all places of a conninfo, names resolved,
 * one address after the other. After a round in vain there is a pause: 250 ms, doubling to 10 s,
 * jittered.
 *
 *   WAITING ──► RESOLVING ──► CONNECTING ──► GIVEN
 *      ▲  ▲         │  ▲          │          │  │
 *      │  └ no more ┘  └─── next ─┴──────────┘  │
 *      └──────────────── again ─────────────────┘
 */
#ifndef FEDPUSH_BASE_POSTGRES_DIAL_H
#define FEDPUSH_BASE_POSTGRES_DIAL_H

#include <event2/event.h>
#include <libpq-fe.h>

#include "base/dns.h"
#include "base/str.h"

/* From the loop: a connected, non-blocking session that is the callee's to PQfinish, and to be
 * answered by one of good, next and again, now or later. */
typedef void postgres_dial_fn(void *arg, PGconn *conn);

struct postgres_dial;
/* `name`, for the log, is borrowed. A malformed conninfo is said and never connected to. */
struct postgres_dial *postgres_dial_create(struct event_base *base, struct dns *dns,
                                           struct str conninfo, const char *name,
                                           postgres_dial_fn *fn, void *arg);
/* After the sessions that it gave, whose notices it logs. */
void postgres_dial_destroy(struct postgres_dial *dial);

/* The session is used. */
void postgres_dial_good(struct postgres_dial *dial);
/* It was refused, and is gone: on with the next address or place. */
void postgres_dial_next(struct postgres_dial *dial, const char *reason);
/* It was lost: a new round, after the pause. */
void postgres_dial_again(struct postgres_dial *dial, const char *reason);

/* Why there is none: one line, no secret; "" when one is used. */
const char *postgres_dial_problem(const struct postgres_dial *dial);
/* Rounds in vain since one was used. */
unsigned postgres_dial_failed_rounds(const struct postgres_dial *dial);

#endif
