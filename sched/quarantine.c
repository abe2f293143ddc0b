#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "sched/state.h"

enum { IDLE_STOP_MS = 30000, FORGET_S = 3 * 86400, CHUNK = 500 };

struct mark {
    struct scheduler *s;
    uint64_t generation;
    uint64_t seq;
};

static void ask_supervisor(struct scheduler *s, bool wanted)
{
    const char order = wanted ? 1 : 0;
    control_send(s->process.control, CONTROL_QUARANTINE, (struct str){&order, 1}, -1);
}

void quarantine_add(struct scheduler *s, struct claim *claim)
{
    claim->state = CLAIM_SUSPICIOUS;
    TAILQ_INSERT_TAIL(&s->quarantine.waiting, claim, entry);
    s->quarantine.count++;
    quarantine_step(s);
}

/* The mark as it is while the job only waits. */
static void put_mark(char value[64], const struct scheduler *s, const struct claim *claim)
{
    snprintf(value, 64, "%u %" PRId64, claim->recoveries,
             clock_wall_us(&s->process.clock) / 1000000);
}

/* It doesn't run any more, or not now: whoever finds it after a crash must not take it for the
 * cause. */
static void unmark(struct scheduler *s, struct claim *claim)
{
    char value[64];

    claim->alone = false;
    put_mark(value, s, claim);
    const struct str words[] = {STR("HSET"), str_of(s->keys.recoveries), claim_jid(claim),
                                str_of(value)};
    redis_send(s->redis, NULL, NULL, 4, words);
}

static void run_alone(struct scheduler *s, struct claim *claim)
{
    struct quarantine *q = &s->quarantine;

    TAILQ_REMOVE(&q->waiting, claim, entry);
    q->count--;
    claim->state = CLAIM_NEW;
    if (!admit_understand(s, claim) || limits_settle(s, claim)) {
        q->state = QUARANTINE_READY;
        return;
    }
    if (!dispatch_is_idle(s->dispatch, CONTROL_QUARANTINE_INDEX)) {
        unmark(s, claim);
        q->state = QUARANTINE_STARTING;
        quarantine_add(s, claim);
        return;
    }
    if (!admit_is_complete(s, claim)) {
        unmark(s, claim);
        q->state = QUARANTINE_READY;
        admit_await_followers(s, claim);
        return;
    }
    claim->alone = true;
    claim->state = CLAIM_FLIGHT;
    q->state = QUARANTINE_RUNNING;
    log_event(LOG_LEVEL_WARN, "job runs alone: it was twice in the hands of a process that died",
              LOG_TEXT("job", claim->job.jid), LOG_INT("recoveries", claim->recoveries));
    dispatch_send(s->dispatch, CONTROL_QUARANTINE_INDEX, claim);
}

static void on_marked(void *arg, enum redis_status status, const redisReply *reply)
{
    struct mark mark = *(struct mark *)arg;
    struct scheduler *s = mark.s;
    struct claim *first = TAILQ_FIRST(&s->quarantine.waiting);

    (void)reply;
    free(arg);
    if (mark.generation != s->asked_generation || s->quarantine.state != QUARANTINE_MARKING)
        return;
    s->quarantine.state = QUARANTINE_READY;
    if (status == REDIS_REPLIED && first != NULL && first->seq == mark.seq) {
        if (admit_takes_jobs(s))
            run_alone(s, first);
        else
            unmark(s, first);
    }
    if (status == REDIS_REPLIED)
        quarantine_step(s);
}

/* Whoever finds the mark after a crash knows that this job alone was at work: it is written before
 * anything looks at the job. */
static void write_mark(struct scheduler *s, struct claim *claim)
{
    char value[64];
    struct mark *mark = mem_alloc(sizeof(*mark));

    *mark = (struct mark){s, s->asked_generation, claim->seq};
    snprintf(value, sizeof(value), "%u %" PRId64 " alone", claim->recoveries,
             clock_wall_us(&s->process.clock) / 1000000);
    const struct str words[] = {STR("HSET"), str_of(s->keys.recoveries), claim_jid(claim),
                                str_of(value)};
    s->quarantine.state = QUARANTINE_MARKING;
    redis_send(s->redis, on_marked, mark, 4, words);
}

