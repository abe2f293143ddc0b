#include "sig/columns.h"

#include <string.h>

enum table { TABLE_ACCOUNTS = 0, TABLE_KEYPAIRS, TABLE_COUNT };

static const char *const table_names[TABLE_COUNT] = {"accounts", "keypairs"};

enum column {
    COLUMN_ID = 0,
    COLUMN_USERNAME,
    COLUMN_DOMAIN,
    COLUMN_PRIVATE_KEY,
    COLUMN_SUSPENDED_AT,
    COLUMN_ID_SCHEME,
    COLUMN_REQUESTED_DELETION_AT,
    COLUMN_LOCAL_FRAGMENT,
    COLUMN_KEYPAIR_ID,
    COLUMN_KEYPAIR_ACCOUNT_ID,
    COLUMN_KEYPAIR_TYPE,
    COLUMN_KEYPAIR_REVOKED,
    COLUMN_KEYPAIR_EXPIRES_AT,
    COLUMN_KEYPAIR_URI,
    COLUMN_KEYPAIR_PRIVATE_KEY,
};

static const struct {
    const char *name;
    enum table table;
    bool optional; /* not in every release, and nothing else depends on it */
} specs[COLUMNS_COUNT] = {
    [COLUMN_ID] = {"id", TABLE_ACCOUNTS, false},
    [COLUMN_USERNAME] = {"username", TABLE_ACCOUNTS, false},
    [COLUMN_DOMAIN] = {"domain", TABLE_ACCOUNTS, false},
    [COLUMN_PRIVATE_KEY] = {"private_key", TABLE_ACCOUNTS, false},
    [COLUMN_SUSPENDED_AT] = {"suspended_at", TABLE_ACCOUNTS, false},
    [COLUMN_ID_SCHEME] = {"id_scheme", TABLE_ACCOUNTS, true},
    [COLUMN_REQUESTED_DELETION_AT] = {"requested_deletion_at", TABLE_ACCOUNTS, true},
    [COLUMN_LOCAL_FRAGMENT] = {"local_fragment", TABLE_KEYPAIRS, true},
    [COLUMN_KEYPAIR_ID] = {"id", TABLE_KEYPAIRS, false},
    [COLUMN_KEYPAIR_ACCOUNT_ID] = {"account_id", TABLE_KEYPAIRS, false},
    [COLUMN_KEYPAIR_TYPE] = {"type", TABLE_KEYPAIRS, false},
    [COLUMN_KEYPAIR_REVOKED] = {"revoked", TABLE_KEYPAIRS, false},
    [COLUMN_KEYPAIR_EXPIRES_AT] = {"expires_at", TABLE_KEYPAIRS, false},
    [COLUMN_KEYPAIR_URI] = {"uri", TABLE_KEYPAIRS, false},
    [COLUMN_KEYPAIR_PRIVATE_KEY] = {"private_key", TABLE_KEYPAIRS, false},
};

/* Where things stand in the results. */
enum { DETECT_TABLE = 0, DETECT_COLUMN, DETECT_READABLE, DETECT_SHOWN_TABLE, DETECT_USER };
enum {
    LOAD_ID = 0,
    LOAD_USERNAME,
    LOAD_LOCAL,
    LOAD_PEM,
    LOAD_SUSPENDED,
    LOAD_ID_SCHEME,
    LOAD_HAS_KEYPAIR,
    LOAD_LOCAL_FRAGMENT,
    LOAD_URI,
    LOAD_SEALED,
};

/* ---- what there is ---- */

static void put_table_condition(struct buf *sql, enum table table)
{
    const char *separator = "";

    buf_printf(sql, "(attrelid = to_regclass('%s') AND attname IN (", table_names[table]);
    for (size_t i = 0; i < COLUMNS_COUNT; i++) {
        if (specs[i].table != table)
            continue;
        buf_printf(sql, "%s'%s'", separator, specs[i].name);
        separator = ", ";
    }
    buf_put_str(sql, STR("))"));
}

/* to_regclass follows the search path, as Rails does; information_schema would hide columns without
 * a GRANT. */
void columns_put_detect_sql(struct buf *sql)
{
    buf_put_str(sql, STR("SELECT CASE WHEN attrelid = to_regclass('keypairs') THEN 'keypairs' ELSE "
                         "'accounts' END, attname, "
                         "has_column_privilege(attrelid, attnum, 'SELECT'), attrelid::regclass, "
                         "quote_ident(current_user) FROM pg_catalog.pg_attribute "
                         "WHERE attnum > 0 AND NOT attisdropped AND ("));
    put_table_condition(sql, TABLE_ACCOUNTS);
    buf_put_str(sql, STR(" OR "));
    put_table_condition(sql, TABLE_KEYPAIRS);
    buf_put_char(sql, ')');
}

static struct str field(const PGresult *result, int row, int column)
{
    if (PQgetisnull(result, row, column))
        return STR_NULL;
    return (struct str){PQgetvalue(result, row, column), (size_t)PQgetlength(result, row, column)};
}

static bool flag(const PGresult *result, int row, int column)
{
    return str_equal(field(result, row, column), STR("t"));
}

static bool is_of(const PGresult *result, int row, enum table table)
{
    return str_equal(field(result, row, DETECT_TABLE), str_of(table_names[table]));
}

