/* Whole deliveries, through http.c, to a server on loopback that behaves as its paths say. */
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/listener.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cmocka.h>
#include <sodium.h>

#include "base/config.h"
#include "base/loop.h"
#include "server.h"
#include "worker/delivery.h"

struct fixture {
    struct event_base *base;
    struct evconnlistener *listener;
    uint16_t port;
    struct buf received; /* the latest request */
    unsigned requests;
    bool arrived;

    struct clock clock;
    int64_t ahead_ms;
    struct config config;
    struct address_policy policy;
    struct proxies proxies;
    struct dns *dns;
    struct resolver *resolver;
    X509_STORE *store;
    struct http *http;
    struct delivery_context context;
    struct rereads rereads;
    struct delivery *delivery;

    enum sign_status answer;
    bool no_signer;
    bool withhold; /* the signer's answer */
    unsigned asked;
    enum knock knock;
    bool low;
    uint8_t method;
    uint8_t reread;
    uint8_t scheme;
    int64_t date_s;
    char target[256];

    bool done;
    struct message_outcome outcome;
    char error_class[128];
    char error_message[MESSAGE_MAX_ERROR_BYTES + 1];
};

/* --- the server --- */

static void answer(struct bufferevent *bev, const char *format, ...) FP_PRINTF(2, 3);
static void answer(struct bufferevent *bev, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    evbuffer_add_vprintf(bufferevent_get_output(bev), format, args);
    va_end(args);
}

static void put_zeros(struct bufferevent *bev, size_t count)
{
    char *zeros = mem_alloc(count);
    bufferevent_write(bev, zeros, count);
    free(zeros);
}

static void reset(struct bufferevent *bev)
{
    const struct linger now = {.l_onoff = 1, .l_linger = 0};
    setsockopt(bufferevent_getfd(bev), SOL_SOCKET, SO_LINGER, &now, sizeof(now));
    bufferevent_free(bev);
}

static void redirect_to(struct bufferevent *bev, int status, const char *location)
{
    answer(bev, "HTTP/1.1 %d Moved\r\nLocation: %s\r\nContent-Length: 0\r\n\r\n", status, location);
}

static void put_headers(struct bufferevent *bev, int count, size_t bytes)
{
    answer(bev, "HTTP/1.1 200 OK\r\n");
    for (int i = 0; i < count; i++)
        answer(bev, "X-%d: %0*d\r\n", i, (int)bytes, 0);
    answer(bev, "Content-Length: 0\r\n\r\n");
}

/* A server that knows one signature scheme, and says `status` to the other. */
static void accept_scheme(struct bufferevent *bev, struct fixture *f, bool rfc9421, int status)
{
    bool given = strstr(buf_cstr(&f->received), "\r\nsignature-input: ") != NULL;
    answer(bev, "HTTP/1.1 %d Words\r\nContent-Length: 0\r\n\r\n", given == rfc9421 ? 202 : status);
}

static void behave(struct bufferevent *bev, struct fixture *f, const char *path)
{
    int status;

    if (sscanf(path, "/rfc9421/%d", &status) == 1)
        accept_scheme(bev, f, true, status);
    else if (sscanf(path, "/cavage/%d", &status) == 1)
        accept_scheme(bev, f, false, status);
    else if (sscanf(path, "/status/%d", &status) == 1)
        answer(bev, "HTTP/1.1 %d Words\r\nContent-Length: 2\r\n\r\nok", status);
    else if (sscanf(path, "/later/%d", &status) == 1)
        answer(bev,
               "HTTP/1.1 %d Words\r\ndate: Mon, 23 Nov 2026 07:34:40 GMT\r\n"
               "RETRY-AFTER: 90\r\nContent-Length: 0\r\n\r\n",
               status);
    else if (sscanf(path, "/redirect/%d", &status) == 1)
        redirect_to(bev, status, "../status/202?after");
    else if (strcmp(path, "/loop") == 0)
        redirect_to(bev, 307, "/loop");
    else if (strcmp(path, "/elsewhere") == 0)
        redirect_to(bev, 307, "http://127.0.0.2/status/202");
    else if (strcmp(path, "/nowhere") == 0)
        answer(bev, "HTTP/1.1 307 Moved\r\nContent-Length: 0\r\n\r\n");
    else if (strcmp(path, "/garbage") == 0)
        answer(bev, "220 mail.example ESMTP\r\n\r\n");
    else if (strcmp(path, "/header/lines") == 0)
        put_headers(bev, 300, 1);
    else if (strcmp(path, "/header/bytes") == 0)
        put_headers(bev, 100, 1000);
    else if (strcmp(path, "/header/long") == 0)
        put_headers(bev, 40, 1000);
    else if (strcmp(path, "/body") == 0) {
        answer(bev, "HTTP/1.1 200 OK\r\nContent-Length: 2097152\r\n\r\n");
        put_zeros(bev, 2097152);
    } else if (strcmp(path, "/short") == 0) {
        answer(bev, "HTTP/1.1 200 OK\r\nContent-Length: 20\r\nConnection: close\r\n\r\nhalf");
    }
}

