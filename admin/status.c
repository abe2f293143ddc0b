#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "admin/balance.h"
#include "admin/commands.h"
#include "admin/orders.h"
#include "admin/status_json.h"
#include "admin/words.h"

enum { OLD_S = 60, LATE_S = 30 };

/* At its limit Redis refuses what Mastodon enqueues, and soon what fedpush writes. */
static void show_redis(struct report *report, const struct redis *redis, const struct survey *s,
                       int full_percent)
{
    int64_t percent = s->max_bytes > 0 ? 100 * s->used_bytes / s->max_bytes : 0;
    struct buf where;

    buf_init(&where, 512);
    redis_describe(redis, &where);
    report_line(report, GRADE_OK, "Redis", "%s", buf_cstr(&where));
    if (s->max_bytes > 0 && percent >= full_percent) {
        buf_reset(&where);
        phrase_put_text(&where, PHRASE_ALERT_REDIS_MEMORY,
                        SAYS(SAY_NUMBER("used_bytes", s->used_bytes),
                             SAY_NUMBER("max_bytes", s->max_bytes),
                             SAY_NUMBER("percent", percent)));
        report_line(report, GRADE_WARN, "memory", "%s", buf_cstr(&where));
    }
    buf_clear(&where);
}

static void show_machine(struct report *report, const struct survey_identity *identity)
{
    if (survey_is_alive(identity))
        report_line(report, identity->beat_age_s <= LATE_S ? GRADE_OK : GRADE_WARN, "machine",
                    "%.80s beat %.0f s ago, holds %lld jobs%s", identity->name,
                    identity->beat_age_s, (long long)identity->claims,
                    identity->listed ? ""
                                     : "; it isn't in Sidekiq's list, where four machines are at "
                                       "most: Quiet and Stop of the Web UI don't reach it, "
                                       "systemctl stop fedpush on it does");
    else
        report_line(report, GRADE_WARN, "machine",
                    "%.80s is dead and holds %lld jobs: fedpush handback", identity->name,
                    (long long)identity->claims);
}

static void show_machines(struct report *report, const struct survey *s)
{
    for (size_t i = 0; i < s->identity_count; i++)
        show_machine(report, &s->identities[i]);
    if (s->live == 0)
        report_line(report, s->push_consumers > 0 ? GRADE_WARN : GRADE_FAIL, "machines",
                    "no fedpush is running: %s",
                    s->push_consumers > 0 ? "Ruby's workers serve push; systemctl start fedpush"
                                          : "nobody serves push; systemctl start fedpush");
}

static void show_sidekiq(struct report *report, const struct survey *s)
{
    struct buf found;

    buf_init(&found, 512);
    survey_put_sidekiq(s, &found);
    report_line(report, GRADE_OK, "Sidekiq", "%s", buf_cstr(&found));
    buf_clear(&found);
}

/* What waits in `pull` may wait: no age of it is a warning. */
static void show_queue(struct report *report, const char *name, int64_t length, double age_s,
                       bool may_wait)
{
    bool late = age_s > OLD_S && !may_wait;
    struct buf age;

    buf_init(&age, 64);
    words_put_age(&age, age_s);
    report_line(report, late ? GRADE_WARN : GRADE_OK, name, "%lld jobs wait, the oldest for %s%s",
                (long long)length, buf_cstr(&age), late ? ": fedpush stats" : "");
    buf_clear(&age);
}

static void show_handoff(struct report *report, const char *queue, const char *setting,
                         int64_t length, int64_t consumers)
{
    if (consumers > 0)
        report_line(report, GRADE_OK, "hand-off",
                    "queue %s: %lld jobs, served by %lld Sidekiq processes", queue,
                    (long long)length, (long long)consumers);
    else
        report_line(report, GRADE_FAIL, "hand-off",
                    "no live Sidekiq process serves queue %s (%lld jobs wait): start one with -q "
                    "%s, or set %s",
                    queue, (long long)length, queue, setting);
}

