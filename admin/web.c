#include "admin/web.h"

#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/listener.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "admin/web_status.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/network.h"
#include "sig/date.h"

enum { BACKLOG = 128, SOCKET_MODE = 0660 };

enum web_state {
    WEB_HEAD = 0,
    WEB_BODY,
    WEB_ANSWERING, /* the handler's turn */
    WEB_WRITING,
    WEB_STREAM,
    WEB_CLOSING, /* what still comes is dropped: a reset would take the answer away */
};

/* A connection, and its request that is being answered. */
struct web_exchange {
    LIST_ENTRY(web_exchange) link;
    struct web *web;
    enum web_state state;
    struct web_peer peer;
    struct bufferevent *bev;  /* NULL: the other side left while ANSWERING */
    struct loop_timer *limit; /* of a request, or of idleness; in the other states none */
    bool begun;               /* HEAD: the first byte of a request is there */
    bool last;                /* closed after this reply */
    struct buf head_bytes;    /* the request's; what follows it stays in bev */
    struct buf body;
    struct web_head head;
    struct buf path;
    web_gone_fn *gone; /* STREAM */
    void *gone_arg;
};

struct web {
    struct event_base *base;
    struct web_options options;
    char *prefix;
    struct evconnlistener *listener; /* NULL: the address is taken */
    struct loop_timer *retry;
    bool refused; /* the address was taken when last tried: said once */
    LIST_HEAD(, web_exchange) connections;
    size_t count;
};

/* Headers of each answer, whatever it is. */
static const char hardening[] =
    "Content-Security-Policy: default-src 'none'; script-src 'self'; style-src 'self'; img-src "
    "'self' data:; font-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'\r\n"
    "X-Content-Type-Options: nosniff\r\n"
    "X-Frame-Options: DENY\r\n"
    "Referrer-Policy: no-referrer\r\n"
    "Cross-Origin-Opener-Policy: same-origin\r\n"
    "Cross-Origin-Resource-Policy: same-origin\r\n";

/* ---- the end of a connection ---- */

static void on_free(void *arg)
{
    struct web_exchange *c = arg;

    loop_timer_destroy(c->limit);
    buf_clear(&c->head_bytes);
    buf_clear(&c->body);
    buf_clear(&c->path);
    free(c);
}

static void drop_socket(struct web_exchange *c)
{
    if (c->bev != NULL)
        bufferevent_free(c->bev);
    c->bev = NULL;
}

static void connection_free(struct web_exchange *c)
{
    LIST_REMOVE(c, link);
    c->web->count--;
    drop_socket(c);
    loop_timer_clear(c->limit);
    loop_defer(c->web->base, on_free, c);
}

static void connection_gone(struct web_exchange *c)
{
    if (c->state == WEB_STREAM) {
        web_gone_fn *gone = c->gone;
        void *arg = c->gone_arg;
        connection_free(c);
        gone(arg);
    } else if (c->state == WEB_ANSWERING) {
        drop_socket(c); /* the handler still has the exchange */
    } else {
        connection_free(c);
    }
}

/* ---- answers ---- */

static void put_head(struct evbuffer *out, const struct web_exchange *c,
                     const struct web_reply *reply, int status)
{
    char date[DATE_BYTES];

    date_format(time(NULL), date);
    evbuffer_add_printf(out, "HTTP/1.1 %d %s\r\nDate: %s\r\n%s", status, web_status_text(status),
                        date, hardening);
    evbuffer_add_printf(out, "Cache-Control: %s\r\n",
                        reply->cache == WEB_REVALIDATE ? "no-cache" : "no-store");
    if (reply->content_type.len > 0)
        evbuffer_add_printf(out, "Content-Type: %.*s\r\n", STR_ARG(reply->content_type));
    if (reply->etag.len > 0)
        evbuffer_add_printf(out, "ETag: %.*s\r\n", STR_ARG(reply->etag));
    evbuffer_add(out, reply->fields.ptr, reply->fields.len);
    if (c->last)
        evbuffer_add_printf(out, "Connection: close\r\n");
}

/* Whether a list of ETags has this one, weakly compared. */
static bool names_etag(struct str list, struct str etag)
{
    while (list.len > 0) {
        struct str item = {list.ptr, str_find(list, ',')};
        list = str_slice(list, item.len + 1);
        item = str_trim(item);
        if (str_starts_with(item, STR("W/")))
            item = str_slice(item, 2);
        if (str_equal(item, etag) || str_equal(item, STR("*")))
            return true;
    }
    return false;
}

