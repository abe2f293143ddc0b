#include "sched/health.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/table.h"
#include "base/utf8.h"

enum {
    FLUSH_MS = 1000,
    BATCH_ROWS = 500,
    WRITE_DEADLINE_MS = 5000,
    MAX_INBOXES = 50000,
    MAX_ERROR_BYTES = 300,
    COMPLAIN_MS = 60000,
    PARAMETER_BYTES = 4 * 1024 * 1024, /* BATCH_ROWS of the longest URLs */
};

/* What happened to one inbox or host since it was written last. */
struct tally {
    char *name;
    char *host; /* of an inbox; NULL for a host */
    uint64_t delivered, retried, rejected, exhausted;
    uint64_t total_ms, sent_bytes;
    unsigned streak;  /* failures since the last success within this tally */
    bool had_success; /* then the streak starts anew in the table, too */
    bool transport;   /* the latest attempt had no answer */
    uint16_t status;
    char *error;
    int64_t attempt_us, success_us, failure_us, first_failure_us; /* 0: none */
};

enum target { TARGET_INBOX = 0, TARGET_HOST, TARGETS };

struct batch;

struct health {
    struct event_base *base;
    const struct clock *clock;
    struct postgres *postgres;
    struct table *pending[TARGETS]; /* name -> struct tally */
    struct batch *writing;
    struct loop_timer *timer;
    struct loop_timer *flush_timer;
    loop_fn *flushed;
    void *flushed_arg;
    int64_t complained_ms;
    bool pushed_out; /* inboxes were only counted to their host: said once */
};

/* Rows of one statement, in key order, so that two machines never wait for each other in a circle.
 */
struct batch {
    struct health *health;
    enum target target;
    size_t count;
    size_t begin, end; /* the part under way: halved on a data error until the bad row is alone */
    struct tally *rows[BATCH_ROWS];
};

static void tally_free(struct tally *t)
{
    free(t->name);
    free(t->host);
    free(t->error);
    free(t);
}

static struct tally *tally_for(struct health *h, enum target target, struct str name,
                               struct str host)
{
    struct tally *t = table_get(h->pending[target], name);

    if (t != NULL)
        return t;
    if (target == TARGET_INBOX && table_count(h->pending[target]) >= MAX_INBOXES) {
        if (!h->pushed_out)
            log_event(LOG_LEVEL_WARN,
                      "too many inboxes wait to be recorded: new ones count to their host only",
                      LOG_INT("inboxes", MAX_INBOXES));
        h->pushed_out = true;
        return NULL;
    }
    t = mem_alloc(sizeof(*t));
    t->name = str_dup(name);
    t->host = target == TARGET_INBOX ? str_dup(host) : NULL;
    table_put(h->pending[target], str_of(t->name), t);
    return t;
}

static char *clean(struct str text)
{
    struct buf out;
    char *copy;

    buf_init(&out, MAX_ERROR_BYTES + 4);
    utf8_put_clean(&out, text, MAX_ERROR_BYTES);
    copy = str_dup(buf_str(&out));
    buf_clear(&out);
    return copy;
}

static void add_event(struct tally *t, const struct health_event *event)
{
    bool success = event->result == HEALTH_DELIVERED;

    t->delivered += success;
    t->retried += event->result == HEALTH_RETRIED;
    t->rejected += event->result == HEALTH_REJECTED;
    t->exhausted += event->result == HEALTH_EXHAUSTED;
    t->total_ms += event->total_ms;
    t->sent_bytes += event->sent_bytes;
    t->transport = event->transport_failure;
    t->status = event->status;
    t->attempt_us = event->wall_us;
    if (success) {
        t->success_us = event->wall_us;
        t->had_success = true;
        t->streak = 0;
        t->first_failure_us = 0;
        return;
    }
    t->failure_us = event->wall_us;
    if (t->streak++ == 0)
        t->first_failure_us = event->wall_us;
    free(t->error);
    t->error = clean(event->error);
}

void health_record(struct health *h, const struct health_event *event)
{
    struct tally *inbox = tally_for(h, TARGET_INBOX, event->inbox, event->host);

    if (inbox != NULL)
        add_event(inbox, event);
    add_event(tally_for(h, TARGET_HOST, event->host, STR_NULL), event);
    if (!loop_timer_pending(h->timer))
        loop_timer_set(h->timer, FLUSH_MS);
}

size_t health_pending(const struct health *h)
{
    return table_count(h->pending[TARGET_INBOX]);
}

/* --- writing --- */

