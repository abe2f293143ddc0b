#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "admin/domain.h"
#include "admin/domain_ask.h"
#include "admin/figures.h"
#include "admin/waiting.h"
#include "admin/words.h"
#include "base/escape.h"
#include "base/proxy.h"
#include "base/url.h"

/* --- list --- */

static int by_name(const void *a, const void *b)
{
    return strcmp((*(const struct policy_entry *const *)a)->name,
                  (*(const struct policy_entry *const *)b)->name);
}

static json_t *json_of(const struct policy_entry *entry, const struct policy *p)
{
    static const char *const schemes[] = {"auto", "cavage", "rfc9421"};

    return json_pack("{s:s, s:b, s:I, s:I, s:i, s:i, s:s, s:s, s:s, s:I}", "name", entry->name,
                     "paused", (int)p->paused, "paused_until", (json_int_t)p->paused_until_s,
                     "drop_before", (json_int_t)p->drop_s, "window", (int)p->window, "rate",
                     (int)p->rate, "proxy", p->proxy, "http", p->http2 ? "2" : "1.1", "signature",
                     schemes[p->scheme], "limits_until", (json_int_t)p->limits_until_s);
}

static void print_entry(const struct policy_entry *entry, const struct policy *now, int64_t now_s)
{
    struct buf words;

    buf_init(&words, 1024);
    orders_put_words(&words, now, now_s);
    words_print(stdout, "%-34s %s", strcmp(entry->name, "*") == 0 ? "(the fleet)" : entry->name,
                buf_cstr(&words));
    buf_clear(&words);
}

static void print_all(const struct orders *orders, bool as_json)
{
    size_t total = policy_book_count(orders->book);
    const struct policy_entry **sorted =
        mem_alloc((total + 1) * sizeof(const struct policy_entry *));
    json_t *list = json_array();
    size_t at = 0;
    size_t shown = 0;

    for (size_t i = 0; i < total; i++)
        sorted[i] = policy_book_each(orders->book, &at);
    qsort(sorted, total, sizeof(const struct policy_entry *), by_name);
    for (size_t i = 0; i < total; i++) {
        const struct policy now = policy_at(&sorted[i]->policy, orders->now_s);
        if (policy_is_empty(&now))
            continue;
        shown++;
        if (as_json)
            json_array_append_new(list, json_of(sorted[i], &now));
        else
            print_entry(sorted[i], &now, orders->now_s);
    }
    if (as_json) {
        words_print_json(list);
    } else if (shown == 0) {
        puts("no policy is in force");
    }
    if (orders->unknown > 0)
        words_print(stderr,
                    "fedpush: domain list: %zu policies are not understood: is there a newer "
                    "fedpush?",
                    orders->unknown);
    json_decref(list);
    free(sorted);
}

int domain_list(struct session *session, const struct domain_options *options)
{
    struct orders orders;
    struct err err;
    bool good = orders_open(&orders, session, &err);

    if (good)
        print_all(&orders, options->json);
    orders_close(&orders);
    return good ? FP_EXIT_OK : session_fail(&err, FP_EXIT_UNAVAILABLE);
}

/* --- show --- */

struct show {
    struct session *session;
    struct str host;
    struct orders orders;
    struct policy policy; /* in force for the host */
    bool fleet_paused;
    bool unavailable;
    int64_t failed_days;
    struct waiting waiting;
    json_t *answers; /* of the machines */
    json_t *silent;  /* those that gave none */
};

static void line(const char *what, const char *text)
{
    words_print(stdout, "%-12s %s", what, text);
}

static void show_policy(struct show *s)
{
    const struct policy_entry *entry =
        policy_book_sum(s->orders.book, s->host, s->orders.now_s, &s->policy);
    const struct policy fleet = orders_get(&s->orders, POLICY_FLEET);
    struct buf words;

    s->fleet_paused = fleet.paused;
    buf_init(&words, 1024);
    if (entry != NULL) {
        orders_put_words(&words, &s->policy, s->orders.now_s);
        buf_printf(&words, " (%s)", entry->name);
    } else {
        buf_put_str(&words, STR("none: delivered to as any other"));
    }
    line("policy", buf_cstr(&words));
    if (s->policy.proxy[0] != '\0' &&
        proxy_name_place(str_of(s->session->config->proxy_names), str_of(s->policy.proxy)) == 0)
        line("", "FEDPUSH_PROXIES here lacks that proxy: machines that lack it deliver nothing");
    buf_clear(&words);
}

