#include "sched/history.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/table.h"
#include "sched/flush.h"
#include "sched/history_inside.h"

enum {
    TICK_MS = 1000,
    SAY_MS = 60000,
    MINUTE_S = 60,
    HOUR_S = 3600,
    SUMMED_TABLES = HISTORY_OF_ERROR
};

/* What waits for one table: the oldest first. */
struct pending {
    struct table *by_key;
    struct history_rows rows;
    int64_t written_ms; /* monotonic: when a batch was begun last */
};

/* One host's latest errors: the one that was seen last is last. */
struct error_host {
    char *host;
    TAILQ_HEAD(, history_error) errors;
    unsigned count;
};

/* What is being added up for this machine until its minute or hour is over, or it is written. */
struct open_sums {
    int64_t from_s;
    bool used;
    struct history_sums sums;
};

struct history {
    const struct clock *clock;
    struct postgres *postgres;
    char *machine;
    struct pending pending[SUMMED_TABLES];
    struct table *errors; /* host -> struct error_host */
    size_t error_count;
    int64_t errors_written_ms;
    struct open_sums open[SUMMED_TABLES]; /* of HISTORY_OF_MINUTE and HISTORY_OF_HOUR */
    struct batch *writing;
    enum history_table table; /* of it */
    enum history_table turn;  /* whose it is next */
    struct loop_timer *timer;
    struct flush flush; /* awaited: everything is written now */
    int64_t complained_ms;
    int64_t overflow_ms; /* said; 0: never */
};

/* --- memory --- */

static size_t bound_of(enum history_table table)
{
    static const size_t bounds[] = {[HISTORY_OF_HOST] = HISTORY_MAX_HOSTS,
                                    [HISTORY_OF_MINUTE] = HISTORY_MAX_MINUTES,
                                    [HISTORY_OF_HOUR] = HISTORY_MAX_HOURS,
                                    [HISTORY_OF_ERROR] = HISTORY_MAX_ERRORS};
    return bounds[table];
}

static void say_overflow(struct history *h, enum history_table table)
{
    int64_t now_ms = clock_mono_ms(h->clock);

    if (h->overflow_ms > 0 && now_ms - h->overflow_ms < SAY_MS)
        return;
    h->overflow_ms = now_ms;
    log_event(LOG_LEVEL_WARN, "too much history waits to be written: some of it is dropped",
              LOG_TEXT("of", history_tables[table].name),
              LOG_INT("rows", (int64_t)bound_of(table)));
}

static void wake(struct history *h)
{
    if (!loop_timer_pending(h->timer))
        loop_timer_set(h->timer, TICK_MS);
}

static struct history_row *take_row(struct pending *pending, struct history_row *row)
{
    table_remove(pending->by_key, history_row_key(row));
    TAILQ_REMOVE(&pending->rows, row, entry);
    return row;
}

/* `old`: it comes back from an attempt to write it. */
static void add_row(struct history *h, enum history_table table, struct history_row *row, bool old)
{
    struct pending *pending = &h->pending[table];

    if (table_count(pending->by_key) >= bound_of(table)) {
        say_overflow(h, table);
        if (old) {
            free(row);
            return;
        }
        free(take_row(pending, TAILQ_FIRST(&pending->rows)));
    }
    table_put(pending->by_key, history_row_key(row), row);
    if (old)
        TAILQ_INSERT_HEAD(&pending->rows, row, entry);
    else
        TAILQ_INSERT_TAIL(&pending->rows, row, entry);
}

static struct history_row *row_for(struct history *h, enum history_table table, int64_t from_s,
                                   struct str name)
{
    char key[512];
    struct history_row *row;

    if (name.len > sizeof(key) - sizeof(from_s))
        name.len = sizeof(key) - sizeof(from_s);
    memcpy(key, &from_s, sizeof(from_s));
    memcpy(key + sizeof(from_s), name.ptr, name.len);
    row = table_get(h->pending[table].by_key, (struct str){key, sizeof(from_s) + name.len});
    if (row == NULL) {
        row = history_row_create(from_s, name);
        add_row(h, table, row, false);
    }
    return row;
}

static void add_event(struct history_sums *sums, const struct health_event *event)
{
    sums->results[event->result]++;
    sums->sent_bytes += event->sent_bytes;
    sums->latency[counts_bucket(event->total_ms)]++;
}

/* --- this machine --- */

static void close_sums(struct history *h, enum history_table table)
{
    struct open_sums *open = &h->open[table];

    if (!open->used)
        return;
    history_sums_add(&row_for(h, table, open->from_s, str_of(h->machine))->sums, &open->sums);
    history_sums_clear(&open->sums);
    open->used = false;
}

