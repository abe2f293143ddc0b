#include "sched/availability.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/log.h"
#include "base/table.h"

enum {
    BATCH_HOSTS = 1000,
    MAX_HOST_BYTES = 1024, /* an inbox that is no URL is its own host: never this long a domain */
    FORGET_MS = 600000,
    SWEEP_MS = 60000,
    NAMES_BYTES = 4 * 1024 * 1024, /* BATCH_HOSTS names, each byte as U+FFFD: no batch overflows */
    BACKGROUND_MS = 1000,
    ASK_DEADLINE_MS = 2000,
    COMPLAIN_MS = 60000,
};

struct host {
    char *name;
    bool known;
    bool unavailable;
    bool queued;     /* in the next batch, or in the one under way */
    bool to_clear;   /* a success whose row is deleted in the background */
    int64_t read_ms; /* when it was read last */
    int64_t asked_ms;
};

struct availability {
    struct availability_options o;
    char *prefix; /* of the failure keys */
    char *cache_key;
    struct table *hosts;
    struct host **queue; /* hosts to read */
    size_t queued;
    struct reading *reading; /* the batch under way, or NULL */
    struct loop_timer *background;
    struct loop_timer *sweep;
    int64_t complained_ms;
    struct tracking *trackings; /* under way */
};

/* --- hosts --- */

static struct host *host_for(struct availability *a, struct str name)
{
    struct host *host = table_get(a->hosts, name);

    if (host == NULL) {
        host = mem_alloc(sizeof(*host));
        host->name = str_dup(name);
        host->read_ms = INT64_MIN / 2;
        table_put(a->hosts, str_of(host->name), host);
    }
    host->asked_ms = clock_mono_ms(a->o.clock);
    return host;
}

static void on_sweep(void *arg)
{
    struct availability *a = arg;
    int64_t now_ms = clock_mono_ms(a->o.clock);
    size_t at = 0;
    struct host *host;

    loop_timer_set(a->sweep, SWEEP_MS);
    while ((host = table_next(a->hosts, &at)) != NULL) {
        if (host->queued || host->to_clear || now_ms - host->asked_ms < FORGET_MS)
            continue;
        table_remove(a->hosts, str_of(host->name));
        free(host->name);
        free(host);
    }
}

/* Deliveries go on without an answer; somebody has to hear of it, once a minute. */
static void complain(struct availability *a, enum postgres_status status, PGresult *result,
                     const char *message)
{
    int64_t now_ms = clock_mono_ms(a->o.clock);
    const char *state =
        status == POSTGRES_ERROR ? PQresultErrorField(result, PG_DIAG_SQLSTATE) : NULL;
    char remedy[400] = "see `fedpush check`";

    if (a->complained_ms > 0 && now_ms - a->complained_ms < COMPLAIN_MS)
        return;
    a->complained_ms = now_ms;
    if (state != NULL && strcmp(state, "42501") == 0)
        snprintf(remedy, sizeof(remedy),
                 "GRANT SELECT, INSERT, DELETE ON public.unavailable_domains TO \"%s\"; GRANT "
                 "USAGE ON SEQUENCE public.unavailable_domains_id_seq TO \"%s\"",
                 postgres_user(a->o.postgres), postgres_user(a->o.postgres));
    log_event(LOG_LEVEL_WARN, "unavailable_domains can't be used, delivering with what is known",
              LOG_TEXT("error", message), LOG_TEXT("remedy", remedy));
}

/* --- reading --- */

static void read_batch(struct availability *a);

struct reading {
    struct availability *a;
    size_t count;
    struct host *hosts[];
};

static void mark_read(struct reading *reading, PGresult *result)
{
    struct availability *a = reading->a;
    int64_t now_ms = clock_mono_ms(a->o.clock);

    for (size_t i = 0; i < reading->count; i++) {
        struct host *host = reading->hosts[i];
        host->queued = false;
        host->read_ms = now_ms; /* unanswered: not asked again for a while either */
        if (result != NULL) {
            host->known = true;
            host->unavailable = false;
        }
    }
    for (int row = 0; result != NULL && row < PQntuples(result); row++) {
        struct host *host = table_get(a->hosts, str_of(PQgetvalue(result, row, 0)));
        if (host != NULL)
            host->unavailable = true;
    }
}

