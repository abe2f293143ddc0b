/*
 * HTTP requests: libcurl multi driven by libevent through curl_multi_socket_action. One request in,
 * one result out; redirects, signatures and what a status means are the caller's. HTTP/1.1 with
 * keep-alive, or HTTP/2 with one request at a time. A kept connection that ends before a byte of
 * the answer is replaced by libcurl itself, which sends the request again on a new one: such an end
 * never becomes a result. Several multi handles, sharded by host: one grows slow with its
 * connections.
 *
 * Time: connect 5 s for each address of a family, with TLS 10 s in all; from then on 10 s without a
 * byte in either direction, 30 s for the whole response after the last byte of the request left,
 * 55 s for everything. Kept connections are closed after 30 s without use.
 * Bounded: 64 KiB or 200 lines of headers, 1 MiB of body, which is read and thrown away (or kept up
 * to `keep_body_bytes` for a tool).
 */
#ifndef FEDPUSH_WORKER_HTTP_H
#define FEDPUSH_WORKER_HTTP_H

#include <curl/curl.h>
#include <event2/event.h>
#include <openssl/x509_vfy.h>

#include "base/clock.h"
#include "base/proxy.h"
#include "base/url.h"
#include "worker/address.h"

enum {
    HTTP_CONNECT_MS = 10000, /* TLS included */
    HTTP_MAX_BODY_BYTES = 1024 * 1024
};

struct http_options {
    struct event_base *base;
    const struct clock *clock;
    X509_STORE *store;                   /* shared, borrowed */
    const struct address_policy *policy; /* borrowed */
    unsigned max_connections; /* kept: with more open, that of the longest idle host is closed */
};

struct http_request {
    const struct url *url;      /* borrowed until the result */
    bool get;                   /* else POST */
    struct curl_slist *headers; /* all of them, Host included; borrowed until the result */
    struct str body;            /* POST; borrowed until the result */
    const struct dns_address
        *addresses; /* of the URL's host, or of the proxy's; copied; none for an IP literal */
    size_t address_count;
    const struct proxy *proxy; /* NULL: direct; then only allowed addresses are connected to.
                                  Borrowed until the result */
    bool http2;                /* an https URL's server is offered HTTP/2 */
    size_t keep_body_bytes;
};

enum http_end {
    HTTP_ANSWERED = 0,    /* status is set; the body was read to its end, or `body_cut` */
    HTTP_REFUSED_ADDRESS, /* every address tried was one that must not be connected to */
    HTTP_FAILED,          /* `code` */
    HTTP_TIMED_OUT,       /* by our own limits: `error` says which */
    HTTP_TOO_MUCH_HEADER,
    HTTP_NO_SOCKET, /* this process or machine has no descriptor or memory for one now */
};

struct http_result {
    enum http_end end;
    CURLcode code;
    int os_errno; /* with `code`, where the system said why; or 0 */
    unsigned status;
    bool reused;         /* it went over a kept connection */
    bool body_cut;       /* it was longer than HTTP_MAX_BODY_BYTES; the connection was closed */
    struct str location; /* Location header, or empty; borrowed for the call, and so are: */
    struct str date;     /* Date header, or empty */
    struct str retry_after;
    struct str body;   /* keep_body_bytes; borrowed for the call */
    struct str header; /* with keep_body_bytes: the last response's header block */
    char error[256];   /* libcurl's words, or ours */
};

typedef void http_fn(void *arg, const struct http_result *result);

struct http;
struct http_transfer;
void http_global_init(void); /* once a process, before all else here */
struct http *http_create(const struct http_options *options);
void http_destroy(struct http *http); /* transfers end without callback */
/* fn is called from the loop, never from here; it may start others. */
struct http_transfer *http_start(struct http *http, const struct http_request *request, http_fn *fn,
                                 void *arg);
/* Before fn was called: closes its connection; no callback. */
void http_abort(struct http_transfer *transfer);
/* True once the connection stood and the request began to be sent: it may have reached the other
 * side. */
bool http_is_on_the_wire(const struct http_transfer *transfer);

#endif
