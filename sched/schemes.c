#include "sched/schemes.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "base/log.h"
#include "base/table.h"
#include "base/url.h"

enum { SEND_ORIGINS = 128, READ_MEMBERS = 1000, SWEEP_MS = 600 * 1000, SCORE_BYTES = 40 };

/* What an origin's entry has to tell Redis: bits. */
enum { NEWS_CAVAGE = 1 << 0, NEWS_RFC9421 = 1 << 1, NEWS_VAIN = 1 << 2 };
static const char *const kinds[] = {"cavage", "rfc9421", "vain"};

struct entry {
    char *origin;
    int64_t rfc9421_until_ms; /* monotonic */
    int64_t vain_until_ms;
    unsigned news;   /* to be sent */
    unsigned on_way; /* sent, not acknowledged */
    TAILQ_ENTRY(entry) link;
};
TAILQ_HEAD(entry_list, entry);

struct schemes {
    const struct clock *clock;
    struct redis *redis;
    const struct keys *keys;
    struct table *by_origin;
    struct entry_list unsent; /* news, nothing on its way */
    struct entry_list sent;   /* something on its way */
    bool asking;
    char since[SCORE_BYTES]; /* the score where the last reading ended */
    int64_t asked_ms;
    int64_t swept_ms;
};

struct schemes *schemes_create(const struct clock *clock, struct redis *redis,
                               const struct keys *keys)
{
    struct schemes *s = mem_alloc(sizeof(*s));

    s->clock = clock;
    s->redis = redis;
    s->keys = keys;
    s->by_origin = table_create();
    TAILQ_INIT(&s->unsent);
    TAILQ_INIT(&s->sent);
    s->swept_ms = clock_mono_ms(clock);
    return s;
}

static void entry_free(struct entry *entry)
{
    free(entry->origin);
    free(entry);
}

void schemes_destroy(struct schemes *s)
{
    struct entry *entry;
    size_t at = 0;

    if (s == NULL)
        return;
    while ((entry = table_next(s->by_origin, &at)) != NULL) {
        table_remove(s->by_origin, str_of(entry->origin));
        entry_free(entry);
    }
    table_destroy(s->by_origin);
    free(s);
}

/* --- the table --- */

static void sweep(struct schemes *s)
{
    int64_t now_ms = clock_mono_ms(s->clock);
    struct entry *entry;
    size_t at = 0;

    s->swept_ms = now_ms;
    while ((entry = table_next(s->by_origin, &at)) != NULL) {
        if (entry->news != 0 || entry->on_way != 0 || entry->rfc9421_until_ms > now_ms ||
            entry->vain_until_ms > now_ms)
            continue;
        table_remove(s->by_origin, str_of(entry->origin));
        entry_free(entry);
    }
}

/* NULL when the table is full of what still holds. */
static struct entry *entry_of(struct schemes *s, struct str origin)
{
    struct entry *entry = table_get(s->by_origin, origin);

    if (entry != NULL)
        return entry;
    if (table_count(s->by_origin) >= SCHEMES_MAX)
        sweep(s);
    if (table_count(s->by_origin) >= SCHEMES_MAX)
        return NULL;
    entry = mem_alloc(sizeof(*entry));
    entry->origin = str_dup(origin);
    table_put(s->by_origin, str_of(entry->origin), entry);
    return entry;
}

static void set(struct entry *entry, unsigned kind, int64_t until_ms, int64_t vain_until_ms)
{
    if (kind == NEWS_VAIN) {
        entry->vain_until_ms = vain_until_ms;
        return;
    }
    entry->rfc9421_until_ms = kind == NEWS_RFC9421 ? until_ms : 0;
    entry->vain_until_ms = 0;
}

/* What an origin accepts undoes what was thought of it before. */
static unsigned joined(unsigned before, unsigned after)
{
    return after == NEWS_VAIN || after == 0 ? before | after : after;
}

enum knock schemes_knock(const struct schemes *s, struct str origin)
{
    const struct entry *entry = table_get(s->by_origin, origin);
    int64_t now_ms;

    if (entry == NULL)
        return KNOCK_CAVAGE_FIRST;
    now_ms = clock_mono_ms(s->clock);
    bool in_vain = entry->vain_until_ms > now_ms;
    if (entry->rfc9421_until_ms > now_ms)
        return in_vain ? KNOCK_RFC9421 : KNOCK_RFC9421_FIRST;
    return in_vain ? KNOCK_CAVAGE : KNOCK_CAVAGE_FIRST;
}

void schemes_learn(struct schemes *s, struct str origin, enum learnt learnt)
{
    static const unsigned bits[] = {[LEARNT_NOTHING] = 0,
                                    [LEARNT_CAVAGE] = NEWS_CAVAGE,
                                    [LEARNT_RFC9421] = NEWS_RFC9421,
                                    [LEARNT_NEITHER] = NEWS_VAIN};
    int64_t now_ms = clock_mono_ms(s->clock);
    struct entry *entry;

    if (learnt == LEARNT_NOTHING || (entry = entry_of(s, origin)) == NULL)
        return;
    set(entry, bits[learnt], now_ms + (int64_t)SCHEMES_ACCEPTED_S * 1000,
        now_ms + (int64_t)SCHEMES_VAIN_S * 1000);
    if (entry->news == 0 && entry->on_way == 0)
        TAILQ_INSERT_TAIL(&s->unsent, entry, link);
    entry->news = joined(entry->news, bits[learnt]);
    log_event(LOG_LEVEL_DEBUG, "signature scheme learnt", LOG_STR("origin", origin),
              LOG_TEXT("accepts", learnt == LEARNT_NEITHER  ? "neither"
                                  : learnt == LEARNT_CAVAGE ? "draft-cavage"
                                                            : "RFC 9421"));
}

