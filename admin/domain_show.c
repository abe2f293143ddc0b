#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "admin/domain.h"
#include "admin/domain_ask.h"
#include "admin/next_due.h"
#include "admin/verdict.h"
#include "admin/words.h"
#include "base/escape.h"
#include "base/proxy.h"
#include "base/url.h"

enum { MAX_ASKED = 8 }; /* hosts of one domain that the machines are asked about */

struct show {
    struct session *session;
    struct domain_hosts hosts;
    struct orders orders;
    struct waiting waiting;
    struct str asked[MAX_ASKED]; /* the domain first */
    size_t asked_count;
    struct policy policy; /* in force for the domain */
    bool unavailable;
    int64_t failed_days;
    json_t *answers;    /* a list: of the machines, about each that is asked about */
    json_t *silent;     /* those that gave none */
    struct err ask_err; /* why they can't be asked */
};

static void line(const char *what, const char *text)
{
    words_print(stdout, "%-12s %s", what, text);
}

/* --- what is looked at --- */

static bool is_shown(void *arg, const struct url *inbox)
{
    const struct show *s = arg;
    return domain_hosts_mean(&s->hosts, inbox->host);
}

static void add_asked(struct show *s, struct str host)
{
    for (size_t i = 0; i < s->asked_count; i++) {
        if (str_equal(s->asked[i], host))
            return;
    }
    if (s->asked_count < MAX_ASKED && !str_starts_with(host, STR("*.")))
        s->asked[s->asked_count++] = host;
}

/* The hosts that Mastodon has inboxes of it on, and those that something waits for. */
static void find_asked(struct show *s)
{
    const struct waiting_host *host;
    size_t at = 0;

    add_asked(s, s->hosts.domain);
    for (size_t i = 0; i < s->hosts.count; i++)
        add_asked(s, str_of(s->hosts.names[i]));
    while ((host = table_next(s->waiting.hosts, &at)) != NULL)
        add_asked(s, str_of(host->host));
}

/* What is known without them is shown all the same. */
static bool ask_machines(struct show *s, struct err *err)
{
    const json_t *first;

    s->answers = domain_ask_all(s->session, s->asked_count, s->asked, &s->ask_err);
    first = json_array_get(s->answers, 0);
    json_t *none = json_object();
    s->silent = domain_ask_silent(s->session, first != NULL ? first : none, err);
    json_decref(none);
    return s->silent != NULL;
}

static bool look(struct show *s, struct err *err)
{
    domain_hosts_ask(&s->hosts, s->session);
    if (!orders_open(&s->orders, s->session, err) || !waiting_look(&s->waiting, err))
        return false;
    find_asked(s);
    return ask_machines(s, err);
}

/* --- what is shown --- */

static void show_hosts(const struct show *s)
{
    struct buf text;

    buf_init(&text, 4096);
    for (size_t i = 1; i < s->asked_count; i++) {
        if (!policy_name_is_below(s->asked[i], s->hosts.domain))
            buf_printf(&text, "%s%.*s", text.len > 0 ? ", " : "", STR_ARG(s->asked[i]));
    }
    if (text.len > 0)
        line("inboxes", buf_cstr(&text));
    if (s->hosts.problem.code != FP_OK) {
        buf_reset(&text);
        buf_printf(&text, "those on hosts that only Mastodon's table knows are left out: %.400s",
                   s->hosts.problem.message);
        line("inboxes", buf_cstr(&text));
    }
    buf_clear(&text);
}

static void put_policy(struct buf *words, const struct show *s, const struct policy_entry *entry,
                       const struct policy *policy)
{
    if (entry == NULL) {
        buf_put_str(words, STR("none: delivered to as any other"));
        return;
    }
    orders_put_words(words, policy, s->orders.now_s);
    buf_printf(words, " (%s)", entry->name);
}

