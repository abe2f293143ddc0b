#include "admin/trace_look.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/url.h"
#include "sched/claim.h"

/* They only read. ARGV of the first: kind, first, last; of the second: cursor, count; then the ids.
 * The answer: how many entries were looked at (or the cursor), then entry and score of each hit. */
static const char range_script[] =
    "local z = ARGV[1] == 'zset'"
    " local all = z and redis.call('ZRANGE', KEYS[1], ARGV[2], ARGV[3], 'WITHSCORES')"
    " or redis.call('LRANGE', KEYS[1], ARGV[2], ARGV[3])"
    " local step = z and 2 or 1 local out = {#all / step}"
    " for i = 1, #all, step do for j = 4, #ARGV do"
    " if string.find(all[i], ARGV[j], 1, true) then"
    " out[#out + 1] = all[i] out[#out + 1] = z and all[i + 1] or '0' break end end end return out";
static const char claims_script[] =
    "local r = redis.call('HSCAN', KEYS[1], ARGV[1], 'COUNT', ARGV[2]) local all = r[2]"
    " local out = {r[1]}"
    " for i = 2, #all, 2 do for j = 3, #ARGV do"
    " if string.find(all[i], ARGV[j], 1, true) then"
    " out[#out + 1] = all[i] out[#out + 1] = '0' break end end end return out";

enum { MAX_MACHINES = 200, FIXED = 7 };

struct machines {
    size_t count;
    char *names[MAX_MACHINES];
};

struct search {
    struct trace_look *look;
    struct redis *redis;
    struct json *json;
    struct json *body_json;
    enum trace_place place;
    const char *key;
    struct str machine;
    int64_t read; /* entries of the latest step */
    char cursor[32];
    struct err *err;
};

/* --- one job --- */

static bool is_one_of(const struct trace_ids *ids, struct str id)
{
    for (size_t i = 0; i < ids->count; i++) {
        if (str_equal(str_of(ids->ids[i]), id))
            return true;
    }
    return false;
}

/* A body beyond our parser's limits counts when it has the id as a whole string. */
static bool has_quoted(const struct trace_ids *ids, struct str body)
{
    bool found = false;

    for (size_t i = 0; i < ids->count && !found; i++) {
        char *quoted = mem_printf("\"%s\"", ids->ids[i]);
        found = memmem(body.ptr, body.len, quoted, strlen(quoted)) != NULL;
        free(quoted);
    }
    return found;
}

static bool is_activity(const struct search *s, struct str body)
{
    struct json_value root;
    const char *reason;
    struct buf id;

    if (!json_parse(s->body_json, body, &root, &reason))
        return has_quoted(s->look->ids, body);
    buf_init(&id, URL_MAX_BYTES);
    bool meant = json_to_text(json_member(s->body_json, root, STR("id")), &id) &&
                 is_one_of(s->look->ids, buf_str(&id));
    buf_clear(&id);
    return meant;
}

static void put_error(const struct search *s, struct str payload, struct buf *error)
{
    struct json_value root;
    const char *reason;

    if (json_parse(s->json, payload, &root, &reason) &&
        !json_to_text(json_member(s->json, root, STR("error_message")), error))
        buf_reset(error);
}

static bool is_meant(const struct search *s, const struct job *job)
{
    struct buf body;

    if (job->kind != JOB_DELIVERY)
        return false;
    buf_init(&body, JOB_MAX_PAYLOAD_BYTES);
    job_put_body(job, &body);
    bool meant = is_activity(s, buf_str(&body));
    buf_clear(&body);
    return meant;
}

static void look_at_job(struct search *s, struct str payload, double score)
{
    struct trace_job found = {.place = s->place, .due_s = score, .machine = s->machine};
    struct job job;
    struct buf error;

    job_parse(&job, s->json, payload);
    if (is_meant(s, &job)) {
        buf_init(&error, JOB_MAX_PAYLOAD_BYTES);
        put_error(s, payload, &error);
        found.inbox = job.inbox_url;
        found.error = buf_str(&error);
        found.failures = job.retry_count + 1;
        s->look->found(s->look->arg, &found);
        buf_clear(&error);
    }
    job_clear(&job);
}

/* --- one step --- */

static void look_at_hits(struct search *s, const redisReply *reply)
{
    for (size_t i = 1; i + 1 < reply->elements; i += 2) {
        struct str entry = redis_reply_text(reply->element[i]);
        struct str score = redis_reply_text(reply->element[i + 1]);
        enum claim_origin origin;
        struct str before;
        if (s->place != TRACE_HELD)
            look_at_job(s, entry, score.len > 0 ? strtod(score.ptr, NULL) : 0);
        else if (claim_value_parse(entry, &origin, &before, &entry))
            look_at_job(s, entry, 0);
    }
}

static void on_hits(void *arg, const redisReply *reply)
{
    struct search *s = arg;

    s->read = 0;
    snprintf(s->cursor, sizeof(s->cursor), "0");
    if (reply->type != REDIS_REPLY_ARRAY || reply->elements == 0)
        return;
    if (s->place == TRACE_HELD)
        snprintf(s->cursor, sizeof(s->cursor), "%.*s",
                 STR_ARG(redis_reply_text(reply->element[0])));
    else
        s->read = reply->element[0]->integer;
    look_at_hits(s, reply);
}

