#include "admin/next_due.h"

#include <stdlib.h>

enum { ASKED_AT_ONCE = 500 };

struct place {
    const struct waiting_due *due;
    double probe_s; /* of its open circuit; 0: it is closed */
};

struct look {
    const struct waiting *waiting;
    const struct orders *orders;
    struct policy fleet;
    struct place *places;
    size_t count;
    size_t first;                     /* of those that are asked about */
    const struct waiting_due *probed; /* the one that is tried next, if it is by a probe */
    struct err *err;
};

/* "open OPENED_MS PROBE_MS BACKOFF_MS" (sched/keys.h). */
static double probe_s_of(struct str value)
{
    struct str rest = str_slice(value, STR("open ").len);
    int64_t probe_ms;

    if (!str_starts_with(value, STR("open ")))
        return 0;
    rest = str_slice(rest, str_find(rest, ' ') + 1);
    rest.len = str_find(rest, ' ');
    return str_to_i64(rest, 1, INT64_MAX, &probe_ms) ? (double)probe_ms / 1000 : 0;
}

static void on_circuits(void *arg, const redisReply *reply)
{
    struct look *look = arg;

    for (size_t i = 0; reply->type == REDIS_REPLY_ARRAY && i < reply->elements; i++)
        look->places[look->first + i].probe_s = probe_s_of(redis_reply_text(reply->element[i]));
}

static bool ask_circuits(struct look *look)
{
    struct session *session = look->waiting->session;
    struct str words[2 + ASKED_AT_ONCE] = {STR("HMGET"), str_of(session->keys.circuit)};
    bool good = true;

    for (look->first = 0; good && look->first < look->count; look->first += ASKED_AT_ONCE) {
        size_t left = look->count - look->first;
        size_t asked = left < ASKED_AT_ONCE ? left : ASKED_AT_ONCE;
        for (size_t i = 0; i < asked; i++)
            words[2 + i] = str_of(look->places[look->first + i].due->authority);
        good = session_command(session, look->orders->redis, 2 + asked, words, on_circuits, look,
                               look->err);
    }
    return good;
}

/* When what waits there is tried. Nothing is while it is paused without an end. */
static struct next_due due_of(const struct look *look, const struct place *place)
{
    struct next_due next = {.at_s = place->due->due_s, .error = place->due->error};
    struct policy policy;
    int64_t until_s;

    (void)policy_book_sum(look->orders->book, place->due->host, look->orders->now_s, &policy);
    if (place->probe_s > 0) {
        next.at_s = place->probe_s;
        next.why = PHRASE_DUE_PROBE;
    }
    if (look->fleet.paused && look->fleet.paused_until_s == 0)
        return (struct next_due){.why = PHRASE_DUE_FLEET_PAUSED, .error = next.error};
    if (policy.paused && policy.paused_until_s == 0)
        return (struct next_due){.why = PHRASE_DUE_PAUSED, .error = next.error};
    until_s = policy.paused ? policy.paused_until_s : 0;
    if (look->fleet.paused && look->fleet.paused_until_s > until_s)
        until_s = look->fleet.paused_until_s;
    if (next.at_s > 0 && (double)until_s > next.at_s) {
        next.at_s = (double)until_s;
        next.why = PHRASE_DUE_PAUSE_ENDS;
    }
    return next;
}

/* A time is better than none, and an earlier one better than a later. */
static bool comes_first(const struct next_due *one, const struct next_due *other)
{
    if (one->at_s > 0)
        return other->at_s <= 0 || one->at_s < other->at_s;
    return other->at_s <= 0 && other->why == PHRASE_NONE && one->why != PHRASE_NONE;
}

static void on_exists(void *arg, const redisReply *reply)
{
    bool *exists = arg;
    *exists = reply->type == REDIS_REPLY_INTEGER && reply->integer == 1;
}

static bool ask_probe(const struct look *look, struct next_due *next)
{
    struct session *session = look->waiting->session;
    char *key = keys_probe(&session->keys, str_of(look->probed->authority));
    const struct str words[] = {STR("EXISTS"), str_of(key)};
    bool probing = false;
    bool good =
        session_command(session, look->orders->redis, 2, words, on_exists, &probing, look->err);

    if (probing)
        next->why = PHRASE_DUE_PROBING;
    free(key);
    return good;
}

static bool find(struct look *look, struct next_due *next)
{
    if (!ask_circuits(look))
        return false;
    for (size_t i = 0; i < look->count; i++) {
        const struct next_due due = due_of(look, &look->places[i]);
        if (!comes_first(&due, next))
            continue;
        *next = due;
        look->probed = due.why == PHRASE_DUE_PROBE ? look->places[i].due : NULL;
    }
    return look->probed == NULL || ask_probe(look, next);
}

bool next_due_find(struct next_due *next, const struct waiting *waiting,
                   const struct orders *orders, struct err *err)
{
    struct look look = {.waiting = waiting, .orders = orders, .err = err};
    const struct waiting_due *due;
    size_t at = 0;

    *next = (struct next_due){.why = PHRASE_NONE};
    look.fleet = orders_get(orders, POLICY_FLEET);
    look.places = mem_alloc((table_count(waiting->dues) + 1) * sizeof(struct place));
    while ((due = table_next(waiting->dues, &at)) != NULL)
        look.places[look.count++].due = due;
    bool good = find(&look, next);
    free(look.places);
    return good;
}