static void on_row(void *arg, PGresult *result)
{
    struct show *s = arg;
    s->unavailable = PQntuples(result) > 0;
}

static void on_days(void *arg, const redisReply *reply)
{
    struct show *s = arg;
    s->failed_days = reply->type == REDIS_REPLY_INTEGER ? reply->integer : 0;
}

static void show_availability(struct show *s)
{
    const struct str parameters[] = {s->host};
    const char *space = s->session->config->redis_namespace;
    char *key = mem_printf("%s%sexhausted_deliveries:%.*s", space, space[0] != '\0' ? ":" : "",
                           STR_ARG(s->host));
    const struct str words[] = {STR("SCARD"), str_of(key)};
    struct buf text;
    struct err err;
    struct postgres *postgres = session_postgres(s->session, POSTGRES_ROLE_MASTODON, &err);
    bool known =
        postgres != NULL &&
        session_query(s->session, postgres, "SELECT 1 FROM unavailable_domains WHERE domain = $1",
                      1, parameters, on_row, s, &err);

    buf_init(&text, 600);
    if (!known)
        buf_printf(&text, "not known: %.400s", err.message);
    else
        buf_put_str(&text, s->unavailable ? STR("marked unavailable in Mastodon: its jobs are done "
                                                "without a delivery")
                                          : STR("available"));
    struct redis *redis = session_redis(s->session, REDIS_ROLE_BASE, &err);
    if (redis != NULL && session_command(s->session, redis, 2, words, on_days, s, &err) &&
        s->failed_days > 0)
        buf_printf(&text, "; it failed on %lld %s (7: unavailable)", (long long)s->failed_days,
                   s->failed_days == 1 ? "day" : "days");
    line("Mastodon", buf_cstr(&text));
    buf_clear(&text);
    free(key);
}

static void on_health(void *arg, PGresult *result)
{
    (void)arg;
    for (int row = 0; row < PQntuples(result); row++) {
        struct buf text;
        buf_init(&text, 1024);
        escape_put(&text, str_of(PQgetvalue(result, row, 0)), ESCAPE_TERMINAL, 80);
        buf_printf(&text, ": %s delivered, %s failures in a row", PQgetvalue(result, row, 1),
                   PQgetvalue(result, row, 2));
        if (!PQgetisnull(result, row, 3)) {
            buf_put_str(&text, STR(", last tried "));
            words_put_age(&text, strtod(PQgetvalue(result, row, 3), NULL));
            buf_put_str(&text, STR(" ago"));
        }
        if (strcmp(PQgetvalue(result, row, 2), "0") != 0 && !PQgetisnull(result, row, 4)) {
            buf_put_str(&text, STR(": "));
            escape_put(&text, str_of(PQgetvalue(result, row, 4)), ESCAPE_TERMINAL, 100);
        }
        line("health", buf_cstr(&text));
        buf_clear(&text);
    }
    if (PQntuples(result) == 0)
        line("health", "never delivered to");
}

/* A host's ports are hosts of their own there. */
static void show_health(struct show *s)
{
    const struct str parameters[] = {s->host};
    struct err err;
    struct postgres *postgres = session_postgres(s->session, POSTGRES_ROLE_FEDPUSH, &err);

    if (postgres == NULL ||
        !session_query(s->session, postgres,
                       "SELECT host, delivered, consecutive_failures,"
                       " extract(epoch FROM now() - last_attempt_at)::bigint, last_error"
                       " FROM fedpush.domain_health WHERE host = $1 OR"
                       " left(host, length($1) + 1) = $1 || ':' ORDER BY host LIMIT 20",
                       1, parameters, on_health, s, &err))
        line("health", err.message);
}

static bool is_shown(void *arg, const struct url *inbox)
{
    const struct show *s = arg;
    return str_equal(inbox->host, s->host);
}

static const struct waiting_host *only_host(const struct show *s)
{
    return table_get(s->waiting.hosts, s->host);
}

static void show_next_due(const struct show *s)
{
    const struct waiting_host *host = only_host(s);
    struct buf text;

    if (host == NULL || host->next_due_s <= 0)
        return;
    buf_init(&text, 100);
    double wait_s = host->next_due_s - (double)s->orders.now_s;
    if (wait_s > 0) {
        buf_put_str(&text, STR("in "));
        words_put_age(&text, ceil(wait_s));
    } else {
        buf_put_str(&text, STR("now"));
    }
    line("next due", buf_cstr(&text));
    buf_clear(&text);
}

