#include "sched/recent.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "base/table.h"

enum {
    KNOWN_BODY_BYTES = 64 * 1024, /* longer ones are not remembered */
    SLOT_BYTES = 64,              /* what table and allocator take for an inbox, roughly */
};

struct inbox {
    unsigned outcomes; /* that name it */
    uint64_t question; /* the last one that found it */
    size_t length;
    char text[];
};

struct outcome {
    uint64_t activity;
    struct inbox *inbox; /* NULL: nothing is here */
    int64_t at_ms;
    uint16_t status;
    uint8_t result;
};

struct recent {
    unsigned char key[crypto_shorthash_KEYBYTES];
    struct outcome *ring;
    size_t next;
    size_t count;
    struct table *inboxes; /* text -> struct inbox */
    size_t inbox_bytes;
    uint64_t questions;
    struct buf body; /* looked through last, as it stood in its job */
    uint64_t body_activity;
};

/* --- the id --- */

/* `at` is behind the opening quote; where the closing one is, or the end. */
static size_t end_of_string(struct str s, size_t at)
{
    size_t from = at;

    for (; at < s.len; at++) {
        const char *quote = memchr(s.ptr + at, '"', s.len - at);
        size_t escapes = 0;
        if (quote == NULL)
            break;
        at = (size_t)(quote - s.ptr);
        while (escapes < at - from && s.ptr[at - escapes - 1] == '\\')
            escapes++;
        if (escapes % 2 == 0)
            return at;
    }
    return s.len;
}

static size_t skip_blanks(struct str s, size_t at)
{
    while (at < s.len && strchr(" \t\r\n", s.ptr[at]) != NULL && s.ptr[at] != '\0')
        at++;
    return at;
}

/* The escapes that a URI may have: somebody's JSON writes every slash as "\/". */
static struct str unescape(struct str value, char text[RECENT_MAX_ID_BYTES])
{
    size_t length = 0;

    for (size_t at = 0; at < value.len; at++) {
        if (value.ptr[at] == '\\' && strchr("/\\\"", value.ptr[++at]) == NULL)
            return STR_NULL;
        text[length++] = value.ptr[at];
    }
    return (struct str){text, length};
}

/* The value of the member whose key ends before `at`, when that is a plain string. */
static struct str value_at(struct str body, size_t at, char text[RECENT_MAX_ID_BYTES])
{
    size_t end;

    at = skip_blanks(body, at);
    if (at >= body.len || body.ptr[at] != ':')
        return STR_NULL;
    at = skip_blanks(body, at + 1);
    if (at >= body.len || body.ptr[at] != '"')
        return STR_NULL;
    end = end_of_string(body, at + 1);
    if (end == body.len || end - at > RECENT_MAX_ID_BYTES)
        return STR_NULL;
    struct str value = {body.ptr + at + 1, end - at - 1};
    return str_find(value, '\\') == value.len ? value : unescape(value, text);
}

struct str recent_id_of(struct str body, char text[RECENT_MAX_ID_BYTES])
{
    unsigned depth = 0;
    bool key = false; /* the next string of depth 1 is one */

    for (size_t at = 0; at < body.len; at++) {
        switch (body.ptr[at]) {
        case '{':
            key = depth++ == 0;
            break;
        case '[':
            if (depth++ == 0)
                return STR_NULL;
            break;
        case '}':
        case ']':
            if (depth <= 1)
                return STR_NULL;
            depth--;
            break;
        case ',':
            key = depth == 1;
            break;
        case '"': {
            size_t end = end_of_string(body, at + 1);
            if (key && depth == 1 && end - at == 3 && memcmp(body.ptr + at, "\"id", 3) == 0)
                return value_at(body, end + 1, text);
            key = false;
            at = end;
            break;
        }
        default:
            if (depth == 0 && skip_blanks(body, at) == at)
                return STR_NULL;
        }
    }
    return STR_NULL;
}

struct str recent_id_of_job(const struct job *job, char text[RECENT_MAX_ID_BYTES])
{
    struct buf body;

    buf_init(&body, job->body_json.len);
    job_put_body(job, &body);
    struct str id = recent_id_of(buf_str(&body), text);
    if (id.len > 0 && id.ptr != text)
        memcpy(text, id.ptr, id.len);
    buf_clear(&body);
    return (struct str){text, id.len};
}