size_t schemes_count(const struct schemes *s)
{
    return table_count(s->by_origin);
}

/* --- the exchange with Redis --- */

/* One member with its score: "rfc9421 https://a.example", "1800000000.000001". What isn't of this
 * form was written by somebody else. */
static void take_member(struct schemes *s, struct str member, double age_s)
{
    size_t space = str_find(member, ' ');
    struct str kind = {member.ptr, space};
    struct str origin = str_slice(member, space + 1);
    int64_t now_ms = clock_mono_ms(s->clock);
    int64_t age_ms = age_s > 0 ? (int64_t)(age_s * 1000) : 0;

    if (origin.len == 0 || origin.len > URL_MAX_BYTES || age_s > SCHEMES_ACCEPTED_S)
        return;
    for (unsigned i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        if (!str_equal(kind, str_of(kinds[i])))
            continue;
        struct entry *entry = entry_of(s, origin);
        if (entry != NULL)
            set(entry, 1U << i, now_ms + (int64_t)SCHEMES_ACCEPTED_S * 1000 - age_ms,
                now_ms + (int64_t)SCHEMES_VAIN_S * 1000 - age_ms);
    }
}

static bool is_number(const redisReply *reply, double *number)
{
    char *end;

    if (reply->type != REDIS_REPLY_STRING || reply->len == 0 || reply->len >= SCORE_BYTES)
        return false;
    *number = strtod(reply->str, &end);
    return *end == '\0';
}

static void take_members(struct schemes *s, const redisReply *reply)
{
    double now_s;
    double score;

    if (!is_number(reply->element[0], &now_s))
        return;
    for (size_t i = 1; i + 1 < reply->elements; i += 2) {
        const redisReply *member = reply->element[i];
        if (member->type != REDIS_REPLY_STRING || !is_number(reply->element[i + 1], &score))
            continue;
        take_member(s, (struct str){member->str, (size_t)member->len}, now_s - score);
        snprintf(s->since, sizeof(s->since), "%s", reply->element[i + 1]->str);
    }
}

/* What was sent has arrived, or must be sent again. */
static void settle_sent(struct schemes *s, bool arrived)
{
    struct entry *entry;

    while ((entry = TAILQ_FIRST(&s->sent)) != NULL) {
        TAILQ_REMOVE(&s->sent, entry, link);
        if (!arrived)
            entry->news = joined(entry->on_way, entry->news);
        entry->on_way = 0;
        if (entry->news != 0)
            TAILQ_INSERT_TAIL(&s->unsent, entry, link);
    }
}

static void exchange(struct schemes *s);

static void on_exchanged(void *arg, enum redis_status status, const redisReply *reply)
{
    struct schemes *s = arg;
    bool good = status == REDIS_REPLIED && reply->type == REDIS_REPLY_ARRAY && reply->elements > 0;

    s->asking = false;
    settle_sent(s, good);
    if (!good) {
        if (status == REDIS_REPLIED)
            log_event(LOG_LEVEL_DEBUG, "signature schemes not exchanged",
                      LOG_STR("error", reply_error(status, reply)));
        return;
    }
    take_members(s, reply);
    if (reply->elements > 2 * READ_MEMBERS) /* a full page: there may be more */
        exchange(s);
}

static void put_news(struct script_call *call, struct entry *entry, char **texts, size_t *count)
{
    for (unsigned i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        if ((entry->news & 1U << i) == 0)
            continue;
        texts[*count] = mem_printf("%s %s", kinds[i], entry->origin);
        script_arg(call, str_of(texts[*count]));
        (*count)++;
    }
}

static void exchange(struct schemes *s)
{
    struct script_call *call = script_begin(SCRIPT_SCHEMES);
    char *texts[2 * SEND_ORIGINS];
    struct entry *entry;
    size_t count = 0;

    script_key(call, s->keys->schemes);
    script_arg(call, str_of(s->since));
    script_arg_number(call, READ_MEMBERS);
    script_arg_number(call, SCHEMES_ACCEPTED_S);
    script_arg_number(call, SCHEMES_MAX);
    for (unsigned i = 0; i < SEND_ORIGINS && (entry = TAILQ_FIRST(&s->unsent)) != NULL; i++) {
        put_news(call, entry, texts, &count);
        TAILQ_REMOVE(&s->unsent, entry, link);
        entry->on_way = entry->news;
        entry->news = 0;
        TAILQ_INSERT_TAIL(&s->sent, entry, link);
    }
    s->asking = true;
    s->asked_ms = clock_mono_ms(s->clock);
    script_send(call, s->redis, on_exchanged, s);
    while (count > 0)
        free(texts[--count]);
}

void schemes_redis_ready(struct schemes *s)
{
    snprintf(s->since, sizeof(s->since), "-inf");
    exchange(s);
}

void schemes_tick(struct schemes *s)
{
    int64_t now_ms = clock_mono_ms(s->clock);

    if (now_ms - s->swept_ms >= SWEEP_MS)
        sweep(s);
    if (s->asking || !redis_is_ready(s->redis))
        return;
    if (!TAILQ_EMPTY(&s->unsent) || now_ms - s->asked_ms >= SCHEMES_READ_MS)
        exchange(s);
}
