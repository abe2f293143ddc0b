#include "sched/recover.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "sched/claim.h"
#include "sched/script.h"

/* More of the list a call than others put back meanwhile. */
enum { CHUNK = 50, WAIT_ROUND = 2000 };

/*
 * CONDEMNING (not AGAIN) --OK--> LISTING --seqs--> FETCHING --values--> LOOKING_UP --marks-->
 * RETURNING --left > 0--> FETCHING
 *                                                                                          --left =
 * 0--> DONE Nothing is kept between chunks but the list of seqs: whoever begins again, begins with
 * what is left.
 */
enum recover_state {
    RECOVER_CONDEMNING = 0,
    RECOVER_LISTING,
    RECOVER_FETCHING,
    RECOVER_LOOKING_UP,
    RECOVER_RETURNING,
    RECOVER_DONE,
};

struct held {
    uint64_t seq;
    char *payload;
    size_t payload_bytes;
    char jid[64];
    bool alone; /* ran alone when its owner died */
};

struct recovery {
    struct redis *redis;
    const struct keys *keys;
    struct clock clock;
    enum recover_mode mode;
    enum recover_state state;
    char *identity;
    char *claimed_key;
    char *wait_key;
    char *ledger_key;
    char *held_key;
    uint64_t *seqs; /* descending */
    size_t seq_count;
    size_t next;
    struct held chunk[CHUNK];
    size_t chunk_count;
    struct recover_result result;
    recover_fn *fn;
    void *arg;
    bool cancelled;
};

static void step(void *arg, enum redis_status status, const redisReply *reply);

static void clear_chunk(struct recovery *r)
{
    for (size_t i = 0; i < r->chunk_count; i++)
        free(r->chunk[i].payload);
    r->chunk_count = 0;
}

static void recovery_free(struct recovery *r)
{
    clear_chunk(r);
    free(r->identity);
    free(r->claimed_key);
    free(r->wait_key);
    free(r->ledger_key);
    free(r->held_key);
    free(r->seqs);
    free(r);
}

static void end(struct recovery *r)
{
    r->state = RECOVER_DONE;
    r->fn(r->arg, &r->result);
    recovery_free(r);
}

static void fail(struct recovery *r, struct str reason)
{
    snprintf(r->result.message, sizeof(r->result.message), "%.*s", STR_ARG(reason));
    end(r);
}

static void condemn(struct recovery *r)
{
    struct script_call *call = script_begin(SCRIPT_CONDEMN);
    script_key(call, r->keys->identities);
    script_arg(call, str_of(r->identity));
    script_arg(call, r->mode == RECOVER_OWN ? STR("own") : STR("stale"));
    r->state = RECOVER_CONDEMNING;
    script_send(call, r->redis, step, r);
}

static void list(struct recovery *r)
{
    const struct str words[] = {STR("HKEYS"), str_of(r->claimed_key)};
    r->state = RECOVER_LISTING;
    redis_send(r->redis, step, r, 2, words);
}

/* What its owner said of itself. */
static void forget_report(struct recovery *r)
{
    const struct str words[] = {STR("HDEL"), str_of(r->keys->machines), str_of(r->identity)};
    redis_send(r->redis, NULL, NULL, 3, words);
}

static int descending(const void *a, const void *b)
{
    uint64_t left = *(const uint64_t *)a;
    uint64_t right = *(const uint64_t *)b;
    return (left < right) - (left > right);
}

static void read_seqs(struct recovery *r, const redisReply *reply)
{
    free(r->seqs);
    r->seqs = mem_alloc(reply->elements * sizeof(uint64_t) + 1);
    r->seq_count = 0;
    r->next = 0;
    for (size_t i = 0; i < reply->elements; i++) {
        int64_t seq;
        struct str text = {reply->element[i]->str, (size_t)reply->element[i]->len};
        if (str_to_i64(text, 1, INT64_MAX, &seq))
            r->seqs[r->seq_count++] = (uint64_t)seq;
    }
    qsort(r->seqs, r->seq_count, sizeof(uint64_t), descending);
}

static void give_back(struct recovery *r);

static void fetch(struct recovery *r)
{
    char texts[CHUNK][24];
    struct str words[CHUNK + 2] = {STR("HMGET"), str_of(r->claimed_key)};

    clear_chunk(r);
    while (r->chunk_count < CHUNK && r->next < r->seq_count) {
        size_t i = r->chunk_count++;
        r->chunk[i] = (struct held){.seq = r->seqs[r->next++]};
        snprintf(texts[i], sizeof(texts[i]), "%" PRIu64, r->chunk[i].seq);
        words[i + 2] = str_of(texts[i]);
    }
    if (r->chunk_count == 0) {
        give_back(r); /* the wait list alone, or nothing: still the script decides that the identity
                         may go */
        return;
    }
    r->state = RECOVER_FETCHING;
    redis_send(r->redis, step, r, r->chunk_count + 2, words);
}

static void read_values(struct recovery *r, const redisReply *reply)
{
    for (size_t i = 0; i < r->chunk_count && i < reply->elements; i++) {
        enum claim_origin origin;
        struct str score;
        struct str payload;
        const redisReply *value = reply->element[i];
        if (value->type != REDIS_REPLY_STRING ||
            !claim_value_parse((struct str){value->str, (size_t)value->len}, &origin, &score,
                               &payload))
            continue;
        r->chunk[i].payload = str_dup(payload);
        r->chunk[i].payload_bytes = payload.len;
        (void)job_peek_jid(payload, r->chunk[i].jid);
    }
}

