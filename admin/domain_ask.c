#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "admin/domain_ask.h"

enum { ASK_S = 10, LIVE_S = 60, LOOK_MS = 200, LONGEST_MS = 3000 };

struct asking {
    json_t *answers; /* identity -> words */
    json_int_t live;
};

static void on_time(void *arg, const redisReply *reply)
{
    if (reply->type == REDIS_REPLY_ARRAY && reply->elements == 2 &&
        reply->element[0]->type == REDIS_REPLY_STRING)
        *(json_int_t *)arg = strtoll(reply->element[0]->str, NULL, 10);
}

static void on_live(void *arg, const redisReply *reply)
{
    if (reply->type == REDIS_REPLY_INTEGER)
        ((struct asking *)arg)->live = reply->integer;
}

static void on_answers(void *arg, const redisReply *reply)
{
    struct asking *asking = arg;

    if (reply->type != REDIS_REPLY_ARRAY)
        return;
    for (size_t i = 0; i + 1 < reply->elements; i += 2) {
        const redisReply *name = reply->element[i];
        const redisReply *words = reply->element[i + 1];
        if (name->type == REDIS_REPLY_STRING && words->type == REDIS_REPLY_STRING)
            json_object_set_new(asking->answers, name->str,
                                json_stringn(words->str, (size_t)words->len));
    }
}

/* How many machines should answer. */
static bool count_live(struct session *session, struct redis *redis, struct asking *asking,
                       struct err *err)
{
    const struct str time[] = {STR("TIME")};
    json_int_t now_s = 0;
    char since[32];

    if (!session_command(session, redis, 1, time, on_time, &now_s, err))
        return false;
    snprintf(since, sizeof(since), "%lld", (long long)now_s - LIVE_S);
    const struct str count[] = {STR("ZCOUNT"), str_of(session->keys.identities), str_of(since),
                                STR("+inf")};
    return session_command(session, redis, 4, count, on_live, asking, err);
}

static bool put_question(struct session *session, struct redis *redis, struct str host,
                         const char *key, struct err *err)
{
    char *seconds = mem_printf("%d", ASK_S);
    const struct str forget[] = {STR("DEL"), str_of(key)};
    const struct str add[] = {STR("SADD"), str_of(session->keys.questions), host};
    const struct str expire[] = {STR("EXPIRE"), str_of(session->keys.questions), str_of(seconds)};
    bool good = session_command(session, redis, 2, forget, NULL, NULL, err) &&
                session_command(session, redis, 3, add, NULL, NULL, err) &&
                session_command(session, redis, 3, expire, NULL, NULL, err);
    free(seconds);
    return good;
}

json_t *domain_ask(struct session *session, struct str host, struct err *err)
{
    struct redis *redis = session_redis(session, REDIS_ROLE_SIDEKIQ, err);
    char *key = keys_answers(&session->keys, host);
    const struct str read[] = {STR("HGETALL"), str_of(key)};
    struct asking asking = {.answers = json_object()};
    int64_t end_ms = clock_mono_ms(&session->clock) + LONGEST_MS;
    bool good = redis != NULL && count_live(session, redis, &asking, err) &&
                put_question(session, redis, host, key, err);

    while (good && (json_int_t)json_object_size(asking.answers) < asking.live &&
           clock_mono_ms(&session->clock) < end_ms) {
        session->done = false;
        session_wait(session, LOOK_MS);
        good = session_command(session, redis, 2, read, on_answers, &asking, err);
    }
    free(key);
    if (!good) {
        json_decref(asking.answers);
        return NULL;
    }
    return asking.answers;
}
