/* History in steps of equal length, for the fleet or one host. */
#include <stdlib.h>

#include "admin/figures.h"
#include "admin/figures_value.h"

enum { MAX_STEPS = 200 };

static const struct span {
    const char *name;
    int64_t span_s;
    int64_t fleet_step_s;
    int64_t host_step_s; /* hosts are counted by the hour */
    bool minutely;       /* the fleet's table */
} spans[] = {
    {"1h", 3600, 60, 3600, true},
    {"24h", 86400, 900, 3600, true},
    {"7d", 7 * 86400, 3600, 3600, false},
    {"30d", 30 * 86400, 86400, 86400, false}, /* older hours are rolled up to days */
};

struct step {
    int64_t delivered, retried, rejected, exhausted, sent_bytes;
    struct latency latency;
    int64_t queue_length, oldest_age_ms, in_flight, open_circuits; /* the most; -1: unknown */
};

struct series {
    int64_t now_s; /* PostgreSQL's */
    int64_t from_s;
    int64_t step_s;
    size_t count;
    struct step steps[MAX_STEPS];
};

/* `$1`: the step in seconds; `$2`: from when; the fleet's gauges at one time are the most of what
 * any machine has seen, but for what each has of its own, which is added up. */
#define COUNTS "delivered, retried, rejected, exhausted, sent_bytes, latency"
#define FLEET_SQL(table, time)                                                                     \
    "SELECT floor(extract(epoch FROM " time ") / $1)::bigint, " COUNTS                             \
    ", queue_length, oldest_age_ms, CASE WHEN row_number() OVER (PARTITION BY " time ") = 1 THEN"  \
    " sum(in_flight) OVER (PARTITION BY " time ") END, open_circuits"                              \
    " FROM fedpush." table " WHERE " time " >= to_timestamp($2)"
static const char minutely_sql[] = FLEET_SQL("fleet_minutely", "minute");
static const char hourly_sql[] = FLEET_SQL("fleet_hourly", "hour");
static const char host_sql[] =
    "SELECT floor(extract(epoch FROM hour) / $1)::bigint, " COUNTS ", NULL, NULL, NULL, NULL"
    " FROM fedpush.domain_hourly WHERE hour >= to_timestamp($2) AND host = $3";

static int64_t number(const PGresult *row, int column)
{
    return strtoll(PQgetvalue(row, 0, column), NULL, 10);
}

static void raise(int64_t *most, const PGresult *row, int column)
{
    if (!PQgetisnull(row, 0, column) && number(row, column) > *most)
        *most = number(row, column);
}

static void on_step(void *arg, const PGresult *row)
{
    struct series *series = arg;
    int64_t index = number(row, 0) - series->from_s / series->step_s;

    if (index < 0 || index >= (int64_t)series->count)
        return;
    struct step *step = &series->steps[index];
    step->delivered += number(row, 1);
    step->retried += number(row, 2);
    step->rejected += number(row, 3);
    step->exhausted += number(row, 4);
    step->sent_bytes += number(row, 5);
    (void)!latency_add_array(&step->latency, str_of(PQgetvalue(row, 0, 6)));
    raise(&step->queue_length, row, 7);
    raise(&step->oldest_age_ms, row, 8);
    raise(&step->in_flight, row, 9);
    raise(&step->open_circuits, row, 10);
}

static void on_now(void *arg, PGresult *result)
{
    struct series *series = arg;
    if (PQntuples(result) == 1)
        series->now_s = figures_pg_number(result, 0, 0);
}

static bool read_steps(struct series *series, struct session *session, struct postgres *postgres,
                       const struct span *span, struct str host, struct err *err)
{
    const char *sql = host.len > 0 ? host_sql : span->minutely ? minutely_sql : hourly_sql;
    char *step = mem_printf("%lld", (long long)series->step_s);
    char *from = mem_printf("%lld", (long long)series->from_s);
    const struct str parameters[] = {str_of(step), str_of(from), host};
    bool good = session_stream(session, postgres, sql, host.len > 0 ? 3 : 2, parameters, on_step,
                               series, err);

    free(step);
    free(from);
    return good;
}

