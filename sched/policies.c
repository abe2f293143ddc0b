#include "sched/policies.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/proxy.h"
#include "sched/policy_sync.h"

enum { FIXED_ELEMENTS = 4, VERSION_BYTES = 24 };

struct policies {
    struct policies_options o;
    struct policy_book *book;
    struct policy_sync *sync;
    bool known;
    bool asking;
    char version[VERSION_BYTES]; /* of the book, as Redis has it */
    int64_t redis_s;             /* Redis' time at the latest answer */
    int64_t answered_ms;         /* and ours */
    int64_t next_change_s;       /* when something of the book ends; 0: never */
    unsigned machines;
};

struct policies *policies_create(const struct policies_options *options)
{
    struct policies *p = mem_alloc(sizeof(*p));
    const struct policy_sync_options sync = {.clock = options->clock,
                                             .redis = options->redis,
                                             .keys = options->keys,
                                             .postgres = options->postgres};

    p->o = *options;
    p->book = policy_book_create();
    p->sync = policy_sync_create(&sync);
    p->machines = 1;
    snprintf(p->version, sizeof(p->version), "0");
    return p;
}

void policies_destroy(struct policies *p)
{
    if (p == NULL)
        return;
    policy_sync_destroy(p->sync);
    policy_book_destroy(p->book);
    free(p);
}

/* --- what is in force --- */

bool policies_are_known(const struct policies *p)
{
    return p->known;
}

int64_t policies_now_s(const struct policies *p)
{
    return p->redis_s + (clock_mono_ms(p->o.clock) - p->answered_ms) / 1000;
}

unsigned policies_machines(const struct policies *p)
{
    return p->machines;
}

static bool pauses(const struct policies *p, struct str name)
{
    const struct policy_entry *entry = policy_book_get(p->book, name);
    return entry != NULL && policy_at(&entry->policy, policies_now_s(p)).paused;
}

bool policies_pause_fleet(const struct policies *p)
{
    return pauses(p, POLICY_FLEET);
}

bool policies_pause_machine(const struct policies *p, struct str identity)
{
    char name[POLICY_MAX_NAME_BYTES + 2];

    if (policy_book_count(p->book) == 0)
        return false;
    if (policies_pause_fleet(p))
        return true;
    snprintf(name, sizeof(name), "@%.*s", STR_ARG(identity));
    if (pauses(p, str_of(name)))
        return true;
    snprintf(name, sizeof(name), "@%.*s", (int)str_find(identity, ':'),
             identity.ptr != NULL ? identity.ptr : "");
    return pauses(p, str_of(name));
}

unsigned policies_proxy(const struct policies *p, struct str name)
{
    return proxy_name_place(p->o.proxy_names, name);
}

bool policies_look_at(const struct policies *p, struct str host, struct policy *policy, bool *lacks)
{
    const struct policy_entry *entry;
    int64_t now_s;

    *lacks = false;
    if (policy_book_count(p->book) == 0)
        return false;
    now_s = policies_now_s(p);
    entry = policy_book_find(p->book, host, now_s);
    if (entry == NULL)
        return false;
    *policy = policy_at(&entry->policy, now_s);
    *lacks = policy->proxy[0] != '\0' && policies_proxy(p, str_of(policy->proxy)) == 0;
    return true;
}

bool policies_look(const struct policies *p, struct str host, struct policy *policy)
{
    bool lacks;
    bool found = policies_look_at(p, host, policy, &lacks);

    if (lacks)
        policy->paused = true;
    return found;
}

bool policies_drop(const struct policies *p, struct str host, double made_s, bool *now)
{
    const struct policy_entry *entry;

    if (policy_book_count(p->book) == 0)
        return false;
    entry = policy_book_find_drop(p->book, host, policies_now_s(p));
    if (entry == NULL || made_s > (double)entry->policy.drop_s)
        return false;
    *now = entry->policy.now;
    return true;
}

static void find_next_change(struct policies *p)
{
    const struct policy_entry *entry;
    int64_t now_s = policies_now_s(p);
    size_t at = 0;

    p->next_change_s = 0;
    while ((entry = policy_book_each(p->book, &at)) != NULL) {
        int64_t at_s = policy_next_change_s(&entry->policy, now_s);
        if (at_s != 0 && (p->next_change_s == 0 || at_s < p->next_change_s))
            p->next_change_s = at_s;
    }
}

/* --- reading --- */

static void warn_unknown_proxies(const struct policies *p)
{
    const struct policy_entry *entry;
    size_t at = 0;

    while ((entry = policy_book_each(p->book, &at)) != NULL) {
        const struct policy now = policy_at(&entry->policy, policies_now_s(p));
        if (now.proxy[0] != '\0' && policies_proxy(p, str_of(now.proxy)) == 0)
            log_event(
                LOG_LEVEL_WARN,
                "not sent from here: FEDPUSH_PROXIES of this machine lacks the proxy of its policy",
                LOG_TEXT("domain", entry->name), LOG_TEXT("proxy", now.proxy));
    }
}

