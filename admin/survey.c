#include "admin/survey.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "admin/words.h"
#include "base/json.h"
#include "sched/consumer.h"
#include "sched/job.h"

enum { STALE_S = 60, CIRCUIT_PAGES = 200 };

struct taking {
    struct survey *survey;
    struct session *session;
    struct redis *redis;
    struct err *err;
    int64_t number;
    struct buf text;
    char cursor[24]; /* of HSCAN; "0": at the end */
    char *processes[SURVEY_MAX_IDENTITIES];
    size_t process_count;
};

static bool ask(struct taking *t, reply_fn *fn, size_t count, const struct str *words)
{
    return session_command(t->session, t->redis, count, words, fn, t, t->err);
}

static void on_number(void *arg, const redisReply *reply)
{
    struct taking *t = arg;
    t->number = reply->type == REDIS_REPLY_INTEGER ? reply->integer : 0;
}

static bool ask_number(struct taking *t, struct str command, struct str key, int64_t *out)
{
    const struct str words[] = {command, key};

    if (!ask(t, on_number, 2, words))
        return false;
    *out = t->number;
    return true;
}

static void on_text(void *arg, const redisReply *reply)
{
    struct taking *t = arg;

    buf_reset(&t->text);
    if (reply->type == REDIS_REPLY_STRING)
        buf_put(&t->text, reply->str, (size_t)reply->len);
}

static void on_time(void *arg, const redisReply *reply)
{
    struct taking *t = arg;
    if (reply->type == REDIS_REPLY_ARRAY && reply->elements == 2)
        t->survey->redis_now_s =
            strtod(reply->element[0]->str, NULL) + strtod(reply->element[1]->str, NULL) / 1e6;
}

static int by_name(const void *a, const void *b)
{
    const struct survey_identity *one = a;
    const struct survey_identity *other = b;

    return strcmp(one->name, other->name);
}

static void on_identities(void *arg, const redisReply *reply)
{
    struct taking *t = arg;
    struct survey *s = t->survey;

    for (size_t i = 0; reply->type == REDIS_REPLY_ARRAY && i + 1 < reply->elements; i += 2) {
        struct survey_identity *identity = &s->identities[s->identity_count];
        if (s->identity_count == SURVEY_MAX_IDENTITIES)
            break;
        snprintf(identity->name, sizeof(identity->name), "%s", reply->element[i]->str);
        identity->beat_age_s = s->redis_now_s - strtod(reply->element[i + 1]->str, NULL);
        s->identity_count++;
    }
    /* Redis has them by their last beat: they would change places each time somebody looks. */
    qsort(s->identities, s->identity_count, sizeof(s->identities[0]), by_name);
}

bool survey_is_alive(const struct survey_identity *identity)
{
    return identity->beat_age_s <= STALE_S;
}

static bool count_claims(struct taking *t)
{
    struct survey *s = t->survey;

    for (size_t i = 0; i < s->identity_count; i++) {
        struct survey_identity *identity = &s->identities[i];
        char *claimed = keys_claimed(&t->session->keys, str_of(identity->name));
        char *wait = keys_wait(&t->session->keys, str_of(identity->name));
        int64_t waiting = 0;
        bool good = ask_number(t, STR("HLEN"), str_of(claimed), &identity->claims) &&
                    ask_number(t, STR("LLEN"), str_of(wait), &waiting);
        identity->claims +=
            waiting - (identity->claims > 0 ? 1 : 0); /* the counter is a field, too */
        free(claimed);
        free(wait);
        if (!good)
            return false;
        if (survey_is_alive(identity))
            s->live++;
        else
            s->dead_claims += identity->claims;
    }
    return true;
}

static bool take_identities(struct taking *t)
{
    const struct str time[] = {STR("TIME")};
    const struct str range[] = {STR("ZRANGE"), str_of(t->session->keys.identities), STR("0"),
                                STR("-1"), STR("WITHSCORES")};

    return ask(t, on_time, 1, time) && ask(t, on_identities, 5, range) && count_claims(t);
}

static void look_at_job(struct incumbent_evidence *evidence, struct str payload)
{
    struct json *json = json_create();
    struct job job;

    job_parse(&job, json, payload);
    evidence->job_seen = job.created_at_s > 0 && job.retry_count < 0;
    evidence->job_integer_ms = job.integer_ms_times;
    job_clear(&job);
    json_destroy(json);
}

