#include "worker/http.h"

#include <errno.h>
#include <openssl/ssl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <unistd.h>

#include "base/log.h"
#include "base/loop.h"
#include "worker/head.h"
#include "worker/multi.h"

enum {
    TCP_MS = 5000, /* for each address of a family, which libcurl tries in turn */
    SILENCE_MS = 10000,
    RESPONSE_MS = 30000,
    ATTEMPT_MS = 55000,
    SWEEP_MS = 250,
    IDLE_S = 30,
    CONNECTIONS_PER_SHARD = 200, /* libcurl walks them whenever a transfer ends */
    MAX_SHARDS = 64,
    MAX_POOLED = 512,
    READ_BYTES = 4096, /* at once: answers are short */
    MAX_SOCKETS = 4,   /* as many addresses are tried */
    COMPLAIN_MS = 10000,
};

struct http {
    struct http_options o;
    struct multi *shards[MAX_SHARDS];
    unsigned shard_count;
    struct loop_timer *sweep;
    struct loop_timer *reap;
    TAILQ_HEAD(transfer_list, http_transfer) active;
    struct transfer_list finished; /* their callbacks run at the end of this turn */
    CURL *pool[MAX_POOLED];
    unsigned pooled;
    int64_t complained_ms; /* about sockets that can't be had */
};

struct http_transfer {
    TAILQ_ENTRY(http_transfer) entry;
    struct http *http;
    struct multi *shard;
    CURL *easy;
    struct curl_slist *resolve;
    struct curl_slist *proxy_headers;
    struct pin *pin; /* NULL: an IP literal */
    bool connects;   /* libcurl has read what it is to resolve */
    http_fn *fn;
    void *arg;
    bool is_finished;
    bool direct;
    bool http2;
    bool tried_refused;
    bool tried_allowed;
    bool no_socket;
    int sockets[MAX_SOCKETS]; /* opened for it, by turns; libcurl's, perhaps closed since */
    unsigned socket_count;
    bool on_the_wire;
    bool header_cut;
    bool body_cut;
    int64_t started_ms;
    int64_t tcp_limit_ms;
    int64_t on_the_wire_ms; /* or when the last byte of the request left */
    int64_t progress_ms;
    curl_off_t uploaded_bytes;
    struct head head;
    size_t body_bytes;
    size_t keep_body_bytes;
    struct buf body;
    struct http_result result;
    char error[CURL_ERROR_SIZE];
};

/* --- what a transfer's callbacks see --- */

/* Nothing is wrong with the host: it is tried again. */
static void note_no_socket(struct http_transfer *t, int code)
{
    struct http *http = t->http;
    int64_t now_ms = clock_mono_ms(http->o.clock);

    if (code != EMFILE && code != ENFILE && code != ENOBUFS && code != ENOMEM)
        return;
    t->no_socket = true;
    if (http->complained_ms > 0 && now_ms - http->complained_ms < COMPLAIN_MS)
        return;
    http->complained_ms = now_ms;
    log_event(LOG_LEVEL_WARN,
              "no socket for a connection: raise LimitNOFILE=, or lower "
              "FEDPUSH_MAX_IN_FLIGHT",
              LOG_TEXT("error", strerror(code)));
}

static void note_connects(struct http_transfer *t)
{
    if (t->pin != NULL && !t->connects)
        pin_told(t->pin);
    t->connects = true;
}

static curl_socket_t on_open_socket(void *arg, curlsocktype purpose, struct curl_sockaddr *address)
{
    struct http_transfer *t = arg;

    (void)purpose;
    note_connects(t);
    if (t->direct && !address_sockaddr_is_allowed(t->http->o.policy, &address->addr)) {
        t->tried_refused = true;
        return CURL_SOCKET_BAD;
    }
    t->tried_allowed = true;
    int fd = socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
    if (fd < 0)
        note_no_socket(t, errno);
    t->sockets[t->socket_count++ % MAX_SOCKETS] = fd;
    return fd;
}

