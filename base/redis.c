#include "base/redis.h"

#include <event2/bufferevent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/dial.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/redis_sentinel.h"
#include "base/redis_wire.h"
#include "base/tls.h"

enum {
    HANDSHAKE_TIMEOUT_MS = 5000,
    BACKOFF_MIN_MS = 100,
    BACKOFF_MAX_MS = 5000,
    STEADY_MS = 10 * 1000,   /* a master for so long: its demotion is a new one */
    TURN_BYTES = 256 * 1024, /* read or written at most in one call */
};

/*
 * BACKOFF -> [FINDING ->] CONNECTING -> [SECURING ->] [AUTH ->] [SELECT ->] [ROLE ->] READY
 * Each arrow is `step`; from each of them `lose` leads back to BACKOFF.
 */
enum redis_state {
    REDIS_OFF = 0, /* destroyed */
    REDIS_BACKOFF,
    REDIS_FINDING,    /* Sentinels are asked for the master */
    REDIS_CONNECTING, /* resolving, too: `dial` does both */
    REDIS_SECURING,
    REDIS_AUTH,
    REDIS_SELECT,
    REDIS_ROLE, /* is it the master that the Sentinels believe it to be? */
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
    struct loop_timer *timer; /* the state's: end of the backoff, or time-out */
    int64_t backoff_ms;
    int64_t unfit_backoff_ms; /* after replies that no master gives; only a steady one resets it */
    int64_t ready_ms;         /* monotonic: since when this connection is READY */

    struct redis_sentinel *sentinel;
    size_t sentinel_first;    /* index of the one that answered last */
    struct redis_place found; /* the master by the Sentinels' last answer; host NULL: none yet */
    struct dial *dial;
    int fd;       /* connected and not yet the stream's, or -1 */
    SSL_CTX *tls; /* NULL while its files can't be read */
    struct bufferevent *stream;
    redisReader *reader;
    bool answered; /* something, on this connection */

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

static void step(struct redis *redis);
static void lose(struct redis *redis, const char *reason);

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
    dial_destroy(redis->dial);
    redis->dial = NULL;
    if (redis->fd >= 0)
        close(redis->fd);
    redis->fd = -1;
    if (redis->stream != NULL)
        bufferevent_free(redis->stream);
    redis->stream = NULL;
    if (redis->reader != NULL)
        redisReaderFree(redis->reader);
    redis->reader = NULL;
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

/* ---- the stream: plain or TLS ---- */

static void on_dialed(void *arg, int fd, const char *reason)
{
    struct redis *redis = arg;

    enter(redis);
    dial_destroy(redis->dial);
    redis->dial = NULL;
    redis->fd = fd;
    if (fd >= 0)
        step(redis);
    else
        lose(redis, reason);
    leave(redis);
}

static void handle_setup_reply(struct redis *redis, const redisReply *reply)
{
    bool asked_role = redis->state == REDIS_ROLE;
    bool asked_auth = redis->state == REDIS_AUTH;
    char class[REDIS_CLASS_BYTES];
    char reason[128];

    if (asked_role ? redis_reply_is_master(reply) : reply->type == REDIS_REPLY_STATUS) {
        step(redis);
        return;
    }
    if (asked_role && reply->type == REDIS_REPLY_ARRAY) {
        lose(redis, "it is a replica, though the Sentinels call it the master");
        return;
    }
    bool refused = reply->type == REDIS_REPLY_ERROR;
    if (refused)
        redis_reply_class(reply, class);
    snprintf(reason, sizeof(reason), "%s: %s",
             asked_auth   ? "AUTH"
             : asked_role ? "ROLE"
                          : "SELECT",
             refused ? class : "unexpected reply");
    lose(redis, reason);
}

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
    const struct bufferevent *stream = redis->stream;
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
    if (reply->type == REDIS_REPLY_ERROR && redis->stream == stream && redis_reply_is_unfit(reply))
        lose_unfit(redis, reply);
}

