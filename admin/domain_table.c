#include "admin/domain_table.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "admin/follower_counts.h"
#include "admin/orders.h"
#include "base/table.h"

enum {
    FRESH_MS = 5000,
    USABLE_MS = 600 * 1000,
    PAST_AGAIN_MS = 60 * 1000,
    PAST_OLD_MS = 600 * 1000, /* PostgreSQL may have been away: then old hours are written late */
    CIRCUIT_PAGES = 200,
    LAST_ERROR_BYTES = 500,
};

const char *const domain_state_names[] = {"healthy", "failing",     "open", "paused",
                                          "limited", "unavailable", "idle"};

struct domain_table {
    struct desk *desk;
    struct table *rows;        /* struct domain_row */
    struct table *unavailable; /* struct name: Mastodon's */
    struct orders orders;      /* as of the last reading of Redis */
    bool orders_read;
    double at_s;
    int64_t read_ms;  /* monotonic; 0: never whole */
    int64_t hour_s;   /* that the past hours were read in; 0: they are to be read */
    int64_t past_ms;  /* when that was */
    int64_t now_hour; /* of this reading */
    unsigned reading;
    bool cut;
    char cursor[24];
    struct err *err;
};

struct name {
    char *text;
};

/* --- rows --- */

static struct domain_row *row_of(struct domain_table *t, struct str host)
{
    struct domain_row *row = table_get(t->rows, host);

    if (row == NULL && table_count(t->rows) >= 2 * (size_t)DOMAIN_TABLE_MAX)
        return NULL;
    if (row == NULL) {
        row = mem_alloc(sizeof(*row));
        row->host = str_dup(host);
        row->last_status = -1;
        row->added = true;
        table_put(t->rows, str_of(row->host), row);
    }
    row->reading = t->reading;
    return row;
}

static void free_row(struct domain_table *t, struct domain_row *row)
{
    table_remove(t->rows, str_of(row->host));
    free(row->host);
    free(row->last_error);
    free(row);
}

static void free_names(struct table *names)
{
    struct name *name;
    size_t at = 0;

    while ((name = table_next(names, &at)) != NULL) {
        table_remove(names, str_of(name->text));
        free(name->text);
        free(name);
    }
}

static struct domain_table *create(struct desk *desk)
{
    struct domain_table *t = mem_alloc(sizeof(*t));

    t->desk = desk;
    t->rows = table_create();
    t->unavailable = table_create();
    return t;
}

void domain_table_destroy(struct domain_table *t)
{
    struct domain_row *row;
    size_t at = 0;

    if (t == NULL)
        return;
    while ((row = table_next(t->rows, &at)) != NULL)
        free_row(t, row);
    table_destroy(t->rows);
    free_names(t->unavailable);
    table_destroy(t->unavailable);
    if (t->orders_read)
        orders_close(&t->orders);
    free(t);
}

/* --- PostgreSQL --- */

static int64_t number(const PGresult *row, int column)
{
    return strtoll(PQgetvalue(row, 0, column), NULL, 10);
}

static void on_health(void *arg, const PGresult *result)
{
    struct domain_table *t = arg;
    struct domain_row *row;

    if (number(result, 8) > DOMAIN_TABLE_MAX) {
        t->cut = true;
        return;
    }
    row = row_of(t, str_of(PQgetvalue(result, 0, 0)));
    if (row == NULL)
        return;
    row->total_delivered = number(result, 1);
    row->total_attempts = number(result, 2);
    row->streak = number(result, 3);
    row->last_success_s = strtod(PQgetvalue(result, 0, 4), NULL);
    row->failing_since_s = strtod(PQgetvalue(result, 0, 5), NULL);
    row->last_status = PQgetisnull(result, 0, 6) ? -1 : number(result, 6);
    free(row->last_error);
    row->last_error = NULL;
    if (!PQgetisnull(result, 0, 7))
        row->last_error = mem_printf("%.*s", LAST_ERROR_BYTES, PQgetvalue(result, 0, 7));
}