static bool is_unchanged(const struct web_exchange *c, const struct web_reply *reply)
{
    return reply->status == 200 && reply->etag.len > 0 &&
           names_etag(web_head_field(&c->head, STR("If-None-Match")), reply->etag);
}

/* The rest of a refused request is not read, so the connection ends with the answer. */
static void start_writing(struct web_exchange *c, const struct web_reply *reply)
{
    struct evbuffer *out = bufferevent_get_output(c->bev);
    bool unchanged = is_unchanged(c, reply);
    bool without_body = unchanged || reply->status == 204;

    loop_timer_set(c->limit, WEB_ANSWER_MS);
    put_head(out, c, reply, unchanged ? 304 : reply->status);
    if (!without_body)
        evbuffer_add_printf(out, "Content-Length: %zu\r\n", reply->body.len);
    evbuffer_add(out, "\r\n", 2);
    if (!without_body && !str_equal(c->head.method, STR("HEAD")))
        evbuffer_add(out, reply->body.ptr, reply->body.len);
    c->state = WEB_WRITING;
    bufferevent_enable(c->bev, EV_WRITE);
}

void web_reply(struct web_exchange *c, const struct web_reply *reply)
{
    if (c->bev == NULL)
        connection_free(c);
    else
        start_writing(c, reply);
}

void web_problem(struct web_exchange *c, int status, enum phrase why, struct str fields)
{
    struct buf body;
    struct err err;

    buf_init(&body, 4096);
    err_say(&err, FP_INVALID, why, SAYS_NOTHING);
    web_problem_put(&body, status, &err);
    const struct web_reply reply = {.status = status,
                                    .content_type = STR("application/problem+json"),
                                    .body = buf_str(&body),
                                    .fields = fields};
    web_reply(c, &reply);
    buf_clear(&body);
}

/* What never becomes a request of the handler's. */
static void refuse(struct web_exchange *c, int status, enum phrase why)
{
    c->last = true;
    web_problem(c, status, why, STR_NULL);
}

bool web_stream(struct web_exchange *c, web_gone_fn *gone, void *arg)
{
    const struct web_reply reply = {.content_type = STR("text/event-stream"),
                                    .fields = STR("X-Accel-Buffering: no\r\n")};

    c->gone = gone;
    c->gone_arg = arg;
    c->state = WEB_STREAM;
    c->last = true;
    if (c->bev == NULL) {
        connection_gone(c);
        return false;
    }
    put_head(bufferevent_get_output(c->bev), c, &reply, 200);
    evbuffer_add(bufferevent_get_output(c->bev), "\r\n", 2);
    return true;
}

void web_stream_end(struct web_exchange *c)
{
    connection_gone(c);
}

void web_stream_send(struct web_exchange *c, struct str bytes)
{
    struct evbuffer *out = bufferevent_get_output(c->bev);

    if (evbuffer_get_length(out) + bytes.len > WEB_STREAM_MAX_BYTES)
        connection_gone(c);
    else
        evbuffer_add(out, bytes.ptr, bytes.len);
}

/* ---- requests ---- */

static enum phrase why_refused(int status)
{
    switch (status) {
    case 413:
        return PHRASE_WEB_BODY;
    case 431:
        return PHRASE_WEB_HEAD;
    case 501:
        return PHRASE_WEB_LENGTH;
    case 505:
        return PHRASE_WEB_VERSION;
    default:
        return PHRASE_WEB_REQUEST;
    }
}

static void take_bytes(struct web_exchange *c, struct buf *into, size_t len)
{
    struct evbuffer *in = bufferevent_get_input(c->bev);
    unsigned char *bytes = evbuffer_pullup(in, (ev_ssize_t)len);

    if (bytes == NULL)
        abort();
    buf_put(into, bytes, len);
    evbuffer_drain(in, len);
}

/* False: the head isn't complete, or has been refused. */
static bool read_head(struct web_exchange *c)
{
    struct evbuffer *in = bufferevent_get_input(c->bev);
    size_t length = evbuffer_get_length(in);
    size_t seen = length < WEB_HEAD_MAX_BYTES ? length : WEB_HEAD_MAX_BYTES;

    if (length == 0)
        return false;
    if (!c->begun) {
        c->begun = true;
        loop_timer_set(c->limit, WEB_REQUEST_MS);
    }
    struct str bytes = {(const char *)evbuffer_pullup(in, (ev_ssize_t)seen), seen};
    size_t end = web_head_find_end(bytes);
    if (end == 0) {
        if (seen == WEB_HEAD_MAX_BYTES)
            refuse(c, 431, why_refused(431));
        return false;
    }
    take_bytes(c, &c->head_bytes, end);
    int status = web_head_parse(&c->head, buf_str(&c->head_bytes));
    if (status != 0) {
        refuse(c, status, why_refused(status));
        return false;
    }
    return true;
}

