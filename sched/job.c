#include "sched/job.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"

enum { RETRIES_DELIVERY = 16, RETRIES_LOW_PRIORITY = 8, MAX_ERROR_CHARACTERS = 10000 };
enum { LONGEST_PUSH_S = 2 };
/* JSON's longest escape makes six bytes of one. */
enum { MAX_ESCAPED_BYTES = 6 * JOB_MAX_PAYLOAD_BYTES + 2 };

/* Above this a number of seconds would lie after the year 5000: it counts milliseconds. */
static const double ms_threshold = 1e11;

static bool is_present(struct json_value value)
{
    return value.type != JSON_ABSENT && value.type != JSON_NULL;
}

/* As Ruby sees it. */
static bool is_truthy(struct json_value value)
{
    return is_present(value) && value.type != JSON_FALSE;
}

static void set_kind(struct job *job, enum job_kind kind, const char *reason)
{
    job->kind = kind;
    job->reason = reason;
}

/* Decodes into *memory and moves it on; a string without escapes is borrowed instead. */
static struct str decode_or_borrow(struct json_value value, char **memory)
{
    if (value.type != JSON_STRING)
        return STR_NULL;
    if (memchr(value.raw.ptr, '\\', value.raw.len) == NULL)
        return (struct str){value.raw.ptr + 1, value.raw.len - 2};
    struct str text = {*memory, json_copy_text(value, *memory)};
    *memory += text.len;
    return text;
}

static struct str decode(struct json_value value, char **memory)
{
    struct str text = {*memory, json_copy_text(value, *memory)};
    *memory += text.len;
    return text;
}

static void read_jid(struct job *job, struct json_value value)
{
    char decoded[6 * sizeof(job->jid)]; /* an escape makes at most six bytes of one */

    if (value.type != JSON_STRING || value.raw.len > sizeof(decoded))
        return;
    size_t len = json_copy_text(value, decoded);
    if (len < sizeof(job->jid) && memchr(decoded, '\0', len) == NULL)
        memcpy(job->jid, decoded, len);
}

/* A time of either unit in seconds; 0 when it is none, nor any of these. */
static double time_of(struct json_value value, bool *integer_ms)
{
    char text[64];
    int64_t integer = 0;

    *integer_ms = false;
    if (value.type != JSON_NUMBER || value.raw.len >= sizeof(text))
        return 0;
    memcpy(text, value.raw.ptr, value.raw.len);
    text[value.raw.len] = '\0';
    double seconds = strtod(text, NULL);
    if (!isfinite(seconds) || seconds < 0)
        return 0;
    if (seconds <= ms_threshold)
        return seconds;
    seconds /= 1000;
    if (seconds > ms_threshold) /* as sched/pair.lua has it */
        return 0;
    *integer_ms = json_to_i64(value, &integer);
    return seconds;
}

static void read_times(struct job *job, struct json_value created_at, struct json_value enqueued_at)
{
    bool any_unit;
    double enqueued_at_s = time_of(enqueued_at, &any_unit);

    job->created_at_s = time_of(created_at, &job->integer_ms_times);
    job->moved = job->created_at_s > 0 && enqueued_at_s - job->created_at_s > LONGEST_PUSH_S;
}

/* What can be said of any job, whoever runs it. */
static void read_common(struct job *job, const struct json *json, struct json_value root,
                        char **memory)
{
    struct json_value failed_at = json_member(json, root, STR("failed_at"));
    struct json_value dead = json_member(json, root, STR("dead"));
    struct json_value retry_queue = json_member(json, root, STR("retry_queue"));

    job->class_name = decode_or_borrow(json_member(json, root, STR("class")), memory);
    job->retry_queue = decode_or_borrow(retry_queue, memory);
    job->has_retry_queue = is_truthy(retry_queue);
    job->has_lock = json_member(json, root, STR("lock_digest")).type != JSON_ABSENT;
    job->has_failed_at = is_present(failed_at);
    job->dead = dead.type != JSON_FALSE;
    read_jid(job, json_member(json, root, STR("jid")));
    read_times(job, json_member(json, root, STR("created_at")),
               json_member(json, root, STR("enqueued_at")));
}

static const char *read_class(struct job *job)
{
    job->low_priority = str_equal(job->class_name, STR("ActivityPub::LowPriorityDeliveryWorker"));
    if (!job->low_priority && !str_equal(job->class_name, STR("ActivityPub::DeliveryWorker")))
        return "another class";
    return job->has_lock ? "lock_digest" : NULL;
}