/* One more than fit shows that there are more. */
static const char health_sql[] =
    "SELECT host, delivered, delivered + retried + rejected + exhausted, consecutive_failures,"
    " extract(epoch FROM last_success_at), extract(epoch FROM failing_since), last_status,"
    " last_error, row_number() OVER (ORDER BY last_attempt_at DESC NULLS LAST)"
    " FROM fedpush.domain_health ORDER BY 9 LIMIT 50001";

/* `$1`: the present hour. Hours are UTC's; what is older than the one before is written no more. */
static const char past_sql[] =
    "SELECT host, delivered, retried, rejected, exhausted, latency FROM fedpush.domain_hourly"
    " WHERE hour >= to_timestamp($1) - interval '23 hours' AND"
    " hour < to_timestamp($1) - interval '1 hour'";
static const char fresh_sql[] =
    "SELECT host, delivered, retried, rejected, exhausted, latency FROM fedpush.domain_hourly"
    " WHERE hour >= to_timestamp($1) - interval '1 hour'";

static void add_counts(struct domain_counts *counts, const PGresult *result)
{
    counts->delivered += number(result, 1);
    counts->retried += number(result, 2);
    counts->rejected += number(result, 3);
    counts->exhausted += number(result, 4);
    (void)!latency_add_array(&counts->latency, str_of(PQgetvalue(result, 0, 5)));
}

static void on_past(void *arg, const PGresult *result)
{
    struct domain_table *t = arg;
    struct domain_row *row = table_get(t->rows, str_of(PQgetvalue(result, 0, 0)));

    if (row != NULL)
        add_counts(&row->past, result);
}

static void on_fresh(void *arg, const PGresult *result)
{
    struct domain_table *t = arg;
    struct domain_row *row = table_get(t->rows, str_of(PQgetvalue(result, 0, 0)));

    if (row != NULL)
        add_counts(&row->fresh, result);
}

static void on_now(void *arg, PGresult *result)
{
    struct domain_table *t = arg;

    if (PQntuples(result) != 1)
        return;
    t->at_s = strtod(PQgetvalue(result, 0, 0), NULL);
    t->now_hour = (int64_t)t->at_s / 3600 * 3600;
}

static int64_t attempts(const struct domain_counts *counts)
{
    return counts->delivered + counts->retried + counts->rejected + counts->exhausted;
}

/* What has come back into the table lacks its past. */
static bool lacks_past(const struct domain_table *t)
{
    const struct domain_row *row;
    size_t at = 0;

    while ((row = table_next(t->rows, &at)) != NULL) {
        if (row->added && row->total_attempts > attempts(&row->fresh))
            return true;
    }
    return false;
}

static bool read_past(struct domain_table *t, struct postgres *postgres, const struct str *hour)
{
    struct domain_row *row;
    size_t at = 0;

    while ((row = table_next(t->rows, &at)) != NULL)
        row->past = (struct domain_counts){.delivered = 0};
    t->hour_s = 0;
    t->past_ms = clock_mono_ms(&t->desk->session.clock);
    if (!session_stream(&t->desk->session, postgres, past_sql, 1, hour, on_past, t, t->err))
        return false;
    t->hour_s = t->now_hour;
    return true;
}

static bool read_hours(struct domain_table *t, struct postgres *postgres)
{
    char text[24];
    const struct str hour = {text,
                             (size_t)snprintf(text, sizeof(text), "%lld", (long long)t->now_hour)};
    int64_t now_ms = clock_mono_ms(&t->desk->session.clock);
    struct domain_row *row;
    size_t at = 0;

    while ((row = table_next(t->rows, &at)) != NULL)
        row->fresh = (struct domain_counts){.delivered = 0};
    if (!session_stream(&t->desk->session, postgres, fresh_sql, 1, &hour, on_fresh, t, t->err))
        return false;
    if (t->hour_s != t->now_hour || now_ms - t->past_ms > PAST_OLD_MS ||
        (now_ms - t->past_ms > PAST_AGAIN_MS && lacks_past(t)))
        return read_past(t, postgres, &hour);
    return true;
}

