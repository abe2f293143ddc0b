#include "admin/server.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "admin/alerter.h"
#include "admin/api.h"
#include "admin/assets.h"
#include "admin/clerk.h"
#include "admin/events.h"
#include "admin/health.h"
#include "admin/metrics_page.h"
#include "admin/web.h"
#include "base/log.h"
#include "base/role.h"
#include "base/url.h"

enum { MAX_QUEUED = 64, ANSWER_MAX_BYTES = 32 * 1024 * 1024, ETAG_BYTES = 16 };

struct server {
    struct role_process process;
    struct web *web;
    struct clerk *clerks[CLERKS];
    struct events *events;
    struct metrics_page *metrics;
    struct alerter *alerter;
    char *prefix; /* of paths, from FEDPUSH_ADMIN_URL: "" or "/fedpush" */
};

static void too_busy(struct web_exchange *exchange)
{
    web_problem(exchange, 503, "too much is being asked at once: try again in some seconds",
                STR("Retry-After: 5\r\n"));
}

/* ---- health ---- */

struct ready {
    struct errand errand; /* first */
    struct web_exchange *exchange;
    const char *problem;
};

static void ask_ready(struct errand *errand, struct desk *desk)
{
    struct ready *ready = (struct ready *)errand;
    ready->problem = health_problem(desk, getppid());
}

static void reply_text(struct web_exchange *exchange, int status, const char *text)
{
    const struct web_reply reply = {
        .status = status, .content_type = STR("text/plain; charset=utf-8"), .body = str_of(text)};
    web_reply(exchange, &reply);
}

static void on_ready(struct errand *errand)
{
    struct ready *ready = (struct ready *)errand;
    char *text = mem_printf("%s\n", ready->problem != NULL ? ready->problem : "ready");

    reply_text(ready->exchange, ready->problem != NULL ? 503 : 200, text);
    free(text);
    free(ready);
}

static void readyz(struct server *s, struct web_exchange *exchange)
{
    struct ready *ready = mem_alloc(sizeof(*ready));

    *ready = (struct ready){.errand = {.run = ask_ready, .done = on_ready}, .exchange = exchange};
    if (clerk_submit(s->clerks[CLERK_STATE], &ready->errand))
        return;
    free(ready);
    too_busy(exchange);
}

static void metrics(struct server *s, struct web_exchange *exchange)
{
    if (!metrics_page_add(s->metrics, exchange))
        too_busy(exchange);
}

/* ---- the API ---- */

/* One question to it: copies of what was asked, and the answer as it is sent. */
struct question {
    struct errand errand; /* first */
    struct web_exchange *exchange;
    char *method, *path, *query, *body, *who;
    int status;
    struct str content_type; /* a literal */
    struct buf text;
    char etag[2 * ETAG_BYTES + 3];
};

static void question_free(struct question *question)
{
    free(question->method);
    free(question->path);
    free(question->query);
    free(question->body);
    free(question->who);
    buf_clear(&question->text);
    free(question);
}

static void make_etag(struct question *question)
{
    unsigned char hash[ETAG_BYTES];
    char hex[2 * ETAG_BYTES + 1];

    crypto_generichash(hash, sizeof(hash), (const unsigned char *)question->text.ptr,
                       question->text.len, NULL, 0);
    sodium_bin2hex(hex, sizeof(hex), hash, sizeof(hash));
    memcpy(question->etag + 1, hex, sizeof(hex) - 1);
    question->etag[0] = question->etag[sizeof(question->etag) - 2] = '"';
}

static int append(const char *bytes, size_t len, void *arg)
{
    buf_put(arg, bytes, len);
    return 0;
}

/* In the clerk's thread, as is the making of text: ten thousand domains take a while. */
static void ask(struct errand *errand, struct desk *desk)
{
    struct question *question = (struct question *)errand;
    const struct api_request request = {.method = str_of(question->method),
                                        .path = str_of(question->path),
                                        .query = str_of(question->query),
                                        .body = str_of(question->body),
                                        .who = question->who};
    struct api_reply reply = {0};

    api_answer(desk, &request, &reply);
    question->status = reply.status;
    question->content_type = reply.content_type;
    if (reply.content_type.len == 0)
        question->content_type =
            reply.status >= 400 ? STR("application/problem+json") : STR("application/json");
    if (reply.body != NULL)
        json_dump_callback(reply.body, append, &question->text, JSON_COMPACT);
    json_decref(reply.body);
    if (question->status == 200 && str_equal(request.method, STR("GET")))
        make_etag(question);
}

static void on_asked(struct errand *errand)
{
    struct question *question = (struct question *)errand;
    const struct web_reply reply = {.status = question->status,
                                    .content_type = question->content_type,
                                    .body = buf_str(&question->text),
                                    .etag = str_of(question->etag)};

    if (question->text.overflow)
        web_problem(question->exchange, 500, "the answer is too long: ask for less", STR_NULL);
    else
        web_reply(question->exchange, &reply);
    question_free(question);
}

/* HEAD is answered as GET; what sends it leaves the body out. */
static struct str method_of(const struct web_request *request)
{
    bool head = str_equal(request->head->method, STR("HEAD"));
    return head ? STR("GET") : request->head->method;
}

static void put_question(struct server *s, struct web_exchange *exchange,
                         const struct web_request *request, struct str path, enum clerk_name name)
{
    struct question *question = mem_alloc(sizeof(*question));

    *question = (struct question){.errand = {.run = ask, .done = on_asked},
                                  .exchange = exchange,
                                  .method = str_dup(method_of(request)),
                                  .path = str_dup(path),
                                  .query = str_dup(request->query),
                                  .body = str_dup(request->body),
                                  .who = str_dup(STR("nobody"))};
    buf_init(&question->text, ANSWER_MAX_BYTES);
    if (clerk_submit(s->clerks[name], &question->errand))
        return;
    question_free(question);
    too_busy(exchange);
}

