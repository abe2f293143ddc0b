#include "base/redis.h"

#include <event2/bufferevent.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/redis_login.h"
#include "base/redis_sentinel.h"
#include "base/redis_wire.h"

enum {
    BACKOFF_MIN_MS = 100,
    BACKOFF_MAX_MS = 5000,
    STEADY_MS = 10 * 1000,   /* a master for so long: its demotion is a new one */
    TURN_BYTES = 256 * 1024, /* read or written at most in one call */
};

/*
 * BACKOFF -> [FINDING ->] ENTERING -> READY
 * From each of them `lose` leads back to BACKOFF.
 */
enum redis_state {
    REDIS_OFF = 0, /* destroyed */
    REDIS_BACKOFF,
    REDIS_FINDING,  /* Sentinels are asked for the master */
    REDIS_ENTERING, /* `login` connects, and is let in */
    REDIS_READY,
};

struct command {
    STAILQ_ENTRY(command) link;
    redis_fn *fn;
    void *arg;
    int64_t sent_ms;
};
STAILQ_HEAD(command_list, command);

struct redis {
    enum redis_state state;
    struct event_base *base;
    struct dns *dns;
    const struct redis_endpoint *endpoint;
    const char *name;
    struct redis_handlers handlers;
    void *arg;
    struct clock clock;
    struct rng rng;
    struct loop_timer *timer; /* the end of the backoff */
    int64_t backoff_ms;
    int64_t unfit_backoff_ms; /* after replies that no master gives; only a steady one resets it */
    int64_t ready_ms;         /* monotonic: since when this connection is READY */

    struct redis_sentinel *sentinel;
    size_t sentinel_first;    /* index of the one that answered last */
    struct redis_place found; /* the master by the Sentinels' last answer; host NULL: none yet */
    SSL_CTX *tls;             /* NULL while its files can't be read */
    struct redis_login *login;
    struct redis_line line; /* REDIS_READY */

    struct command_list commands; /* sent, oldest first */
    size_t outstanding;
    uint64_t round_trips;
    bool batching; /* commands wait in the output for the end of this turn */

    struct command_list lost; /* to be ended by `reporting` */
    struct loop_timer *reporting;
    bool loss_unreported;
    bool loss_logged; /* one line for a loss, not one for each attempt */
    char reason[256];

    unsigned entered; /* callbacks of ours that are running: freeing waits for their end */
};

/* ---- life and callbacks ---- */

static void free_commands(struct command_list *list)
{
    while (!STAILQ_EMPTY(list)) {
        struct command *command = STAILQ_FIRST(list);
        STAILQ_REMOVE_HEAD(list, link);
        free(command);
    }
}

static void redis_free(struct redis *redis)
{
    free_commands(&redis->commands);
    free_commands(&redis->lost);
    loop_timer_destroy(redis->timer);
    loop_timer_destroy(redis->reporting);
    SSL_CTX_free(redis->tls);
    free(redis->found.host);
    free(redis);
}

/* Every callback from the loop begins with `enter` and ends with `leave`, after which `redis` may
 * be gone: whatever runs between them may destroy it. */
static void enter(struct redis *redis)
{
    redis->entered++;
}

static void leave(struct redis *redis)
{
    if (--redis->entered == 0 && redis->state == REDIS_OFF)
        redis_free(redis);
}

static void drop_connection(struct redis *redis)
{
    redis_sentinel_destroy(redis->sentinel);
    redis->sentinel = NULL;
    redis_login_destroy(redis->login);
    redis->login = NULL;
    redis_line_close(&redis->line);
    redis->batching = false;
}

static void start_reporting(struct redis *redis)
{
    if (!loop_timer_pending(redis->reporting))
        loop_timer_set(redis->reporting, 0);
}

