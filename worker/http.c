#include "worker/http.h"

#include <openssl/ssl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <unistd.h>

#include "base/loop.h"

enum {
    CONNECT_MS = 10000,
    SILENCE_MS = 10000,
    RESPONSE_MS = 30000,
    ATTEMPT_MS = 55000,
    SWEEP_MS = 250,
    IDLE_S = 30,
    CONNECTIONS_PER_SHARD = 1000,
    MAX_SHARDS = 16,
    MAX_POOLED = 512,
};

struct shard {
    struct http *http;
    CURLM *multi;
    struct loop_timer *timer;
};

struct http {
    struct http_options o;
    struct shard shards[MAX_SHARDS];
    unsigned shard_count;
    struct loop_timer *sweep;
    struct loop_timer *reap;
    TAILQ_HEAD(transfer_list, http_transfer) active;
    struct transfer_list finished; /* their callbacks run in the next turn */
    CURL *pool[MAX_POOLED];
    unsigned pooled;
};

struct http_transfer {
    TAILQ_ENTRY(http_transfer) entry;
    struct http *http;
    struct shard *shard;
    CURL *easy;
    struct curl_slist *headers;
    struct curl_slist *resolve;
    http_fn *fn;
    void *arg;
    bool is_finished;
    bool direct;
    bool tried_refused;
    bool tried_allowed;
    bool on_the_wire;
    bool header_cut;
    bool body_cut;
    int64_t on_the_wire_ms;
    int64_t progress_ms;
    size_t header_bytes;
    unsigned header_lines;
    size_t body_bytes;
    size_t keep_body_bytes;
    struct buf location;
    struct buf body;
    struct buf header;
    struct http_result result;
    char error[CURL_ERROR_SIZE];
};

/* --- libevent <-> libcurl --- */

static void collect(struct shard *shard);

static void act(struct shard *shard, curl_socket_t socket, int what)
{
    int running;
    curl_multi_socket_action(shard->multi, socket, what, &running);
    collect(shard);
}

static void on_socket_event(evutil_socket_t fd, short what, void *arg)
{
    act(arg, fd, (what & EV_READ ? CURL_CSELECT_IN : 0) | (what & EV_WRITE ? CURL_CSELECT_OUT : 0));
}

static int on_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *socket_arg)
{
    struct shard *shard = arg;
    struct event *event = socket_arg;
    short flags = EV_PERSIST;

    (void)easy;
    if (event != NULL) {
        event_free(event);
        curl_multi_assign(shard->multi, fd, NULL);
    }
    if (what == CURL_POLL_REMOVE)
        return 0;
    if (what == CURL_POLL_IN || what == CURL_POLL_INOUT)
        flags |= EV_READ;
    if (what == CURL_POLL_OUT || what == CURL_POLL_INOUT)
        flags |= EV_WRITE;
    event = event_new(shard->http->o.base, fd, flags, on_socket_event, shard);
    if (event == NULL || event_add(event, NULL) != 0)
        abort();
    curl_multi_assign(shard->multi, fd, event);
    return 0;
}

static void on_shard_timer(void *arg)
{
    act(arg, CURL_SOCKET_TIMEOUT, 0);
}

static int on_timeout_changed(CURLM *multi, long timeout_ms, void *arg)
{
    struct shard *shard = arg;
    (void)multi;
    if (timeout_ms < 0)
        loop_timer_clear(shard->timer);
    else
        loop_timer_set(shard->timer, timeout_ms);
    return 0;
}

/* --- what a transfer's callbacks see --- */