static bool is_whole(const struct buf *request)
{
    static const char length[] = "Content-Length: ";
    struct str text = buf_str(request);
    const char *end = memmem(text.ptr, text.len, "\r\n\r\n", 4);
    const char *field = memmem(text.ptr, text.len, length, sizeof(length) - 1);

    if (end == NULL)
        return false;
    size_t body = field != NULL ? strtoul(field + sizeof(length) - 1, NULL, 10) : 0;
    return text.len >= (size_t)(end + 4 - text.ptr) + body;
}

static void on_request(struct bufferevent *bev, void *arg)
{
    struct fixture *f = arg;
    struct evbuffer *input = bufferevent_get_input(bev);
    size_t len = evbuffer_get_length(input);
    char path[256];

    buf_reset(&f->received);
    buf_put(&f->received, evbuffer_pullup(input, -1), len);
    if (sscanf(buf_cstr(&f->received), "%*s %255s", path) != 1 || !is_whole(&f->received))
        return;
    evbuffer_drain(input, len);
    f->requests++;
    f->arrived = true;
    if (strcmp(path, "/reset") == 0)
        reset(bev);
    else if (strcmp(path, "/close") == 0)
        bufferevent_free(bev);
    else
        behave(bev, f, path);
}

static void on_written(struct bufferevent *bev, void *arg)
{
    struct fixture *f = arg;
    if (strstr(buf_cstr(&f->received), " /short ") != NULL)
        bufferevent_free(bev);
}

static void on_gone(struct bufferevent *bev, short what, void *arg)
{
    (void)arg;
    if ((what & (BEV_EVENT_EOF | BEV_EVENT_ERROR)) != 0)
        bufferevent_free(bev);
}

static void on_accept(struct evconnlistener *listener, evutil_socket_t fd, struct sockaddr *address,
                      int len, void *arg)
{
    struct fixture *f = arg;
    struct bufferevent *bev = bufferevent_socket_new(f->base, fd, BEV_OPT_CLOSE_ON_FREE);
    (void)listener;
    (void)address;
    (void)len;
    bufferevent_setcb(bev, on_request, on_written, on_gone, f);
    bufferevent_enable(bev, EV_READ | EV_WRITE);
}

static void listen_on_loopback(struct fixture *f)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t len = sizeof(address);

    f->listener = evconnlistener_new_bind(f->base, on_accept, f, LEV_OPT_CLOSE_ON_FREE, 16,
                                          (struct sockaddr *)&address, sizeof(address));
    assert_non_null(f->listener);
    assert_int_equal(
        getsockname(evconnlistener_get_fd(f->listener), (struct sockaddr *)&address, &len), 0);
    f->port = ntohs(address.sin_port);
}

/* --- the signer and the scheduler --- */

static void on_signing(void *arg)
{
    struct fixture *f = arg;
    const struct message_signed message = {
        .id = 7,
        .status = (uint8_t)f->answer,
        .sender_suspended = 1,
        .host = STR("127.0.0.1"),
        .date = STR("Wed, 25 Nov 2026 15:00:00 GMT"),
        .digest = f->method == SIGN_GET ? STR_NULL : STR("SHA-256=abc"),
        .signature = STR("keyId=\"x\""),
        .signature_input = f->scheme == SCHEME_RFC9421 ? STR("sig1=()") : STR_NULL,
        .reason = STR("no reason")};
    if (f->delivery != NULL)
        delivery_signed(f->delivery, &message);
}

