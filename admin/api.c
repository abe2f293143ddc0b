#include "admin/api.h"

#include <stdlib.h>
#include <string.h>

#include "admin/api_act.h"
#include "admin/api_input.h"
#include "admin/figures.h"
#include "admin/figures_trace.h"
#include "admin/web_status.h"
#include "base/hostname.h"
#include "base/url.h"

enum { MAX_NAME_BYTES = 300, DEFAULT_LIMIT = 100, AUDIT_LIMIT = 500 };

/* `name`: what stands for '*' in the path, hosts in lower case. NULL: err says why. */
typedef json_t *api_fn(struct desk *desk, const struct api_request *request, struct str name,
                       struct err *err);

/* --- reading --- */

/* No parameter is known. */
static bool is_plain(const struct api_request *request, struct err *err)
{
    struct api_query query;
    bool good = api_query_parse(&query, request->query, NULL, 0, err);

    api_query_clear(&query);
    return good;
}

static json_t *get_overview(struct desk *desk, const struct api_request *request, struct str name,
                            struct err *err)
{
    (void)name;
    return is_plain(request, err) ? figures_overview(desk, err) : NULL;
}

static json_t *get_machines(struct desk *desk, const struct api_request *request, struct str name,
                            struct err *err)
{
    (void)name;
    return is_plain(request, err) ? figures_machines(desk, err) : NULL;
}

static json_t *get_series(struct desk *desk, const struct api_request *request, struct str name,
                          struct err *err)
{
    static const char *const names[] = {"span", "host"};
    struct api_query query;
    struct buf host;
    json_t *answer = NULL;

    (void)name;
    buf_init(&host, MAX_NAME_BYTES);
    if (api_query_parse(&query, request->query, names, 2, err)) {
        hostname_put_lower(&host, api_query_text(&query, 1));
        answer = figures_series(desk, api_query_text(&query, 0), buf_str(&host), err);
    }
    buf_clear(&host);
    api_query_clear(&query);
    return answer;
}

static json_t *get_domains(struct desk *desk, const struct api_request *request, struct str name,
                           struct err *err)
{
    static const char *const names[] = {"search", "state", "sort", "order", "limit", "offset"};
    struct figures_filter filter = {.limit = DEFAULT_LIMIT};
    struct api_query query;
    json_t *answer = NULL;

    (void)name;
    if (api_query_parse(&query, request->query, names, 6, err) &&
        api_query_number(&query, 4, 1, FIGURES_MAX_LIMIT, &filter.limit, err) &&
        api_query_number(&query, 5, 0, INT32_MAX, &filter.offset, err)) {
        filter.search = api_query_text(&query, 0);
        filter.state = api_query_text(&query, 1);
        filter.sort = api_query_text(&query, 2);
        filter.order = api_query_text(&query, 3);
        answer = figures_domains(desk, &filter, err);
    }
    api_query_clear(&query);
    return answer;
}

static json_t *get_domain(struct desk *desk, const struct api_request *request, struct str name,
                          struct err *err)
{
    return is_plain(request, err) ? figures_domain(desk, name, 0, err) : NULL;
}

static json_t *get_waiting(struct desk *desk, const struct api_request *request, struct str name,
                           struct err *err)
{
    return is_plain(request, err) ? figures_waiting(desk, name, NULL, NULL, err) : NULL;
}

/* Of one domain, in any form, and all below it; empty: of all. */
static json_t *jobs_of(struct desk *desk, struct str domain, struct err *err)
{
    char *text = mem_printf("https://%.*s/", STR_ARG(domain));
    struct url url;
    json_t *answer = NULL;

    if (domain.len == 0) {
        answer = figures_jobs(desk, NULL, NULL, err);
    } else if (url_parse(&url, str_of(text), NULL) != FP_OK) {
        err_say(err, FP_INVALID, PHRASE_ASK_HOST, SAYS_NOTHING);
    } else {
        const struct figures_jobs_filter filter = {.host = url.host};
        if (str_equal(url.target, STR("/")))
            answer = figures_jobs_of(desk, &filter, NULL, NULL, err);
        else
            err_say(err, FP_INVALID, PHRASE_ASK_HOST, SAYS_NOTHING);
        url_clear(&url);
    }
    free(text);
    return answer;
}

static json_t *get_jobs(struct desk *desk, const struct api_request *request, struct str name,
                        struct err *err)
{
    static const char *const names[] = {"domain"};
    struct api_query query;
    json_t *answer = NULL;

    (void)name;
    if (api_query_parse(&query, request->query, names, 1, err))
        answer = jobs_of(desk, api_query_text(&query, 0), err);
    api_query_clear(&query);
    return answer;
}

static json_t *get_audit(struct desk *desk, const struct api_request *request, struct str name,
                         struct err *err)
{
    static const char *const names[] = {"limit", "before"};
    int64_t limit = DEFAULT_LIMIT;
    int64_t before_us = 0;
    struct api_query query;
    json_t *answer = NULL;

    (void)name;
    if (api_query_parse(&query, request->query, names, 2, err) &&
        api_query_number(&query, 0, 1, AUDIT_LIMIT, &limit, err) &&
        api_query_number(&query, 1, 0, INT64_MAX / 2, &before_us, err))
        answer = figures_audit(desk, limit, before_us, err);
    api_query_clear(&query);
    return answer;
}

