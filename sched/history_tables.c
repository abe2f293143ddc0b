/* The history's rows, and the statements that write them. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sched/history_inside.h"
#include "sched/history_sql.h"

struct history_row *history_row_create(int64_t from_s, struct str name)
{
    struct history_row *row = mem_alloc(sizeof(*row) + sizeof(from_s) + name.len + 1);

    history_sums_clear(&row->sums);
    row->from_s = from_s;
    row->key_bytes = sizeof(from_s) + name.len;
    memcpy(row->key, &from_s, sizeof(from_s));
    memcpy(row->key + sizeof(from_s), name.ptr, name.len);
    return row;
}

struct str history_row_key(const struct history_row *row)
{
    return (struct str){row->key, row->key_bytes};
}

static const char *name_of(const struct history_row *row)
{
    return row->key + sizeof(row->from_s);
}

void history_sums_clear(struct history_sums *sums)
{
    *sums = (struct history_sums){0};
    for (int i = 0; i < HISTORY_GAUGES; i++)
        sums->gauges[i] = -1;
}

void history_sums_add(struct history_sums *sums, const struct history_sums *more)
{
    for (int i = 0; i < HEALTH_RESULTS; i++)
        sums->results[i] += more->results[i];
    sums->sent_bytes += more->sent_bytes;
    sums->handed_off += more->handed_off;
    for (int i = 0; i < HISTORY_GAUGES; i++) {
        if (more->gauges[i] > sums->gauges[i])
            sums->gauges[i] = more->gauges[i];
    }
    for (int i = 0; i < COUNTS_BUCKETS; i++)
        sums->latency[i] += more->latency[i];
}

void history_error_free(struct history_error *error)
{
    free(error->host);
    free(error->error);
    free(error);
}

/* --- rows as batches have them --- */

static int by_key(const void *a, const void *b)
{
    const struct history_row *left = *(struct history_row *const *)a;
    const struct history_row *right = *(struct history_row *const *)b;
    int order = strcmp(name_of(left), name_of(right));

    return order != 0 ? order : (left->from_s > right->from_s) - (left->from_s < right->from_s);
}

static int by_error(const void *a, const void *b)
{
    const struct history_error *left = *(struct history_error *const *)a;
    const struct history_error *right = *(struct history_error *const *)b;
    int order = strcmp(left->host, right->host);

    return order != 0 ? order : strcmp(left->error, right->error);
}

static const char *name_of_row(const void *row)
{
    return name_of(row);
}

static const char *name_of_error(const void *error)
{
    return ((const struct history_error *)error)->host;
}

static void free_error(void *error)
{
    history_error_free(error);
}

enum { SUMS_COLUMNS = 8, FLEET_COLUMNS = SUMS_COLUMNS + 1 + HISTORY_GAUGES, ERROR_COLUMNS = 6 };

/* An array within an array of texts: quoted, and nothing in it needs an escape. */
static void put_latency(struct buf *array, const uint32_t latency[COUNTS_BUCKETS])
{
    char text[COUNTS_BUCKETS * 11 + 4] = "\"";
    size_t length = 1;

    for (int i = 0; i < COUNTS_BUCKETS; i++) {
        text[length++] = i == 0 ? '{' : ',';
        if (latency[i] == 0) /* as most are */
            text[length++] = '0';
        else
            length +=
                (size_t)snprintf(text + length, sizeof(text) - length, "%" PRIu32, latency[i]);
    }
    memcpy(text + length, "}\"", sizeof("}\""));
    batch_put_plain(array, text);
}

static void put_sums(struct buf *arrays, const void *row)
{
    const struct history_row *r = row;

    postgres_array_add(&arrays[0], str_of(name_of(r)));
    batch_put_number(&arrays[1], (uint64_t)r->from_s);
    for (int i = 0; i < HEALTH_RESULTS; i++)
        batch_put_number(&arrays[2 + i], r->sums.results[i]);
    batch_put_number(&arrays[6], r->sums.sent_bytes);
    put_latency(&arrays[7], r->sums.latency);
}

static void put_fleet(struct buf *arrays, const void *row)
{
    const struct history_row *r = row;

    put_sums(arrays, row);
    batch_put_number(&arrays[SUMS_COLUMNS], r->sums.handed_off);
    for (int i = 0; i < HISTORY_GAUGES; i++) {
        if (r->sums.gauges[i] < 0)
            batch_put_plain(&arrays[SUMS_COLUMNS + 1 + i], "NULL");
        else
            batch_put_number(&arrays[SUMS_COLUMNS + 1 + i], (uint64_t)r->sums.gauges[i]);
    }
}