/* What the machines say counts where no order, and not Mastodon, holds all of it back. */
static const char *verdict_of(const struct show *s)
{
    if (json_object_size(s->answers) + json_object_size(s->silent) == 0)
        return "not sent: no fedpush is running: start one (systemctl start fedpush)";
    if (s->fleet_paused)
        return "not sent: the fleet is paused (fedpush resume)";
    if (s->policy.paused)
        return "not sent: paused (fedpush domain resume)";
    if (s->unavailable)
        return "not sent: unavailable in Mastodon, where delivery can be restarted";
    return "as the machines say:";
}

static void show_answer(const char *identity, struct str words)
{
    struct buf text;

    buf_init(&text, 1024);
    buf_printf(&text, "%.60s: ", identity);
    escape_put(&text, words, ESCAPE_TERMINAL, 400);
    line("machine", buf_cstr(&text));
    buf_clear(&text);
}

/* Machines are known by host name and process in their identity. */
static void show_answers(const struct show *s)
{
    const char *identity;
    json_t *words;
    json_t *age_s;

    json_object_foreach(s->answers, identity, words)
    {
        struct str rest = str_of(json_string_value(words));
        while (rest.len > 0) {
            size_t end = str_find(rest, '\n');
            show_answer(identity, (struct str){rest.ptr, end});
            rest = str_slice(rest, end + 1);
        }
    }
    json_object_foreach(s->silent, identity, age_s)
    {
        struct buf text;
        buf_init(&text, 400);
        phrase_put_text(&text, PHRASE_MACHINE_SILENT,
                        SAYS(SAY_NUMBER("age_s", json_number_value(age_s))));
        show_answer(identity, buf_str(&text));
        buf_clear(&text);
    }
}

int domain_show(struct session *session, const struct domain_options *options)
{
    struct show s = {.session = session};
    struct domain_hosts hosts;
    struct err err;
    int code = FP_EXIT_OK;

    if (!domain_hosts_init(&hosts, options->domain) || hosts.below_only) {
        domain_hosts_clear(&hosts);
        return words_unknown("domain", options->domain);
    }
    s.host = hosts.domain;
    s.waiting = (struct waiting){.session = session, .wanted = is_shown, .arg = &s};
    if (orders_open(&s.orders, session, &err) && waiting_look(&s.waiting, &err) &&
        (s.answers = domain_ask(session, s.host, &err)) != NULL &&
        (s.silent = domain_ask_silent(session, s.answers, &err)) != NULL) {
        show_policy(&s);
        show_availability(&s);
        show_health(&s);
        show_next_due(&s);
        line("deliveries", verdict_of(&s));
        show_answers(&s);
        waiting_print(&s.waiting);
    } else {
        code = session_fail(&err, FP_EXIT_UNAVAILABLE);
    }
    json_decref(s.silent);
    json_decref(s.answers);
    orders_close(&s.orders);
    waiting_clear(&s.waiting);
    domain_hosts_clear(&hosts);
    return code;
}

static int print_host(struct desk *desk, struct str host)
{
    enum { WAIT_MS = 3000 };
    struct err err;
    json_t *figures = figures_domain(desk, host, WAIT_MS, &err);
    json_t *waiting = figures != NULL ? figures_waiting(desk, host, NULL, NULL, &err) : NULL;
    int code = FP_EXIT_OK;

    if (waiting != NULL && json_object_set(figures, "waiting", waiting) == 0)
        words_print_json(figures);
    else
        code = session_fail(&err, FP_EXIT_UNAVAILABLE);
    json_decref(waiting);
    json_decref(figures);
    return code;
}

/* A port that is given counts: figures know hosts by it. */
int domain_show_json(struct desk *desk, const struct domain_options *options)
{
    const char *at = strrchr(options->domain, '@');
    char *text = mem_printf("https://%s/", at != NULL ? at + 1 : options->domain);
    struct url url;
    int code;

    if (url_parse(&url, str_of(text), NULL) != FP_OK) {
        code = words_unknown("domain", options->domain);
    } else {
        code = str_equal(url.target, STR("/")) ? print_host(desk, url.authority)
                                               : words_unknown("domain", options->domain);
        url_clear(&url);
    }
    free(text);
    return code;
}