/* Only what was lost before this turn: an owner that sends again at once doesn't hold the loop. */
static void on_reporting(void *arg)
{
    struct redis *redis = arg;
    struct command_list lost = STAILQ_HEAD_INITIALIZER(lost);

    enter(redis);
    STAILQ_CONCAT(&lost, &redis->lost);
    while (!STAILQ_EMPTY(&lost) && redis->state != REDIS_OFF) {
        struct command *command = STAILQ_FIRST(&lost);
        STAILQ_REMOVE_HEAD(&lost, link);
        if (command->fn != NULL)
            command->fn(command->arg, REDIS_LOST, NULL);
        free(command);
    }
    free_commands(&lost);
    if (redis->loss_unreported && redis->state != REDIS_OFF) {
        redis->loss_unreported = false;
        if (redis->handlers.lost != NULL)
            redis->handlers.lost(redis->arg, redis->reason);
    }
    leave(redis);
}

static void log_state(const struct redis *redis, enum log_level level, const char *message,
                      const char *reason)
{
    struct buf where;

    if (redis->name == NULL)
        return;
    buf_init(&where, 1024);
    redis_describe(redis, &where);
    log_event(level, message, LOG_TEXT("redis", redis->name), LOG_STR("server", buf_str(&where)),
              LOG_TEXT("reason", reason));
    buf_clear(&where);
}

static int64_t next_backoff(struct redis *redis)
{
    int64_t half = redis->backoff_ms / 2;
    int64_t delay_ms = half + (int64_t)rng_below(&redis->rng, (uint64_t)half + 1);

    redis->backoff_ms *= 2;
    if (redis->backoff_ms > BACKOFF_MAX_MS)
        redis->backoff_ms = BACKOFF_MAX_MS;
    return delay_ms;
}

/* Never calls back: `reporting` does. */
static void lose(struct redis *redis, const char *reason)
{
    if (redis->state == REDIS_OFF || redis->state == REDIS_BACKOFF)
        return;
    snprintf(redis->reason, sizeof(redis->reason), "%s", reason);
    drop_connection(redis);
    log_state(redis, redis->loss_logged ? LOG_LEVEL_DEBUG : LOG_LEVEL_WARN,
              "Redis is not reachable", redis->reason);
    redis->loss_logged = true;
    STAILQ_CONCAT(&redis->lost, &redis->commands);
    redis->outstanding = 0;
    redis->loss_unreported = true;
    redis->state = REDIS_BACKOFF;
    start_reporting(redis);
    loop_timer_set(redis->timer, next_backoff(redis));
}

/* ---- replies ---- */

/* A fail-over left this server behind, or has not yet reached it. What answered before may have
 * reset the backoff, so this one has its own. */
static void lose_unfit(struct redis *redis, const redisReply *reply)
{
    char class[REDIS_CLASS_BYTES];

    if (clock_mono_ms(&redis->clock) - redis->ready_ms >= STEADY_MS)
        redis->unfit_backoff_ms = BACKOFF_MIN_MS;
    redis->backoff_ms = redis->unfit_backoff_ms;
    redis_reply_class(reply, class);
    lose(redis, strcmp(class, "ERR") == 0 ? "READONLY" : class);
    redis->unfit_backoff_ms = redis->backoff_ms;
}

static void handle_command_reply(struct redis *redis, const redisReply *reply)
{
    const struct bufferevent *stream = redis->line.stream;
    struct command *command = STAILQ_FIRST(&redis->commands);
    char class[REDIS_CLASS_BYTES] = "";
    char reason[128];

    if (command == NULL) {
        if (reply->type == REDIS_REPLY_ERROR)
            redis_reply_class(reply, class);
        snprintf(reason, sizeof(reason), "a reply that nobody asked for %s", class);
        lose(redis, reason);
        return;
    }
    STAILQ_REMOVE_HEAD(&redis->commands, link);
    redis->outstanding--;
    redis->backoff_ms = BACKOFF_MIN_MS; /* not before: a proxy accepts for a server that is away */
    if (command->fn != NULL)
        command->fn(command->arg, REDIS_REPLIED, reply);
    free(command);
    if (reply->type == REDIS_REPLY_ERROR && redis->line.stream == stream &&
        redis_reply_is_unfit(reply))
        lose_unfit(redis, reply);
}

