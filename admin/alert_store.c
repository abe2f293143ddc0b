#include "admin/alert_store.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Each begins with a write that maxmemory never refuses, which lets the next ones pass: that Redis
 * is full must be told, too. */
static const char turn_script[] = /* alerter, alerts; token, milliseconds */
    "redis.call('HDEL', KEYS[2], '')"
    " local owner = redis.call('GET', KEYS[1])"
    " local function mute(token) return string.sub(token, -5) == '" ALERT_MUTE "' end"
    " if owner and owner ~= ARGV[1] and (not mute(owner) or mute(ARGV[1])) then return 0 end"
    " redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])"
    " return owner == ARGV[1] and 2 or 1";
/* Without anybody who looks after them they are news for a day and no longer. */
static const char save_script[] = /* alerter, alerts, alerts:over; token, {key, id, alert} */
    "redis.call('HDEL', KEYS[2], '')"
    " local owner = redis.call('GET', KEYS[1])"
    " if owner and owner ~= ARGV[1] then return 0 end"
    " redis.call('DEL', KEYS[2], KEYS[3])"
    " for i = 2, #ARGV, 3 do redis.call('HSET', KEYS[tonumber(ARGV[i])], ARGV[i + 1], ARGV[i + 2])"
    " end"
    " redis.call('EXPIRE', KEYS[2], 86400) redis.call('EXPIRE', KEYS[3], 86400)"
    " return 1";

enum { FIXED_WORDS = 7, WORDS_AN_ALERT = 3 };

struct names {
    char *alerter, *alerts, *over;
};

static struct names names_of(const struct session *session)
{
    return (struct names){keys_prefixed(&session->keys, STR("fedpush:alerter")),
                          keys_prefixed(&session->keys, STR("fedpush:alerts")),
                          keys_prefixed(&session->keys, STR("fedpush:alerts:over"))};
}

static void names_clear(struct names *names)
{
    free(names->alerter);
    free(names->alerts);
    free(names->over);
}

static void on_number(void *arg, const redisReply *reply)
{
    *(int64_t *)arg = reply->type == REDIS_REPLY_INTEGER ? reply->integer : 0;
}

bool alert_store_turn(struct session *session, const char *token, int64_t lease_ms,
                      enum alert_turn *turn, struct err *err)
{
    struct redis *redis = session_redis(session, REDIS_ROLE_SIDEKIQ, err);
    int64_t number = 0;
    char lease[24];

    *turn = ALERT_TURN_OTHERS;
    if (redis == NULL)
        return false;
    struct names names = names_of(session);
    snprintf(lease, sizeof(lease), "%" PRId64, lease_ms);
    const struct str words[] = {STR("EVAL"),           str_of(turn_script),  STR("2"),
                                str_of(names.alerter), str_of(names.alerts), str_of(token),
                                str_of(lease)};
    bool good = session_command(session, redis, sizeof(words) / sizeof(words[0]), words, on_number,
                                &number, err);
    names_clear(&names);
    if (good && number >= ALERT_TURN_OTHERS && number <= ALERT_TURN_OURS)
        *turn = (enum alert_turn)number;
    return good;
}

static void on_alerts(void *arg, const redisReply *reply)
{
    struct alert_book *book = arg;

    for (size_t i = 0; reply->type == REDIS_REPLY_ARRAY && i + 1 < reply->elements; i += 2) {
        const redisReply *id = reply->element[i];
        const redisReply *text = reply->element[i + 1];
        json_t *value = json_loadb(text->str, (size_t)text->len, 0, NULL);
        /* What a newer fedpush has written isn't ours to tell. */
        bool ours = alert_book_restore(book, (struct str){id->str, (size_t)id->len}, value);
        (void)ours;
        json_decref(value);
    }
}

bool alert_store_load(struct session *session, struct alert_book *book, struct err *err)
{
    struct redis *redis = session_redis(session, REDIS_ROLE_SIDEKIQ, err);

    alert_book_clear(book);
    if (redis == NULL)
        return false;
    struct names names = names_of(session);
    const struct str firing[] = {STR("HGETALL"), str_of(names.alerts)};
    const struct str over[] = {STR("HGETALL"), str_of(names.over)};
    bool good = session_command(session, redis, 2, firing, on_alerts, book, err) &&
                session_command(session, redis, 2, over, on_alerts, book, err);
    names_clear(&names);
    return good;
}

/* The words of what is kept; `texts` gets the strings to free. */
static size_t put_alerts(const struct alert_book *book, struct str *words, char **texts)
{
    size_t count = 0;

    for (size_t i = 0; i < book->count; i++) {
        const struct alert *alert = book->alerts[i];
        if (alert->state == ALERT_PENDING)
            continue;
        json_t *value = alert_to_json(alert);
        texts[count] = json_dumps(value, JSON_COMPACT);
        json_decref(value);
        if (texts[count] == NULL)
            abort(); /* out of memory: all texts are UTF-8 */
        struct str *three = &words[WORDS_AN_ALERT * count];
        three[0] = alert->state == ALERT_FIRING ? STR("2") : STR("3");
        three[1] = str_of(alert->id);
        three[2] = str_of(texts[count]);
        count++;
    }
    return count;
}

bool alert_store_save(struct session *session, const char *token, const struct alert_book *book,
                      struct err *err)
{
    struct redis *redis = session_redis(session, REDIS_ROLE_SIDEKIQ, err);
    struct str words[FIXED_WORDS + WORDS_AN_ALERT * ALERT_MAX];
    char *texts[ALERT_MAX];
    int64_t saved = 0;

    if (redis == NULL)
        return false;
    struct names names = names_of(session);
    words[0] = STR("EVAL");
    words[1] = str_of(save_script);
    words[2] = STR("3");
    words[3] = str_of(names.alerter);
    words[4] = str_of(names.alerts);
    words[5] = str_of(names.over);
    words[6] = str_of(token);
    size_t count = put_alerts(book, words + FIXED_WORDS, texts);
    bool good = session_command(session, redis, FIXED_WORDS + WORDS_AN_ALERT * count, words,
                                on_number, &saved, err);
    for (size_t i = 0; i < count; i++)
        free(texts[i]);
    names_clear(&names);
    if (good && saved == 0)
        err_set(err, FP_UNAVAILABLE, "another machine looks after alerts now");
    return good && saved == 1;
}

static void on_owner(void *arg, const redisReply *reply)
{
    if (reply->type == REDIS_REPLY_STRING)
        alert_copy(arg, ALERT_TOKEN_BYTES, (struct str){reply->str, (size_t)reply->len});
}

bool alert_store_owner(struct session *session, char token[ALERT_TOKEN_BYTES], struct err *err)
{
    struct redis *redis = session_redis(session, REDIS_ROLE_SIDEKIQ, err);

    token[0] = '\0';
    if (redis == NULL)
        return false;
    struct names names = names_of(session);
    const struct str words[] = {STR("GET"), str_of(names.alerter)};
    bool good = session_command(session, redis, 2, words, on_owner, token, err);
    names_clear(&names);
    return good;
}
