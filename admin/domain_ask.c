#include <hiredis/hiredis.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "admin/domain_ask.h"
#include "admin/words.h"

/* ANSWER_S: for so long an answer stands (sched/questions.h). */
enum { ASK_S = 10, LIVE_S = 60, LOOK_MS = 100, LONGEST_MS = 3000, FRESH_S = 5, ANSWER_S = 30 };
enum { MAX_MACHINES = 200, MAX_QUESTIONS = 64 };

struct asking {
    json_t *live;    /* identity -> true */
    json_t *answers; /* identity -> words */
};

static void on_live(void *arg, const redisReply *reply)
{
    const struct asking *asking = arg;

    for (size_t i = 0; reply->type == REDIS_REPLY_ARRAY && i < reply->elements; i++) {
        if (reply->element[i]->type == REDIS_REPLY_STRING)
            json_object_set_new(asking->live, reply->element[i]->str, json_true());
    }
}

/* What a machine that is gone has said stands as long as others answer: it counts no more. */
static void on_answers(void *arg, const redisReply *reply)
{
    const struct asking *asking = arg;

    if (reply->type != REDIS_REPLY_ARRAY)
        return;
    for (size_t i = 0; i + 1 < reply->elements; i += 2) {
        const redisReply *name = reply->element[i];
        const redisReply *words = reply->element[i + 1];
        if (name->type == REDIS_REPLY_STRING && words->type == REDIS_REPLY_STRING &&
            json_object_get(asking->live, name->str) != NULL)
            json_object_set_new(asking->answers, name->str,
                                words_json_lines((struct str){words->str, (size_t)words->len}));
    }
}

/* Which machines should answer. */
static bool list_live(struct session *session, struct redis *redis, struct asking *asking,
                      struct err *err)
{
    int64_t now_us;
    char since[32];

    if (!session_time_us(session, redis, &now_us, err))
        return false;
    snprintf(since, sizeof(since), "%lld", (long long)(now_us / 1000000 - LIVE_S));
    const struct str list[] = {STR("ZRANGEBYSCORE"), str_of(session->keys.identities),
                               str_of(since), STR("+inf")};
    return session_command(session, redis, 4, list, on_live, asking, err);
}

static void on_ttl(void *arg, const redisReply *reply)
{
    if (reply->type == REDIS_REPLY_INTEGER)
        *(json_int_t *)arg = reply->integer;
}

/* As long as somebody asks, none of them ends by itself: when it is full, any others go. */
static const char question_script[] =
    "redis.call('SREM', KEYS[1], '') local all = redis.call('SMEMBERS', KEYS[1])"
    " if redis.call('SISMEMBER', KEYS[1], ARGV[1]) == 0 then"
    " for i = tonumber(ARGV[2]), #all do redis.call('SREM', KEYS[1], all[i]) end"
    " redis.call('SADD', KEYS[1], ARGV[1]) end redis.call('EXPIRE', KEYS[1], ARGV[3])";

static bool put_question(struct session *session, struct redis *redis, struct str question,
                         struct err *err)
{
    char *most = mem_printf("%d", MAX_QUESTIONS);
    char *seconds = mem_printf("%d", ASK_S);
    const struct str words[] = {
        STR("EVAL"),  str_of(question_script), STR("1"), str_of(session->keys.questions), question,
        str_of(most), str_of(seconds)};
    bool good =
        session_command(session, redis, sizeof(words) / sizeof(words[0]), words, NULL, NULL, err);

    free(seconds);
    free(most);
    return good;
}

bool domain_ask_begin(struct session *session, struct str question, bool anew, struct err *err)
{
    struct redis *redis = session_redis(session, REDIS_ROLE_SIDEKIQ, err);
    char *key = keys_answers(&session->keys, question);
    const struct str ttl[] = {STR("TTL"), str_of(key)};
    char *said = keys_said(&session->keys, question);
    const struct str forget[] = {STR("DEL"), str_of(key), str_of(said)};
    json_int_t left_s = 0;
    bool good = redis != NULL && session_command(session, redis, 2, ttl, on_ttl, &left_s, err);

    if (good && (anew || left_s < ANSWER_S - FRESH_S))
        good = session_command(session, redis, 3, forget, NULL, NULL, err);
    good = good && put_question(session, redis, question, err);
    free(said);
    free(key);
    return good;
}

static bool all_have_answered(const struct asking *asking)
{
    return json_object_size(asking->answers) >= json_object_size(asking->live);
}