/* False: no whole reply is left. */
static bool handle_reply(struct redis *redis)
{
    void *parsed = NULL;

    if (redisReaderGetReply(redis->reader, &parsed) != REDIS_OK) {
        lose(redis, "protocol error");
        return false;
    }
    if (parsed == NULL)
        return false;
    redis->answered = true;
    if (redis->state == REDIS_READY)
        handle_command_reply(redis, parsed);
    else
        handle_setup_reply(redis, parsed);
    freeReplyObject(parsed);
    return true;
}

static void on_read(struct bufferevent *stream, void *arg)
{
    struct redis *redis = arg;

    enter(redis);
    redis_wire_read(redis->reader, stream, redis->tls == NULL);
    /* A callback may drop this connection; the next one can't begin before the loop turns. */
    while (redis->stream == stream && handle_reply(redis))
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

    enter(redis);
    if (what & BEV_EVENT_CONNECTED) {
        step(redis);
    } else {
        buf_init(&reason, sizeof(redis->reason));
        tls_describe_failure(stream, what, &reason);
        /* With TLS 1.3 the handshake is over before the server misses it, and may say so in vain.
         */
        if (redis->endpoint->tls && redis->endpoint->cert_file == NULL && !redis->answered &&
            redis->state > REDIS_SECURING)
            buf_put_str(&reason, STR(" (if it asks for a certificate: FEDPUSH_REDIS_CERT_FILE)"));
        lose(redis, buf_cstr(&reason));
        buf_clear(&reason);
    }
    leave(redis);
}

/* NULL, or why TLS can't be spoken. Files that are missing may come: each attempt looks. */
static const char *prepare_tls(struct redis *redis)
{
    const char *problem = NULL;

    if (redis->endpoint->tls && redis->tls == NULL)
        redis->tls = redis_endpoint_tls(redis->endpoint, &problem);
    return problem;
}

/* Turns the connected socket into a stream; false: lost. */
static bool open_stream(struct redis *redis)
{
    const char *problem = prepare_tls(redis);

    if (problem != NULL) {
        lose(redis, problem);
        return false;
    }
    redis->stream =
        redis->endpoint->tls
            ? tls_stream_create(redis->base, redis->fd, redis->tls, redis->endpoint->host)
            : bufferevent_socket_new(redis->base, redis->fd, BEV_OPT_CLOSE_ON_FREE);
    if (redis->stream == NULL)
        abort();
    redis->fd = -1;
    redis->answered = false;
    redis->reader = redisReaderCreate();
    if (redis->reader == NULL)
        abort();
    redis->reader->maxbuf = 0; /* keep the buffer instead of making a new one for each reply */
    bufferevent_setcb(redis->stream, on_read, on_written, on_stream_event, redis);
    bufferevent_set_max_single_read(redis->stream, TURN_BYTES);
    bufferevent_set_max_single_write(redis->stream, TURN_BYTES);
    bufferevent_enable(redis->stream, EV_READ | EV_WRITE);
    return true;
}

/* ---- the state machine ---- */

static enum redis_state state_after(const struct redis *redis)
{
    const struct redis_endpoint *endpoint = redis->endpoint;

    switch (redis->state) {
    case REDIS_BACKOFF:
        if (endpoint->master != NULL)
            return REDIS_FINDING;
        /* fall through */
    case REDIS_FINDING:
        return REDIS_CONNECTING;
    case REDIS_CONNECTING:
        if (endpoint->tls)
            return REDIS_SECURING;
        /* fall through */
    case REDIS_SECURING:
        if (endpoint->password != NULL)
            return REDIS_AUTH;
        /* fall through */
    case REDIS_AUTH:
        if (endpoint->db != 0)
            return REDIS_SELECT;
        /* fall through */
    case REDIS_SELECT:
        if (endpoint->master != NULL)
            return REDIS_ROLE;
        /* fall through */
    case REDIS_ROLE:
        return REDIS_READY;
    case REDIS_OFF:
    case REDIS_READY:
        break;
    }
    return redis->state;
}

