#include "worker/sample.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/loop.h"
#include "base/table.h"

enum {
    AT_ONCE = 50,    /* jobs an answer, which are a few KB each and 3 MiB at most */
    FURTHEST = 2000, /* entries of `retry`, of which few may be ours */
    PEEK_MS = 200,
    MAX_SENDERS = 20,
};

void sample_init(struct sample *s, size_t wanted)
{
    *s = (struct sample){.wanted = wanted < SAMPLE_MAX ? wanted : SAMPLE_MAX};
    s->json = json_create();
    s->jids = table_create();
}

void sample_clear(struct sample *s)
{
    size_t at = 0;
    char *jid;

    for (size_t i = 0; i < s->count; i++)
        trial_clear(&s->trials[i]);
    while ((jid = table_next(s->jids, &at)) != NULL) {
        table_remove(s->jids, str_of(jid));
        free(jid);
    }
    table_destroy(s->jids);
    json_destroy(s->json);
}

/* --- what is looked at --- */

static struct sample_class *class_of(struct sample *s, struct str name)
{
    char text[sizeof(s->classes[0].name)];

    snprintf(text, sizeof(text), "%.*s", STR_ARG(name));
    if (name.len == 0)
        snprintf(text, sizeof(text), "no class");
    for (size_t i = 0; i < s->class_count; i++) {
        if (strcmp(s->classes[i].name, text) == 0)
            return &s->classes[i];
    }
    if (s->class_count == SAMPLE_MAX_CLASSES) {
        struct sample_class *last = &s->classes[SAMPLE_MAX_CLASSES - 1];
        snprintf(last->name, sizeof(last->name), "others");
        return last;
    }
    struct sample_class *fresh = &s->classes[s->class_count++];
    *fresh = (struct sample_class){.native = 0};
    snprintf(fresh->name, sizeof(fresh->name), "%s", text);
    return fresh;
}

static void count_class(struct sample *s, const struct job *job)
{
    struct sample_class *class = class_of(s, job->class_name);

    s->seen++;
    if (job->kind == JOB_HANDOFF) {
        class->handed_off++;
        class->reason = job->reason;
    } else {
        class->native++;
    }
}

/* False for one that was seen before, or when so many were that no more can be remembered. */
static bool is_new(struct sample *s, struct str payload)
{
    char jid[64] = "";

    if (table_count(s->jids) >= SAMPLE_MAX_SEEN)
        return false;
    if (!job_peek_jid(payload, jid))
        return true;
    if (table_get(s->jids, str_of(jid)) != NULL)
        return false;
    char *kept = str_dup(str_of(jid));
    table_put(s->jids, str_of(kept), kept);
    return true;
}

/* `retry` is everybody's: what belongs to other queues is none of ours. */
static bool is_ours(struct sample *s, const struct config *config, struct str payload)
{
    struct buf queue;

    buf_init(&queue, 256);
    bool ours = job_queue(s->json, payload, &queue) &&
                (str_equal(buf_str(&queue), STR("push")) ||
                 (config_takes_pull(config) && str_equal(buf_str(&queue), STR("pull"))));
    buf_clear(&queue);
    return ours;
}

static void look_at(struct sample *s, enum trial_source source, struct str payload)
{
    struct trial trial;

    if (!is_new(s, payload))
        return;
    trial_init(&trial, source, payload, s->json);
    count_class(s, &trial.job);
    if (s->count < s->wanted)
        s->trials[s->count++] = trial;
    else
        trial_clear(&trial);
}

/* --- Redis --- */

struct answer {
    struct sample *sample;
    const struct config *config;
    enum trial_source source;
    size_t jobs;
    bool from_the_end;
};

static void on_jobs(void *arg, const redisReply *reply)
{
    struct answer *answer = arg;

    answer->jobs = reply->type == REDIS_REPLY_ARRAY ? reply->elements : 0;
    for (size_t i = 0; i < answer->jobs; i++) {
        const redisReply *job = reply->element[answer->from_the_end ? answer->jobs - 1 - i : i];
        struct str payload = {job->str, (size_t)job->len};
        if (job->type == REDIS_REPLY_STRING &&
            (answer->source != TRIAL_RETRY || is_ours(answer->sample, answer->config, payload)))
            look_at(answer->sample, answer->source, payload);
    }
}

static bool peek(struct answer *answer, struct session *session, const char *command,
                 const char *key, int64_t first, int64_t last, struct err *err)
{
    char texts[2][24];
    struct redis *redis = session_redis(session, REDIS_ROLE_SIDEKIQ, err);

    snprintf(texts[0], sizeof(texts[0]), "%lld", (long long)first);
    snprintf(texts[1], sizeof(texts[1]), "%lld", (long long)last);
    const struct str words[] = {str_of(command), str_of(key), str_of(texts[0]), str_of(texts[1])};
    return redis != NULL && session_command(session, redis, 4, words, on_jobs, answer, err);
}

/* From the consuming end. */
static bool peek_queue(struct answer *queue, struct session *session, const char *key,
                       struct err *err)
{
    int64_t at = 0;

    do {
        if (!peek(queue, session, "LRANGE", key, -at - AT_ONCE, -at - 1, err))
            return false;
        at += AT_ONCE;
    } while (queue->jobs == AT_ONCE && queue->sample->count < queue->sample->wanted);
    return true;
}

static bool peek_retries(struct answer *retry, struct session *session, struct err *err)
{
    int64_t at = 0;

    do {
        if (!peek(retry, session, "ZRANGE", session->keys.retry, at, at + AT_ONCE - 1, err))
            return false;
        at += AT_ONCE;
    } while (retry->jobs == AT_ONCE && retry->sample->count < retry->sample->wanted &&
             at < FURTHEST);
    return true;
}

