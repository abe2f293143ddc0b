/*
 * What a clerk works with: a session that lives for long, and what it remembers between two
 * errands. One thread's own.
 */
#ifndef FEDPUSH_ADMIN_DESK_H
#define FEDPUSH_ADMIN_DESK_H

#include "admin/session.h"

struct domain_table;
struct follower_counts;

struct desk {
    struct session session;
    struct domain_table *domains;      /* admin/domain_table.h; NULL until it is asked for */
    struct follower_counts *followers; /* admin/follower_counts.h; the same */
    int64_t postgres_failed_ms[POSTGRES_ROLES]; /* monotonic; 0: it answered last */
    struct err postgres_problem[POSTGRES_ROLES];
};

/* Connects nothing yet, and does not wait. False with err filled as session_open; desk_close in any
 * case. */
bool desk_open(struct desk *desk, const struct config *config, struct err *err) FP_MUST_CHECK;
void desk_close(struct desk *desk);
/* session_postgres, but what couldn't be reached isn't waited for again within some seconds. */
struct postgres *desk_postgres(struct desk *desk, enum postgres_role role, struct err *err);

#endif