static bool ask_signer(void *arg, const struct message_sign *request)
{
    struct fixture *f = arg;

    assert_int_equal(request->id, 7);
    assert_int_equal(request->ticket.account_id, 116543210987654321);
    f->asked++;
    f->method = request->method;
    f->reread = request->reread;
    assert_int_equal(request->low, f->low);
    f->scheme = request->scheme;
    f->date_s = request->date_s;
    snprintf(f->target, sizeof(f->target), "%.*s", STR_ARG(request->target));
    if (!f->no_signer && !f->withhold)
        loop_defer(f->base, on_signing, f);
    return !f->no_signer;
}

static void on_done(void *arg, struct delivery *delivery, const struct message_outcome *outcome)
{
    struct fixture *f = arg;

    assert_ptr_equal(delivery, f->delivery);
    assert_false(f->done);
    f->outcome = *outcome;
    snprintf(f->error_class, sizeof(f->error_class), "%.*s", STR_ARG(outcome->error_class));
    snprintf(f->error_message, sizeof(f->error_message), "%.*s", STR_ARG(outcome->error_message));
    f->delivery = NULL;
    f->done = true;
}

static int64_t mono_ms(void *arg)
{
    const struct fixture *f = arg;
    const struct clock system = clock_system();
    return clock_mono_ms(&system) + f->ahead_ms;
}

static int64_t wall_us(void *arg)
{
    const struct fixture *f = arg;
    return 1800000000000000 + f->ahead_ms * 1000;
}

