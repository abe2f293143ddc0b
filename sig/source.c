#include "sig/source.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/loop.h"

enum { MAX_SQL_BYTES = 2048, MAX_IDS_BYTES = 4096, MAX_REASON_BYTES = 512 };

enum column {
    COLUMN_ID = 0,
    COLUMN_USERNAME,
    COLUMN_DOMAIN,
    COLUMN_PRIVATE_KEY,
    COLUMN_SUSPENDED_AT,
    COLUMN_ID_SCHEME,             /* from Mastodon 4.5 */
    COLUMN_REQUESTED_DELETION_AT, /* from Mastodon 4.7 */
    COLUMN_COUNT,
    COLUMNS_REQUIRED = COLUMN_ID_SCHEME,
};

static const char *const column_names[COLUMN_COUNT] = {
    "id", "username", "domain", "private_key", "suspended_at", "id_scheme", "requested_deletion_at",
};

enum source_state {
    SOURCE_UNKNOWN = 0,
    SOURCE_DETECTING,
    SOURCE_READY,
    SOURCE_LOADING,
    SOURCE_DENIED,
};

struct schema {
    bool exists[COLUMN_COUNT];
    bool readable[COLUMN_COUNT];
    bool keypairs; /* keypairs.local_fragment: local keys may stand there (4.7) */
};

struct source {
    const struct clock *clock;
    struct postgres *postgres;
    struct keyring *keyring;
    struct loop_timer *refusal; /* answers a batch that can't be read, from the loop */
    enum source_state state;
    struct schema schema;
    int64_t detected_ms;
    int64_t logged_ms;
    bool logged;
    bool tried_again;              /* this batch's statement was refused once already */
    struct buf ids;                /* the batch as an array literal; empty: none */
    char reason[MAX_REASON_BYTES]; /* why it is denied */
};

/* to_regclass follows the search path, as Rails does; information_schema would hide columns without
 * a GRANT. */
static const char detect_sql[] =
    "SELECT attrelid = to_regclass('accounts'), attname, "
    "has_column_privilege(attrelid, attnum, 'SELECT'), attrelid::regclass, "
    "quote_ident(current_user) "
    "FROM pg_catalog.pg_attribute WHERE attnum > 0 AND NOT attisdropped AND "
    "((attrelid = to_regclass('accounts') AND attname IN ('id', 'username', 'domain', "
    "'private_key', 'suspended_at', 'id_scheme', 'requested_deletion_at')) OR "
    "(attrelid = to_regclass('keypairs') AND attname = 'local_fragment'))";

static void put_load_sql(const struct source *source, struct buf *sql)
{
    const struct schema *schema = &source->schema;

    buf_put_str(sql, STR("SELECT id, username, domain IS NULL, private_key, suspended_at IS NOT "
                         "NULL"));
    if (schema->exists[COLUMN_REQUESTED_DELETION_AT])
        buf_put_str(sql, STR(" OR requested_deletion_at IS NOT NULL"));
    buf_put_str(sql,
                schema->exists[COLUMN_ID_SCHEME] ? STR(", coalesce(id_scheme, 0)") : STR(", 0"));
    buf_put_str(sql, STR(" FROM accounts WHERE id = ANY($1::bigint[])"));
}

static void step(struct source *source);

