#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "admin/commands.h"
#include "admin/session.h"
#include "admin/stats_rows.h"
#include "admin/words.h"

/* Columns of all queries, in order. */
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
    FAILING_AGE,
    SENT_BYTES,
    LATENCY
};

#define AGES                                                                                       \
    " extract(epoch FROM now() - last_success_at)::bigint,"                                        \
    " extract(epoch FROM now() - failing_since)::bigint"
#define TOTALS                                                                                     \
    " delivered, retried, rejected, exhausted, consecutive_failures,"                              \
    " total_ms / greatest(delivered + retried + rejected + exhausted, 1), last_status, "           \
    "last_error," AGES ", NULL, NULL"
static const char domain_sql[] =
    "SELECT host," TOTALS " FROM fedpush.domain_health ORDER BY delivered + retried + rejected + "
    "exhausted DESC, host LIMIT 100000";
static const char inbox_sql[] =
    "SELECT inbox_url," TOTALS " FROM fedpush.inbox_health WHERE host = lower($1) ORDER BY "
    "delivered + retried + rejected + exhausted DESC, inbox_url LIMIT 100000";

/* The hours of a span: the present one, and those before it, as the API counts them. %s: the sum of
 * each bucket. */
static const char span_sql[] =
    "SELECT s.host, s.delivered, s.retried, s.rejected, s.exhausted,"
    " coalesce(h.consecutive_failures, 0), NULL, h.last_status, h.last_error," AGES
    ", s.sent_bytes, s.latency"
    " FROM (SELECT host, sum(delivered)::bigint AS delivered, sum(retried)::bigint AS retried,"
    " sum(rejected)::bigint AS rejected, sum(exhausted)::bigint AS exhausted,"
    " sum(sent_bytes)::bigint AS sent_bytes, '{' || concat_ws(','%s) || '}' AS latency"
    " FROM fedpush.domain_hourly WHERE hour > to_timestamp(floor(extract(epoch FROM now()) / 3600)"
    " * 3600) - $1::integer * interval '1 hour' GROUP BY host) s"
    " LEFT JOIN fedpush.domain_health h USING (host)"
    " ORDER BY s.delivered + s.retried + s.rejected + s.exhausted DESC, s.host LIMIT 100000";

struct options {
    const char *host;  /* NULL: of all */
    const char *hours; /* of the span; NULL: since setup */
    enum stats_sort sort;
    int64_t limit;
    bool csv, json;
};

static int64_t number(PGresult *result, int row, enum column column)
{
    return PQgetisnull(result, row, (int)column)
               ? -1
               : strtoll(PQgetvalue(result, row, (int)column), NULL, 10);
}

static void take_row(struct stats_row *to, PGresult *result, int row)
{
    struct latency latency = {{0}};

    to->name = str_dup(str_of(PQgetvalue(result, row, NAME)));
    to->delivered = number(result, row, DELIVERED);
    to->retried = number(result, row, RETRIED);
    to->rejected = number(result, row, REJECTED);
    to->exhausted = number(result, row, EXHAUSTED);
    to->consecutive_failures = number(result, row, STREAK);
    to->mean_ms = number(result, row, MEAN_MS);
    to->last_status = number(result, row, STATUS);
    if (!PQgetisnull(result, row, ERROR))
        to->last_error = str_dup(str_of(PQgetvalue(result, row, ERROR)));
    to->success_age_s = number(result, row, SUCCESS_AGE);
    to->failing_for_s = number(result, row, FAILING_AGE);
    to->sent_bytes = number(result, row, SENT_BYTES);
    /* What isn't one has no percentiles. */
    (void)!latency_add_array(&latency, str_of(PQgetvalue(result, row, LATENCY)));
    to->p50_ms = latency_percentile_ms(&latency, 0.50);
    to->p95_ms = latency_percentile_ms(&latency, 0.95);
    to->p99_ms = latency_percentile_ms(&latency, 0.99);
}

static void on_rows(void *arg, PGresult *result)
{
    struct stats_rows *rows = arg;
    struct stats_row *to;

    for (int row = 0; row < PQntuples(result) && (to = stats_rows_add(rows)) != NULL; row++)
        take_row(to, result, row);
}