static void on_read(void *arg, enum postgres_status status, PGresult *result, const char *message)
{
    struct reading *reading = arg;
    struct availability *a = reading->a;

    if (status != POSTGRES_OK)
        complain(a, status, result, message);
    mark_read(reading, status == POSTGRES_OK ? result : NULL);
    free(reading);
    a->reading = NULL;
    a->o.answered(a->o.arg);
    read_batch(a);
}

static void read_batch(struct availability *a)
{
    struct reading *reading;
    struct buf names;

    if (a->reading != NULL || a->queued == 0)
        return;
    size_t count = a->queued < BATCH_HOSTS ? a->queued : BATCH_HOSTS;
    reading = mem_alloc(sizeof(*reading) + count * sizeof(struct host *));
    reading->a = a;
    reading->count = count;
    buf_init(&names, NAMES_BYTES);
    for (size_t i = 0; i < count; i++) {
        reading->hosts[i] = a->queue[i];
        postgres_array_add(&names, str_of(a->queue[i]->name));
    }
    postgres_array_end(&names);
    a->queued -= count;
    memmove(a->queue, a->queue + count, a->queued * sizeof(struct host *));
    a->reading = reading;
    const struct str parameters[] = {buf_str(&names)};
    postgres_query(a->o.postgres, on_read, reading, ASK_DEADLINE_MS,
                   "SELECT domain FROM unavailable_domains WHERE domain = ANY($1::text[])", 1,
                   parameters);
    buf_clear(&names);
}

bool availability_lookup(struct availability *a, struct str name, bool *unavailable)
{
    *unavailable = false;
    if (name.len > MAX_HOST_BYTES)
        return true;
    struct host *host = host_for(a, name);
    *unavailable = host->known && host->unavailable;
    if (clock_mono_ms(a->o.clock) - host->read_ms <= AVAILABILITY_FRESH_MS)
        return true;
    if (!postgres_is_ready(a->o.postgres))
        return true; /* the last known; delivering is better than waiting */
    if (!host->queued) {
        host->queued = true;
        a->queue = mem_realloc(a->queue, (a->queued + 1) * sizeof(struct host *));
        a->queue[a->queued++] = host;
    }
    read_batch(a);
    return false;
}

/* --- the tracker --- */

/* A batch of effects: done when nothing is pending, or its second is over. */
struct tracking {
    struct availability *a;
    struct tracking *next, **link; /* in a->trackings */
    unsigned pending;
    loop_fn *done; /* NULL: was called */
    void *arg;
    struct loop_timer *timer;
};

static void forget_cache(struct availability *a)
{
    bool unlinks = mastodon_version_compare(a->o.mastodon, 4, 6, 0) >= 0;
    const struct str words[] = {unlinks ? STR("UNLINK") : STR("DEL"), str_of(a->cache_key)};
    redis_send(a->o.redis_cache, NULL, NULL, 2, words);
}

static void tracking_destroy(struct tracking *t)
{
    *t->link = t->next;
    if (t->next != NULL)
        t->next->link = t->link;
    loop_timer_destroy(t->timer);
    free(t);
}

/* All effects are acknowledged, or their time is over: then the last of them frees. */
static void on_tracked(void *arg)
{
    struct tracking *t = arg;
    loop_fn *done = t->done;
    void *done_arg = t->arg;

    t->done = NULL;
    if (t->pending == 0)
        tracking_destroy(t);
    if (done != NULL)
        done(done_arg);
}

static struct tracking *tracking_create(struct availability *a, loop_fn *done, void *arg)
{
    struct tracking *t = mem_alloc(sizeof(*t));

    *t = (struct tracking){
        .a = a, .next = a->trackings, .link = &a->trackings, .done = done, .arg = arg};
    t->timer = loop_timer_create(a->o.base, on_tracked, t);
    loop_timer_set(t->timer, TRACKER_WAIT_MS);
    if (t->next != NULL)
        t->next->link = &t->next;
    a->trackings = t;
    return t;
}

/* From within a callback of Redis or PostgreSQL: the owner hears of it in the next turn. */
static void one_less(struct tracking *t)
{
    if (--t->pending == 0)
        loop_timer_set(t->timer, 0);
}