/* A number that was closed may be another's by now: the port tells. */
static void tell_established(const struct http_transfer *t, int local_port)
{
    for (unsigned i = 0; i < t->socket_count && i < MAX_SOCKETS; i++) {
        union {
            struct sockaddr any;
            struct sockaddr_in v4;
            struct sockaddr_in6 v6;
        } name = {.any.sa_family = AF_UNSPEC};
        socklen_t len = sizeof(name);
        if (getsockname(t->sockets[i], &name.any, &len) == 0 &&
            ntohs(name.any.sa_family == AF_INET6 ? name.v6.sin6_port : name.v4.sin_port) ==
                local_port)
            multi_established(t->shard, t->sockets[i]);
    }
}

static int on_connected(void *arg, char *remote, char *local, int remote_port, int local_port)
{
    struct http_transfer *t = arg;

    (void)remote;
    (void)local;
    (void)remote_port;
    note_connects(t);
    tell_established(t, local_port);
    t->on_the_wire = true;
    t->on_the_wire_ms = t->progress_ms = clock_mono_ms(t->http->o.clock);
    return CURL_PREREQFUNC_OK;
}

static size_t on_header(char *bytes, size_t size, size_t count, void *arg)
{
    struct http_transfer *t = arg;
    struct str line = {bytes, size * count};

    t->progress_ms = clock_mono_ms(t->http->o.clock);
    t->header_cut = !head_add(&t->head, line);
    return t->header_cut ? 0 : line.len;
}

static size_t on_body(char *bytes, size_t size, size_t count, void *arg)
{
    struct http_transfer *t = arg;
    size_t len = size * count;

    t->progress_ms = clock_mono_ms(t->http->o.clock);
    t->body_bytes += len;
    if (t->body_bytes > HTTP_MAX_BODY_BYTES) {
        t->body_cut = true;
        return 0;
    }
    if (t->body.len < t->keep_body_bytes)
        buf_put(&t->body, bytes,
                len < t->keep_body_bytes - t->body.len ? len : t->keep_body_bytes - t->body.len);
    return len;
}

static CURLcode on_ssl_context(CURL *easy, void *context, void *arg)
{
    struct http *http = arg;

    (void)easy;
    SSL_CTX_set1_cert_store(context, http->o.store);
    return CURLE_OK;
}

/* --- the end of a transfer --- */

/* What pointed into a transfer or its request, so that the handle can be used again. */
static void unset_request(CURL *easy)
{
    curl_easy_setopt(easy, CURLOPT_HTTPHEADER, NULL);
    curl_easy_setopt(easy, CURLOPT_RESOLVE, NULL);
    curl_easy_setopt(easy, CURLOPT_POSTFIELDS, NULL);
    curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, NULL);
    curl_easy_setopt(easy, CURLOPT_PRIVATE, NULL);
}

static void release(struct http_transfer *t)
{
    struct http *http = t->http;

    multi_remove(t->shard, t->easy);
    if (http->pooled < MAX_POOLED && t->direct) {
        unset_request(t->easy);
        if (t->http2)
            curl_easy_setopt(t->easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
        http->pool[http->pooled++] = t->easy;
    } else {
        curl_easy_cleanup(t->easy); /* what a proxy asked for must not reach another transfer */
    }
    t->easy = NULL;
    if (t->pin != NULL)
        pin_release(t->pin, t->connects ? NULL : t->resolve);
    t->pin = NULL;
    curl_slist_free_all(t->resolve);
    curl_slist_free_all(t->proxy_headers);
    t->resolve = t->proxy_headers = NULL;
}

static void transfer_free(struct http_transfer *t)
{
    TAILQ_REMOVE(t->is_finished ? &t->http->finished : &t->http->active, t, entry);
    if (t->easy != NULL)
        release(t);
    head_clear(&t->head);
    buf_clear(&t->body);
    free(t);
}

static void finish(struct http_transfer *t, enum http_end end, CURLcode code)
{
    long status = 0;
    long os_errno = 0;

    curl_easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &status);
    if (code != CURLE_OK)
        curl_easy_getinfo(t->easy, CURLINFO_OS_ERRNO, &os_errno);
    t->result.end = end;
    t->result.code = code;
    t->result.os_errno = (int)os_errno;
    t->result.reused = t->on_the_wire && t->socket_count == 0;
    t->result.status = status >= 100 && status <= 999 ? (unsigned)status : 0;
    t->result.body_cut = t->body_cut;
    snprintf(t->result.error, sizeof(t->result.error), "%s",
             t->error[0] != '\0' ? t->error : curl_easy_strerror(code));
    release(t);
    TAILQ_REMOVE(&t->http->active, t, entry);
    TAILQ_INSERT_TAIL(&t->http->finished, t, entry);
    t->is_finished = true;
    if (!loop_timer_pending(t->http->reap))
        loop_timer_now(t->http->reap);
}

