#include "sched/settle.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "sched/pair.h"
#include "sched/retry.h"

enum {
    BATCH_CLAIMS = 128,
    BATCH_BYTES = 512 * 1024,
    BATCH_WAIT_MS = 10,
    REPLAY_MS = 1000,
    COMPLAIN_MS = 60000,
    FIXED_KEYS = 14,
};

struct settle_item {
    struct claim *claim;
    struct settlement what;
    char *keys[2]; /* the queue of a hand-off; booked:HOST; wait:ID and held:ID; or NULL */
    char *name;    /* of the queue, the host, the machine; NULL: none of these */
    char *word;    /* says that and where its key stands in the script's call */
    char last[PAIR_TEXT + 24]; /* "PAIR SEQ" when nothing of its pair is left in our hands */
};

/*
 * GATHERING --full or 10 ms--> EFFECTS --tracked, or a second--> UNSENT --script sent--> SENT
 * --acknowledged--> freed SENT --lost or refused--> UNSENT (again after reconnecting, or a second)
 * SENT --the script fails again--> two halves, UNSENT: so that one that always fails stands alone
 */
enum batch_state { BATCH_GATHERING = 0, BATCH_EFFECTS, BATCH_UNSENT, BATCH_SENT, BATCH_FORGOTTEN };

struct batch {
    TAILQ_ENTRY(batch) entry;
    struct settle *settle;
    enum batch_state state;
    unsigned count;
    size_t bytes;
    bool refused; /* by the script itself, once: the next time it is parted */
    struct settle_item items[BATCH_CLAIMS];
};

struct settle {
    struct settle_options o;
    TAILQ_HEAD(, batch) batches; /* all but the forgotten ones */
    struct batch *gathering;
    struct loop_timer *flush_timer;
    struct loop_timer *replay_timer;
    unsigned pending;
    int64_t complained_ms; /* 0: never */
};

static void batch_free(struct batch *batch)
{
    for (unsigned i = 0; i < batch->count; i++) {
        buf_clear(&batch->items[i].what.bytes);
        free(batch->items[i].keys[0]);
        free(batch->items[i].keys[1]);
        free(batch->items[i].name);
        free(batch->items[i].word);
    }
    free(batch);
}

static const char *word_of(const struct settlement *what)
{
    static const enum ledger_entry by_verb[] = {
        [SETTLE_DONE] = LEDGER_DELIVERED,  [SETTLE_RETRY] = LEDGER_RETRIED,
        [SETTLE_SCHEDULE] = LEDGER_BOOKED, [SETTLE_DEAD] = LEDGER_DEAD,
        [SETTLE_RETURN] = LEDGER_RETURNED, [SETTLE_HANDOFF] = LEDGER_HANDED_OFF,
        [SETTLE_PASS] = LEDGER_RETURNED,
    };
    return ledger_word(what->entry == LEDGER_BY_VERB ? by_verb[what->verb] : what->entry);
}

static void put_keys(struct script_call *call, const struct settle_item *item)
{
    for (unsigned i = 0; i < 2 && item->keys[i] != NULL; i++)
        script_key(call, item->keys[i]);
}

/* What the script needs to know of a hand-off, a booking, a machine whose first key stands at
 * `index`. */
static struct str put_word(struct settle_item *item, unsigned index)
{
    const struct settlement *what = &item->what;
    char pair[PAIR_TEXT] = "0";

    if (what->pair != 0)
        pair_text(pair, what->pair);
    free(item->word); /* of a call that was lost */
    if (what->verb == SETTLE_HANDOFF || what->verb == SETTLE_PASS)
        item->word = mem_printf("%u %s", index, item->name);
    else
        item->word = mem_printf("%s %u %" PRIu32 " %s %" PRId64 " %s", what->score,
                                what->uncalled ? 0 : index, what->share_ms, pair,
                                claim_created_us(item->claim), item->name);
    return str_of(item->word);
}

