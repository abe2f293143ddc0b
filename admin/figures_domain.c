/* All that is known of one host. */
#include <stdlib.h>
#include <string.h>

#include "admin/domain_ask.h"
#include "admin/domain_table.h"
#include "admin/figures.h"
#include "admin/figures_audit.h"
#include "admin/figures_domains.h"
#include "admin/figures_value.h"
#include "admin/orders.h"
#include "admin/verdict.h"
#include "admin/words.h"
#include "sched/schemes.h"

enum { AUDIT_ITEMS = 20, SILENT_S = 10 /* two beats */ };

struct view {
    struct desk *desk;
    struct str host;
    int64_t wait_ms; /* for the machines */
    struct orders orders;
    bool unavailable;    /* in Mastodon */
    struct err *missing; /* why PostgreSQL's part is; NULL: without it there is no answer */
    json_t *root;
    double now_s;
};

/* --- PostgreSQL --- */

static const char inbox_sql[] =
    "SELECT inbox_url, delivered, retried, rejected, exhausted,"
    " total_ms / greatest(delivered + retried + rejected + exhausted, 1), last_status, last_error,"
    " extract(epoch FROM last_success_at), extract(epoch FROM failing_since), count(*) OVER ()"
    " FROM fedpush.inbox_health WHERE host = $1"
    " ORDER BY delivered + retried + rejected + exhausted DESC, inbox_url LIMIT 100";
static const char error_sql[] =
    "SELECT error, status, count, extract(epoch FROM first_at), extract(epoch FROM last_at)"
    " FROM fedpush.domain_error WHERE host = $1 ORDER BY last_at DESC LIMIT 50";

static void on_inboxes(void *arg, PGresult *result)
{
    json_t *root = arg;
    json_t *list = json_array();

    for (int row = 0; row < PQntuples(result); row++)
        json_array_append_new(list, json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}",
                                              "inbox", figures_pg_text(result, row, 0), "delivered",
                                              figures_pg_integer(result, row, 1), "retried",
                                              figures_pg_integer(result, row, 2), "rejected",
                                              figures_pg_integer(result, row, 3), "exhausted",
                                              figures_pg_integer(result, row, 4), "mean_ms",
                                              figures_pg_integer(result, row, 5), "last_status",
                                              figures_pg_integer(result, row, 6), "last_error",
                                              figures_pg_text(result, row, 7), "last_success_at",
                                              figures_pg_real(result, row, 8), "failing_since",
                                              figures_pg_real(result, row, 9)));
    json_object_set_new(root, "inboxes", list);
    json_object_set_new(root, "inboxes_total",
                        json_integer(PQntuples(result) > 0 ? figures_pg_number(result, 0, 10) : 0));
}

static void on_errors(void *arg, PGresult *result)
{
    json_t *root = arg;
    json_t *list = json_array();

    for (int row = 0; row < PQntuples(result); row++)
        json_array_append_new(list, json_pack("{s:o, s:o, s:o, s:o, s:o}", "error",
                                              figures_pg_text(result, row, 0), "status",
                                              figures_pg_integer(result, row, 1), "count",
                                              figures_pg_integer(result, row, 2), "first_at",
                                              figures_pg_real(result, row, 3), "last_at",
                                              figures_pg_real(result, row, 4)));
    json_object_set_new(root, "errors", list);
}

static bool query_records(const struct view *view, struct err *err)
{
    struct postgres *postgres = desk_postgres(view->desk, POSTGRES_ROLE_FEDPUSH, err);
    const struct str parameters[] = {view->host};
    struct session *session = &view->desk->session;
    struct str name = domain_table_name(view->host);

    if (postgres == NULL ||
        !session_query(session, postgres, inbox_sql, 1, parameters, on_inboxes, view->root, err) ||
        !session_query(session, postgres, error_sql, 1, parameters, on_errors, view->root, err))
        return false;
    json_t *audit = figures_audit_items(view->desk, name, AUDIT_ITEMS, 0, err);
    return audit != NULL && json_object_set_new(view->root, "audit", audit) == 0;
}

static bool read_records(const struct view *view, struct err *err)
{
    static const char *const members[] = {"inboxes", "inboxes_total", "errors", "audit"};

    for (size_t i = 0; i < sizeof(members) / sizeof(members[0]); i++)
        json_object_set_new(view->root, members[i], json_null());
    if (view->missing == NULL)
        return query_records(view, err);
    if (view->missing->code == FP_OK && !query_records(view, err))
        *view->missing = *err;
    return true;
}