static void put_error(struct buf *arrays, const void *row)
{
    const struct history_error *e = row;
    char status[8];

    postgres_array_add(&arrays[0], str_of(e->host));
    postgres_array_add(&arrays[1], str_of(e->error));
    snprintf(status, sizeof(status), "%u", e->status);
    batch_put_plain(&arrays[2], e->status > 0 ? status : "NULL");
    batch_put_number(&arrays[3], e->count);
    batch_put_time(&arrays[4], e->first_us);
    batch_put_time(&arrays[5], e->last_us);
}

/* --- statements --- */

static const char write_hosts[] =
    "INSERT INTO fedpush.domain_hourly AS t"
    " (host, hour, delivered, retried, rejected, exhausted, sent_bytes, latency)"
    " SELECT n, to_timestamp(w), d, r, j, x, b, l::bigint[]"
    " FROM unnest($1::text[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[],"
    " $6::bigint[], $7::bigint[], $8::text[]) AS u(n, w, d, r, j, x, b, l)"
    " ON CONFLICT (host, hour) DO UPDATE SET " HISTORY_ADD_SUMS;
#define WRITE_FLEET(table, time)                                                                   \
    "INSERT INTO fedpush." table " AS t"                                                           \
    " (machine, " time ", delivered, retried, rejected, exhausted, sent_bytes, latency,"           \
    " handed_off, queue_length, oldest_age_ms, in_flight, open_circuits)"                          \
    " SELECT n, to_timestamp(w), d, r, j, x, b, l::bigint[], ho, q, a, f, o"                       \
    " FROM unnest($1::text[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[],"             \
    " $6::bigint[], $7::bigint[], $8::text[], $9::bigint[], $10::bigint[], $11::bigint[],"         \
    " $12::bigint[], $13::bigint[]) AS u(n, w, d, r, j, x, b, l, ho, q, a, f, o)"                  \
    " ON CONFLICT (" time ", machine) DO UPDATE SET " HISTORY_ADD_SUMS                             \
    ", handed_off = t.handed_off + excluded.handed_off,"                                           \
    " queue_length = GREATEST(t.queue_length, excluded.queue_length),"                             \
    " oldest_age_ms = GREATEST(t.oldest_age_ms, excluded.oldest_age_ms),"                          \
    " in_flight = GREATEST(t.in_flight, excluded.in_flight),"                                      \
    " open_circuits = GREATEST(t.open_circuits, excluded.open_circuits)"
static const char write_minutes[] = WRITE_FLEET("fleet_minutely", "minute");
static const char write_hours[] = WRITE_FLEET("fleet_hourly", "hour");
/* What is new takes the place of what is oldest, past HISTORY_ERRORS of a host (20). Nobody waits
 * for a row that another machine is just counting up. */
static const char write_errors[] =
    "WITH u AS (SELECT * FROM unnest($1::text[], $2::text[], $3::integer[], $4::bigint[],"
    " $5::float8[], $6::float8[]) AS u(host, error, status, count, first_s, last_s)),"
    " written AS (INSERT INTO fedpush.domain_error AS t"
    " (host, error, status, count, first_at, last_at)"
    " SELECT host, error, status, count, to_timestamp(first_s), to_timestamp(last_s) FROM u"
    " ON CONFLICT (host, error) DO UPDATE SET status = excluded.status,"
    " count = t.count + excluded.count, last_at = GREATEST(t.last_at, excluded.last_at)),"
    " others AS (SELECT e.host, e.error, row_number() OVER (PARTITION BY e.host ORDER BY"
    " e.last_at DESC) AS place FROM fedpush.domain_error e WHERE e.host IN (SELECT host FROM u)"
    " AND NOT EXISTS (SELECT FROM u WHERE u.host = e.host AND u.error = e.error)),"
    " old AS (SELECT e.ctid FROM fedpush.domain_error e JOIN others o ON o.host = e.host AND"
    " o.error = e.error WHERE o.place > 20 - (SELECT count(*) FROM u WHERE u.host = e.host)"
    " FOR UPDATE OF e SKIP LOCKED)"
    " DELETE FROM fedpush.domain_error WHERE ctid IN (SELECT ctid FROM old)";
_Static_assert(HISTORY_ERRORS == 20, "the statement has that number");

const struct batch_table history_tables[HISTORY_TABLES] = {
    [HISTORY_OF_HOST] = {"domain_hourly", write_hosts, SUMS_COLUMNS, by_key, put_sums, name_of_row,
                         free},
    [HISTORY_OF_MINUTE] = {"fleet_minutely", write_minutes, FLEET_COLUMNS, by_key, put_fleet,
                           name_of_row, free},
    [HISTORY_OF_HOUR] = {"fleet_hourly", write_hours, FLEET_COLUMNS, by_key, put_fleet, name_of_row,
                         free},
    [HISTORY_OF_ERROR] = {"domain_error", write_errors, ERROR_COLUMNS, by_error, put_error,
                          name_of_error, free_error},
};