static struct history_sums *open_sums(struct history *h, enum history_table table, int64_t wall_us)
{
    struct open_sums *open = &h->open[table];
    int64_t now_s = wall_us / 1000000;
    int64_t from_s = now_s - now_s % (table == HISTORY_OF_MINUTE ? MINUTE_S : HOUR_S);

    if (open->from_s != from_s)
        close_sums(h, table);
    open->from_s = from_s;
    open->used = true;
    return &open->sums;
}

void history_sample(struct history *h, const int64_t gauges[HISTORY_GAUGES], uint64_t handed_off)
{
    struct history_sums sample;
    int64_t wall_us = clock_wall_us(h->clock);

    history_sums_clear(&sample);
    sample.handed_off = handed_off;
    memcpy(sample.gauges, gauges, sizeof(sample.gauges));
    history_sums_add(open_sums(h, HISTORY_OF_MINUTE, wall_us), &sample);
    history_sums_add(open_sums(h, HISTORY_OF_HOUR, wall_us), &sample);
    wake(h);
}

/* --- errors --- */

static struct error_host *host_for(struct history *h, struct str name)
{
    struct error_host *host = table_get(h->errors, name);

    if (host != NULL)
        return host;
    host = mem_alloc(sizeof(*host));
    host->host = str_dup(name);
    TAILQ_INIT(&host->errors);
    table_put(h->errors, str_of(host->host), host);
    return host;
}

static struct history_error *take_error(struct history *h, struct error_host *host,
                                        struct history_error *error)
{
    TAILQ_REMOVE(&host->errors, error, entry);
    host->count--;
    h->error_count--;
    return error;
}

/* Takes it over. */
static void add_error(struct history *h, struct history_error *error)
{
    struct error_host *host = host_for(h, str_of(error->host));
    struct history_error *same;

    TAILQ_FOREACH(same, &host->errors, entry)
    {
        if (strcmp(same->error, error->error) == 0)
            break;
    }
    if (same != NULL) {
        error->count += same->count;
        if (same->first_us < error->first_us)
            error->first_us = same->first_us;
        if (same->last_us > error->last_us) {
            error->last_us = same->last_us;
            error->status = same->status;
        }
        history_error_free(take_error(h, host, same));
    } else if (host->count == HISTORY_ERRORS) {
        history_error_free(take_error(h, host, TAILQ_FIRST(&host->errors)));
    }
    TAILQ_INSERT_TAIL(&host->errors, error, entry);
    host->count++;
    h->error_count++;
}

static void record_error(struct history *h, const struct health_event *event)
{
    struct history_error *error;
    char answered[32];

    if (h->error_count >= HISTORY_MAX_ERRORS) {
        say_overflow(h, HISTORY_OF_ERROR);
        return;
    }
    snprintf(answered, sizeof(answered), "returned code %u", event->status);
    error = mem_alloc(sizeof(*error));
    *error = (struct history_error){.host = str_dup(event->host),
                                    .error = event->status > 0 ? str_dup(str_of(answered))
                                                               : health_clean_error(event->error),
                                    .status = event->status,
                                    .count = 1,
                                    .first_us = event->wall_us,
                                    .last_us = event->wall_us};
    add_error(h, error);
}

void history_record(struct history *h, const struct health_event *event)
{
    int64_t now_s = event->wall_us / 1000000;

    add_event(&row_for(h, HISTORY_OF_HOST, now_s - now_s % HOUR_S, event->host)->sums, event);
    add_event(open_sums(h, HISTORY_OF_MINUTE, event->wall_us), event);
    add_event(open_sums(h, HISTORY_OF_HOUR, event->wall_us), event);
    if (event->result != HEALTH_DELIVERED)
        record_error(h, event);
    wake(h);
}

/* --- writing --- */

static size_t count_of(const struct history *h, enum history_table table)
{
    if (table == HISTORY_OF_ERROR)
        return h->error_count;
    return table_count(h->pending[table].by_key) + h->open[table].used;
}

size_t history_pending(const struct history *h)
{
    size_t count = h->writing != NULL ? batch_count(h->writing) : 0;

    for (int table = 0; table < HISTORY_TABLES; table++)
        count += count_of(h, (enum history_table)table);
    return count;
}

static int64_t *written_ms(struct history *h, enum history_table table)
{
    return table == HISTORY_OF_ERROR ? &h->errors_written_ms : &h->pending[table].written_ms;
}

static bool is_due(struct history *h, enum history_table table, int64_t now_ms)
{
    size_t count = count_of(h, table);

    return count > 0 && (flush_is_awaited(&h->flush) || count >= BATCH_MAX_ROWS ||
                         now_ms - *written_ms(h, table) >= HISTORY_EACH_MS);
}

