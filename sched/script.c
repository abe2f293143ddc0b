#include "sched/script.h"

#include <inttypes.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sched/scripts.h"

enum { SHA1_HEX_BYTES = 40, NUMBER_BYTES = 24 };

static const char *source_of(enum script script)
{
    switch (script) {
    case SCRIPT_BEAT:
        return script_beat;
    case SCRIPT_CLAIM:
        return script_claim;
    case SCRIPT_DUE:
        return script_due;
    case SCRIPT_SETTLE:
        return script_settle;
    case SCRIPT_CONDEMN:
        return script_condemn;
    case SCRIPT_RECOVER:
        return script_recover;
    case SCRIPT_ADOPT:
        return script_adopt;
    case SCRIPT_ENQUEUE:
        return script_enqueue;
    case SCRIPT_LEAVE:
        return script_leave;
    case SCRIPT_YIELD:
        return script_yield;
    case SCRIPT_REGISTER:
        return script_register;
    case SCRIPT_SCHEMES:
        return script_schemes;
    case SCRIPT_FLEET:
        return script_fleet;
    case SCRIPT_PROBE:
        return script_probe;
    case SCRIPT_RELEASE:
        return script_release;
    case SCRIPT_POLICIES:
        return script_policies;
    case SCRIPT_POLICIES_MERGE:
        return script_policies_merge;
    case SCRIPT_POLICIES_WRITE:
        return script_policies_write;
    case SCRIPT_TRY:
        return script_try;
    case SCRIPT_ANSWER:
        return script_answer;
    case SCRIPT_COUNT:
        break;
    }
    abort();
}

static void sha1_hex(const char *text, char hex[SHA1_HEX_BYTES + 1])
{
    unsigned char digest[20];
    if (EVP_Digest(text, strlen(text), digest, NULL, EVP_sha1(), NULL) != 1)
        abort();
    for (size_t i = 0; i < sizeof(digest); i++)
        snprintf(hex + 2 * i, 3, "%02x", digest[i]);
}

void script_load(struct redis *redis)
{
    for (int i = 0; i < SCRIPT_COUNT; i++) {
        const struct str words[] = {STR("SCRIPT"), STR("LOAD"), str_of(source_of((enum script)i))};
        redis_send(redis, NULL, NULL, 3, words);
    }
}

struct script_call {
    char sha[SHA1_HEX_BYTES + 1];
    char key_count[NUMBER_BYTES];
    size_t keys;
    size_t count;
    size_t capacity;
    struct str *words;
    char **owned; /* the texts of numbers */
    size_t owned_count;
};

static void add_word(struct script_call *call, struct str word)
{
    if (call->count == call->capacity) {
        call->capacity = call->capacity > 0 ? call->capacity * 2 : 32;
        call->words = mem_realloc(call->words, call->capacity * sizeof(struct str));
    }
    call->words[call->count++] = word;
}

struct script_call *script_begin(enum script script)
{
    struct script_call *call = mem_alloc(sizeof(*call));
    sha1_hex(source_of(script), call->sha);
    add_word(call, STR("EVALSHA"));
    add_word(call, str_of(call->sha));
    add_word(call, STR_NULL); /* the number of keys, known at the end */
    return call;
}

void script_key(struct script_call *call, const char *key)
{
    add_word(call, str_of(key));
    call->keys++;
}

void script_arg(struct script_call *call, struct str arg)
{
    add_word(call, arg);
}

void script_arg_number(struct script_call *call, int64_t number)
{
    char *text = mem_printf("%" PRId64, number);
    call->owned = mem_realloc(call->owned, (call->owned_count + 1) * sizeof(char *));
    call->owned[call->owned_count++] = text;
    add_word(call, str_of(text));
}

void script_send(struct script_call *call, struct redis *redis, redis_fn *fn, void *arg)
{
    snprintf(call->key_count, sizeof(call->key_count), "%zu", call->keys);
    call->words[2] = str_of(call->key_count);
    redis_send(redis, fn, arg, call->count, call->words);
    for (size_t i = 0; i < call->owned_count; i++)
        free(call->owned[i]);
    free(call->owned);
    free(call->words);
    free(call);
}

bool reply_is(const redisReply *reply, struct str text)
{
    return reply != NULL &&
           (reply->type == REDIS_REPLY_STRING || reply->type == REDIS_REPLY_STATUS) &&
           str_equal((struct str){reply->str, (size_t)reply->len}, text);
}

struct str reply_error(enum redis_status status, const redisReply *reply)
{
    if (status == REDIS_LOST || reply == NULL)
        return STR("connection lost");
    if (reply->type == REDIS_REPLY_ERROR)
        return (struct str){reply->str, (size_t)reply->len};
    return STR("unexpected reply");
}
