/* The fleet as Redis knows it: nothing here asks PostgreSQL. */
#include <stdlib.h>
#include <string.h>

#include "admin/balance.h"
#include "admin/figures.h"
#include "admin/figures_value.h"
#include "admin/words.h"
#include "base/policy.h"

enum { REPORT_OLD_S = 30, MAX_ALERTS = 200, PROBLEM_BYTES = 4096 };

struct fleet {
    struct desk *desk;
    struct redis *redis;
    struct survey survey;
    json_t *reports; /* identity -> what the machine says of itself */
    json_t *paused;  /* null, or since when the fleet is and by whom */
    bool machine_paused[SURVEY_MAX_IDENTITIES];
    struct err *err;
};

/* --- what machines say --- */

/* What is wrong with its PostgreSQL, as sentences; null: nothing, or in words of others. */
static void set_postgres_says(json_t *report)
{
    const char *problem = json_string_value(json_object_get(report, "postgres"));
    struct said said;

    said_init(&said, PROBLEM_BYTES);
    bool own = problem != NULL && said_read_reason(&said, str_of(problem));
    json_object_set_new(report, "postgres_says", own ? words_json_said(&said) : json_null());
    said_clear(&said);
}

static void on_reports(void *arg, const redisReply *reply)
{
    struct fleet *f = arg;

    for (size_t i = 0; reply->type == REDIS_REPLY_ARRAY && i + 1 < reply->elements; i += 2) {
        struct str identity = figures_reply_text(reply->element[i]);
        struct str text = figures_reply_text(reply->element[i + 1]);
        json_t *report =
            json_loadb(text.ptr != NULL ? text.ptr : "", text.len, JSON_REJECT_DUPLICATES, NULL);
        double at = json_number_value(json_object_get(report, "at"));
        if (json_is_object(report) && f->survey.redis_now_s - at <= REPORT_OLD_S) {
            set_postgres_says(report);
            json_object_setn_new(f->reports, identity.ptr, identity.len, report);
        } else {
            json_decref(report);
        }
    }
}

static bool take_reports(struct fleet *f)
{
    const struct str words[] = {STR("HGETALL"), str_of(f->desk->session.keys.machines)};
    return session_command(&f->desk->session, f->redis, 2, words, on_reports, f, f->err);
}

/* --- pauses --- */

static void on_pauser(void *arg, const redisReply *reply)
{
    struct fleet *f = arg;
    struct str who = figures_reply_text(reply);

    if (who.len > 0 && json_is_object(f->paused))
        json_object_set_new(f->paused, "by", figures_text(who));
}

static bool is_paused(const redisReply *reply, int64_t now_s, struct policy *policy)
{
    int64_t version;
    struct str text;

    if (!policy_value_parse(figures_reply_text(reply), &version, &text) ||
        !policy_parse(policy, text))
        return false;
    *policy = policy_at(policy, now_s);
    return policy->paused;
}

/* The fleet, then for each identity its host and itself. */
static void on_policies(void *arg, const redisReply *reply)
{
    struct fleet *f = arg;
    int64_t now_s = (int64_t)f->survey.redis_now_s;
    struct policy policy;

    if (reply->type != REDIS_REPLY_ARRAY || reply->elements != 1 + 2 * f->survey.identity_count)
        return;
    if (is_paused(reply->element[0], now_s, &policy))
        f->paused =
            json_pack("{s:o, s:n}", "until", figures_time((double)policy.paused_until_s), "by");
    for (size_t i = 0; i < f->survey.identity_count; i++)
        f->machine_paused[i] = is_paused(reply->element[1 + 2 * i], now_s, &policy) ||
                               is_paused(reply->element[2 + 2 * i], now_s, &policy);
}

