#include "admin/attempts_store.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "admin/attempts.h"
#include "sched/scripts.h"

enum { NUMBERS = 7, NUMBER_BYTES = 24, FIXED_WORDS = 6 };
static const int64_t known_ms = INT64_C(30) * 24 * 3600 * 1000;

/* A new string; free(). */
static char *key_of(const struct keys *keys, int family, const unsigned char *address)
{
    size_t len = attempts_address_bytes(family);
    struct buf name;

    buf_init(&name, 64);
    buf_put_str(&name, STR("fedpush:attempts:"));
    buf_put_str(&name, len == 0 ? STR("local") : STR(""));
    for (size_t i = 0; i < len; i++)
        buf_printf(&name, "%02x", address[i]);
    char *key = keys_prefixed(keys, buf_str(&name));
    buf_clear(&name);
    return key;
}

static void on_number(void *arg, const redisReply *reply)
{
    int64_t *number = arg;
    if (reply->type == REDIS_REPLY_INTEGER)
        *number = reply->integer;
}

static bool run(struct session *session, struct str what, int family, const unsigned char *address,
                int64_t *wait_ms, struct err *err)
{
    const int64_t numbers[NUMBERS] = {ATTEMPTS_FREE,
                                      ATTEMPTS_FIRST_MS,
                                      ATTEMPTS_LONGEST_MS,
                                      ATTEMPTS_FORGOTTEN_MS,
                                      ATTEMPTS_BURST,
                                      ATTEMPTS_EACH_MS,
                                      known_ms};
    struct redis *redis = session_redis(session, REDIS_ROLE_SIDEKIQ, err);
    char texts[NUMBERS][NUMBER_BYTES];

    *wait_ms = 0;
    if (redis == NULL)
        return false;
    char *all = keys_prefixed(&session->keys, STR("fedpush:attempts"));
    char *own = key_of(&session->keys, family, address);
    struct str words[FIXED_WORDS + NUMBERS] = {
        STR("EVAL"), str_of(script_attempts), STR("2"), str_of(all), str_of(own), what};
    for (size_t i = 0; i < NUMBERS; i++) {
        snprintf(texts[i], sizeof(texts[i]), "%lld", (long long)numbers[i]);
        words[FIXED_WORDS + i] = str_of(texts[i]);
    }
    bool good =
        session_command(session, redis, FIXED_WORDS + NUMBERS, words, on_number, wait_ms, err);
    free(own);
    free(all);
    return good;
}

bool attempts_store_begin(struct session *session, int family, const unsigned char address[16],
                          int64_t *wait_ms, struct err *err)
{
    return run(session, STR("begin"), family, address, wait_ms, err);
}

bool attempts_store_right(struct session *session, int family, const unsigned char address[16],
                          struct err *err)
{
    int64_t none_ms;
    return run(session, STR("right"), family, address, &none_ms, err);
}