/* Rows that no part of the reading has seen are gone. */
static void sweep(struct domain_table *t)
{
    struct domain_row *row;
    size_t at = 0;

    while ((row = table_next(t->rows, &at)) != NULL) {
        row->added = false;
        if (row->reading != t->reading)
            free_row(t, row);
    }
}

static bool read_records(struct domain_table *t)
{
    struct session *session = &t->desk->session;
    struct postgres *postgres = desk_postgres(t->desk, POSTGRES_ROLE_FEDPUSH, t->err);

    if (postgres == NULL)
        return false;
    t->cut = false;
    t->read_ms = 0; /* half a reading is none */
    return session_query(session, postgres, "SELECT extract(epoch FROM now())", 0, NULL, on_now, t,
                         t->err) &&
           session_stream(session, postgres, health_sql, 0, NULL, on_health, t, t->err) &&
           read_hours(t, postgres);
}

static void on_unavailable(void *arg, PGresult *result)
{
    struct domain_table *t = arg;

    free_names(t->unavailable);
    for (int row = 0; row < PQntuples(result); row++) {
        struct str text = str_of(PQgetvalue(result, row, 0));
        if (table_get(t->unavailable, text) != NULL)
            continue;
        struct name *name = mem_alloc(sizeof(*name));
        name->text = str_dup(text);
        table_put(t->unavailable, str_of(name->text), name);
    }
}

/* What can't be read stays as it was. */
static void read_unavailable(struct domain_table *t)
{
    struct err err;
    struct postgres *postgres = desk_postgres(t->desk, POSTGRES_ROLE_MASTODON, &err);

    if (postgres != NULL)
        (void)session_query(&t->desk->session, postgres,
                            "SELECT domain FROM unavailable_domains LIMIT 200000", 0, NULL,
                            on_unavailable, t, &err);
}

/* --- Redis --- */

static void on_circuits(void *arg, const redisReply *reply)
{
    struct domain_table *t = arg;

    snprintf(t->cursor, sizeof(t->cursor), "0");
    if (reply->type != REDIS_REPLY_ARRAY || reply->elements != 2 ||
        reply->element[0]->type != REDIS_REPLY_STRING ||
        reply->element[1]->type != REDIS_REPLY_ARRAY)
        return;
    snprintf(t->cursor, sizeof(t->cursor), "%s", reply->element[0]->str);
    for (size_t i = 0; i + 1 < reply->element[1]->elements; i += 2) {
        const redisReply *host = reply->element[1]->element[i];
        const redisReply *value = reply->element[1]->element[i + 1];
        if (host->type != REDIS_REPLY_STRING || value->type != REDIS_REPLY_STRING ||
            !str_starts_with((struct str){value->str, (size_t)value->len}, STR("open ")))
            continue;
        struct domain_row *row = row_of(t, (struct str){host->str, (size_t)host->len});
        if (row != NULL)
            row->open = true;
    }
}

static void read_circuits(struct domain_table *t, struct redis *redis)
{
    struct err err;
    struct domain_row *row;
    size_t at = 0;

    while ((row = table_next(t->rows, &at)) != NULL)
        row->open = false;
    snprintf(t->cursor, sizeof(t->cursor), "0");
    for (int page = 0; page < CIRCUIT_PAGES; page++) {
        char *cursor = str_dup(str_of(t->cursor));
        const struct str scan[] = {STR("HSCAN"), str_of(t->desk->session.keys.circuit),
                                   str_of(cursor), STR("COUNT"), STR("1000")};
        bool good = session_command(&t->desk->session, redis, 5, scan, on_circuits, t, &err);
        free(cursor);
        if (!good || strcmp(t->cursor, "0") == 0)
            break;
    }
}

/* Hosts that an order names are there even when nothing was ever sent to them. */
static void add_ordered(struct domain_table *t)
{
    const struct policy_entry *entry;
    size_t at = 0;

    while ((entry = policy_book_each(t->orders.book, &at)) != NULL) {
        const struct policy now = policy_at(&entry->policy, t->orders.now_s);
        if (!policy_is_empty(&now) && entry->name[0] != '*' && entry->name[0] != '@')
            (void)row_of(t, str_of(entry->name));
    }
}

