#include "admin/signer_check.h"

#include <stdlib.h>

#include "sig/columns.h"

struct findings {
    struct columns columns;
    bool usable;
    struct buf remedy;
};

static void on_columns(void *arg, PGresult *result)
{
    struct findings *findings = arg;

    columns_read(&findings->columns, result);
    findings->usable = columns_usable(&findings->columns, result, &findings->remedy);
}

struct count {
    int64_t with_key;
    int64_t without;
};

static void on_keys(void *arg, PGresult *result)
{
    struct count *count = arg;
    if (PQntuples(result) == 1) {
        count->with_key = strtoll(PQgetvalue(result, 0, 0), NULL, 10);
        count->without = strtoll(PQgetvalue(result, 0, 1), NULL, 10);
    }
}

static void check_keys(struct report *report, struct session *session, struct postgres *postgres,
                       const struct columns *columns)
{
    struct count count = {0, 0};
    struct buf sql;
    struct err err;

    buf_init(&sql, COLUMNS_MAX_SQL_BYTES);
    columns_put_count_sql(columns, &sql);
    if (!session_query(session, postgres, buf_cstr(&sql), 0, NULL, on_keys, &count, &err))
        report_line(report, GRADE_FAIL, "keys", "%s", err.message);
    else if (count.with_key == 0)
        report_line(report, GRADE_FAIL, "keys",
                    "no local account has a private key: this is not a database that can be "
                    "served");
    else if (count.without > 0)
        report_line(report, GRADE_WARN, "keys",
                    "%lld local accounts have a key, %lld have none: their deliveries will fail",
                    (long long)count.with_key, (long long)count.without);
    else
        report_line(report, GRADE_OK, "keys", "%lld local accounts have one",
                    (long long)count.with_key);
    buf_clear(&sql);
}

static void check_encryption(struct report *report, const struct config *config)
{
    if (config_encryption_is_set(config))
        report_line(report, GRADE_OK, "encryption",
                    "keypairs can be opened: both settings for it are there");
    else
        report_line(report, GRADE_FAIL, "encryption",
                    "the keys in keypairs are encrypted: set ACTIVE_RECORD_ENCRYPTION_PRIMARY_KEY "
                    "and ACTIVE_RECORD_ENCRYPTION_KEY_DERIVATION_SALT as Mastodon has them");
}

static void report_findings(struct report *report, struct session *session,
                            struct postgres *postgres, struct findings *findings)
{
    const char *remedy = buf_cstr(&findings->remedy);

    if (!findings->usable) {
        bool grant = str_starts_with(str_of(remedy), STR("GRANT"));
        report_line(report, GRADE_FAIL, "signer", "%s%s", grant ? "rights are missing: run " : "",
                    remedy);
        return;
    }
    report_line(report, GRADE_OK, "signer", "answers, and its rights suffice");
    if (findings->columns.keypairs)
        check_encryption(report, session->config);
    check_keys(report, session, postgres, &findings->columns);
}

void signer_check(struct report *report, struct session *session)
{
    struct findings findings = {.usable = false};
    struct err err;
    struct postgres *postgres = session_postgres(session, POSTGRES_ROLE_KEYS, &err);
    struct buf sql;

    if (postgres == NULL) {
        report_line(report, GRADE_FAIL, "signer", "%s", err.message);
        return;
    }
    buf_init(&sql, COLUMNS_MAX_SQL_BYTES);
    buf_init(&findings.remedy, COLUMNS_MAX_REMEDY_BYTES);
    columns_put_detect_sql(&sql);
    if (session_query(session, postgres, buf_cstr(&sql), 0, NULL, on_columns, &findings, &err))
        report_findings(report, session, postgres, &findings);
    else
        report_line(report, GRADE_FAIL, "signer", "%s", err.message);
    buf_clear(&findings.remedy);
    buf_clear(&sql);
}
