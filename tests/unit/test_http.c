/* One request in, one result out, against a server on loopback that behaves as its paths say. */
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/bufferevent_ssl.h>
#include <event2/listener.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>
#include <sodium.h>

#include "base/loop.h"
#include "server.h"
#include "worker/http.h"
#include "worker/multi.h"

enum { LONG_BODY_BYTES = 24 * 1024 * 1024, MAX_CONNECTIONS = 10 };

struct fixture {
    struct event_base *base;
    struct evconnlistener *listener;
    uint16_t port;
    SSL_CTX *tls; /* NULL: plain */
    EVP_PKEY *key;
    X509 *certificate;
    struct bufferevent *peer; /* the connection that was used last; NULL: gone */
    unsigned accepted;
    unsigned ended;
    unsigned requests;
    bool arrived;
    bool closed;
    struct buf received;

    int64_t ahead_ms;
    struct clock clock;
    struct address_policy policy;
    X509_STORE *store;
    struct http *http;
    struct url url;
    struct http_transfer *transfer;

    bool done;
    struct http_result result;
    char location[256];
    char body[256];
};

/* --- the server --- */

static void answer(struct bufferevent *bev, const char *text)
{
    bufferevent_write(bev, text, strlen(text));
}

static void close_peer(struct fixture *f, struct bufferevent *bev)
{
    f->ended++;
    f->closed = true;
    if (f->peer == bev)
        f->peer = NULL;
    bufferevent_free(bev);
}

static void behave(struct fixture *f, struct bufferevent *bev, const char *path)
{
    if (strcmp(path, "/once") == 0 && f->requests == 2)
        close_peer(f, bev); /* a kept connection that turns out to be dead */
    else if (strcmp(path, "/continue") == 0) {
        for (int i = 0; i < 300; i++)
            answer(bev, "HTTP/1.1 100 Continue\r\n\r\n");
    } else if (strcmp(path, "/early") == 0) {
        answer(bev, "HTTP/1.1 103 Early Hints\r\nLocation: /wrong\r\n\r\n"
                    "HTTP/1.1 307 Moved\r\nLocation:  /right \r\nContent-Length: 0\r\n\r\n");
    } else if (strcmp(path, "/silence") != 0) {
        answer(bev, "HTTP/1.1 202 Accepted\r\nContent-Length: 8\r\n\r\naccepted");
    }
}

/* The head alone decides; a body may follow, and is thrown away. */
static void on_read(struct bufferevent *bev, void *arg)
{
    struct fixture *f = arg;
    struct evbuffer *input = bufferevent_get_input(bev);
    size_t len = evbuffer_get_length(input);
    const char *bytes = (const char *)evbuffer_pullup(input, -1);
    char path[256];

    f->peer = bev;
    if (memmem(bytes, len, "\r\n\r\n", 4) == NULL)
        return;
    buf_reset(&f->received);
    buf_put(&f->received, bytes, len);
    if (sscanf(buf_cstr(&f->received), "%*s %255s HTTP/1.1", path) == 1) {
        f->requests++;
        f->arrived = true;
        if (strcmp(path, "/upload") == 0) {
            bufferevent_disable(bev, EV_READ); /* until the test reads on */
            return;
        }
        behave(f, bev, path);
    }
    if (f->peer == bev)
        evbuffer_drain(input, len);
}

static void on_gone(struct bufferevent *bev, short what, void *arg)
{
    if ((what & (BEV_EVENT_EOF | BEV_EVENT_ERROR)) != 0)
        close_peer(arg, bev);
}

static void on_accept(struct evconnlistener *listener, evutil_socket_t fd, struct sockaddr *address,
                      int len, void *arg)
{
    struct fixture *f = arg;
    struct bufferevent *bev =
        f->tls != NULL
            ? bufferevent_openssl_socket_new(f->base, fd, SSL_new(f->tls),
                                             BUFFEREVENT_SSL_ACCEPTING, BEV_OPT_CLOSE_ON_FREE)
            : bufferevent_socket_new(f->base, fd, BEV_OPT_CLOSE_ON_FREE);

    (void)listener;
    (void)address;
    (void)len;
    f->accepted++;
    f->peer = bev;
    bufferevent_setcb(bev, on_read, NULL, on_gone, f);
    bufferevent_enable(bev, EV_READ | EV_WRITE);
}

static int listening_socket(uint16_t *port, int backlog)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t len = sizeof(address);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);

    assert_int_equal(bind(fd, (struct sockaddr *)&address, len), 0);
    assert_int_equal(listen(fd, backlog), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &len), 0);
    *port = ntohs(address.sin_port);
    return fd;
}

