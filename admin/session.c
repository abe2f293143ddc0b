#include "admin/session.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "admin/words.h"
#include "base/loop.h"

enum { CONNECT_MS = 6000, ANSWER_MS = 20000, LOOK_MS = 50, REASON_BYTES = 4096 };

static const char *url_of(const struct config *config, enum redis_role role)
{
    switch (role) {
    case REDIS_ROLE_SIDEKIQ:
        return config->redis_sidekiq_url;
    case REDIS_ROLE_BASE:
        return config->redis_base_url;
    case REDIS_ROLE_CACHE:
        return config->redis_cache_url;
    case REDIS_ROLES:
        break;
    }
    abort();
}

static const char *const redis_names[] = {"sidekiq", "base", "cache"};
static const char *const postgres_names[] = {"mastodon", "fedpush", "keys"};

bool session_open(struct session *session, const struct config *config, struct err *err)
{
    const struct dns_options dns = {
        .servers = str_of(config->resolvers), .hosts_file = true, .timeout_ms = 3000};

    *session = (struct session){.config = config, .base = loop_create(), .clock = clock_system()};
    signal(SIGPIPE, SIG_IGN);
    keys_init(&session->keys, str_of(config->redis_namespace));
    session->dns = dns_create(session->base, &dns, err);
    if (session->dns == NULL)
        return false;
    for (int role = 0; role < REDIS_ROLES; role++) {
        if (redis_endpoint_parse(&session->endpoints[role],
                                 str_of(url_of(config, (enum redis_role)role)),
                                 str_of(config->redis_ca_file), err) != FP_OK)
            return false;
        redis_endpoint_set_certificate(&session->endpoints[role], str_of(config->redis_cert_file),
                                       str_of(config->redis_key_file));
    }
    return true;
}

void session_close(struct session *session)
{
    for (int role = 0; role < REDIS_ROLES; role++) {
        redis_destroy(session->redis[role]);
        redis_endpoint_clear(&session->endpoints[role]);
    }
    for (int role = 0; role < POSTGRES_ROLES; role++)
        postgres_destroy(session->postgres[role]);
    if (session->dns != NULL)
        dns_destroy(session->dns);
    event_base_loop(session->base, EVLOOP_NONBLOCK); /* what was deferred frees itself */
    keys_clear(&session->keys);
    event_base_free(session->base);
}

static void on_deadline(void *arg)
{
    struct session *session = arg;
    event_base_loopbreak(session->base);
}

bool session_wait(struct session *session, int64_t deadline_ms)
{
    struct loop_timer *timer = loop_timer_create(session->base, on_deadline, session);

    loop_timer_set(timer, deadline_ms);
    while (!session->done && loop_timer_pending(timer))
        event_base_loop(session->base, EVLOOP_ONCE);
    loop_timer_destroy(timer);
    return session->done;
}

static void finish(struct session *session, bool good)
{
    session->done = true;
    session->good = good;
}

/* Connections come and go by themselves: that ends no other wait. */
static void on_ready(void *arg)
{
    const struct session_redis_slot *slot = arg;
    if (slot->session->connecting == slot)
        finish(slot->session, true);
}

static void on_lost(void *arg, const char *reason)
{
    const struct session_redis_slot *slot = arg;
    struct session *session = slot->session;

    if (session->connecting != slot)
        return;
    snprintf(session->redis_problem, sizeof(session->redis_problem), "%s", reason);
    finish(session, false);
}

/* Between two commands of a long session nobody looks at the connection. */
static void notice_loss(struct session *session)
{
    event_base_loop(session->base, EVLOOP_NONBLOCK);
    event_base_loop(session->base, EVLOOP_NONBLOCK); /* what the first one has put off */
}

static struct redis *make_redis(struct session *session, enum redis_role role)
{
    static const struct redis_handlers handlers = {on_ready, on_lost};

    session->slots[role].session = session;
    return redis_create(session->base, session->dns, &session->endpoints[role], redis_names[role],
                        &handlers, &session->slots[role]);
}