bool quarantine_landed(struct scheduler *s, struct claim *claim, bool tried)
{
    unmark(s, claim);
    if (tried)
        return false;
    if (s->state != SCHEDULER_RUNNING || s->standby.active) {
        conclude_simple(s, claim, SETTLE_RETURN);
        return true;
    }
    claim->state = CLAIM_HELD; /* bounded as the quarantine is: by what is claimed */
    claim->due_ms = clock_mono_ms(&s->process.clock) + claim_hold_ms(claim);
    TAILQ_INSERT_TAIL(&s->held, claim, entry);
    s->held_count++;
    return true;
}

void quarantine_step(struct scheduler *s)
{
    struct quarantine *q = &s->quarantine;
    int64_t now_ms = clock_mono_ms(&s->process.clock);
    bool worker = dispatch_is_idle(s->dispatch, CONTROL_QUARANTINE_INDEX);
    struct claim *first = TAILQ_FIRST(&q->waiting);

    switch (q->state) {
    case QUARANTINE_IDLE:
        if (first == NULL)
            break;
        ask_supervisor(s, true);
        q->state = QUARANTINE_STARTING;
        break;
    case QUARANTINE_STARTING:
    case QUARANTINE_RUNNING: /* ended when its worker has nothing in flight any more */
        if (!worker)
            break;
        q->state = QUARANTINE_READY;
        q->idle_ms = now_ms;
        quarantine_step(s);
        break;
    case QUARANTINE_READY:
        if (!worker) {
            q->state = QUARANTINE_STARTING; /* it died: the supervisor starts another */
        } else if (first != NULL && membership_is_fresh(s->membership) && admit_takes_jobs(s)) {
            write_mark(s, first);
        } else if (first == NULL && now_ms - q->idle_ms > IDLE_STOP_MS) {
            ask_supervisor(s, false);
            q->state = QUARANTINE_IDLE;
        }
        break;
    case QUARANTINE_MARKING:
        if (!redis_is_ready(s->redis))
            q->state = QUARANTINE_READY;
        break;
    }
}

void quarantine_forget(struct scheduler *s)
{
    s->quarantine.count = 0;
    TAILQ_INIT(&s->quarantine.waiting);
    if (s->quarantine.state == QUARANTINE_MARKING)
        s->quarantine.state = QUARANTINE_READY;
}

struct pruning {
    struct str words[CHUNK + 2];
    size_t count;
};

/* Jobs that Ruby took over meanwhile would be remembered for ever: what is older than any job's
 * retries is forgotten. */
static void on_recoveries(void *arg, enum redis_status status, const redisReply *reply)
{
    struct scheduler *s = arg;
    int64_t now_s = clock_wall_us(&s->process.clock) / 1000000;
    struct pruning *pruning;

    if (status == REDIS_LOST || reply->type != REDIS_REPLY_ARRAY)
        return;
    pruning = mem_alloc(sizeof(*pruning));
    pruning->words[0] = STR("HDEL");
    pruning->words[1] = str_of(s->keys.recoveries);
    for (size_t i = 0; i + 1 < reply->elements && pruning->count < CHUNK; i += 2) {
        const char *space = strchr(reply->element[i + 1]->str, ' ');
        if (space == NULL || now_s - strtoll(space, NULL, 10) > FORGET_S)
            pruning->words[2 + pruning->count++] =
                (struct str){reply->element[i]->str, (size_t)reply->element[i]->len};
    }
    if (pruning->count > 0)
        redis_send(s->redis, NULL, NULL, pruning->count + 2, pruning->words);
    free(pruning);
}

void quarantine_prune(struct scheduler *s)
{
    const struct str words[] = {STR("HGETALL"), str_of(s->keys.recoveries)};
    redis_send(s->redis, on_recoveries, s, 2, words);
}