static void look_up(struct recovery *r)
{
    struct str words[CHUNK + 2] = {STR("HMGET"), str_of(r->keys->recoveries)};

    for (size_t i = 0; i < r->chunk_count; i++)
        words[i + 2] = str_of(r->chunk[i].jid);
    r->state = RECOVER_LOOKING_UP;
    redis_send(r->redis, step, r, r->chunk_count + 2, words);
}

static void read_marks(struct recovery *r, const redisReply *reply)
{
    for (size_t i = 0; i < r->chunk_count && i < reply->elements; i++) {
        const redisReply *mark = reply->element[i];
        r->chunk[i].alone =
            mark->type == REDIS_REPLY_STRING &&
            str_ends_with((struct str){mark->str, (size_t)mark->len}, STR(" alone")) &&
            r->chunk[i].jid[0] != '\0';
    }
}

static void give_back(struct recovery *r)
{
    struct script_call *call = script_begin(SCRIPT_RECOVER);
    struct buf poison[CHUNK];

    script_key(call, r->keys->identities);
    script_key(call, r->claimed_key);
    script_key(call, r->wait_key);
    script_key(call, r->keys->queue_push);
    script_key(call, r->keys->retry);
    script_key(call, r->keys->schedule);
    script_key(call, r->keys->dead);
    script_key(call, r->keys->recoveries);
    script_key(call, r->ledger_key);
    script_key(call, r->keys->ledger);
    script_key(call, r->keys->queue_pull);
    script_key(call, r->held_key);
    script_arg(call, str_of(r->identity));
    script_arg_number(call, clock_wall_us(&r->clock) / 1000000);
    script_arg_number(call, WAIT_ROUND);
    for (size_t i = 0; i < r->chunk_count; i++) {
        const struct held *held = &r->chunk[i];
        buf_init(&poison[i], JOB_MAX_PAYLOAD_BYTES + 4096);
        if (held->alone)
            job_put_dead(&poison[i], (struct str){held->payload, held->payload_bytes},
                         STR("Fedpush::PoisonJob"), STR("it ran alone when its process died"));
        script_arg_number(call, (int64_t)held->seq);
        script_arg(call, str_of(held->jid));
        script_arg(call, buf_str(&poison[i]));
    }
    r->state = RECOVER_RETURNING;
    script_send(call, r->redis, step, r);
    for (size_t i = 0; i < r->chunk_count; i++)
        buf_clear(&poison[i]);
}

static void returned(struct recovery *r, const redisReply *reply)
{
    if (reply->elements != 3) {
        fail(r, STR("unexpected reply"));
        return;
    }
    r->result.returned += (uint64_t)reply->element[0]->integer;
    r->result.poisoned += (uint64_t)reply->element[1]->integer;
    if (reply->element[2]->integer == 0) {
        r->result.ok = true;
        end(r);
    } else if (r->next < r->seq_count && reply->element[0]->integer < WAIT_ROUND) {
        fetch(r);
    } else {
        list(r); /* the wait list took a whole round, so the chunk is still there and comes before
                    the next one; or claims appeared meanwhile */
    }
}

static void step(void *arg, enum redis_status status, const redisReply *reply)
{
    struct recovery *r = arg;

    if (r->cancelled) {
        recovery_free(r);
        return;
    }
    if (status == REDIS_LOST || reply->type == REDIS_REPLY_ERROR) {
        fail(r, reply_error(status, reply));
        return;
    }
    if (reply_is(reply, STR("ALIVE"))) {
        r->result.alive = true;
        fail(r, STR("its owner is alive"));
        return;
    }
    switch (r->state) {
    case RECOVER_CONDEMNING:
        forget_report(r);
        list(r);
        break;
    case RECOVER_LISTING:
        read_seqs(r, reply);
        fetch(r);
        break;
    case RECOVER_FETCHING:
        read_values(r, reply);
        look_up(r);
        break;
    case RECOVER_LOOKING_UP:
        read_marks(r, reply);
        give_back(r);
        break;
    case RECOVER_RETURNING:
        returned(r, reply);
        break;
    case RECOVER_DONE:
        break;
    }
}

struct recovery *recover_start(struct redis *redis, const struct keys *keys, struct str identity,
                               enum recover_mode mode, const struct clock *clock, recover_fn *fn,
                               void *arg)
{
    struct recovery *r = mem_alloc(sizeof(*r));

    r->redis = redis;
    r->keys = keys;
    r->clock = *clock;
    r->mode = mode;
    r->identity = str_dup(identity);
    r->claimed_key = keys_claimed(keys, identity);
    r->wait_key = keys_wait(keys, identity);
    r->ledger_key = keys_ledger(keys, identity);
    r->held_key = keys_held(keys, identity);
    r->fn = fn;
    r->arg = arg;
    script_load(redis);
    if (mode == RECOVER_AGAIN)
        list(r); /* nobody is condemned: it is gone, or the script says ALIVE */
    else
        condemn(r);
    return r;
}

void recover_cancel(struct recovery *r)
{
    if (r != NULL)
        r->cancelled = true; /* freed by the answer that is under way */
}