static void put_item(struct script_call *call, struct settle_item *item, unsigned *index)
{
    static const char *const verbs[] = {"done",   "retry",   "schedule", "dead",
                                        "return", "handoff", "pass"};
    const struct settlement *what = &item->what;

    script_arg_number(call, (int64_t)item->claim->seq);
    script_arg(call, str_of(verbs[what->verb]));
    switch (what->verb) {
    case SETTLE_DONE:
    case SETTLE_RETURN:
        script_arg(call, STR_NULL);
        script_arg(call, STR_NULL);
        break;
    case SETTLE_RETRY:
    case SETTLE_SCHEDULE:
        script_arg(call, item->name != NULL ? put_word(item, *index) : str_of(what->score));
        script_arg(call, buf_str(&what->bytes));
        break;
    case SETTLE_DEAD:
        script_arg(call, buf_str(&what->bytes));
        script_arg(call, str_of(what->score));
        break;
    case SETTLE_HANDOFF:
    case SETTLE_PASS:
        script_arg(call, put_word(item, *index));
        script_arg(call, buf_str(&what->bytes));
        break;
    }
    for (unsigned i = 0; i < 2 && item->keys[i] != NULL; i++)
        ++*index;
    script_arg(call, item->claim->recoveries > 0 ? claim_jid(item->claim) : STR_NULL);
    script_arg(call, str_of(word_of(what)));
    script_arg(call, str_of(item->last));
}

static void let_go(struct settle *settle, struct settle_item *item)
{
    char pair[PAIR_TEXT];

    holdings_let_go(settle->o.holdings, item->claim);
    if (item->claim->let_go == 0)
        return;
    pair_text(pair, item->claim->hold);
    snprintf(item->last, sizeof(item->last), "%s %" PRIu64, pair, item->claim->let_go);
}

static void on_settled(void *arg, enum redis_status status, const redisReply *reply);

static void send_batch(struct batch *batch)
{
    struct settle *settle = batch->settle;
    const struct keys *keys = settle->o.keys;
    struct script_call *call = script_begin(SCRIPT_SETTLE);
    unsigned index = FIXED_KEYS + 1;
    char now[32];

    script_key(call, membership_claimed_key(settle->o.membership));
    script_key(call, keys->queue_push);
    script_key(call, keys->retry);
    script_key(call, keys->schedule);
    script_key(call, keys->dead);
    script_key(call, keys->queues);
    script_key(call, keys->recoveries);
    script_key(call, membership_ledger_key(settle->o.membership));
    script_key(call, keys->queue_pull);
    script_key(call, keys->reserved);
    script_key(call, keys->pairs);
    script_key(call, membership_held_key(settle->o.membership));
    script_key(call, membership_wait_key(settle->o.membership));
    script_key(call, keys->identities);
    for (unsigned i = 0; i < batch->count; i++)
        put_keys(call, &batch->items[i]);
    retry_score(now, clock_wall_us(settle->o.clock));
    script_arg(call, str_of(now));
    for (unsigned i = 0; i < batch->count; i++) {
        batch->items[i].claim->settle_sent = true;
        let_go(settle, &batch->items[i]);
        put_item(call, &batch->items[i], &index);
    }
    batch->state = BATCH_SENT;
    script_send(call, settle->o.redis, on_settled, batch);
}

static void try_send(struct batch *batch)
{
    batch->state = BATCH_UNSENT;
    if (membership_state(batch->settle->o.membership) == MEMBER_PRESENT)
        send_batch(batch);
}

/* The claims of an acknowledged batch are over. */
static void finish(struct batch *batch, const redisReply *reply)
{
    struct settle *settle = batch->settle;

    for (unsigned i = 0; i < batch->count; i++) {
        long long answer = i < reply->elements ? reply->element[i]->integer : 0;
        if (answer > 0) {
            settle->o.holdings->settled++;
            settle->o.holdings->handed_off += batch->items[i].what.verb == SETTLE_HANDOFF;
        } else {
            settle->o.holdings->fenced++;
        }
        if (settle->o.ended != NULL)
            settle->o.ended(settle->o.arg, batch->items[i].claim, answer > 1 ? answer : 0);
        holdings_remove(settle->o.holdings, batch->items[i].claim);
        claim_destroy(batch->items[i].claim);
    }
    settle->pending -= batch->count;
    if (settle->o.listed != NULL && reply->elements == batch->count + 1 &&
        reply->element[batch->count]->integer > 0)
        settle->o.listed(settle->o.arg);
    TAILQ_REMOVE(&settle->batches, batch, entry);
    batch_free(batch);
    settle->o.settled(settle->o.arg);
}

