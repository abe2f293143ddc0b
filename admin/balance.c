#include "admin/balance.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Only reads. Its keys: the total, then ledger:ID and claimed:ID of each identity. */
static const char script[] =
    "local out = {redis.call('HGETALL', KEYS[1])}"
    " for i = 2, #KEYS, 2 do"
    " out[#out + 1] = redis.call('HGETALL', KEYS[i])"
    " out[#out + 1] = redis.call('HLEN', KEYS[i + 1]) - redis.call('HEXISTS', KEYS[i + 1], 'seq')"
    " end return out";

struct reading {
    struct balances *balances;
    const struct survey *survey;
    char host[260]; /* "HOST:", as identities begin */
};

static void add_word(struct balance *balance, struct str word, int64_t count)
{
    if (str_equal(word, STR("claimed"))) {
        balance->claimed += count;
        return;
    }
    for (int entry = LEDGER_BY_VERB + 1; entry < LEDGER_ENTRIES; entry++) {
        if (str_equal(word, str_of(ledger_word((enum ledger_entry)entry)))) {
            balance->outcomes[entry] += count;
            return;
        }
    }
    balance->others += count;
}

static void add_hash(struct balance *balance, const redisReply *hash)
{
    for (size_t i = 0; hash->type == REDIS_REPLY_ARRAY && i + 1 < hash->elements; i += 2) {
        const redisReply *word = hash->element[i];
        const redisReply *count = hash->element[i + 1];
        if (word->type == REDIS_REPLY_STRING && count->type == REDIS_REPLY_STRING)
            add_word(balance, (struct str){word->str, (size_t)word->len},
                     strtoll(count->str, NULL, 10));
    }
}

static void on_ledgers(void *arg, const redisReply *reply)
{
    struct reading *reading = arg;
    struct balances *balances = reading->balances;
    const struct survey *survey = reading->survey;

    if (reply->type != REDIS_REPLY_ARRAY || reply->elements != 1 + 2 * survey->identity_count)
        return;
    add_hash(&balances->fleet, reply->element[0]);
    for (size_t i = 0; i < survey->identity_count; i++) {
        const redisReply *ledger = reply->element[1 + 2 * i];
        const redisReply *held = reply->element[2 + 2 * i];
        bool ours = strncmp(survey->identities[i].name, reading->host, strlen(reading->host)) == 0;
        if (ledger->type != REDIS_REPLY_ARRAY || ledger->elements == 0)
            continue; /* of a fedpush that didn't count yet */
        add_hash(&balances->fleet, ledger);
        balances->fleet.held += held->integer;
        if (!ours)
            continue;
        balances->machine_found = true;
        add_hash(&balances->machine, ledger);
        balances->machine.held += held->integer;
    }
}

bool balance_take(struct balances *balances, struct session *session, const struct survey *survey,
                  struct err *err)
{
    enum { FIXED_WORDS = 4 };
    struct reading reading = {.balances = balances, .survey = survey};
    size_t count = survey->identity_count;
    struct str words[FIXED_WORDS + 2 * SURVEY_MAX_IDENTITIES];
    char *names[2 * SURVEY_MAX_IDENTITIES];
    char key_count[24];
    char name[256] = "";

    *balances = (struct balances){.machine_found = false};
    if (gethostname(name, sizeof(name) - 1) == 0)
        snprintf(reading.host, sizeof(reading.host), "%s:", name);
    struct redis *redis = session_redis(session, REDIS_ROLE_SIDEKIQ, err);
    if (redis == NULL)
        return false;
    snprintf(key_count, sizeof(key_count), "%zu", 1 + 2 * count);
    words[0] = STR("EVAL");
    words[1] = str_of(script);
    words[2] = str_of(key_count);
    words[3] = str_of(session->keys.ledger);
    for (size_t i = 0; i < count; i++) {
        struct str identity = str_of(survey->identities[i].name);
        names[2 * i] = keys_ledger(&session->keys, identity);
        names[2 * i + 1] = keys_claimed(&session->keys, identity);
        words[FIXED_WORDS + 2 * i] = str_of(names[2 * i]);
        words[FIXED_WORDS + 2 * i + 1] = str_of(names[2 * i + 1]);
    }
    bool good =
        session_command(session, redis, FIXED_WORDS + 2 * count, words, on_ledgers, &reading, err);
    for (size_t i = 0; i < 2 * count; i++)
        free(names[i]);
    return good;
}

static int64_t ended(const struct balance *balance)
{
    int64_t sum = balance->others;

    for (int entry = 0; entry < LEDGER_ENTRIES; entry++)
        sum += balance->outcomes[entry];
    return sum;
}

int64_t balance_missing(const struct balance *balance)
{
    return balance->claimed - ended(balance) - balance->held;
}

void balance_put(struct buf *out, const struct balance *balance)
{
    const char *sign = "=";

    buf_printf(out, "%" PRId64 " claimed", balance->claimed);
    for (int entry = 0; entry < LEDGER_ENTRIES; entry++) {
        struct str word = str_of(ledger_word((enum ledger_entry)entry));
        if (balance->outcomes[entry] == 0)
            continue;
        buf_printf(out, " %s %" PRId64 " ", sign, balance->outcomes[entry]);
        for (size_t i = 0; i < word.len; i++)
            buf_put_char(out, word.ptr[i] == '_' ? ' ' : word.ptr[i]);
        sign = "+";
    }
    if (balance->others != 0) {
        buf_printf(out, " %s %" PRId64 " others", sign, balance->others);
        sign = "+";
    }
    buf_printf(out, " %s %" PRId64 " held", sign, balance->held);
}
