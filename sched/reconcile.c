#include "sched/reconcile.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"

enum { CHUNK = 100 };

/* IDLE --HKEYS--> LISTING --answer--> FETCHING (while unknown seqs are left, 100 at a time) -->
 * IDLE */
enum reconcile_state { RECONCILE_IDLE = 0, RECONCILE_LISTING, RECONCILE_FETCHING };

struct reconcile {
    struct event_base *base;
    struct redis *redis;
    struct membership *membership;
    const struct keys *keys;
    struct holdings *holdings;
    struct intake *intake;
    enum reconcile_state state;
    uint64_t generation; /* answers from before a fence are about another identity */
    uint64_t *unknown;   /* seqs to fetch */
    size_t unknown_count;
    size_t fetched;
    loop_fn *done;
    void *done_arg;
};

struct reconcile *reconcile_create(struct event_base *base, struct redis *redis,
                                   struct membership *membership, const struct keys *keys,
                                   struct holdings *holdings, struct intake *intake)
{
    struct reconcile *r = mem_alloc(sizeof(*r));
    r->base = base;
    r->redis = redis;
    r->membership = membership;
    r->keys = keys;
    r->holdings = holdings;
    r->intake = intake;
    return r;
}

void reconcile_destroy(struct reconcile *r)
{
    if (r == NULL)
        return;
    free(r->unknown);
    free(r);
}

static void end(struct reconcile *r)
{
    free(r->unknown);
    r->unknown = NULL;
    r->state = RECONCILE_IDLE;
    if (r->done != NULL)
        loop_defer(r->base, r->done, r->done_arg);
    r->done = NULL;
}

void reconcile_forget(struct reconcile *r)
{
    r->generation++;
    free(r->unknown);
    r->unknown = NULL;
    r->state = RECONCILE_IDLE;
    r->done = NULL;
}

struct question {
    struct reconcile *reconcile;
    uint64_t generation;
};

static struct question *question(struct reconcile *r)
{
    struct question *question = mem_alloc(sizeof(*question));
    *question = (struct question){r, r->generation};
    return question;
}

/* Whose answer it is; NULL: it is too late. */
static struct reconcile *answered(void *arg)
{
    const struct question question = *(struct question *)arg;

    free(arg);
    return question.generation == question.reconcile->generation ? question.reconcile : NULL;
}

static int by_value(const void *a, const void *b)
{
    uint64_t left = *(const uint64_t *)a;
    uint64_t right = *(const uint64_t *)b;
    return (left > right) - (left < right);
}

static void on_put_back(void *arg, enum redis_status status, const redisReply *reply)
{
    struct reconcile *r = answered(arg);

    if (r == NULL || status == REDIS_LOST)
        return; /* the next connection compares again */
    if (reply_is(reply, STR("FENCED")))
        membership_fence(r->membership);
    else if (reply->type == REDIS_REPLY_ERROR)
        log_event(LOG_LEVEL_WARN, "putting claims back refused",
                  LOG_STR("error", reply_error(status, reply)));
}

static void put_back(struct reconcile *r, struct claim *const *missing, size_t count)
{
    for (size_t start = 0; start < count; start += CHUNK) {
        struct script_call *call = script_begin(SCRIPT_ADOPT);
        struct buf values[CHUNK];
        size_t n = count - start < CHUNK ? count - start : CHUNK;

        script_key(call, r->keys->identities);
        script_key(call, membership_claimed_key(r->membership));
        script_key(call, membership_ledger_key(r->membership));
        script_arg(call, membership_identity(r->membership));
        for (size_t i = 0; i < n; i++) {
            const struct claim *claim = missing[start + i];
            buf_init(&values[i], claim->payload_bytes + sizeof(claim->score) + 2);
            claim_value_put(&values[i], claim);
            script_arg_number(call, (int64_t)claim->seq);
            script_arg(call, buf_str(&values[i]));
        }
        script_send(call, r->redis, on_put_back, question(r));
        for (size_t i = 0; i < n; i++)
            buf_clear(&values[i]);
    }
    log_event(LOG_LEVEL_WARN, "claims missing in Redis were put back", LOG_INT("jobs", count));
}

