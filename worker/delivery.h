/*
 * One delivery: from the scheduler's job to its outcome.
 *
 *   RESOLVING --addresses--> SIGNING --signature--> SENDING --answer--> DONE
 *    ^  |                      ^  |                    |
 *    +--|--- WAITING, a second, while there is no socket to be had, three times
 *       |                      |  +-- signer gone: asked again when it is back
 *       |                      +--------- 303/307/308 to the same origin, at most three times
 *       |                      +--------- 400/401: in the other signature scheme, at most once
 *       |                      +-- WAITING, a second, while there is no socket to be had
 *       +-- failure, refusal, cancellation, abort, deadline: from every state --> DONE
 *
 * Through a proxy it is the proxy's name that is resolved. Each event is translated by a callback
 * and handed to step(), the one function that changes the state.
 */
#ifndef FEDPUSH_WORKER_DELIVERY_H
#define FEDPUSH_WORKER_DELIVERY_H

#include "base/message.h"
#include "worker/http.h"
#include "worker/rereads.h"
#include "worker/resolve.h"

enum delivery_state {
    DELIVERY_RESOLVING = 0,
    DELIVERY_SIGNING,
    DELIVERY_SENDING,
    DELIVERY_WAITING,
    DELIVERY_DONE
};

struct delivery;

/* What all deliveries of a worker share; borrowed, outlives them. */
struct delivery_context {
    const struct clock *clock;
    const struct config *config;
    const struct address_policy *policy;
    const struct proxies *proxies;
    struct resolver *resolver;
    struct http *http;
    struct rereads *rereads; /* accounts that got a 401 */
    struct str user_agent;
    bool use_ipv6;
    /* Asks the signer; the answer comes through delivery_signed. False: there is no signer now. */
    bool (*ask_signer)(void *arg, const struct message_sign *request);
    /* The delivery is over: `outcome` borrows it. It is freed when this returns. */
    void (*done)(void *arg, struct delivery *delivery, const struct message_outcome *outcome);
    void *arg;
};

enum {
    DELIVERY_LIMIT_MS = 60000,
    DELIVERY_MAX_HOPS = 3,
    DELIVERY_MAX_WAITS = 3,
    /* A signature is at most so old when its request reaches the wire: receivers don't accept any
     * age, and what lies between is their clocks' share. */
    DELIVERY_WIRE_AGE_S = 30,
    /* So old when its connection begins; what has not got one by the wire's age is signed again. */
    DELIVERY_SIGNATURE_AGE_S = DELIVERY_WIRE_AGE_S - HTTP_CONNECT_MS / 1000,
};

/* Copies the job. NULL when its URL isn't what url_parse makes of it: the sender doesn't keep to
 * the protocol. */
struct delivery *delivery_start(const struct delivery_context *context,
                                const struct message_job *job);
/* Lets it run, once; it may be over (and freed) when this returns. */
void delivery_begin(struct delivery *delivery);
/* Drops it without an outcome. */
void delivery_destroy(struct delivery *delivery);
uint64_t delivery_id(const struct delivery *delivery);
enum delivery_state delivery_state(const struct delivery *delivery);
/* The signer's answer to this delivery's latest question. */
void delivery_signed(struct delivery *delivery, const struct message_signed *answer);
/* There is a (new) signer: asks again when an answer is awaited. */
void delivery_signer_back(struct delivery *delivery);
/* Ends as OUTCOME_NOT_TRIED unless it may have reached the wire. */
void delivery_cancel(struct delivery *delivery);
/* Ends as OUTCOME_NOT_TRIED, on the wire or not: it may arrive all the same. */
void delivery_abort(struct delivery *delivery);
/* Each second: ends what is past its limit, signs again what waits too long for a connection, and
 * tries again what found no socket. */
void delivery_tick(struct delivery *delivery);

#endif
