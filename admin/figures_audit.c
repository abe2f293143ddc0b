/* What admins did: as PostgreSQL has it, and what still waits in Redis to be written there. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "admin/figures.h"
#include "admin/figures_audit.h"
#include "admin/figures_value.h"
#include "admin/orders.h"
#include "admin/words.h"

enum { AUDIT_LINES = 5, MAX_WAITING = 1000 };

struct audit {
    json_t *items;     /* the latest first */
    struct str domain; /* only of this name and its patterns; empty: all */
    int64_t before_us; /* 0: all */
    int64_t waiting;
};

static const char audit_sql[] =
    "SELECT id, extract(epoch FROM at), who, action, domain, detail FROM fedpush.audit"
    " WHERE ($1::bigint = 0 OR at < to_timestamp($1::bigint / 1000000.0)) AND"
    " ($2::text = '' OR domain = $2 OR domain = '*.' || $2) ORDER BY at DESC, id LIMIT $3::bigint";

static bool is_action(const json_t *action, const char *name)
{
    const char *text = json_string_value(action);
    return text != NULL && strcmp(text, name) == 0;
}

/* The detail of what was ordered, as sentences; null: names, or what another version wrote. */
static json_t *says_of(const json_t *action, const json_t *detail)
{
    static const char between[] = ", ";
    bool limits = is_action(action, "domain limit");
    bool good = limits || is_action(action, "domain dropped");
    struct str rest = str_of(json_string_value(detail));
    struct said said;

    said_init(&said, ORDERS_WORDS_BYTES);
    good = good && rest.len > 0;
    while (good && rest.len > 0) {
        const char *comma = limits ? strstr(rest.ptr, between) : NULL;
        struct str part = {rest.ptr, comma != NULL ? (size_t)(comma - rest.ptr) : rest.len};
        good = said_read(&said, between, limits ? "policy" : "drop", part);
        rest = str_slice(rest, part.len + strlen(between));
    }
    json_t *list = good ? words_json_said(&said) : json_null();
    said_clear(&said);
    return list;
}

static json_t *item_of(json_t *id, double at_s, json_t *who, json_t *action, json_t *domain,
                       json_t *detail)
{
    json_t *says = says_of(action, detail);

    return json_pack("{s:o, s:f, s:o, s:o, s:o, s:o, s:o}", "id", id, "at", at_s, "who", who,
                     "action", action, "domain", domain, "detail", detail, "says", says);
}

static bool has(const json_t *items, const char *id)
{
    const json_t *item;
    size_t i;

    json_array_foreach(items, i, item)
    {
        if (strcmp(json_string_value(json_object_get(item, "id")), id) == 0)
            return true;
    }
    return false;
}

/* Sorted in, by time. */
static void insert(struct audit *audit, double at_s, json_t *item)
{
    size_t i = 0;

    while (i < json_array_size(audit->items) &&
           json_number_value(json_object_get(json_array_get(audit->items, i), "at")) > at_s)
        i++;
    json_array_insert_new(audit->items, i, item);
}

static void on_rows(void *arg, PGresult *result)
{
    struct audit *audit = arg;

    for (int row = 0; row < PQntuples(result); row++) {
        if (has(audit->items, PQgetvalue(result, row, 0)))
            continue;
        double at_s = figures_pg_seconds(result, row, 1);
        insert(audit, at_s,
               item_of(figures_pg_text(result, row, 0), at_s, figures_pg_text(result, row, 2),
                       figures_pg_text(result, row, 3), figures_pg_text(result, row, 4),
                       figures_pg_text(result, row, 5)));
    }
}

static bool is_about(const struct audit *audit, struct str name)
{
    return audit->domain.len == 0 || str_equal(name, audit->domain) ||
           (str_starts_with(name, STR("*.")) && str_equal(str_slice(name, 2), audit->domain));
}

/* "VERSION\nWHO\nACTION\nNAME\nDETAIL" (sched/keys.h). */
static void on_waiting(void *arg, const redisReply *reply)
{
    struct audit *audit = arg;

    for (size_t i = 0; reply->type == REDIS_REPLY_ARRAY && i + 1 < reply->elements &&
                       audit->waiting < MAX_WAITING;
         i += 2) {
        struct str rest = figures_reply_text(reply->element[i + 1]);
        struct str lines[AUDIT_LINES];
        int64_t at_us;
        for (int n = 0; n < AUDIT_LINES; n++) {
            size_t end = n == AUDIT_LINES - 1 ? rest.len : str_find(rest, '\n');
            lines[n] = (struct str){rest.ptr, end};
            rest = str_slice(rest, end + 1);
        }
        if (!str_to_i64(lines[0], 0, INT64_MAX, &at_us) || !is_about(audit, lines[3]) ||
            (audit->before_us != 0 && at_us >= audit->before_us))
            continue;
        audit->waiting++;
        insert(audit, (double)at_us / 1e6,
               item_of(figures_text(figures_reply_text(reply->element[i])), (double)at_us / 1e6,
                       figures_text(lines[1]), figures_text(lines[2]), figures_text(lines[3]),
                       figures_text(lines[4])));
    }
}

static bool read_waiting(struct audit *audit, struct session *session, struct err *err)
{
    const struct str words[] = {STR("HGETALL"), str_of(session->keys.audit)};
    struct redis *redis = session_redis(session, REDIS_ROLE_SIDEKIQ, err);

    return redis != NULL && session_command(session, redis, 2, words, on_waiting, audit, err);
}

static bool read_written(struct audit *audit, struct desk *desk, int64_t limit, struct err *err)
{
    struct postgres *postgres = desk_postgres(desk, POSTGRES_ROLE_FEDPUSH, err);
    char *before = mem_printf("%" PRId64, audit->before_us);
    char *count = mem_printf("%" PRId64, limit);
    const struct str parameters[] = {
        str_of(before), audit->domain.len > 0 ? audit->domain : STR(""), str_of(count)};
    bool good = postgres != NULL && session_query(&desk->session, postgres, audit_sql, 3,
                                                  parameters, on_rows, audit, err);

    free(before);
    free(count);
    return good;
}

json_t *figures_audit_items(struct desk *desk, struct str domain, int64_t limit, int64_t before_us,
                            struct err *err)
{
    struct audit audit = {.items = json_array(), .domain = domain, .before_us = before_us};
    struct err ignored;

    /* Redis first: what moves from there meanwhile is then seen twice, not missed. */
    bool waiting = read_waiting(&audit, &desk->session, &ignored);
    bool written = read_written(&audit, desk, limit, err);
    if (!written && !(waiting && audit.waiting > 0)) {
        json_decref(audit.items);
        return NULL;
    }
    while ((int64_t)json_array_size(audit.items) > limit)
        json_array_remove(audit.items, json_array_size(audit.items) - 1);
    return audit.items;
}

json_t *figures_audit(struct desk *desk, int64_t limit, int64_t before_us, struct err *err)
{
    json_t *items = figures_audit_items(desk, STR_NULL, limit + 1, before_us, err);
    json_t *next = json_null();

    if (items == NULL)
        return NULL;
    if ((int64_t)json_array_size(items) > limit) {
        json_array_remove(items, (size_t)limit);
        const json_t *last = json_array_get(items, (size_t)limit - 1);
        next =
            json_integer((json_int_t)(json_number_value(json_object_get(last, "at")) * 1e6 + 0.5));
    }
    return json_pack("{s:o, s:o}", "items", items, "next", next);
}
