#include "sched/health.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/table.h"
#include "base/utf8.h"
#include "sched/batch.h"
#include "sched/flush.h"

enum {
    FLUSH_MS = 1000,
    MAX_POSTPONED = 4,
    BATCH_ROWS = 500,
    MAX_INBOXES = 50000,
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

struct health {
    const struct clock *clock;
    struct postgres *postgres;
    struct table *pending[TARGETS]; /* name -> struct tally */
    size_t due[TARGETS];            /* of these, what the present round still has to write */
    size_t seen;                    /* rows that were pending at the latest tick */
    unsigned postponed;             /* ticks in a row */
    struct batch *writing;
    enum target target; /* of it */
    struct loop_timer *timer;
    struct flush flush;
    int64_t complained_ms;
    bool pushed_out; /* inboxes were only counted to their host: said once */
};

static void tally_free(void *row)
{
    struct tally *t = row;

    free(t->name);
    free(t->host);
    free(t->error);
    free(t);
}

char *health_clean_error(struct str text)
{
    struct buf out;
    char *copy;

    buf_init(&out, HEALTH_ERROR_BYTES + 4);
    utf8_put_clean(&out, text, HEALTH_ERROR_BYTES);
    copy = str_dup(buf_str(&out));
    buf_clear(&out);
    return copy;
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
    t->error = health_clean_error(event->error);
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

/* A row with a success in it has last_success_at: then its own streak stands alone, else it
 * continues the table's. */
#define REST                                                                                       \
    "delivered = t.delivered + excluded.delivered, retried = t.retried + excluded.retried,"        \
    " rejected = t.rejected + excluded.rejected, exhausted = t.exhausted + excluded.exhausted,"    \
    " consecutive_failures = CASE WHEN excluded.last_success_at IS NULL THEN "                     \
    "t.consecutive_failures ELSE 0 END"                                                            \
    " + excluded.consecutive_failures,"                                                            \
    " total_ms = t.total_ms + excluded.total_ms, sent_bytes = t.sent_bytes + excluded.sent_bytes," \
    " last_status = excluded.last_status, last_error = COALESCE(excluded.last_error, "             \
    "t.last_error),"                                                                               \
    " last_transport_failure = excluded.last_transport_failure, last_attempt_at = "                \
    "excluded.last_attempt_at,"                                                                    \
    " last_success_at = COALESCE(excluded.last_success_at, t.last_success_at),"                    \
    " last_failure_at = COALESCE(excluded.last_failure_at, t.last_failure_at),"                    \
    " failing_since = CASE WHEN excluded.last_success_at IS NULL THEN COALESCE(t.failing_since, "  \
    "excluded.failing_since)"                                                                      \
    " ELSE excluded.failing_since END, updated_at = now()"
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
    " ON CONFLICT (inbox_url) DO UPDATE SET " REST;
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
    " ON CONFLICT (host) DO UPDATE SET " REST;
#undef REST
static void put_row(struct buf *arrays, const void *row)
{
    const struct tally *t = row;
    char status[8];

    postgres_array_add(&arrays[0], str_of(t->name));
    postgres_array_add(&arrays[1], str_of(t->host != NULL ? t->host : ""));
    batch_put_number(&arrays[2], t->delivered);
    batch_put_number(&arrays[3], t->retried);
    batch_put_number(&arrays[4], t->rejected);
    batch_put_number(&arrays[5], t->exhausted);
    batch_put_number(&arrays[6], t->streak);
    batch_put_number(&arrays[7], t->total_ms);
    batch_put_number(&arrays[8], t->sent_bytes);
    snprintf(status, sizeof(status), "%u", t->status);
    batch_put_plain(&arrays[9], t->status > 0 ? status : "NULL");
    if (t->error != NULL)
        postgres_array_add(&arrays[10], str_of(t->error));
    else
        batch_put_plain(&arrays[10], "NULL");
    batch_put_plain(&arrays[11], t->transport ? "t" : "f");
    batch_put_time(&arrays[12], t->attempt_us);
    batch_put_time(&arrays[13], t->success_us);
    batch_put_time(&arrays[14], t->failure_us);
    batch_put_time(&arrays[15], t->streak > 0 ? t->first_failure_us : 0);
}

static int by_name(const void *a, const void *b)
{
    return strcmp((*(struct tally *const *)a)->name, (*(struct tally *const *)b)->name);
}

static const char *name_of(const void *row)
{
    return ((const struct tally *)row)->name;
}

static const struct batch_table tables[TARGETS] = {
    [TARGET_INBOX] = {"inbox_health", write_inboxes, 16, by_name, put_row, name_of, tally_free},
    [TARGET_HOST] = {"domain_health", write_hosts, 16, by_name, put_row, name_of, tally_free},
};

static struct batch *take_batch(struct health *h, enum target target)
{
    struct batch *batch = batch_create(h->postgres, &tables[target]);
    size_t at = 0;
    struct tally *t;

    for (; batch_count(batch) < BATCH_ROWS && h->due[target] > 0; h->due[target]--) {
        t = table_next(h->pending[target], &at);
        table_remove(h->pending[target], str_of(t->name));
        batch_add(batch, t);
    }
    return batch;
}

static size_t pending_rows(const struct health *h)
{
    size_t count = 0;

    for (int target = 0; target < TARGETS; target++)
        count += table_count(h->pending[target]);
    return count;
}

/* What comes while these are written is for the next round: else each row would be a statement. */
static void begin_round(struct health *h)
{
    for (int target = 0; target < TARGETS; target++)
        h->due[target] = table_count(h->pending[target]);
    h->seen = 0;
    h->postponed = 0;
}

static void on_written(void *arg, struct batch *batch, enum postgres_status status,
                       PGresult *result, const char *message);

static void write_next(struct health *h)
{
    if (h->writing != NULL)
        return;
    for (int target = 0; target < TARGETS; target++) {
        if (h->due[target] > 0) {
            h->target = (enum target)target;
            h->writing = take_batch(h, h->target);
            batch_write(h->writing, on_written, h);
            return;
        }
    }
    h->pushed_out = false;
    if (pending_rows(h) == 0)
        flush_end(&h->flush);
    else if (!loop_timer_pending(h->timer))
        loop_timer_set(h->timer, flush_is_awaited(&h->flush) ? 0 : FLUSH_MS);
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

static void on_written(void *arg, struct batch *batch, enum postgres_status status,
                       PGresult *result, const char *message)
{
    struct health *h = arg;
    struct tally *t;

    h->writing = NULL;
    if (status != POSTGRES_OK)
        batch_complain(&h->complained_ms, h->clock, h->postgres, "health", status, result, message);
    /* The connection may have been lost during COMMIT: then this batch counts twice. Nothing but
     * statistics depends on it. */
    while ((t = batch_next(batch)) != NULL)
        merge_back(h, h->target, t);
    batch_destroy(batch);
    if (status == POSTGRES_OK) {
        write_next(h);
        return;
    }
    memset(h->due, 0, sizeof(h->due));
    loop_timer_set(h->timer, FLUSH_MS);
    if (status == POSTGRES_ERROR) /* of no use before somebody acted; a lost one may come back */
        flush_end(&h->flush);
}

/* A post that is going out brings hundreds of new rows a second: the processor is for its
 * deliveries, and what more comes of the same hosts costs no statement of its own. */
static bool is_growing(struct health *h)
{
    size_t count = pending_rows(h);
    bool growing = count >= h->seen + BATCH_ROWS;

    h->seen = count;
    return growing && h->postponed++ < MAX_POSTPONED;
}

static void on_timer(void *arg)
{
    struct health *h = arg;

    if (!flush_is_awaited(&h->flush) && is_growing(h)) {
        loop_timer_set(h->timer, FLUSH_MS);
        return;
    }
    begin_round(h);
    write_next(h);
}

void health_flush(struct health *h, int64_t deadline_ms, loop_fn *done, void *arg)
{
    flush_begin(&h->flush, deadline_ms, done, arg);
    begin_round(h);
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

    h->clock = clock;
    h->postgres = postgres;
    for (int target = 0; target < TARGETS; target++)
        h->pending[target] = table_create();
    h->timer = loop_timer_create(base, on_timer, h);
    flush_init(&h->flush, base);
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
    batch_destroy(h->writing);
    loop_timer_destroy(h->timer);
    flush_clear(&h->flush);
    free(h);
}
