/*
 * The HTTP/1.1 server of the admin process: listening, connections and their limits, framing. One
 * request of a connection at a time; what asks and what is answered is the handler's.
 *
 * Not libevent's evhttp: its own error answers can't carry our headers, and it bounds neither the
 * time of a whole request nor the number of connections.
 *
 * A connection:
 *
 *   HEAD --complete--> BODY --complete--> ANSWERING --web_reply--> WRITING --sent--> HEAD
 *    |  wrong, late     |                    | web_stream              | the last one
 *    +----> WRITING <---+                    v                          v
 *                                          STREAM ------------------> CLOSING
 *
 * Who goes away while ANSWERING is remembered until the reply comes, and counted.
 */
#ifndef FEDPUSH_ADMIN_WEB_H
#define FEDPUSH_ADMIN_WEB_H

#include <event2/event.h>

#include "admin/web_head.h"
#include "base/listen.h"
#include "base/phrase.h"

enum {
    WEB_MAX_CONNECTIONS = 256,
    WEB_MAX_PER_ADDRESS = 32,   /* of IPv6, a /64 */
    WEB_MAX_PER_LOOPBACK = 192, /* tunnels and proxies that are not named as such end there */
    WEB_REQUEST_MS = 10000,     /* from its first byte to its last */
    WEB_IDLE_MS = 60000,        /* between requests */
    WEB_ANSWER_MS = 120000,     /* for the other side to take an answer */
    WEB_WRITE_MS = 30000,       /* without a byte taken by the other side */
    WEB_LINGER_MS = 2000,       /* for the other side to read the last answer */
    WEB_RETRY_MS = 10000,       /* until a taken address is tried again */
    WEB_STREAM_MAX_BYTES = 1024 * 1024, /* not yet taken by the other side of a stream */
};

struct web_peer {
    bool local;    /* a Unix socket */
    bool loopback; /* an address of this machine's loopback, or a Unix socket */
    int family;    /* AF_INET, AF_INET6; AF_UNIX */
    unsigned char address[16];
};

struct web_exchange; /* one request that is being answered */
struct web_request {
    const struct web_head *head;
    struct str path;  /* decoded, without the prefix */
    struct str query; /* as it came */
    struct str body;
    const struct web_peer *peer;
};

enum web_cache {
    WEB_NO_STORE = 0,
    WEB_REVALIDATE, /* kept, but asked for each time: by its ETag */
};

struct web_reply {
    int status;
    struct str content_type;
    struct str body;
    struct str etag;   /* with quotes; empty: none */
    struct str fields; /* further header fields, each with its CR LF */
    enum web_cache cache;
};

/* From the loop, once a request is complete; it is lent until web_reply or web_stream. The
 * exchange stays until one of them is called, at once or later. */
typedef void web_handler(void *arg, struct web_exchange *exchange,
                         const struct web_request *request);

struct web_options {
    struct listen_address address;
    struct str prefix; /* of paths, "" or "/fedpush" */
    web_handler *handler;
    /* Whether connections of this address are counted together only (a proxy's). May be NULL. */
    bool (*is_proxy)(void *arg, const struct web_peer *peer);
    void *arg;
};

struct web;
/* Begins to listen; when the address is taken it says so in the log and tries again. Never NULL. */
struct web *web_create(struct event_base *base, const struct web_options *options);
void web_destroy(struct web *web); /* closes all connections; exchanges are gone */

/* Everything is copied. A HEAD's body is left out, and a request whose If-None-Match names the ETag
 * is answered by 304. */
void web_reply(struct web_exchange *exchange, const struct web_reply *reply);
/* A problem of RFC 9457; `why`: one without values, that names the remedy. */
void web_problem(struct web_exchange *exchange, int status, enum phrase why, struct str fields);

/* Answers by an event stream. `gone` is called once, when the other side has left or doesn't read;
 * the stream is no more then. False: that has happened already. */
typedef void web_gone_fn(void *arg);
bool web_stream(struct web_exchange *exchange, web_gone_fn *gone, void *arg);
/* Ends it from our side; `gone` is called. */
void web_stream_end(struct web_exchange *exchange);
void web_stream_send(struct web_exchange *exchange, struct str bytes);

#endif