static bool take_waiting(struct taking *t, const char *key, int64_t *length, double *age_s)
{
    const struct str oldest[] = {STR("LINDEX"), str_of(key), STR("-1")};

    if (!ask_number(t, STR("LLEN"), str_of(key), length) || !ask(t, on_text, 3, oldest))
        return false;
    if (t->text.len > 0) {
        double since_s = job_enqueued_at_s(buf_str(&t->text));
        *age_s = since_s > 0 ? t->survey->redis_now_s - since_s : 0;
    }
    return true;
}

static bool take_handoff(struct taking *t, const char *queue, int64_t *length)
{
    char *key = keys_queue(&t->session->keys, str_of(queue));
    bool good = ask_number(t, STR("LLEN"), str_of(key), length);

    free(key);
    return good;
}

static bool take_pull(struct taking *t)
{
    const struct config *config = t->session->config;
    struct survey *s = t->survey;

    return !config_takes_pull(config) ||
           (take_waiting(t, t->session->keys.queue_pull, &s->pull_length, &s->pull_age_s) &&
            take_handoff(t, config->handoff_queue_pull, &s->handoff_pull_length));
}

static bool take_queues(struct taking *t)
{
    struct survey *s = t->survey;
    const struct keys *keys = &t->session->keys;

    if (!take_waiting(t, keys->queue_push, &s->push_length, &s->push_age_s))
        return false;
    if (t->text.len > 0)
        look_at_job(&s->sidekiq, buf_str(&t->text));
    return ask_number(t, STR("ZCARD"), str_of(keys->retry), &s->retry_count) &&
           ask_number(t, STR("ZCARD"), str_of(keys->schedule), &s->schedule_count) &&
           ask_number(t, STR("ZCARD"), str_of(keys->dead), &s->dead_count) &&
           take_handoff(t, t->session->config->handoff_queue, &s->handoff_length) && take_pull(t);
}

static void on_circuits(void *arg, const redisReply *reply)
{
    struct taking *t = arg;

    snprintf(t->cursor, sizeof(t->cursor), "0");
    if (reply->type != REDIS_REPLY_ARRAY || reply->elements != 2 ||
        reply->element[0]->type != REDIS_REPLY_STRING ||
        reply->element[1]->type != REDIS_REPLY_ARRAY)
        return;
    snprintf(t->cursor, sizeof(t->cursor), "%s", reply->element[0]->str);
    for (size_t i = 1; i < reply->element[1]->elements; i += 2) {
        const redisReply *value = reply->element[1]->element[i];
        if (value->type == REDIS_REPLY_STRING &&
            str_starts_with((struct str){value->str, (size_t)value->len}, STR("open ")))
            t->survey->open_circuits++;
    }
}

/* fleet.lua keeps at most 65,536 of them. */
static bool take_circuits(struct taking *t)
{
    snprintf(t->cursor, sizeof(t->cursor), "0");
    for (int page = 0; page < CIRCUIT_PAGES; page++) {
        char *cursor = str_dup(str_of(t->cursor));
        const struct str scan[] = {STR("HSCAN"), str_of(t->session->keys.circuit), str_of(cursor),
                                   STR("COUNT"), STR("1000")};
        bool good = ask(t, on_circuits, 5, scan);
        free(cursor);
        if (!good)
            return false;
        if (strcmp(t->cursor, "0") == 0)
            break;
    }
    return true;
}

static void note_listed(struct survey *s, const char *process)
{
    for (size_t i = 0; i < s->identity_count; i++)
        s->identities[i].listed |= strcmp(s->identities[i].name, process) == 0;
}

static void on_processes(void *arg, const redisReply *reply)
{
    struct taking *t = arg;
    for (size_t i = 0; reply->type == REDIS_REPLY_ARRAY && i < reply->elements; i++) {
        note_listed(t->survey, reply->element[i]->str);
        if (t->process_count < SURVEY_MAX_IDENTITIES)
            t->processes[t->process_count++] =
                str_dup((struct str){reply->element[i]->str, (size_t)reply->element[i]->len});
    }
}

static void count_consumer(struct taking *t, struct str identity, struct str info)
{
    const struct config *config = t->session->config;

    incumbent_see_process(&t->survey->sidekiq, identity, info);
    t->survey->handoff_consumers += consumer_serves(info, str_of(config->handoff_queue));
    if (config_takes_pull(config))
        t->survey->handoff_pull_consumers +=
            consumer_serves(info, str_of(config->handoff_queue_pull));
    t->survey->push_consumers += consumer_serves(info, STR("push"));
}

