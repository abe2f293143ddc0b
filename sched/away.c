#include "sched/away.h"

#include <stdlib.h>

#include "base/table.h"

enum { SWEEP_MS = 30000 };

struct absent {
    int64_t created_us;
    int64_t back_ms;
    int64_t left_ms;
    bool booked; /* Redis has said so: it is in what away_heard hears */
};

struct absent_pair {
    uint64_t pair;
    unsigned count;
    unsigned capacity;
    struct absent *list;
};

struct away {
    struct table *by_pair;
    unsigned count;
    int64_t swept_ms;
};

struct away *away_create(void)
{
    struct away *away = mem_alloc(sizeof(*away));

    away->by_pair = table_create();
    return away;
}

static void pair_free(struct absent_pair *pair)
{
    free(pair->list);
    free(pair);
}

void away_destroy(struct away *away)
{
    size_t at = 0;
    struct absent_pair *pair;

    if (away == NULL)
        return;
    while ((pair = table_next(away->by_pair, &at)) != NULL)
        pair_free(pair);
    table_destroy(away->by_pair);
    free(away);
}

static struct absent *find(const struct absent_pair *pair, int64_t created_us)
{
    for (unsigned i = 0; pair != NULL && i < pair->count; i++) {
        if (pair->list[i].created_us == created_us)
            return &pair->list[i];
    }
    return NULL;
}

/* Full of what isn't awaited any more; looking through all of it is dear. */
static bool has_room(struct away *away, int64_t now_ms)
{
    if (away->count >= AWAY_MAX && now_ms - away->swept_ms >= SWEEP_MS)
        away_sweep(away, now_ms);
    return away->count < AWAY_MAX;
}

static void append(struct away *away, struct absent_pair *pair, struct absent absent)
{
    if (pair->count == pair->capacity) {
        pair->capacity = pair->capacity > 0 ? pair->capacity * 2 : 1;
        pair->list = mem_realloc(pair->list, pair->capacity * sizeof(struct absent));
    }
    pair->list[pair->count++] = absent;
    away->count++;
}

void away_add(struct away *away, uint64_t pair, int64_t created_us, int64_t back_ms, int64_t now_ms)
{
    struct absent_pair *its = table_get(away->by_pair, table_key_u64(&pair));
    struct absent *known = find(its, created_us);

    if (known != NULL) {
        *known = (struct absent){created_us, back_ms, now_ms, false};
        return;
    }
    if (pair == 0 || !has_room(away, now_ms))
        return;
    its = table_get(away->by_pair, table_key_u64(&pair)); /* making room may have freed it */
    if (its == NULL) {
        its = mem_alloc(sizeof(*its));
        its->pair = pair;
        table_put(away->by_pair, table_key_u64(&its->pair), its);
    }
    append(away, its, (struct absent){created_us, back_ms, now_ms, false});
}

void away_uncalled(struct away *away, uint64_t pair, int64_t created_us)
{
    struct absent *known = find(table_get(away->by_pair, table_key_u64(&pair)), created_us);

    if (known != NULL)
        known->left_ms = INT64_MAX;
}

void away_move(struct away *away, uint64_t pair, int64_t created_us, int64_t back_ms)
{
    struct absent *known = find(table_get(away->by_pair, table_key_u64(&pair)), created_us);

    if (known != NULL) {
        known->back_ms = back_ms;
        known->booked = true;
    }
}

static void drop(struct away *away, struct absent_pair *pair, struct absent *absent)
{
    *absent = pair->list[--pair->count];
    away->count--;
}

static void drop_empty(struct away *away, struct absent_pair *pair)
{
    if (pair->count > 0)
        return;
    table_remove(away->by_pair, table_key_u64(&pair->pair));
    pair_free(pair);
}

void away_back(struct away *away, uint64_t pair, int64_t created_us)
{
    struct absent_pair *its = table_get(away->by_pair, table_key_u64(&pair));
    struct absent *known = find(its, created_us);

    if (known == NULL)
        return;
    drop(away, its, known);
    drop_empty(away, its);
}

static bool is_among(const struct away_booked *booked, size_t count, int64_t created_us)
{
    for (size_t i = 0; i < count; i++) {
        if (booked[i].created_us == created_us)
            return true;
    }
    return false;
}

void away_heard(struct away *away, uint64_t pair, const struct away_booked *booked, size_t count,
                int64_t now_ms)
{
    struct absent_pair *its =
        away->count > 0 ? table_get(away->by_pair, table_key_u64(&pair)) : NULL;

    for (unsigned i = 0; its != NULL && i < its->count;) {
        if (its->list[i].booked && !is_among(booked, count, its->list[i].created_us))
            drop(away, its, &its->list[i]);
        else
            i++;
    }
    if (its != NULL)
        drop_empty(away, its);
    for (size_t i = 0; i < count; i++) {
        away_add(away, pair, booked[i].created_us, booked[i].back_ms, now_ms);
        away_move(away, pair, booked[i].created_us, booked[i].back_ms);
    }
}

int64_t away_until_ms(const struct away *away, uint64_t pair, int64_t created_us,
                      int64_t emptied_ms, int64_t now_ms)
{
    const struct absent_pair *its =
        away->count > 0 ? table_get(away->by_pair, table_key_u64(&pair)) : NULL;
    int64_t last_ms = INT64_MIN;

    for (unsigned i = 0; its != NULL && i < its->count; i++) {
        const struct absent *absent = &its->list[i];
        int64_t back_ms = absent->back_ms;
        if (absent->left_ms < emptied_ms && back_ms > emptied_ms)
            back_ms = emptied_ms;
        if (absent->created_us < created_us && back_ms + AWAY_GRACE_MS > now_ms &&
            back_ms + AWAY_GRACE_MS > last_ms)
            last_ms = back_ms + AWAY_GRACE_MS;
    }
    return last_ms;
}

unsigned away_sweep(struct away *away, int64_t now_ms)
{
    size_t at = 0;
    struct absent_pair *pair;

    away->swept_ms = now_ms;
    while ((pair = table_next(away->by_pair, &at)) != NULL) {
        for (unsigned i = 0; i < pair->count;) {
            if (pair->list[i].back_ms + AWAY_GRACE_MS <= now_ms)
                drop(away, pair, &pair->list[i]);
            else
                i++;
        }
        drop_empty(away, pair);
    }
    return away->count;
}
