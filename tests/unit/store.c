#include "store.h"

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/listener.h>
#include <setjmp.h>
#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/un.h>

#include <cmocka.h>

#include "base/loop.h"

struct pair {
    LIST_ENTRY(pair) entry;
    struct proxy *proxy;
    struct bufferevent *client;
    struct bufferevent *server;
};

struct proxy {
    struct event_base *base;
    struct evconnlistener *listener;
    struct sockaddr_un target;
    LIST_HEAD(, pair) pairs;
    bool lose;
};

static void pair_end(struct pair *pair)
{
    LIST_REMOVE(pair, entry);
    bufferevent_free(pair->client);
    bufferevent_free(pair->server);
    free(pair);
}

static void from_client(struct bufferevent *bev, void *arg)
{
    struct pair *pair = arg;
    bufferevent_write_buffer(pair->server, bufferevent_get_input(bev));
}

static void from_server(struct bufferevent *bev, void *arg)
{
    struct pair *pair = arg;

    if (pair->proxy->lose) {
        pair->proxy->lose = false;
        pair_end(pair);
        return;
    }
    bufferevent_write_buffer(pair->client, bufferevent_get_input(bev));
}

static void on_event(struct bufferevent *bev, short what, void *arg)
{
    (void)bev;
    if ((what & (BEV_EVENT_EOF | BEV_EVENT_ERROR)) != 0)
        pair_end(arg);
}

static void on_accept(struct evconnlistener *listener, evutil_socket_t fd, struct sockaddr *address,
                      int len, void *arg)
{
    struct proxy *proxy = arg;
    struct pair *pair = mem_alloc(sizeof(*pair));
    struct sockaddr_un target = proxy->target;
    (void)listener;
    (void)address;
    (void)len;

    pair->proxy = proxy;
    pair->client = bufferevent_socket_new(proxy->base, fd, BEV_OPT_CLOSE_ON_FREE);
    pair->server = bufferevent_socket_new(proxy->base, -1, BEV_OPT_CLOSE_ON_FREE);
    LIST_INSERT_HEAD(&proxy->pairs, pair, entry);
    bufferevent_setcb(pair->client, from_client, NULL, on_event, pair);
    bufferevent_setcb(pair->server, from_server, NULL, on_event, pair);
    assert_int_equal(
        bufferevent_socket_connect(pair->server, (struct sockaddr *)&target, sizeof(target)), 0);
    bufferevent_enable(pair->client, EV_READ | EV_WRITE);
    bufferevent_enable(pair->server, EV_READ | EV_WRITE);
}

static void proxy_start(struct store *store)
{
    struct proxy *proxy = mem_alloc(sizeof(*proxy));
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    proxy->base = store->base;
    LIST_INIT(&proxy->pairs);
    proxy->target.sun_family = AF_UNIX;
    memcpy(proxy->target.sun_path, store->server.socket, sizeof(proxy->target.sun_path));
    snprintf(address.sun_path, sizeof(address.sun_path), "%s/proxy.sock", store->server.dir);
    proxy->listener = evconnlistener_new_bind(store->base, on_accept, proxy, LEV_OPT_CLOSE_ON_FREE,
                                              16, (struct sockaddr *)&address, sizeof(address));
    assert_non_null(proxy->listener);
    store->endpoint.unix_path = str_dup(str_of(address.sun_path));
    store->proxy = proxy;
}

void store_start(struct store *store)
{
    struct err err;

    assert_true(sodium_init() >= 0);
    signal(SIGPIPE, SIG_IGN);
    *store = (struct store){.base = loop_create()};
    server_start_redis(&store->server);
    store->dns = dns_create(store->base, &(struct dns_options){.timeout_ms = 1000}, &err);
    assert_non_null(store->dns);
    keys_init(&store->keys, STR_NULL);
    store->direct = redisConnectUnix(store->server.socket);
    assert_non_null(store->direct);
    assert_int_equal(store->direct->err, 0);
    proxy_start(store);
}

void store_stop(struct store *store)
{
    struct pair *pair;

    while ((pair = LIST_FIRST(&store->proxy->pairs)) != NULL)
        pair_end(pair);
    evconnlistener_free(store->proxy->listener);
    free(store->proxy);
    redisFree(store->direct);
    keys_clear(&store->keys);
    dns_destroy(store->dns);
    redis_endpoint_clear(&store->endpoint);
    event_base_free(store->base);
    server_stop(&store->server);
}

static void on_ready(void *arg)
{
    ((struct store *)arg)->ready = true;
}

static void on_lost(void *arg, const char *reason)
{
    (void)arg;
    (void)reason;
}

void store_connect(struct store *store)
{
    static const struct redis_handlers handlers = {on_ready, on_lost};

    store->redis =
        redis_create(store->base, store->dns, &store->endpoint, "test", &handlers, store);
    server_wait(store->base, &store->ready);
}

static void on_answer(void *arg, enum redis_status status, const redisReply *reply)
{
    bool *answered = arg;

    assert_int_equal(status, REDIS_REPLIED);
    assert_non_null(reply);
    *answered = true;
}

void store_settle(struct store *store, struct redis *redis, unsigned rounds)
{
    const struct str ping[] = {STR("PING")};

    for (unsigned i = 0; i < rounds; i++) {
        bool answered = false;
        redis_send(redis, on_answer, &answered, 1, ping);
        server_wait(store->base, &answered);
    }
}

void store_lose_answer(struct store *store)
{
    store->proxy->lose = true;
}

static void put_reply(struct buf *out, const redisReply *reply)
{
    switch (reply->type) {
    case REDIS_REPLY_INTEGER:
        buf_printf(out, "%lld", reply->integer);
        break;
    case REDIS_REPLY_NIL:
        buf_put_str(out, STR("nil"));
        break;
    case REDIS_REPLY_ARRAY:
        for (size_t i = 0; i < reply->elements; i++) {
            if (i > 0)
                buf_put_char(out, '|');
            put_reply(out, reply->element[i]);
        }
        break;
    default:
        buf_put(out, reply->str, (size_t)reply->len);
        break;
    }
}

void store_expect(struct store *store, const char *expected, const char *format, ...)
{
    struct buf text;
    va_list args;

    va_start(args, format);
    redisReply *reply = redisvCommand(store->direct, format, args);
    va_end(args);
    assert_non_null(reply);
    buf_init(&text, 16 * 1024 * 1024);
    put_reply(&text, reply);
    if (expected != NULL)
        assert_string_equal(buf_cstr(&text), expected);
    else if (reply->type == REDIS_REPLY_ERROR)
        fail_msg("%s: %s", format, buf_cstr(&text));
    buf_clear(&text);
    freeReplyObject(reply);
}
