#include "admin/server.h"

#include <curl/curl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "admin/alerter.h"
#include "admin/api.h"
#include "admin/assets.h"
#include "admin/door.h"
#include "admin/events.h"
#include "admin/health.h"
#include "admin/metrics_page.h"
#include "admin/web.h"
#include "base/log.h"
#include "base/role.h"

/* Each verification of a password takes a tenth of a second and 64 MiB, each login with Mastodon up
 * to half a minute. */
enum { MAX_QUEUED = 64, MAX_AT_DOOR = 8 };
/* Anybody may ask whether it is ready: an answer is good for READY_MS, and while Redis is slow only
 * so many wait for one. */
enum { READY_MS = 1000, MAX_LOOKING = 16 };

struct server {
    struct role_process process;
    struct web *web;
    struct clerk *clerks[CLERKS];
    struct events *events;
    struct metrics_page *metrics;
    struct alerter *alerter;
    struct gate gate;
    const char *problem; /* of health_problem, at looked_ms; 0: not yet asked */
    int64_t looked_ms;
    unsigned looking; /* of health_problem, under way */
};

/* ---- health ---- */

struct ready {
    struct errand errand; /* first */
    struct server *server;
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

static void reply_ready(struct web_exchange *exchange, const char *problem)
{
    char *text = mem_printf("%s\n", problem != NULL ? problem : "ready");

    reply_text(exchange, problem != NULL ? 503 : 200, text);
    free(text);
}

static void on_ready(struct errand *errand)
{
    struct ready *ready = (struct ready *)errand;
    struct server *s = ready->server;

    s->looking--;
    s->problem = ready->problem;
    s->looked_ms = clock_mono_ms(&s->process.clock);
    reply_ready(ready->exchange, ready->problem);
    free(ready);
}

static void readyz(struct server *s, struct web_exchange *exchange)
{
    if (s->looked_ms > 0 && clock_mono_ms(&s->process.clock) - s->looked_ms < READY_MS) {
        reply_ready(exchange, s->problem);
        return;
    }
    if (s->looking == MAX_LOOKING) {
        question_too_busy(exchange);
        return;
    }
    struct ready *ready = mem_alloc(sizeof(*ready));
    *ready = (struct ready){
        .errand = {.run = ask_ready, .done = on_ready}, .server = s, .exchange = exchange};
    if (clerk_submit(s->clerks[CLERK_STATE], &ready->errand)) {
        s->looking++;
        return;
    }
    free(ready);
    question_too_busy(exchange);
}

/* ---- metrics ---- */

struct scrape {
    struct entrance entrance; /* first */
    struct metrics_page *page;
    struct web_exchange *exchange;
};

static void on_scraper_entered(struct entrance *entrance)
{
    struct scrape *scrape = (struct scrape *)entrance;
    const struct entry *entry = &entrance->entry;

    if (entry->verdict != GATE_IN)
        web_problem(scrape->exchange, entry->status, entry->why, STR_NULL);
    else if (!metrics_page_add(scrape->page, scrape->exchange))
        question_too_busy(scrape->exchange);
    free(scrape);
}

static void metrics(struct server *s, struct web_exchange *exchange, const struct caller *caller)
{
    struct scrape *scrape = mem_alloc(sizeof(*scrape));

    *scrape = (struct scrape){.entrance = {.gate = &s->gate,
                                           .clerks = s->clerks,
                                           .caller = *caller,
                                           .wanted = API_READ,
                                           .done = on_scraper_entered},
                              .page = s->metrics,
                              .exchange = exchange};
    if (entrance_start(&scrape->entrance))
        return;
    free(scrape);
    question_too_busy(exchange);
}

/* ---- the API ---- */

static void answer_api(struct desk *desk, const struct asked *asked, struct answer *answer)
{
    api_answer(desk, &asked->request, &answer->reply);
}

static void no_such_route(struct web_exchange *exchange, int status)
{
    web_problem(exchange, status, status == 405 ? PHRASE_ASK_METHOD : PHRASE_ASK_NOTHING_HERE,
                STR_NULL);
}

static void api(struct server *s, struct web_exchange *exchange, const struct web_request *request,
                const struct caller *caller, struct str path)
{
    struct str method = caller->changes ? request->head->method : STR("GET");
    struct route route = {.answer = answer_api};
    int status = 404;

    if (str_equal(request->head->method, STR("GET")) && str_equal(path, STR("/events"))) {
        if (!events_add(s->events, exchange, caller))
            question_too_busy(exchange);
        return;
    }
    if (!caller->changes && str_equal(path, STR("/login/mastodon"))) {
        door_send_to_mastodon(&s->gate, exchange);
        return;
    }
    if (door_route(method, path, &route, &status)) {
        if (status != 0)
            no_such_route(exchange, status);
    } else {
        route.clerk = api_route(method, path, &route.right, &status);
        if (route.clerk == CLERKS)
            no_such_route(exchange, status);
        else
            status = 0;
    }
    if (status == 0)
        question_put(&s->gate, s->clerks, exchange, request, path, caller, &route);
}

/* ---- the page ---- */

static void page(struct web_exchange *exchange, struct str path)
{
    const struct asset *asset =
        asset_find(str_equal(path, STR("/")) ? STR("index.html") : str_slice(path, 1));

    if (asset == NULL) {
        web_problem(exchange, 404, PHRASE_ASK_NO_PAGE, STR_NULL);
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
    char *location = mem_printf("Location: %s/\r\n", s->gate.rules.prefix);
    const struct web_reply reply = {.status = 308, .fields = str_of(location)};

    web_reply(exchange, &reply);
    free(location);
}

/* What load balancers and monitors ask, under whatever name. */
static bool health(struct server *s, struct web_exchange *exchange, struct str path)
{
    if (str_equal(path, STR("/healthz")))
        reply_text(exchange, 200, "alive\n");
    else if (str_equal(path, STR("/readyz")))
        readyz(s, exchange);
    else
        return false;
    return true;
}

static void on_request(void *arg, struct web_exchange *exchange, const struct web_request *request)
{
    static const struct str base = {"/api/v1", sizeof("/api/v1") - 1};
    struct server *s = arg;
    struct str path = request->path;
    struct caller caller;
    int status;

    enum phrase why = gate_look(&s->gate, request, &caller, &status);
    if (!caller.changes && health(s, exchange, path))
        return;
    if (status != 0)
        web_problem(exchange, status, why, STR_NULL);
    else if (!caller.changes && str_equal(path, STR("/api/v1/openapi.json")))
        page(exchange, STR("/openapi.json"));
    else if (str_starts_with(path, base) && path.len > base.len && path.ptr[base.len] == '/')
        api(s, exchange, request, &caller, str_slice(path, base.len));
    else if (caller.changes)
        web_problem(exchange, 405, PHRASE_ASK_PAGE_METHOD, STR("Allow: GET, HEAD\r\n"));
    else if (str_equal(path, STR("/metrics")))
        metrics(s, exchange, &caller);
    else if (s->gate.rules.prefix[0] != '\0' && str_equal(path, str_of(s->gate.rules.prefix)))
        redirect_to_page(s, exchange);
    else
        page(exchange, path);
}

/* ---- the role ---- */

static bool start_clerks(struct server *s, struct err *err)
{
    for (int name = 0; name < CLERKS; name++) {
        s->clerks[name] = clerk_create(s->process.base, &s->process.config, (enum clerk_name)name,
                                       name >= CLERK_DOOR ? MAX_AT_DOOR : MAX_QUEUED, err);
        if (s->clerks[name] == NULL)
            return false;
    }
    return true;
}

static bool is_proxy(void *arg, const struct web_peer *peer)
{
    const struct server *s = arg;
    return visit_is_proxy(&s->gate.rules, peer);
}

static void on_start(void *arg)
{
    struct server *s = arg;
    const struct config *config = &s->process.config;
    struct web_options options = {.handler = on_request, .is_proxy = is_proxy, .arg = s};
    struct err err = {.message = "FEDPUSH_ADMIN_LISTEN is no address"};

    if (!listen_parse(&options.address, str_of(config->admin_listen)) || !start_clerks(s, &err)) {
        log_event(LOG_LEVEL_ERROR, "no page", LOG_TEXT("reason", err.message));
        role_exit(&s->process, FP_EXIT_CONFIG);
        return;
    }
    gate_init(&s->gate, config);
    options.prefix = str_of(s->gate.rules.prefix);
    s->events = events_create(s->process.base, &s->gate, s->clerks);
    s->metrics = metrics_page_create(s->process.base, s->clerks[CLERK_STATE],
                                     s->clerks[CLERK_RECORDS], getppid());
    s->alerter = alerter_create(s->process.base, config, s->clerks);
    s->web = web_create(s->process.base, &options);
    log_event(LOG_LEVEL_INFO, "the page is there", LOG_TEXT("listen", config->admin_listen),
              LOG_TEXT("login", gate_ways_in(&s->gate)));
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

    curl_global_init(CURL_GLOBAL_DEFAULT); /* before there are threads */
    int exit_code = role_run(&server.process, ROLE_ADMIN, 0, &handlers, &server);
    web_destroy(server.web);
    /* A clerk may be waiting for an answer, and nothing that it holds is worth waiting for it. */
    _exit(exit_code);
}
