#include "admin/desk.h"

#include "admin/domain_table.h"
#include "admin/follower_counts.h"

enum { POSTGRES_PAUSE_MS = 5000 };

bool desk_open(struct desk *desk, const struct config *config, struct err *err)
{
    *desk = (struct desk){.domains = NULL};
    return session_open(&desk->session, config, err);
}

void desk_close(struct desk *desk)
{
    follower_counts_destroy(desk->followers); /* its connection is on the session's loop */
    domain_table_destroy(desk->domains);
    session_close(&desk->session);
}

struct postgres *desk_postgres(struct desk *desk, enum postgres_role role, struct err *err)
{
    int64_t now_ms = clock_mono_ms(&desk->session.clock);
    int64_t failed_ms = desk->postgres_failed_ms[role];

    if (failed_ms != 0 && now_ms - failed_ms < POSTGRES_PAUSE_MS) {
        *err = desk->postgres_problem[role];
        return NULL;
    }
    struct postgres *postgres = session_postgres(&desk->session, role, err);
    desk->postgres_failed_ms[role] = postgres == NULL ? clock_mono_ms(&desk->session.clock) : 0;
    if (postgres == NULL)
        desk->postgres_problem[role] = *err;
    return postgres;
}