/* A claim whose settlement was sent may be gone by right: the replay of its batch finds out. */
static void find_missing(struct reconcile *r, const uint64_t *present, size_t present_count)
{
    struct claim **missing =
        mem_alloc(table_count(r->holdings->by_seq) * sizeof(struct claim *) + 1);
    size_t count = 0;
    size_t at = 0;
    struct claim *claim;

    while ((claim = table_next(r->holdings->by_seq, &at)) != NULL) {
        if (claim->settle_sent)
            continue;
        if (present_count == 0 ||
            bsearch(&claim->seq, present, present_count, sizeof(uint64_t), by_value) == NULL)
            missing[count++] = claim;
    }
    if (count > 0)
        put_back(r, missing, count);
    free(missing);
}

static void fetch(struct reconcile *r);

static void on_values(void *arg, enum redis_status status, const redisReply *reply)
{
    struct reconcile *r = answered(arg);

    if (r == NULL)
        return;
    if (status == REDIS_LOST || reply->type != REDIS_REPLY_ARRAY) {
        end(r);
        return;
    }
    for (size_t i = 0; i < reply->elements && r->fetched + i < r->unknown_count; i++) {
        const redisReply *value = reply->element[i];
        uint64_t seq = r->unknown[r->fetched + i];
        if (value->type == REDIS_REPLY_STRING && holdings_find(r->holdings, seq) == NULL)
            intake_adopt(r->intake, seq, (struct str){value->str, (size_t)value->len});
    }
    r->fetched += reply->elements;
    fetch(r);
}

static void fetch(struct reconcile *r)
{
    char texts[CHUNK][24];
    struct str words[CHUNK + 2];
    size_t n = r->unknown_count - r->fetched;

    if (n == 0) {
        end(r);
        return;
    }
    if (n > CHUNK)
        n = CHUNK;
    words[0] = STR("HMGET");
    words[1] = str_of(membership_claimed_key(r->membership));
    for (size_t i = 0; i < n; i++) {
        snprintf(texts[i], sizeof(texts[i]), "%" PRIu64, r->unknown[r->fetched + i]);
        words[i + 2] = str_of(texts[i]);
    }
    r->state = RECONCILE_FETCHING;
    redis_send(r->redis, on_values, question(r), n + 2, words);
}

static void on_keys(void *arg, enum redis_status status, const redisReply *reply)
{
    struct reconcile *r = answered(arg);
    size_t count = 0;

    if (r == NULL)
        return;
    if (status == REDIS_LOST || reply->type != REDIS_REPLY_ARRAY ||
        membership_state(r->membership) != MEMBER_PRESENT) {
        end(r);
        return;
    }
    uint64_t *present = mem_alloc(reply->elements * sizeof(uint64_t) + 1);
    for (size_t i = 0; i < reply->elements; i++) {
        int64_t seq;
        struct str text = {reply->element[i]->str, (size_t)reply->element[i]->len};
        if (str_to_i64(text, 1, INT64_MAX, &seq))
            present[count++] = (uint64_t)seq;
    }
    qsort(present, count, sizeof(uint64_t), by_value);
    find_missing(r, present, count);
    r->unknown_count = 0;
    r->fetched = 0;
    for (size_t i = 0; i < count; i++) {
        if (holdings_find(r->holdings, present[i]) == NULL)
            present[r->unknown_count++] = present[i];
    }
    r->unknown = present;
    if (r->unknown_count > 0)
        log_event(LOG_LEVEL_INFO, "claims adopted whose answer was lost",
                  LOG_INT("jobs", r->unknown_count));
    fetch(r);
}

void reconcile_run(struct reconcile *r, loop_fn *done, void *arg)
{
    const struct str words[] = {STR("HKEYS"), str_of(membership_claimed_key(r->membership))};

    if (r->state != RECONCILE_IDLE)
        return; /* on one connection it ends before anything sent now; if lost, joining runs it
                   again */
    r->done = done;
    r->done_arg = arg;
    r->state = RECONCILE_LISTING;
    redis_send(r->redis, on_keys, question(r), 2, words);
}