static void say_redis_away(const struct session *session, enum redis_role role, struct err *err)
{
    const char *problem = session->redis_problem;
    struct said own;
    struct buf where;

    said_init(&own, REASON_BYTES);
    buf_init(&where, REASON_BYTES);
    redis_describe(session->redis[role], &where);
    if (problem[0] != '\0')
        err_say(err, FP_UNAVAILABLE, PHRASE_REDIS_AWAY,
                SAYS(SAY_TEXT("role", redis_names[role]), SAY_STR("address", buf_str(&where)),
                     SAY_REASON("reason", &own, problem)));
    else
        err_say(err, FP_UNAVAILABLE, PHRASE_REDIS_SILENT,
                SAYS(SAY_TEXT("role", redis_names[role]), SAY_STR("address", buf_str(&where))));
    buf_clear(&where);
    said_clear(&own);
}

struct redis *session_redis(struct session *session, enum redis_role role, struct err *err)
{
    if (session->redis[role] == NULL)
        session->redis[role] = make_redis(session, role);
    else
        notice_loss(session);
    if (!redis_is_ready(session->redis[role])) {
        session->done = false;
        session->connecting = &session->slots[role];
        session->redis_problem[0] = '\0';
        session_wait(session, CONNECT_MS);
        session->connecting = NULL;
    }
    if (redis_is_ready(session->redis[role]))
        return session->redis[role];
    say_redis_away(session, role, err);
    return NULL;
}

static const char *conninfo_of(const struct config *config, enum postgres_role role)
{
    switch (role) {
    case POSTGRES_ROLE_MASTODON:
        return config->postgres_mastodon;
    case POSTGRES_ROLE_FEDPUSH:
        return config->postgres_fedpush;
    case POSTGRES_ROLE_KEYS:
        return config->postgres_keys;
    case POSTGRES_ROLES:
        break;
    }
    abort();
}

static void on_first(void *arg, enum postgres_status status, PGresult *result, const char *message)
{
    (void)result;
    (void)message;
    finish(arg, status == POSTGRES_OK);
}

/* True when the connection answers. */
static bool try_postgres(struct session *session, enum postgres_role role)
{
    struct postgres **postgres = &session->postgres[role];

    if (*postgres == NULL) {
        const struct postgres_options options = {.conninfo =
                                                     str_of(conninfo_of(session->config, role)),
                                                 .name = postgres_names[role],
                                                 .writes = role != POSTGRES_ROLE_KEYS,
                                                 .secret_results = role == POSTGRES_ROLE_KEYS};
        *postgres = postgres_create(session->base, session->dns, &options);
    }
    session->done = false;
    postgres_query(*postgres, on_first, session, CONNECT_MS, "SELECT 1", 0, NULL);
    for (int64_t waited_ms = 0;
         !session->done && waited_ms < CONNECT_MS + 1000 && postgres_failed_rounds(*postgres) == 0;
         waited_ms += LOOK_MS)
        session_wait(session, LOOK_MS);
    return session->done && session->good;
}

static void say_postgres_away(const struct postgres *postgres, enum postgres_role role,
                              struct err *err)
{
    const char *problem = postgres_problem(postgres);
    struct said own;

    said_init(&own, REASON_BYTES);
    if (problem[0] != '\0')
        err_say(err, FP_UNAVAILABLE, PHRASE_POSTGRES_AWAY,
                SAYS(SAY_TEXT("role", postgres_names[role]), SAY_REASON("reason", &own, problem)));
    else
        err_say(err, FP_UNAVAILABLE, PHRASE_POSTGRES_SILENT,
                SAYS(SAY_TEXT("role", postgres_names[role])));
    said_clear(&own);
}

struct postgres *session_postgres(struct session *session, enum postgres_role role, struct err *err)
{
    struct postgres **postgres = &session->postgres[role];
    bool old = *postgres != NULL;

    if (try_postgres(session, role))
        return *postgres;
    if (old && postgres_failed_rounds(*postgres) == 0) { /* it was lost while nobody looked */
        postgres_destroy(*postgres);
        *postgres = NULL;
        if (try_postgres(session, role))
            return *postgres;
    }
    say_postgres_away(*postgres, role, err);
    postgres_destroy(*postgres); /* it would try again and again, and answer later */
    *postgres = NULL;
    return NULL;
}

struct command {
    struct session *session;
    reply_fn *fn;
    void *arg;
    struct err *err;
};

