#include "admin/tokens.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "admin/orders.h"

/* Two machines may make one at the same moment. */
enum { SHOWN = 2 * TOKENS_MAX };

struct listing {
    json_t *tokens; /* objects with their "hash" */
    struct token found;
    bool is_found;
};

/* Letters, digits, '.', '-', '_', at most 64. */
static bool is_name(struct str name)
{
    for (size_t i = 0; i < name.len; i++) {
        char c = name.ptr[i];
        bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                     c == '.' || c == '-' || c == '_';
        if (!plain)
            return false;
    }
    return name.len > 0 && name.len < TOKEN_NAME_BYTES;
}

static bool parse(struct str text, struct token *token)
{
    json_t *object = json_loadb(text.ptr, text.len, 0, NULL);
    const char *name = NULL;
    const char *right = NULL;
    json_int_t created_s = 0;
    json_int_t account = 0;
    json_int_t asked_us = 0;
    bool good =
        object != NULL &&
        json_unpack(object, "{s:s, s:s, s:I, s?I, s?I}", "name", &name, "right", &right,
                    "created_at", &created_s, "account", &account, "asked_us", &asked_us) == 0 &&
        is_name(str_of(name));

    if (good) {
        *token = (struct token){.right = strcmp(right, "act") == 0 ? API_ACT : API_READ,
                                .created_s = created_s,
                                .account = account,
                                .asked_us = asked_us};
        const char *made_by = json_string_value(json_object_get(object, "made_by"));
        snprintf(token->name, sizeof(token->name), "%s", name);
        snprintf(token->made_by, sizeof(token->made_by), "%s", made_by != NULL ? made_by : "");
    }
    json_decref(object);
    return good;
}

static json_t *token_json(const struct token *token)
{
    return json_pack("{s:s, s:s, s:I, s:s?}", "name", token->name, "right",
                     token->right == API_ACT ? "act" : "read", "created_at",
                     (json_int_t)token->created_s, "made_by",
                     token->made_by[0] != '\0' ? token->made_by : NULL);
}

static bool command(struct session *session, size_t count, const struct str *words, reply_fn *fn,
                    void *arg, struct err *err)
{
    struct redis *redis = session_redis(session, REDIS_ROLE_SIDEKIQ, err);
    return redis != NULL && session_command(session, redis, count, words, fn, arg, err);
}

static void on_all(void *arg, const redisReply *reply)
{
    struct listing *listing = arg;
    struct token token;

    for (size_t i = 0; reply->type == REDIS_REPLY_ARRAY && i + 1 < reply->elements; i += 2) {
        const redisReply *text = reply->element[i + 1];
        if (!parse((struct str){text->str, text->len}, &token))
            continue;
        json_t *object = token_json(&token);
        json_object_set_new(object, "hash", json_string(reply->element[i]->str));
        json_array_append_new(listing->tokens, object);
    }
}

/* With their hashes. */
static json_t *read_all(struct session *session, struct err *err)
{
    const struct str words[] = {STR("HGETALL"), str_of(session->keys.tokens)};
    struct listing listing = {.tokens = json_array()};

    if (command(session, 2, words, on_all, &listing, err))
        return listing.tokens;
    json_decref(listing.tokens);
    return NULL;
}

static const char *hash_of(const json_t *tokens, struct str name)
{
    const json_t *token;
    size_t i;

    json_array_foreach(tokens, i, token)
    {
        if (str_equal(str_of(json_string_value(json_object_get(token, "name"))), name))
            return json_string_value(json_object_get(token, "hash"));
    }
    return NULL;
}

/* What was revoked meanwhile doesn't come back. */
static const char write_script[] =
    "if ARGV[3] == 'new' or redis.call('HEXISTS', KEYS[1], ARGV[1]) == 1 then"
    " redis.call('HSET', KEYS[1], ARGV[1], ARGV[2]) end return 1";

static bool write_token(struct session *session, const struct token *token, struct str hash,
                        bool there, struct err *err)
{
    json_t *object = token_json(token);

    if (token->account != 0) {
        json_object_set_new(object, "account", json_integer(token->account));
        json_object_set_new(object, "asked_us", json_integer(token->asked_us));
    }
    char *value = json_dumps(object, JSON_COMPACT);
    const struct str words[] = {STR("EVAL"),
                                str_of(write_script),
                                STR("1"),
                                str_of(session->keys.tokens),
                                hash,
                                str_of(value),
                                there ? STR("there") : STR("new")};
    bool good = command(session, 7, words, NULL, NULL, err);
    free(value);
    json_decref(object);
    return good;
}