json_t *domain_ask_end(struct session *session, struct str question, int64_t wait_ms, bool *all,
                       struct err *err)
{
    struct redis *redis = session_redis(session, REDIS_ROLE_SIDEKIQ, err);
    char *key = keys_answers(&session->keys, question);
    const struct str read[] = {STR("HGETALL"), str_of(key)};
    struct asking asking = {.live = json_object(), .answers = json_object()};
    int64_t end_ms = clock_mono_ms(&session->clock) + wait_ms;
    bool good = redis != NULL && list_live(session, redis, &asking, err) &&
                session_command(session, redis, 2, read, on_answers, &asking, err);

    while (good && !all_have_answered(&asking) && clock_mono_ms(&session->clock) < end_ms) {
        session->done = false;
        session_wait(session, LOOK_MS);
        good = session_command(session, redis, 2, read, on_answers, &asking, err);
    }
    *all = all_have_answered(&asking);
    json_decref(asking.live);
    free(key);
    if (good)
        return asking.answers;
    json_decref(asking.answers);
    return NULL;
}

static void on_said(void *arg, const redisReply *reply)
{
    json_t *all = arg;

    for (size_t i = 0; reply->type == REDIS_REPLY_ARRAY && i + 1 < reply->elements; i += 2) {
        const redisReply *name = reply->element[i];
        const redisReply *list = reply->element[i + 1];
        if (name->type == REDIS_REPLY_STRING && list->type == REDIS_REPLY_STRING)
            json_object_set_new(all, name->str, json_loadb(list->str, list->len, 0, NULL));
    }
}

json_t *domain_ask_said(struct session *session, struct str host, struct err *err)
{
    struct redis *redis = session_redis(session, REDIS_ROLE_SIDEKIQ, err);
    char *key = keys_said(&session->keys, host);
    const struct str read[] = {STR("HGETALL"), str_of(key)};
    json_t *all = json_object();
    bool good = redis != NULL && session_command(session, redis, 2, read, on_said, all, err);

    free(key);
    if (good)
        return all;
    json_decref(all);
    return NULL;
}

struct roll {
    const json_t *answers;
    json_t *silent;
    double now_s;
};

static void on_beats(void *arg, const redisReply *reply)
{
    const struct roll *roll = arg;

    for (size_t i = 0; reply->type == REDIS_REPLY_ARRAY && i + 1 < reply->elements; i += 2) {
        const redisReply *name = reply->element[i];
        const redisReply *beat = reply->element[i + 1];
        if (name->type == REDIS_REPLY_STRING && beat->type == REDIS_REPLY_STRING &&
            json_object_get(roll->answers, name->str) == NULL)
            json_object_set_new(roll->silent, name->str,
                                json_real(fmax(0, roll->now_s - strtod(beat->str, NULL))));
    }
}

json_t *domain_ask_silent(struct session *session, const json_t *answers, struct err *err)
{
    struct redis *redis = session_redis(session, REDIS_ROLE_SIDEKIQ, err);
    struct roll roll = {.answers = answers, .silent = json_object()};
    int64_t now_us = 0;
    bool good = redis != NULL && session_time_us(session, redis, &now_us, err);
    char *since = mem_printf("%lld", (long long)(now_us / 1000000 - LIVE_S));
    char *most = mem_printf("%d", MAX_MACHINES);
    const struct str beats[] = {STR("ZRANGEBYSCORE"),
                                str_of(session->keys.identities),
                                str_of(since),
                                STR("+inf"),
                                STR("WITHSCORES"),
                                STR("LIMIT"),
                                STR("0"),
                                str_of(most)};

    roll.now_s = (double)now_us / 1e6;
    good = good && session_command(session, redis, 8, beats, on_beats, &roll, err);
    free(most);
    free(since);
    if (good)
        return roll.silent;
    json_decref(roll.silent);
    return NULL;
}

json_t *domain_ask_all(struct session *session, size_t count, const struct str *questions,
                       struct err *err)
{
    int64_t end_ms = clock_mono_ms(&session->clock) + LONGEST_MS;
    json_t *all = json_array();
    bool good = true;
    bool answered;

    for (size_t i = 0; i < count; i++)
        good = good && domain_ask_begin(session, questions[i], true, err);
    for (size_t i = 0; good && i < count; i++) {
        int64_t left_ms = end_ms - clock_mono_ms(&session->clock);
        json_t *answers = domain_ask_end(session, questions[i], left_ms, &answered, err);
        good = answers != NULL && json_array_append_new(all, answers) == 0;
    }
    if (good)
        return all;
    json_decref(all);
    return NULL;
}

json_t *domain_ask(struct session *session, struct str host, struct err *err)
{
    bool all;

    return domain_ask_begin(session, host, true, err)
               ? domain_ask_end(session, host, LONGEST_MS, &all, err)
               : NULL;
}
