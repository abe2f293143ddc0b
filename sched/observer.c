#include "sched/observer.h"

#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "base/log.h"
#include "base/table.h"

enum {
    LOOK_MS = 10000,
    STALE_S = 60,
    TWICE_MS = 30000,
    AGAIN_MS = 5000, /* BLMOVE waits for 2 s */
    RETRY_MS = 5000,
};

struct suspect_owner {
    char *identity;
    char *beat; /* the score's text as seen first */
    int64_t seen_ms;
    bool present; /* at the latest look */
};

/* An identity that is gone, until nothing is left of it. */
struct wreck {
    TAILQ_ENTRY(wreck) entry;
    char *identity;
    bool own;       /* a former one of this machine */
    bool recovered; /* what comes now has come late */
    int64_t due_ms; /* monotonic */
};

struct observer {
    struct observer_options o;
    struct table *suspects; /* identity -> struct suspect_owner */
    TAILQ_HEAD(, wreck) wrecks;
    struct recovery *recovery; /* of the wreck `recovering`: one at a time */
    struct wreck *recovering;
    bool looking;
    int64_t next_look_ms;
    unsigned identities;
};

struct observer *observer_create(const struct observer_options *options)
{
    struct observer *observer = mem_alloc(sizeof(*observer));
    observer->o = *options;
    observer->suspects = table_create();
    TAILQ_INIT(&observer->wrecks);
    return observer;
}

static void forget_suspects(struct observer *observer, bool all)
{
    size_t at = 0;
    struct suspect_owner *owner;

    while ((owner = table_next(observer->suspects, &at)) != NULL) {
        if (!all && owner->present)
            continue;
        table_remove(observer->suspects, str_of(owner->identity));
        free(owner->identity);
        free(owner->beat);
        free(owner);
    }
}

static struct wreck *find_wreck(struct observer *observer, struct str identity)
{
    struct wreck *wreck;

    TAILQ_FOREACH(wreck, &observer->wrecks, entry)
    {
        if (str_equal(str_of(wreck->identity), identity))
            return wreck;
    }
    return NULL;
}

static void add_wreck(struct observer *observer, struct str identity, bool own)
{
    struct wreck *wreck = mem_alloc(sizeof(*wreck));

    wreck->identity = str_dup(identity);
    wreck->own = own;
    TAILQ_INSERT_TAIL(&observer->wrecks, wreck, entry);
}

static void drop_wreck(struct observer *observer, struct wreck *wreck)
{
    TAILQ_REMOVE(&observer->wrecks, wreck, entry);
    free(wreck->identity);
    free(wreck);
}

void observer_destroy(struct observer *observer)
{
    if (observer == NULL)
        return;
    recover_cancel(observer->recovery);
    forget_suspects(observer, true);
    table_destroy(observer->suspects);
    while (!TAILQ_EMPTY(&observer->wrecks))
        drop_wreck(observer, TAILQ_FIRST(&observer->wrecks));
    free(observer);
}

unsigned observer_identities(const struct observer *observer)
{
    return observer->identities;
}

static void begin_next(struct observer *observer);

static void log_recovery(const struct wreck *wreck, const struct recover_result *result)
{
    struct str identity = str_of(wreck->identity);

    if ((result->ok && !wreck->recovered) || result->returned > 0 || result->poisoned > 0)
        log_event(LOG_LEVEL_INFO, "claims recovered", LOG_STR("identity", identity),
                  LOG_INT("returned", result->returned), LOG_INT("poisoned", result->poisoned));
    if (!result->ok && !result->alive)
        log_event(LOG_LEVEL_WARN, "recovering claims failed, tried again",
                  LOG_STR("identity", identity), LOG_TEXT("error", result->message));
}

static void on_recovered(void *arg, const struct recover_result *result)
{
    struct observer *observer = arg;
    struct wreck *wreck = observer->recovering;
    int64_t now_ms = clock_mono_ms(observer->o.clock);

    observer->recovery = NULL;
    observer->recovering = NULL;
    log_recovery(wreck, result);
    if (result->ok && !wreck->recovered) {
        wreck->recovered = true;
        wreck->due_ms = now_ms + AGAIN_MS;
    } else if (result->ok) {
        if (wreck->own)
            observer->o.former_gone(observer->o.arg, str_of(wreck->identity));
        drop_wreck(observer, wreck);
    } else if (result->alive && !wreck->own) {
        drop_wreck(observer, wreck);
    } else { /* from the beginning, and behind the others */
        wreck->recovered = false;
        wreck->due_ms = now_ms + RETRY_MS;
        TAILQ_REMOVE(&observer->wrecks, wreck, entry);
        TAILQ_INSERT_TAIL(&observer->wrecks, wreck, entry);
    }
    if (result->returned > 0)
        observer->o.returned(observer->o.arg);
    begin_next(observer);
}

static void begin(struct observer *observer, struct wreck *wreck)
{
    enum recover_mode mode = wreck->own ? RECOVER_OWN : RECOVER_IF_STALE;

    observer->recovering = wreck;
    observer->recovery = recover_start(observer->o.redis, observer->o.keys, str_of(wreck->identity),
                                       wreck->recovered ? RECOVER_AGAIN : mode, observer->o.clock,
                                       on_recovered, observer);
}