static void on_inserted(void *arg, enum postgres_status status, PGresult *result,
                        const char *message)
{
    struct tracking *t = arg;
    struct availability *a = t->a;

    if (status != POSTGRES_OK) {
        complain(a, status, result, message);
    } else if (PQntuples(result) > 0) {
        struct host *host = host_for(a, str_of(PQgetvalue(result, 0, 0)));
        host->known = host->unavailable = true;
        log_event(LOG_LEVEL_INFO, "host failed on seven days: marked unavailable",
                  LOG_TEXT("host", host->name));
        forget_cache(a);
    }
    one_less(t);
}

struct failing {
    struct tracking *t;
    char host[];
};

static void on_days(void *arg, enum redis_status status, const redisReply *reply)
{
    struct failing *failing = arg;
    struct tracking *t = failing->t;

    if (status == REDIS_REPLIED && reply->type == REDIS_REPLY_INTEGER &&
        reply->integer >= TRACKER_DAYS) {
        const struct str parameters[] = {str_of(failing->host)};
        t->pending++;
        postgres_query(
            t->a->o.postgres, on_inserted, t, TRACKER_WAIT_MS,
            "INSERT INTO unavailable_domains (domain, created_at, updated_at) VALUES ($1, "
            "now() AT TIME ZONE 'utc', now() AT TIME ZONE 'utc') ON CONFLICT (domain) DO NOTHING "
            "RETURNING domain",
            1, parameters);
    }
    free(failing);
    one_less(t);
}

static void on_effect(void *arg, enum redis_status status, const redisReply *reply)
{
    (void)status;
    (void)reply;
    one_less(arg);
}

static void track_failure(struct tracking *t, struct str host)
{
    struct availability *a = t->a;
    time_t now = (time_t)(clock_wall_us(a->o.clock) / 1000000);
    struct tm utc;
    char day[16];
    char *key = mem_printf("%sexhausted_deliveries:%.*s", a->prefix, STR_ARG(host));
    struct failing *failing = mem_alloc(sizeof(*failing) + host.len + 1);

    gmtime_r(&now, &utc);
    strftime(day, sizeof(day), "%Y%m%d", &utc);
    failing->t = t;
    memcpy(failing->host, host.ptr, host.len);
    const struct str add[] = {STR("SADD"), str_of(key), str_of(day)};
    const struct str count[] = {STR("SCARD"), str_of(key)};
    t->pending += 2;
    redis_send(a->o.redis_base, on_effect, t, 3, add);
    redis_send(a->o.redis_base, on_days, failing, 2, count);
    free(key);
}

static void note_deleted(struct availability *a, PGresult *result)
{
    for (int row = 0; row < PQntuples(result); row++) {
        struct host *host = host_for(a, str_of(PQgetvalue(result, row, 0)));
        host->unavailable = false;
        log_event(LOG_LEVEL_INFO, "host takes deliveries again: unavailable mark removed",
                  LOG_TEXT("host", host->name));
    }
    if (PQntuples(result) > 0)
        forget_cache(a);
}

static void on_deleted(void *arg, enum postgres_status status, PGresult *result,
                       const char *message)
{
    struct tracking *t = arg;

    if (status == POSTGRES_OK)
        note_deleted(t->a, result);
    else
        complain(t->a, status, result, message);
    one_less(t);
}

static const char delete_rows[] =
    "DELETE FROM unavailable_domains WHERE domain = ANY($1::text[]) RETURNING domain";

/* True when a row is there for all we know, so that its removal is waited for. */
static bool may_have_row(struct availability *a, const struct host *host)
{
    return !host->known || host->unavailable ||
           clock_mono_ms(a->o.clock) - host->read_ms > (int64_t)2 * AVAILABILITY_FRESH_MS;
}

static void on_background_deleted(void *arg, enum postgres_status status, PGresult *result,
                                  const char *message)
{
    struct availability *a = arg;

    if (status == POSTGRES_OK)
        note_deleted(a, result);
    else
        complain(a, status, result, message);
}

