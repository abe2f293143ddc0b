#include "worker/deliver_sender.h"

#include "sig/columns.h"

struct sender {
    const char *username;
    struct account_maker maker;
    struct columns columns;
    struct account *account;
    enum fp_err code; /* of the latest result */
    struct err *err;
};

static void on_columns(void *arg, PGresult *result)
{
    struct sender *s = arg;
    struct buf remedy;

    buf_init(&remedy, COLUMNS_MAX_REMEDY_BYTES);
    columns_read(&s->columns, result);
    if (!columns_usable(&s->columns, result, &remedy))
        s->code =
            err_set(s->err, FP_DENIED, "deliver: the key cannot be read: %s", buf_cstr(&remedy));
    buf_clear(&remedy);
}

static void on_account(void *arg, PGresult *result)
{
    struct sender *s = arg;
    unsigned char fingerprint[ACCOUNT_FINGERPRINT_BYTES];
    struct account_row row;
    struct err problem = {0};

    if (PQntuples(result) != 1 || !columns_row(result, 0, &row)) {
        s->code = err_set(s->err, FP_INVALID, "deliver: no local account \"%.60s\"", s->username);
        return;
    }
    s->code = account_fingerprint(&s->maker, &row, fingerprint, &problem);
    if (s->code == FP_OK)
        s->account = account_create(&s->maker, &row, fingerprint, &problem);
    if (s->account == NULL)
        s->code = err_set(s->err, FP_INVALID, "deliver: %s", problem.message);
}

static bool query(struct sender *s, struct session *session, struct postgres *postgres)
{
    const struct str username = str_of(s->username);
    struct buf sql;

    buf_init(&sql, COLUMNS_MAX_SQL_BYTES);
    columns_put_detect_sql(&sql);
    bool good = session_query(session, postgres, buf_cstr(&sql), 0, NULL, on_columns, s, s->err) &&
                s->code == FP_OK;
    buf_reset(&sql);
    columns_put_select_sql(&s->columns, &sql);
    buf_put_str(&sql, STR(" WHERE lower(a.username) = lower($1) AND a.domain IS NULL"));
    good = good &&
           session_query(session, postgres, buf_cstr(&sql), 1, &username, on_account, s, s->err);
    buf_clear(&sql);
    return good && s->code == FP_OK;
}

struct account *deliver_sender_load(struct session *session, const struct heap *heap,
                                    const char *username, struct err *err)
{
    const struct config *config = session->config;
    struct postgres *postgres = session_postgres(session, POSTGRES_ROLE_KEYS, err);
    struct sender s = {.username = username, .err = err};

    if (postgres == NULL)
        return NULL;
    s.maker =
        (struct account_maker){.web_domain = str_of(config->web_domain), .copies = 1, .heap = heap};
    if (config_encryption_is_set(config))
        s.maker.encryption = encryption_create(str_of(config->encryption_primary_key),
                                               str_of(config->encryption_salt));
    bool good = query(&s, session, postgres);
    encryption_destroy(s.maker.encryption);
    return good ? s.account : NULL;
}
