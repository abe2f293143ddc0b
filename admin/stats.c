#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "admin/commands.h"
#include "admin/session.h"
#include "admin/words.h"
#include "base/escape.h"

/* Columns of both queries, in order. */
enum column {
    NAME = 0,
    DELIVERED,
    RETRIED,
    REJECTED,
    EXHAUSTED,
    STREAK,
    MEAN_MS,
    STATUS,
    ERROR,
    SUCCESS_AGE,
    FAILING_AGE
};

static const char domain_sql[] =
    "SELECT host, delivered, retried, rejected, exhausted, consecutive_failures,"
    " total_ms / greatest(delivered + retried + rejected + exhausted, 1), last_status, last_error,"
    " extract(epoch FROM now() - last_success_at)::bigint, extract(epoch FROM now() - "
    "failing_since)::bigint"
    " FROM fedpush.domain_health ORDER BY delivered + retried + rejected + exhausted DESC, host "
    "LIMIT 100000";
static const char inbox_sql[] =
    "SELECT inbox_url, delivered, retried, rejected, exhausted, consecutive_failures,"
    " total_ms / greatest(delivered + retried + rejected + exhausted, 1), last_status, last_error,"
    " extract(epoch FROM now() - last_success_at)::bigint, extract(epoch FROM now() - "
    "failing_since)::bigint"
    " FROM fedpush.inbox_health WHERE host = lower($1) ORDER BY delivered + retried + rejected + "
    "exhausted DESC, inbox_url"
    " LIMIT 100000";

static const char *value(PGresult *result, int row, enum column column)
{
    return PQgetisnull(result, row, (int)column) ? NULL : PQgetvalue(result, row, (int)column);
}

static json_t *number(PGresult *result, int row, enum column column)
{
    const char *text = value(result, row, column);
    return text != NULL ? json_integer(strtoll(text, NULL, 10)) : json_null();
}

static void print_json(void *arg, PGresult *result)
{
    json_t *list = json_array();

    (void)arg;
    for (int row = 0; row < PQntuples(result); row++) {
        const char *error = value(result, row, ERROR);
        json_array_append_new(
            list, json_pack("{s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:s?, s:o, s:o}",
                            PQfname(result, NAME), PQgetvalue(result, row, NAME), "delivered",
                            number(result, row, DELIVERED), "retried", number(result, row, RETRIED),
                            "rejected", number(result, row, REJECTED), "exhausted",
                            number(result, row, EXHAUSTED), "consecutive_failures",
                            number(result, row, STREAK), "mean_ms", number(result, row, MEAN_MS),
                            "last_status", number(result, row, STATUS), "last_error", error,
                            "last_success_age_s", number(result, row, SUCCESS_AGE), "failing_for_s",
                            number(result, row, FAILING_AGE)));
    }
    json_dumpf(list, stdout, JSON_INDENT(1));
    putchar('\n');
    json_decref(list);
}

static void put_ages(struct buf *line, PGresult *result, int row)
{
    const char *success = value(result, row, SUCCESS_AGE);
    const char *failing = value(result, row, FAILING_AGE);
    struct buf text;

    buf_init(&text, 64);
    if (success != NULL)
        words_put_age(&text, strtod(success, NULL));
    buf_printf(line, " %8s", text.len > 0 ? buf_cstr(&text) : "never");
    buf_reset(&text);
    if (failing != NULL)
        words_put_age(&text, strtod(failing, NULL));
    buf_printf(line, " %8s", text.len > 0 ? buf_cstr(&text) : "-");
    buf_clear(&text);
}

static void print_row(PGresult *result, int row)
{
    struct buf line;
    struct buf name;
    const char *status = value(result, row, STATUS);
    const char *error = value(result, row, ERROR);
    bool failing = strcmp(PQgetvalue(result, row, STREAK), "0") != 0;

    buf_init(&line, 1024);
    buf_init(&name, 256);
    escape_put(&name, str_of(PQgetvalue(result, row, NAME)), ESCAPE_TERMINAL, 34);
    buf_printf(&line, "%-34s %9s %8s %8s %7s %6s %4s", buf_cstr(&name),
               PQgetvalue(result, row, DELIVERED), PQgetvalue(result, row, RETRIED),
               PQgetvalue(result, row, REJECTED), PQgetvalue(result, row, EXHAUSTED),
               PQgetvalue(result, row, MEAN_MS), status != NULL ? status : "-");
    put_ages(&line, result, row);
    if (failing && error != NULL) {
        buf_put_str(&line, STR("  "));
        escape_put(&line, str_of(error), ESCAPE_TERMINAL, 60);
    }
    puts(buf_cstr(&line));
    buf_clear(&name);
    buf_clear(&line);
}

static void print_table(void *arg, PGresult *result)
{
    (void)arg;
    printf("%-34s %9s %8s %8s %7s %6s %4s %8s %8s  %s\n",
           strcmp(PQfname(result, NAME), "host") == 0 ? "HOST" : "INBOX", "DELIVERED", "RETRIED",
           "REJECTED", "GAVE UP", "MS", "LAST", "SUCCESS", "FAILING", "ERROR");
    for (int row = 0; row < PQntuples(result); row++)
        print_row(result, row);
}

static int show(struct session *session, const char *host, bool as_json)
{
    struct err err;
    struct postgres *postgres = session_postgres(session, POSTGRES_ROLE_FEDPUSH, &err);
    const struct str parameters[] = {str_of(host)};

    if (postgres == NULL)
        return session_fail(&err, FP_EXIT_UNAVAILABLE);
    if (!session_query(session, postgres, host != NULL ? inbox_sql : domain_sql,
                       host != NULL ? 1 : 0, parameters, as_json ? print_json : print_table, NULL,
                       &err)) {
        struct err hint;
        err_set(&hint, err.code, "stats: %.400s (has `fedpush setup` been run?)", err.message);
        return session_fail(&hint, FP_EXIT_FAILURE);
    }
    return FP_EXIT_OK;
}

int command_stats(const struct config *config, int argc, char **argv)
{
    const char *host = NULL;
    struct session session;
    struct err err;

    for (int i = 0; i < argc; i++) {
        if (strcmp(argv[i], "--json") == 0)
            continue;
        if (argv[i][0] == '-' || host != NULL)
            return words_unknown("stats", argv[i]);
        host = argv[i];
    }
    int code = session_open(&session, config, &err)
                   ? show(&session, host, words_has(argc, argv, "--json"))
                   : session_fail(&err, FP_EXIT_CONFIG);
    session_close(&session);
    return code;
}