/* --- Redis --- */

static struct str word_of(struct str *rest)
{
    size_t space = str_find(*rest, ' ');
    struct str word = {rest->ptr, space};

    *rest = str_slice(*rest, space + 1);
    return word;
}

/* "open OPENED_MS PROBE_MS BACKOFF_MS" (sched/keys.h). */
static void on_circuit(void *arg, const redisReply *reply)
{
    const struct view *view = arg;
    struct str rest = figures_reply_text(reply);
    int64_t opened_ms;
    int64_t probe_ms;
    int64_t backoff_ms;

    if (!str_equal(word_of(&rest), STR("open")) ||
        !str_to_i64(word_of(&rest), 0, INT64_MAX, &opened_ms) ||
        !str_to_i64(word_of(&rest), 0, INT64_MAX, &probe_ms) ||
        !str_to_i64(rest, 0, INT64_MAX, &backoff_ms))
        return;
    json_object_set_new(view->root, "circuit",
                        json_pack("{s:f, s:f, s:f}", "opened_at", (double)opened_ms / 1000,
                                  "probe_at", (double)probe_ms / 1000, "backoff_s",
                                  (double)backoff_ms / 1000));
}

struct scheme {
    double learnt_s; /* 0: it isn't there */
};

static void on_score(void *arg, const redisReply *reply)
{
    struct scheme *scheme = arg;
    scheme->learnt_s = strtod(reply->type == REDIS_REPLY_STRING ? reply->str : "0", NULL);
}

/* The one that was learnt last and isn't forgotten by now. */
static bool read_scheme(const struct view *view, struct redis *redis, struct err *err)
{
    static const struct {
        const char *name;
        double kept_s;
    } names[] = {
        {"rfc9421", SCHEMES_ACCEPTED_S}, {"cavage", SCHEMES_ACCEPTED_S}, {"vain", SCHEMES_VAIN_S}};
    struct session *session = &view->desk->session;
    double latest_s = 0;
    bool good = true;

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]) && good; i++) {
        char *member = mem_printf("%s https://%.*s", names[i].name, STR_ARG(view->host));
        const struct str words[] = {STR("ZSCORE"), str_of(session->keys.schemes), str_of(member)};
        struct scheme scheme = {0};
        good = session_command(session, redis, 3, words, on_score, &scheme, err);
        if (scheme.learnt_s > latest_s && view->now_s - scheme.learnt_s < names[i].kept_s) {
            latest_s = scheme.learnt_s;
            json_object_set_new(view->root, "scheme", json_string(names[i].name));
        }
        free(member);
    }
    return good;
}

static bool read_redis(struct view *view, struct err *err)
{
    struct session *session = &view->desk->session;
    struct redis *redis = session_redis(session, REDIS_ROLE_SIDEKIQ, err);
    const struct str circuit[] = {STR("HGET"), str_of(session->keys.circuit), view->host};

    return redis != NULL && session_command(session, redis, 3, circuit, on_circuit, view, err) &&
           read_scheme(view, redis, err);
}

static bool is_missing(const struct view *view)
{
    return view->missing != NULL && view->missing->code != FP_OK;
}

/* Mastodon's failure tracker may have a Redis of its own, and may be away. */
static void on_days(void *arg, const redisReply *reply)
{
    int64_t *days = arg;
    *days = reply->type == REDIS_REPLY_INTEGER ? reply->integer : -1;
}

static void set_mastodon(const struct view *view)
{
    struct session *session = &view->desk->session;
    const char *space = session->config->redis_namespace;
    char *key = mem_printf("%s%sexhausted_deliveries:%.*s", space, space[0] != '\0' ? ":" : "",
                           STR_ARG(domain_table_name(view->host)));
    const struct str words[] = {STR("SCARD"), str_of(key)};
    int64_t days = -1;
    struct err err;
    struct redis *redis = session_redis(session, REDIS_ROLE_BASE, &err);

    if (redis != NULL)
        (void)!session_command(session, redis, 2, words, on_days, &days, &err);
    json_object_set_new(view->root, "mastodon",
                        json_pack("{s:o, s:o}", "unavailable",
                                  is_missing(view) ? json_null() : json_boolean(view->unavailable),
                                  "failing_days", figures_count_or_null(days)));
    free(key);
}