/* --- a CA that is its own server's certificate --- */

static void make_certificate(struct fixture *f, const char *names)
{
    f->key = EVP_EC_gen("P-256");
    f->certificate = X509_new();
    assert_non_null(f->key);
    X509_set_version(f->certificate, X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(f->certificate), 1);
    X509_gmtime_adj(X509_getm_notBefore(f->certificate), -3600);
    X509_gmtime_adj(X509_getm_notAfter(f->certificate), 3600);
    X509_set_pubkey(f->certificate, f->key);
    X509_NAME *name = X509_get_subject_name(f->certificate);
    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)"test", -1, -1, 0);
    X509_set_issuer_name(f->certificate, name);
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, names);
    assert_non_null(extension);
    X509_add_ext(f->certificate, extension, -1);
    X509_EXTENSION_free(extension);
    assert_true(X509_sign(f->certificate, f->key, EVP_sha256()) > 0);
    f->tls = SSL_CTX_new(TLS_server_method());
    SSL_CTX_use_certificate(f->tls, f->certificate);
    SSL_CTX_use_PrivateKey(f->tls, f->key);
}

/* --- the fixture --- */

static int64_t mono_ms(void *arg)
{
    const struct fixture *f = arg;
    const struct clock system = clock_system();
    return clock_mono_ms(&system) + f->ahead_ms;
}

static int start(void **state)
{
    struct fixture *f = mem_alloc(sizeof(*f));
    struct err err;

    f->base = loop_create();
    f->listener = evconnlistener_new(f->base, on_accept, f, LEV_OPT_CLOSE_ON_FREE, 0,
                                     listening_socket(&f->port, 16));
    assert_non_null(f->listener);
    buf_init(&f->received, 64 * 1024 * 1024);
    f->clock = (struct clock){mono_ms, NULL, f};
    assert_int_equal(address_policy_init(&f->policy, STR("127.0.0.1"), &err), FP_OK);
    f->store = X509_STORE_new();
    f->http = http_create(&(struct http_options){.base = f->base,
                                                 .clock = &f->clock,
                                                 .store = f->store,
                                                 .policy = &f->policy,
                                                 .max_connections = MAX_CONNECTIONS});
    *state = f;
    return 0;
}

static int end(void **state)
{
    struct fixture *f = *state;

    http_destroy(f->http);
    X509_STORE_free(f->store);
    evconnlistener_free(f->listener);
    if (f->peer != NULL)
        bufferevent_enable(f->peer, EV_READ);
    while (f->ended < f->accepted) { /* the server sees its connections end, and frees them */
        f->closed = false;
        server_wait(f->base, &f->closed);
    }
    SSL_CTX_free(f->tls);
    X509_free(f->certificate);
    EVP_PKEY_free(f->key);
    url_clear(&f->url);
    buf_clear(&f->received);
    event_base_free(f->base);
    free(f);
    return 0;
}

static void on_result(void *arg, const struct http_result *result)
{
    struct fixture *f = arg;

    assert_false(f->done);
    f->done = true;
    f->result = *result;
    snprintf(f->location, sizeof(f->location), "%.*s", STR_ARG(result->location));
    snprintf(f->body, sizeof(f->body), "%.*s", STR_ARG(result->body));
}

static char expect_line[] = "Expect:";
static char signature_line[] = "Signature: x";
static struct curl_slist expect_none = {expect_line, NULL};
static struct curl_slist signature = {signature_line, &expect_none};

static const struct dns_address loopback = {.family = AF_INET, .ip.v4 = {0x0100007f}};

/* An example name is pinned to loopback; an address stands for itself. */
static struct http_request request_to(struct fixture *f, const char *scheme, const char *host,
                                      const char *path)
{
    char text[256];
    struct err err;

    url_clear(&f->url);
    snprintf(text, sizeof(text), "%s://%s:%u%s", scheme, host, f->port, path);
    assert_int_equal(url_parse(&f->url, str_of(text), &err), FP_OK);
    return (struct http_request){.url = &f->url,
                                 .headers = &signature,
                                 .body = STR("{}"),
                                 .addresses = &loopback,
                                 .address_count = f->url.ip_literal ? 0 : 1,
                                 .keep_body_bytes = 5};
}

static void begin(struct fixture *f, const struct http_request *request)
{
    f->done = f->arrived = f->closed = false;
    f->transfer = http_start(f->http, request, on_result, f);
    assert_false(f->done); /* never before it returns */
}