static char *span_statement(void)
{
    struct buf sums;

    buf_init(&sums, 4096);
    for (int bucket = 1; bucket <= LATENCY_BUCKETS; bucket++)
        buf_printf(&sums, ", coalesce(sum(latency[%d]), 0)", bucket);
    size_t before = (size_t)(strstr(span_sql, "%s") - span_sql);
    char *statement =
        mem_printf("%.*s%s%s", (int)before, span_sql, buf_cstr(&sums), span_sql + before + 2);
    buf_clear(&sums);
    return statement;
}

static bool read_rows(struct session *session, const struct options *options,
                      struct stats_rows *rows, struct err *err)
{
    struct postgres *postgres = session_postgres(session, POSTGRES_ROLE_FEDPUSH, err);
    const char *parameter = options->host != NULL ? options->host : options->hours;
    const struct str parameters[] = {str_of(parameter)};
    char *spans = span_statement();
    const char *sql = options->host != NULL    ? inbox_sql
                      : options->hours != NULL ? spans
                                               : domain_sql;
    bool good = postgres != NULL && session_query(session, postgres, sql, parameter != NULL ? 1 : 0,
                                                  parameters, on_rows, rows, err);

    free(spans);
    return good;
}

static void print_rows(const struct stats_rows *rows, const struct options *options)
{
    size_t most = (size_t)options->limit;
    struct buf text;

    buf_init(&text, (size_t)1 << 30);
    if (options->json) {
        json_t *list = stats_rows_json(rows, most);
        words_print_json(list);
        json_decref(list);
    } else if (options->csv) {
        stats_rows_put_csv(&text, rows, most);
        words_made(buf_str(&text));
    } else {
        stats_rows_put_table(&text, rows, most);
        words_text(stdout, buf_str(&text));
    }
    buf_clear(&text);
}

static int show(struct session *session, const struct options *options)
{
    struct stats_rows rows = {.inboxes = options->host != NULL, .spans = options->hours != NULL};
    struct err err;
    int code = FP_EXIT_OK;

    if (read_rows(session, options, &rows, &err)) {
        stats_rows_sort(&rows, options->sort);
        print_rows(&rows, options);
    } else if (session->postgres[POSTGRES_ROLE_FEDPUSH] == NULL) {
        code = session_fail(&err, FP_EXIT_UNAVAILABLE);
    } else {
        struct err hint;
        err_set(&hint, err.code, "stats: %.400s (has `fedpush setup` been run?)", err.message);
        code = session_fail(&hint, FP_EXIT_FAILURE);
    }
    stats_rows_clear(&rows);
    return code;
}

static bool parse_span(const char *text, const char **hours)
{
    static const char *const spans[][2] = {
        {"24h", "24"}, {"7d", "168"}, {"30d", "720"}, {"total", NULL}};

    for (size_t i = 0; i < sizeof(spans) / sizeof(spans[0]); i++) {
        if (strcmp(text, spans[i][0]) == 0) {
            *hours = spans[i][1];
            return true;
        }
    }
    return false;
}

/* How many words it took; 0: not understood. */
static int take_word(struct options *options, int argc, char **argv)
{
    const char *value = argc > 1 ? argv[1] : "";

    if (strcmp(argv[0], "--json") == 0) {
        options->json = true;
        return 1;
    }
    if (strcmp(argv[0], "--csv") == 0) {
        options->csv = true;
        return 1;
    }
    if (strcmp(argv[0], "--span") == 0)
        return parse_span(value, &options->hours) ? 2 : 0;
    if (strcmp(argv[0], "--sort") == 0)
        return stats_sort_parse(str_of(value), &options->sort) ? 2 : 0;
    if (strcmp(argv[0], "--limit") == 0)
        return str_to_i64(str_of(value), 1, STATS_MAX_ROWS, &options->limit) ? 2 : 0;
    if (argv[0][0] == '-' || options->host != NULL)
        return 0;
    options->host = argv[0];
    return 1;
}

int command_stats(const struct config *config, int argc, char **argv)
{
    struct options options = {.limit = STATS_MAX_ROWS};
    struct session session;
    struct err err;

    for (int i = 0; i < argc;) {
        int taken = take_word(&options, argc - i, argv + i);
        if (taken == 0)
            return words_unknown("stats", argv[i]);
        i += taken;
    }
    if (options.host != NULL && options.hours != NULL)
        return words_unknown("stats", "--span of one host's inboxes");
    if (options.csv && options.json)
        return words_unknown("stats", "--csv with --json");
    int code = session_open(&session, config, &err) ? show(&session, &options)
                                                    : session_fail(&err, FP_EXIT_CONFIG);
    session_close(&session);
    return code;
}