static enum http_end end_of(const struct http_transfer *t, CURLcode code)
{
    if (code == CURLE_OK || t->body_cut)
        return HTTP_ANSWERED;
    if (t->header_cut)
        return HTTP_TOO_MUCH_HEADER;
    if (t->tried_refused && !t->tried_allowed)
        return HTTP_REFUSED_ADDRESS;
    if (t->no_socket && !t->on_the_wire)
        return HTTP_NO_SOCKET;
    return HTTP_FAILED;
}

static void on_done(void *arg, CURL *easy, CURLcode code)
{
    struct http_transfer *t = NULL;

    (void)arg;
    curl_easy_getinfo(easy, CURLINFO_PRIVATE, (char **)&t);
    finish(t, end_of(t, code), code);
}

/* Callbacks may start and abort transfers: one is taken at a time. */
static void on_reap(void *arg)
{
    struct http *http = arg;
    struct http_transfer *t;

    while ((t = TAILQ_FIRST(&http->finished)) != NULL) {
        http_fn *fn = t->fn;
        struct http_result result = t->result;
        result.location = buf_str(&t->head.location);
        result.date = head_field(&t->head.date);
        result.retry_after = head_field(&t->head.retry_after);
        result.body = buf_str(&t->body);
        result.header = buf_str(&t->head.text);
        TAILQ_REMOVE(&http->finished, t, entry);
        fn(t->arg, &result); /* http_is_on_the_wire may still be asked */
        head_clear(&t->head);
        buf_clear(&t->body);
        free(t);
    }
}

/* A long body on a slow line is progress; the answer's time begins when it is out. */
static void note_upload(struct http_transfer *t, int64_t now_ms)
{
    curl_off_t bytes = 0;

    curl_easy_getinfo(t->easy, CURLINFO_SIZE_UPLOAD_T, &bytes);
    if (bytes > t->uploaded_bytes)
        t->on_the_wire_ms = t->progress_ms = now_ms;
    t->uploaded_bytes = bytes;
}

/* libcurl tells this only after the TLS handshake. A number that was closed and is another socket's
 * now may say yes wrongly: then its own limit ends the attempt. */
static bool has_connection(const struct http_transfer *t)
{
    for (unsigned i = 0; i < t->socket_count && i < MAX_SOCKETS; i++) {
        struct sockaddr_storage peer;
        socklen_t len = sizeof(peer);
        if (getpeername(t->sockets[i], (struct sockaddr *)&peer, &len) == 0)
            return true;
    }
    return false;
}

/* What took too long, or NULL. */
static const char *lateness(struct http_transfer *t, int64_t now_ms)
{
    if (t->on_the_wire) {
        note_upload(t, now_ms);
        if (now_ms - t->progress_ms > SILENCE_MS)
            return "Read timed out after 10 seconds";
        if (now_ms - t->on_the_wire_ms > RESPONSE_MS)
            return "Read timed out after a total of 30 seconds";
    } else if (now_ms - t->started_ms > t->tcp_limit_ms && !has_connection(t)) {
        return "Connect timed out after 5 seconds";
    }
    return NULL;
}

static void on_sweep(void *arg)
{
    struct http *http = arg;
    int64_t now_ms = clock_mono_ms(http->o.clock);
    struct http_transfer *t;
    struct http_transfer *next;

    loop_timer_set(http->sweep, SWEEP_MS);
    for (t = TAILQ_FIRST(&http->active); t != NULL; t = next) {
        next = TAILQ_NEXT(t, entry);
        const char *late = lateness(t, now_ms);
        if (late != NULL) {
            snprintf(t->error, sizeof(t->error), "%s", late);
            finish(t, HTTP_TIMED_OUT, CURLE_OPERATION_TIMEDOUT);
        }
    }
    for (unsigned i = 0; i < http->shard_count; i++)
        multi_tick(http->shards[i], now_ms);
}