static int start(void **state)
{
    struct fixture *f = mem_alloc(sizeof(*f));
    struct err err;

    signal(SIGPIPE, SIG_IGN);
    if (sodium_init() < 0 || curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
        return 1;
    f->base = loop_create();
    buf_init(&f->received, 4 * 1024 * 1024);
    listen_on_loopback(f);
    f->clock = (struct clock){mono_ms, wall_us, f};
    f->config.mastodon = (struct mastodon_version){.major = 4, .minor = 5, .patch = 15};
    assert_int_equal(address_policy_init(&f->policy, STR("127.0.0.1"), &err), FP_OK);
    f->dns = dns_create(f->base, &(struct dns_options){.timeout_ms = 1000}, &err);
    assert_non_null(f->dns);
    f->resolver =
        resolver_create(f->base, &f->clock, f->dns, &(struct resolver_options){.per_s = 0});
    f->store = X509_STORE_new();
    f->http = http_create(&(struct http_options){.base = f->base,
                                                 .clock = &f->clock,
                                                 .store = f->store,
                                                 .policy = &f->policy,
                                                 .max_connections = 10});
    f->context = (struct delivery_context){.clock = &f->clock,
                                           .rereads = &f->rereads,
                                           .config = &f->config,
                                           .policy = &f->policy,
                                           .proxies = &f->proxies,
                                           .resolver = f->resolver,
                                           .http = f->http,
                                           .user_agent = STR("Mastodon/4.5.15"),
                                           .ask_signer = ask_signer,
                                           .done = on_done,
                                           .arg = f};
    *state = f;
    return 0;
}

static int end(void **state)
{
    struct fixture *f = *state;

    delivery_destroy(f->delivery);
    http_destroy(f->http);
    X509_STORE_free(f->store);
    resolver_destroy(f->resolver);
    dns_destroy(f->dns);
    evconnlistener_free(f->listener);
    server_run(f->base, 20); /* the server sees its connections end, and frees them */
    buf_clear(&f->received);
    event_base_free(f->base);
    free(f);
    return 0;
}

static void begin_url(struct fixture *f, const char *url)
{
    struct message_job job = {.id = 7,
                              .ticket = {.account_id = 116543210987654321,
                                         .content_type = STR("application/activity+json")},
                              .knock = (uint8_t)f->knock,
                              .low = f->low,
                              .url = str_of(url),
                              .body = STR("{\"type\":\"Create\"}")};
    f->done = false;
    f->arrived = false;
    f->requests = f->asked = 0;
    f->delivery = delivery_start(&f->context, &job);
    assert_non_null(f->delivery);
    delivery_begin(f->delivery);
}

static void begin(struct fixture *f, const char *path)
{
    char url[256];
    snprintf(url, sizeof(url), "http://127.0.0.1:%u%s", f->port, path);
    begin_url(f, url);
}

static void deliver(struct fixture *f, const char *path)
{
    begin(f, path);
    server_wait(f->base, &f->done);
}

static void expect_failure(struct fixture *f, enum failure_kind failure, const char *error_class,
                           const char *words)
{
    assert_int_equal(f->outcome.kind, OUTCOME_TRANSPORT);
    assert_int_equal(f->outcome.failure, failure);
    assert_int_equal(f->outcome.status, 0);
    assert_string_equal(f->error_class, error_class);
    if (strstr(f->error_message, words) == NULL)
        fail_msg("\"%s\" is not in \"%s\"", words, f->error_message);
}

static void wait_for_state(struct fixture *f, enum delivery_state wanted)
{
    for (int i = 0; i < SERVER_WAIT_MS && !f->done && delivery_state(f->delivery) != wanted; i++)
        server_run(f->base, 1);
    assert_false(f->done);
    assert_int_equal(delivery_state(f->delivery), wanted);
}

/* --- tests --- */

static void test_request_is_as_signed(void **state)
{
    struct fixture *f = *state;

    f->low = true;
    deliver(f, "/status/202");
    assert_int_equal(f->outcome.kind, OUTCOME_RESPONSE);
    assert_int_equal(f->outcome.status, 202);
    assert_int_equal(f->outcome.id, 7);
    assert_int_equal(f->outcome.sender_suspended, 1);
    assert_int_equal(f->outcome.sent_bytes, 17);
    assert_int_equal(f->requests, 1);
    assert_string_equal(f->target, "/status/202");
    /* As Mastodon 4.5 orders them. */
    assert_string_equal(buf_cstr(&f->received),
                        "POST /status/202 HTTP/1.1\r\nUser-Agent: Mastodon/4.5.15\r\n"
                        "Host: 127.0.0.1\r\nDate: Wed, 25 Nov 2026 15:00:00 GMT\r\n"
                        "Accept-Encoding: gzip\r\nDigest: SHA-256=abc\r\n"
                        "Content-Type: application/activity+json\r\nSignature: keyId=\"x\"\r\n"
                        "Connection: Keep-Alive\r\nContent-Length: 17\r\n\r\n"
                        "{\"type\":\"Create\"}");
}

static void test_statuses_are_final(void **state)
{
    static const unsigned statuses[] = {200, 204, 304, 400, 401, 404, 410, 429, 500, 501, 503};
    struct fixture *f = *state;
    char path[32];

    for (size_t i = 0; i < sizeof(statuses) / sizeof(statuses[0]); i++) {
        snprintf(path, sizeof(path), "/status/%u", statuses[i]);
        if (statuses[i] == 204 || statuses[i] == 304)
            continue; /* the server writes a body, which these have not */
        deliver(f, path);
        assert_int_equal(f->outcome.kind, OUTCOME_RESPONSE);
        assert_int_equal(f->outcome.status, statuses[i]);
        assert_string_equal(f->error_class, "");
        assert_int_equal(f->requests, 1);
    }
}

static void test_a_key_is_read_again_after_a_401(void **state)
{
    struct fixture *f = *state;

    f->knock = KNOCK_CAVAGE;
    deliver(f, "/status/401");
    assert_int_equal(f->reread, 0);
    deliver(f, "/status/403");
    assert_int_equal(f->reread, 1);
    deliver(f, "/status/202");
    assert_int_equal(f->reread, 0);
    f->knock = KNOCK_CAVAGE_FIRST;
    deliver(f, "/rfc9421/401");
    assert_int_equal(f->requests, 2);
    assert_int_equal(f->reread, 1); /* of the second knock */
}

static void expect_knocks(struct fixture *f, enum knock knock, const char *path, unsigned requests,
                          unsigned status, enum learnt learnt)
{
    f->knock = knock;
    deliver(f, path);
    assert_int_equal(f->outcome.kind, OUTCOME_RESPONSE);
    assert_int_equal(f->outcome.status, status);
    assert_int_equal(f->requests, requests);
    assert_int_equal(f->asked, requests);
    assert_int_equal(f->outcome.learnt, learnt);
}

static void test_double_knock_reaches_who_knows_one_scheme(void **state)
{
    struct fixture *f = *state;

    expect_knocks(f, KNOCK_CAVAGE_FIRST, "/cavage/401", 1, 202, LEARNT_NOTHING);
    expect_knocks(f, KNOCK_CAVAGE_FIRST, "/rfc9421/401", 2, 202, LEARNT_RFC9421);
    expect_knocks(f, KNOCK_CAVAGE_FIRST, "/rfc9421/400", 2, 202, LEARNT_RFC9421);
    expect_knocks(f, KNOCK_RFC9421_FIRST, "/rfc9421/401", 1, 202, LEARNT_NOTHING);
    expect_knocks(f, KNOCK_RFC9421_FIRST, "/cavage/401", 2, 202, LEARNT_CAVAGE);
    assert_null(strstr(buf_cstr(&f->received), "signature-input"));
}

static void test_knocks_are_bounded(void **state)
{
    struct fixture *f = *state;

    expect_knocks(f, KNOCK_CAVAGE_FIRST, "/status/401", 2, 401, LEARNT_NEITHER);
    expect_knocks(f, KNOCK_CAVAGE_FIRST, "/rfc9421/403", 1, 403, LEARNT_NOTHING);
    expect_knocks(f, KNOCK_RFC9421_FIRST, "/status/503", 1, 503, LEARNT_NOTHING);
    expect_knocks(f, KNOCK_CAVAGE, "/rfc9421/401", 1, 401, LEARNT_NOTHING);
    expect_knocks(f, KNOCK_RFC9421, "/cavage/401", 1, 401, LEARNT_NOTHING);
}

static void test_first_answer_stands_when_nothing_is_signed_again(void **state)
{
    struct fixture *f = *state;

    f->knock = KNOCK_CAVAGE_FIRST;
    begin(f, "/rfc9421/401");
    server_wait(f->base, &f->arrived);
    f->answer = SIGN_REFUSED; /* the ticket was used up */
    server_wait(f->base, &f->done);
    assert_int_equal(f->asked, 2);
    assert_int_equal(f->outcome.kind, OUTCOME_RESPONSE);
    assert_int_equal(f->outcome.status, 401);
    assert_int_equal(f->outcome.learnt, LEARNT_NOTHING);
}

static void test_redirects_within_the_origin(void **state)
{
    struct fixture *f = *state;

    deliver(f, "/redirect/307");
    assert_int_equal(f->outcome.status, 202);
    assert_int_equal(f->requests, 2);
    assert_int_equal(f->asked, 2); /* each hop is signed anew */
    assert_string_equal(f->target, "/status/202?after");
    assert_memory_equal(buf_cstr(&f->received), "POST /status/202?after ", 23);
    deliver(f, "/redirect/308");
    assert_int_equal(f->outcome.status, 202);
    deliver(f, "/redirect/303");
    assert_int_equal(f->outcome.status, 202);
    assert_int_equal(f->method, SIGN_GET);
    assert_memory_equal(buf_cstr(&f->received), "GET /status/202?after ", 22);
    assert_null(strstr(buf_cstr(&f->received), "Digest"));
    assert_null(strstr(buf_cstr(&f->received), "Create"));
}

static void test_redirects_that_are_not_followed(void **state)
{
    static const char *const paths[] = {"/redirect/300", "/redirect/301", "/redirect/302"};
    struct fixture *f = *state;

    for (size_t i = 0; i < 3; i++) {
        deliver(f, paths[i]);
        expect_failure(f, FAILURE_OTHER, "HTTP::StateError", "can't follow redirect");
        assert_int_equal(f->requests, 1);
    }
    deliver(f, "/elsewhere");
    expect_failure(f, FAILURE_OTHER, "HTTP::StateError", "another origin");
    deliver(f, "/nowhere");
    expect_failure(f, FAILURE_OTHER, "HTTP::StateError", "Location");
    deliver(f, "/loop");
    expect_failure(f, FAILURE_OTHER, "HTTP::Redirector::TooManyRedirectsError", "too many");
    assert_int_equal(f->requests, DELIVERY_MAX_HOPS + 1);
}

static void test_broken_answers(void **state)
{
    struct fixture *f = *state;

    deliver(f, "/reset");
    expect_failure(f, FAILURE_RESET, "HTTP::ConnectionError", "127.0.0.1");
    assert_int_equal(f->outcome.sent_bytes, 17);
    deliver(f, "/close");
    expect_failure(f, FAILURE_RESET, "HTTP::ConnectionError", "on http://127.0.0.1");
    deliver(f, "/garbage");
    assert_int_equal(f->outcome.kind, OUTCOME_TRANSPORT);
    assert_string_not_equal(f->error_class, "");
    deliver(f, "/short");
    expect_failure(f, FAILURE_RESET, "HTTP::ConnectionError", "on http://127.0.0.1");
}

static void test_answers_are_bounded(void **state)
{
    struct fixture *f = *state;

    deliver(f, "/header/lines");
    expect_failure(f, FAILURE_OTHER, "HTTP::ResponseHeaderError", "too long");
    deliver(f, "/header/bytes");
    expect_failure(f, FAILURE_OTHER, "HTTP::ResponseHeaderError", "too long");
    deliver(f, "/header/long");
    assert_int_equal(f->outcome.status, 200);
    deliver(f, "/body"); /* read and thrown away up to a mebibyte */
    assert_int_equal(f->outcome.kind, OUTCOME_RESPONSE);
    assert_int_equal(f->outcome.status, 200);
    f->config.mastodon.minor = 3; /* read whole, by then */
    deliver(f, "/body");
    expect_failure(f, FAILURE_OTHER, "Mastodon::LengthValidationError", "1048576");
}

static void test_hosts_that_ask_for_time(void **state)
{
    struct fixture *f = *state;

    deliver(f, "/later/503");
    assert_int_equal(f->outcome.status, 503);
    assert_int_equal(f->outcome.retry_after_ms, 90000);
    assert_false(f->outcome.reused);
    deliver(f, "/later/429");
    assert_int_equal(f->outcome.retry_after_ms, 90000);
    assert_true(f->outcome.reused);
    deliver(f, "/later/500");
    assert_int_equal(f->outcome.retry_after_ms, 0);
    deliver(f, "/status/503");
    assert_int_equal(f->outcome.retry_after_ms, 0);
}

static void test_without_a_socket_it_waits(void **state)
{
    struct fixture *f = *state;
    struct rlimit before;

    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    const struct rlimit none = {.rlim_cur = 3, .rlim_max = before.rlim_max};
    begin(f, "/status/202");
    setrlimit(RLIMIT_NOFILE, &none);
    for (int i = 0; i < DELIVERY_MAX_WAITS; i++) {
        wait_for_state(f, DELIVERY_WAITING);
        delivery_tick(f->delivery);
    }
    server_wait(f->base, &f->done);
    assert_int_equal(f->outcome.kind, OUTCOME_NOT_TRIED); /* no retry is burnt */

    begin(f, "/status/202");
    wait_for_state(f, DELIVERY_WAITING);
    setrlimit(RLIMIT_NOFILE, &before);
    delivery_tick(f->delivery);
    server_wait(f->base, &f->done);
    assert_int_equal(f->outcome.status, 202);
}

static void test_silence_ends(void **state)
{
    struct fixture *f = *state;

    begin(f, "/never");
    server_wait(f->base, &f->arrived);
    f->ahead_ms += 9000;
    server_run(f->base, 400);
    assert_false(f->done);
    f->ahead_ms += 2000;
    server_wait(f->base, &f->done);
    expect_failure(f, FAILURE_TIMEOUT, "HTTP::TimeoutError", "Read timed out");
    assert_true(f->outcome.total_ms >= 11000);
}

static void test_refused_connection(void **state)
{
    struct fixture *f = *state;

    evconnlistener_disable(f->listener);
    close(evconnlistener_get_fd(f->listener)); /* nobody listens there now */
    begin(f, "/status/200");
    server_wait(f->base, &f->done);
    expect_failure(f, FAILURE_REFUSED, "HTTP::ConnectionError", "on http://127.0.0.1");
    assert_int_equal(f->outcome.sent_bytes, 0);
    int fd = socket(AF_INET, SOCK_STREAM, 0); /* for the listener to close */
    if (fd != evconnlistener_get_fd(f->listener))
        assert_int_equal(dup2(fd, evconnlistener_get_fd(f->listener)) >= 0 && close(fd) == 0, 1);
}

static void test_refused_addresses_are_not_connected_to(void **state)
{
    struct fixture *f = *state;

    begin_url(f, "http://127.0.0.2/inbox");
    server_wait(f->base, &f->done);
    assert_int_equal(f->outcome.kind, OUTCOME_REFUSED);
    assert_string_equal(f->error_class, "Mastodon::PrivateNetworkAddressError");
    assert_int_equal(f->asked, 0); /* nothing is signed for it */
    begin_url(f, "http://[::1]/inbox");
    server_wait(f->base, &f->done);
    assert_int_equal(f->outcome.kind, OUTCOME_REFUSED);
    begin_url(f, "http://abc.onion/inbox");
    if (!f->done)
        server_wait(f->base, &f->done);
    assert_int_equal(f->outcome.kind, OUTCOME_REFUSED);
    assert_string_equal(f->error_class, "Mastodon::HostValidationError");
}

static void test_answers_of_the_signer(void **state)
{
    static const struct {
        enum sign_status answer;
        enum outcome_kind outcome;
        const char *error_class;
    } cases[] = {
        {SIGN_REFUSED, OUTCOME_KEY_WAIT, ""},
        {SIGN_ACCOUNT_MISSING, OUTCOME_SENDER_MISSING, ""},
        {SIGN_KEY_UNUSABLE, OUTCOME_KEY_UNUSABLE, "OpenSSL::PKey::RSAError"},
        {SIGN_UNAVAILABLE, OUTCOME_KEY_WAIT, ""},
    };
    struct fixture *f = *state;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        f->answer = cases[i].answer;
        deliver(f, "/status/202");
        assert_int_equal(f->outcome.kind, cases[i].outcome);
        assert_string_equal(f->error_class, cases[i].error_class);
        assert_int_equal(f->outcome.sent_bytes, 0);
        assert_int_equal(f->requests, 0);
    }
}