static void on_background(void *arg)
{
    struct availability *a = arg;
    struct buf names;
    size_t at = 0;
    size_t count = 0;
    struct host *host;

    buf_init(&names, NAMES_BYTES);
    while (count < BATCH_HOSTS && (host = table_next(a->hosts, &at)) != NULL) {
        if (!host->to_clear)
            continue;
        postgres_array_add(&names, str_of(host->name));
        host->to_clear = false;
        count++;
    }
    if (count == BATCH_HOSTS)
        loop_timer_set(a->background, BACKGROUND_MS);
    postgres_array_end(&names);
    const struct str parameters[] = {buf_str(&names)};
    postgres_query(a->o.postgres, on_background_deleted, a, ASK_DEADLINE_MS, delete_rows, 1,
                   parameters);
    buf_clear(&names);
}

/* One DEL for all hosts of the batch, one DELETE for those that may have a row. */
static void track_successes(struct tracking *t, struct str *hosts, size_t count)
{
    struct availability *a = t->a;
    struct str *words = mem_alloc((count + 1) * sizeof(*words));
    char **keys = mem_alloc(count * sizeof(*keys));
    struct buf rows;

    buf_init(&rows, NAMES_BYTES);
    words[0] = STR("DEL");
    for (size_t i = 0; i < count; i++) {
        struct host *host = host_for(a, hosts[i]);
        keys[i] = mem_printf("%sexhausted_deliveries:%s", a->prefix, host->name);
        words[i + 1] = str_of(keys[i]);
        if (may_have_row(a, host)) {
            postgres_array_add(&rows, hosts[i]);
        } else {
            host->to_clear = true;
            if (!loop_timer_pending(a->background))
                loop_timer_set(a->background, BACKGROUND_MS);
        }
    }
    t->pending++;
    redis_send(a->o.redis_base, on_effect, t, count + 1, words);
    if (rows.len > 0) {
        postgres_array_end(&rows);
        const struct str parameters[] = {buf_str(&rows)};
        t->pending++;
        postgres_query(a->o.postgres, on_deleted, t, TRACKER_WAIT_MS, delete_rows, 1, parameters);
    }
    buf_clear(&rows);
    for (size_t i = 0; i < count; i++)
        free(keys[i]);
    free(keys);
    free(words);
}

/* The last event of a host in the batch is what counts. */
static bool is_last_of_host(const struct tracker_event *events, size_t count, size_t i)
{
    for (size_t j = i + 1; j < count; j++) {
        if (str_equal(events[i].host, events[j].host))
            return false;
    }
    return true;
}

void availability_track(struct availability *a, const struct tracker_event *events, size_t count,
                        loop_fn *done, void *arg)
{
    struct tracking *t = tracking_create(a, done, arg);
    struct str *successes = mem_alloc((count + 1) * sizeof(*successes));
    size_t success_count = 0;

    t->pending = 1; /* until all are sent */
    for (size_t i = 0; i < count; i++) {
        if (!is_last_of_host(events, count, i) || events[i].host.len > MAX_HOST_BYTES)
            continue;
        if (events[i].success)
            successes[success_count++] = events[i].host;
        else
            track_failure(t, events[i].host);
    }
    if (success_count > 0)
        track_successes(t, successes, success_count);
    free(successes);
    one_less(t);
}

struct availability *availability_create(const struct availability_options *options)
{
    struct availability *a = mem_alloc(sizeof(*a));
    struct str space = options->redis_namespace;

    a->o = *options;
    a->hosts = table_create();
    a->prefix = space.len > 0 ? mem_printf("%.*s:", STR_ARG(space)) : str_dup(STR_NULL);
    a->cache_key = space.len > 0 ? mem_printf("%.*s_cache:unavailable_domains", STR_ARG(space))
                                 : str_dup(STR("cache:unavailable_domains"));
    a->background = loop_timer_create(options->base, on_background, a);
    a->sweep = loop_timer_create(options->base, on_sweep, a);
    loop_timer_set(a->sweep, SWEEP_MS);
    return a;
}

void availability_destroy(struct availability *a)
{
    size_t at = 0;
    struct host *host;

    if (a == NULL)
        return;
    while ((host = table_next(a->hosts, &at)) != NULL) {
        free(host->name);
        free(host);
    }
    table_destroy(a->hosts);
    for (struct tracking *t = a->trackings, *next; t != NULL; t = next) {
        next = t->next;
        loop_timer_destroy(t->timer);
        free(t);
    }
    loop_timer_destroy(a->background);
    loop_timer_destroy(a->sweep);
    free(a->reading);
    free(a->queue);
    free(a->prefix);
    free(a->cache_key);
    free(a);
}