static void show_queues(struct report *report, const struct survey *s, const struct config *config)
{
    bool pull = config_takes_pull(config);

    show_queue(report, "push", s->push_length, s->push_age_s, false);
    if (pull)
        show_queue(report, "pull", s->pull_length, s->pull_age_s, true);
    report_line(report, GRADE_OK, "later", "%lld in retry, %lld scheduled, %lld dead",
                (long long)s->retry_count, (long long)s->schedule_count, (long long)s->dead_count);
    if (s->open_circuits > 0)
        report_line(report, GRADE_OK, "circuits",
                    "%lld hosts don't answer: their jobs wait in retry and schedule",
                    (long long)s->open_circuits);
    else
        report_line(report, GRADE_OK, "circuits", "none is open");
    show_handoff(report, config->handoff_queue, "FEDPUSH_HANDOFF_QUEUE", s->handoff_length,
                 s->handoff_consumers);
    if (pull)
        show_handoff(report, config->handoff_queue_pull, "FEDPUSH_HANDOFF_QUEUE_PULL",
                     s->handoff_pull_length, s->handoff_pull_consumers);
}

static void show_balance(struct report *report, const struct session *session, const char *whose,
                         const struct balance *balance)
{
    int64_t missing = balance_missing(balance);
    struct buf text;

    buf_init(&text, 1024);
    balance_put(&text, balance);
    if (missing == 0)
        report_line(report, GRADE_OK, "ledger", "%s: %s", whose, buf_cstr(&text));
    else
        report_line(report, GRADE_FAIL, "ledger",
                    "%s: %s: %+lld jobs don't add up; has Redis lost data, or has somebody changed "
                    "fedpush's keys? Restart fedpush, then redis-cli DEL %s begins a new account",
                    whose, buf_cstr(&text), (long long)missing, session->keys.ledger);
    buf_clear(&text);
}

static void show_balances(struct report *report, struct session *session,
                          const struct survey *survey, json_t *root)
{
    struct balances balances;
    struct err err;

    if (!balance_take(&balances, session, survey, &err)) {
        report_line(report, GRADE_FAIL, "ledger", "%s: fedpush check", err.message);
        return;
    }
    status_json_balances(root, &balances);
    show_balance(report, session, "fleet", &balances.fleet);
    if (balances.machine_found)
        show_balance(report, session, "this machine", &balances.machine);
}

/* `who` goes on or ends by itself: "NAME" or "NAME, for 5 min more". */
static void put_paused(struct buf *out, const char *who, const struct policy *policy, int64_t now_s)
{
    buf_put_str(out, str_of(who));
    if (policy->paused_until_s == 0)
        return;
    buf_put_str(out, STR(", for "));
    words_put_age(out, (double)(policy->paused_until_s - now_s));
    buf_put_str(out, STR(" more"));
}

static void show_pause(struct report *report, const char *name, const struct policy *policy,
                       int64_t now_s)
{
    bool fleet = strcmp(name, "*") == 0;
    struct buf who;

    buf_init(&who, 512);
    put_paused(&who, fleet ? "the fleet" : name + 1, policy, now_s);
    if (fleet)
        report_line(report, GRADE_WARN, "paused", "%s: fedpush resume", buf_cstr(&who));
    else
        report_line(report, GRADE_WARN, "paused", "%s: fedpush resume --machine %s", buf_cstr(&who),
                    name + 1);
    buf_clear(&who);
}

/* An order for one process that has ended means nobody. */
static bool is_gone(const struct survey *s, const char *name)
{
    for (size_t i = 0; i < s->identity_count; i++) {
        if (strcmp(s->identities[i].name, name + 1) == 0)
            return false;
    }
    return name[0] == '@' && strchr(name, ':') != NULL && s->identity_count < SURVEY_MAX_IDENTITIES;
}