static void note_said(struct survey *s, struct str report)
{
    struct json *json = json_create();
    struct json_value root;
    const char *reason;
    struct buf said;

    buf_init(&said, sizeof(s->sidekiq_said) - 1);
    if (json_parse(json, report, &root, &reason) && root.type == JSON_OBJECT &&
        json_to_text(json_member(json, root, STR("sidekiq")), &said))
        snprintf(s->sidekiq_said, sizeof(s->sidekiq_said), "%s", buf_cstr(&said));
    buf_clear(&said);
    json_destroy(json);
}

/* Of the first machine that says it: those of older versions don't. */
static bool take_said(struct taking *t)
{
    struct survey *s = t->survey;

    for (size_t i = 0; i < s->identity_count && s->sidekiq_said[0] == '\0'; i++) {
        const struct str report[] = {STR("HGET"), str_of(t->session->keys.machines),
                                     str_of(s->identities[i].name)};
        if (!survey_is_alive(&s->identities[i]))
            continue;
        if (!ask(t, on_text, 3, report))
            return false;
        note_said(s, buf_str(&t->text));
    }
    return true;
}

/* A process whose hash is gone (60 s without a beat) is no consumer. */
static bool take_processes(struct taking *t)
{
    const struct str members[] = {STR("SMEMBERS"), str_of(t->session->keys.processes)};
    bool good = ask(t, on_processes, 2, members);

    for (size_t i = 0; i < t->process_count; i++) {
        char *key = keys_prefixed(&t->session->keys, str_of(t->processes[i]));
        const struct str info[] = {STR("HGET"), str_of(key), STR("info")};
        good = good && ask(t, on_text, 3, info);
        if (good && t->text.len > 0)
            count_consumer(t, str_of(t->processes[i]), buf_str(&t->text));
        free(key);
        free(t->processes[i]);
    }
    if (t->survey->sidekiq.process_seen) /* it says more than a job that may be older */
        t->survey->sidekiq.job_seen = false;
    return good;
}

static void copy_line(const char *text, const char *name, char *out, size_t size)
{
    const char *at = strstr(text, name);

    out[0] = '\0';
    if (at == NULL)
        return;
    at += strlen(name);
    snprintf(out, size, "%.*s", (int)strcspn(at, "\r\n"), at);
}

static int64_t number_of(const char *text, const char *name, int64_t unknown)
{
    char value[32];
    int64_t number;

    copy_line(text, name, value, sizeof(value));
    return str_to_i64(str_of(value), 0, INT64_MAX, &number) ? number : unknown;
}

static bool take_server(struct taking *t)
{
    const struct str server[] = {STR("INFO"), STR("server")};
    const struct str memory[] = {STR("INFO"), STR("memory")};

    if (!ask(t, on_text, 2, server))
        return false;
    copy_line(buf_cstr(&t->text), "redis_version:", t->survey->redis_version,
              sizeof(t->survey->redis_version));
    buf_reset(&t->text);
    if (!ask(t, on_text, 2, memory) && !redis_is_ready(t->redis))
        return false; /* lost; a refusal leaves the policy unknown */
    copy_line(buf_cstr(&t->text), "maxmemory_policy:", t->survey->policy,
              sizeof(t->survey->policy));
    t->survey->used_bytes = number_of(buf_cstr(&t->text), "used_memory:", -1);
    t->survey->max_bytes = number_of(buf_cstr(&t->text), "\nmaxmemory:", 0);
    return true;
}

bool survey_take(struct survey *survey, struct session *session, struct err *err)
{
    struct taking t = {.survey = survey, .session = session, .err = err};
    bool good;

    *survey = (struct survey){.live = 0};
    incumbent_evidence_init(&survey->sidekiq, session->config->sidekiq_version,
                            session->config->sidekiq_version_set);
    t.redis = session_redis(session, REDIS_ROLE_SIDEKIQ, err);
    if (t.redis == NULL)
        return false;
    buf_init(&t.text, 16 * 1024 * 1024);
    good = take_identities(&t) && take_queues(&t) && take_circuits(&t) && take_processes(&t) &&
           take_said(&t) && take_server(&t);
    buf_clear(&t.text);
    return good;
}

void survey_put_sidekiq(const struct survey *survey, struct buf *out)
{
    if (survey->sidekiq_said[0] != '\0')
        buf_put_str(out, str_of(survey->sidekiq_said));
    else
        incumbent_describe(&survey->sidekiq, out);
}