static bool take_pauses(struct fleet *f)
{
    enum { FIXED = 3 };
    const struct keys *keys = &f->desk->session.keys;
    size_t count = f->survey.identity_count;
    struct str words[FIXED + 2 * SURVEY_MAX_IDENTITIES] = {STR("HMGET"), str_of(keys->policies),
                                                           POLICY_FLEET};
    char *names[2 * SURVEY_MAX_IDENTITIES];
    char *key = keys_prefixed(keys, STR("fedpush:pauser"));
    const struct str get[] = {STR("GET"), str_of(key)};

    for (size_t i = 0; i < count; i++) {
        struct str identity = str_of(f->survey.identities[i].name);
        names[2 * i] = mem_printf("@%.*s", (int)str_find(identity, ':'), identity.ptr);
        names[2 * i + 1] = mem_printf("@%s", identity.ptr);
        words[FIXED + 2 * i] = str_of(names[2 * i]);
        words[FIXED + 2 * i + 1] = str_of(names[2 * i + 1]);
    }
    bool good = session_command(&f->desk->session, f->redis, FIXED + 2 * count, words, on_policies,
                                f, f->err);
    if (good && json_is_object(f->paused))
        good = session_command(&f->desk->session, f->redis, 2, get, on_pauser, f, f->err);
    for (size_t i = 0; i < 2 * count; i++)
        free(names[i]);
    free(key);
    return good;
}

/* --- all of it --- */

static struct fleet *fleet_take(struct desk *desk, struct err *err)
{
    struct fleet *f = mem_alloc(sizeof(*f));

    f->desk = desk;
    f->err = err;
    f->reports = json_object();
    f->paused = json_null();
    /* Whoever else asks for the connection may make it anew: it is taken behind the survey. */
    if (survey_take(&f->survey, &desk->session, err) &&
        (f->redis = session_redis(&desk->session, REDIS_ROLE_SIDEKIQ, err)) != NULL &&
        take_reports(f) && take_pauses(f))
        return f;
    json_decref(f->reports);
    json_decref(f->paused);
    free(f);
    return NULL;
}

static void fleet_free(struct fleet *f)
{
    json_decref(f->reports);
    json_decref(f->paused);
    free(f);
}

static json_t *report_of(const struct fleet *f, size_t index)
{
    return json_object_get(f->reports, f->survey.identities[index].name);
}

static json_t *machines_of(const struct fleet *f)
{
    json_t *list = json_array();

    for (size_t i = 0; i < f->survey.identity_count; i++) {
        const struct survey_identity *identity = &f->survey.identities[i];
        json_t *report = report_of(f, i);
        json_array_append_new(
            list, json_pack("{s:o, s:b, s:f, s:I, s:b, s:b, s:O?}", "identity",
                            figures_text(str_of(identity->name)), "alive",
                            survey_is_alive(identity), "beat_age_s", identity->beat_age_s, "held",
                            (json_int_t)identity->claims, "listed", identity->listed, "paused",
                            (int)f->machine_paused[i], "report", report));
    }
    return list;
}

static int64_t member(const json_t *object, const char *name)
{
    return json_integer_value(json_object_get(object, name));
}

/* The sums of what the machines say about their last minute. */
static json_t *recent_of(const struct fleet *f)
{
    static const char *const names[] = {"delivered", "retried", "rejected", "exhausted"};
    int64_t sums[4] = {0};
    int64_t total = 0;
    int64_t seconds = 0;
    double per_second = 0;

    for (size_t i = 0; i < f->survey.identity_count; i++) {
        const json_t *recent = json_object_get(report_of(f, i), "recent");
        int64_t own_s = member(recent, "seconds");
        for (int n = 0; n < 4; n++) {
            sums[n] += member(recent, names[n]);
            total += member(recent, names[n]);
        }
        if (own_s > 0)
            per_second += (double)member(recent, "delivered") / (double)own_s;
        seconds = own_s > seconds ? own_s : seconds;
    }
    return json_pack("{s:I, s:I, s:I, s:I, s:I, s:f, s:o}", "seconds", (json_int_t)seconds,
                     names[0], (json_int_t)sums[0], names[1], (json_int_t)sums[1], names[2],
                     (json_int_t)sums[2], names[3], (json_int_t)sums[3], "per_second", per_second,
                     "success_rate", figures_share(sums[0], total));
}