/* --- orders, and what the machines say --- */

static void set_policy(const struct view *view)
{
    static const char *const schemes[] = {"auto", "cavage", "rfc9421"};
    const struct orders *orders = &view->orders;
    struct policy policy;
    const struct policy_entry *entry =
        policy_book_sum(orders->book, domain_table_name(view->host), orders->now_s, &policy);
    const struct policy fleet = orders_get(orders, POLICY_FLEET);

    json_object_set_new(view->root, "fleet_paused", json_boolean(fleet.paused));
    json_object_set_new(view->root, "policy_detail", json_null());
    figures_set_policy(view->root, &policy, orders->now_s);
    if (entry == NULL)
        return;
    json_object_set_new(
        view->root, "policy_detail",
        json_pack("{s:o, s:b, s:o, s:o, s:o, s:o, s:i, s:i, s:o, s:s, s:s, s:b}", "name",
                  figures_text(str_of(entry->name)), "paused", (int)policy.paused, "paused_for",
                  figures_paused_for(&policy), "until", figures_time((double)policy.paused_until_s),
                  "limits_until", figures_time((double)policy.limits_until_s), "drop_before",
                  figures_time((double)policy.drop_s), "window", (int)policy.window, "rate",
                  (int)policy.rate, "proxy",
                  policy.proxy[0] != '\0' ? figures_text(str_of(policy.proxy)) : json_null(),
                  "http", policy.http2 ? "2" : "1.1", "signature", schemes[policy.scheme], "exempt",
                  (int)policy.exempt));
}

/* One sentence of a machine: its words, and beside them code and values. */
static void add_sentence(json_t *list, const char *identity, const json_t *sentence)
{
    const char *text = json_string_value(json_object_get(sentence, "text"));

    if (text != NULL)
        json_array_append_new(list, json_pack("{s:o, s:o, s:O*, s:O*}", "machine",
                                              figures_text(str_of(identity)), "text",
                                              figures_text(str_of(text)), "code",
                                              json_object_get(sentence, "code"), "params",
                                              json_object_get(sentence, "params")));
}

/* Of an older machine: words alone. */
static void add_words(json_t *list, const char *identity, struct str rest)
{
    while (rest.len > 0) {
        size_t end = str_find(rest, '\n');
        json_array_append_new(list,
                              json_pack("{s:o, s:o}", "machine", figures_text(str_of(identity)),
                                        "text", figures_text((struct str){rest.ptr, end})));
        rest = str_slice(rest, end + 1);
    }
}

static void add_silence(json_t *list, const char *identity, double age_s)
{
    struct said said;

    said_init(&said, 1024);
    said_add(&said, "", PHRASE_MACHINE_SILENT, SAYS(SAY_NUMBER("age_s", age_s)));
    json_t *sentences = words_json_said(&said);
    add_sentence(list, identity, json_array_get(sentences, 0));
    json_decref(sentences);
    said_clear(&said);
}

static void add_answers(json_t *list, json_t *answers, const json_t *said)
{
    const char *identity;
    json_t *words;

    json_object_foreach(answers, identity, words)
    {
        const json_t *sentences = json_object_get(said, identity);
        for (size_t i = 0; i < json_array_size(sentences); i++)
            add_sentence(list, identity, json_array_get(sentences, i));
        if (json_array_size(sentences) == 0)
            add_words(list, identity, str_of(json_string_value(words)));
    }
}

static void set_verdict(const struct view *view, bool live)
{
    struct said said;
    enum phrase verdict =
        verdict_of(&view->orders, domain_table_name(view->host), view->unavailable, live);

    said_init(&said, PHRASE_TEXT_BYTES);
    said_add(&said, "", verdict, SAYS_NOTHING);
    json_t *sentences = words_json_said(&said);
    json_object_set(view->root, "verdict", json_array_get(sentences, 0));
    json_decref(sentences);
    said_clear(&said);
}