static void hand_over(struct web_exchange *c)
{
    struct web_request request = {.head = &c->head, .peer = &c->peer};

    loop_timer_clear(c->limit);
    c->last = !c->head.keep_alive;
    if (!web_target_parse(c->head.target, &c->path, &request.query)) {
        refuse(c, 400, PHRASE_WEB_PATH);
        return;
    }
    request.path = web_path_without(buf_str(&c->path), c->web->options.prefix);
    request.body = buf_str(&c->body);
    c->state = WEB_ANSWERING;
    c->web->options.handler(c->web->options.arg, c, &request);
}

static void advance(struct web_exchange *c)
{
    if (c->state == WEB_HEAD && read_head(c)) {
        c->state = WEB_BODY;
        if (c->head.body_bytes > 0 &&
            str_equal_nocase(web_head_field(&c->head, STR("Expect")), STR("100-continue")))
            evbuffer_add_printf(bufferevent_get_output(c->bev), "HTTP/1.1 100 Continue\r\n\r\n");
    }
    if (c->state == WEB_BODY &&
        evbuffer_get_length(bufferevent_get_input(c->bev)) >= c->head.body_bytes) {
        if (c->head.body_bytes > 0)
            take_bytes(c, &c->body, c->head.body_bytes);
        hand_over(c);
    }
}

static void await_request(struct web_exchange *c)
{
    buf_reset(&c->head_bytes);
    buf_reset(&c->body);
    buf_reset(&c->path);
    c->head = (struct web_head){0};
    c->begun = false;
    c->state = WEB_HEAD;
    loop_timer_set(c->limit, WEB_IDLE_MS);
    advance(c);
}

static void on_read(struct bufferevent *bev, void *arg)
{
    struct web_exchange *c = arg;
    struct evbuffer *in = bufferevent_get_input(bev);

    if (c->state == WEB_CLOSING || c->state == WEB_STREAM)
        evbuffer_drain(in, evbuffer_get_length(in));
    else
        advance(c);
}

/* All is written. */
static void on_write(struct bufferevent *bev, void *arg)
{
    struct web_exchange *c = arg;

    if (c->state != WEB_WRITING || evbuffer_get_length(bufferevent_get_output(bev)) > 0)
        return;
    if (!c->last) {
        await_request(c);
        return;
    }
    c->state = WEB_CLOSING;
    shutdown(bufferevent_getfd(bev), SHUT_WR);
    loop_timer_set(c->limit, WEB_LINGER_MS);
    on_read(bev, c);
}

static void on_event(struct bufferevent *bev, short what, void *arg)
{
    (void)bev;
    (void)what;
    connection_gone(arg);
}

static void on_limit(void *arg)
{
    struct web_exchange *c = arg;

    if (c->begun && (c->state == WEB_HEAD || c->state == WEB_BODY))
        refuse(c, 408, PHRASE_WEB_SLOW);
    else
        connection_free(c);
}

/* ---- connections ---- */

static void peer_of(struct web_peer *peer, const struct sockaddr *address)
{
    *peer = (struct web_peer){.family = address->sa_family};
    if (address->sa_family == AF_INET) {
        memcpy(peer->address, &((const struct sockaddr_in *)(const void *)address)->sin_addr, 4);
    } else if (address->sa_family == AF_INET6) {
        memcpy(peer->address, &((const struct sockaddr_in6 *)(const void *)address)->sin6_addr, 16);
        network_unmap(&peer->family, peer->address);
    } else {
        peer->local = true;
    }
    peer->loopback = peer->local || (peer->family == AF_INET && peer->address[0] == 127) ||
                     (peer->family == AF_INET6 &&
                      memcmp(peer->address, &in6addr_loopback, sizeof(in6addr_loopback)) == 0);
}

/* A /64 is one visitor's: its addresses have no end. */
static bool is_same_visitor(const struct web_peer *a, const struct web_peer *b)
{
    size_t len = a->family == AF_INET6 ? 8 : sizeof(a->address);
    return a->family == b->family && memcmp(a->address, b->address, len) == 0;
}

static bool is_one_too_many(const struct web *web, const struct web_peer *peer)
{
    const struct web_exchange *c;
    size_t same = 0;

    if (web->count >= WEB_MAX_CONNECTIONS)
        return true;
    if (peer->local ||
        (web->options.is_proxy != NULL && web->options.is_proxy(web->options.arg, peer)))
        return false;
    LIST_FOREACH(c, &web->connections, link)
    {
        same += is_same_visitor(&c->peer, peer);
    }
    return same >= (peer->loopback ? WEB_MAX_PER_LOOPBACK : WEB_MAX_PER_ADDRESS);
}

