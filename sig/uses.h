/*
 * Counts how often each ticket was used. Tickets are kept by the minute in which they expire, and
 * forgotten with it: 8 bytes each.
 */
#ifndef FEDPUSH_SIG_USES_H
#define FEDPUSH_SIG_USES_H

#include "base/ticket.h"

enum { USES_MAX_TICKETS = 4 * 1024 * 1024 };

enum use {
    USE_ALLOWED = 0,
    USE_EXHAUSTED, /* TICKET_MAX_USES before */
    USE_FULL,      /* USES_MAX_TICKETS are remembered: none can be added until some expire */
};

struct uses;
/* `max_tickets`: USES_MAX_TICKETS, less in tests. */
struct uses *uses_create(size_t max_tickets);
void uses_destroy(struct uses *uses); /* NULL is fine */
/* Counts one use of a ticket that ticket_check has accepted at now_s (wall clock). */
enum use uses_count(struct uses *uses, const struct ticket *ticket, int64_t now_s) FP_MUST_CHECK;
size_t uses_remembered(const struct uses *uses);

#endif
