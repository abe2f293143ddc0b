/*
 * What a command of the CLI or a clerk (clerk.h) works with: a loop of its own and connections that
 * are opened when asked for. Everything waits, with a deadline.
 */
#ifndef FEDPUSH_ADMIN_SESSION_H
#define FEDPUSH_ADMIN_SESSION_H

#include "base/clock.h"
#include "base/config.h"
#include "base/dns.h"
#include "base/postgres.h"
#include "base/redis.h"
#include "sched/keys.h"

enum redis_role { REDIS_ROLE_SIDEKIQ = 0, REDIS_ROLE_BASE, REDIS_ROLE_CACHE, REDIS_ROLES };
enum postgres_role {
    POSTGRES_ROLE_MASTODON = 0,
    POSTGRES_ROLE_FEDPUSH,
    POSTGRES_ROLE_KEYS,
    POSTGRES_ROLES
};

struct session;
/* What a connection to Redis says, it says of itself. */
struct session_redis_slot {
    struct session *session;
};

struct session {
    const struct config *config;
    struct event_base *base;
    struct clock clock;
    struct dns *dns;
    struct keys keys;
    struct redis_endpoint endpoints[REDIS_ROLES];
    struct redis *redis[REDIS_ROLES];
    struct postgres *postgres[POSTGRES_ROLES];
    struct session_redis_slot slots[REDIS_ROLES];
    const struct session_redis_slot *connecting; /* that connection to Redis is waited for */
    char redis_problem[256];                     /* of the latest attempt to connect */
    bool done;                                   /* what is waited for has happened */
    bool good;                                   /* and it went well */
};

/* False with err filled when FEDPUSH_RESOLVERS or a URL is unusable. */
bool session_open(struct session *session, const struct config *config,
                  struct err *err) FP_MUST_CHECK;
void session_close(struct session *session);

/* Runs the loop until session->done, or the deadline; true when done. Clear `done` before what may
 * set it. */
bool session_wait(struct session *session, int64_t deadline_ms);
/* Connects, at the first call or when the connection was lost, and waits. NULL: err says why. What
 * an earlier call gave is the same, and lives as long as the session. */
struct redis *session_redis(struct session *session, enum redis_role role, struct err *err);
struct postgres *session_postgres(struct session *session, enum postgres_role role,
                                  struct err *err);

/* Sends and waits; `fn` sees the reply (borrowed). False with err filled: lost, refused, or no
 * answer. */
typedef void reply_fn(void *arg, const redisReply *reply);
bool session_command(struct session *session, struct redis *redis, size_t word_count,
                     const struct str *words, reply_fn *fn, void *arg, struct err *err);
/* Redis' own time, Unix. False with err filled. */
bool session_time_us(struct session *session, struct redis *redis, int64_t *now_us,
                     struct err *err) FP_MUST_CHECK;
typedef void rows_fn(void *arg, PGresult *result);
bool session_query(struct session *session, struct postgres *postgres, const char *sql,
                   size_t param_count, const struct str *params, rows_fn *fn, void *arg,
                   struct err *err);

/* The same, row by row, for results that shouldn't stand in memory at once. Rows that came before a
 * failure are part of an unknown whole. */
bool session_stream(struct session *session, struct postgres *postgres, const char *sql,
                    size_t param_count, const struct str *params, postgres_row_fn *fn, void *arg,
                    struct err *err);

/* One line to standard error: "fedpush: …". Returns exit_code. */
int session_fail(const struct err *err, int exit_code);

#endif
