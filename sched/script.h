/*
 * Calls Lua scripts by their SHA-1. A call collects its keys and arguments, then sends EVALSHA;
 * every (re)connection loads all scripts first, in order, so a call behind it finds them. After a
 * SCRIPT FLUSH a call answers NOSCRIPT: an error reply like any other, "not acknowledged".
 */
#ifndef FEDPUSH_SCHED_SCRIPT_H
#define FEDPUSH_SCHED_SCRIPT_H

#include "base/redis.h"

enum script {
    SCRIPT_BEAT = 0,
    SCRIPT_CLAIM,
    SCRIPT_DUE,
    SCRIPT_SETTLE,
    SCRIPT_CONDEMN,
    SCRIPT_RECOVER,
    SCRIPT_ADOPT,
    SCRIPT_ENQUEUE,
    SCRIPT_LEAVE,
    SCRIPT_YIELD,
    SCRIPT_REGISTER,
    SCRIPT_SCHEMES,
    SCRIPT_FLEET,
    SCRIPT_PROBE,
    SCRIPT_RELEASE,
    SCRIPT_POLICIES,
    SCRIPT_POLICIES_MERGE,
    SCRIPT_POLICIES_WRITE,
    SCRIPT_TRY,
    SCRIPT_ANSWER,
    SCRIPT_COUNT,
};

/* Sends SCRIPT LOAD for each. Call it first in `ready`. */
void script_load(struct redis *redis);

/* A call under construction: keys first, then arguments. Slices are borrowed until script_send. */
struct script_call;
struct script_call *script_begin(enum script script);
void script_key(struct script_call *call, const char *key);
void script_arg(struct script_call *call, struct str arg);
/* A number as an argument; the text lives in the call. */
void script_arg_number(struct script_call *call, int64_t number);
/* Sends it and frees the call. */
void script_send(struct script_call *call, struct redis *redis, redis_fn *fn, void *arg);

/* True when the reply is the status or string `text`. */
bool reply_is(const redisReply *reply, struct str text);
/* The error text of an error reply, or a constant for one of an unexpected shape. Borrowed. */
struct str reply_error(enum redis_status status, const redisReply *reply);

#endif
