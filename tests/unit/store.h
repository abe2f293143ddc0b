/*
 * A private Redis with a connection of ours through a proxy that can lose answers: the command was
 * executed, and nobody hears of it.
 */
#ifndef FEDPUSH_TESTS_UNIT_STORE_H
#define FEDPUSH_TESTS_UNIT_STORE_H

#include "base/redis.h"
#include "sched/keys.h"
#include "server.h"

struct store {
    struct server server;
    struct event_base *base;
    struct dns *dns;
    struct redis_endpoint endpoint; /* the proxy */
    struct keys keys;
    redisContext *direct; /* the test's own view */
    struct proxy *proxy;
    struct redis *redis; /* store_connect's, for `redis_destroy` */
    bool ready;          /* that is there; stays until the test clears it */
};

/* Before any other code of ours: it prepares what that needs. */
void store_start(struct store *store);
void store_stop(struct store *store);
/* Makes a connection of ours without scripts, and waits for it. */
void store_connect(struct store *store);
/* Waits until Redis has answered all that was sent over `redis`; `rounds` times, as an answer may
 * lead to the next question. */
void store_settle(struct store *store, struct redis *redis, unsigned rounds);
/* The next bytes that the server answers are dropped, and the connection is cut. */
void store_lose_answer(struct store *store);

/* Runs a command past the proxy; its reply must be `expected`: elements joined by "|", nil as
 * "nil", errors as their text. NULL: anything but an error. */
void store_expect(struct store *store, const char *expected, const char *format, ...);

#endif