/* Of the other hosts only those that another order decides about. */
static void show_policies(struct show *s)
{
    const struct policy_entry *own =
        policy_book_sum(s->orders.book, s->hosts.domain, s->orders.now_s, &s->policy);
    struct buf words;

    buf_init(&words, 2048);
    put_policy(&words, s, own, &s->policy);
    line("policy", buf_cstr(&words));
    for (size_t i = 1; i < s->asked_count; i++) {
        struct policy policy;
        const struct policy_entry *entry =
            policy_book_sum(s->orders.book, s->asked[i], s->orders.now_s, &policy);
        bool of_own = own != NULL && entry != NULL &&
                      str_starts_with(str_of(entry->name), STR("*.")) &&
                      str_equal(str_slice(str_of(entry->name), 2), str_of(own->name));
        if (entry == own || of_own)
            continue;
        buf_reset(&words);
        buf_printf(&words, "%.*s: ", STR_ARG(s->asked[i]));
        put_policy(&words, s, entry, &policy);
        line("", buf_cstr(&words));
    }
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
    const struct str parameters[] = {s->hosts.domain};
    const char *space = s->session->config->redis_namespace;
    char *key = mem_printf("%s%sexhausted_deliveries:%.*s", space, space[0] != '\0' ? ":" : "",
                           STR_ARG(s->hosts.domain));
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

/* An answer may have no words. */
static void put_last_error(struct buf *text, const PGresult *result, int row)
{
    if (!PQgetisnull(result, row, 4) && PQgetvalue(result, row, 4)[0] != '\0') {
        buf_put_str(text, STR(": "));
        escape_put(text, str_of(PQgetvalue(result, row, 4)), ESCAPE_TERMINAL, 100);
    } else if (!PQgetisnull(result, row, 5)) {
        buf_printf(text, ": it answered %s", PQgetvalue(result, row, 5));
    }
}

static void on_health(void *arg, PGresult *result)
{
    int *rows = arg;

    *rows += PQntuples(result);
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
        if (strcmp(PQgetvalue(result, row, 2), "0") != 0)
            put_last_error(&text, result, row);
        line("health", buf_cstr(&text));
        buf_clear(&text);
    }
}

/* A host's ports are hosts of their own there. */
static void show_health(const struct show *s)
{
    struct err err;
    struct postgres *postgres = session_postgres(s->session, POSTGRES_ROLE_FEDPUSH, &err);
    bool good = postgres != NULL;
    int rows = 0;

    for (size_t i = 0; good && i < s->asked_count; i++)
        good = session_query(
            s->session, postgres,
            "SELECT host, delivered, consecutive_failures,"
            " extract(epoch FROM now() - last_attempt_at)::bigint, last_error, last_status"
            " FROM fedpush.domain_health WHERE host = $1 OR"
            " left(host, length($1) + 1) = $1 || ':' ORDER BY host LIMIT 20",
            1, &s->asked[i], on_health, &rows, &err);
    if (!good)
        line("health", err.message);
    else if (rows == 0)
        line("health", "never delivered to");
}

static void show_next_due(const struct show *s)
{
    struct next_due next;
    struct buf text;
    struct err err;

    if (!next_due_find(&next, &s->waiting, &s->orders, &err)) {
        line("next due", err.message);
        return;
    }
    buf_init(&text, 1024);
    double wait_s = next.at_s - (double)s->orders.now_s;
    if (wait_s > 0) {
        buf_put_str(&text, STR("in "));
        words_put_age(&text, ceil(wait_s));
    } else if (next.at_s > 0) {
        buf_put_str(&text, STR("now"));
    }
    if (next.why != PHRASE_NONE)
        buf_printf(&text, "%s%s", text.len > 0 ? ": " : "", phrase_english(next.why));
    if (text.len > 0)
        line("next due", buf_cstr(&text));
    if (next.error != NULL) {
        buf_reset(&text);
        escape_put(&text, str_of(next.error), ESCAPE_TERMINAL, 200);
        line("last error", buf_cstr(&text));
    }
    buf_clear(&text);
}

/* --- what the machines say --- */