static bool set_words(const struct view *view, json_t *answers, struct err *err)
{
    json_t *said = domain_ask_said(&view->desk->session, domain_table_name(view->host), err);
    json_t *list = json_array();
    json_t *silent = domain_ask_silent(&view->desk->session, answers, err);
    const char *identity;
    json_t *age_s;

    add_answers(list, answers, said);
    json_object_foreach(silent, identity, age_s)
    {
        /* Where nobody waits for answers, only a beat that is late says something. */
        if (view->wait_ms > 0 || json_number_value(age_s) > SILENT_S)
            add_silence(list, identity, json_number_value(age_s));
    }
    bool good = said != NULL && silent != NULL;
    set_verdict(view, json_object_size(answers) + json_object_size(silent) > 0);
    json_object_set_new(view->root, "words", list);
    json_decref(silent);
    json_decref(said);
    return good;
}

static bool ask_machines(const struct view *view, struct err *err)
{
    bool all;
    json_t *answers = domain_ask_end(&view->desk->session, domain_table_name(view->host),
                                     view->wait_ms, &all, err);

    if (answers == NULL)
        return false;
    bool good = set_words(view, answers, err);
    json_object_set_new(view->root, "asking", json_boolean(!all));
    json_decref(answers);
    return good;
}

/* --- all of it --- */

static json_t *item_of(struct view *view, const struct domain_table *table)
{
    const struct domain_row *row = domain_table_find(table, view->host);
    struct domain_row blank;
    char *name = str_dup(view->host);

    if (row == NULL) {
        domain_table_blank(table, name, &blank);
        row = &blank;
    }
    view->unavailable = row->state == DOMAIN_UNAVAILABLE;
    json_t *item = figures_domain_item(view->desk, table, row);
    free(name);
    return item;
}

/* What PostgreSQL knows of its deliveries. */
static bool begin(struct view *view, struct err *err)
{
    const struct domain_table *table = domain_table_take(view->desk, err);

    if (table == NULL && view->missing == NULL)
        return false;
    if (table == NULL)
        *view->missing = *err;
    view->now_s = table != NULL ? domain_table_at_s(table) : (double)view->orders.now_s;
    view->root = table != NULL ? item_of(view, table) : figures_domain_unknown(view->host);
    json_object_set_new(view->root, "at", json_real(view->now_s));
    json_object_set_new(view->root, "circuit", json_null());
    json_object_set_new(view->root, "scheme", json_null());
    return true;
}

static bool look(struct view *view, struct err *err)
{
    struct session *session = &view->desk->session;

    if (!domain_ask_begin(session, domain_table_name(view->host), false, err) ||
        !orders_open(&view->orders, session, err) || !begin(view, err))
        return false;
    set_policy(view);
    set_mastodon(view);
    return read_records(view, err) && read_redis(view, err) && ask_machines(view, err);
}

json_t *figures_domain_known(struct desk *desk, struct str host, int64_t wait_ms,
                             struct err *missing, struct err *err)
{
    struct view view = {.desk = desk, .host = host, .wait_ms = wait_ms, .missing = missing};

    if (missing != NULL)
        missing->code = FP_OK;
    if (!policy_name_is_valid(domain_table_name(host)) || host.ptr[0] == '*' ||
        host.ptr[0] == '@') {
        err_say(err, FP_INVALID, PHRASE_ASK_HOST, SAYS_NOTHING);
        return NULL;
    }
    if (!look(&view, err)) {
        json_decref(view.root);
        view.root = NULL;
    }
    orders_close(&view.orders);
    return view.root;
}

json_t *figures_domain(struct desk *desk, struct str host, int64_t wait_ms, struct err *err)
{
    return figures_domain_known(desk, host, wait_ms, NULL, err);
}

static bool says_something(const json_t *sentence)
{
    return strcmp(figures_text_of(sentence, "code"), phrase_code(PHRASE_LANE_NONE)) != 0;
}

bool figures_domain_add_words(struct desk *desk, json_t *domain, struct str host, struct err *err)
{
    json_t *answers = domain_ask(&desk->session, host, err);
    json_t *said = answers != NULL ? domain_ask_said(&desk->session, host, err) : NULL;
    json_t *words = json_object_get(domain, "words");
    json_t *list = json_array();

    if (said != NULL)
        add_answers(list, answers, said);
    for (size_t i = 0; i < json_array_size(list); i++) {
        if (says_something(json_array_get(list, i)))
            json_array_append(words, json_array_get(list, i));
    }
    bool good = said != NULL;
    json_decref(list);
    json_decref(said);
    json_decref(answers);
    return good;
}