/* As malloc, which keeps freed blocks at hand, and calloc doesn't: libcurl asks for many small
 * ones. */
static void *cleared(size_t count, size_t size)
{
    size_t bytes;

    if (__builtin_mul_overflow(count, size, &bytes))
        return NULL;
    void *block = malloc(bytes > 0 ? bytes : 1);
    return block != NULL ? memset(block, 0, bytes) : NULL;
}

void http_global_init(void)
{
    curl_global_init_mem(CURL_GLOBAL_DEFAULT, malloc, free, realloc, strdup, cleared);
}

/* --- the start of a transfer --- */

/* 0 would be no limit to libcurl. */
static unsigned kept_each(unsigned max_connections, unsigned shards)
{
    return max_connections > shards ? max_connections / shards : 1;
}

struct http *http_create(const struct http_options *options)
{
    struct http *http = mem_alloc(sizeof(*http));

    http->o = *options;
    TAILQ_INIT(&http->active);
    TAILQ_INIT(&http->finished);
    http->sweep = loop_timer_create(options->base, on_sweep, http);
    http->reap = loop_timer_create(options->base, on_reap, http);
    loop_timer_set(http->sweep, SWEEP_MS);
    http->shard_count =
        (options->max_connections + CONNECTIONS_PER_SHARD - 1) / CONNECTIONS_PER_SHARD;
    if (http->shard_count > MAX_SHARDS)
        http->shard_count = MAX_SHARDS;
    if (http->shard_count == 0)
        http->shard_count = 1;
    for (unsigned i = 0; i < http->shard_count; i++)
        http->shards[i] = multi_create(
            options->base, kept_each(options->max_connections, http->shard_count), on_done, NULL);
    return http;
}

void http_destroy(struct http *http)
{
    if (http == NULL)
        return;
    while (!TAILQ_EMPTY(&http->active))
        transfer_free(TAILQ_FIRST(&http->active));
    while (!TAILQ_EMPTY(&http->finished))
        transfer_free(TAILQ_FIRST(&http->finished));
    while (http->pooled > 0)
        curl_easy_cleanup(http->pool[--http->pooled]);
    for (unsigned i = 0; i < http->shard_count; i++)
        multi_destroy(http->shards[i]);
    loop_timer_destroy(http->sweep);
    loop_timer_destroy(http->reap);
    free(http);
}

static struct multi *shard_of(struct http *http, struct str authority)
{
    unsigned hash = 5381;
    for (size_t i = 0; i < authority.len; i++)
        hash = hash * 33 + (unsigned char)authority.ptr[i];
    return http->shards[hash % http->shard_count];
}

/* What is the same for every transfer is set once: it costs more than the rest of a request's
 * preparation. */
static CURL *make_handle(struct http *http)
{
    CURL *easy = curl_easy_init();

    if (easy == NULL)
        abort();
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, (long)HTTP_CONNECT_MS);
    curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, (long)ATTEMPT_MS);
    curl_easy_setopt(easy, CURLOPT_MAXAGE_CONN, (long)IDLE_S);
    curl_easy_setopt(easy, CURLOPT_DNS_CACHE_TIMEOUT, -1L); /* what is pinned has no age */
    curl_easy_setopt(easy, CURLOPT_BUFFERSIZE, (long)READ_BYTES);
    curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(easy, CURLOPT_PATH_AS_IS, 1L);
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(easy, CURLOPT_NOPROXY, ""); /* Mastodon knows no exceptions */
    curl_easy_setopt(easy, CURLOPT_CAINFO, NULL);
    curl_easy_setopt(easy, CURLOPT_CAPATH, NULL);
    curl_easy_setopt(easy, CURLOPT_SSL_CTX_FUNCTION, on_ssl_context);
    curl_easy_setopt(easy, CURLOPT_SSL_CTX_DATA, http);
    curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, on_open_socket);
    curl_easy_setopt(easy, CURLOPT_CLOSESOCKETFUNCTION, multi_close_socket);
    curl_easy_setopt(easy, CURLOPT_PREREQFUNCTION, on_connected);
    curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
    return easy;
}

