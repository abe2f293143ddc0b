/*
 * One Redis connection: hiredis' reader and formatter over libevent's bufferevent; TCP, Unix socket
 * or TLS, Sentinel, AUTH, SELECT. RESP2 only (hiredis 0.14). It reconnects by itself with backoff
 * (100 ms doubling to 5 s, jittered) for as long as it exists. What was sent and not answered when
 * the connection broke ends as REDIS_LOST: whether it was executed is unknown, and sending it again
 * is the owner's business: each owner's commands are idempotent, and `ready` tells it when. Call
 * sodium_init first; the process must ignore SIGPIPE.
 */
#ifndef FEDPUSH_BASE_REDIS_H
#define FEDPUSH_BASE_REDIS_H

#include <event2/event.h>
#include <hiredis/hiredis.h>
#include <openssl/types.h>

#include "base/dns.h"
#include "base/err.h"
#include "base/str.h"

enum { REDIS_MAX_SENTINELS = 16 };

struct redis_place {
    char *host; /* a name or an address */
    uint16_t port;
};

/* Where and how: parsed from redis://[USER[:PASSWORD]@]HOST[:PORT][/DB], rediss://…,
 * unix://[…]PATH[?db=N]. Percent-decoding in user and password. `redis://:PASSWORD@HOST` has no
 * user. And, of fedpush's own making, what Mastodon's variables of Sentinel mean:
 * redis+sentinel://[USER:PASSWORD@]HOST:PORT,…/MASTER/DB[?[USER]:PASSWORD of the Sentinels]. */
struct redis_endpoint {
    bool tls;
    char *unix_path; /* NULL: TCP */
    char *host;      /* NULL: what the Sentinels say, as is the port */
    uint16_t port;
    char *user;     /* NULL: none */
    char *password; /* NULL: none */
    int db;
    char *ca_file;   /* NULL: the system's CAs */
    char *cert_file; /* PEM: the client's certificate; NULL: none */
    char *key_file;

    char *master; /* its name among the Sentinels; NULL: no Sentinel is asked */
    struct redis_place sentinels[REDIS_MAX_SENTINELS];
    size_t sentinel_count;
    char *sentinel_user;     /* NULL: none */
    char *sentinel_password; /* NULL: none */
};
enum fp_err redis_endpoint_parse(struct redis_endpoint *endpoint, struct str url,
                                 struct str ca_file, struct err *err) FP_MUST_CHECK;
/* Files for servers that ask the client for a certificate; both, or "" and "". Copied. */
void redis_endpoint_set_certificate(struct redis_endpoint *endpoint, struct str cert_file,
                                    struct str key_file);
/* What TLS to it needs, of its files; NULL, and *problem is why, in one line. SSL_CTX_free it. */
SSL_CTX *redis_endpoint_tls(const struct redis_endpoint *endpoint, const char **problem);
void redis_endpoint_clear(struct redis_endpoint *endpoint); /* wipes the password */
bool redis_endpoint_equal(const struct redis_endpoint *a, const struct redis_endpoint *b);
/* "rediss://HOST:PORT/DB", or "master NAME of the Sentinels HOST:PORT, …, database DB", for people:
 * no user, no password. Appends. */
void redis_endpoint_describe(const struct redis_endpoint *endpoint, struct buf *out);

enum redis_status {
    REDIS_REPLIED = 0, /* `reply` is set; it may be an error reply (REDIS_REPLY_ERROR) */
    REDIS_LOST,        /* connection lost or not there: executed or not, nobody knows */
};

/* `reply` is borrowed for the call. Called from the loop, never from inside redis_send. */
typedef void redis_fn(void *arg, enum redis_status status, const redisReply *reply);

/* The bytes of a string or status; STR_NULL for any other reply. Borrowed. */
struct str redis_reply_text(const redisReply *reply);

struct redis_handlers {
    void (*ready)(void *arg); /* each time a connection is usable (after AUTH and SELECT) */
    void (*lost)(
        void *arg,
        const char *reason); /* each time it is lost, after its commands ended as REDIS_LOST; also
                                for each failed attempt to connect; reason: one line, no secret */
};

struct redis;
/* `dns` and `endpoint` are borrowed and must outlive it. `name` is for the log ("sidekiq", "base",
 * …; NULL: it logs nothing). Reads the files of TLS, then starts connecting. With Sentinels, the
 * master is asked for before each connection, and the connection is used only when ROLE calls it a
 * master, as redis-client does. A host name is resolved before each connection. */
struct redis *redis_create(struct event_base *base, struct dns *dns,
                           const struct redis_endpoint *endpoint, const char *name,
                           const struct redis_handlers *handlers, void *arg);
void redis_destroy(struct redis *redis); /* no callback is called any more; NULL is fine */
bool redis_is_ready(const struct redis *redis);
/* Where it is connected, or would connect: as redis_endpoint_describe, with Sentinels
 * "redis://HOST:PORT/DB, master NAME" once they said where that is. Appends. */
void redis_describe(const struct redis *redis, struct buf *out);
/* Drops the connection (all outstanding end as REDIS_LOST) and connects anew: the answer to a
 * silent peer. Replies of a server that is no master, or not yet one (READONLY, LOADING, …), do so
 * by themselves, after their command's callback: as Sidekiq does after a fail-over. */
void redis_reconnect(struct redis *redis, const char *reason);

/* Sends a command. Not ready: fn gets REDIS_LOST from the loop. `words` are copied. fn may be NULL.
 */
void redis_send(struct redis *redis, redis_fn *fn, void *arg, size_t word_count,
                const struct str *words);
/* Commands sent and not answered; and the age in ms of the oldest one (0: none): the owner
 * reconnects past its limit. */
size_t redis_outstanding(const struct redis *redis);
int64_t redis_oldest_ms(const struct redis *redis);
/* Round trips so far: batches of commands that were written together count once. For statistics. */
uint64_t redis_round_trips(const struct redis *redis);

#endif