static void begin_next(struct observer *observer)
{
    int64_t now_ms = clock_mono_ms(observer->o.clock);
    struct wreck *wreck;

    if (observer->recovery != NULL || !redis_is_ready(observer->o.redis) ||
        membership_state(observer->o.membership) != MEMBER_PRESENT)
        return;
    TAILQ_FOREACH(wreck, &observer->wrecks, entry)
    {
        if (wreck->due_ms <= now_ms) {
            begin(observer, wreck);
            return;
        }
    }
}

void observer_former(struct observer *observer, struct str identity)
{
    struct wreck *wreck = find_wreck(observer, identity);

    if (wreck == NULL) /* each new identity comes with all former ones */
        add_wreck(observer, identity, true);
    else
        wreck->own = true;
    begin_next(observer);
}

void observer_start(struct observer *observer)
{
    struct wreck *wreck;

    observer->looking = false;
    TAILQ_FOREACH(wreck, &observer->wrecks, entry)
    {
        if (!wreck->recovered) /* it failed since Redis was away */
            wreck->due_ms = 0;
    }
    begin_next(observer);
}

void observer_lost(struct observer *observer)
{
    struct wreck *wreck;
    struct wreck *next;

    forget_suspects(observer, true);
    for (wreck = TAILQ_FIRST(&observer->wrecks); wreck != NULL; wreck = next) {
        next = TAILQ_NEXT(wreck, entry);
        if (!wreck->own && !wreck->recovered && wreck != observer->recovering)
            drop_wreck(observer, wreck);
    }
}

/* True when this identity's beat was stale, and the same, 30 s ago on this connection. */
static bool stale_twice(struct observer *observer, struct str identity, struct str beat,
                        int64_t now_ms)
{
    struct suspect_owner *owner = table_get(observer->suspects, identity);

    if (owner == NULL) {
        owner = mem_alloc(sizeof(*owner));
        owner->identity = str_dup(identity);
        owner->beat = str_dup(beat);
        owner->seen_ms = now_ms;
        table_put(observer->suspects, str_of(owner->identity), owner);
    } else if (!str_equal(str_of(owner->beat), beat)) {
        free(owner->beat);
        owner->beat = str_dup(beat);
        owner->seen_ms = now_ms;
    }
    owner->present = true;
    return now_ms - owner->seen_ms >= TWICE_MS;
}

/* The identities with their beats, and Redis' own time just before. */
static void look(struct observer *observer, const redisReply *reply, double redis_now_s)
{
    int64_t now_ms = clock_mono_ms(observer->o.clock);
    size_t at = 0;
    struct suspect_owner *owner;

    while ((owner = table_next(observer->suspects, &at)) != NULL)
        owner->present = false;
    observer->identities = (unsigned)(reply->elements / 2);
    for (size_t i = 0; i + 1 < reply->elements; i += 2) {
        struct str identity = {reply->element[i]->str, (size_t)reply->element[i]->len};
        struct str beat = {reply->element[i + 1]->str, (size_t)reply->element[i + 1]->len};
        double beat_s = strtod(reply->element[i + 1]->str, NULL);
        if (str_equal(identity, membership_identity(observer->o.membership)))
            continue;
        if (redis_now_s - beat_s <= STALE_S)
            continue;
        if ((beat_s <= 0 || stale_twice(observer, identity, beat, now_ms)) &&
            find_wreck(observer, identity) == NULL)
            add_wreck(observer, identity, false);
    }
    forget_suspects(observer, false);
    begin_next(observer);
}

struct look_request {
    struct observer *observer;
    double redis_now_s;
};

static void on_time(void *arg, enum redis_status status, const redisReply *reply)
{
    struct look_request *request = arg;
    if (status == REDIS_REPLIED && reply->type == REDIS_REPLY_ARRAY && reply->elements == 2)
        request->redis_now_s = strtod(reply->element[0]->str, NULL);
}

static void on_identities(void *arg, enum redis_status status, const redisReply *reply)
{
    struct look_request request = *(struct look_request *)arg;

    free(arg);
    request.observer->looking = false;
    if (status == REDIS_REPLIED && reply->type == REDIS_REPLY_ARRAY && request.redis_now_s > 0)
        look(request.observer, reply, request.redis_now_s);
}

void observer_tick(struct observer *observer)
{
    int64_t now_ms = clock_mono_ms(observer->o.clock);
    const struct str time[] = {STR("TIME")};
    const struct str range[] = {STR("ZRANGE"), str_of(observer->o.keys->identities), STR("0"),
                                STR("-1"), STR("WITHSCORES")};

    if (membership_state(observer->o.membership) != MEMBER_PRESENT)
        return;
    begin_next(observer);
    if (observer->looking || now_ms < observer->next_look_ms)
        return;
    observer->looking = true;
    observer->next_look_ms = now_ms + LOOK_MS;
    struct look_request *request = mem_alloc(sizeof(*request));
    request->observer = observer;
    redis_send(observer->o.redis, on_time, request, 1, time);
    redis_send(observer->o.redis, on_identities, request, 5, range);
}
