#include "sched/schema.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DEADLINE_MS = 20000 };

/*
 * Each migration is one string of statements, which PostgreSQL runs as one transaction; the
 * advisory lock makes two machines that set up at the same time wait for each other. Everything is
 * IF NOT EXISTS: running it again changes nothing.
 */
static const char version_1[] =
    "BEGIN;"
    "SELECT pg_advisory_xact_lock(8316293741);"
    /* IF NOT EXISTS would want CREATE on the database even from the schema's owner. */
    "DO $$ BEGIN IF to_regnamespace('fedpush') IS NULL THEN CREATE SCHEMA fedpush; END IF; END $$;"
    "CREATE TABLE IF NOT EXISTS fedpush.schema_version ("
    " version integer PRIMARY KEY, applied_at timestamptz NOT NULL DEFAULT now());"
    "CREATE TABLE IF NOT EXISTS fedpush.inbox_health ("
    " inbox_url text PRIMARY KEY, host text NOT NULL,"
    " delivered bigint NOT NULL DEFAULT 0, retried bigint NOT NULL DEFAULT 0,"
    " rejected bigint NOT NULL DEFAULT 0, exhausted bigint NOT NULL DEFAULT 0,"
    " consecutive_failures integer NOT NULL DEFAULT 0, total_ms bigint NOT NULL DEFAULT 0,"
    " sent_bytes bigint NOT NULL DEFAULT 0, last_status integer, last_error text,"
    " last_transport_failure boolean NOT NULL DEFAULT false,"
    " last_attempt_at timestamptz, last_success_at timestamptz, last_failure_at timestamptz,"
    " failing_since timestamptz, updated_at timestamptz NOT NULL DEFAULT now());"
    "CREATE INDEX IF NOT EXISTS inbox_health_host ON fedpush.inbox_health (host);"
    "CREATE TABLE IF NOT EXISTS fedpush.domain_health ("
    " host text PRIMARY KEY,"
    " delivered bigint NOT NULL DEFAULT 0, retried bigint NOT NULL DEFAULT 0,"
    " rejected bigint NOT NULL DEFAULT 0, exhausted bigint NOT NULL DEFAULT 0,"
    " consecutive_failures integer NOT NULL DEFAULT 0, total_ms bigint NOT NULL DEFAULT 0,"
    " sent_bytes bigint NOT NULL DEFAULT 0, last_status integer, last_error text,"
    " last_transport_failure boolean NOT NULL DEFAULT false,"
    " last_attempt_at timestamptz, last_success_at timestamptz, last_failure_at timestamptz,"
    " failing_since timestamptz, updated_at timestamptz NOT NULL DEFAULT now());"
    "INSERT INTO fedpush.schema_version (version) VALUES (1) ON CONFLICT DO NOTHING;"
    "COMMIT;";

/* Orders about domains, and who gave them. */
static const char version_2[] =
    "BEGIN;"
    "SELECT pg_advisory_xact_lock(8316293741);"
    "CREATE TABLE IF NOT EXISTS fedpush.domain_policy ("
    " domain text PRIMARY KEY, version bigint NOT NULL, policy text NOT NULL,"
    " updated_at timestamptz NOT NULL DEFAULT now());"
    "CREATE TABLE IF NOT EXISTS fedpush.audit ("
    " id text PRIMARY KEY, at timestamptz NOT NULL, who text NOT NULL, action text NOT NULL,"
    " domain text NOT NULL, detail text NOT NULL);"
    "CREATE INDEX IF NOT EXISTS audit_at ON fedpush.audit (at);"
    "INSERT INTO fedpush.schema_version (version) VALUES (2) ON CONFLICT DO NOTHING;"
    "COMMIT;";

/*
 * History: what became of attempts by host and hour, by machine and minute or hour, and the latest
 * errors. Rows are counted up again and again: room in their pages keeps their indexes as they are.
 */
#define COUNTS                                                                                     \
    " delivered bigint NOT NULL DEFAULT 0, retried bigint NOT NULL DEFAULT 0,"                     \
    " rejected bigint NOT NULL DEFAULT 0, exhausted bigint NOT NULL DEFAULT 0,"                    \
    " sent_bytes bigint NOT NULL DEFAULT 0,"                                                       \
    " latency bigint[] NOT NULL DEFAULT array_fill(0::bigint, ARRAY[24]),"
