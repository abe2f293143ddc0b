#include "sched/schema.h"

#include <stdio.h>
#include <stdlib.h>

enum { DEADLINE_MS = 20000 };

/*
 * Each migration is one string of statements, which PostgreSQL runs as one transaction; the
 * advisory lock makes two machines that set up at the same time wait for each other. Everything is
 * IF NOT EXISTS: running it again changes nothing.
 */
static const char version_1[] =
    "BEGIN;"
    "SELECT pg_advisory_xact_lock(8316293741);"
    "CREATE SCHEMA IF NOT EXISTS fedpush;"
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

static const char *const migrations[SCHEMA_VERSION] = {version_1};

/* READING --version--> MIGRATING (while one is missing) --> done; a check goes from READING to
 * RIGHTS instead. */
struct schema_run {
    struct postgres *postgres;
    bool only_check;
    int version;
    schema_fn *fn;
    void *arg;
};

static void end(struct schema_run *run, enum fp_err code, const char *message)
{
    run->fn(run->arg, code, message, run->version);
    free(run);
}

static void migrate(struct schema_run *run);

static bool failed(struct schema_run *run, enum postgres_status status, PGresult *result,
                   const char *message)
{
    char text[512];
    const char *state =
        status == POSTGRES_ERROR ? PQresultErrorField(result, PG_DIAG_SQLSTATE) : NULL;

    if (status == POSTGRES_OK)
        return false;
    if (status == POSTGRES_LOST) {
        end(run, FP_UNAVAILABLE, message);
        return true;
    }
    if (state != NULL && str_equal(str_of(state), STR("42501"))) {
        snprintf(
            text, sizeof(text),
            "%s: as the database's owner run GRANT CREATE ON DATABASE <name> TO <fedpush's user>",
            message);
        end(run, FP_DENIED, text);
        return true;
    }
    end(run, FP_SYSTEM, message);
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
        end(run, FP_DENIED,
            "run GRANT USAGE ON SCHEMA fedpush TO <user>; GRANT SELECT, INSERT, UPDATE ON ALL "
            "TABLES IN SCHEMA fedpush TO <user>");
}

static void check_rights(struct schema_run *run)
{
    postgres_query(
        run->postgres, on_rights, run, DEADLINE_MS,
        "SELECT has_schema_privilege('fedpush', 'USAGE') AND bool_and("
        "has_table_privilege(c.oid, 'SELECT') AND has_table_privilege(c.oid, 'INSERT') AND "
        "has_table_privilege(c.oid, 'UPDATE')) FROM pg_class c JOIN pg_namespace n ON n.oid = "
        "c.relnamespace "
        "WHERE n.nspname = 'fedpush' AND c.relname IN ('inbox_health', 'domain_health')",
        0, NULL);
}

static void on_version(void *arg, enum postgres_status status, PGresult *result,
                       const char *message)
{
    struct schema_run *run = arg;

    if (failed(run, status, result, message))
        return;
    if (PQntuples(result) == 1 && !PQgetisnull(result, 0, 0))
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

static void on_exists(void *arg, enum postgres_status status, PGresult *result, const char *message)
{
    struct schema_run *run = arg;

    if (failed(run, status, result, message))
        return;
    if (PQgetvalue(result, 0, 0)[0] != 't')
        on_version(run, POSTGRES_OK, result, ""); /* "f": not a number above 0 */
    else
        postgres_query(run->postgres, on_version, run, DEADLINE_MS,
                       "SELECT max(version) FROM fedpush.schema_version", 0, NULL);
}

static void start(struct postgres *postgres, bool only_check, schema_fn *fn, void *arg)
{
    struct schema_run *run = mem_alloc(sizeof(*run));

    *run =
        (struct schema_run){.postgres = postgres, .only_check = only_check, .fn = fn, .arg = arg};
    postgres_query(
        postgres, on_exists, run, DEADLINE_MS,
        "SELECT EXISTS (SELECT 1 FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
        "WHERE n.nspname = 'fedpush' AND c.relname = 'schema_version')",
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