static void test_signer_that_comes_back(void **state)
{
    struct fixture *f = *state;

    f->no_signer = true;
    begin(f, "/status/202");
    server_run(f->base, 50);
    assert_int_equal(delivery_state(f->delivery), DELIVERY_SIGNING);
    f->no_signer = false;
    delivery_signer_back(f->delivery);
    server_wait(f->base, &f->done);
    assert_int_equal(f->outcome.status, 202);
    assert_int_equal(f->asked, 2);
}

static void test_old_signature_is_not_used(void **state)
{
    struct fixture *f = *state;

    f->withhold = true;
    begin(f, "/status/202");
    server_run(f->base, 50);
    f->ahead_ms += (DELIVERY_SIGNATURE_AGE_S + 1) * 1000;
    f->withhold = false;
    on_signing(f);
    server_wait(f->base, &f->done);
    assert_int_equal(f->asked, 2);
    assert_int_equal(f->outcome.status, 202);
}

/* A port where connections are never accepted: its queue is full. */
static int make_hole(int waiting[4], uint16_t *port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t len = sizeof(address);
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(listen(fd, 0), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &len), 0);
    for (int i = 0; i < 4; i++) {
        waiting[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        (void)connect(waiting[i], (struct sockaddr *)&address, sizeof(address));
    }
    *port = ntohs(address.sin_port);
    return fd;
}