/* False: no whole reply is left. */
static bool handle_reply(struct redis *redis)
{
    void *parsed = NULL;

    if (redisReaderGetReply(redis->line.reader, &parsed) != REDIS_OK) {
        lose(redis, "protocol error");
        return false;
    }
    if (parsed == NULL)
        return false;
    redis->line.answered = true;
    handle_command_reply(redis, parsed);
    freeReplyObject(parsed);
    return true;
}

static void on_read(struct bufferevent *stream, void *arg)
{
    struct redis *redis = arg;

    enter(redis);
    redis_wire_read(redis->line.reader, stream, redis->tls == NULL);
    /* A callback may drop this connection; the next one can't begin before the loop turns. */
    while (redis->line.stream == stream && handle_reply(redis))
        continue;
    leave(redis);
}

static void on_written(struct bufferevent *stream, void *arg)
{
    struct redis *redis = arg;
    (void)stream;
    redis->batching = false;
}

static void on_stream_event(struct bufferevent *stream, short what, void *arg)
{
    struct redis *redis = arg;
    struct buf reason;
    (void)stream;

    enter(redis);
    buf_init(&reason, sizeof(redis->reason));
    redis_line_describe_loss(&redis->line, redis->endpoint, what, &reason);
    lose(redis, buf_cstr(&reason));
    buf_clear(&reason);
    leave(redis);
}

/* ---- the connection ---- */

/* NULL, or why TLS can't be spoken. Files that are missing may come: each attempt looks. */
static const char *prepare_tls(struct redis *redis)
{
    const char *problem = NULL;

    if (redis->endpoint->tls && redis->tls == NULL)
        redis->tls = redis_endpoint_tls(redis->endpoint, &problem);
    return problem;
}

static void become_ready(struct redis *redis, struct redis_line line)
{
    redis->state = REDIS_READY;
    redis->line = line;
    bufferevent_setcb(line.stream, on_read, on_written, on_stream_event, redis);
    bufferevent_set_max_single_read(line.stream, TURN_BYTES);
    bufferevent_set_max_single_write(line.stream, TURN_BYTES);
    redis->ready_ms = clock_mono_ms(&redis->clock);
    redis->loss_logged = false;
    log_state(redis, LOG_LEVEL_INFO, "connected to Redis", "");
    if (redis->handlers.ready != NULL)
        redis->handlers.ready(redis->arg);
}

static void on_login(void *arg, struct redis_line line, const char *reason)
{
    struct redis *redis = arg;

    enter(redis);
    redis_login_destroy(redis->login);
    redis->login = NULL;
    if (line.stream != NULL)
        become_ready(redis, line);
    else
        lose(redis, reason);
    leave(redis);
}

static void start_login(struct redis *redis)
{
    const char *problem = prepare_tls(redis);

    redis->state = REDIS_ENTERING;
    if (problem != NULL) {
        lose(redis, problem);
        return;
    }
    redis->login = redis_login_create(
        &(struct redis_login_options){.base = redis->base,
                                      .dns = redis->dns,
                                      .endpoint = redis->endpoint,
                                      .master =
                                          redis->endpoint->master != NULL ? &redis->found : NULL,
                                      .tls = redis->tls},
        on_login, redis);
}

static void on_found(void *arg, const struct redis_sentinel_answer *answer)
{
    struct redis *redis = arg;

    enter(redis);
    if (answer->host != NULL) {
        free(redis->found.host);
        redis->found = (struct redis_place){str_dup(str_of(answer->host)), answer->port};
        redis->sentinel_first = answer->sentinel;
        redis_sentinel_destroy(redis->sentinel);
        redis->sentinel = NULL;
        start_login(redis);
    } else {
        lose(redis, answer->reason);
    }
    leave(redis);
}