static json_t *suspicious_of(const struct fleet *f)
{
    json_t *list = json_array();

    for (size_t i = 0; i < f->survey.identity_count; i++) {
        const json_t *report = report_of(f, i);
        const char *host = json_string_value(json_object_get(report, "host"));
        if (json_is_true(json_object_get(report, "suspicious")) && host != NULL)
            json_array_append_new(list, json_string(host));
    }
    return list;
}

static json_t *queue_of(const char *name, int64_t length, double age_s, int64_t consumers)
{
    return json_pack("{s:s, s:I, s:f, s:I}", "name", name, "length", (json_int_t)length,
                     "oldest_age_s", age_s > 0 ? age_s : 0, "consumers", (json_int_t)consumers);
}

static json_t *handoff_of(const char *queue, int64_t length, int64_t consumers)
{
    return json_pack("{s:o, s:I, s:I}", "queue", figures_text(str_of(queue)), "length",
                     (json_int_t)length, "consumers", (json_int_t)consumers);
}

/* A queue's consumers: Sidekiq processes, and live machines of ours. */
static void set_queues(json_t *root, const struct fleet *f)
{
    const struct survey *s = &f->survey;
    const struct config *config = f->desk->session.config;
    json_t *queues = json_array();
    json_t *handoff = json_array();

    json_array_append_new(
        queues, queue_of("push", s->push_length, s->push_age_s, s->live + s->push_consumers));
    json_array_append_new(
        handoff, handoff_of(config->handoff_queue, s->handoff_length, s->handoff_consumers));
    if (config_takes_pull(config)) {
        json_array_append_new(queues, queue_of("pull", s->pull_length, s->pull_age_s, s->live));
        json_array_append_new(handoff,
                              handoff_of(config->handoff_queue_pull, s->handoff_pull_length,
                                         s->handoff_pull_consumers));
    }
    json_object_set_new(root, "queues", queues);
    json_object_set_new(root, "handoff", handoff);
    json_object_set_new(root, "later",
                        json_pack("{s:I, s:I, s:I}", "retry", (json_int_t)s->retry_count,
                                  "schedule", (json_int_t)s->schedule_count, "dead",
                                  (json_int_t)s->dead_count));
}

static void set_held(json_t *root, const struct fleet *f)
{
    int64_t in_flight = 0;
    int64_t held = 0;

    for (size_t i = 0; i < f->survey.identity_count; i++) {
        in_flight += member(report_of(f, i), "in_flight");
        held += survey_is_alive(&f->survey.identities[i]) ? f->survey.identities[i].claims : 0;
    }
    json_object_set_new(root, "in_flight", json_integer(in_flight));
    json_object_set_new(root, "held", json_integer(held));
    json_object_set_new(root, "held_by_dead", json_integer(f->survey.dead_claims));
    json_object_set_new(root, "open_circuits", json_integer(f->survey.open_circuits));
}

static bool set_ledger(json_t *root, const struct fleet *f)
{
    struct balances balances;
    json_t *outcomes;

    if (!balance_take(&balances, &f->desk->session, &f->survey, f->err))
        return false;
    outcomes = json_object();
    for (int entry = LEDGER_BY_VERB + 1; entry < LEDGER_ENTRIES; entry++)
        json_object_set_new(outcomes, ledger_word((enum ledger_entry)entry),
                            json_integer(balances.fleet.outcomes[entry]));
    json_object_set_new(outcomes, "others", json_integer(balances.fleet.others));
    json_object_set_new(root, "ledger",
                        json_pack("{s:I, s:o, s:I, s:I}", "claimed",
                                  (json_int_t)balances.fleet.claimed, "outcomes", outcomes, "held",
                                  (json_int_t)balances.fleet.held, "missing",
                                  (json_int_t)balance_missing(&balances.fleet)));
    return true;
}