static void test_signature_is_renewed_while_there_is_no_connection(void **state)
{
    struct fixture *f = *state;
    char url[64];
    int waiting[4];
    uint16_t port;
    int hole = make_hole(waiting, &port);

    snprintf(url, sizeof(url), "http://127.0.0.1:%u/", port);
    begin_url(f, url);
    while (delivery_state(f->delivery) != DELIVERY_SENDING)
        event_base_loop(f->base, EVLOOP_ONCE);
    f->ahead_ms += (DELIVERY_WIRE_AGE_S - 2) * 1000;
    delivery_tick(f->delivery);
    assert_int_equal(f->asked, 1);
    f->ahead_ms += 1000;
    delivery_tick(f->delivery);
    assert_int_equal(f->asked, 2);
    assert_int_equal(delivery_state(f->delivery), DELIVERY_SIGNING);
    while (delivery_state(f->delivery) != DELIVERY_SENDING) /* with a new date */
        event_base_loop(f->base, EVLOOP_ONCE);
    assert_true(f->date_s == 1800000000 + DELIVERY_WIRE_AGE_S - 1);
    delivery_destroy(f->delivery);
    f->delivery = NULL;
    for (int i = 0; i < 4; i++)
        close(waiting[i]);
    close(hole);
}

static void test_signature_on_the_wire_is_let_be(void **state)
{
    struct fixture *f = *state;

    begin(f, "/never");
    server_wait(f->base, &f->arrived);
    f->ahead_ms += DELIVERY_WIRE_AGE_S * 1000;
    delivery_tick(f->delivery);
    assert_int_equal(f->asked, 1);
    assert_int_equal(delivery_state(f->delivery), DELIVERY_SENDING);
}