/* Not that Redis can't write now (OOM, READONLY, ..., which Redis before 7 wraps): something in the
 * batch can't be written. */
static bool is_of_batch(struct str error)
{
    static const char *const passing[] = {" -OOM ", " -READONLY ", " -MISCONF ", " -NOREPLICAS "};

    for (size_t i = 0; i < sizeof(passing) / sizeof(passing[0]); i++) {
        if (memmem(error.ptr, error.len, passing[i], strlen(passing[i])) != NULL)
            return false;
    }
    return str_starts_with(error, STR("ERR ")) || str_starts_with(error, STR("WRONGTYPE "));
}

static void part(struct batch *batch)
{
    struct batch *half = mem_alloc(sizeof(*half));
    unsigned left = batch->count / 2;

    half->settle = batch->settle;
    half->refused = true;
    half->count = batch->count - left;
    memcpy(half->items, batch->items + left, half->count * sizeof(half->items[0]));
    batch->count = left;
    TAILQ_INSERT_AFTER(&batch->settle->batches, batch, half, entry);
    try_send(batch);
    try_send(half);
}

static void complain(struct settle *settle, const struct batch *batch, struct str error)
{
    const struct claim *claim = batch->items[0].claim;
    int64_t now_ms = clock_mono_ms(settle->o.clock);

    if (settle->complained_ms != 0 && now_ms - settle->complained_ms < COMPLAIN_MS)
        return;
    settle->complained_ms = now_ms;
    if (batch->count == 1)
        log_event(LOG_LEVEL_ERROR, "a job can't be settled: kept, tried again each second",
                  LOG_STR("error", error), LOG_TEXT("job", claim->job.jid),
                  LOG_INT("seq", claim->seq), LOG_TEXT("as", word_of(&batch->items[0].what)));
    else
        log_event(LOG_LEVEL_WARN, "settling refused: kept, tried again", LOG_STR("error", error),
                  LOG_INT("jobs", batch->count));
}

static void refused(struct batch *batch, struct str error)
{
    struct settle *settle = batch->settle;
    bool again = batch->refused;

    complain(settle, batch, error);
    if (str_starts_with(error, STR("NOSCRIPT")))
        script_load(settle->o.redis);
    batch->refused = is_of_batch(error);
    if (again && batch->refused && batch->count > 1)
        part(batch);
    else if (!loop_timer_pending(settle->replay_timer))
        loop_timer_set(settle->replay_timer, REPLAY_MS);
}

static void on_settled(void *arg, enum redis_status status, const redisReply *reply)
{
    struct batch *batch = arg;

    if (batch->state == BATCH_FORGOTTEN) {
        batch_free(batch);
        return;
    }
    if (status == REDIS_REPLIED && reply->type == REDIS_REPLY_ARRAY) {
        finish(batch, reply);
        return;
    }
    batch->state = BATCH_UNSENT;
    if (status == REDIS_REPLIED)
        refused(batch, reply_error(status, reply));
}

static void on_tracked(void *arg)
{
    struct batch *batch = arg;

    if (batch->state == BATCH_FORGOTTEN)
        batch_free(batch);
    else
        try_send(batch);
}