static const char write_inboxes[] =
    "INSERT INTO fedpush.inbox_health AS t (inbox_url, host, delivered, retried, rejected, "
    "exhausted,"
    " consecutive_failures, total_ms, sent_bytes, last_status, last_error, last_transport_failure, "
    "last_attempt_at,"
    " last_success_at, last_failure_at, failing_since)"
    " SELECT n, h, d, r, j, x, f, m, b, s, e, tr, to_timestamp(a), to_timestamp(su), "
    "to_timestamp(fa), to_timestamp(ff)"
    " FROM unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[], "
    "$7::integer[],"
    " $8::bigint[], $9::bigint[], $10::integer[], $11::text[], $12::boolean[], $13::float8[], "
    "$14::float8[], $15::float8[],"
    " $16::float8[]) AS u(n, h, d, r, j, x, f, m, b, s, e, tr, a, su, fa, ff)"
    " ON CONFLICT (inbox_url) DO UPDATE SET ";
static const char write_hosts[] =
    "INSERT INTO fedpush.domain_health AS t (host, delivered, retried, rejected, exhausted,"
    " consecutive_failures, total_ms, sent_bytes, last_status, last_error, last_transport_failure, "
    "last_attempt_at,"
    " last_success_at, last_failure_at, failing_since)"
    " SELECT n, d, r, j, x, f, m, b, s, e, tr, to_timestamp(a), to_timestamp(su), "
    "to_timestamp(fa), to_timestamp(ff)"
    " FROM unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[], "
    "$7::integer[],"
    " $8::bigint[], $9::bigint[], $10::integer[], $11::text[], $12::boolean[], $13::float8[], "
    "$14::float8[], $15::float8[],"
    " $16::float8[]) AS u(n, h, d, r, j, x, f, m, b, s, e, tr, a, su, fa, ff)"
    " ON CONFLICT (host) DO UPDATE SET ";
/* A row with a success in it has last_success_at: then its own streak stands alone, else it
 * continues the table's. */
static const char write_rest[] =
    "delivered = t.delivered + excluded.delivered, retried = t.retried + excluded.retried,"
    " rejected = t.rejected + excluded.rejected, exhausted = t.exhausted + excluded.exhausted,"
    " consecutive_failures = CASE WHEN excluded.last_success_at IS NULL THEN "
    "t.consecutive_failures ELSE 0 END"
    " + excluded.consecutive_failures,"
    " total_ms = t.total_ms + excluded.total_ms, sent_bytes = t.sent_bytes + excluded.sent_bytes,"
    " last_status = excluded.last_status, last_error = COALESCE(excluded.last_error, t.last_error),"
    " last_transport_failure = excluded.last_transport_failure, last_attempt_at = "
    "excluded.last_attempt_at,"
    " last_success_at = COALESCE(excluded.last_success_at, t.last_success_at),"
    " last_failure_at = COALESCE(excluded.last_failure_at, t.last_failure_at),"
    " failing_since = CASE WHEN excluded.last_success_at IS NULL THEN COALESCE(t.failing_since, "
    "excluded.failing_since)"
    " ELSE excluded.failing_since END, updated_at = now()";

enum { PARAMETERS = 16 };

static void add_number(struct buf *array, uint64_t number)
{
    char text[24];
    snprintf(text, sizeof(text), "%" PRIu64, number);
    postgres_array_add(array, str_of(text));
}

static void add_raw(struct buf *array, const char *text)
{
    buf_put_str(array, array->len == 0 ? STR("{") : STR(","));
    buf_put_str(array, str_of(text));
}

static void add_time(struct buf *array, int64_t wall_us)
{
    char text[40];

    snprintf(text, sizeof(text), "%.6f", (double)wall_us / 1e6);
    add_raw(array, wall_us > 0 ? text : "NULL");
}

static void add_row(struct buf arrays[PARAMETERS], const struct tally *t)
{
    char status[8];

    postgres_array_add(&arrays[0], str_of(t->name));
    postgres_array_add(&arrays[1], str_of(t->host != NULL ? t->host : ""));
    add_number(&arrays[2], t->delivered);
    add_number(&arrays[3], t->retried);
    add_number(&arrays[4], t->rejected);
    add_number(&arrays[5], t->exhausted);
    add_number(&arrays[6], t->streak);
    add_number(&arrays[7], t->total_ms);
    add_number(&arrays[8], t->sent_bytes);
    snprintf(status, sizeof(status), "%u", t->status);
    add_raw(&arrays[9], t->status > 0 ? status : "NULL");
    if (t->error != NULL)
        postgres_array_add(&arrays[10], str_of(t->error));
    else
        add_raw(&arrays[10], "NULL");
    add_raw(&arrays[11], t->transport ? "t" : "f");
    add_time(&arrays[12], t->attempt_us);
    add_time(&arrays[13], t->success_us);
    add_time(&arrays[14], t->failure_us);
    add_time(&arrays[15], t->streak > 0 ? t->first_failure_us : 0);
}

static void on_written(void *arg, enum postgres_status status, PGresult *result,
                       const char *message);