static void api(struct server *s, struct web_exchange *exchange, const struct web_request *request,
                struct str path)
{
    enum api_right right = API_READ;
    int status = 404;

    if (str_equal(path, STR("/events")) && str_equal(request->head->method, STR("GET"))) {
        if (!events_add(s->events, exchange))
            too_busy(exchange);
        return;
    }
    enum clerk_name name = api_route(method_of(request), path, &right, &status);
    if (name == CLERKS)
        web_problem(exchange, status,
                    status == 405 ? "this path has other methods: see /api/v1/openapi.json"
                                  : "there is nothing here: see /api/v1/openapi.json",
                    STR_NULL);
    else if (right == API_ACT)
        web_problem(exchange, 403, "the page is read-only until a login is configured", STR_NULL);
    else
        put_question(s, exchange, request, path, name);
}

/* ---- the page ---- */

static void page(struct web_exchange *exchange, struct str path)
{
    const struct asset *asset =
        asset_find(str_equal(path, STR("/")) ? STR("index.html") : str_slice(path, 1));

    if (asset == NULL) {
        web_problem(exchange, 404, "there is no such page", STR_NULL);
        return;
    }
    const struct web_reply reply = {.status = 200,
                                    .content_type = str_of(asset->content_type),
                                    .body = {(const char *)asset->bytes, asset->len},
                                    .etag = str_of(asset->etag),
                                    .cache = WEB_REVALIDATE};
    web_reply(exchange, &reply);
}

/* Everything in the page is relative to its address, which ends in a slash. */
static void redirect_to_page(struct server *s, struct web_exchange *exchange)
{
    char *location = mem_printf("Location: %s/\r\n", s->prefix);
    const struct web_reply reply = {.status = 308, .fields = str_of(location)};

    web_reply(exchange, &reply);
    free(location);
}

static void on_request(void *arg, struct web_exchange *exchange, const struct web_request *request)
{
    static const struct str base = {"/api/v1", 7};
    struct server *s = arg;
    struct str path = request->path;
    bool reads = str_equal(method_of(request), STR("GET"));

    if (!request->peer->loopback)
        web_problem(exchange, 403, "without a login the page is for this machine only", STR_NULL);
    else if (str_starts_with(path, base) && path.len > base.len && path.ptr[base.len] == '/')
        api(s, exchange, request, str_slice(path, base.len));
    else if (!reads)
        web_problem(exchange, 405, "only GET and HEAD are for pages", STR("Allow: GET, HEAD\r\n"));
    else if (str_equal(path, STR("/healthz")))
        reply_text(exchange, 200, "alive\n");
    else if (str_equal(path, STR("/readyz")))
        readyz(s, exchange);
    else if (str_equal(path, STR("/metrics")))
        metrics(s, exchange);
    else if (s->prefix[0] != '\0' && str_equal(path, str_of(s->prefix)))
        redirect_to_page(s, exchange);
    else
        page(exchange, path);
}

/* ---- the role ---- */

/* The path of FEDPUSH_ADMIN_URL without a slash at its end. */
static char *prefix_of(const struct config *config)
{
    struct url url;

    if (config->admin_url[0] == '\0' || url_parse(&url, str_of(config->admin_url), NULL) != FP_OK)
        return str_dup(STR_NULL);
    struct str path = url.path;
    while (path.len > 0 && path.ptr[path.len - 1] == '/')
        path.len--;
    char *prefix = str_dup(path);
    url_clear(&url);
    return prefix;
}

static bool start_clerks(struct server *s, struct err *err)
{
    for (int name = 0; name < CLERKS; name++) {
        s->clerks[name] = clerk_create(s->process.base, &s->process.config, (enum clerk_name)name,
                                       MAX_QUEUED, err);
        if (s->clerks[name] == NULL)
            return false;
    }
    return true;
}

static void on_start(void *arg)
{
    struct server *s = arg;
    const struct config *config = &s->process.config;
    struct web_options options = {.handler = on_request, .arg = s};
    struct err err;

    if (!listen_parse(&options.address, str_of(config->admin_listen)) || !start_clerks(s, &err)) {
        log_event(LOG_LEVEL_ERROR, "no page", LOG_TEXT("reason", err.message));
        role_exit(&s->process, FP_EXIT_CONFIG);
        return;
    }
    s->prefix = prefix_of(config);
    options.prefix = str_of(s->prefix);
    s->events = events_create(s->process.base, s->clerks[CLERK_STATE]);
    s->metrics = metrics_page_create(s->process.base, s->clerks[CLERK_STATE],
                                     s->clerks[CLERK_RECORDS], getppid());
    s->alerter = alerter_create(s->process.base, config, s->clerks);
    s->web = web_create(s->process.base, &options);
    control_send(s->process.control, CONTROL_READY, STR_NULL, -1);
}

static void on_peer(void *arg, enum role role, unsigned index, int fd)
{
    (void)arg;
    (void)role;
    (void)index;
    close(fd); /* it has none */
}

int admin_main(void)
{
    static const struct role_handlers handlers = {on_start, on_peer, NULL, NULL, NULL};
    static struct server server;

    int exit_code = role_run(&server.process, ROLE_ADMIN, 0, &handlers, &server);
    web_destroy(server.web);
    /* A clerk may be waiting for an answer, and nothing that it holds is worth waiting for it. */
    _exit(exit_code);
}
