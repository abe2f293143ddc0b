/*
 * Whatever waits (Redis, PostgreSQL, another server) is an errand of a clerk: a thread with
 * connections of its own, so that the admin process's loop never blocks. Errands of one clerk run
 * one after another, in order.
 */
#ifndef FEDPUSH_ADMIN_CLERK_H
#define FEDPUSH_ADMIN_CLERK_H

#include <event2/event.h>
#include <sys/queue.h>

#include "admin/desk.h"

enum clerk_name {
    CLERK_STATE = 0, /* Redis only: goes on while PostgreSQL is down */
    CLERK_RECORDS,   /* PostgreSQL */
    CLERK_ERRANDS,   /* scans, which are slow */
    CLERK_ORDERS,    /* orders that are quick: they wait for nobody's list or scan */
    CLERK_REMOVALS,  /* orders that look through all that waits */
    CLERK_ALERTS,    /* servers of mail and webhooks, which may not answer */
    CLERK_DOOR,      /* passwords: nobody waits for a scan, or for Mastodon, to get in */
    CLERK_MASTODON,  /* its login: it may not answer */
    CLERKS,
};

/* The caller's memory, unmoved from clerk_submit until `done`. */
struct errand {
    void (*run)(struct errand *errand, struct desk *desk); /* in the clerk's thread */
    void (*done)(struct errand *errand);                   /* from the loop; the caller's again */
    STAILQ_ENTRY(errand) link;                             /* the clerk's */
};

struct clerk;
/* `config` is borrowed. NULL with err filled: the configuration is unusable, or there is no thread.
 */
struct clerk *clerk_create(struct event_base *base, const struct config *config,
                           enum clerk_name name, size_t max_queued, struct err *err);
/* Waits for the errand that runs, which its limits of time end; of those left no one is told. NULL
 * is fine. */
void clerk_destroy(struct clerk *clerk);
/* False: max_queued wait already. */
bool clerk_submit(struct clerk *clerk, struct errand *errand) FP_MUST_CHECK;

#endif
