#include "sched/poller.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "sched/retry.h"

enum {
    FIRST_WAIT_MS = 10000,
    PER_PROCESS_MS = 5000,
    PAGE = 50,
    FIRST_PAGE = 4, /* until it is known how large entries are */
    PAGE_BYTES = 1024 * 1024,
    MAX_PAGES = 20,
};

/* IDLE --cadence--> RETRY (page after page) --> SCHEDULE (the same) --> IDLE */
enum poller_state { POLLER_IDLE = 0, POLLER_RETRY, POLLER_SCHEDULE, POLLER_STOPPED };

struct poller {
    struct poller_options o;
    struct json *json;
    enum poller_state state;
    int64_t next_ms;
    unsigned pages; /* read of this set, in this round */
    unsigned page;  /* how many entries the next one has */
    /* Entries of `retry` and `schedule` at whose head nothing is ours to do: the next page begins
     * behind them, in the next round, too, when this one ended before the set's end. */
    unsigned skipped[2];
};

struct poller *poller_create(const struct poller_options *options)
{
    struct poller *poller = mem_alloc(sizeof(*poller));
    poller->o = *options;
    poller->json = json_create();
    poller->next_ms = clock_mono_ms(options->clock) + FIRST_WAIT_MS;
    return poller;
}

void poller_destroy(struct poller *poller)
{
    if (poller == NULL)
        return;
    json_destroy(poller->json);
    free(poller);
}

void poller_stop(struct poller *poller)
{
    poller->state = POLLER_STOPPED;
}

void poller_lost(struct poller *poller)
{
    if (poller->state != POLLER_STOPPED)
        poller->state = POLLER_IDLE;
}

static unsigned *skipped(struct poller *poller)
{
    return &poller->skipped[poller->state == POLLER_SCHEDULE];
}

static const char *zset_key(const struct poller *poller)
{
    return poller->state == POLLER_RETRY ? poller->o.keys->retry : poller->o.keys->schedule;
}

static void on_entries(void *arg, enum redis_status status, const redisReply *reply);

static void read_page(struct poller *poller)
{
    char now[32];
    char from[16];
    char count[16];

    retry_score(now, clock_wall_us(poller->o.clock));
    snprintf(from, sizeof(from), "%u", *skipped(poller));
    snprintf(count, sizeof(count), "%u", poller->page);
    const struct str words[] = {STR("ZRANGEBYSCORE"), str_of(zset_key(poller)),
                                STR("-inf"),          str_of(now),
                                STR("LIMIT"),         str_of(from),
                                str_of(count)};
    redis_send(poller->o.redis, on_entries, poller, 7, words);
}

/* Those of one set, beginning where the last round of it had to end. */
static void read_set(struct poller *poller, enum poller_state state)
{
    poller->state = state;
    poller->pages = 0;
    poller->page = FIRST_PAGE;
    read_page(poller);
}

/* False: the entry stays where it is. */
static bool enqueue(struct poller *poller, struct str entry)
{
    struct job job;
    struct buf queue;
    struct buf pushed;

    job_parse(&job, poller->json, entry);
    bool ours = job.kind == JOB_DELIVERY || job.has_lock; /* or Ruby's alone */
    job_clear(&job);
    if (ours)
        return false;
    buf_init(&queue, 256);
    buf_init(&pushed, entry.len + 64);
    bool goes = job_queue(poller->json, entry, &queue) && !queue.overflow;
    if (goes) {
        char *key = keys_queue(poller->o.keys, buf_str(&queue));
        job_put_enqueued(&pushed, poller->json, entry, clock_wall_us(poller->o.clock),
                         poller->o.sidekiq->major >= 8);
        struct script_call *call = script_begin(SCRIPT_ENQUEUE);
        script_key(call, zset_key(poller));
        script_key(call, poller->o.keys->queues);
        script_key(call, key);
        script_arg(call, entry);
        script_arg(call, buf_str(&pushed));
        script_arg(call, buf_str(&queue));
        script_send(call, poller->o.redis, NULL, NULL);
        free(key);
    }
    buf_clear(&pushed);
    buf_clear(&queue);
    return goes;
}

static void on_entries(void *arg, enum redis_status status, const redisReply *reply)
{
    struct poller *poller = arg;

    if (poller->state == POLLER_STOPPED)
        return;
    if (status == REDIS_LOST || reply->type != REDIS_REPLY_ARRAY) {
        poller->state = POLLER_IDLE;
        return;
    }
    size_t bytes = 1;
    for (size_t i = 0; i < reply->elements; i++) {
        struct str entry = {reply->element[i]->str, (size_t)reply->element[i]->len};
        *skipped(poller) += !enqueue(poller, entry);
        bytes += entry.len;
    }
    bool at_end = reply->elements < poller->page;
    size_t fit = PAGE_BYTES * reply->elements / bytes;
    poller->page = fit > PAGE ? PAGE : fit > 0 ? (unsigned)fit : 1;
    if (at_end)
        *skipped(poller) = 0;
    if (!at_end && ++poller->pages < MAX_PAGES)
        read_page(poller);
    else if (poller->state == POLLER_RETRY)
        read_set(poller, POLLER_SCHEDULE);
    else
        poller->state = POLLER_IDLE;
}

/* Sidekiq's interval grows with the processes that poll; below ten of them it sleeps uniformly in
 * [0.5, 1.5) of it, from then on in [0, 1), since 8.1 in [0, 2). */
int64_t poller_cadence_ms(const struct incumbent_version *sidekiq, unsigned processes,
                          const struct rng *rng)
{
    int64_t interval_ms = (int64_t)PER_PROCESS_MS * (processes > 0 ? processes : 1);
    bool doubled = sidekiq->major > 8 || (sidekiq->major == 8 && sidekiq->minor >= 1);

    if (processes < 10)
        return interval_ms / 2 + (int64_t)rng_below(rng, (uint64_t)interval_ms);
    return (int64_t)rng_below(rng, (uint64_t)interval_ms * (doubled ? 2 : 1));
}

void poller_tick(struct poller *poller, unsigned processes)
{
    int64_t now_ms = clock_mono_ms(poller->o.clock);

    if (poller->state == POLLER_STOPPED || membership_state(poller->o.membership) != MEMBER_PRESENT)
        return;
    intake_due(poller->o.intake, ORIGIN_RETRY, poller->o.room(poller->o.arg));
    intake_due(poller->o.intake, ORIGIN_SCHEDULE, poller->o.room(poller->o.arg));
    if (poller->state == POLLER_IDLE && now_ms >= poller->next_ms) {
        poller->next_ms = now_ms + poller_cadence_ms(poller->o.sidekiq, processes, poller->o.rng);
        read_set(poller, POLLER_RETRY);
    }
}
