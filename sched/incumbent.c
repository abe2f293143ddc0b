#include "sched/incumbent.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/log.h"

enum { MAX_PROCESSES = 500, MAX_MAJOR = 999, SAID_BYTES = 256 };

/* The ones that Mastodon has, where only the form of a job is known. */
static const char last_of_6[] = "6.5.12";
static const char last_of_7[] = "7.3.9";
static const char first_of_8[] = "8.0.9";

/* --- versions --- */

/* It is shown to people, and written into our own info. */
static bool is_plain(struct str text)
{
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        if (!letter && (c < '0' || c > '9') && c != '.' && c != '-')
            return false;
    }
    return true;
}

static bool take_number(struct str *rest, int *out)
{
    size_t end = str_find(*rest, '.');
    int64_t number = 0;

    if (!str_to_i64((struct str){rest->ptr, end}, 0, MAX_MAJOR, &number))
        return false;
    *out = (int)number;
    *rest = str_slice(*rest, end + 1);
    return true;
}

bool incumbent_version_parse(struct incumbent_version *version, struct str text)
{
    struct incumbent_version read = {0, 0, ""};
    struct str rest = text;

    if (text.len >= sizeof(read.text) || !is_plain(text) || !take_number(&rest, &read.major) ||
        !take_number(&rest, &read.minor) || read.major < 6)
        return false;
    memcpy(read.text, text.ptr, text.len);
    *version = read;
    return true;
}

static struct incumbent_version known(const char *text)
{
    struct incumbent_version version = {0, 0, ""};

    if (!incumbent_version_parse(&version, str_of(text)))
        abort();
    return version;
}

/* --- evidence --- */

void incumbent_evidence_init(struct incumbent_evidence *evidence, const char *configured, bool set)
{
    *evidence = (struct incumbent_evidence){.set = set, .configured = known(configured)};
}

static double started_at_s(struct json_value value)
{
    char text[64];

    if (value.type != JSON_NUMBER || value.raw.len >= sizeof(text))
        return 0;
    memcpy(text, value.raw.ptr, value.raw.len);
    text[value.raw.len] = '\0';
    return strtod(text, NULL);
}

static bool is_fedpush(const struct json *json, struct json_value labels)
{
    for (size_t i = 0; labels.type == JSON_ARRAY && i < json_length(json, labels); i++) {
        if (str_equal(json_element(json, labels, i).raw, STR("\"fedpush\"")))
            return true;
    }
    return false;
}

/* Only Sidekiq 6 writes neither: its `info` has `queues`, but no weights. */
static bool read_version(const struct json *json, struct json_value root,
                         struct incumbent_version *version)
{
    struct json_value value = json_member(json, root, STR("version"));

    if (value.type == JSON_STRING)
        return incumbent_version_parse(version, (struct str){value.raw.ptr + 1, value.raw.len - 2});
    if (value.type != JSON_ABSENT || json_member(json, root, STR("weights")).type != JSON_ABSENT ||
        json_member(json, root, STR("queues")).type != JSON_ARRAY)
        return false;
    *version = known(last_of_6);
    return true;
}

void incumbent_see_process(struct incumbent_evidence *evidence, struct str identity,
                           struct str info)
{
    struct json *json = json_create();
    struct json_value root;
    struct incumbent_version version;
    const char *reason;

    if (json_parse(json, info, &root, &reason) && root.type == JSON_OBJECT &&
        !is_fedpush(json, json_member(json, root, STR("labels"))) &&
        read_version(json, root, &version)) {
        double at_s = started_at_s(json_member(json, root, STR("started_at")));
        if (!evidence->process_seen || at_s > evidence->process_started_s) {
            struct str shown = identity;
            while (shown.len > 0 && identity.ptr[shown.len - 1] != ':')
                shown.len--; /* the nonce tells nobody anything */
            evidence->process_seen = true;
            evidence->process_started_s = at_s;
            evidence->process_version = version;
            snprintf(evidence->process, sizeof(evidence->process), "%.*s",
                     (int)(shown.len > 0 ? shown.len - 1 : 0), shown.ptr);
        }
    }
    json_destroy(json);
}

enum incumbent_source incumbent_decide(const struct incumbent_evidence *evidence,
                                       struct incumbent_version *version)
{
    if (evidence->set) {
        *version = evidence->configured;
        return INCUMBENT_SET;
    }
    *version = evidence->process_seen ? evidence->process_version : evidence->configured;
    if (evidence->job_seen && evidence->job_integer_ms != (version->major >= 8)) {
        *version = known(evidence->job_integer_ms ? first_of_8 : last_of_7);
        return INCUMBENT_JOB;
    }
    return evidence->process_seen ? INCUMBENT_PROCESS : INCUMBENT_MASTODON;
}

