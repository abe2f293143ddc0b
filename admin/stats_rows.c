#include "admin/stats_rows.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "admin/words.h"
#include "base/escape.h"

enum { HOST_COLUMNS = 34, INBOX_COLUMNS = 100, ERROR_COLUMNS = 60, MAX_COLUMNS = 4096 };

bool stats_sort_parse(struct str name, enum stats_sort *sort)
{
    static const char *const names[STATS_SORTS] = {"attempts", "host", "delivered", "failed",
                                                   "success",  "time", "failing"};

    for (int i = 0; i < STATS_SORTS; i++) {
        if (str_equal(name, str_of(names[i]))) {
            *sort = (enum stats_sort)i;
            return true;
        }
    }
    return false;
}

void stats_rows_clear(struct stats_rows *rows)
{
    for (size_t i = 0; i < rows->count; i++) {
        free(rows->list[i].name);
        free(rows->list[i].last_error);
    }
    free(rows->list);
    rows->list = NULL;
    rows->count = rows->capacity = 0;
}

struct stats_row *stats_rows_add(struct stats_rows *rows)
{
    if (rows->count == STATS_MAX_ROWS)
        return NULL;
    if (rows->count == rows->capacity) {
        rows->capacity = rows->capacity * 2 + 64;
        rows->list = mem_realloc(rows->list, rows->capacity * sizeof(struct stats_row));
    }
    rows->list[rows->count] = (struct stats_row){.name = NULL};
    return &rows->list[rows->count++];
}

/* --- order --- */

static int64_t failed(const struct stats_row *row)
{
    return row->retried + row->rejected + row->exhausted;
}

static double success(const struct stats_row *row)
{
    int64_t all = row->delivered + failed(row);
    return all > 0 ? (double)row->delivered / (double)all : -1;
}

static double weight(const struct stats_row *row, enum stats_sort sort)
{
    switch (sort) {
    case STATS_ATTEMPTS:
        return (double)(row->delivered + failed(row));
    case STATS_DELIVERED:
        return (double)row->delivered;
    case STATS_FAILED:
        return (double)failed(row);
    case STATS_SUCCESS:
        return success(row) < 0 ? -2 : -success(row);
    case STATS_TIME:
        return row->p95_ms >= 0 ? row->p95_ms : (double)row->mean_ms;
    case STATS_FAILING:
        return (double)row->failing_for_s;
    case STATS_HOST:
    case STATS_SORTS:
        break;
    }
    return 0;
}

struct ranked {
    double weight;
    struct stats_row row;
};

static int heaviest_first(const void *a, const void *b)
{
    const struct ranked *one = a;
    const struct ranked *other = b;

    if (one->weight > other->weight)
        return -1;
    if (one->weight < other->weight)
        return 1;
    return strcmp(one->row.name, other->row.name);
}

void stats_rows_sort(struct stats_rows *rows, enum stats_sort sort)
{
    struct ranked *ranked = mem_alloc((rows->count + 1) * sizeof(*ranked));

    for (size_t i = 0; i < rows->count; i++)
        ranked[i] = (struct ranked){weight(&rows->list[i], sort), rows->list[i]};
    qsort(ranked, rows->count, sizeof(*ranked), heaviest_first);
    for (size_t i = 0; i < rows->count; i++)
        rows->list[i] = ranked[i].row;
    free(ranked);
}

/* --- for people --- */

static void put_number(struct buf *out, double value, int columns)
{
    if (value >= 0)
        buf_printf(out, " %*.0f", columns, value);
    else
        buf_printf(out, " %*s", columns, "-");
}

static void put_age(struct buf *out, int64_t age_s, const char *none)
{
    struct buf text;

    buf_init(&text, 64);
    if (age_s >= 0)
        words_put_age(&text, (double)age_s);
    buf_printf(out, " %8s", text.len > 0 ? buf_cstr(&text) : none);
    buf_clear(&text);
}

/* Inboxes of one host differ in how they end, so the longest one shown says how wide they are. */
static size_t name_columns(const struct stats_rows *rows, size_t most)
{
    size_t columns = HOST_COLUMNS;

    for (size_t i = 0; rows->inboxes && i < rows->count && i < most; i++) {
        size_t length = strlen(rows->list[i].name);
        if (length > columns)
            columns = length < INBOX_COLUMNS ? length : INBOX_COLUMNS;
    }
    return columns;
}

static void put_title(struct buf *out, const struct stats_rows *rows, size_t columns)
{
    words_put_cell(out, rows->inboxes ? STR("INBOX") : STR("HOST"), columns);
    buf_printf(out, " %9s %8s %8s %7s", "DELIVERED", "RETRIED", "REJECTED", "GAVE UP");
    if (rows->spans)
        buf_printf(out, " %7s %6s %6s %6s", "SUCCESS", "P50 MS", "P95 MS", "P99 MS");
    else
        buf_printf(out, " %6s", "MS");
    buf_printf(out, " %6s %8s %8s  %s\n", "STATUS", "LAST OK", "FAILING", "ERROR");
}

