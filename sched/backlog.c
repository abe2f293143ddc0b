#include "sched/backlog.h"

#include <stdlib.h>

#include "sched/job.h"

struct backlog {
    const struct clock *clock;
    struct redis *redis;
    const struct keys *keys;
    bool asked;
    int64_t asked_ms; /* 0: never */
    int64_t seen_ms;
    int64_t length;
    int64_t oldest_ms;
};

struct backlog *backlog_create(const struct clock *clock, struct redis *redis,
                               const struct keys *keys)
{
    struct backlog *backlog = mem_alloc(sizeof(*backlog));

    *backlog = (struct backlog){
        .clock = clock, .redis = redis, .keys = keys, .length = -1, .oldest_ms = -1};
    return backlog;
}

void backlog_destroy(struct backlog *backlog)
{
    free(backlog);
}

static void on_length(void *arg, enum redis_status status, const redisReply *reply)
{
    struct backlog *b = arg;

    b->length = -1;
    if (status != REDIS_LOST && reply->type == REDIS_REPLY_INTEGER)
        b->length = reply->integer;
}

static void on_oldest(void *arg, enum redis_status status, const redisReply *reply)
{
    struct backlog *b = arg;
    int64_t at_ms;

    b->asked = false;
    b->oldest_ms = -1;
    b->seen_ms = clock_mono_ms(b->clock);
    if (status != REDIS_LOST && reply->type == REDIS_REPLY_NIL)
        b->oldest_ms = 0;
    if (status == REDIS_LOST || reply->type != REDIS_REPLY_STRING)
        return;
    at_ms = (int64_t)(job_enqueued_at_s((struct str){reply->str, (size_t)reply->len}) * 1000);
    if (at_ms == 0)
        return;
    b->oldest_ms = clock_wall_us(b->clock) / 1000 - at_ms;
    if (b->oldest_ms < 0)
        b->oldest_ms = 0;
}

void backlog_tick(struct backlog *b)
{
    int64_t now_ms = clock_mono_ms(b->clock);
    const struct str length[] = {STR("LLEN"), str_of(b->keys->queue_push)};
    const struct str oldest[] = {STR("LINDEX"), str_of(b->keys->queue_push), STR("-1")};

    if (b->asked || (b->asked_ms > 0 && now_ms - b->asked_ms < BACKLOG_EACH_MS))
        return;
    b->asked = true;
    b->asked_ms = now_ms;
    redis_send(b->redis, on_length, b, 2, length);
    redis_send(b->redis, on_oldest, b, 3, oldest);
}

static bool is_known(const struct backlog *b)
{
    return b->seen_ms > 0 && clock_mono_ms(b->clock) - b->seen_ms < (int64_t)3 * BACKLOG_EACH_MS;
}

int64_t backlog_length(const struct backlog *b)
{
    return is_known(b) ? b->length : -1;
}

int64_t backlog_oldest_ms(const struct backlog *b)
{
    return is_known(b) ? b->oldest_ms : -1;
}