static void set_transfer(CURL *easy, struct http_transfer *t)
{
    curl_easy_setopt(easy, CURLOPT_OPENSOCKETDATA, t);
    curl_easy_setopt(easy, CURLOPT_CLOSESOCKETDATA, t->shard);
    curl_easy_setopt(easy, CURLOPT_PREREQDATA, t);
    curl_easy_setopt(easy, CURLOPT_HEADERDATA, t);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, t);
    curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, t->error);
    curl_easy_setopt(easy, CURLOPT_PRIVATE, t);
}

/* They go to the proxy alone: with CONNECT, or beside those of an absolute-form request. */
static void set_proxy_headers(CURL *easy, const struct proxy *proxy, struct http_transfer *t)
{
    t->proxy_headers = curl_slist_append(NULL, "Proxy-Connection:"); /* libcurl's own: left out */
    if (t->proxy_headers == NULL)
        abort();
    if (proxy->authorization != NULL &&
        curl_slist_append(t->proxy_headers, proxy->authorization) == NULL)
        abort();
    curl_easy_setopt(easy, CURLOPT_PROXYHEADER, t->proxy_headers);
}

static void set_request(CURL *easy, const struct http_request *request, struct http_transfer *t)
{
    bool absolute = request->proxy != NULL && !request->url->https; /* the form a proxy needs */

    curl_easy_setopt(easy, CURLOPT_URL, request->url->text.ptr);
    curl_easy_setopt(easy, CURLOPT_REQUEST_TARGET, absolute ? NULL : request->url->target.ptr);
    curl_easy_setopt(easy, CURLOPT_HTTPHEADER, request->headers);
    curl_easy_setopt(easy, CURLOPT_PROXY, request->proxy != NULL ? request->proxy->address : "");
    if (request->proxy != NULL)
        set_proxy_headers(easy, request->proxy, t);
    if (t->resolve != NULL)
        curl_easy_setopt(easy, CURLOPT_RESOLVE, t->resolve);
    if (request->http2)
        curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_2TLS);
    if (request->get) {
        curl_easy_setopt(easy, CURLOPT_HTTPGET, 1L);
    } else {
        curl_easy_setopt(easy, CURLOPT_POST, 1L);
        curl_easy_setopt(easy, CURLOPT_POSTFIELDS,
                         request->body.ptr != NULL ? request->body.ptr : "");
        curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)request->body.len);
    }
}

/* Black holes hold a place no longer than with Mastodon, which tries all addresses at once. */
static int64_t tcp_limit_ms(const struct http_request *request)
{
    int64_t v4 = 0;
    int64_t v6 = 0;

    for (size_t i = 0; i < request->address_count; i++) {
        if (request->addresses[i].family == AF_INET)
            v4++;
        else
            v6++;
    }
    int64_t most = v4 > v6 ? v4 : v6;
    return TCP_MS * (most > 0 ? most : 1);
}

struct http_transfer *http_start(struct http *http, const struct http_request *request, http_fn *fn,
                                 void *arg)
{
    struct http_transfer *t = mem_alloc(sizeof(*t));
    CURL *easy = http->pooled > 0 ? http->pool[--http->pooled] : make_handle(http);

    t->http = http;
    t->shard = shard_of(http, request->url->authority);
    t->easy = easy;
    t->direct = request->proxy == NULL;
    t->http2 = request->http2;
    if (request->address_count > 0)
        t->pin = pin_take(multi_pins(t->shard), t->direct ? request->url : &request->proxy->url,
                          request->addresses, request->address_count, &t->resolve);
    t->fn = fn;
    t->arg = arg;
    t->started_ms = clock_mono_ms(http->o.clock);
    t->tcp_limit_ms = tcp_limit_ms(request);
    t->keep_body_bytes = request->keep_body_bytes;
    head_init(&t->head, request->keep_body_bytes > 0);
    buf_init(&t->body, request->keep_body_bytes);
    TAILQ_INSERT_TAIL(&http->active, t, entry);
    set_transfer(easy, t);
    set_request(easy, request, t);
    multi_add(t->shard, easy);
    return t;
}

void http_abort(struct http_transfer *t)
{
    transfer_free(t);
}

bool http_is_on_the_wire(const struct http_transfer *t)
{
    return t->on_the_wire;
}