bool sample_waiting(struct sample *s, struct session *session, struct err *err)
{
    struct answer push = {.sample = s, .source = TRIAL_PUSH, .from_the_end = true};
    struct answer pull = {.sample = s, .source = TRIAL_PULL, .from_the_end = true};
    struct answer retry = {.sample = s, .source = TRIAL_RETRY, .config = session->config};

    return peek_queue(&push, session, session->keys.queue_push, err) &&
           (!config_takes_pull(session->config) ||
            peek_queue(&pull, session, session->keys.queue_pull, err)) &&
           peek_retries(&retry, session, err);
}

static void on_pause(void *arg)
{
    struct session *session = arg;
    session->done = true;
}

bool sample_passing(struct sample *s, struct session *session, unsigned seconds, struct err *err)
{
    struct answer push = {.sample = s, .source = TRIAL_PUSH};
    struct answer pull = {.sample = s, .source = TRIAL_PULL};
    int64_t end_ms = clock_mono_ms(&session->clock) + (int64_t)seconds * 1000;
    struct loop_timer *pause = loop_timer_create(session->base, on_pause, session);
    bool good = true;

    while (good && clock_mono_ms(&session->clock) < end_ms) {
        good = peek(&push, session, "LRANGE", session->keys.queue_push, 0, AT_ONCE - 1, err) &&
               (!config_takes_pull(session->config) ||
                peek(&pull, session, "LRANGE", session->keys.queue_pull, 0, AT_ONCE - 1, err));
        session->done = false;
        loop_timer_set(pause, PEEK_MS);
        session_wait(session, 10 * PEEK_MS);
    }
    loop_timer_destroy(pause);
    return good;
}

/* --- PostgreSQL --- */

/* A few random pages of each table, however large it is. */
static const char senders_sql[] =
    "SELECT account_id FROM users TABLESAMPLE SYSTEM (least(100, 100.0 * 20 /"
    " greatest(1, pg_relation_size('users') / current_setting('block_size')::int)))"
    " JOIN accounts ON accounts.id = account_id WHERE accounts.suspended_at IS NULL"
    " ORDER BY random() LIMIT 20";
static const char inboxes_sql[] =
    "SELECT inbox FROM (SELECT DISTINCT ON (domain) domain,"
    " coalesce(nullif(shared_inbox_url, ''), inbox_url) AS inbox"
    " FROM accounts TABLESAMPLE SYSTEM (least(100, 100.0 * 2 * $1::int /"
    " greatest(1, pg_relation_size('accounts') / current_setting('block_size')::int)))"
    " WHERE domain IS NOT NULL AND suspended_at IS NULL AND inbox_url <> '') AS known"
    " ORDER BY random() LIMIT $1::int";

struct draw {
    size_t sender_count;
    char senders[MAX_SENDERS][24];
    char *inboxes[SAMPLE_MAX];
    size_t inbox_count;
};

static void on_senders(void *arg, PGresult *result)
{
    struct draw *draw = arg;

    for (int row = 0; row < PQntuples(result) && draw->sender_count < MAX_SENDERS; row++)
        snprintf(draw->senders[draw->sender_count++], sizeof(draw->senders[0]), "%s",
                 PQgetvalue(result, row, 0));
}

static void on_inboxes(void *arg, PGresult *result)
{
    struct draw *draw = arg;

    for (int row = 0; row < PQntuples(result) && draw->inbox_count < SAMPLE_MAX; row++)
        draw->inboxes[draw->inbox_count++] = str_dup(str_of(PQgetvalue(result, row, 0)));
}

/* As Mastodon would have pushed it, with a body that nobody will read. */
static void add_pair(struct sample *s, const char *sender, struct str inbox)
{
    struct buf job;
    struct trial *trial = &s->trials[s->count];

    buf_init(&job, 64 * 1024);
    buf_printf(&job, "{\"class\":\"ActivityPub::DeliveryWorker\",\"args\":[");
    json_put_string(&job, STR("{\"@context\":\"https://www.w3.org/ns/activitystreams\",\"type\":"
                              "\"Note\",\"content\":\"fedpush rehearse\"}"));
    buf_printf(&job, ",%s,", sender);
    json_put_string(&job, inbox);
    buf_printf(&job, "],\"retry\":16,\"queue\":\"push\",\"dead\":false}");
    trial_init(trial, TRIAL_PAIR, buf_str(&job), s->json);
    s->count++;
    buf_clear(&job);
}

bool sample_pairs(struct sample *s, struct session *session, struct postgres *postgres,
                  struct err *err)
{
    struct draw *draw = mem_alloc(sizeof(*draw));
    char text[24];

    snprintf(text, sizeof(text), "%zu", s->wanted - s->count);
    const struct str wanted[] = {str_of(text)};
    bool good = s->count == s->wanted ||
                (session_query(session, postgres, senders_sql, 0, NULL, on_senders, draw, err) &&
                 session_query(session, postgres, inboxes_sql, 1, wanted, on_inboxes, draw, err));
    if (draw->sender_count == 0) /* the account that speaks for the server is always there */
        snprintf(draw->senders[draw->sender_count++], sizeof(draw->senders[0]), "-99");
    for (size_t i = 0; i < draw->inbox_count; i++) {
        if (good && s->count < s->wanted)
            add_pair(s, draw->senders[i % draw->sender_count], str_of(draw->inboxes[i]));
        free(draw->inboxes[i]);
    }
    free(draw);
    return good;
}