static void show_answer(const char *identity, struct str words)
{
    struct buf text;

    buf_init(&text, 1024);
    buf_printf(&text, "%.60s: ", identity);
    escape_put(&text, words, ESCAPE_TERMINAL, 400);
    line("machine", buf_cstr(&text));
    buf_clear(&text);
}

static void show_said(const char *identity, enum phrase phrase, struct says says)
{
    struct buf text;

    buf_init(&text, 400);
    phrase_put_text(&text, phrase, says);
    show_answer(identity, buf_str(&text));
    buf_clear(&text);
}

/* Each line once, whichever host it is an answer about; that there is nothing of one says nothing
 * of the others. */
static void show_lines(const struct show *s, const char *identity)
{
    json_t *told = json_object();

    for (size_t i = 0; i < s->asked_count; i++) {
        const json_t *of_host = json_array_get(s->answers, i);
        struct str rest = str_of(json_string_value(json_object_get(of_host, identity)));
        while (rest.len > 0) {
            struct str words = {rest.ptr, str_find(rest, '\n')};
            char *key = str_dup(words);
            rest = str_slice(rest, words.len + 1);
            if (!str_equal(words, str_of(phrase_english(PHRASE_LANE_NONE))) &&
                json_object_get(told, key) == NULL) {
                json_object_set_new(told, key, json_true());
                show_answer(identity, words);
            }
            free(key);
        }
    }
    if (json_object_size(told) == 0)
        show_said(identity, PHRASE_LANE_NONE, SAYS_NOTHING);
    json_decref(told);
}

/* Machines are known by host name and process in their identity. */
static void show_answers(const struct show *s)
{
    const json_t *first = json_array_get(s->answers, 0);
    const char *identity;
    json_t *words;
    json_t *age_s;

    if (s->answers == NULL)
        line("machines", s->ask_err.message);
    json_object_foreach(json_array_get(s->answers, 0), identity, words) show_lines(s, identity);
    json_object_foreach(s->silent, identity, age_s)
    {
        if (first != NULL)
            show_said(identity, PHRASE_MACHINE_SILENT,
                      SAYS(SAY_NUMBER("age_s", json_number_value(age_s))));
    }
}

/* Who died is asked nothing, and still has its jobs in its hands until others have taken them. */
static void show_dead_holders(const struct show *s)
{
    const struct waiting_holder *holder;
    size_t at = 0;

    while ((holder = table_next(s->waiting.holders, &at)) != NULL) {
        if (json_object_get(json_array_get(s->answers, 0), holder->identity) == NULL &&
            json_object_get(s->silent, holder->identity) == NULL)
            show_said(holder->identity, PHRASE_MACHINE_DEAD,
                      SAYS(SAY_NUMBER("jobs", holder->jobs)));
    }
}

static void show_all(struct show *s)
{
    size_t live = json_object_size(json_array_get(s->answers, 0)) + json_object_size(s->silent);

    show_hosts(s);
    show_policies(s);
    show_availability(s);
    show_health(s);
    show_next_due(s);
    line("deliveries",
         phrase_english(verdict_of(&s->orders, s->hosts.domain, s->unavailable, live > 0)));
    show_answers(s);
    show_dead_holders(s);
    waiting_print(&s->waiting);
}

int domain_show(struct session *session, const struct domain_options *options)
{
    struct show s = {.session = session};
    struct err err;
    int code = FP_EXIT_OK;

    if (!domain_hosts_init(&s.hosts, options->domain) || s.hosts.below_only) {
        domain_hosts_clear(&s.hosts);
        return words_unknown("domain", options->domain);
    }
    s.waiting = (struct waiting){
        .session = session, .wanted = is_shown, .arg = &s, .with_dead = true, .with_handoff = true};
    if (look(&s, &err))
        show_all(&s);
    else
        code = session_fail(&err, FP_EXIT_UNAVAILABLE);
    json_decref(s.silent);
    json_decref(s.answers);
    orders_close(&s.orders);
    waiting_clear(&s.waiting);
    domain_hosts_clear(&s.hosts);
    return code;
}
