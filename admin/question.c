#include "admin/question.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "admin/attempts_store.h"
#include "admin/web_status.h"
#include "base/log.h"
#include "base/secret.h"

enum { ANSWER_MAX_BYTES = 32 * 1024 * 1024, FIELDS_MAX_BYTES = 8192, ETAG_BYTES = 16 };
/* Of one caller: who reads in a loop must not keep others waiting, least of all by scans, each of
 * which takes seconds. */
enum { MAX_AT_ONCE = 16, MAX_SCANS_AT_ONCE = 4 };

/* Copies of what was asked, and the answer as it is sent. */
struct question {
    struct entrance entrance; /* first; its errand is the answer's, too */
    LIST_ENTRY(question) link;
    struct web_exchange *exchange;
    struct route route;
    char *method, *path, *query, *body, *login_cookie, *content_type;
    struct answer answer;
    char etag[2 * ETAG_BYTES + 3];
    bool attempt;    /* it counts as one */
    bool counted;    /* by the fleet, which says wait_ms; else `problem` is why not */
    int64_t wait_ms; /* 0: go on */
    struct err problem;
};

static void question_free(struct question *question)
{
    LIST_REMOVE(question, link);
    free(question->method);
    free(question->path);
    free(question->query);
    secret_free(question->body); /* perhaps a password */
    free(question->login_cookie);
    free(question->content_type);
    buf_clear(&question->answer.text);
    buf_clear(&question->answer.fields);
    free(question);
}

void question_too_busy(struct web_exchange *exchange)
{
    web_problem(exchange, 503, PHRASE_ASK_TOO_MUCH, STR("Retry-After: 5\r\n"));
}

void answer_err(struct answer *answer, int status, const struct err *why)
{
    answer->reply = (struct api_reply){.status = status};
    buf_reset(&answer->text);
    web_problem_put(&answer->text, status, why);
}

void answer_problem(struct answer *answer, int status, enum phrase why)
{
    struct err err;

    err_say(&err, FP_INVALID, why, SAYS_NOTHING);
    answer_err(answer, status, &err);
}

/* ---- in the clerk's thread ---- */

static int append(const char *bytes, size_t len, void *arg)
{
    buf_put(arg, bytes, len);
    return 0;
}

static void make_etag(struct question *question)
{
    unsigned char hash[ETAG_BYTES];
    char hex[2 * ETAG_BYTES + 1];

    crypto_generichash(hash, sizeof(hash), (const unsigned char *)question->answer.text.ptr,
                       question->answer.text.len, NULL, 0);
    sodium_bin2hex(hex, sizeof(hex), hash, sizeof(hash));
    memcpy(question->etag + 1, hex, sizeof(hex) - 1);
    question->etag[0] = question->etag[sizeof(question->etag) - 2] = '"';
}

static void count(struct errand *errand, struct desk *desk)
{
    struct question *question = (struct question *)errand;
    const struct caller *caller = &question->entrance.caller;

    question->counted = attempts_store_begin(&desk->session, caller->family, caller->address,
                                             &question->wait_ms, &question->problem);
}

/* The text is made here, too: that of ten thousand domains takes a while. */
static void run(struct errand *errand, struct desk *desk)
{
    struct question *question = (struct question *)errand;
    struct answer *answer = &question->answer;
    const struct entrance *entrance = &question->entrance;
    const struct asked asked = {.request = {.method = str_of(question->method),
                                            .path = str_of(question->path),
                                            .query = str_of(question->query),
                                            .body = str_of(question->body),
                                            .who = entrance->entry.who},
                                .gate = entrance->gate,
                                .caller = &entrance->caller,
                                .entry = &entrance->entry,
                                .login_cookie = str_of(question->login_cookie),
                                .content_type = str_of(question->content_type)};

    question->route.answer(desk, &asked, answer);
    if (answer->reply.body != NULL)
        json_dump_callback(answer->reply.body, append, &answer->text, JSON_COMPACT);
    json_decref(answer->reply.body);
    answer->reply.body = NULL;
    if (answer->reply.status == 200 && !entrance->caller.changes && answer->text.len > 0)
        make_etag(question);
}

/* ---- on the loop ---- */

static void on_answered(struct errand *errand)
{
    struct question *question = (struct question *)errand;
    const struct answer *answer = &question->answer;
    const struct caller *caller = &question->entrance.caller;
    struct gate *gate = question->entrance.gate;
    int status = answer->reply.status;
    struct web_reply reply = {.status = status,
                              .content_type = answer->reply.content_type,
                              .body = buf_str(&answer->text),
                              .etag = str_of(question->etag),
                              .fields = buf_str(&answer->fields)};

    if (answer->signed_in)
        attempts_right(&gate->attempts, caller->family, caller->address,
                       clock_mono_ms(&gate->clock));
    if (reply.content_type.len == 0 && answer->text.len > 0)
        reply.content_type =
            status >= 400 ? STR("application/problem+json") : STR("application/json");
    if (answer->text.overflow)
        web_problem(question->exchange, 500, PHRASE_ASK_TOO_LONG, STR_NULL);
    else
        web_reply(question->exchange, &reply);
    question_free(question);
}

static void submit(struct question *question, enum clerk_name clerk, const struct errand *errand)
{
    question->entrance.errand = *errand;
    if (clerk_submit(question->entrance.clerks[clerk], &question->entrance.errand))
        return;
    question_too_busy(question->exchange);
    question_free(question);
}