static curl_socket_t on_open_socket(void *arg, curlsocktype purpose, struct curl_sockaddr *address)
{
    struct http_transfer *t = arg;

    (void)purpose;
    if (t->direct && !address_sockaddr_is_allowed(t->http->o.policy, &address->addr)) {
        t->tried_refused = true;
        return CURL_SOCKET_BAD;
    }
    t->tried_allowed = true;
    return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

static int on_connected(void *arg, char *remote, char *local, int remote_port, int local_port)
{
    struct http_transfer *t = arg;

    (void)remote;
    (void)local;
    (void)remote_port;
    (void)local_port;
    t->on_the_wire = true;
    t->on_the_wire_ms = t->progress_ms = clock_mono_ms(t->http->o.clock);
    return CURL_PREREQFUNC_OK;
}

static size_t on_header(char *bytes, size_t size, size_t count, void *arg)
{
    struct http_transfer *t = arg;
    struct str line = {bytes, size * count};
    struct str name = STR("location:");

    t->progress_ms = clock_mono_ms(t->http->o.clock);
    t->header_bytes += line.len;
    if (t->header_bytes > HTTP_MAX_HEADER_BYTES || ++t->header_lines > HTTP_MAX_HEADER_LINES) {
        t->header_cut = true;
        return 0;
    }
    if (str_starts_with(line, STR("HTTP/"))) {
        buf_reset(&t->location);
        buf_reset(&t->header);
    }
    if (t->keep_body_bytes > 0)
        buf_put_str(&t->header, line);
    if (line.len > name.len && str_equal_nocase((struct str){line.ptr, name.len}, name)) {
        buf_reset(&t->location);
        buf_put_str(&t->location, str_trim(str_slice(line, name.len)));
    }
    return line.len;
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

static void release(struct http_transfer *t)
{
    struct http *http = t->http;

    curl_multi_remove_handle(t->shard->multi, t->easy);
    if (http->pooled < MAX_POOLED) {
        curl_easy_reset(t->easy);
        http->pool[http->pooled++] = t->easy;
    } else {
        curl_easy_cleanup(t->easy);
    }
    t->easy = NULL;
    curl_slist_free_all(t->headers);
    curl_slist_free_all(t->resolve);
    t->headers = t->resolve = NULL;
}

static void transfer_free(struct http_transfer *t)
{
    TAILQ_REMOVE(t->is_finished ? &t->http->finished : &t->http->active, t, entry);
    if (t->easy != NULL)
        release(t);
    buf_clear(&t->location);
    buf_clear(&t->body);
    buf_clear(&t->header);
    free(t);
}

static void finish(struct http_transfer *t, enum http_end end, CURLcode code)
{
    long status = 0;

    curl_easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &status);
    t->result.end = end;
    t->result.code = code;
    t->result.status = status >= 100 && status <= 999 ? (unsigned)status : 0;
    t->result.body_cut = t->body_cut;
    snprintf(t->result.error, sizeof(t->result.error), "%s",
             t->error[0] != '\0' ? t->error : curl_easy_strerror(code));
    release(t);
    TAILQ_REMOVE(&t->http->active, t, entry);
    TAILQ_INSERT_TAIL(&t->http->finished, t, entry);
    t->is_finished = true;
    if (!loop_timer_pending(t->http->reap))
        loop_timer_set(t->http->reap, 0);
}

static enum http_end end_of(const struct http_transfer *t, CURLcode code)
{
    if (code == CURLE_OK || t->body_cut)
        return HTTP_ANSWERED;
    if (t->header_cut)
        return HTTP_TOO_MUCH_HEADER;
    if (t->tried_refused && !t->tried_allowed)
        return HTTP_REFUSED_ADDRESS;
    return HTTP_FAILED;
}

static void collect(struct shard *shard)
{
    CURLMsg *message;
    int left;

    while ((message = curl_multi_info_read(shard->multi, &left)) != NULL) {
        struct http_transfer *t = NULL;
        if (message->msg != CURLMSG_DONE)
            continue;
        CURLcode code = message->data.result; /* gone with the handle's removal */
        curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, (char **)&t);
        finish(t, end_of(t, code), code);
    }
}

/* Callbacks may start and abort transfers: one is taken at a time. */
static void on_reap(void *arg)
{
    struct http *http = arg;
    struct http_transfer *t;

    while ((t = TAILQ_FIRST(&http->finished)) != NULL) {
        http_fn *fn = t->fn;
        struct http_result result = t->result;
        result.location = buf_str(&t->location);
        result.body = buf_str(&t->body);
        result.header = buf_str(&t->header);
        TAILQ_REMOVE(&http->finished, t, entry);
        fn(t->arg, &result); /* http_is_on_the_wire may still be asked */
        buf_clear(&t->location);
        buf_clear(&t->body);
        buf_clear(&t->header);
        free(t);
    }
}

static bool is_late(const struct http_transfer *t, int64_t now_ms)
{
    return t->on_the_wire &&
           (now_ms - t->progress_ms > SILENCE_MS || now_ms - t->on_the_wire_ms > RESPONSE_MS);
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
        if (is_late(t, now_ms))
            finish(t, HTTP_TIMED_OUT, CURLE_OPERATION_TIMEDOUT);
    }
}

/* --- the start of a transfer --- */

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
    for (unsigned i = 0; i < http->shard_count; i++) {
        struct shard *shard = &http->shards[i];
        shard->http = http;
        shard->multi = curl_multi_init();
        shard->timer = loop_timer_create(options->base, on_shard_timer, shard);
        curl_multi_setopt(shard->multi, CURLMOPT_SOCKETFUNCTION, on_socket);
        curl_multi_setopt(shard->multi, CURLMOPT_SOCKETDATA, shard);
        curl_multi_setopt(shard->multi, CURLMOPT_TIMERFUNCTION, on_timeout_changed);
        curl_multi_setopt(shard->multi, CURLMOPT_TIMERDATA, shard);
        curl_multi_setopt(shard->multi, CURLMOPT_PIPELINING, CURLPIPE_NOTHING);
        curl_multi_setopt(shard->multi, CURLMOPT_MAXCONNECTS,
                          (long)(options->max_connections / http->shard_count + 1));
    }
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
    for (unsigned i = 0; i < http->shard_count; i++) {
        curl_multi_cleanup(http->shards[i].multi);
        loop_timer_destroy(http->shards[i].timer);
    }
    loop_timer_destroy(http->sweep);
    loop_timer_destroy(http->reap);
    free(http);
}