static void begin_to(struct fixture *f, const char *host, const char *path)
{
    struct http_request request = request_to(f, f->tls != NULL ? "https" : "http", host, path);
    begin(f, &request);
}

static void get_to(struct fixture *f, const char *host, const char *path)
{
    begin_to(f, host, path);
    server_wait(f->base, &f->done);
}

static void expect_accepted(const struct fixture *f)
{
    assert_int_equal(f->result.end, HTTP_ANSWERED);
    assert_int_equal(f->result.status, 202);
}

/* --- tests --- */

static void connections_are_kept_for_their_host(void **state)
{
    struct fixture *f = *state;

    for (int i = 0; i < 3; i++) {
        get_to(f, "a.example", "/");
        expect_accepted(f);
    }
    assert_int_equal(f->accepted, 1);
    get_to(f, "b.example", "/");
    expect_accepted(f);
    assert_int_equal(f->accepted, 2); /* the same address, another host */
    get_to(f, "a.example", "/");
    assert_int_equal(f->accepted, 2);
}

static void kept_connections_end_after_thirty_quiet_seconds(void **state)
{
    struct fixture *f = *state;

    get_to(f, "a.example", "/");
    server_run(f->base, 300); /* a tick sees it idle */
    f->ahead_ms += MULTI_IDLE_MS - 1000;
    server_run(f->base, 300);
    assert_false(f->closed);
    f->ahead_ms += 2000;
    server_wait(f->base, &f->closed);
    get_to(f, "a.example", "/");
    expect_accepted(f);
    assert_int_equal(f->accepted, 2);
}

static void a_kept_connection_that_is_dead_is_replaced(void **state)
{
    struct fixture *f = *state;

    get_to(f, "a.example", "/once");
    get_to(f, "a.example", "/once"); /* closed when it was read, answered on a new connection */
    expect_accepted(f);
    assert_int_equal(f->requests, 3);
    assert_int_equal(f->accepted, 2);
    assert_false(f->result.reused); /* what answered was a new one */
    get_to(f, "a.example", "/");
    assert_true(f->result.reused);
}

/* What was idle for longest is closed when there are more connections than may be kept. */
static void hosts_used_recently_keep_their_connections(void **state)
{
    struct fixture *f = *state;
    char host[32];

    for (int i = 0; i < MAX_CONNECTIONS; i++) {
        snprintf(host, sizeof(host), "h%d.example", i);
        get_to(f, host, "/");
        server_run(f->base, 3); /* libcurl counts in milliseconds */
    }
    get_to(f, "h0.example", "/");
    assert_true(f->result.reused);
    server_run(f->base, 3);
    get_to(f, "more.example", "/");
    server_wait(f->base, &f->closed);
    server_run(f->base, 20);
    assert_int_equal(f->ended, 1);
    get_to(f, "h0.example", "/");
    assert_true(f->result.reused);
    get_to(f, "h2.example", "/");
    assert_true(f->result.reused);
    get_to(f, "h1.example", "/");
    assert_false(f->result.reused);
}

static void bytes_are_as_given(void **state)
{
    struct fixture *f = *state;
    char expected[256];

    get_to(f, "a.example", "/%7Euser/x%2e%2e/in?q=%20a+b");
    snprintf(expected, sizeof(expected),
             "POST /%%7Euser/x%%2e%%2e/in?q=%%20a+b HTTP/1.1\r\nHost: a.example:%u\r\n", f->port);
    assert_memory_equal(buf_cstr(&f->received), expected, strlen(expected));
    assert_non_null(strstr(buf_cstr(&f->received), "Signature: x\r\nContent-Length: 2\r\n"));
    assert_non_null(strstr(buf_cstr(&f->received), "\r\n\r\n{}"));
    assert_string_equal(f->body, "accep"); /* no more is kept */
}

static void interim_answers_are_passed_over_and_bounded(void **state)
{
    struct fixture *f = *state;

    get_to(f, "a.example", "/early");
    assert_int_equal(f->result.status, 307);
    assert_string_equal(f->location, "/right");
    get_to(f, "a.example", "/continue");
    assert_int_equal(f->result.end, HTTP_TOO_MUCH_HEADER);
}