/* Pauses are easily forgotten. */
static void show_policies(struct report *report, struct session *session, const struct survey *s)
{
    const struct policy_entry *entry;
    struct orders orders;
    struct err err;
    size_t paused = 0;
    size_t others = 0;
    size_t at = 0;
    bool good = orders_open(&orders, session, &err);

    while (good && (entry = policy_book_each(orders.book, &at)) != NULL) {
        const struct policy now = policy_at(&entry->policy, orders.now_s);
        bool of_host = strcmp(entry->name, "*") != 0 && entry->name[0] != '@';
        if (now.paused && !of_host && !is_gone(s, entry->name))
            show_pause(report, entry->name, &now, orders.now_s);
        paused += of_host && now.paused;
        others += of_host && !now.paused && !policy_is_empty(&now);
    }
    if (!good)
        report_line(report, GRADE_FAIL, "policies", "%s: fedpush check", err.message);
    else if (paused > 0 || others > 0)
        report_line(report, GRADE_OK, "policies",
                    "%zu pause hosts, %zu others: fedpush domain list", paused, others);
    orders_close(&orders);
}

struct health_age {
    bool known;
    double seconds;
};

static void on_age(void *arg, PGresult *result)
{
    struct health_age *age = arg;
    if (PQntuples(result) == 1 && !PQgetisnull(result, 0, 0)) {
        age->known = true;
        age->seconds = strtod(PQgetvalue(result, 0, 0), NULL);
    }
}

static void show_database(struct report *report, struct session *session, json_t *root)
{
    struct health_age age = {false, 0};
    struct buf text;
    struct err err;
    struct postgres *postgres = session_postgres(session, POSTGRES_ROLE_FEDPUSH, &err);

    if (postgres == NULL) {
        report_line(report, GRADE_FAIL, "PostgreSQL", "%s: fedpush check", err.message);
        return;
    }
    if (!session_query(
            session, postgres,
            "SELECT extract(epoch FROM now() - max(updated_at)) FROM fedpush.domain_health", 0,
            NULL, on_age, &age, &err)) {
        report_line(report, GRADE_FAIL, "health", "%s: fedpush setup", err.message);
        return;
    }
    status_json_health(root, age.known ? &age.seconds : NULL);
    buf_init(&text, 64);
    words_put_age(&text, age.seconds);
    if (age.known)
        report_line(report, GRADE_OK, "health", "last written %s ago", buf_cstr(&text));
    else
        report_line(report, GRADE_OK, "health", "nothing written yet");
    buf_clear(&text);
}

static void show_all(struct report *report, struct session *session, json_t *root)
{
    struct survey *survey = mem_alloc(sizeof(*survey));
    struct err err;

    if (survey_take(survey, session, &err)) {
        const struct redis *redis = session->redis[REDIS_ROLE_SIDEKIQ];
        status_json_survey(root, survey, redis, session->config);
        show_redis(report, redis, survey, session->config->alert_memory_percent);
        show_machines(report, survey);
        show_sidekiq(report, survey);
        show_queues(report, survey, session->config);
        show_policies(report, session, survey);
        show_balances(report, session, survey, root);
    } else {
        report_line(report, GRADE_FAIL, "Redis", "%s: fedpush check", err.message);
    }
    show_database(report, session, root);
    free(survey);
}

static int show(struct session *session, bool as_json)
{
    struct report report = {.lines = as_json ? json_array() : NULL};
    json_t *root = status_json_create();

    show_all(&report, session, root);
    if (as_json)
        status_json_print(root, &report);
    json_decref(root);
    json_decref(report.lines);
    return (int)report.worst;
}

int command_status(const struct config *config, int argc, char **argv)
{
    struct session session;
    struct err err;

    for (int i = 0; i < argc; i++) {
        if (strcmp(argv[i], "--json") != 0)
            return words_unknown("status", argv[i]);
    }
    int code = session_open(&session, config, &err) ? show(&session, argc > 0)
                                                    : session_fail(&err, FP_EXIT_CONFIG);
    session_close(&session);
    return code;
}