static void put_row(struct buf *out, const struct stats_rows *rows, const struct stats_row *row,
                    size_t columns)
{
    words_put_cell(out, str_of(row->name), columns);
    buf_printf(out, " %9" PRId64 " %8" PRId64 " %8" PRId64 " %7" PRId64, row->delivered,
               row->retried, row->rejected, row->exhausted);
    if (rows->spans && success(row) >= 0)
        buf_printf(out, " %6.1f%%", success(row) * 100);
    else if (rows->spans)
        buf_printf(out, " %7s", "-");
    if (rows->spans) {
        put_number(out, row->p50_ms, 6);
        put_number(out, row->p95_ms, 6);
        put_number(out, row->p99_ms, 6);
    } else {
        put_number(out, (double)row->mean_ms, 6);
    }
    put_number(out, (double)row->last_status, 6);
    put_age(out, row->success_age_s, "never");
    put_age(out, row->failing_for_s, "-");
    if (row->consecutive_failures > 0 && row->last_error != NULL) {
        buf_put_str(out, STR("  "));
        escape_put(out, str_of(row->last_error), ESCAPE_TERMINAL, ERROR_COLUMNS);
    }
    buf_put_char(out, '\n');
}

void stats_rows_put_table(struct buf *out, const struct stats_rows *rows, size_t most)
{
    const size_t columns = name_columns(rows, most);

    if (rows->count == 0) {
        buf_put_str(out, STR("no delivery is known\n"));
        return;
    }
    put_title(out, rows, columns);
    for (size_t i = 0; i < rows->count && i < most; i++)
        put_row(out, rows, &rows->list[i], columns);
    if (rows->count > most)
        buf_printf(out, "(%zu more)\n", rows->count - most);
}

/* --- for a spreadsheet and for programs --- */

static void put_field(struct buf *out, double value)
{
    buf_put_char(out, ',');
    if (value >= 0)
        buf_printf(out, "%.0f", value);
}

void stats_rows_put_csv(struct buf *out, const struct stats_rows *rows, size_t most)
{
    buf_printf(out,
               "%s,delivered,retried,rejected,exhausted,success_rate,consecutive_failures,mean_ms,"
               "p50_ms,p95_ms,p99_ms,sent_bytes,last_status,last_success_age_s,failing_for_s,"
               "last_error\r\n",
               rows->inboxes ? "inbox_url" : "host");
    for (size_t i = 0; i < rows->count && i < most; i++) {
        const struct stats_row *row = &rows->list[i];
        const double before[] = {(double)row->delivered, (double)row->retried,
                                 (double)row->rejected, (double)row->exhausted};
        const double after[] = {(double)row->consecutive_failures,
                                (double)row->mean_ms,
                                row->p50_ms,
                                row->p95_ms,
                                row->p99_ms,
                                (double)row->sent_bytes,
                                (double)row->last_status,
                                (double)row->success_age_s,
                                (double)row->failing_for_s};
        escape_put(out, str_of(row->name), ESCAPE_CSV, MAX_COLUMNS);
        for (size_t j = 0; j < sizeof(before) / sizeof(before[0]); j++)
            put_field(out, before[j]);
        buf_put_char(out, ',');
        if (success(row) >= 0)
            buf_printf(out, "%.4f", success(row));
        for (size_t j = 0; j < sizeof(after) / sizeof(after[0]); j++)
            put_field(out, after[j]);
        buf_put_char(out, ',');
        escape_put(out, str_of(row->last_error), ESCAPE_CSV, MAX_COLUMNS);
        buf_put_str(out, STR("\r\n"));
    }
}

static json_t *integer(int64_t value)
{
    return value >= 0 ? json_integer(value) : json_null();
}

static json_t *real(double value)
{
    return value >= 0 ? json_real(value) : json_null();
}

static json_t *row_json(const struct stats_rows *rows, const struct stats_row *row)
{
    json_t *object = json_pack(
        "{s:o, s:I, s:I, s:I, s:I, s:o, s:I, s:o, s:o, s:o, s:o, s:o}",
        rows->inboxes ? "inbox_url" : "host", words_json(str_of(row->name)), "delivered",
        (json_int_t)row->delivered, "retried", (json_int_t)row->retried, "rejected",
        (json_int_t)row->rejected, "exhausted", (json_int_t)row->exhausted, "success_rate",
        real(success(row)), "consecutive_failures", (json_int_t)row->consecutive_failures,
        "mean_ms", integer(row->mean_ms), "last_status", integer(row->last_status), "last_error",
        row->last_error != NULL ? words_json(str_of(row->last_error)) : json_null(),
        "last_success_age_s", integer(row->success_age_s), "failing_for_s",
        integer(row->failing_for_s));

    if (rows->spans) {
        json_object_set_new(object, "p50_ms", real(row->p50_ms));
        json_object_set_new(object, "p95_ms", real(row->p95_ms));
        json_object_set_new(object, "p99_ms", real(row->p99_ms));
        json_object_set_new(object, "sent_bytes", integer(row->sent_bytes));
    }
    return object;
}

json_t *stats_rows_json(const struct stats_rows *rows, size_t most)
{
    json_t *list = json_array();

    for (size_t i = 0; i < rows->count && i < most; i++)
        json_array_append_new(list, row_json(rows, &rows->list[i]));
    return list;
}