static void certificates_must_be_the_hosts_own_and_known(void **state)
{
    struct fixture *f = *state;

    make_certificate(f, "DNS:a.example");
    get_to(f, "a.example", "/");
    assert_int_equal(f->result.end, HTTP_FAILED);
    assert_int_equal(f->result.code, CURLE_PEER_FAILED_VERIFICATION); /* nobody's CA */
    assert_int_equal(X509_STORE_add_cert(f->store, f->certificate), 1);
    get_to(f, "a.example", "/");
    expect_accepted(f);
    get_to(f, "b.example", "/");
    assert_int_equal(f->result.end, HTTP_FAILED);
    assert_int_equal(f->result.code, CURLE_PEER_FAILED_VERIFICATION); /* another's */
    get_to(f, "127.0.0.1", "/");
    assert_int_equal(f->result.code, CURLE_PEER_FAILED_VERIFICATION);
    assert_int_equal(f->requests, 1); /* nothing was sent to whom we don't know */
    assert_false(f->result.status);
}

static void refused_addresses_see_no_connection(void **state)
{
    struct fixture *f = *state;
    struct err err;

    assert_int_equal(address_policy_init(&f->policy, STR(""), &err), FP_OK);
    get_to(f, "a.example", "/"); /* pinned to what a resolver said just before */
    assert_int_equal(f->result.end, HTTP_REFUSED_ADDRESS);
    get_to(f, "127.0.0.1", "/");
    assert_int_equal(f->result.end, HTTP_REFUSED_ADDRESS);
    assert_int_equal(f->accepted, 0);
}

static void black_holes_are_given_up_after_five_seconds(void **state)
{
    struct fixture *f = *state;
    uint16_t own = f->port;
    int fd = listening_socket(&f->port, 0); /* room for one connection, which nobody accepts */
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(f->port), .sin_addr = {htonl(INADDR_LOOPBACK)}};
    int filler = socket(AF_INET, SOCK_STREAM, 0);

    assert_int_equal(connect(filler, (struct sockaddr *)&address, sizeof(address)), 0);
    begin_to(f, "a.example", "/");
    f->ahead_ms += 4000;
    server_run(f->base, 400);
    assert_false(f->done);
    assert_false(http_is_on_the_wire(f->transfer));
    f->ahead_ms += 1000;
    server_wait(f->base, &f->done);
    assert_int_equal(f->result.end, HTTP_TIMED_OUT);
    assert_string_equal(f->result.error, "Connect timed out after 5 seconds");
    close(filler);
    close(fd);
    f->port = own;
}

static void a_slow_handshake_is_not_a_black_hole(void **state)
{
    struct fixture *f = *state;
    struct http_request request = request_to(f, "https", "a.example", "/");

    begin(f, &request); /* to a server that takes it for plain HTTP and waits */
    server_run(f->base, 100);
    assert_int_equal(f->accepted, 1);
    f->ahead_ms += 6000;
    server_run(f->base, 400);
    assert_false(f->done);
}

static void drips_end_after_thirty_seconds(void **state)
{
    struct fixture *f = *state;

    begin_to(f, "a.example", "/silence");
    server_wait(f->base, &f->arrived);
    answer(f->peer, "HTTP/1.1 200 OK\r\n");
    server_run(f->base, 400); /* a tick sees that the request is out */
    for (int i = 0; i < 3; i++) {
        f->ahead_ms += 9000;
        answer(f->peer, "X: y\r\n");
        server_run(f->base, 300);
        assert_false(f->done);
    }
    f->ahead_ms += 4000;
    server_wait(f->base, &f->done);
    assert_int_equal(f->result.end, HTTP_TIMED_OUT);
    assert_string_equal(f->result.error, "Read timed out after a total of 30 seconds");
}

static void a_long_body_on_a_slow_line_is_no_silence(void **state)
{
    struct fixture *f = *state;
    struct http_request request = request_to(f, "http", "a.example", "/upload");
    char *body = mem_alloc(LONG_BODY_BYTES);

    request.body = (struct str){body, LONG_BODY_BYTES};
    begin(f, &request);
    server_wait(f->base, &f->arrived);
    evbuffer_drain(bufferevent_get_input(f->peer),
                   evbuffer_get_length(bufferevent_get_input(f->peer)));
    for (int i = 0; i < 5; i++) { /* 45 s in which bytes leave */
        char part[65536];
        int fd = bufferevent_getfd(f->peer);
        server_run(f->base, 300);
        f->ahead_ms += 9000;
        for (int n = 0; n < 48; n++)
            (void)!read(fd, part, sizeof(part));
        server_run(f->base, 300);
        assert_false(f->done);
    }
    bufferevent_enable(f->peer, EV_READ);
    f->ahead_ms += 11000; /* and then none */
    http_abort(f->transfer);
    free(body);
}