#define FLEET                                                                                      \
    " machine text NOT NULL, handed_off bigint NOT NULL DEFAULT 0," COUNTS                         \
    " queue_length bigint, oldest_age_ms bigint, in_flight bigint, open_circuits bigint,"
static const char version_3[] =
    "BEGIN;"
    "SELECT pg_advisory_xact_lock(8316293741);"
    "CREATE TABLE IF NOT EXISTS fedpush.domain_hourly ("
    " host text NOT NULL, hour timestamptz NOT NULL, hours smallint NOT NULL DEFAULT 1," COUNTS
    " PRIMARY KEY (host, hour)) WITH (fillfactor = 70);"
    "CREATE INDEX IF NOT EXISTS domain_hourly_hour ON fedpush.domain_hourly (hour);"
    "CREATE INDEX IF NOT EXISTS domain_hourly_hours ON fedpush.domain_hourly (hour) WHERE hours = "
    "1;"
    "CREATE TABLE IF NOT EXISTS fedpush.fleet_minutely ("
    " minute timestamptz NOT NULL," FLEET " PRIMARY KEY (minute, machine)) WITH (fillfactor = 70);"
    "CREATE TABLE IF NOT EXISTS fedpush.fleet_hourly ("
    " hour timestamptz NOT NULL," FLEET " PRIMARY KEY (hour, machine)) WITH (fillfactor = 70);"
    "CREATE TABLE IF NOT EXISTS fedpush.domain_error ("
    " host text NOT NULL, error text NOT NULL, status integer, count bigint NOT NULL DEFAULT 0,"
    " first_at timestamptz NOT NULL, last_at timestamptz NOT NULL,"
    " PRIMARY KEY (host, error)) WITH (fillfactor = 70);"
    "CREATE INDEX IF NOT EXISTS domain_error_last_at ON fedpush.domain_error (last_at);"
    "INSERT INTO fedpush.schema_version (version) VALUES (3) ON CONFLICT DO NOTHING;"
    "COMMIT;";
#undef COUNTS
#undef FLEET

static const char *const migrations[SCHEMA_VERSION] = {version_1, version_2, version_3};

/* SURVEYING --> READING --version--> MIGRATING (while one is missing) --> done; a check goes from
 * READING to RIGHTS instead. */
struct schema_run {
    struct postgres *postgres;
    bool only_check;
    bool has_schema;
    int version;
    char *user; /* as SQL spells them */
    char *database;
    schema_fn *fn;
    void *arg;
};

static void end(struct schema_run *run, enum fp_err code, const char *message)
{
    run->fn(run->arg, code, message, run->version);
    free(run->user);
    free(run->database);
    free(run);
}

static void migrate(struct schema_run *run);

/* What a run needs; as the owner of the schema, or superuser. */
static void end_denied(struct schema_run *run)
{
    char text[512];

    snprintf(text, sizeof(text),
             "rights on schema fedpush are missing: as its owner run GRANT USAGE ON SCHEMA fedpush "
             "TO %s; GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA fedpush TO %s",
             run->user, run->user);
    end(run, FP_DENIED, text);
}

static bool failed(struct schema_run *run, enum postgres_status status, PGresult *result,
                   const char *message)
{
    char text[512];

    if (status == POSTGRES_OK)
        return false;
    if (status == POSTGRES_LOST) {
        end(run, FP_UNAVAILABLE, message);
        return true;
    }
    const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    if (state == NULL || strcmp(state, "42501") != 0 || run->user == NULL) {
        end(run, FP_SYSTEM, message);
        return true;
    }
    if (run->has_schema)
        snprintf(text, sizeof(text),
                 "%s: set up as the owner of schema fedpush, or as its owner run GRANT USAGE, "
                 "CREATE ON SCHEMA fedpush TO %s",
                 message, run->user);
    else
        snprintf(text, sizeof(text),
                 "%s: as the database's owner run GRANT CREATE ON DATABASE %s TO %s", message,
                 run->database, run->user);
    end(run, FP_DENIED, text);
    return true;
}

static void on_migrated(void *arg, enum postgres_status status, PGresult *result,
                        const char *message)
{
    struct schema_run *run = arg;

    if (failed(run, status, result, message))
        return;
    run->version++;
    migrate(run);
}