static void flush(void *arg)
{
    struct settle *settle = arg;
    struct batch *batch = settle->gathering;
    struct tracker_event events[BATCH_CLAIMS];
    size_t count = 0;

    if (batch == NULL)
        return;
    settle->gathering = NULL;
    loop_timer_clear(settle->flush_timer);
    for (unsigned i = 0; i < batch->count; i++) {
        struct settle_item *item = &batch->items[i];
        if (item->what.track != TRACK_NOTHING && item->claim->tracker_host != NULL)
            events[count++] = (struct tracker_event){str_of(item->claim->tracker_host),
                                                     item->what.track == TRACK_SUCCESS};
    }
    if (count == 0 || settle->o.availability == NULL) {
        try_send(batch);
        return;
    }
    batch->state = BATCH_EFFECTS;
    availability_track(settle->o.availability, events, count, on_tracked, batch);
}

void settle_replay(struct settle *settle)
{
    struct batch *batch;

    TAILQ_FOREACH(batch, &settle->batches, entry)
    {
        if (batch->state == BATCH_UNSENT)
            try_send(batch);
    }
}

static void on_replay(void *arg)
{
    settle_replay(arg);
}

struct settle *settle_create(const struct settle_options *options)
{
    struct settle *settle = mem_alloc(sizeof(*settle));

    settle->o = *options;
    TAILQ_INIT(&settle->batches);
    settle->flush_timer = loop_timer_create(options->base, flush, settle);
    settle->replay_timer = loop_timer_create(options->base, on_replay, settle);
    return settle;
}

void settle_destroy(struct settle *settle)
{
    if (settle == NULL)
        return;
    settle_forget(settle);
    loop_timer_destroy(settle->flush_timer);
    loop_timer_destroy(settle->replay_timer);
    free(settle);
}

void settle_forget(struct settle *settle)
{
    struct batch *batch;

    while ((batch = TAILQ_FIRST(&settle->batches)) != NULL) {
        TAILQ_REMOVE(&settle->batches, batch, entry);
        if (batch->state == BATCH_EFFECTS || batch->state == BATCH_SENT)
            batch->state = BATCH_FORGOTTEN; /* freed by the answer that is under way */
        else
            batch_free(batch);
    }
    settle->gathering = NULL;
    settle->pending = 0;
    loop_timer_clear(settle->flush_timer);
}

static void name_keys(struct settle *settle, struct settle_item *item,
                      const struct settlement *what)
{
    const struct keys *keys = settle->o.keys;

    item->what.host = STR_NULL; /* it was borrowed */
    if (what->verb == SETTLE_HANDOFF) {
        item->name = str_dup(str_of(what->handoff_queue));
        item->keys[0] = keys_queue(keys, str_of(item->name));
    } else if (what->host.len > 0 &&
               (what->verb == SETTLE_RETRY || what->verb == SETTLE_SCHEDULE)) {
        item->name = str_dup(what->host);
        item->keys[0] = what->uncalled ? NULL : keys_booked(keys, what->host);
    } else if (what->verb == SETTLE_PASS) {
        item->name = str_dup(what->host);
        item->keys[0] = keys_wait(keys, what->host);
        item->keys[1] = keys_held(keys, what->host);
    }
}

void settle_add(struct settle *settle, struct claim *claim, struct settlement *settlement)
{
    struct batch *batch = settle->gathering;
    struct settle_item *item;

    if (batch == NULL) {
        batch = mem_alloc(sizeof(*batch));
        batch->settle = settle;
        TAILQ_INSERT_TAIL(&settle->batches, batch, entry);
        settle->gathering = batch;
        loop_timer_set(settle->flush_timer, BATCH_WAIT_MS);
    }
    item = &batch->items[batch->count++];
    item->claim = claim;
    item->what = *settlement;
    settlement->bytes = (struct buf){0};
    if (settlement->verb == SETTLE_DEAD)
        retry_score(item->what.score, clock_wall_us(settle->o.clock));
    name_keys(settle, item, settlement);
    claim->state = CLAIM_SETTLING;
    settle->pending++;
    batch->bytes += item->what.bytes.len;
    if (batch->count == BATCH_CLAIMS || batch->bytes >= BATCH_BYTES)
        flush(settle);
}

unsigned settle_pending(const struct settle *settle)
{
    return settle->pending;
}