/* False with err filled: the name is wrong or taken, there are too many, or Redis doesn't answer.
 */
static bool may_be_made(struct session *session, struct str name, struct err *err)
{
    if (!is_name(name)) {
        err_say(err, FP_INVALID, PHRASE_TOKEN_NAME, SAYS_NOTHING);
        return false;
    }
    json_t *all = read_all(session, err);
    if (all == NULL)
        return false;
    bool taken = hash_of(all, name) != NULL;
    bool full = json_array_size(all) >= TOKENS_MAX;
    json_decref(all);
    if (taken)
        err_say(err, FP_INVALID, PHRASE_TOKEN_TAKEN, SAYS_NOTHING);
    else if (full)
        err_say(err, FP_INVALID, PHRASE_TOKEN_FULL, SAYS(SAY_NUMBER("tokens", TOKENS_MAX)));
    return !taken && !full;
}

bool token_create(struct session *session, const struct token_wish *wish,
                  char text[TOKEN_TEXT_BYTES], struct err *err)
{
    int64_t now_us = clock_wall_us(&session->clock);
    struct token token = {.right = wish->right,
                          .created_s = now_us / 1000000,
                          .account = wish->account,
                          .asked_us = now_us};
    char pass[PASS_TEXT_BYTES];
    char hash[PASS_HASH_BYTES];
    struct buf who;

    if (!may_be_made(session, wish->name, err))
        return false;
    memcpy(token.name, wish->name.ptr, wish->name.len);
    buf_init(&who, sizeof(token.made_by) - 1);
    orders_put_who(&who, wish->who);
    snprintf(token.made_by, sizeof(token.made_by), "%s", buf_cstr(&who));
    buf_clear(&who);
    pass_make(pass);
    snprintf(text, TOKEN_TEXT_BYTES, "fp_%s", pass);
    pass_hash(str_of(text), hash);
    return write_token(session, &token, str_of(hash), false, err);
}

bool token_asked(struct session *session, struct str hash, const struct token *token,
                 struct err *err)
{
    struct token fresh = *token;

    fresh.asked_us = clock_wall_us(&session->clock);
    return write_token(session, &fresh, hash, true, err);
}

bool token_end(struct session *session, struct str hash, struct err *err)
{
    const struct str words[] = {STR("HDEL"), str_of(session->keys.tokens), hash};
    return command(session, 3, words, NULL, NULL, err);
}

bool token_revoke(struct session *session, struct str name, struct err *err)
{
    json_t *all = read_all(session, err);
    bool good = false;

    if (all == NULL)
        return false;
    const char *hash = hash_of(all, name);
    if (hash != NULL)
        good = token_end(session, str_of(hash), err);
    else
        err_say(err, FP_INVALID, PHRASE_TOKEN_UNKNOWN, SAYS_NOTHING);
    json_decref(all);
    return good;
}

struct listed {
    json_t *token;
};

static int by_name(const void *a, const void *b)
{
    const struct listed *left = a;
    const struct listed *right = b;
    return strcmp(json_string_value(json_object_get(left->token, "name")),
                  json_string_value(json_object_get(right->token, "name")));
}

json_t *token_list(struct session *session, struct err *err)
{
    json_t *all = read_all(session, err);
    struct listed sorted[SHOWN];
    size_t count = 0;
    json_t *token;
    size_t i;

    if (all == NULL)
        return NULL;
    json_array_foreach(all, i, token)
    {
        json_object_del(token, "hash");
        if (count < SHOWN)
            sorted[count++].token = token;
    }
    qsort(sorted, count, sizeof(sorted[0]), by_name);
    json_t *list = json_array();
    for (i = 0; i < count; i++)
        json_array_append(list, sorted[i].token);
    json_decref(all);
    return list;
}

static void on_one(void *arg, const redisReply *reply)
{
    struct listing *listing = arg;

    listing->is_found = reply->type == REDIS_REPLY_STRING &&
                        parse((struct str){reply->str, reply->len}, &listing->found);
}

bool token_find(struct session *session, struct str hash, struct token *token, bool *found,
                struct err *err)
{
    const struct str words[] = {STR("HGET"), str_of(session->keys.tokens), hash};
    struct listing listing = {0};
    bool good = command(session, 3, words, on_one, &listing, err);

    *found = listing.is_found;
    *token = listing.found;
    return good;
}
