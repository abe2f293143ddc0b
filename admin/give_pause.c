/* Pause and resume of the fleet or one machine, and drain. */
#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "admin/give.h"

enum { DRAIN_S = 60, LIVE_S = 60, MAX_DRAINED = 100, DETAIL_BYTES = 64 };

/* --- machines --- */

enum { MAX_MACHINES = 1000 };

struct machines {
    size_t count;
    bool cut;
    char *identities[MAX_MACHINES]; /* "HOST:PID:NONCE" */
};

static void on_identities(void *arg, const redisReply *reply)
{
    struct machines *machines = arg;

    for (size_t i = 0; reply->type == REDIS_REPLY_ARRAY && i < reply->elements; i++) {
        if (machines->count < MAX_MACHINES)
            machines->identities[machines->count++] = str_dup(redis_reply_text(reply->element[i]));
        else
            machines->cut = true;
    }
}

static bool read_machines(struct machines *machines, const struct orders *orders, struct err *err)
{
    const struct str words[] = {STR("ZRANGE"), str_of(orders->session->keys.identities), STR("0"),
                                STR("-1")};
    return session_command(orders->session, orders->redis, 4, words, on_identities, machines, err);
}

static void clear_machines(struct machines *machines)
{
    while (machines->count > 0)
        free(machines->identities[--machines->count]);
}

static struct str host_of(struct str machine)
{
    return (struct str){machine.ptr, str_find(machine, ':')};
}

static bool is_identity(struct str machine)
{
    return host_of(machine).len < machine.len;
}

/* By its host name or its identity. */
static bool is_there(const struct machines *machines, struct str name)
{
    for (size_t i = 0; i < machines->count; i++) {
        struct str identity = str_of(machines->identities[i]);
        if (str_equal(identity, name) || str_equal(host_of(identity), name))
            return true;
    }
    return false;
}

/* An order for a process that is gone means nobody any more. That nobody is there at all only says
 * that Redis has lost its data. */
static void take_back_gone(struct orders *orders, const struct machines *machines)
{
    const struct policy none = {.paused = false};
    const struct policy_entry *entry;
    size_t at = 0;

    if (machines->cut || machines->count == 0)
        return;
    while ((entry = policy_book_each(orders->book, &at)) != NULL) {
        struct str name = str_of(entry->name);
        if (name.ptr[0] == '@' && is_identity(name) && !policy_is_empty(&entry->policy) &&
            !is_there(machines, str_slice(name, 1)))
            orders_set(orders, name, &none);
    }
}

static bool may_order(const struct orders *orders, const struct machines *machines,
                      const char *machine, bool paused, struct err *err)
{
    char *name = mem_printf("@%s", machine);
    bool good =
        is_there(machines, str_of(machine)) || (!paused && orders_get(orders, str_of(name)).paused);

    if (!good)
        err_say(err, FP_INVALID,
                paused ? PHRASE_ORDER_UNKNOWN_MACHINE : PHRASE_ORDER_NOTHING_PAUSED, SAYS_NOTHING);
    free(name);
    return good;
}

/* --- pause and resume --- */

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

/* `machine` NULL: the fleet. */
static bool is_part(struct str name, const char *machine)
{
    struct str whole = str_of(machine != NULL ? machine : "");

    return machine == NULL || str_equal(name, whole) || str_equal(name, host_of(whole)) ||
           str_equal(host_of(name), whole);
}

/* What else holds those that were resumed, or a part of them. */
static void say_still(struct give *give, const struct orders *orders, const char *machine)
{
    const struct policy_entry *entry;
    size_t at = 0;

    if (machine != NULL && orders_get(orders, POLICY_FLEET).paused)
        give_say(give, PHRASE_GIVE_FLEET_STAYS, SAYS_NOTHING);
    while ((entry = policy_book_each(orders->book, &at)) != NULL) {
        struct str name = str_of(entry->name);
        if (name.ptr[0] == '@' && is_part(str_slice(name, 1), machine) &&
            orders_get(orders, name).paused)
            give_say(give, PHRASE_GIVE_MACHINE_STAYS, SAYS(SAY_STR("machine", str_slice(name, 1))));
    }
}

static void say_paused(struct give *give, const char *machine)
{
    if (machine == NULL)
        give_say(give, PHRASE_GIVE_FLEET_PAUSES, SAYS_NOTHING);
    else
        give_say(give, PHRASE_GIVE_MACHINE_PAUSES, SAYS(SAY_TEXT("machine", machine)));
    give_say(give, PHRASE_GIVE_PAUSING, SAYS_NOTHING);
    if (machine != NULL && is_identity(str_of(machine)))
        give_say(give, PHRASE_GIVE_UNTIL_RESTART, SAYS(SAY_STR("host", host_of(str_of(machine)))));
}

static void say_resumed(struct give *give, const struct orders *orders, const char *machine,
                        bool was_paused)
{
    if (machine == NULL)
        give_say(give, PHRASE_GIVE_FLEET_GOES_ON, SAYS_NOTHING);
    else
        give_say(give, was_paused ? PHRASE_GIVE_MACHINE_GOES_ON : PHRASE_GIVE_MACHINE_NOT_PAUSED,
                 SAYS(SAY_TEXT("machine", machine)));
    say_still(give, orders, machine);
}

static bool write_order(struct orders *orders, struct give *give, const struct machines *machines,
                        const char *machine, const struct policy *policy, struct err *err)
{
    char *name = machine != NULL ? mem_printf("@%s", machine) : str_dup(POLICY_FLEET);
    bool was_paused = orders_get(orders, str_of(name)).paused;
    struct buf detail;

    buf_init(&detail, DETAIL_BYTES);
    if (policy->paused_until_s != 0)
        orders_put_options(&detail, policy->paused_until_s - orders->now_s, false);
    take_back_gone(orders, machines);
    orders_set(orders, str_of(name), policy);
    bool good = orders_write(orders, policy->paused ? "pause" : "resume", str_of(name),
                             buf_cstr(&detail), err);
    buf_clear(&detail);
    if (good && machine == NULL)
        note_pauser(orders, give, policy->paused);
    if (good && policy->paused)
        say_paused(give, machine);
    else if (good)
        say_resumed(give, orders, machine, was_paused);
    free(name);
    return good;
}

static bool order(struct give *give, const char *machine, bool paused, int64_t span_s,
                  struct err *err)
{
    struct machines machines = {.count = 0};
    struct orders orders;
    struct policy policy = {.paused = paused};
    bool good = orders_open(&orders, give->session, err) && read_machines(&machines, &orders, err);

    orders.who = give->who;
    if (good && machine != NULL)
        good = may_order(&orders, &machines, machine, paused, err);
    if (good) {
        policy.paused_until_s = span_s > 0 ? orders.now_s + span_s : 0;
        good = write_order(&orders, give, &machines, machine, &policy, err);
    }
    orders_close(&orders);
    clear_machines(&machines);
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
        struct str host = host_of(identity);
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