static void set_server(json_t *root, const struct fleet *f)
{
    const struct survey *s = &f->survey;
    struct buf where;

    buf_init(&where, 1024);
    redis_describe(f->redis, &where);
    json_object_set_new(
        root, "redis",
        json_pack("{s:o, s:o, s:o, s:o, s:o}", "address", figures_text(buf_str(&where)), "version",
                  figures_text(str_of(s->redis_version)), "used_bytes",
                  figures_count_or_null(s->used_bytes), "max_bytes",
                  figures_count_or_null(s->max_bytes > 0 ? s->max_bytes : -1), "policy",
                  s->policy[0] != '\0' ? figures_text(str_of(s->policy)) : json_null()));
    buf_clear(&where);
}

static void set_names(json_t *root, const struct fleet *f)
{
    const struct config *config = f->desk->session.config;
    const char *mastodon = NULL;
    struct buf sidekiq;

    for (size_t i = 0; i < f->survey.identity_count && mastodon == NULL; i++)
        mastodon = json_string_value(json_object_get(report_of(f, i), "mastodon"));
    buf_init(&sidekiq, 512);
    survey_put_sidekiq(&f->survey, &sidekiq);
    json_object_set_new(root, "mastodon",
                        figures_text_or_null(mastodon != NULL ? mastodon : config->mastodon.text));
    json_object_set_new(root, "sidekiq",
                        figures_text((struct str){sidekiq.ptr, str_find(buf_str(&sidekiq), ',')}));
    buf_clear(&sidekiq);
    json_object_set_new(root, "version", json_string(FEDPUSH_VERSION));
    json_object_set_new(root, "domain", figures_text_or_null(config->web_domain));
}

/* Firing alerts, as the machine that looks after them has written them. */
static void on_alerts(void *arg, const redisReply *reply)
{
    json_t *list = arg;

    for (size_t i = 0; reply->type == REDIS_REPLY_ARRAY && i + 1 < reply->elements &&
                       json_array_size(list) < MAX_ALERTS;
         i += 2) {
        struct str id = figures_reply_text(reply->element[i]);
        struct str text = figures_reply_text(reply->element[i + 1]);
        json_t *alert = json_loadb(text.ptr != NULL ? text.ptr : "", text.len, 0, NULL);
        json_t *since = json_object_get(alert, "since");
        json_t *words = json_object_get(alert, "text");
        if (json_is_number(since) && json_is_string(words))
            json_array_append_new(list, json_pack("{s:o, s:O, s:O, s:O*, s:O*}", "id",
                                                  figures_text(id), "since", since, "text", words,
                                                  "code", json_object_get(alert, "code"), "params",
                                                  json_object_get(alert, "params")));
        json_decref(alert);
    }
}

static bool set_alerts(json_t *root, const struct fleet *f)
{
    json_t *list = json_array();
    char *key = keys_prefixed(&f->desk->session.keys, STR("fedpush:alerts"));
    const struct str words[] = {STR("HGETALL"), str_of(key)};
    struct redis *redis = session_redis(&f->desk->session, REDIS_ROLE_SIDEKIQ, f->err);
    bool good = redis != NULL &&
                session_command(&f->desk->session, redis, 2, words, on_alerts, list, f->err);

    free(key);
    json_object_set_new(root, "alerts", list);
    return good;
}

json_t *figures_overview(struct desk *desk, struct err *err)
{
    struct fleet *f = fleet_take(desk, err);
    json_t *root;

    if (f == NULL)
        return NULL;
    root = json_pack("{s:f, s:O, s:o, s:o, s:o}", "at", f->survey.redis_now_s, "paused", f->paused,
                     "suspicious", suspicious_of(f), "recent", recent_of(f), "machines",
                     machines_of(f));
    set_held(root, f);
    set_queues(root, f);
    set_server(root, f);
    set_names(root, f);
    if (!set_ledger(root, f) || !set_alerts(root, f)) {
        json_decref(root);
        root = NULL;
    }
    fleet_free(f);
    return root;
}

json_t *figures_machines(struct desk *desk, struct err *err)
{
    struct fleet *f = fleet_take(desk, err);
    json_t *root;

    if (f == NULL)
        return NULL;
    root = json_pack("{s:f, s:o}", "at", f->survey.redis_now_s, "items", machines_of(f));
    fleet_free(f);
    return root;
}
