#include "sched/batch.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"

enum {
    WRITE_DEADLINE_MS = 5000,
    COMPLAIN_MS = 60000,
    PARAMETER_BYTES = 4 * 1024 * 1024, /* rows of the longest URLs */
};

struct batch {
    struct postgres *postgres;
    const struct batch_table *table;
    batch_fn *fn;
    void *arg;
    size_t count;
    size_t begin, end; /* the part under way */
    void *rows[BATCH_MAX_ROWS];
};

struct batch *batch_create(struct postgres *postgres, const struct batch_table *table)
{
    struct batch *batch = mem_alloc(sizeof(*batch));

    batch->postgres = postgres;
    batch->table = table;
    return batch;
}

void batch_add(struct batch *batch, void *row)
{
    batch->rows[batch->count++] = row;
}

size_t batch_count(const struct batch *batch)
{
    return batch->count;
}

void *batch_next(struct batch *batch)
{
    return batch->begin < batch->count ? batch->rows[batch->begin++] : NULL;
}

void batch_destroy(struct batch *batch)
{
    void *row;

    if (batch == NULL)
        return;
    while ((row = batch_next(batch)) != NULL)
        batch->table->free(row);
    free(batch);
}

void batch_put_number(struct buf *array, uint64_t number)
{
    char text[24];
    snprintf(text, sizeof(text), "%" PRIu64, number);
    batch_put_plain(array, text);
}

void batch_put_plain(struct buf *array, const char *text)
{
    buf_put_str(array, array->len == 0 ? STR("{") : STR(","));
    buf_put_str(array, str_of(text));
}

void batch_put_time(struct buf *array, int64_t wall_us)
{
    char text[40];

    snprintf(text, sizeof(text), "%.6f", (double)wall_us / 1e6);
    batch_put_plain(array, wall_us > 0 ? text : "NULL");
}

static void on_written(void *arg, enum postgres_status status, PGresult *result,
                       const char *message);

static void write_part(struct batch *batch)
{
    struct buf arrays[BATCH_MAX_COLUMNS];
    struct str parameters[BATCH_MAX_COLUMNS];
    size_t columns = batch->table->columns;

    for (size_t i = 0; i < columns; i++)
        buf_init(&arrays[i], PARAMETER_BYTES);
    for (size_t i = batch->begin; i < batch->end; i++)
        batch->table->put(arrays, batch->rows[i]);
    for (size_t i = 0; i < columns; i++) {
        postgres_array_end(&arrays[i]);
        parameters[i] = buf_str(&arrays[i]);
    }
    postgres_query(batch->postgres, on_written, batch, WRITE_DEADLINE_MS, batch->table->sql,
                   columns, parameters);
    for (size_t i = 0; i < columns; i++)
        buf_clear(&arrays[i]);
}

/* 21: two names became one when they were cleaned; 54: a name too long for the index. */
static bool is_data_error(enum postgres_status status, const PGresult *result)
{
    const char *state =
        status == POSTGRES_ERROR ? PQresultErrorField(result, PG_DIAG_SQLSTATE) : NULL;
    return state != NULL && (strncmp(state, "21", 2) == 0 || strncmp(state, "22", 2) == 0 ||
                             strncmp(state, "23", 2) == 0 || strncmp(state, "54", 2) == 0);
}

static void drop_part(struct batch *batch)
{
    while (batch->begin < batch->end)
        batch->table->free(batch->rows[batch->begin++]);
    batch->end = batch->count;
}

static void on_written(void *arg, enum postgres_status status, PGresult *result,
                       const char *message)
{
    struct batch *batch = arg;

    if (status == POSTGRES_OK) {
        drop_part(batch);
    } else if (is_data_error(status, result) && batch->end - batch->begin > 1) {
        batch->end = batch->begin + (batch->end - batch->begin) / 2;
    } else if (is_data_error(status, result)) {
        log_event(LOG_LEVEL_WARN, "a row of statistics was refused and dropped",
                  LOG_TEXT("of", batch->table->name), LOG_TEXT("error", message),
                  LOG_TEXT("row", batch->table->key(batch->rows[batch->begin])));
        drop_part(batch);
    } else {
        batch->fn(batch->arg, batch, status, result, message);
        return;
    }
    if (batch->begin < batch->count)
        write_part(batch);
    else
        batch->fn(batch->arg, batch, POSTGRES_OK, NULL, "");
}

void batch_write(struct batch *batch, batch_fn *fn, void *arg)
{
    batch->fn = fn;
    batch->arg = arg;
    qsort(batch->rows, batch->count, sizeof(batch->rows[0]), batch->table->compare);
    batch->end = batch->count;
    write_part(batch);
}

void batch_complain(int64_t *complained_ms, const struct clock *clock, struct postgres *postgres,
                    const char *name, enum postgres_status status, const PGresult *result,
                    const char *message)
{
    int64_t now_ms = clock_mono_ms(clock);
    const char *state =
        status == POSTGRES_ERROR ? PQresultErrorField(result, PG_DIAG_SQLSTATE) : NULL;
    char remedy[400] = "run `fedpush setup`, then `fedpush check`";

    if (*complained_ms > 0 && now_ms - *complained_ms < COMPLAIN_MS)
        return;
    *complained_ms = now_ms;
    if (state != NULL && strcmp(state, "42501") == 0)
        snprintf(remedy, sizeof(remedy),
                 "GRANT USAGE ON SCHEMA fedpush TO \"%s\"; GRANT SELECT, INSERT, UPDATE, DELETE ON "
                 "ALL TABLES IN SCHEMA fedpush TO \"%s\"",
                 postgres_user(postgres), postgres_user(postgres));
    else if (status == POSTGRES_LOST)
        snprintf(remedy, sizeof(remedy), "it is written when PostgreSQL is back");
    log_event(LOG_LEVEL_WARN, "statistics can't be written, kept in memory", LOG_TEXT("of", name),
              LOG_TEXT("error", message), LOG_TEXT("remedy", remedy));
}