static void write_part(struct batch *batch)
{
    struct buf arrays[PARAMETERS];
    struct str parameters[PARAMETERS];
    char *sql =
        mem_printf("%s%s", batch->target == TARGET_INBOX ? write_inboxes : write_hosts, write_rest);

    for (size_t i = 0; i < PARAMETERS; i++)
        buf_init(&arrays[i], PARAMETER_BYTES);
    for (size_t i = batch->begin; i < batch->end; i++)
        add_row(arrays, batch->rows[i]);
    for (size_t i = 0; i < PARAMETERS; i++) {
        postgres_array_end(&arrays[i]);
        parameters[i] = buf_str(&arrays[i]);
    }
    postgres_query(batch->health->postgres, on_written, batch, WRITE_DEADLINE_MS, sql, PARAMETERS,
                   parameters);
    for (size_t i = 0; i < PARAMETERS; i++)
        buf_clear(&arrays[i]);
    free(sql);
}

static int by_name(const void *a, const void *b)
{
    return strcmp((*(struct tally *const *)a)->name, (*(struct tally *const *)b)->name);
}

static struct batch *take_batch(struct health *h, enum target target)
{
    struct batch *batch = mem_alloc(sizeof(*batch));
    size_t at = 0;
    struct tally *t;

    batch->health = h;
    batch->target = target;
    while (batch->count < BATCH_ROWS && (t = table_next(h->pending[target], &at)) != NULL) {
        table_remove(h->pending[target], str_of(t->name));
        batch->rows[batch->count++] = t;
    }
    qsort(batch->rows, batch->count, sizeof(struct tally *), by_name);
    batch->end = batch->count;
    return batch;
}

static void end_flush(struct health *h)
{
    loop_fn *fn = h->flushed;

    h->flushed = NULL;
    loop_timer_clear(h->flush_timer);
    if (fn != NULL)
        loop_defer(h->base, fn, h->flushed_arg);
}

static void write_next(struct health *h)
{
    if (h->writing != NULL)
        return;
    for (int target = 0; target < TARGETS; target++) {
        if (table_count(h->pending[target]) > 0) {
            h->writing = take_batch(h, (enum target)target);
            write_part(h->writing);
            return;
        }
    }
    h->pushed_out = false;
    end_flush(h);
}

/* What could not be written joins what has come since. */
static void merge_back(struct health *h, enum target target, struct tally *old)
{
    struct tally *newer = table_get(h->pending[target], str_of(old->name));

    if (newer == NULL) {
        table_put(h->pending[target], str_of(old->name), old);
        return;
    }
    newer->delivered += old->delivered;
    newer->retried += old->retried;
    newer->rejected += old->rejected;
    newer->exhausted += old->exhausted;
    newer->total_ms += old->total_ms;
    newer->sent_bytes += old->sent_bytes;
    if (!newer->had_success) {
        newer->streak += old->streak;
        newer->had_success = old->had_success;
        if (old->streak > 0)
            newer->first_failure_us = old->first_failure_us;
    }
    if (newer->success_us == 0)
        newer->success_us = old->success_us;
    if (newer->failure_us == 0)
        newer->failure_us = old->failure_us;
    if (newer->error == NULL) {
        newer->error = old->error;
        old->error = NULL;
    }
    tally_free(old);
}

/* The connection may have been lost during COMMIT: then this batch counts twice. Nothing but
 * statistics depends on it. */
static void keep_batch(struct batch *batch)
{
    for (size_t i = batch->begin; i < batch->count; i++)
        merge_back(batch->health, batch->target, batch->rows[i]);
}

static void complain(struct health *h, enum postgres_status status, PGresult *result,
                     const char *message)
{
    int64_t now_ms = clock_mono_ms(h->clock);
    const char *state =
        status == POSTGRES_ERROR ? PQresultErrorField(result, PG_DIAG_SQLSTATE) : NULL;
    char remedy[400] = "run `fedpush setup`, then `fedpush check`";

    if (h->complained_ms > 0 && now_ms - h->complained_ms < COMPLAIN_MS)
        return;
    h->complained_ms = now_ms;
    if (state != NULL && strcmp(state, "42501") == 0)
        snprintf(remedy, sizeof(remedy),
                 "GRANT USAGE ON SCHEMA fedpush TO \"%s\"; GRANT SELECT, INSERT, UPDATE, "
                 "DELETE ON ALL TABLES IN SCHEMA fedpush TO \"%s\"",
                 postgres_user(h->postgres), postgres_user(h->postgres));
    else if (status == POSTGRES_LOST)
        snprintf(remedy, sizeof(remedy), "it is written when PostgreSQL is back");
    log_event(LOG_LEVEL_WARN, "health can't be written, kept in memory", LOG_TEXT("error", message),
              LOG_TEXT("remedy", remedy));
}