static json_t *list_of(const struct series *series, size_t offset)
{
    json_t *list = json_array();

    for (size_t i = 0; i < series->count; i++)
        json_array_append_new(
            list, json_integer(*(const int64_t *)((const char *)&series->steps[i] + offset)));
    return list;
}

static json_t *gauge_of(const struct series *series, size_t offset, double unit)
{
    json_t *list = json_array();

    for (size_t i = 0; i < series->count; i++) {
        int64_t most = *(const int64_t *)((const char *)&series->steps[i] + offset);
        json_array_append_new(list, most < 0    ? json_null()
                                    : unit == 1 ? json_integer(most)
                                                : json_real((double)most / unit));
    }
    return list;
}

static json_t *percentiles_of(const struct series *series, double share)
{
    json_t *list = json_array();

    for (size_t i = 0; i < series->count; i++) {
        double ms = latency_percentile_ms(&series->steps[i].latency, share);
        json_array_append_new(list, ms >= 0 ? json_real(ms) : json_null());
    }
    return list;
}

static json_t *series_of(const struct series *series, const struct span *span, struct str host)
{
    json_t *root = json_pack("{s:s, s:I, s:I, s:o}", "span", span->name, "step_s",
                             (json_int_t)series->step_s, "from", (json_int_t)series->from_s, "host",
                             host.len > 0 ? figures_text(host) : json_null());

#define LIST(name) json_object_set_new(root, #name, list_of(series, offsetof(struct step, name)))
    LIST(delivered);
    LIST(retried);
    LIST(rejected);
    LIST(exhausted);
    LIST(sent_bytes);
#undef LIST
    json_object_set_new(root, "p50_ms", percentiles_of(series, 0.5));
    json_object_set_new(root, "p95_ms", percentiles_of(series, 0.95));
    json_object_set_new(root, "p99_ms", percentiles_of(series, 0.99));
    json_object_set_new(root, "queue_length",
                        gauge_of(series, offsetof(struct step, queue_length), 1));
    json_object_set_new(root, "oldest_age_s",
                        gauge_of(series, offsetof(struct step, oldest_age_ms), 1000));
    json_object_set_new(root, "in_flight", gauge_of(series, offsetof(struct step, in_flight), 1));
    json_object_set_new(root, "open_circuits",
                        gauge_of(series, offsetof(struct step, open_circuits), 1));
    return root;
}

static const struct span *span_of(struct str name)
{
    for (size_t i = 0; i < sizeof(spans) / sizeof(spans[0]); i++) {
        if (str_equal(name, str_of(spans[i].name)))
            return &spans[i];
    }
    return NULL;
}

/* The last step is the present one, which still grows. */
static void lay_out(struct series *series, const struct span *span, bool host)
{
    series->step_s = host ? span->host_step_s : span->fleet_step_s;
    series->count = (size_t)(span->span_s / series->step_s);
    if (series->count < 2)
        series->count = 2; /* the hour before, too: an hour has just begun */
    series->from_s = (series->now_s / series->step_s - (int64_t)series->count + 1) * series->step_s;
    for (size_t i = 0; i < series->count; i++)
        series->steps[i].queue_length = series->steps[i].oldest_age_ms =
            series->steps[i].in_flight = series->steps[i].open_circuits = -1;
}

json_t *figures_series(struct desk *desk, struct str span_name, struct str host, struct err *err)
{
    const struct span *span = span_of(span_name);
    struct series *series;
    struct postgres *postgres;
    json_t *root = NULL;

    if (span == NULL) {
        err_say(err, FP_INVALID, PHRASE_ASK_SPAN, SAYS_NOTHING);
        return NULL;
    }
    postgres = desk_postgres(desk, POSTGRES_ROLE_FEDPUSH, err);
    if (postgres == NULL)
        return NULL;
    series = mem_alloc(sizeof(*series));
    if (session_query(&desk->session, postgres, "SELECT extract(epoch FROM now())::bigint", 0, NULL,
                      on_now, series, err)) {
        lay_out(series, span, host.len > 0);
        if (read_steps(series, &desk->session, postgres, span, host, err))
            root = series_of(series, span, host);
    }
    free(series);
    return root;
}