static const char *read_retry(struct job *job, struct json_value retry)
{
    switch (retry.type) {
    case JSON_ABSENT:
    case JSON_NULL:
        job->max_retries = job->low_priority ? RETRIES_LOW_PRIORITY : RETRIES_DELIVERY;
        return NULL;
    case JSON_TRUE:
        job->max_retries = JOB_MAX_RETRIES_DEFAULT;
        return NULL;
    case JSON_FALSE:
        job->max_retries = -1;
        return NULL;
    case JSON_NUMBER:
        if (json_to_i64(retry, &job->max_retries) && job->max_retries >= 0)
            return NULL;
        return "an unknown retry";
    case JSON_STRING:
    case JSON_ARRAY:
    case JSON_OBJECT:
        break;
    }
    return "an unknown retry";
}

static const char *read_retry_count(struct job *job, struct json_value count)
{
    if (!is_truthy(count)) /* Sidekiq's own test */
        return NULL;
    if (!json_to_i64(count, &job->retry_count) || job->retry_count < 0 ||
        job->retry_count > INT32_MAX) {
        job->retry_count = -1;
        return "an unknown retry_count";
    }
    return NULL;
}

/* Members by which Sidekiq, its paid editions or extensions change how a job runs. */
static const char *read_features(const struct json *json, struct json_value root)
{
    static const char *const refused[] = {"retry_for", "bid", "backtrace", "log_level", "profile"};

    for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
        if (is_truthy(json_member(json, root, str_of(refused[i]))))
            return refused[i];
    }
    struct json_value retry_queue = json_member(json, root, STR("retry_queue"));
    if (is_truthy(retry_queue) && retry_queue.type != JSON_STRING)
        return "an unknown retry_queue";
    return NULL;
}

static const char *read_options(struct job *job, const struct json *json, struct json_value options)
{
    struct json_value synchronize = json_member(json, options, STR("synchronize_followers"));
    struct json_value bypass = json_member(json, options, STR("bypass_availability"));
    size_t known = (size_t)(synchronize.type != JSON_ABSENT) + (size_t)(bypass.type != JSON_ABSENT);

    if (options.type == JSON_ABSENT)
        return NULL;
    if (options.type != JSON_OBJECT)
        return "args of another shape";
    if (json_length(json, options) != known)
        return "an unknown option";
    if (is_truthy(bypass) && bypass.type != JSON_TRUE)
        return "an unknown option";
    job->bypass_availability = bypass.type == JSON_TRUE;
    job->synchronize_followers = is_truthy(synchronize);
    return NULL;
}

static const char *read_args(struct job *job, const struct json *json, struct json_value args,
                             char **memory)
{
    struct json_value body = json_element(json, args, 0);
    struct json_value account = json_element(json, args, 1);
    struct json_value inbox = json_element(json, args, 2);
    size_t count = json_length(json, args);

    if ((count != 3 && count != 4) || body.type != JSON_STRING || account.type != JSON_NUMBER ||
        inbox.type != JSON_STRING)
        return "args of another shape";
    if (!json_to_i64(account, &job->account_id))
        return "an account id that is no 64-bit integer";
    const char *reason = read_options(job, json, json_element(json, args, 3));
    if (reason != NULL)
        return reason;
    job->body_json = body.raw;
    job->inbox_url = decode(inbox, memory);
    return NULL;
}

/* NULL: a delivery of ours; otherwise why it isn't. */
static const char *read_delivery(struct job *job, const struct json *json, struct json_value root,
                                 struct json_value args, char **memory)
{
    const char *reason = read_class(job);

    if (reason == NULL)
        reason = read_features(json, root);
    if (reason == NULL)
        reason = read_retry(job, json_member(json, root, STR("retry")));
    if (reason == NULL)
        reason = read_retry_count(job, json_member(json, root, STR("retry_count")));
    if (reason == NULL)
        reason = read_args(job, json, args, memory);
    return reason;
}

