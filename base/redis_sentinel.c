#include "base/redis_sentinel.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/loop.h"
#include "base/redis_wire.h"

/*
 * NEXT --> CONNECTING --ready--> ASKING --address--> DONE
 *   ▲          │ lost, late         │ lost, late, unknown
 *   └──────────┴────────────────────┘        NEXT --all asked--> DONE
 */
enum sentinel_state { SENTINEL_NEXT = 0, SENTINEL_CONNECTING, SENTINEL_ASKING, SENTINEL_DONE };

struct redis_sentinel {
    enum sentinel_state state;
    struct event_base *base;
    struct dns *dns;
    const struct redis_endpoint *endpoint;
    redis_sentinel_fn *fn;
    void *arg;
    size_t first;
    size_t asked;                 /* how many were, the present one apart */
    struct redis_endpoint server; /* the present one; its texts are the endpoint's */
    struct redis *redis;
    struct loop_timer *timer;     /* NEXT: begins it; else the present one's limit */
    char auth[REDIS_CLASS_BYTES]; /* why the present one refused the password; "": it did not */
    char reason[256];
};

static size_t present(const struct redis_sentinel *sentinel)
{
    return (sentinel->first + sentinel->asked) % sentinel->endpoint->sentinel_count;
}

/* The caller must not touch `sentinel` afterwards: the callback may have destroyed it. */
static void finish(struct redis_sentinel *sentinel, const char *host, uint16_t port)
{
    const struct redis_sentinel_answer answer = {host, port, present(sentinel),
                                                 host != NULL ? "" : sentinel->reason};

    sentinel->state = SENTINEL_DONE;
    loop_timer_clear(sentinel->timer);
    sentinel->fn(sentinel->arg, &answer);
}

/* The present one is of no use; the next one is asked from the loop. */
static void pass_on(struct redis_sentinel *sentinel, const char *reason)
{
    const struct redis_place *place = &sentinel->endpoint->sentinels[present(sentinel)];

    snprintf(sentinel->reason, sizeof(sentinel->reason), "Sentinel %s:%u: %s", place->host,
             place->port, reason);
    redis_destroy(sentinel->redis);
    sentinel->redis = NULL;
    sentinel->asked++;
    sentinel->state = SENTINEL_NEXT;
    loop_timer_set(sentinel->timer, 0);
}

static void on_auth(void *arg, enum redis_status status, const redisReply *reply)
{
    struct redis_sentinel *sentinel = arg;

    if (status == REDIS_REPLIED && reply->type == REDIS_REPLY_ERROR)
        redis_reply_class(reply, sentinel->auth);
}

static bool is_address(const redisReply *reply, int64_t *port)
{
    if (reply->type != REDIS_REPLY_ARRAY || reply->elements != 2 ||
        reply->element[0]->type != REDIS_REPLY_STRING || reply->element[0]->len == 0 ||
        reply->element[1]->type != REDIS_REPLY_STRING)
        return false;
    const struct str digits = {reply->element[1]->str, (size_t)reply->element[1]->len};
    return str_to_i64(digits, 1, 65535, port);
}

static void on_address(void *arg, enum redis_status status, const redisReply *reply)
{
    struct redis_sentinel *sentinel = arg;
    char class[REDIS_CLASS_BYTES] = "";
    char reason[160];
    int64_t port;

    if (status == REDIS_LOST)
        return; /* on_lost follows */
    if (is_address(reply, &port)) {
        finish(sentinel, reply->element[0]->str, (uint16_t)port);
        return;
    }
    if (reply->type == REDIS_REPLY_ERROR)
        redis_reply_class(reply, class);
    if (reply->type == REDIS_REPLY_NIL)
        snprintf(reason, sizeof(reason), "it knows no master \"%.80s\"",
                 sentinel->endpoint->master);
    else if (sentinel->auth[0] != '\0')
        snprintf(reason, sizeof(reason), "AUTH: %s", sentinel->auth);
    else
        snprintf(reason, sizeof(reason), "it does not say where the master is: %s",
                 class[0] != '\0' ? class : "unexpected reply");
    pass_on(sentinel, reason);
}

/* The role's own password goes to its Sentinels, too, as Mastodon has it: Sentinels that know none,
 * or none of that user, answer all the same, so that it is the answer that counts. "default" is the
 * user whose password may be any where none is set. */
static void on_ready(void *arg)
{
    struct redis_sentinel *sentinel = arg;
    const struct redis_endpoint *endpoint = sentinel->endpoint;
    const char *user = endpoint->sentinel_user != NULL ? endpoint->sentinel_user : "default";
    const struct str auth[] = {STR("AUTH"), str_of(user), str_of(endpoint->sentinel_password)};
    const struct str ask[] = {STR("SENTINEL"), STR("get-master-addr-by-name"),
                              str_of(endpoint->master)};

    sentinel->state = SENTINEL_ASKING;
    sentinel->auth[0] = '\0';
    if (endpoint->sentinel_password != NULL)
        redis_send(sentinel->redis, on_auth, sentinel, 3, auth);
    redis_send(sentinel->redis, on_address, sentinel, 3, ask);
}

static void on_lost(void *arg, const char *reason)
{
    pass_on(arg, reason);
}

static void ask(struct redis_sentinel *sentinel)
{
    static const struct redis_handlers handlers = {on_ready, on_lost};
    const struct redis_place *place = &sentinel->endpoint->sentinels[present(sentinel)];

    sentinel->server = (struct redis_endpoint){.host = place->host, .port = place->port};
    sentinel->state = SENTINEL_CONNECTING;
    loop_timer_set(sentinel->timer, REDIS_SENTINEL_LIMIT_MS);
    sentinel->redis =
        redis_create(sentinel->base, sentinel->dns, &sentinel->server, NULL, &handlers, sentinel);
}

static void on_timer(void *arg)
{
    struct redis_sentinel *sentinel = arg;

    switch (sentinel->state) {
    case SENTINEL_NEXT:
        if (sentinel->asked < sentinel->endpoint->sentinel_count)
            ask(sentinel);
        else
            finish(sentinel, NULL, 0);
        break;
    case SENTINEL_CONNECTING:
    case SENTINEL_ASKING:
        pass_on(sentinel, "no answer within 3 s");
        break;
    case SENTINEL_DONE:
        break;
    }
}

struct redis_sentinel *redis_sentinel_create(struct event_base *base, struct dns *dns,
                                             const struct redis_endpoint *endpoint, size_t first,
                                             redis_sentinel_fn *fn, void *arg)
{
    struct redis_sentinel *sentinel = mem_alloc(sizeof(*sentinel));

    sentinel->base = base;
    sentinel->dns = dns;
    sentinel->endpoint = endpoint;
    sentinel->first = first;
    sentinel->fn = fn;
    sentinel->arg = arg;
    sentinel->timer = loop_timer_create(base, on_timer, sentinel);
    loop_timer_set(sentinel->timer, 0);
    return sentinel;
}

void redis_sentinel_destroy(struct redis_sentinel *sentinel)
{
    if (sentinel == NULL)
        return;
    redis_destroy(sentinel->redis);
    loop_timer_destroy(sentinel->timer);
    free(sentinel);
}
