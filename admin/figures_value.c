#include "admin/figures_value.h"

#include <stdlib.h>

#include "base/escape.h"
#include "base/redis.h"

json_t *figures_text(struct str text)
{
    struct buf clean;

    buf_init(&clean, 4 * FIGURES_TEXT_COLUMNS);
    escape_put(&clean, text, ESCAPE_JSON, FIGURES_TEXT_COLUMNS);
    json_t *value = json_stringn(clean.len > 0 ? clean.ptr : "", clean.len);
    buf_clear(&clean);
    return value;
}

json_t *figures_text_or_null(const char *text)
{
    return text != NULL ? figures_text(str_of(text)) : json_null();
}

json_t *figures_time(double seconds)
{
    return seconds > 0 ? json_real(seconds) : json_null();
}

json_t *figures_count_or_null(int64_t number)
{
    return number >= 0 ? json_integer(number) : json_null();
}

json_t *figures_share(int64_t part, int64_t whole)
{
    return whole > 0 ? json_real((double)part / (double)whole) : json_null();
}

json_t *figures_paused_for(const struct policy *policy)
{
    json_t *list = json_array();
    struct str domain;
    size_t at = 0;

    while (policy_next_of(policy, &at, &domain))
        json_array_append_new(list, figures_text(domain));
    return list;
}

void figures_set_percentiles(json_t *object, const struct latency *latency)
{
    static const struct {
        const char *name;
        double share;
    } wanted[] = {{"p50_ms", 0.5}, {"p95_ms", 0.95}, {"p99_ms", 0.99}};

    for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++) {
        double ms = latency_percentile_ms(latency, wanted[i].share);
        json_object_set_new(object, wanted[i].name, ms >= 0 ? json_real(ms) : json_null());
    }
}

const char *figures_text_of(const json_t *object, const char *member)
{
    const char *text = json_string_value(json_object_get(object, member));
    return text != NULL ? text : "";
}

bool figures_number_of(const json_t *object, const char *member, double *out)
{
    const json_t *value = json_object_get(object, member);

    if (!json_is_number(value))
        return false;
    *out = json_number_value(value);
    return true;
}

json_t *figures_pg_text(const PGresult *result, int row, int column)
{
    if (PQgetisnull(result, row, column))
        return json_null();
    return figures_text(str_of(PQgetvalue(result, row, column)));
}

json_t *figures_pg_integer(const PGresult *result, int row, int column)
{
    if (PQgetisnull(result, row, column))
        return json_null();
    return json_integer(figures_pg_number(result, row, column));
}

json_t *figures_pg_real(const PGresult *result, int row, int column)
{
    if (PQgetisnull(result, row, column))
        return json_null();
    return json_real(figures_pg_seconds(result, row, column));
}

int64_t figures_pg_number(const PGresult *result, int row, int column)
{
    return strtoll(PQgetvalue(result, row, column), NULL, 10);
}

double figures_pg_seconds(const PGresult *result, int row, int column)
{
    return strtod(PQgetvalue(result, row, column), NULL);
}

struct str figures_reply_text(const redisReply *reply)
{
    return redis_reply_text(reply);
}