/* 21: two names became one when they were cleaned; 54: a name too long for the index. */
static bool is_data_error(enum postgres_status status, PGresult *result)
{
    const char *state =
        status == POSTGRES_ERROR ? PQresultErrorField(result, PG_DIAG_SQLSTATE) : NULL;
    return state != NULL && (strncmp(state, "21", 2) == 0 || strncmp(state, "22", 2) == 0 ||
                             strncmp(state, "23", 2) == 0 || strncmp(state, "54", 2) == 0);
}

static void drop_part(struct batch *batch)
{
    for (size_t i = batch->begin; i < batch->end; i++)
        tally_free(batch->rows[i]);
    batch->begin = batch->end;
    batch->end = batch->count;
}

static void on_written(void *arg, enum postgres_status status, PGresult *result,
                       const char *message)
{
    struct batch *batch = arg;
    struct health *h = batch->health;

    if (status == POSTGRES_OK) {
        drop_part(batch);
    } else if (is_data_error(status, result) && batch->end - batch->begin > 1) {
        batch->end = batch->begin + (batch->end - batch->begin) / 2;
    } else if (is_data_error(status, result)) {
        log_event(LOG_LEVEL_WARN, "a row of health was refused and dropped",
                  LOG_TEXT("error", message), LOG_TEXT("row", batch->rows[batch->begin]->name));
        drop_part(batch);
    } else {
        complain(h, status, result, message);
        keep_batch(batch);
        free(batch);
        h->writing = NULL;
        loop_timer_set(h->timer, FLUSH_MS);
        if (status ==
            POSTGRES_ERROR) /* of no use before somebody acted; a lost one may come back */
            end_flush(h);
        return;
    }
    if (batch->begin < batch->count) {
        write_part(batch);
        return;
    }
    free(batch);
    h->writing = NULL;
    write_next(h);
}

static void on_timer(void *arg)
{
    write_next(arg);
}

static void on_flush_late(void *arg)
{
    end_flush(arg);
}

void health_flush(struct health *h, int64_t deadline_ms, loop_fn *done, void *arg)
{
    h->flushed = done;
    h->flushed_arg = arg;
    loop_timer_set(h->flush_timer, deadline_ms);
    write_next(h);
}

/* --- reading --- */

struct history {
    health_host_fn *fn;
    loop_fn *done;
    void *arg;
};

static void on_history(void *arg, enum postgres_status status, PGresult *result,
                       const char *message)
{
    struct history history = *(struct history *)arg;

    free(arg);
    if (status != POSTGRES_OK)
        log_event(LOG_LEVEL_WARN, "no history of hosts: all start as suspect",
                  LOG_TEXT("error", message));
    for (int row = 0; status == POSTGRES_OK && row < PQntuples(result); row++)
        history.fn(history.arg, str_of(PQgetvalue(result, row, 0)),
                   PQgetvalue(result, row, 1)[0] == 't', atoll(PQgetvalue(result, row, 2)));
    history.done(history.arg);
}

void health_load(struct health *h, int64_t deadline_ms, health_host_fn *fn, loop_fn *done,
                 void *arg)
{
    struct history *history = mem_alloc(sizeof(*history));

    *history = (struct history){fn, done, arg};
    postgres_query(
        h->postgres, on_history, history, deadline_ms,
        "SELECT host, last_transport_failure OR last_success_at IS NULL,"
        " COALESCE(extract(epoch FROM now() - last_success_at)::bigint, -1)"
        " FROM fedpush.domain_health ORDER BY last_attempt_at DESC NULLS LAST LIMIT 50000",
        0, NULL);
}

struct health *health_create(struct event_base *base, const struct clock *clock,
                             struct postgres *postgres)
{
    struct health *h = mem_alloc(sizeof(*h));

    h->base = base;
    h->clock = clock;
    h->postgres = postgres;
    for (int target = 0; target < TARGETS; target++)
        h->pending[target] = table_create();
    h->timer = loop_timer_create(base, on_timer, h);
    h->flush_timer = loop_timer_create(base, on_flush_late, h);
    return h;
}

void health_destroy(struct health *h)
{
    if (h == NULL)
        return;
    for (int target = 0; target < TARGETS; target++) {
        size_t at = 0;
        struct tally *t;
        while ((t = table_next(h->pending[target], &at)) != NULL)
            tally_free(t);
        table_destroy(h->pending[target]);
    }
    if (h->writing != NULL) {
        for (size_t i = h->writing->begin; i < h->writing->count; i++)
            tally_free(h->writing->rows[i]);
        free(h->writing);
    }
    loop_timer_destroy(h->timer);
    loop_timer_destroy(h->flush_timer);
    free(h);
}