static void on_accept(struct evconnlistener *listener, evutil_socket_t fd, struct sockaddr *address,
                      int len, void *arg)
{
    static const struct timeval write_limit = {WEB_WRITE_MS / 1000, 0};
    struct web *web = arg;
    struct web_peer peer;
    (void)listener;
    (void)len;

    peer_of(&peer, address);
    if (is_one_too_many(web, &peer)) {
        close(fd);
        return;
    }
    struct web_exchange *c = mem_alloc(sizeof(*c));
    c->web = web;
    c->peer = peer;
    c->bev = bufferevent_socket_new(web->base, fd, BEV_OPT_CLOSE_ON_FREE);
    if (c->bev == NULL)
        abort();
    c->limit = loop_timer_create(web->base, on_limit, c);
    buf_init(&c->head_bytes, WEB_HEAD_MAX_BYTES);
    buf_init(&c->body, WEB_BODY_MAX_BYTES);
    buf_init(&c->path, WEB_HEAD_MAX_BYTES);
    LIST_INSERT_HEAD(&web->connections, c, link);
    web->count++;
    bufferevent_setcb(c->bev, on_read, on_write, on_event, c);
    bufferevent_setwatermark(c->bev, EV_READ, 0, WEB_HEAD_MAX_BYTES + WEB_BODY_MAX_BYTES);
    bufferevent_set_timeouts(c->bev, NULL, &write_limit);
    bufferevent_enable(c->bev, EV_READ | EV_WRITE);
    loop_timer_set(c->limit, WEB_IDLE_MS);
}

/* ---- listening ---- */

/* Out of descriptors: the connections that end give some back. */
static void on_accept_error(struct evconnlistener *listener, void *arg)
{
    struct web *web = arg;

    log_event(LOG_LEVEL_WARN, "no connection accepted", LOG_TEXT("reason", strerror(errno)));
    evconnlistener_disable(listener);
    loop_timer_set(web->retry, WEB_RETRY_MS);
}

/* A socket that nobody listens on is a former one's. Any other file is refused in the same way by
 * connect, and isn't ours to remove. Somebody who doesn't accept must not hold us up: connecting
 * never waits. */
static void remove_stale(const struct listen_address *address)
{
    struct stat file;

    if (lstat(address->path, &file) == -1 || !S_ISSOCK(file.st_mode))
        return;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd == -1)
        return;
    if (connect(fd, (const struct sockaddr *)&address->address, address->len) == -1 &&
        errno == ECONNREFUSED)
        unlink(address->path);
    close(fd);
}

static void start_listening(void *arg)
{
    struct web *web = arg;
    const struct listen_address *address = &web->options.address;

    if (web->listener != NULL) { /* it was out of descriptors */
        evconnlistener_enable(web->listener);
        return;
    }
    if (address->port == 0)
        remove_stale(address);
    web->listener = evconnlistener_new_bind(
        web->base, on_accept, web,
        LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC | LEV_OPT_REUSEABLE, BACKLOG,
        (const struct sockaddr *)&address->address, (int)address->len);
    if (web->listener == NULL) {
        if (!web->refused)
            log_event(LOG_LEVEL_ERROR,
                      "the page has no address: free it, or set FEDPUSH_ADMIN_LISTEN",
                      LOG_TEXT("reason", strerror(errno)));
        web->refused = true;
        loop_timer_set(web->retry, WEB_RETRY_MS);
        return;
    }
    if (web->refused)
        log_plain(LOG_LEVEL_INFO, "the page has its address now");
    web->refused = false;
    evconnlistener_set_error_cb(web->listener, on_accept_error);
    if (address->port == 0)
        chmod(address->path, SOCKET_MODE);
}

struct web *web_create(struct event_base *base, const struct web_options *options)
{
    struct web *web = mem_alloc(sizeof(*web));

    web->base = base;
    web->options = *options;
    web->prefix = str_dup(options->prefix);
    web->options.prefix = str_of(web->prefix);
    web->retry = loop_timer_create(base, start_listening, web);
    LIST_INIT(&web->connections);
    start_listening(web);
    return web;
}

void web_destroy(struct web *web)
{
    if (web == NULL)
        return;
    if (web->listener != NULL) {
        evconnlistener_free(web->listener);
        if (web->options.address.port == 0)
            unlink(web->options.address.path);
    }
    while (!LIST_EMPTY(&web->connections))
        connection_free(LIST_FIRST(&web->connections));
    loop_timer_destroy(web->retry);
    free(web->prefix);
    free(web);
}
