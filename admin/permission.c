#include "admin/permission.h"

#include <stdlib.h>

enum { ADMINISTRATOR = 1 << 0, VIEW_DEVOPS = 1 << 1 };

bool permission_suffices(int64_t permissions)
{
    return (permissions & (ADMINISTRATOR | VIEW_DEVOPS)) != 0;
}

static void on_rows(void *arg, PGresult *result)
{
    bool *held = arg;
    *held =
        PQntuples(result) == 1 && permission_suffices(strtoll(PQgetvalue(result, 0, 0), NULL, 10));
}

bool permission_ask(struct desk *desk, int64_t account, bool *held, struct err *err)
{
    static const char sql[] =
        "SELECT r.permissions FROM users u JOIN accounts a ON a.id = u.account_id"
        " JOIN user_roles r ON r.id = u.role_id"
        " WHERE a.id = $1::bigint AND a.domain IS NULL AND a.suspended_at IS NULL"
        " AND NOT u.disabled AND u.approved AND u.confirmed_at IS NOT NULL";
    char *text = mem_printf("%lld", (long long)account);
    const struct str params[] = {str_of(text)};
    struct postgres *postgres = session_postgres(&desk->session, POSTGRES_ROLE_MASTODON, err);

    *held = false;
    bool good = postgres != NULL &&
                session_query(&desk->session, postgres, sql, 1, params, on_rows, held, err);
    free(text);
    return good;
}