static struct shard *shard_of(struct http *http, struct str authority)
{
    unsigned hash = 5381;
    for (size_t i = 0; i < authority.len; i++)
        hash = hash * 33 + (unsigned char)authority.ptr[i];
    return &http->shards[hash % http->shard_count];
}

/* host:port:address,address for CURLOPT_RESOLVE: libcurl never resolves a name itself. */
static struct curl_slist *resolve_entry(const struct http_request *request)
{
    struct buf entry;
    struct curl_slist *list;

    if (request->address_count == 0)
        return NULL;
    buf_init(&entry, 4096);
    buf_printf(&entry, "%.*s:%u:", STR_ARG(request->url->host), request->url->port);
    for (size_t i = 0; i < request->address_count; i++) {
        if (i > 0)
            buf_put_char(&entry, ',');
        address_put(&entry, &request->addresses[i]);
    }
    list = curl_slist_append(NULL, buf_cstr(&entry));
    buf_clear(&entry);
    return list;
}

static void set_limits(CURL *easy, struct http_transfer *t)
{
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, (long)CONNECT_MS);
    curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, (long)ATTEMPT_MS);
    curl_easy_setopt(easy, CURLOPT_MAXAGE_CONN, (long)IDLE_S);
    curl_easy_setopt(easy, CURLOPT_DNS_CACHE_TIMEOUT, -1L);
    curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(easy, CURLOPT_PATH_AS_IS, 1L);
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(easy, CURLOPT_CAINFO, NULL);
    curl_easy_setopt(easy, CURLOPT_CAPATH, NULL);
    curl_easy_setopt(easy, CURLOPT_SSL_CTX_FUNCTION, on_ssl_context);
    curl_easy_setopt(easy, CURLOPT_SSL_CTX_DATA, t->http);
    curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, on_open_socket);
    curl_easy_setopt(easy, CURLOPT_OPENSOCKETDATA, t);
    curl_easy_setopt(easy, CURLOPT_PREREQFUNCTION, on_connected);
    curl_easy_setopt(easy, CURLOPT_PREREQDATA, t);
    curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(easy, CURLOPT_HEADERDATA, t);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, t);
    curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, t->error);
    curl_easy_setopt(easy, CURLOPT_PRIVATE, t);
}

static void set_request(CURL *easy, const struct http_request *request, struct http_transfer *t)
{
    char *url = str_dup(request->url->text);
    char *target = str_dup(request->url->target);

    curl_easy_setopt(easy, CURLOPT_URL, url);
    if (request->proxy == NULL ||
        request->url->https) /* through a proxy http needs the absolute form */
        curl_easy_setopt(easy, CURLOPT_REQUEST_TARGET, target);
    curl_easy_setopt(easy, CURLOPT_HTTPHEADER, t->headers);
    curl_easy_setopt(easy, CURLOPT_PROXY, request->proxy != NULL ? request->proxy : "");
    if (t->resolve != NULL)
        curl_easy_setopt(easy, CURLOPT_RESOLVE, t->resolve);
    if (request->get) {
        curl_easy_setopt(easy, CURLOPT_HTTPGET, 1L);
    } else {
        curl_easy_setopt(easy, CURLOPT_POST, 1L);
        curl_easy_setopt(easy, CURLOPT_POSTFIELDS,
                         request->body.ptr != NULL ? request->body.ptr : "");
        curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)request->body.len);
    }
    free(target);
    free(url);
}

struct http_transfer *http_start(struct http *http, const struct http_request *request, http_fn *fn,
                                 void *arg)
{
    struct http_transfer *t = mem_alloc(sizeof(*t));
    CURL *easy = http->pooled > 0 ? http->pool[--http->pooled] : curl_easy_init();

    if (easy == NULL)
        abort();
    t->http = http;
    t->shard = shard_of(http, request->url->authority);
    t->easy = easy;
    t->headers = request->headers;
    t->resolve = request->proxy == NULL ? resolve_entry(request) : NULL;
    t->direct = request->proxy == NULL;
    t->fn = fn;
    t->arg = arg;
    t->keep_body_bytes = request->keep_body_bytes;
    buf_init(&t->location, URL_MAX_BYTES);
    buf_init(&t->body, request->keep_body_bytes);
    buf_init(&t->header, HTTP_MAX_HEADER_BYTES);
    TAILQ_INSERT_TAIL(&http->active, t, entry);
    set_limits(easy, t);
    set_request(easy, request, t);
    if (curl_multi_add_handle(t->shard->multi, easy) != CURLM_OK)
        abort();
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