void job_parse(struct job *job, struct json *json, struct str payload)
{
    struct json_value root;
    const char *reason;

    *job = (struct job){.payload = payload, .dead = true, .max_retries = -1, .retry_count = -1};
    if (payload.len > JOB_MAX_PAYLOAD_BYTES) {
        set_kind(job, JOB_HANDOFF, "too large");
        return;
    }
    if (!json_parse(json, payload, &root, &reason)) {
        set_kind(job, json_other_may_accept(json) ? JOB_HANDOFF : JOB_MALFORMED, reason);
        return;
    }
    struct json_value args = json_member(json, root, STR("args"));
    if (json_member(json, root, STR("class")).type != JSON_STRING || args.type != JSON_ARRAY) {
        set_kind(job, JOB_MALFORMED, "no class or no args");
        return;
    }
    /* Strings only shrink when decoded, so all of them fit; the body is not among them. */
    job->memory = mem_realloc(NULL, payload.len - json_element(json, args, 0).raw.len);
    char *memory = job->memory;
    read_common(job, json, root, &memory);
    reason = read_delivery(job, json, root, args, &memory);
    set_kind(job, reason == NULL ? JOB_DELIVERY : JOB_HANDOFF, reason == NULL ? "" : reason);
}

void job_clear(struct job *job)
{
    free(job->memory);
    *job = (struct job){.kind = JOB_MALFORMED, .reason = "cleared"};
}

void job_put_body(const struct job *job, struct buf *out)
{
    const struct json_value body = {JSON_STRING, job->body_json};

    if (body.raw.len > 0 && !json_to_text(body, out))
        abort(); /* it was found to be a string */
}

double job_enqueued_at_s(struct str payload)
{
    struct json *json = json_create();
    struct json_value root;
    const char *reason;
    bool any_unit;
    double at_s = 0;

    if (json_parse(json, payload, &root, &reason) && root.type == JSON_OBJECT)
        at_s = time_of(json_member(json, root, STR("enqueued_at")), &any_unit);
    json_destroy(json);
    return at_s;
}

static bool is_plain_jid_char(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' ||
           c == '_';
}

/* Where `"jid":"` stands as a key: such a run of bytes can't occur within a JSON string, where
 * each quote has a backslash before it. */
static struct str find_jid(struct str payload)
{
    static const char key[] = "\"jid\":\"";
    const size_t key_bytes = sizeof(key) - 1;

    while (payload.len > key_bytes) {
        const char *at = memmem(payload.ptr + 1, payload.len - 1, key, key_bytes);
        if (at == NULL)
            break;
        struct str behind = str_slice(payload, (size_t)(at - payload.ptr) + key_bytes);
        if (at[-1] == ',' || at[-1] == '{')
            return behind;
        payload = behind;
    }
    return STR_NULL;
}

bool job_peek_jid(struct str payload, char jid[64])
{
    struct str found = find_jid(payload);
    size_t len = 0;

    while (len < found.len && is_plain_jid_char(found.ptr[len]))
        len++;
    if (len == 0 || len > 63 || len == found.len || found.ptr[len] != '"')
        return false;
    if (find_jid(str_slice(found, len)).ptr != NULL) /* an argument may have such a key, too */
        return false;
    memcpy(jid, found.ptr, len);
    jid[len] = '\0';
    return true;
}

/* A member to set: its new value as JSON, and where the old one stands. */
struct edit {
    struct str key;
    struct str value;
    struct str old; /* ptr NULL: the object has no such member */
};

static struct edit *next_replacement(struct edit *edits, size_t count, const char *from)
{
    struct edit *next = NULL;

    for (size_t i = 0; i < count; i++) {
        if (edits[i].old.ptr != NULL && edits[i].old.ptr >= from &&
            (next == NULL || edits[i].old.ptr < next->old.ptr))
            next = &edits[i];
    }
    return next;
}

/* Appends `payload` with the members set: replaced where they stand, else added at the end in the
 * order of `edits`. A payload that is no object stays as it is. */
static void put_edited(struct buf *out, struct json *json, struct str payload, struct edit *edits,
                       size_t count)
{
    struct json_value root;
    const char *reason;
    const char *at = payload.ptr;

    if (!json_parse(json, payload, &root, &reason) || root.type != JSON_OBJECT) {
        buf_put_str(out, payload);
        return;
    }
    for (size_t i = 0; i < count; i++)
        edits[i].old = json_member(json, root, edits[i].key).raw;
    for (struct edit *edit; (edit = next_replacement(edits, count, at)) != NULL;) {
        buf_put(out, at, (size_t)(edit->old.ptr - at));
        buf_put_str(out, edit->value);
        at = edit->old.ptr + edit->old.len;
    }
    const char *brace = root.raw.ptr + root.raw.len - 1;
    buf_put(out, at, (size_t)(brace - at));
    bool first = json_length(json, root) == 0;
    for (size_t i = 0; i < count; i++) {
        if (edits[i].old.ptr != NULL)
            continue;
        buf_printf(out, "%s\"%.*s\":", first ? "" : ",", STR_ARG(edits[i].key));
        buf_put_str(out, edits[i].value);
        first = false;
    }
    buf_put(out, brace, (size_t)(payload.ptr + payload.len - brace));
}