static bool is_about(const PGresult *result, int row, size_t column)
{
    return is_of(result, row, specs[column].table) &&
           str_equal(field(result, row, DETECT_COLUMN), str_of(specs[column].name));
}

void columns_read(struct columns *columns, const PGresult *result)
{
    *columns = (struct columns){0};
    for (int row = 0; row < PQntuples(result); row++) {
        for (size_t i = 0; i < COLUMNS_COUNT; i++) {
            if (is_about(result, row, i)) {
                columns->exists[i] = true;
                columns->readable[i] = flag(result, row, DETECT_READABLE);
            }
        }
    }
    columns->keypairs = columns->exists[COLUMN_LOCAL_FRAGMENT];
}

static void put_grant(const struct columns *columns, const PGresult *result, enum table table,
                      struct buf *out)
{
    const char *separator = "";
    struct str shown = STR_NULL;
    struct str user = STR_NULL;

    for (int row = 0; row < PQntuples(result); row++) {
        if (is_of(result, row, table)) {
            shown = field(result, row, DETECT_SHOWN_TABLE);
            user = field(result, row, DETECT_USER);
        }
    }
    buf_printf(out, "%sGRANT SELECT (", out->len > 0 ? " " : "");
    for (size_t i = 0; i < COLUMNS_COUNT; i++) {
        if (!columns->exists[i] || specs[i].table != table)
            continue;
        buf_printf(out, "%s%s", separator, specs[i].name);
        separator = ", ";
    }
    buf_printf(out, ") ON %.*s TO %.*s;", STR_ARG(shown), STR_ARG(user));
}

static bool all_readable(const struct columns *columns, enum table table)
{
    for (size_t i = 0; i < COLUMNS_COUNT; i++) {
        if (specs[i].table == table && columns->exists[i] && !columns->readable[i])
            return false;
    }
    return true;
}

bool columns_usable(const struct columns *columns, const PGresult *result, struct buf *remedy)
{
    for (size_t i = 0; i < COLUMNS_COUNT; i++) {
        bool needed = specs[i].table == TABLE_ACCOUNTS || columns->keypairs;
        if (columns->exists[i] || specs[i].optional || !needed)
            continue;
        buf_printf(remedy,
                   "no column %s.%s in sight: use Mastodon's database, and GRANT USAGE ON its "
                   "SCHEMA (public) to this role",
                   table_names[specs[i].table], specs[i].name);
        return false;
    }
    if (!all_readable(columns, TABLE_ACCOUNTS))
        put_grant(columns, result, TABLE_ACCOUNTS, remedy);
    if (columns->keypairs && !all_readable(columns, TABLE_KEYPAIRS))
        put_grant(columns, result, TABLE_KEYPAIRS, remedy);
    return remedy->len == 0;
}

/* ---- reading ---- */

/* Of the account `a`. */
static const char usable_keypair[] =
    "WHERE account_id = a.id AND type = 0 AND revoked = false AND (expires_at IS NULL OR "
    "expires_at > (now() AT TIME ZONE 'utc'))";

void columns_put_select_sql(const struct columns *columns, struct buf *sql)
{
    buf_put_str(sql, STR("SELECT a.id, a.username, a.domain IS NULL, a.private_key, "
                         "a.suspended_at IS NOT NULL"));
    if (columns->exists[COLUMN_REQUESTED_DELETION_AT])
        buf_put_str(sql, STR(" OR a.requested_deletion_at IS NOT NULL"));
    buf_put_str(sql,
                columns->exists[COLUMN_ID_SCHEME] ? STR(", coalesce(a.id_scheme, 0)") : STR(", 0"));
    if (columns->keypairs)
        buf_printf(sql,
                   ", k.id IS NOT NULL, k.local_fragment, k.uri, k.private_key FROM accounts a "
                   "LEFT JOIN LATERAL (SELECT id, local_fragment, uri, private_key FROM keypairs "
                   "%s ORDER BY id LIMIT 1) k ON true",
                   usable_keypair);
    else
        buf_put_str(sql, STR(", false, NULL, NULL, NULL FROM accounts a"));
}

void columns_put_count_sql(const struct columns *columns, struct buf *sql)
{
    buf_put_str(sql, STR("SELECT count(*) FILTER (WHERE has), count(*) FILTER (WHERE NOT has) FROM "
                         "(SELECT a.private_key IS NOT NULL"));
    if (columns->keypairs)
        buf_printf(sql, " OR EXISTS (SELECT FROM keypairs %s)", usable_keypair);
    buf_put_str(sql, STR(" AS has FROM accounts a WHERE a.domain IS NULL) found"));
}

bool columns_row(const PGresult *result, int i, struct account_row *row)
{
    *row = (struct account_row){
        .username = field(result, i, LOAD_USERNAME),
        .local = flag(result, i, LOAD_LOCAL),
        .pem = field(result, i, LOAD_PEM),
        .suspended = flag(result, i, LOAD_SUSPENDED),
        .has_keypair = flag(result, i, LOAD_HAS_KEYPAIR),
        .local_fragment = field(result, i, LOAD_LOCAL_FRAGMENT),
        .uri = field(result, i, LOAD_URI),
        .sealed = field(result, i, LOAD_SEALED),
    };
    return str_to_i64(field(result, i, LOAD_ID), INT64_MIN, INT64_MAX, &row->id) &&
           str_to_i64(field(result, i, LOAD_ID_SCHEME), INT32_MIN, INT32_MAX, &row->id_scheme);
}