static void have_answered(struct question *question)
{
    submit(question, question->route.clerk, &(struct errand){.run = run, .done = on_answered});
}

static void count_ourselves(struct question *question)
{
    const struct caller *caller = &question->entrance.caller;
    struct gate *gate = question->entrance.gate;

    question->wait_ms = attempts_begin(&gate->attempts, caller->family, caller->address,
                                       clock_mono_ms(&gate->clock));
    if (question->wait_ms == 0)
        log_event(LOG_LEVEL_WARN, "an attempt to sign in is counted by this machine alone",
                  LOG_TEXT("reason", question->problem.message));
}

static void on_counted(struct errand *errand)
{
    struct question *question = (struct question *)errand;

    if (!question->counted)
        count_ourselves(question);
    if (question->wait_ms == 0) {
        have_answered(question);
        return;
    }
    char *field =
        mem_printf("Retry-After: %lld\r\n", (long long)((question->wait_ms + 999) / 1000));
    web_problem(question->exchange, 429, PHRASE_GATE_ATTEMPTS, str_of(field));
    free(field);
    question_free(question);
}

static void on_entered(struct entrance *entrance)
{
    struct question *question = (struct question *)entrance;
    const struct entry *entry = &entrance->entry;

    if (entry->verdict != GATE_IN && !question->route.anonymous) {
        web_problem(question->exchange, entry->status, entry->why, STR_NULL);
        question_free(question);
        return;
    }
    if (question->attempt)
        submit(question, CLERK_STATE, &(struct errand){.run = count, .done = on_counted});
    else
        have_answered(question);
}

/* HEAD is answered as GET; what sends it leaves the body out. */
static struct str method_of(const struct web_request *request)
{
    bool head = str_equal(request->head->method, STR("HEAD"));
    return head ? STR("GET") : request->head->method;
}

/* An open page asks again and again, whether or not anybody looks. */
static bool asks_by_itself(const struct web_request *request)
{
    return web_head_field(request->head, STR("X-Fedpush-Poll")).ptr != NULL;
}

static bool is_same_caller(const struct caller *a, const struct caller *b)
{
    if (a->kind != b->kind)
        return false;
    if (a->kind != CALLER_NOBODY)
        return memcmp(a->hash, b->hash, sizeof(a->hash)) == 0;
    return a->family == b->family && memcmp(a->address, b->address, sizeof(a->address)) == 0;
}

static bool is_scan(const struct route *route)
{
    return route->clerk == CLERK_ERRANDS && route->right == API_READ;
}

static bool asks_too_much(const struct gate *gate, const struct caller *caller,
                          const struct route *route)
{
    const struct question *question;
    size_t all = 0;
    size_t scans = 0;

    LIST_FOREACH(question, &gate->questions, link)
    {
        if (!is_same_caller(&question->entrance.caller, caller))
            continue;
        all++;
        scans += is_scan(&question->route);
    }
    return all >= MAX_AT_ONCE || (is_scan(route) && scans >= MAX_SCANS_AT_ONCE);
}

/* False: it is answered. */
static bool may_ask(const struct gate *gate, struct web_exchange *exchange,
                    const struct caller *caller, const struct route *route)
{
    if (asks_too_much(gate, caller, route)) {
        question_too_busy(exchange);
        return false;
    }
    /* The gate has not looked where this comes from, as no browser adds a token by itself. */
    if (route->limited && caller->kind == CALLER_BEARER) {
        web_problem(exchange, 403, PHRASE_GATE_HAS_TOKEN, STR_NULL);
        return false;
    }
    return true;
}

/* Who comes back from Mastodon without having been sent there is none: any site can make a browser
 * do that, and would use up its owner's. */
static bool is_attempt(const struct caller *caller, const struct route *route, bool sent)
{
    return route->limited && (caller->changes || sent);
}

void question_put(struct gate *gate, struct clerk *const *clerks, struct web_exchange *exchange,
                  const struct web_request *request, struct str path, const struct caller *caller,
                  const struct route *route)
{
    struct str login_cookie = gate_cookie(request->head, "-login");

    if (!may_ask(gate, exchange, caller, route))
        return;
    struct question *question = mem_alloc(sizeof(*question));
    *question = (struct question){.entrance = {.gate = gate,
                                               .clerks = clerks,
                                               .caller = *caller,
                                               .wanted = route->right,
                                               .touch = !asks_by_itself(request),
                                               .done = on_entered},
                                  .exchange = exchange,
                                  .route = *route,
                                  .attempt = is_attempt(caller, route, login_cookie.len > 0),
                                  .method = str_dup(method_of(request)),
                                  .path = str_dup(path),
                                  .query = str_dup(request->query),
                                  .body = str_dup(request->body),
                                  .login_cookie = str_dup(login_cookie),
                                  .content_type =
                                      str_dup(web_head_field(request->head, STR("Content-Type")))};
    LIST_INSERT_HEAD(&gate->questions, question, link);
    buf_init(&question->answer.text, ANSWER_MAX_BYTES);
    buf_init(&question->answer.fields, FIELDS_MAX_BYTES);
    if (entrance_start(&question->entrance))
        return;
    question_too_busy(exchange);
    question_free(question);
}