void incumbent_describe(const struct incumbent_evidence *evidence, struct buf *out)
{
    struct incumbent_version version;
    enum incumbent_source source = incumbent_decide(evidence, &version);

    buf_printf(out, "%s, ", version.text);
    switch (source) {
    case INCUMBENT_SET:
        buf_put_str(out, STR("set by FEDPUSH_SIDEKIQ_VERSION"));
        break;
    case INCUMBENT_PROCESS:
        buf_printf(out, "seen in %s", evidence->process);
        break;
    case INCUMBENT_JOB:
        buf_put_str(out, STR("by the form of its jobs"));
        break;
    case INCUMBENT_MASTODON:
        buf_put_str(out, STR("by Mastodon's version; no Sidekiq is running"));
        break;
    }
}

/* --- the look --- */

struct look {
    struct incumbent *incumbent;
    char *identity;
};

struct incumbent {
    struct redis *redis;
    const struct keys *keys;
    struct incumbent_evidence evidence;
    struct incumbent_evidence fresh; /* of the look under way */
    struct incumbent_version version;
    struct buf said;  /* why it is that one */
    unsigned pending; /* answers awaited */
    bool lost;        /* one of them will not come: nothing is concluded */
};

struct incumbent *incumbent_create(struct redis *redis, const struct keys *keys,
                                   const char *configured, bool set)
{
    struct incumbent *incumbent = mem_alloc(sizeof(*incumbent));

    incumbent->redis = redis;
    incumbent->keys = keys;
    incumbent_evidence_init(&incumbent->evidence, configured, set);
    incumbent->version = incumbent->evidence.configured;
    buf_init(&incumbent->said, SAID_BYTES);
    incumbent_describe(&incumbent->evidence, &incumbent->said);
    return incumbent;
}

void incumbent_destroy(struct incumbent *incumbent)
{
    buf_clear(&incumbent->said);
    free(incumbent);
}

struct str incumbent_said(const struct incumbent *incumbent)
{
    return buf_str(&incumbent->said);
}

const struct incumbent_version *incumbent_version(const struct incumbent *incumbent)
{
    return &incumbent->version;
}

void incumbent_configure(struct incumbent *incumbent, const char *configured)
{
    incumbent->evidence.configured = incumbent->fresh.configured = known(configured);
}

void incumbent_saw_job(struct incumbent *incumbent, bool integer_ms)
{
    incumbent->evidence.job_seen = true;
    incumbent->evidence.job_integer_ms = integer_ms;
}

static void conclude(struct incumbent *incumbent)
{
    struct incumbent_version version;

    if (incumbent->fresh.process_seen) /* it says more than jobs that may be older */
        incumbent->evidence = incumbent->fresh;
    incumbent_decide(&incumbent->evidence, &version);
    buf_reset(&incumbent->said);
    incumbent_describe(&incumbent->evidence, &incumbent->said);
    if (strcmp(version.text, incumbent->version.text) == 0)
        return;
    incumbent->version = version;
    log_event(LOG_LEVEL_INFO, "another Sidekiq runs here",
              LOG_STR("version", incumbent_said(incumbent)));
}

static void answered(struct incumbent *incumbent, enum redis_status status)
{
    incumbent->lost = incumbent->lost || status == REDIS_LOST;
    if (--incumbent->pending == 0 && !incumbent->lost)
        conclude(incumbent);
}

/* The hash of a dead process is gone after a minute; its name stays longer. */
static void on_info(void *arg, enum redis_status status, const redisReply *reply)
{
    struct look *look = arg;
    struct incumbent *incumbent = look->incumbent;

    if (status == REDIS_REPLIED && reply->type == REDIS_REPLY_STRING)
        incumbent_see_process(&incumbent->fresh, str_of(look->identity),
                              (struct str){reply->str, (size_t)reply->len});
    free(look->identity);
    free(look);
    answered(incumbent, status);
}

static void on_processes(void *arg, enum redis_status status, const redisReply *reply)
{
    struct incumbent *incumbent = arg;
    size_t count =
        status == REDIS_REPLIED && reply->type == REDIS_REPLY_ARRAY ? reply->elements : 0;

    for (size_t i = 0; i < count && i < MAX_PROCESSES; i++) {
        struct str name = {reply->element[i]->str, (size_t)reply->element[i]->len};
        char *key = keys_prefixed(incumbent->keys, name);
        const struct str words[] = {STR("HGET"), str_of(key), STR("info")};
        struct look *look = mem_alloc(sizeof(*look));
        *look = (struct look){incumbent, str_dup(name)};
        incumbent->pending++;
        redis_send(incumbent->redis, on_info, look, 3, words);
        free(key);
    }
    answered(incumbent, status);
}

void incumbent_look(struct incumbent *incumbent)
{
    const struct str words[] = {STR("SMEMBERS"), str_of(incumbent->keys->processes)};

    if (incumbent->pending > 0)
        return;
    incumbent->fresh = (struct incumbent_evidence){.set = incumbent->evidence.set,
                                                   .configured = incumbent->evidence.configured};
    incumbent->lost = false;
    incumbent->pending = 1;
    redis_send(incumbent->redis, on_processes, incumbent, 2, words);
}