static bool step(struct search *s, const char *script, size_t count, const struct str *arguments)
{
    const struct trace_ids *ids = s->look->ids;
    struct str words[FIXED + TRACE_MAX_IDS] = {STR("EVAL"), str_of(script), STR("1"),
                                               str_of(s->key)};
    size_t n = 4;

    for (size_t i = 0; i < count; i++)
        words[n++] = arguments[i];
    for (size_t i = 0; i < ids->count; i++)
        words[n++] = str_of(ids->ids[i]);
    return session_command(s->look->session, s->redis, n, words, on_hits, s, s->err);
}

static void tell(const struct search *s, double share)
{
    if (s->look->progress != NULL)
        s->look->progress(s->look->arg,
                          ((double)s->place + (share < 1 ? share : 1)) / TRACE_PLACES);
}

static void on_length(void *arg, const redisReply *reply)
{
    if (reply->type == REDIS_REPLY_INTEGER)
        *(int64_t *)arg = reply->integer;
}

/* A list from its consuming end: the last element is the oldest. */
static bool search_range(struct search *s, bool list)
{
    const struct str length[] = {list ? STR("LLEN") : STR("ZCARD"), str_of(s->key)};
    int64_t total = 0;
    bool good = session_command(s->look->session, s->redis, 2, length, on_length, &total, s->err);

    s->read = TRACE_STEP;
    for (int64_t start = 0; good && s->read == TRACE_STEP; start += TRACE_STEP) {
        char first[32];
        char last[32];
        if (start >= TRACE_MAX_ENTRIES) {
            s->look->cut = true;
            break;
        }
        snprintf(first, sizeof(first), "%lld", (long long)(list ? -(start + TRACE_STEP) : start));
        snprintf(last, sizeof(last), "%lld",
                 (long long)(list ? -(start + 1) : start + TRACE_STEP - 1));
        const struct str arguments[] = {list ? STR("list") : STR("zset"), str_of(first),
                                        str_of(last)};
        good = step(s, range_script, 3, arguments);
        tell(s, (double)start / (double)(total > 0 ? total : 1));
    }
    return good;
}

/* --- claims --- */

static void on_machines(void *arg, const redisReply *reply)
{
    struct machines *list = arg;

    for (size_t i = 0; reply->type == REDIS_REPLY_ARRAY && i < reply->elements; i++) {
        if (list->count < MAX_MACHINES)
            list->names[list->count++] = str_dup(redis_reply_text(reply->element[i]));
    }
}

static bool search_claims_of(struct search *s, const char *machine)
{
    char *key = keys_claimed(&s->look->session->keys, str_of(machine));
    char count[16];
    bool good = true;
    int64_t steps = 0;

    s->key = key;
    s->machine = str_of(machine);
    snprintf(count, sizeof(count), "%d", TRACE_STEP);
    snprintf(s->cursor, sizeof(s->cursor), "0");
    do {
        char from[sizeof(s->cursor)];
        snprintf(from, sizeof(from), "%s", s->cursor);
        const struct str arguments[] = {str_of(from), str_of(count)};
        good = step(s, claims_script, 2, arguments);
        steps++;
    } while (good && strcmp(s->cursor, "0") != 0 && steps < TRACE_MAX_ENTRIES / TRACE_STEP);
    s->machine = STR_NULL;
    free(key);
    return good;
}

static bool search_claims(struct search *s)
{
    struct session *session = s->look->session;
    const struct str words[] = {STR("ZRANGE"), str_of(session->keys.identities), STR("0"),
                                STR("-1")};
    struct machines list = {.count = 0};
    bool good = session_command(session, s->redis, 4, words, on_machines, &list, s->err);

    for (size_t i = 0; i < list.count; i++) {
        good = good && search_claims_of(s, list.names[i]);
        free(list.names[i]);
    }
    return good;
}

/* --- all --- */

static bool search_place(struct search *s)
{
    const struct keys *keys = &s->look->session->keys;

    switch (s->place) {
    case TRACE_PUSH:
        s->key = keys->queue_push;
        return search_range(s, true);
    case TRACE_PULL:
        s->key = keys->queue_pull;
        return search_range(s, true);
    case TRACE_HELD:
        return search_claims(s);
    case TRACE_RETRY:
        s->key = keys->retry;
        return search_range(s, false);
    case TRACE_SCHEDULE:
        s->key = keys->schedule;
        return search_range(s, false);
    case TRACE_DEAD:
        s->key = keys->dead;
        return search_range(s, false);
    case TRACE_PLACES:
        break;
    }
    abort();
}

bool trace_look(struct trace_look *look, struct err *err)
{
    struct search s = {.look = look, .err = err};
    bool good = true;

    s.redis = session_redis(look->session, REDIS_ROLE_SIDEKIQ, err);
    if (s.redis == NULL)
        return false;
    s.json = json_create();
    s.body_json = json_create();
    for (int place = 0; place < TRACE_PLACES && good; place++) {
        s.place = (enum trace_place)place;
        good = search_place(&s);
        tell(&s, 1);
    }
    json_destroy(s.json);
    json_destroy(s.body_json);
    return good;
}