static void migrate(struct schema_run *run)
{
    if (run->version >= SCHEMA_VERSION) {
        end(run, FP_OK, "");
        return;
    }
    postgres_query(run->postgres, on_migrated, run, DEADLINE_MS, migrations[run->version], 0, NULL);
}

static void on_rights(void *arg, enum postgres_status status, PGresult *result, const char *message)
{
    struct schema_run *run = arg;

    if (failed(run, status, result, message))
        return;
    if (PQntuples(result) == 1 && PQgetvalue(result, 0, 0)[0] == 't')
        end(run, FP_OK, "");
    else
        end_denied(run);
}

/* Of these old rows are removed, too. */
#define HISTORY "'domain_hourly', 'fleet_minutely', 'fleet_hourly', 'domain_error', 'audit'"
static void check_rights(struct schema_run *run)
{
    postgres_query(
        run->postgres, on_rights, run, DEADLINE_MS,
        "SELECT has_schema_privilege('fedpush', 'USAGE') AND bool_and("
        "has_table_privilege(c.oid, 'SELECT') AND has_table_privilege(c.oid, 'INSERT') AND "
        "has_table_privilege(c.oid, 'UPDATE') AND (has_table_privilege(c.oid, 'DELETE') OR "
        "c.relname NOT IN (" HISTORY "))) FROM pg_class c JOIN pg_namespace n ON n.oid = "
        "c.relnamespace WHERE n.nspname = 'fedpush' AND c.relname IN ('inbox_health', "
        "'domain_health', 'domain_policy', " HISTORY ")",
        0, NULL);
}

/* `result` is NULL when there is no table to read. */
static void on_version(void *arg, enum postgres_status status, PGresult *result,
                       const char *message)
{
    struct schema_run *run = arg;

    if (failed(run, status, result, message))
        return;
    if (result != NULL && PQntuples(result) == 1 && !PQgetisnull(result, 0, 0))
        run->version = atoi(PQgetvalue(result, 0, 0));
    if (run->version > SCHEMA_VERSION)
        end(run, FP_INVALID,
            "schema fedpush was made by a newer fedpush: use that, or drop the schema");
    else if (!run->only_check)
        migrate(run);
    else if (run->version < SCHEMA_VERSION)
        end(run, FP_UNAVAILABLE, "schema fedpush is missing or old: run `fedpush setup`");
    else
        check_rights(run);
}

/* PQgetvalue gives "" for NULL: a right on what isn't there. */
static bool is_true(const PGresult *result, int field)
{
    return PQgetvalue(result, 0, field)[0] == 't';
}

static void on_surveyed(void *arg, enum postgres_status status, PGresult *result,
                        const char *message)
{
    struct schema_run *run = arg;

    if (failed(run, status, result, message))
        return;
    run->has_schema = is_true(result, 0);
    run->user = str_dup(str_of(PQgetvalue(result, 0, 3)));
    run->database = str_dup(str_of(PQgetvalue(result, 0, 4)));
    if (!is_true(result, 1))
        on_version(run, POSTGRES_OK, NULL, "");
    else if (!is_true(result, 2))
        end_denied(run);
    else
        postgres_query(run->postgres, on_version, run, DEADLINE_MS,
                       "SELECT max(version) FROM fedpush.schema_version", 0, NULL);
}

static void start(struct postgres *postgres, bool only_check, schema_fn *fn, void *arg)
{
    struct schema_run *run = mem_alloc(sizeof(*run));

    *run =
        (struct schema_run){.postgres = postgres, .only_check = only_check, .fn = fn, .arg = arg};
    /* pg_class, because information_schema hides what one has no right on. */
    postgres_query(postgres, on_surveyed, run, DEADLINE_MS,
                   "SELECT n.oid IS NOT NULL, c.oid IS NOT NULL,"
                   " has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'SELECT'),"
                   " quote_ident(current_user), quote_ident(current_database())"
                   " FROM (SELECT 1) AS one LEFT JOIN pg_namespace n ON n.nspname = 'fedpush'"
                   " LEFT JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = "
                   "'schema_version'",
                   0, NULL);
}

void schema_setup(struct postgres *postgres, schema_fn *fn, void *arg)
{
    start(postgres, false, fn, arg);
}

void schema_check(struct postgres *postgres, schema_fn *fn, void *arg)
{
    start(postgres, true, fn, arg);
}