static json_t *get_trace(struct desk *desk, const struct api_request *request, struct str name,
                         struct err *err)
{
    static const char *const names[] = {"activity"};
    struct api_query query;
    json_t *answer = NULL;

    (void)name;
    if (api_query_parse(&query, request->query, names, 1, err))
        answer = figures_trace(&desk->session, api_query_text(&query, 0), NULL, NULL, NULL, err);
    api_query_clear(&query);
    return answer;
}

/* --- routes --- */

static const struct api_path {
    const char *method;
    const char *path; /* '*': one segment */
    enum clerk_name clerk;
    enum api_right right;
    api_fn *fn;
} routes[] = {
    {"GET", "/overview", CLERK_STATE, API_READ, get_overview},
    {"GET", "/machines", CLERK_STATE, API_READ, get_machines},
    {"GET", "/series", CLERK_RECORDS, API_READ, get_series},
    {"GET", "/domains", CLERK_RECORDS, API_READ, get_domains},
    {"GET", "/domains/*", CLERK_RECORDS, API_READ, get_domain},
    {"GET", "/domains/*/waiting", CLERK_ERRANDS, API_READ, get_waiting},
    {"GET", "/jobs", CLERK_ERRANDS, API_READ, get_jobs},
    {"GET", "/trace", CLERK_ERRANDS, API_READ, get_trace},
    {"GET", "/audit", CLERK_RECORDS, API_READ, get_audit},
    {"POST", "/domains/*/pause", CLERK_ORDERS, API_ACT, api_pause_domain},
    {"POST", "/domains/*/resume", CLERK_REMOVALS, API_ACT, api_resume_domain},
    {"POST", "/domains/*/limit", CLERK_ORDERS, API_ACT, api_limit_domain},
    {"POST", "/domains/*/try", CLERK_ORDERS, API_ACT, api_try_domain},
    {"POST", "/domains/*/drop", CLERK_REMOVALS, API_ACT, api_drop_domain},
    {"POST", "/pause", CLERK_STATE, API_ACT, api_pause},
    {"POST", "/resume", CLERK_STATE, API_ACT, api_resume},
    {"POST", "/machines/*/drain", CLERK_STATE, API_ACT, api_drain},
};

static bool path_is(const char *pattern, struct str path, struct str *name)
{
    struct str rest = str_of(pattern);
    size_t star = str_find(rest, '*');

    *name = STR_NULL;
    if (star == rest.len)
        return str_equal(rest, path);
    if (!str_starts_with(path, (struct str){rest.ptr, star}))
        return false;
    path = str_slice(path, star);
    *name = (struct str){path.ptr, str_find(path, '/')};
    return name->len > 0 && name->len <= MAX_NAME_BYTES &&
           str_equal(str_slice(path, name->len), str_slice(rest, star + 1));
}

/* NULL: *status says whether the path or only the method is wrong. */
static const struct api_path *find(struct str method, struct str path, struct str *name,
                                   int *status)
{
    *status = 404;
    for (size_t i = 0; i < sizeof(routes) / sizeof(routes[0]); i++) {
        if (!path_is(routes[i].path, path, name))
            continue;
        if (str_equal(method, str_of(routes[i].method)))
            return &routes[i];
        *status = 405;
    }
    return NULL;
}

enum clerk_name api_route(struct str method, struct str path, enum api_right *right, int *status)
{
    struct str name;
    const struct api_path *route = find(method, path, &name, status);

    *right = route != NULL ? route->right : API_READ;
    return route != NULL ? route->clerk : CLERKS;
}

/* --- answers --- */

static int status_of(enum fp_err code, const struct api_path *route)
{
    switch (code) {
    case FP_INVALID:
        return route->right == API_ACT ? 422 : 400;
    case FP_TOO_LARGE:
        return 409;
    case FP_UNAVAILABLE:
    case FP_DENIED:
        return 503;
    case FP_OK:
    case FP_SYSTEM:
        break;
    }
    return 500;
}

static void put_problem(struct api_reply *reply, int status, const struct err *why)
{
    *reply = (struct api_reply){.status = status,
                                .body = web_problem_json(status, why),
                                .content_type = STR("application/problem+json")};
}

/* Identities keep their capitals; a host has none. */
static void put_name(struct buf *out, const struct api_path *route, struct str name)
{
    if (strncmp(route->path, "/domains", strlen("/domains")) == 0)
        hostname_put_lower(out, name);
    else
        buf_put_str(out, name);
}

void api_answer(struct desk *desk, const struct api_request *request, struct api_reply *reply)
{
    struct err err;
    struct str name;
    struct buf text;
    int status;
    const struct api_path *route = find(request->method, request->path, &name, &status);

    *reply = (struct api_reply){.status = 200};
    if (route == NULL) {
        err_say(&err, FP_INVALID, PHRASE_ASK_NOTHING_HERE, SAYS_NOTHING);
        put_problem(reply, status, &err);
        return;
    }
    buf_init(&text, MAX_NAME_BYTES + 1);
    put_name(&text, route, name);
    const char *words = buf_cstr(&text);
    err_say(&err, FP_SYSTEM, PHRASE_ASK_FAILED, SAYS_NOTHING);
    reply->body = route->fn(desk, request, str_of(words), &err);
    if (reply->body == NULL)
        put_problem(reply, status_of(err.code, route), &err);
    buf_clear(&text);
}