static void read_orders(struct domain_table *t)
{
    struct orders orders;
    struct err err;

    if (!orders_open(&orders, &t->desk->session, &err)) {
        orders_close(&orders);
    } else {
        if (t->orders_read)
            orders_close(&t->orders);
        t->orders = orders;
        t->orders_read = true;
    }
    if (t->orders_read)
        add_ordered(t);
}

static void read_redis(struct domain_table *t)
{
    struct err err;
    struct redis *redis = session_redis(&t->desk->session, REDIS_ROLE_SIDEKIQ, &err);

    if (redis == NULL)
        return;
    read_circuits(t, redis);
    read_orders(t);
}

/* --- all of it --- */

struct str domain_table_name(struct str host)
{
    size_t end = host.len;

    while (end > 0 && host.ptr[end - 1] >= '0' && host.ptr[end - 1] <= '9')
        end--;
    return end > 0 && end < host.len && host.ptr[end - 1] == ':' ? (struct str){host.ptr, end - 1}
                                                                 : host;
}

struct policy domain_table_policy(const struct domain_table *t, struct str host, struct str *name)
{
    const struct policy_entry *entry = NULL;
    struct policy policy = {.paused = false};

    if (t->orders_read)
        entry = policy_book_sum(t->orders.book, domain_table_name(host), t->orders.now_s, &policy);
    if (name != NULL)
        *name = entry != NULL ? str_of(entry->name) : STR_NULL;
    return policy;
}

static enum domain_state state_of(const struct domain_table *t, const struct domain_row *row)
{
    const struct policy policy = domain_table_policy(t, str_of(row->host), NULL);

    if (table_get(t->unavailable, domain_table_name(str_of(row->host))) != NULL)
        return DOMAIN_UNAVAILABLE;
    if (policy.paused)
        return DOMAIN_PAUSED;
    if (row->open)
        return DOMAIN_OPEN;
    if (row->streak > 0)
        return DOMAIN_FAILING;
    if (!policy_is_empty(&policy))
        return DOMAIN_LIMITED;
    return attempts(&row->past) + attempts(&row->fresh) > 0 ? DOMAIN_HEALTHY : DOMAIN_IDLE;
}

static bool read_all(struct domain_table *t, struct err *err)
{
    struct domain_row *row;
    size_t at = 0;

    t->err = err;
    t->reading++;
    if (!read_records(t))
        return false;
    read_unavailable(t);
    read_redis(t);
    sweep(t);
    while ((row = table_next(t->rows, &at)) != NULL)
        row->state = state_of(t, row);
    t->read_ms = clock_mono_ms(&t->desk->session.clock);
    return true;
}

const struct domain_table *domain_table_take(struct desk *desk, struct err *err)
{
    int64_t now_ms = clock_mono_ms(&desk->session.clock);
    struct domain_table *t = desk->domains;

    if (t == NULL)
        t = desk->domains = create(desk);
    if (desk->followers == NULL)
        desk->followers = follower_counts_create(&desk->session);
    follower_counts_tick(desk->followers);
    if (t->read_ms != 0 && now_ms - t->read_ms < FRESH_MS)
        return t;
    if (read_all(t, err))
        return t;
    return t->read_ms != 0 && now_ms - t->read_ms < USABLE_MS ? t : NULL;
}

double domain_table_at_s(const struct domain_table *table)
{
    return table->at_s;
}

bool domain_table_is_cut(const struct domain_table *table)
{
    return table->cut;
}

size_t domain_table_count(const struct domain_table *table)
{
    return table_count(table->rows);
}

const struct domain_row *domain_table_find(const struct domain_table *table, struct str host)
{
    return table_get(table->rows, host);
}

void domain_table_blank(const struct domain_table *table, char *host, struct domain_row *row)
{
    *row = (struct domain_row){.host = host, .last_status = -1};
    row->state = state_of(table, row);
}

const struct domain_row *domain_table_each(const struct domain_table *table, size_t *at)
{
    return table_next(table->rows, at);
}

int64_t domain_table_now_s(const struct domain_table *table)
{
    return table->orders_read ? table->orders.now_s : (int64_t)table->at_s;
}