static void an_aborted_request_has_no_result(void **state)
{
    struct fixture *f = *state;

    begin_to(f, "a.example", "/silence");
    assert_false(http_is_on_the_wire(f->transfer));
    server_wait(f->base, &f->arrived);
    assert_true(http_is_on_the_wire(f->transfer));
    http_abort(f->transfer);
    server_wait(f->base, &f->closed);
    assert_false(f->done);
}

/* libcurl would resolve the names itself, past all that we know and forbid. */
static void one_that_is_aborted_at_once_leaves_its_host_pinned_for_the_others(void **state)
{
    struct fixture *f = *state;

    begin_to(f, "a.example", "/");
    http_abort(f->transfer);
    get_to(f, "a.example", "/");
    expect_accepted(f);
    struct http_request request = request_to(f, "http", "b.example", "/silence");
    begin(f, &request);
    struct http_transfer *aborted = f->transfer;
    request.get = true;
    begin(f, &request);
    http_abort(aborted); /* the other one goes on alone */
    server_wait(f->base, &f->arrived);
    assert_true(http_is_on_the_wire(f->transfer));
    http_abort(f->transfer);
}

static void proxies_get_what_they_need_and_no_more(void **state)
{
    struct fixture *f = *state;
    char url[64];
    struct config config = {.http_proxy = url};
    struct proxies proxies;
    struct err err;

    begin_to(f, "a.example", "/before"); /* its handle is used again */
    server_wait(f->base, &f->done);
    expect_accepted(f);
    assert_int_equal(address_policy_init(&f->policy, STR(""), &err), FP_OK); /* the proxy's own */
    snprintf(url, sizeof(url), "http://me:s%%41cret@127.0.0.1:%u", f->port);
    assert_int_equal(proxies_init(&proxies, &config, &err), FP_OK);
    struct http_request request = request_to(f, "http", "a.example", "/inbox?x");
    request.address_count = 0;
    request.proxy = &proxies.plain;
    begin(f, &request);
    server_wait(f->base, &f->done);
    expect_accepted(f);
    assert_memory_equal(buf_cstr(&f->received), "POST http://a.example:", 22);
    assert_non_null(strstr(buf_cstr(&f->received), "/inbox?x HTTP/1.1\r\n"));
    assert_non_null(
        strstr(buf_cstr(&f->received), "Proxy-Authorization: Basic bWU6cyU0MWNyZXQ=\r\n"));
    assert_null(strstr(buf_cstr(&f->received), "Proxy-Connection"));

    request = request_to(f, "https", "b.example", "/inbox");
    request.address_count = 0;
    request.proxy = &proxies.plain;
    begin(f, &request);
    server_wait(f->base, &f->arrived);
    assert_memory_equal(buf_cstr(&f->received), "CONNECT b.example:", 18);
    assert_non_null(strstr(buf_cstr(&f->received), "Proxy-Authorization: Basic "));
    assert_null(strstr(buf_cstr(&f->received), "Signature"));
    http_abort(f->transfer);
    proxies_clear(&proxies);
}

static void the_end_takes_everything_along(void **state)
{
    struct fixture *f = *state;

    begin_to(f, "a.example", "/silence");
    server_wait(f->base, &f->arrived);
    begin_to(f, "a.example", "/");
    http_destroy(f->http);
    f->http = NULL;
    server_run(f->base, 50);
    assert_false(f->done);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, start, end)
    const struct CMUnitTest tests[] = {
        TEST(connections_are_kept_for_their_host),
        TEST(kept_connections_end_after_thirty_quiet_seconds),
        TEST(a_kept_connection_that_is_dead_is_replaced),
        TEST(hosts_used_recently_keep_their_connections),
        TEST(bytes_are_as_given),
        TEST(interim_answers_are_passed_over_and_bounded),
        TEST(certificates_must_be_the_hosts_own_and_known),
        TEST(refused_addresses_see_no_connection),
        TEST(black_holes_are_given_up_after_five_seconds),
        TEST(a_slow_handshake_is_not_a_black_hole),
        TEST(drips_end_after_thirty_seconds),
        TEST(a_long_body_on_a_slow_line_is_no_silence),
        TEST(an_aborted_request_has_no_result),
        TEST(one_that_is_aborted_at_once_leaves_its_host_pinned_for_the_others),
        TEST(proxies_get_what_they_need_and_no_more),
        TEST(the_end_takes_everything_along),
    };
    signal(SIGPIPE, SIG_IGN);
    if (sodium_init() < 0 || curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