uint64_t recent_activity_of_id(const struct recent *recent, struct str id)
{
    uint64_t activity;

    if (id.len == 0)
        return 0;
    _Static_assert(sizeof(activity) == crypto_shorthash_BYTES, "a hash is a number");
    crypto_shorthash((unsigned char *)&activity, (const unsigned char *)id.ptr, id.len,
                     recent->key);
    return activity != 0 ? activity : 1;
}

uint64_t recent_activity(struct recent *recent, const struct job *job)
{
    char text[RECENT_MAX_ID_BYTES];
    struct str body = job->body_json;

    if (body.len > 0 && str_equal(buf_str(&recent->body), body))
        return recent->body_activity;
    uint64_t activity = recent_activity_of_id(recent, recent_id_of_job(job, text));
    if (body.len <= KNOWN_BODY_BYTES) {
        buf_reset(&recent->body);
        buf_put_str(&recent->body, body);
        recent->body_activity = activity;
    }
    return activity;
}

/* --- the ring --- */

struct recent *recent_create(void)
{
    struct recent *recent = mem_alloc(sizeof(*recent));

    crypto_shorthash_keygen(recent->key);
    recent->ring = mem_alloc(RECENT_OUTCOMES * sizeof(recent->ring[0]));
    recent->inboxes = table_create();
    buf_init(&recent->body, KNOWN_BODY_BYTES);
    return recent;
}

static size_t cost_of(const struct inbox *inbox)
{
    return sizeof(*inbox) + inbox->length + 1 + SLOT_BYTES;
}

static void drop_oldest(struct recent *recent)
{
    struct outcome *oldest =
        &recent->ring[(recent->next + RECENT_OUTCOMES - recent->count) % RECENT_OUTCOMES];
    struct inbox *inbox = oldest->inbox;

    recent->count--;
    oldest->inbox = NULL;
    if (--inbox->outcomes > 0)
        return;
    recent->inbox_bytes -= cost_of(inbox);
    table_remove(recent->inboxes, (struct str){inbox->text, inbox->length});
    free(inbox);
}

void recent_destroy(struct recent *recent)
{
    if (recent == NULL)
        return;
    while (recent->count > 0)
        drop_oldest(recent);
    table_destroy(recent->inboxes);
    buf_clear(&recent->body);
    free(recent->ring);
    free(recent);
}

size_t recent_count(const struct recent *recent)
{
    return recent->count;
}

size_t recent_bytes(const struct recent *recent)
{
    return RECENT_OUTCOMES * sizeof(recent->ring[0]) + recent->inbox_bytes;
}

static struct inbox *inbox_for(struct recent *recent, struct str text)
{
    struct inbox *inbox = table_get(recent->inboxes, text);

    if (inbox != NULL)
        return inbox;
    inbox = mem_alloc(sizeof(*inbox) + text.len + 1);
    inbox->length = text.len;
    memcpy(inbox->text, text.ptr, text.len);
    table_put(recent->inboxes, (struct str){inbox->text, inbox->length}, inbox);
    recent->inbox_bytes += cost_of(inbox);
    return inbox;
}

void recent_add(struct recent *recent, uint64_t activity, const struct health_event *event)
{
    struct outcome *outcome = &recent->ring[recent->next];

    if (activity == 0)
        return;
    if (recent->count == RECENT_OUTCOMES)
        drop_oldest(recent);
    *outcome = (struct outcome){activity, inbox_for(recent, event->inbox), event->wall_us / 1000,
                                event->status, (uint8_t)event->result};
    outcome->inbox->outcomes++;
    recent->next = (recent->next + 1) % RECENT_OUTCOMES;
    recent->count++;
    while (recent_bytes(recent) > RECENT_BYTES)
        drop_oldest(recent);
}

void recent_each(struct recent *recent, uint64_t activity, recent_fn *fn, void *arg)
{
    recent->questions++;
    for (size_t i = 1; i <= recent->count; i++) {
        const struct outcome *outcome =
            &recent->ring[(recent->next + RECENT_OUTCOMES - i) % RECENT_OUTCOMES];
        if (outcome->activity != activity || outcome->inbox->question == recent->questions)
            continue;
        outcome->inbox->question = recent->questions;
        const struct recent_outcome found = {
            .inbox = {outcome->inbox->text, outcome->inbox->length},
            .result = (enum health_result)outcome->result,
            .status = outcome->status,
            .at_ms = outcome->at_ms};
        fn(arg, &found);
    }
}
