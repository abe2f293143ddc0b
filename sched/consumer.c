#include "sched/consumer.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/json.h"
#include "base/log.h"

enum { SAY_AGAIN_MS = 600000, MAX_PROCESSES = 500 };

struct consumer {
    const struct clock *clock;
    struct redis *redis;
    const struct keys *keys;
    const char *queue;
    const char *setting;
    unsigned pending; /* answers awaited */
    bool found;
    bool missing; /* was said */
    int64_t said_ms;
};

struct consumer *consumer_create(const struct clock *clock, struct redis *redis,
                                 const struct keys *keys, const char *queue, const char *setting)
{
    struct consumer *c = mem_alloc(sizeof(*c));
    *c = (struct consumer){
        .clock = clock, .redis = redis, .keys = keys, .queue = queue, .setting = setting};
    return c;
}

static bool lists(const struct json *json, struct json_value array, struct str wanted)
{
    struct buf text;
    bool found = false;

    buf_init(&text, 256);
    for (size_t i = 0; array.type == JSON_ARRAY && i < json_length(json, array); i++) {
        buf_reset(&text);
        if (json_to_text(json_element(json, array, i), &text) && str_equal(buf_str(&text), wanted))
            found = true;
    }
    buf_clear(&text);
    return found;
}

bool consumer_serves(struct str info, struct str queue)
{
    struct json *json = json_create();
    struct json_value root;
    const char *reason;
    bool found = json_parse(json, info, &root, &reason) && root.type == JSON_OBJECT &&
                 !lists(json, json_member(json, root, STR("labels")), STR("fedpush")) &&
                 lists(json, json_member(json, root, STR("queues")), queue);

    json_destroy(json);
    return found;
}

static void conclude(struct consumer *c)
{
    int64_t now_ms = clock_mono_ms(c->clock);
    char remedy[100];

    snprintf(remedy, sizeof(remedy), "start one with that queue, or set %s", c->setting);
    if (c->found && c->missing)
        log_event(LOG_LEVEL_INFO, "the hand-off queue is served again",
                  LOG_TEXT("queue", c->queue));
    if (!c->found && (!c->missing || now_ms - c->said_ms >= SAY_AGAIN_MS)) {
        c->said_ms = now_ms;
        log_event(
            LOG_LEVEL_WARN,
            "no live Sidekiq process serves the hand-off queue: jobs that need Ruby wait there",
            LOG_TEXT("queue", c->queue), LOG_TEXT("remedy", remedy));
    }
    c->missing = !c->found;
}

static void on_info(void *arg, enum redis_status status, const redisReply *reply)
{
    struct consumer *c = arg;

    if (status == REDIS_REPLIED && reply->type == REDIS_REPLY_STRING && !c->found)
        c->found = consumer_serves((struct str){reply->str, (size_t)reply->len}, str_of(c->queue));
    if (--c->pending == 0 && status == REDIS_REPLIED)
        conclude(c);
}

static void on_processes(void *arg, enum redis_status status, const redisReply *reply)
{
    struct consumer *c = arg;
    size_t count =
        status == REDIS_REPLIED && reply->type == REDIS_REPLY_ARRAY ? reply->elements : 0;

    for (size_t i = 0; i < count && i < MAX_PROCESSES; i++) {
        struct str name = {reply->element[i]->str, (size_t)reply->element[i]->len};
        char *key = keys_prefixed(c->keys, name);
        const struct str words[] = {STR("HGET"), str_of(key), STR("info")};
        c->pending++;
        redis_send(c->redis, on_info, c, 3, words);
        free(key);
    }
    if (--c->pending == 0 && status == REDIS_REPLIED)
        conclude(c);
}

bool consumer_is_missing(const struct consumer *c)
{
    return c->missing;
}

void consumer_look(struct consumer *c)
{
    const struct str words[] = {STR("SMEMBERS"), str_of(c->keys->processes)};

    if (c->pending > 0)
        return;
    c->found = false;
    c->pending = 1;
    redis_send(c->redis, on_processes, c, 2, words);
}