static void take_errors(struct history *h, struct batch *batch)
{
    size_t at = 0;
    struct error_host *host;

    while (batch_count(batch) <= BATCH_MAX_ROWS - HISTORY_ERRORS &&
           (host = table_next(h->errors, &at)) != NULL) {
        table_remove(h->errors, str_of(host->host));
        while (!TAILQ_EMPTY(&host->errors))
            batch_add(batch, take_error(h, host, TAILQ_FIRST(&host->errors)));
        free(host->host);
        free(host);
    }
}

static struct batch *take_batch(struct history *h, enum history_table table)
{
    struct batch *batch = batch_create(h->postgres, &history_tables[table]);

    if (table == HISTORY_OF_ERROR) {
        take_errors(h, batch);
        return batch;
    }
    close_sums(h, table);
    while (batch_count(batch) < BATCH_MAX_ROWS && !TAILQ_EMPTY(&h->pending[table].rows))
        batch_add(batch, take_row(&h->pending[table], TAILQ_FIRST(&h->pending[table].rows)));
    return batch;
}

static void on_written(void *arg, struct batch *batch, enum postgres_status status,
                       PGresult *result, const char *message);

/* The next table in turn whose time has come. */
static void write_next(struct history *h)
{
    int64_t now_ms = clock_mono_ms(h->clock);

    if (h->writing != NULL)
        return;
    for (unsigned i = 0; i < HISTORY_TABLES; i++) {
        enum history_table table = (enum history_table)((h->turn + i) % HISTORY_TABLES);
        if (!is_due(h, table, now_ms))
            continue;
        h->turn = (enum history_table)((table + 1) % HISTORY_TABLES);
        h->table = table;
        *written_ms(h, table) = now_ms;
        h->writing = take_batch(h, table);
        batch_write(h->writing, on_written, h);
        return;
    }
    flush_end(&h->flush);
}

static void keep(struct history *h, enum history_table table, struct history_row *row)
{
    struct history_row *newer = table_get(h->pending[table].by_key, history_row_key(row));

    if (newer == NULL) {
        add_row(h, table, row, true);
        return;
    }
    history_sums_add(&newer->sums, &row->sums);
    free(row);
}

static void on_written(void *arg, struct batch *batch, enum postgres_status status,
                       PGresult *result, const char *message)
{
    struct history *h = arg;
    void *row;

    h->writing = NULL;
    if (status != POSTGRES_OK)
        batch_complain(&h->complained_ms, h->clock, h->postgres, "history", status, result,
                       message);
    while ((row = batch_next(batch)) != NULL) {
        if (h->table == HISTORY_OF_ERROR)
            add_error(h, row);
        else
            keep(h, h->table, row);
    }
    batch_destroy(batch);
    wake(h);
    if (status == POSTGRES_OK && flush_is_awaited(&h->flush))
        write_next(h);
    else if (status == POSTGRES_ERROR) /* of no use before somebody acted */
        flush_end(&h->flush);
}

static void on_timer(void *arg)
{
    struct history *h = arg;

    write_next(h);
    if (h->writing != NULL || history_pending(h) > 0)
        wake(h);
}

void history_flush(struct history *h, int64_t deadline_ms, loop_fn *done, void *arg)
{
    flush_begin(&h->flush, deadline_ms, done, arg);
    write_next(h);
}

/* --- life --- */

struct history *history_create(struct event_base *base, const struct clock *clock,
                               struct postgres *postgres, struct str machine)
{
    struct history *h = mem_alloc(sizeof(*h));

    h->clock = clock;
    h->postgres = postgres;
    h->machine = str_dup(machine);
    h->errors = table_create();
    for (int table = 0; table < SUMMED_TABLES; table++) {
        h->pending[table].by_key = table_create();
        TAILQ_INIT(&h->pending[table].rows);
        history_sums_clear(&h->open[table].sums);
    }
    h->timer = loop_timer_create(base, on_timer, h);
    flush_init(&h->flush, base);
    return h;
}

void history_destroy(struct history *h)
{
    size_t at = 0;
    struct error_host *host;

    if (h == NULL)
        return;
    batch_destroy(h->writing);
    for (int table = 0; table < SUMMED_TABLES; table++) {
        while (!TAILQ_EMPTY(&h->pending[table].rows))
            free(take_row(&h->pending[table], TAILQ_FIRST(&h->pending[table].rows)));
        table_destroy(h->pending[table].by_key);
    }
    while ((host = table_next(h->errors, &at)) != NULL) {
        while (!TAILQ_EMPTY(&host->errors))
            history_error_free(take_error(h, host, TAILQ_FIRST(&host->errors)));
        free(host->host);
        free(host);
    }
    table_destroy(h->errors);
    loop_timer_destroy(h->timer);
    flush_clear(&h->flush);
    free(h->machine);
    free(h);
}