static void on_timer(void *arg)
{
    struct redis *redis = arg;

    enter(redis);
    if (redis->endpoint->master != NULL) {
        redis->state = REDIS_FINDING;
        redis->sentinel = redis_sentinel_create(redis->base, redis->dns, redis->endpoint,
                                                redis->sentinel_first, on_found, redis);
    } else {
        start_login(redis);
    }
    leave(redis);
}

/* ---- the interface ---- */

struct str redis_reply_text(const redisReply *reply)
{
    return reply->type == REDIS_REPLY_STRING || reply->type == REDIS_REPLY_STATUS
               ? (struct str){reply->str, (size_t)reply->len}
               : STR_NULL;
}

struct redis *redis_create(struct event_base *base, struct dns *dns,
                           const struct redis_endpoint *endpoint, const char *name,
                           const struct redis_handlers *handlers, void *arg)
{
    struct redis *redis = mem_alloc(sizeof(*redis));

    redis->state = REDIS_BACKOFF;
    redis->base = base;
    redis->dns = dns;
    redis->endpoint = endpoint;
    redis->name = name;
    redis->handlers = *handlers;
    redis->arg = arg;
    redis->clock = clock_system();
    redis->rng = rng_system();
    redis->backoff_ms = BACKOFF_MIN_MS;
    redis->unfit_backoff_ms = BACKOFF_MIN_MS;
    (void)prepare_tls(redis); /* now, while files can be read; what is wrong is told later */
    STAILQ_INIT(&redis->commands);
    STAILQ_INIT(&redis->lost);
    redis->timer = loop_timer_create(base, on_timer, redis);
    redis->reporting = loop_timer_create(base, on_reporting, redis);
    loop_timer_set(redis->timer, 0);
    return redis;
}

void redis_destroy(struct redis *redis)
{
    if (redis == NULL)
        return;
    redis->state = REDIS_OFF;
    drop_connection(redis);
    loop_timer_clear(redis->timer);
    loop_timer_clear(redis->reporting);
    if (redis->entered == 0)
        redis_free(redis);
}

bool redis_is_ready(const struct redis *redis)
{
    return redis->state == REDIS_READY;
}

void redis_describe(const struct redis *redis, struct buf *out)
{
    struct redis_endpoint there = *redis->endpoint;

    if (redis->found.host == NULL) {
        redis_endpoint_describe(redis->endpoint, out);
        return;
    }
    there.host = redis->found.host;
    there.port = redis->found.port;
    redis_endpoint_describe(&there, out);
    buf_printf(out, ", master %s", there.master);
}

void redis_reconnect(struct redis *redis, const char *reason)
{
    lose(redis, reason);
}

void redis_send(struct redis *redis, redis_fn *fn, void *arg, size_t word_count,
                const struct str *words)
{
    struct command *command = mem_alloc(sizeof(*command));

    *command = (struct command){.fn = fn, .arg = arg};
    if (redis->state != REDIS_READY) {
        STAILQ_INSERT_TAIL(&redis->lost, command, link);
        start_reporting(redis);
        return;
    }
    command->sent_ms = clock_mono_ms(&redis->clock);
    STAILQ_INSERT_TAIL(&redis->commands, command, link);
    redis->outstanding++;
    if (!redis->batching)
        redis->round_trips++;
    redis->batching = true;
    redis_wire_write(redis->line.stream, word_count, words);
}

size_t redis_outstanding(const struct redis *redis)
{
    return redis->outstanding;
}

int64_t redis_oldest_ms(const struct redis *redis)
{
    const struct command *oldest = STAILQ_FIRST(&redis->commands);
    return oldest != NULL ? clock_mono_ms(&redis->clock) - oldest->sent_ms : 0;
}

uint64_t redis_round_trips(const struct redis *redis)
{
    return redis->round_trips;
}