static void test_limit_of_a_delivery(void **state)
{
    struct fixture *f = *state;

    f->withhold = true;
    begin(f, "/status/202");
    server_run(f->base, 50);
    f->ahead_ms += DELIVERY_LIMIT_MS - 1000;
    delivery_tick(f->delivery);
    assert_false(f->done);
    f->ahead_ms += 2000;
    delivery_tick(f->delivery);
    assert_true(f->done);
    assert_int_equal(f->outcome.kind, OUTCOME_KEY_WAIT);

    f->withhold = false;
    begin(f, "/redirect/307");
    server_wait(f->base, &f->arrived);
    f->withhold = true; /* the second hop's signature never comes: the first was on the wire */
    while (f->asked < 2)
        event_base_loop(f->base, EVLOOP_ONCE);
    f->ahead_ms += DELIVERY_LIMIT_MS + 1000;
    delivery_tick(f->delivery);
    assert_true(f->done);
    expect_failure(f, FAILURE_OTHER, "HTTP::TimeoutError", "timed out");

    f->withhold = false;
    f->knock = KNOCK_CAVAGE_FIRST;
    begin(f, "/rfc9421/401");
    server_wait(f->base, &f->arrived);
    f->withhold = true; /* nor that of the second knock: the first one's answer stands */
    while (f->asked < 2)
        event_base_loop(f->base, EVLOOP_ONCE);
    f->ahead_ms += DELIVERY_LIMIT_MS + 1000;
    delivery_tick(f->delivery);
    assert_true(f->done);
    assert_int_equal(f->outcome.kind, OUTCOME_RESPONSE);
    assert_int_equal(f->outcome.status, 401);
    assert_int_equal(f->outcome.learnt, LEARNT_NOTHING);
}