/* Float seconds are always written with a fraction: Sidekiq 8 takes an integer for milliseconds. */
static struct str format_time(char text[32], int64_t now_us, bool integer_ms)
{
    struct buf out = {.ptr = text, .capacity_bytes = 32, .max_bytes = 31};

    if (integer_ms) {
        buf_printf(&out, "%lld", (long long)(now_us / 1000));
        return buf_str(&out);
    }
    buf_printf(&out, "%lld.%06lld", (long long)(now_us / 1000000), (long long)(now_us % 1000000));
    while (out.len > 2 && out.ptr[out.len - 1] == '0' && out.ptr[out.len - 2] != '.')
        out.len--; /* as Ruby writes it */
    return buf_str(&out);
}

static struct str format_count(char text[32], int64_t count)
{
    struct buf out = {.ptr = text, .capacity_bytes = 32, .max_bytes = 31};
    buf_printf(&out, "%lld", (long long)count);
    return buf_str(&out);
}

/* A byte that is no UTF-8 counts as a character: one U+FFFD is made of it. */
static struct str first_characters(struct str text, size_t max)
{
    size_t at = 0;

    for (size_t count = 0; count < max && at < text.len; count++) {
        size_t len = utf8_sequence(str_slice(text, at));
        at += len > 0 ? len : 1;
    }
    return (struct str){text.ptr, at};
}

void job_put_retry(struct buf *out, struct json *json, const struct job *job,
                   const struct job_failure *failure, int64_t *count_out)
{
    struct str queue = job->retry_queue.len > 0 ? job->retry_queue : failure->queue;
    bool again = job->retry_count >= 0;
    struct buf texts[3]; /* queue, message, class as JSON */
    char time[32];
    char count[32];

    *count_out = again ? job->retry_count + 1 : 0;
    for (size_t i = 0; i < 3; i++)
        buf_init(&texts[i], MAX_ESCAPED_BYTES);
    json_put_string(&texts[0], queue);
    json_put_string(&texts[1], first_characters(failure->error_message, MAX_ERROR_CHARACTERS));
    json_put_string(&texts[2], failure->error_class);
    struct str now = format_time(time, failure->now_us, failure->integer_ms);
    struct edit edits[] = {
        {STR("queue"), buf_str(&texts[0]), STR_NULL},
        {STR("error_message"), buf_str(&texts[1]), STR_NULL},
        {STR("error_class"), buf_str(&texts[2]), STR_NULL},
        {again ? STR("retried_at") : STR("failed_at"), now, STR_NULL},
        {STR("retry_count"), format_count(count, *count_out), STR_NULL},
    };
    put_edited(out, json, job->payload, edits, sizeof(edits) / sizeof(edits[0]));
    for (size_t i = 0; i < 3; i++)
        buf_clear(&texts[i]);
}

void job_put_enqueued(struct buf *out, struct json *json, struct str payload, int64_t now_us,
                      bool integer_ms)
{
    char time[32];
    struct edit edit = {STR("enqueued_at"), format_time(time, now_us, integer_ms), STR_NULL};
    put_edited(out, json, payload, &edit, 1);
}

void job_put_retry_queue(struct buf *out, struct json *json, struct str payload, struct str queue)
{
    struct buf text;

    buf_init(&text, MAX_ESCAPED_BYTES);
    json_put_string(&text, queue);
    struct edit edit = {STR("retry_queue"), buf_str(&text), STR_NULL};
    put_edited(out, json, payload, &edit, 1);
    buf_clear(&text);
}

bool job_queue(struct json *json, struct str payload, struct buf *out)
{
    struct json_value root;
    const char *reason;

    if (!json_parse(json, payload, &root, &reason) || root.type != JSON_OBJECT)
        return false;
    if (!json_to_text(json_member(json, root, STR("queue")), out))
        buf_put_str(out, STR("default"));
    return true;
}