static void on_found(void *arg, const struct redis_sentinel_answer *answer)
{
    struct redis *redis = arg;

    enter(redis);
    if (answer->host != NULL) {
        free(redis->found.host);
        redis->found = (struct redis_place){str_dup(str_of(answer->host)), answer->port};
        redis->sentinel_first = answer->sentinel;
        step(redis);
        redis_sentinel_destroy(redis->sentinel);
        redis->sentinel = NULL;
    } else {
        lose(redis, answer->reason);
    }
    leave(redis);
}

static void start_finding(struct redis *redis)
{
    redis->sentinel = redis_sentinel_create(redis->base, redis->dns, redis->endpoint,
                                            redis->sentinel_first, on_found, redis);
}

static void start_dial(struct redis *redis)
{
    const struct redis_endpoint *endpoint = redis->endpoint;
    struct dial_target target = {endpoint->unix_path, endpoint->host, endpoint->port};

    if (endpoint->master != NULL)
        target = (struct dial_target){NULL, redis->found.host, redis->found.port};

    redis->dial = dial_create(redis->base, redis->dns, &target, on_dialed, redis);
}

static void send_auth(struct redis *redis)
{
    const struct redis_endpoint *endpoint = redis->endpoint;
    struct str words[3] = {STR("AUTH")};
    size_t count = 1;

    if (endpoint->user != NULL)
        words[count++] = str_of(endpoint->user);
    words[count++] = str_of(endpoint->password);
    redis_wire_write(redis->stream, count, words);
}

static void send_select(struct redis *redis)
{
    char db[16];

    snprintf(db, sizeof(db), "%d", redis->endpoint->db);
    const struct str words[] = {STR("SELECT"), str_of(db)};
    redis_wire_write(redis->stream, 2, words);
}

static void become_ready(struct redis *redis)
{
    loop_timer_clear(redis->timer);
    redis->ready_ms = clock_mono_ms(&redis->clock);
    redis->loss_logged = false;
    log_state(redis, LOG_LEVEL_INFO, "connected to Redis", "");
    if (redis->handlers.ready != NULL)
        redis->handlers.ready(redis->arg);
}

/* The work of the present state succeeded: begins the next one's. */
static void step(struct redis *redis)
{
    redis->state = state_after(redis);
    if (redis->state >= REDIS_SECURING && redis->stream == NULL && !open_stream(redis))
        return;
    loop_timer_set(redis->timer, HANDSHAKE_TIMEOUT_MS);
    switch (redis->state) {
    case REDIS_FINDING:
        loop_timer_clear(redis->timer); /* it has its own, as a dial has */
        start_finding(redis);
        break;
    case REDIS_CONNECTING:
        loop_timer_clear(redis->timer);
        start_dial(redis);
        break;
    case REDIS_SECURING:
        break; /* the stream is at it */
    case REDIS_AUTH:
        send_auth(redis);
        break;
    case REDIS_SELECT:
        send_select(redis);
        break;
    case REDIS_ROLE:
        redis_wire_write(redis->stream, 1, &STR("ROLE"));
        break;
    case REDIS_READY:
        become_ready(redis);
        break;
    case REDIS_OFF:
    case REDIS_BACKOFF:
        break;
    }
}

static void on_timer(void *arg)
{
    struct redis *redis = arg;

    enter(redis);
    switch (redis->state) {
    case REDIS_BACKOFF:
        step(redis);
        break;
    case REDIS_SECURING:
        lose(redis, "time-out in the TLS handshake");
        break;
    case REDIS_AUTH:
        lose(redis, "time-out waiting for AUTH");
        break;
    case REDIS_SELECT:
        lose(redis, "time-out waiting for SELECT");
        break;
    case REDIS_ROLE:
        lose(redis, "time-out waiting for ROLE");
        break;
    case REDIS_OFF:
    case REDIS_FINDING:
    case REDIS_CONNECTING:
    case REDIS_READY:
        break;
    }
    leave(redis);
}

/* ---- the interface ---- */

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
    redis->fd = -1;
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
    redis_wire_write(redis->stream, word_count, words);
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
