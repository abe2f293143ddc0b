/*
 * What is known of every host that is delivered to: the account of its last 24 hours, its health,
 * its circuit and the orders about it. Read again when it is asked for and older than five seconds:
 * the hours that are over are read each ten minutes, the others and everything else each time.
 */
#ifndef FEDPUSH_ADMIN_DOMAIN_TABLE_H
#define FEDPUSH_ADMIN_DOMAIN_TABLE_H

#include "admin/desk.h"
#include "admin/latency.h"
#include "base/policy.h"

enum { DOMAIN_TABLE_MAX = 50000 }; /* hosts: those tried last */

enum domain_state {
    DOMAIN_HEALTHY = 0,
    DOMAIN_FAILING,     /* the last attempt failed */
    DOMAIN_OPEN,        /* its circuit is */
    DOMAIN_PAUSED,      /* by an admin */
    DOMAIN_LIMITED,     /* by an admin */
    DOMAIN_UNAVAILABLE, /* Mastodon has stopped deliveries */
    DOMAIN_IDLE,        /* nothing in 24 hours */
    DOMAIN_STATES
};
extern const char *const domain_state_names[];

struct domain_counts {
    int64_t delivered, retried, rejected, exhausted;
    struct latency latency;
};

struct domain_row {
    char *host;                 /* as in an inbox's URL, with a port that isn't the default */
    struct domain_counts past;  /* of the 24 hours: those that don't change any more */
    struct domain_counts fresh; /* and the present one and the one before */
    int64_t total_delivered;    /* since `fedpush setup` */
    int64_t total_attempts;
    int64_t streak;         /* failures in a row */
    double last_success_s;  /* 0: never */
    double failing_since_s; /* 0: it isn't */
    int64_t last_status;    /* -1: none */
    char *last_error;       /* or NULL */
    enum domain_state state;
    bool open;        /* its circuit */
    bool added;       /* by this reading */
    unsigned reading; /* the last one that has seen it */
};

struct domain_table;
void domain_table_destroy(struct domain_table *table); /* NULL is fine */
/* The desk's, at most five seconds old; an older one, up to ten minutes, while PostgreSQL doesn't
 * answer. NULL: err says why. Borrowed until the next call. */
const struct domain_table *domain_table_take(struct desk *desk, struct err *err);
double domain_table_at_s(const struct domain_table *table); /* PostgreSQL's time of the reading */
bool domain_table_is_cut(const struct domain_table *table); /* there are more hosts than fit */
size_t domain_table_count(const struct domain_table *table);
const struct domain_row *domain_table_find(const struct domain_table *table, struct str host);
/* Of a host that isn't in it: nothing was ever sent there. Borrows the host. */
void domain_table_blank(const struct domain_table *table, char *host, struct domain_row *row);
/* Iteration, as table_next. */
const struct domain_row *domain_table_each(const struct domain_table *table, size_t *at);
/* The order that decides about the host, as of now; an empty one when there is none. *name (may be
 * NULL) borrows the order's name. */
struct policy domain_table_policy(const struct domain_table *table, struct str host,
                                  struct str *name);
int64_t domain_table_now_s(const struct domain_table *table); /* Redis' time of the orders */
/* "example.org:3000" without its port. */
struct str domain_table_name(struct str host);

#endif