static void on_reply(void *arg, enum redis_status status, const redisReply *reply)
{
    struct command *command = arg;
    bool good = status == REDIS_REPLIED && reply->type != REDIS_REPLY_ERROR;

    if (good && command->fn != NULL)
        command->fn(command->arg, reply);
    else if (status == REDIS_LOST)
        err_say(command->err, FP_UNAVAILABLE, PHRASE_REDIS_LOST, SAYS_NOTHING);
    else if (!good)
        err_say(command->err, FP_UNAVAILABLE, PHRASE_REDIS_REFUSED,
                SAYS(SAY_TEXT("reason", reply->str)));
    finish(command->session, good);
}

bool session_command(struct session *session, struct redis *redis, size_t word_count,
                     const struct str *words, reply_fn *fn, void *arg, struct err *err)
{
    struct command command = {session, fn, arg, err};

    session->done = false;
    redis_send(redis, on_reply, &command, word_count, words);
    if (!session_wait(session, ANSWER_MS)) {
        /* The callback's frame ends here: the connection must not call it later. */
        redis_reconnect(redis, "no answer");
        session_wait(session, ANSWER_MS);
        err_say(err, FP_UNAVAILABLE, PHRASE_REDIS_SLOW, SAYS_NOTHING);
        return false;
    }
    return session->good;
}

static void on_time(void *arg, const redisReply *reply)
{
    int64_t *now_us = arg;

    if (reply->type == REDIS_REPLY_ARRAY && reply->elements == 2 &&
        reply->element[0]->type == REDIS_REPLY_STRING &&
        reply->element[1]->type == REDIS_REPLY_STRING)
        *now_us = strtoll(reply->element[0]->str, NULL, 10) * 1000000 +
                  strtoll(reply->element[1]->str, NULL, 10);
}

bool session_time_us(struct session *session, struct redis *redis, int64_t *now_us, struct err *err)
{
    const struct str words[] = {STR("TIME")};

    *now_us = 0;
    return session_command(session, redis, 1, words, on_time, now_us, err);
}

struct query {
    struct session *session;
    rows_fn *fn;
    void *arg;
    struct err *err;
};

static void on_rows(void *arg, enum postgres_status status, PGresult *result, const char *message)
{
    struct query *query = arg;
    const char *state =
        status == POSTGRES_ERROR ? PQresultErrorField(result, PG_DIAG_SQLSTATE) : NULL;

    if (status == POSTGRES_OK && query->fn != NULL)
        query->fn(query->arg, result);
    else if (status != POSTGRES_OK)
        err_say(query->err,
                state != NULL && strcmp(state, "42501") == 0 ? FP_DENIED : FP_UNAVAILABLE,
                PHRASE_POSTGRES_REFUSED, SAYS(SAY_TEXT("reason", message)));
    finish(query->session, status == POSTGRES_OK);
}

bool session_query(struct session *session, struct postgres *postgres, const char *sql,
                   size_t param_count, const struct str *params, rows_fn *fn, void *arg,
                   struct err *err)
{
    struct query query = {session, fn, arg, err};

    session->done = false;
    postgres_query(postgres, on_rows, &query, ANSWER_MS, sql, param_count, params);
    session_wait(session, 3 * ANSWER_MS); /* the statement's own limits end it sooner */
    return session->done && session->good;
}

struct stream {
    struct query query; /* first, so that on_rows takes the whole */
    postgres_row_fn *fn;
    void *arg;
};

static void on_streamed_row(void *arg, const PGresult *row)
{
    const struct stream *stream = arg;
    stream->fn(stream->arg, row);
}

bool session_stream(struct session *session, struct postgres *postgres, const char *sql,
                    size_t param_count, const struct str *params, postgres_row_fn *fn, void *arg,
                    struct err *err)
{
    struct stream stream = {.query = {.session = session, .err = err}, .fn = fn, .arg = arg};

    session->done = false;
    postgres_stream(postgres, on_streamed_row, on_rows, &stream, ANSWER_MS, sql, param_count,
                    params);
    while (!session_wait(session, ANSWER_MS))
        ; /* as long as rows arrive: the statement's own limits end it */
    return session->good;
}

int session_fail(const struct err *err, int exit_code)
{
    words_print(stderr, "fedpush: %s", err->message);
    return exit_code;
}
