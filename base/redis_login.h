/*
 * A connection to Redis until its server has taken us.
 *
 * CONNECTING -> [SECURING ->] [AUTH ->] [SELECT ->] [ROLE ->] over
 */
#ifndef FEDPUSH_BASE_REDIS_LOGIN_H
#define FEDPUSH_BASE_REDIS_LOGIN_H

#include <event2/bufferevent.h>

#include "base/redis.h"

/* A stream, plain or TLS, and who reads it. */
struct redis_line {
    struct bufferevent *stream; /* NULL: none */
    redisReader *reader;
    bool answered; /* something came over it */
};

void redis_line_close(struct redis_line *line);
/* Appends why it was lost: what bufferevent's event callback was given, or the TLS alert behind it.
 */
void redis_line_describe_loss(const struct redis_line *line, const struct redis_endpoint *endpoint,
                              short what, struct buf *reason);

struct redis_login_options {
    struct event_base *base;
    struct dns *dns;
    const struct redis_endpoint *endpoint;
    const struct redis_place *master; /* where the Sentinels say that it is; NULL: no Sentinel */
    SSL_CTX *tls;                     /* NULL: plain */
};

struct redis_login;
/* Called once, from the loop: a line that is the callee's now, or none, and why in one line. After
 * it only redis_login_destroy is allowed, which may be called from here. */
typedef void redis_login_fn(void *arg, struct redis_line line, const char *reason);

/* The options' pointers are borrowed and must outlive it. */
struct redis_login *redis_login_create(const struct redis_login_options *options,
                                       redis_login_fn *fn, void *arg);
void redis_login_destroy(struct redis_login *login); /* no callback any more; NULL is fine */

#endif