static void test_cancelling(void **state)
{
    struct fixture *f = *state;

    begin(f, "/status/202");
    delivery_cancel(f->delivery);
    assert_true(f->done);
    assert_int_equal(f->outcome.kind, OUTCOME_NOT_TRIED);
    begin(f, "/never");
    server_wait(f->base, &f->arrived);
    delivery_cancel(f->delivery); /* too late: it goes on */
    server_run(f->base, 50);
    assert_false(f->done);
}

static void test_abort_ends_even_what_is_on_the_wire(void **state)
{
    struct fixture *f = *state;

    begin(f, "/never");
    server_wait(f->base, &f->arrived);
    delivery_abort(f->delivery);
    assert_true(f->done);
    assert_int_equal(f->outcome.kind, OUTCOME_NOT_TRIED);
}

static void test_url_must_be_one(void **state)
{
    struct fixture *f = *state;
    struct message_job job = {.id = 1, .url = STR("ftp://a.example/")};
    assert_null(delivery_start(&f->context, &job));
}

static void test_named_proxy_must_be_there(void **state)
{
    struct fixture *f = *state;
    struct message_job job = {.id = 1, .proxy = 1, .url = STR("https://a.example/")};
    assert_null(delivery_start(&f->context, &job));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, start, end)
    const struct CMUnitTest tests[] = {
        TEST(test_request_is_as_signed),
        TEST(test_statuses_are_final),
        TEST(test_a_key_is_read_again_after_a_401),
        TEST(test_double_knock_reaches_who_knows_one_scheme),
        TEST(test_knocks_are_bounded),
        TEST(test_first_answer_stands_when_nothing_is_signed_again),
        TEST(test_redirects_within_the_origin),
        TEST(test_redirects_that_are_not_followed),
        TEST(test_broken_answers),
        TEST(test_answers_are_bounded),
        TEST(test_hosts_that_ask_for_time),
        TEST(test_without_a_socket_it_waits),
        TEST(test_silence_ends),
        TEST(test_refused_connection),
        TEST(test_refused_addresses_are_not_connected_to),
        TEST(test_answers_of_the_signer),
        TEST(test_signer_that_comes_back),
        TEST(test_old_signature_is_not_used),
        TEST(test_signature_is_renewed_while_there_is_no_connection),
        TEST(test_signature_on_the_wire_is_let_be),
        TEST(test_limit_of_a_delivery),
        TEST(test_cancelling),
        TEST(test_abort_ends_even_what_is_on_the_wire),
        TEST(test_url_must_be_one),
        TEST(test_named_proxy_must_be_there),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
