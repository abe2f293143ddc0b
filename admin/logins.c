#include "admin/logins.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Nil is no text. */
static void on_text(void *arg, const redisReply *reply)
{
    char **text = arg;

    if (reply->type == REDIS_REPLY_STRING)
        *text = str_dup((struct str){reply->str, reply->len});
}

static bool command(struct desk *desk, size_t count, const struct str *words, reply_fn *fn,
                    void *arg, struct err *err)
{
    struct redis *redis = session_redis(&desk->session, REDIS_ROLE_SIDEKIQ, err);
    return redis != NULL && session_command(&desk->session, redis, count, words, fn, arg, err);
}

static bool ask_time(struct desk *desk, int64_t *now_us, struct err *err)
{
    struct redis *redis = session_redis(&desk->session, REDIS_ROLE_SIDEKIQ, err);
    return redis != NULL && session_time_us(&desk->session, redis, now_us, err);
}

/* The seconds for which it may lie unused from now on. */
static int64_t span_s(const struct login *login, int64_t now_us)
{
    int64_t left_s = LOGIN_LONGEST_S - (now_us - login->created_us) / 1000000;
    return left_s < LOGIN_IDLE_S ? left_s : LOGIN_IDLE_S;
}

/* What a session by password was opened with, so that another password ends it. Argon2id's salt is
 * in the hash: this tells nothing of it. */
static void put_password_key(const struct desk *desk, char key[PASS_HASH_BYTES])
{
    pass_hash(str_of(desk->session.config->admin_password_hash), key);
}

/* `there`: only if it still is, so that what was ended meanwhile doesn't come back, and without
 * counting as use. */
static bool write_login(struct desk *desk, struct str hash, const struct login *login, bool there,
                        int64_t now_us, struct err *err)
{
    char opened_with[PASS_HASH_BYTES] = "";

    if (login->account == 0)
        put_password_key(desk, opened_with);
    json_t *object =
        json_pack("{s:s, s:I, s:I, s:I, s:s, s:s, s:s}", "who", login->who, "account",
                  (json_int_t)login->account, "created_us", (json_int_t)login->created_us,
                  "asked_us", (json_int_t)login->asked_us, "csrf", login->csrf, "login",
                  login->account != 0 ? "oauth" : "password", "opened_with", opened_with);
    char *text = object != NULL ? json_dumps(object, JSON_COMPACT) : NULL;
    char *key = keys_session(&desk->session.keys, hash);
    char *seconds = mem_printf("%lld", (long long)span_s(login, now_us));
    bool good = false;

    if (text == NULL || span_s(login, now_us) <= 0) {
        err_say(err, FP_INVALID, PHRASE_DOOR_SESSION_ENDED, SAYS_NOTHING);
    } else {
        const struct str words[] = {STR("SET"), str_of(key), str_of(text),
                                    there ? STR("XX") : STR("EX"),
                                    there ? STR("KEEPTTL") : str_of(seconds)};
        good = command(desk, 5, words, NULL, NULL, err);
    }
    free(seconds);
    free(key);
    free(text);
    json_decref(object);
    return good;
}

bool login_start(struct desk *desk, struct login *login, char token[PASS_TEXT_BYTES],
                 struct err *err)
{
    char hash[PASS_HASH_BYTES];
    int64_t now_us;

    if (!ask_time(desk, &now_us, err))
        return false;
    login->created_us = now_us;
    login->asked_us = now_us;
    pass_make(login->csrf);
    pass_make(token);
    pass_hash(str_of(token), hash);
    return write_login(desk, str_of(hash), login, false, now_us, err);
}

static bool parse(const struct desk *desk, const char *text, struct login *login)
{
    char key[PASS_HASH_BYTES];
    json_int_t account = 0;
    json_int_t created_us = 0;
    json_int_t asked_us = 0;
    const char *who = NULL;
    const char *csrf = NULL;
    const char *opened_with = NULL;
    json_t *object = json_loads(text, 0, NULL);

    put_password_key(desk, key);
    bool good = object != NULL &&
                json_unpack(object, "{s:s, s:I, s:I, s:I, s:s, s:s}", "who", &who, "account",
                            &account, "created_us", &created_us, "asked_us", &asked_us, "csrf",
                            &csrf, "opened_with", &opened_with) == 0 &&
                (account != 0 || strcmp(opened_with, key) == 0) &&
                strlen(who) < sizeof(login->who) && strlen(csrf) < sizeof(login->csrf);

    if (good) {
        *login = (struct login){.account = account, .created_us = created_us, .asked_us = asked_us};
        snprintf(login->who, sizeof(login->who), "%s", who);
        snprintf(login->csrf, sizeof(login->csrf), "%s", csrf);
    }
    json_decref(object);
    return good;
}

static bool read_text(struct desk *desk, size_t count, const struct str *words, char **text,
                      struct err *err)
{
    *text = NULL;
    return command(desk, count, words, on_text, text, err);
}

static bool was_ended(struct desk *desk, const struct login *login, bool *ended, struct err *err)
{
    const struct str words[] = {STR("HGET"), str_of(desk->session.keys.logouts),
                                str_of(login->who)};
    char *text;

    if (!read_text(desk, 3, words, &text, err))
        return false;
    *ended = text != NULL && strtoll(text, NULL, 10) >= login->created_us;
    free(text);
    return true;
}

static bool keep(struct desk *desk, const char *key, const struct login *login, int64_t now_us,
                 struct err *err)
{
    char *seconds = mem_printf("%lld", (long long)span_s(login, now_us));
    const struct str words[] = {STR("EXPIRE"), str_of(key), str_of(seconds)};
    bool good = command(desk, 3, words, NULL, NULL, err);

    free(seconds);
    return good;
}

bool login_find(struct desk *desk, struct str hash, bool touch, struct login *login, bool *found,
                struct err *err)
{
    char *key = keys_session(&desk->session.keys, hash);
    const struct str words[] = {STR("GET"), str_of(key)};
    int64_t now_us = clock_wall_us(&desk->session.clock);
    bool ended = false;
    char *text;

    *found = false;
    bool good = read_text(desk, 2, words, &text, err);
    if (good && text != NULL && parse(desk, text, login)) {
        good = was_ended(desk, login, &ended, err);
        *found = good && !ended && span_s(login, now_us) > 0;
        if (*found && touch)
            good = keep(desk, key, login, now_us, err);
    }
    free(text);
    free(key);
    return good;
}

bool login_asked(struct desk *desk, struct str hash, const struct login *login, struct err *err)
{
    struct login fresh = *login;

    fresh.asked_us = clock_wall_us(&desk->session.clock);
    return write_login(desk, hash, &fresh, true, fresh.asked_us, err);
}

bool login_end(struct desk *desk, struct str hash, struct err *err)
{
    char *key = keys_session(&desk->session.keys, hash);
    const struct str words[] = {STR("DEL"), str_of(key)};
    bool good = command(desk, 2, words, NULL, NULL, err);

    free(key);
    return good;
}

bool login_end_all(struct desk *desk, const char *who, struct err *err)
{
    int64_t now_us;

    if (!ask_time(desk, &now_us, err))
        return false;
    char *text = mem_printf("%lld", (long long)now_us);
    const struct str words[] = {STR("HSET"), str_of(desk->session.keys.logouts), str_of(who),
                                str_of(text)};
    bool good = command(desk, 4, words, NULL, NULL, err);
    free(text);
    return good;
}