/* Taken back, or over: it needs to be known for as long as an older order may come up again. */
static bool is_forgotten(const struct policies *p, const struct policy_entry *entry)
{
    int64_t now_s = policies_now_s(p);
    const struct policy now = policy_at(&entry->policy, now_s);

    return policy_is_empty(&now) && entry->version / 1000000 < now_s - POLICY_SYNC_FORGET_S;
}

/* What was there before and is missing now was lost by Redis: the names stay, and go back. */
static void carry_over(struct policies *p, struct policy_book *fresh)
{
    const struct policy_entry *old;
    size_t at = 0;

    while ((old = policy_book_each(p->book, &at)) != NULL) {
        const struct policy_entry *found = policy_book_get(fresh, str_of(old->name));
        if (is_forgotten(p, old) || (found != NULL && found->version >= old->version) ||
            !policy_book_put(fresh, str_of(old->name), old->version, str_of(old->text)))
            continue;
        policy_sync_bring_back(p->sync, policy_book_get(fresh, str_of(old->name)));
    }
    policy_sync_send(p->sync);
}

static void take_field(struct policy_book *book, const redisReply *name, const redisReply *value)
{
    struct str field = {name->str, (size_t)name->len};
    struct str text;
    int64_t version;

    if (name->type != REDIS_REPLY_STRING || value->type != REDIS_REPLY_STRING || field.len == 0 ||
        field.ptr[0] == ':')
        return;
    if (!policy_value_parse((struct str){value->str, (size_t)value->len}, &version, &text) ||
        !policy_book_put(book, field, version, text))
        log_event(LOG_LEVEL_WARN, "policy not understood: give it again with `fedpush domain`",
                  LOG_STR("domain", field));
}

static void take_book(struct policies *p, const redisReply *reply)
{
    struct policy_book *fresh = policy_book_create();

    for (size_t i = FIXED_ELEMENTS; i + 1 < reply->elements; i += 2)
        take_field(fresh, reply->element[i], reply->element[i + 1]);
    carry_over(p, fresh);
    policy_book_destroy(p->book);
    p->book = fresh;
    snprintf(p->version, sizeof(p->version), "%s", reply->element[3]->str);
    policy_sync_wanted(p->sync);
    log_event(LOG_LEVEL_INFO, "policies", LOG_TEXT("version", p->version),
              LOG_INT("count", policy_book_count(p->book)));
    warn_unknown_proxies(p);
}

static bool is_answer(const redisReply *reply)
{
    return reply->type == REDIS_REPLY_ARRAY && reply->elements >= FIXED_ELEMENTS &&
           reply->element[0]->type == REDIS_REPLY_STRING &&
           reply->element[1]->type == REDIS_REPLY_INTEGER &&
           reply->element[2]->type == REDIS_REPLY_INTEGER &&
           reply->element[3]->type == REDIS_REPLY_STRING;
}

static void note_failure(const struct policies *p, enum redis_status status,
                         const redisReply *reply)
{
    if (status == REDIS_LOST)
        return;
    log_event(LOG_LEVEL_WARN, "policies not read: what was known stays in force",
              LOG_STR("error", reply_error(status, reply)));
    if (str_starts_with(reply_error(status, reply), STR("NOSCRIPT")))
        script_load(p->o.redis);
}

static void on_answer(void *arg, enum redis_status status, const redisReply *reply)
{
    struct policies *p = arg;
    unsigned machines;

    p->asking = false;
    if (status == REDIS_LOST || !is_answer(reply)) {
        note_failure(p, status, reply);
        return;
    }
    p->redis_s = strtoll(reply->element[0]->str, NULL, 10);
    p->answered_ms = clock_mono_ms(p->o.clock);
    machines = reply->element[1]->integer > 1 ? (unsigned)reply->element[1]->integer : 1;
    bool changed =
        !p->known || machines != p->machines || strcmp(p->version, reply->element[3]->str) != 0;
    p->known = true;
    p->machines = machines;
    if (strcmp(p->version, reply->element[3]->str) != 0)
        take_book(p, reply);
    if (reply->element[2]->integer > 0)
        policy_sync_audit(p->sync);
    if (changed) {
        find_next_change(p);
        p->o.changed(p->o.arg);
    }
}

static void ask(struct policies *p)
{
    struct script_call *call = script_begin(SCRIPT_POLICIES);

    script_key(call, p->o.keys->policies);
    script_key(call, p->o.keys->audit);
    script_key(call, p->o.keys->identities);
    script_arg(call, str_of(p->version));
    p->asking = true;
    script_send(call, p->o.redis, on_answer, p);
}

void policies_redis_ready(struct policies *p)
{
    policy_sync_wanted(p->sync);
    ask(p);
}

void policies_tick(struct policies *p)
{
    if (p->next_change_s != 0 && policies_now_s(p) >= p->next_change_s) {
        find_next_change(p);
        p->o.changed(p->o.arg);
    }
    if (p->asking || !redis_is_ready(p->o.redis))
        return;
    ask(p);
    if (p->known)
        policy_sync_tick(p->sync, p->book);
}
