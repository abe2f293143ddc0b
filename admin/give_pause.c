/* Pause and resume of the fleet or one machine, and drain. */
#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "admin/give.h"

enum { DRAIN_S = 60, LIVE_S = 60, MAX_DRAINED = 100 };

/* Whether an identity ("HOST:PID:NONCE") of Redis is meant. */
struct search {
    struct str name;
    bool found;
};

static void on_identities(void *arg, const redisReply *reply)
{
    struct search *search = arg;

    for (size_t i = 0; reply->type == REDIS_REPLY_ARRAY && i < reply->elements; i++) {
        struct str identity = {reply->element[i]->str, (size_t)reply->element[i]->len};
        struct str host = {identity.ptr, str_find(identity, ':')};
        search->found =
            search->found || str_equal(identity, search->name) || str_equal(host, search->name);
    }
}

static bool machine_exists(struct orders *orders, const char *machine, struct err *err)
{
    struct search search = {str_of(machine), false};
    const struct str words[] = {STR("ZRANGE"), str_of(orders->session->keys.identities), STR("0"),
                                STR("-1")};

    if (!session_command(orders->session, orders->redis, 4, words, on_identities, &search, err))
        return false;
    if (!search.found)
        err_say(err, FP_INVALID, PHRASE_ORDER_UNKNOWN_MACHINE, SAYS_NOTHING);
    return search.found;
}

/* Begins with a write that maxmemory never refuses, which lets the next one pass. */
static const char set_script[] = "redis.call('DEL', KEYS[1]) redis.call('SET', KEYS[1], ARGV[1])"
                                 " if ARGV[2] then redis.call('EXPIRE', KEYS[1], ARGV[2]) end";

/* Who has paused the fleet, for the page: an order has no room for it. Without it the order counts
 * as well. */
static void note_pauser(struct orders *orders, struct give *give, bool paused)
{
    char *key = keys_prefixed(&give->session->keys, STR("fedpush:pauser"));
    struct buf who;
    struct err ignored;

    buf_init(&who, 512);
    orders_put_who(&who, give->who);
    const struct str set[] = {STR("EVAL"), str_of(set_script), STR("1"), str_of(key),
                              buf_str(&who)};
    const struct str del[] = {STR("DEL"), str_of(key)};
    (void)session_command(give->session, orders->redis, paused ? 5 : 2, paused ? set : del, NULL,
                          NULL, &ignored);
    buf_clear(&who);
    free(key);
}

static bool order(struct give *give, const char *machine, bool paused, int64_t span_s,
                  struct err *err)
{
    char *name = machine != NULL ? mem_printf("@%s", machine) : str_dup(POLICY_FLEET);
    struct orders orders;
    struct policy policy = {.paused = paused};
    bool good = orders_open(&orders, give->session, err);

    orders.who = give->who;
    if (good && paused && machine != NULL)
        good = machine_exists(&orders, machine, err);
    if (good) {
        if (span_s > 0)
            policy.paused_until_s = orders.now_s + span_s;
        orders_set(&orders, str_of(name), &policy);
        good = orders_write(&orders, paused ? "pause" : "resume", str_of(name), "", err);
    }
    if (good && machine == NULL)
        note_pauser(&orders, give, paused);
    if (good && machine == NULL)
        give_say(give, paused ? PHRASE_GIVE_FLEET_PAUSES : PHRASE_GIVE_FLEET_GOES_ON, SAYS_NOTHING);
    else if (good)
        give_say(give, paused ? PHRASE_GIVE_MACHINE_PAUSES : PHRASE_GIVE_MACHINE_GOES_ON,
                 SAYS(SAY_TEXT("machine", machine)));
    if (good && paused)
        give_say(give, PHRASE_GIVE_PAUSING, SAYS_NOTHING);
    orders_close(&orders);
    free(name);
    return good;
}

bool give_pause(struct give *give, const char *machine, int64_t span_s, struct err *err)
{
    return order(give, machine, true, span_s, err);
}

bool give_resume(struct give *give, const char *machine, struct err *err)
{
    return order(give, machine, false, 0, err);
}

bool give_is_machine(const char *machine)
{
    char *name = mem_printf("@%s", machine);
    bool valid = policy_name_is_valid(str_of(name));

    free(name);
    return valid;
}

/* --- drain --- */

struct drained {
    struct str name;
    size_t count;
    char *identities[MAX_DRAINED];
};

static void on_live(void *arg, const redisReply *reply)
{
    struct drained *drained = arg;

    for (size_t i = 0; reply->type == REDIS_REPLY_ARRAY && i < reply->elements; i++) {
        struct str identity = {reply->element[i]->str, (size_t)reply->element[i]->len};
        struct str host = {identity.ptr, str_find(identity, ':')};
        if (drained->count < MAX_DRAINED &&
            (str_equal(identity, drained->name) || str_equal(host, drained->name)))
            drained->identities[drained->count++] = str_dup(identity);
    }
}

static bool find_live(struct drained *drained, struct orders *orders, struct err *err)
{
    char *since = mem_printf("%lld", (long long)orders->now_s - LIVE_S);
    const struct str words[] = {STR("ZRANGEBYSCORE"), str_of(orders->session->keys.identities),
                                str_of(since), STR("+inf")};
    bool good = session_command(orders->session, orders->redis, 4, words, on_live, drained, err);

    free(since);
    if (good && drained->count == 0) {
        err_say(err, FP_INVALID, PHRASE_ORDER_NO_LIVE_MACHINE, SAYS_NOTHING);
        return false;
    }
    return good;
}

static bool drain(struct give *give, struct orders *orders, const char *identity, struct err *err)
{
    char *key = keys_drain(&give->session->keys, str_of(identity));
    char *seconds = mem_printf("%d", DRAIN_S);
    const struct str words[] = {STR("EVAL"), str_of(set_script), STR("1"),
                                str_of(key), STR("1"),           str_of(seconds)};
    bool good = session_command(give->session, orders->redis, sizeof(words) / sizeof(words[0]),
                                words, NULL, NULL, err);

    if (good)
        give_say(give, PHRASE_GIVE_DRAINING, SAYS(SAY_TEXT("machine", identity)));
    free(seconds);
    free(key);
    return good;
}

bool give_drain(struct give *give, const char *machine, struct err *err)
{
    struct drained drained = {.name = str_of(machine)};
    struct orders orders;
    char *name = mem_printf("@%s", machine);
    bool good = orders_open(&orders, give->session, err);

    orders.who = give->who;
    good = good && find_live(&drained, &orders, err) &&
           orders_write(&orders, "drain", str_of(name), "", err);
    for (size_t i = 0; i < drained.count; i++) {
        good = good && drain(give, &orders, drained.identities[i], err);
        free(drained.identities[i]);
    }
    orders_close(&orders);
    free(name);
    return good;
}