static void refuse_batch(struct source *source, const char *reason)
{
    source->tried_again = false;
    if (source->ids.len == 0)
        return;
    /* Emptied first: the keyring may hand over the next batch at once. */
    buf_reset(&source->ids);
    keyring_failed(source->keyring, reason);
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

static void read_schema(struct schema *schema, const PGresult *result)
{
    *schema = (struct schema){0};
    for (int row = 0; row < PQntuples(result); row++) {
        if (!flag(result, row, 0)) {
            schema->keypairs = true;
            continue;
        }
        for (int column = 0; column < COLUMN_COUNT; column++) {
            if (str_equal(field(result, row, 1), str_of(column_names[column]))) {
                schema->exists[column] = true;
                schema->readable[column] = flag(result, row, 2);
            }
        }
    }
}

static void put_grant(const struct schema *schema, const PGresult *result, struct buf *out)
{
    const char *separator = "";
    struct str table = STR("accounts");
    struct str user = STR_NULL;

    for (int row = 0; row < PQntuples(result); row++) {
        if (flag(result, row, 0)) {
            table = field(result, row, 3);
            user = field(result, row, 4);
        }
    }
    buf_put_str(out, STR("GRANT SELECT ("));
    for (int column = 0; column < COLUMN_COUNT; column++) {
        if (!schema->exists[column])
            continue;
        buf_printf(out, "%s%s", separator, column_names[column]);
        separator = ", ";
    }
    buf_printf(out, ") ON %.*s TO %.*s;", STR_ARG(table), STR_ARG(user));
}

/* True: all that is needed is there and may be read. Else `remedy` says what to do. */
static bool is_usable(const struct schema *schema, const PGresult *result, struct buf *remedy)
{
    for (int column = 0; column < COLUMNS_REQUIRED; column++) {
        if (schema->exists[column])
            continue;
        buf_printf(remedy,
                   "no column accounts.%s in sight: use Mastodon's database, and GRANT USAGE ON "
                   "its SCHEMA (public) to this role",
                   column_names[column]);
        return false;
    }
    for (int column = 0; column < COLUMN_COUNT; column++) {
        if (schema->exists[column] && !schema->readable[column]) {
            put_grant(schema, result, remedy);
            return false;
        }
    }
    return true;
}

static void log_denied(struct source *source, struct buf *remedy)
{
    int64_t now_ms = clock_mono_ms(source->clock);

    if (source->logged && now_ms - source->logged_ms < SOURCE_LOG_MS)
        return;
    source->logged = true;
    source->logged_ms = now_ms;
    log_event(LOG_LEVEL_ERROR, "private keys cannot be read: deliveries wait",
              LOG_TEXT("remedy", buf_cstr(remedy)));
}

static void take_schema(struct source *source, const PGresult *result)
{
    struct buf remedy;

    buf_init(&remedy, MAX_REASON_BYTES - 1);
    read_schema(&source->schema, result);
    source->detected_ms = clock_mono_ms(source->clock);
    if (is_usable(&source->schema, result, &remedy)) {
        if (source->logged)
            log_plain(LOG_LEVEL_INFO, "private keys can be read again");
        source->logged = false;
        source->state = SOURCE_READY;
    } else {
        log_denied(source, &remedy);
        memcpy(source->reason, buf_cstr(&remedy), remedy.len + 1);
        source->state = SOURCE_DENIED;
    }
    buf_clear(&remedy);
}

static void on_schema(void *arg, enum postgres_status status, PGresult *result, const char *message)
{
    struct source *source = arg;

    if (status == POSTGRES_OK) {
        take_schema(source, result);
    } else {
        source->state = SOURCE_UNKNOWN;
        refuse_batch(source, message);
    }
    step(source);
}

static void take_rows(struct source *source, const PGresult *result)
{
    for (int i = 0; i < PQntuples(result); i++) {
        struct keyring_row row = {
            .username = field(result, i, 1),
            .local = flag(result, i, 2),
            .pem = field(result, i, 3),
            .suspended = flag(result, i, 4),
            .has_keypairs = source->schema.keypairs,
        };
        if (str_to_i64(field(result, i, 0), INT64_MIN, INT64_MAX, &row.id) &&
            str_to_i64(field(result, i, 5), INT32_MIN, INT32_MAX, &row.id_scheme))
            keyring_row(source->keyring, &row);
    }
    source->tried_again = false;
    buf_reset(&source->ids);
    keyring_done(source->keyring);
}

static void on_rows(void *arg, enum postgres_status status, PGresult *result, const char *message)
{
    struct source *source = arg;

    switch (status) {
    case POSTGRES_OK:
        source->state = SOURCE_READY;
        take_rows(source, result);
        break;
    case POSTGRES_ERROR:
        /* A migration or a REVOKE since the catalogue was read: look again, but once. */
        source->state = SOURCE_UNKNOWN;
        if (source->tried_again)
            refuse_batch(source, message);
        else
            source->tried_again = true;
        break;
    case POSTGRES_LOST:
        source->state = SOURCE_READY;
        refuse_batch(source, message);
        break;
    }
    step(source);
}

static void detect(struct source *source)
{
    source->state = SOURCE_DETECTING;
    postgres_query(source->postgres, on_schema, source, KEYRING_WAIT_MS, detect_sql, 0, NULL);
}

static void load(struct source *source)
{
    struct buf sql;
    struct str ids = buf_str(&source->ids);

    source->state = SOURCE_LOADING;
    buf_init(&sql, MAX_SQL_BYTES);
    put_load_sql(source, &sql);
    postgres_query(source->postgres, on_rows, source, KEYRING_WAIT_MS, buf_cstr(&sql), 1, &ids);
    buf_clear(&sql);
}

static void step(struct source *source)
{
    int64_t age_ms = clock_mono_ms(source->clock) - source->detected_ms;

    if (source->ids.len == 0)
        return;
    switch (source->state) {
    case SOURCE_UNKNOWN:
        detect(source);
        break;
    case SOURCE_READY:
        if (age_ms >= SOURCE_DETECT_MS)
            detect(source);
        else
            load(source);
        break;
    case SOURCE_DENIED:
        if (age_ms >= SOURCE_DENIED_MS)
            detect(source);
        else
            loop_timer_set(source->refusal, 0);
        break;
    case SOURCE_DETECTING:
    case SOURCE_LOADING:
        break; /* its answer steps on */
    }
}

static void on_refusal(void *arg)
{
    struct source *source = arg;

    refuse_batch(source, source->reason);
}

static void on_load(void *arg, const int64_t *ids, size_t count)
{
    struct source *source = arg;
    char text[24];

    assert(source->ids.len == 0);
    for (size_t i = 0; i < count; i++) {
        snprintf(text, sizeof(text), "%" PRId64, ids[i]);
        postgres_array_add(&source->ids, str_of(text));
    }
    postgres_array_end(&source->ids);
    step(source);
}

struct source *source_create(struct event_base *base, const struct clock *clock,
                             struct postgres *postgres, struct keyring *keyring)
{
    struct source *source = mem_alloc(sizeof(*source));

    source->clock = clock;
    source->postgres = postgres;
    source->keyring = keyring;
    source->refusal = loop_timer_create(base, on_refusal, source);
    buf_init(&source->ids, MAX_IDS_BYTES);
    keyring_set_loader(keyring, on_load, source);
    detect(source); /* so that a missing right is told at start, not at the first delivery */
    return source;
}

void source_destroy(struct source *source)
{
    if (source == NULL)
        return;
    keyring_set_loader(source->keyring, NULL, NULL);
    loop_timer_destroy(source->refusal);
    buf_clear(&source->ids);
    free(source);
}
