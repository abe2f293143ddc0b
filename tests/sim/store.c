#include "tests/sim/store.h"

#include <stdlib.h>

#include "base/str.h"
#include "sched/share.h"

enum { HOUR_MS = 3600000, WORD_MS = 5000, CLAIM_STEP = 32, DUE_LOOK = 64 };

void store_init(struct store *store, struct jobs *jobs, uint32_t host_count)
{
    *store = (struct store){.jobs = jobs, .host_count = host_count};
    store->retry.place = JOB_RETRY;
    store->schedule.place = JOB_SCHEDULE;
    store->hosts = mem_alloc(host_count * sizeof(struct store_host));
}

void store_clear(struct store *store)
{
    ring_clear(&store->push);
    ring_clear(&store->pull);
    scored_clear(&store->retry);
    scored_clear(&store->schedule);
    for (uint32_t i = 0; i < store->host_count; i++)
        booked_clear(&store->hosts[i].booked);
    free(store->hosts);
    for (unsigned i = 0; i < STORE_MACHINES; i++)
        ring_clear(&store->wait[i]);
    owners_clear(&store->owners);
    free(store->changed);
}

/* `calls` round trips with `commands` in all. */
static void count(struct store *store, unsigned calls, unsigned commands)
{
    store->calls += calls;
    store->commands += commands;
}

static struct ring *queue_of(struct store *store, bool pull)
{
    return pull ? &store->pull : &store->push;
}

static void enqueue(struct store *store, uint32_t job, bool taken_next)
{
    struct sim_job *it = &store->jobs->list[job];
    struct ring *queue = queue_of(store, it->low);

    it->place = it->low ? JOB_PULL : JOB_PUSH;
    if (taken_next)
        ring_push_first(queue, job);
    else
        ring_push(queue, job);
}

void store_push(struct store *store, uint32_t job)
{
    enqueue(store, job, false);
}

/* --- claims --- */

static void claimed(struct store *store, uint32_t job)
{
    struct sim_job *it = &store->jobs->list[job];
    it->place = JOB_CLAIMED;
    if (it->touched < UINT16_MAX)
        it->touched++;
}

void store_wait(struct store *store)
{
    count(store, 1, 1);
}

void store_join(struct store *store, unsigned machine)
{
    store->present[machine] = true;
}

/* What waits for it; the newest first, so that the oldest is taken next. */
static void give_back(struct store *store, unsigned machine)
{
    uint32_t job;

    while (ring_take_last(&store->wait[machine], &job)) {
        owners_came(&store->owners, &store->jobs->list[job]);
        enqueue(store, job, true);
    }
}

void store_leave(struct store *store, unsigned machine)
{
    give_back(store, machine);
    store->present[machine] = false;
}

static unsigned others_of(const struct store *store, unsigned machine)
{
    unsigned count = 0;

    for (unsigned i = 0; i < STORE_MACHINES; i++)
        count += store->present[i] && i != machine;
    return count;
}

static int holder_of(const struct store *store, unsigned machine, uint32_t job)
{
    int holder = owners_find(&store->owners, &store->jobs->list[job]);
    return holder != (int)machine && holder >= 0 && store->present[holder] ? holder : OWNER_NONE;
}

static void take(struct store *store, unsigned machine, uint32_t job, enum job_place from,
                 int64_t unix_ms)
{
    const struct sim_job *it = &store->jobs->list[job];

    /* ZCOUNT of both sets for the last one before it that is booked */
    if (booked_ahead(&store->hosts[it->host].booked, it, unix_ms * 1000) > 0)
        count(store, 0, 2);
    claimed(store, job);
    store->jobs->list[job].from = (uint8_t)from;
    store->jobs->list[job].seq = (uint32_t)++store->seqs[machine];
    booked_came(&store->hosts[store->jobs->list[job].host].booked, &store->jobs->list[job]);
    owners_take(&store->owners, &store->jobs->list[job], machine);
}

unsigned store_claim(struct store *store, unsigned machine, bool pull, int64_t unix_ms,
                     unsigned most, uint32_t *jobs)
{
    struct ring *queue = queue_of(store, pull);
    unsigned found = 0;
    unsigned moved = 0;
    uint32_t job;

    while (!pull && found < most && ring_take(&store->wait[machine], &job)) {
        take(store, machine, job, JOB_PUSH, unix_ms);
        owners_came(&store->owners, &store->jobs->list[job]);
        jobs[found++] = job;
    }
    while (found + moved < most && ring_take(queue, &job)) {
        int holder = holder_of(store, machine, job);
        if (holder != OWNER_NONE) {
            ring_push(&store->wait[holder], job);
            owners_wait(&store->owners, &store->jobs->list[job]);
            moved++;
            continue;
        }
        take(store, machine, job, pull ? JOB_PULL : JOB_PUSH, unix_ms);
        jobs[found++] = job;
    }
    /* HDEL, ZSCORE, HLEN, ZCARD, ZRANGE; LINDEX, LRANGE, HMGET of what is booked, HINCRBY, HSET
     * twice, LTRIM a step; LINDEX of both lists at the end; the ledger. Each other machine: LRANGE,
     * and HMGET a step. HGET, HSET, LPUSH of what goes to one of them. */
    unsigned steps = (found + moved + CLAIM_STEP - 1) / CLAIM_STEP;
    count(store, 1, 8 + 7 * steps + 3 * moved + others_of(store, machine) * (1 + steps));
    return found;
}

/* In the order of its account's jobs; `clocked`: `at_us` is of its host's clock. */
static int64_t book(struct store *store, uint32_t job, int64_t at_us, bool clocked, int64_t unix_ms)
{
    struct sim_job *it = &store->jobs->list[job];
    struct store_host *host = &store->hosts[it->host];
    bool failed = it->retry_count >= 0;

    if (it->account != 0 && !it->low) {
        at_us = booked_in_order(&host->booked, it, at_us, clocked, unix_ms * 1000);
        count(store, 0, 1); /* HGET */
        if (store->paired_call != store->booking_calls)
            count(store, 0, 3); /* HLEN, HSET, EXPIRE a call */
        store->paired_call = store->booking_calls;
    }
    scored_add(failed ? &store->retry : &store->schedule, store->jobs, job, at_us);
    booked_add(&host->booked, store->jobs, job, at_us, unix_ms * 1000);
    count(store, 0, 2); /* ZCOUNT, ZADD */
    if (host->booking_call != store->booking_calls) {
        host->booking_call = store->booking_calls;
        /* Each host: ZREMRANGEBYSCORE, ZADD, ZREMRANGEBYRANK, EXPIRE; HGET and HSET of its clock */
        count(store, 0, clocked ? 6 : 5);
    }
    return at_us;
}

static bool stays(struct store *store, uint32_t job, bool schedule, int64_t unix_ms,
                  const struct ahead_sim *ahead)
{
    struct sim_job *it = &store->jobs->list[job];
    int64_t until_ms = ahead->wanted ? ahead->parks_until_ms(ahead->arg, job, schedule) : 0;

    if (until_ms == 0)
        return false;
    booked_came(&store->hosts[it->host].booked, it);
    ahead->parked(ahead->arg, job, book(store, job, until_ms * 1000, false, unix_ms));
    return true;
}

unsigned store_due(struct store *store, unsigned machine, bool schedule, int64_t unix_ms,
                   unsigned most, uint32_t *jobs, const struct ahead_sim *ahead)
{
    struct scored *set = schedule ? &store->schedule : &store->retry;
    uint32_t passed[DUE_LOOK];
    unsigned found = 0;
    unsigned kept = 0;
    unsigned pass = 0;
    uint32_t job;

    store->booking_calls++;
    while (found + kept < most && pass < DUE_LOOK &&
           scored_take(set, store->jobs, unix_ms * 1000, &job)) {
        if (stays(store, job, schedule, unix_ms, ahead)) {
            kept++;
        } else if (holder_of(store, machine, job) != OWNER_NONE) {
            passed[pass++] = job;
        } else {
            take(store, machine, job, set->place, unix_ms);
            jobs[found++] = job;
        }
    }
    while (pass > 0) {
        job = passed[--pass];
        scored_add(set, store->jobs, job, store->jobs->list[job].score_us);
    }
    /* HDEL, ZSCORE, HLEN, ZRANGEBYSCORE, the same again for names; HINCRBY, HSET, ZREM a job; HMGET
     * twice and once for each other machine, HSET, the ledger; TIME. */
    count(store, 1, (ahead->wanted ? 5u : 4u) + (kept > 0));
    count(store, 0, 3 * found + (found > 0 ? 4 + others_of(store, machine) : 0));
    return found;
}

/* --- ends of claims --- */

void store_settle(struct store *store)
{
    store->booking_calls++;
    count(store, 1, 7); /* HDEL, HMGET and HDEL of pairs, the ledger, LLEN, HLEN, HEXISTS */
}

void store_settle_over(struct store *store, uint32_t job, enum job_place place)
{
    store->jobs->list[job].place = (uint8_t)place;
    owners_give(&store->owners, &store->jobs->list[job]);
    count(store, 0, 2); /* HEXISTS, HDEL */
}

void store_settle_at(struct store *store, uint32_t job, int64_t unix_us)
{
    bool failed = store->jobs->list[job].retry_count >= 0;

    owners_give(&store->owners, &store->jobs->list[job]);
    scored_add(failed ? &store->retry : &store->schedule, store->jobs, job, unix_us);
    count(store, 0, 3); /* HEXISTS, ZADD, HDEL */
}

int64_t store_settle_booked(struct store *store, uint32_t job, int64_t at_us, int64_t share_ms,
                            int64_t unix_ms)
{
    const struct sim_job *it = &store->jobs->list[job];
    struct store_host *host = &store->hosts[it->host];

    if (share_ms > 0) {
        if (host->reserved_ms > unix_ms + HOUR_MS)
            host->reserved_ms = unix_ms + HOUR_MS;
        if (host->reserved_ms < at_us / 1000)
            host->reserved_ms = at_us / 1000;
        host->reserved_ms += share_ms;
        at_us = host->reserved_ms * 1000 + it->seq % 1000;
    }
    owners_give(&store->owners, &store->jobs->list[job]);
    count(store, 0, 2); /* HEXISTS, HDEL */
    return book(store, job, at_us, share_ms > 0, unix_ms);
}

/* What waits in the machine's list since it belongs behind this job, the newest first. */
static void bring_along(struct store *store, unsigned machine, uint32_t job)
{
    struct ring *wait = &store->wait[machine];
    const struct sim_job *it = &store->jobs->list[job];
    size_t left = wait->count;
    uint32_t other;

    while (left-- > 0 && ring_take_last(wait, &other)) {
        const struct sim_job *its = &store->jobs->list[other];
        if (its->account != it->account || its->host != it->host) {
            ring_push_first(wait, other);
            continue;
        }
        owners_came(&store->owners, its);
        enqueue(store, other, true);
    }
}

void store_settle_return(struct store *store, unsigned machine, uint32_t job, int64_t unix_ms)
{
    const struct sim_job *it = &store->jobs->list[job];

    owners_give(&store->owners, it);
    if (it->from == JOB_RETRY || it->from == JOB_SCHEDULE) {
        scored_add(it->from == JOB_RETRY ? &store->retry : &store->schedule, store->jobs, job,
                   it->score_us);
        booked_returned(&store->hosts[it->host].booked, it, unix_ms * 1000);
    } else {
        bring_along(store, machine, job);
        enqueue(store, job, true);
    }
    count(store, 0, 5); /* HEXISTS, HGET twice, RPUSH or ZADD, HDEL */
}

void store_yield(struct store *store, unsigned machine)
{
    /* ZREM, LINDEX, HLEN, HEXISTS, LLEN; LINDEX, HGET, RPUSH, LPOP each */
    count(store, 1, 5 + 4 * (unsigned)store->wait[machine].count);
    give_back(store, machine);
}

void store_track(struct store *store, bool success)
{
    count(store, 0, success ? 1 : 2); /* DEL, or SADD and SCARD, in a pipeline */
}

/* --- the fleet --- */

static void log_change(struct store *store, unsigned machine, uint32_t host)
{
    if (store->changes == store->change_capacity) {
        store->change_capacity = store->change_capacity > 0 ? store->change_capacity * 2 : 1024;
        store->changed =
            mem_realloc(store->changed, store->change_capacity * sizeof(struct change));
    }
    store->changed[store->changes++] = (struct change){host, machine};
}

unsigned store_pulse(struct store *store, unsigned machine, size_t *read, unsigned most,
                     uint32_t *hosts)
{
    unsigned found = 0;

    for (; found < most && *read < store->changes; (*read)++) {
        if (store->changed[*read].machine != machine)
            hosts[found++] = store->changed[*read].host;
    }
    count(store, 1, 4 + found); /* ZREM, TIME, ZCOUNT, ZRANGEBYSCORE; HGET each */
    return found;
}

struct heard store_say(struct store *store, unsigned machine, const struct word *word,
                       int64_t unix_ms)
{
    struct heard heard = {.healthy_others = 0};
    unsigned alive = 0;
    double held = 0;

    for (unsigned i = 0; i < STORE_MACHINES; i++)
        alive += store->words[i].alive;
    double even = word->rate / alive;
    for (unsigned i = 0; i < STORE_MACHINES; i++) {
        const struct store_word *it = &store->words[i];
        int64_t age_ms = unix_ms - it->said_ms;
        if (i == machine || !it->alive)
            continue;
        heard.healthy_others += !it->suspicious && age_ms < WORD_MS;
        held += age_ms < SHARE_LEASE_MS                ? it->held
                : it->said_ms != 0 && it->later < even ? it->later
                                                       : even;
        heard.wants[heard.want_count++] = age_ms < WORD_MS ? it->wanted : share_all;
    }
    heard.share = word->asked < word->rate - held ? word->asked : word->rate - held;
    if (heard.share < 0)
        heard.share = 0;
    double later = heard.share < even ? heard.share : even;
    store->words[machine] =
        (struct store_word){true, word->suspicious, unix_ms, word->wanted, heard.share, later};
    count(store, 0, 2); /* HSET, HGETALL */
    return heard;
}

void store_tell(struct store *store, unsigned machine, uint32_t host, uint64_t token,
                int64_t unix_ms, const struct store_host *circuit)
{
    struct store_host *it = &store->hosts[host];
    bool holds = it->token == token && it->token_until_ms >= unix_ms;

    count(store, 0, token != 0 ? 5 : 3); /* HGET, ZADD, HSET; GET and DEL of the token */
    if (token != 0 ? !holds : circuit->open && it->open)
        return;
    if (token != 0)
        it->token = 0;
    it->open = circuit->open;
    it->opened_ms = circuit->opened_ms;
    it->probe_ms = circuit->probe_ms;
    it->backoff_ms = circuit->backoff_ms;
    log_change(store, machine, host);
}

uint64_t store_ask_probe(struct store *store, uint32_t job, int64_t unix_ms)
{
    struct store_host *it = &store->hosts[store->jobs->list[job].host];

    count(store, 1, 3); /* HGET twice, SET NX */
    if (booked_is_behind(&it->booked, &store->jobs->list[job], unix_ms * 1000))
        return 0;
    if (!it->open || it->probe_ms > unix_ms || (it->token != 0 && it->token_until_ms >= unix_ms))
        return 0;
    it->token = ++store->tokens;
    it->token_until_ms = unix_ms + STORE_TOKEN_MS;
    return it->token;
}

void store_hold(struct store *store, unsigned machine, uint32_t host, int64_t until_ms)
{
    count(store, 0, 3); /* HGET, ZADD, HSET */
    if (until_ms <= store->hosts[host].held_until_ms)
        return;
    store->hosts[host].held_until_ms = until_ms;
    log_change(store, machine, host);
}

void store_unprobe(struct store *store, uint32_t host, uint64_t token)
{
    count(store, 0, 3); /* with the pulse: HGET; GET and DEL of the token */
    if (store->hosts[host].token == token)
        store->hosts[host].token = 0;
}

size_t store_release(struct store *store, uint32_t host, unsigned most, int64_t gap_ms,
                     int64_t unix_ms, unsigned *moved)
{
    struct store_host *it = &store->hosts[host];
    int64_t now_us = unix_ms * 1000;
    int64_t at_us = it->called_ms * 1000 > now_us ? it->called_ms * 1000 : now_us;
    int64_t own_us;
    unsigned looked = 0;
    uint32_t number;

    *moved = 0;
    while (*moved < most && looked++ < STORE_RELEASE &&
           booked_take(&it->booked, store->jobs, now_us, &number, &own_us)) {
        struct sim_job *job = &store->jobs->list[number];
        if ((job->place != JOB_RETRY && job->place != JOB_SCHEDULE) || job->score_us != own_us)
            continue;
        if (at_us < own_us) {
            scored_add(job->place == JOB_RETRY ? &store->retry : &store->schedule, store->jobs,
                       number, at_us);
            booked_moved(&it->booked, job, at_us);
        }
        at_us += gap_ms > 0 ? gap_ms * 1000 : 1;
        (*moved)++;
    }
    if (*moved > 0)
        it->called_ms = (at_us + 999) / 1000;
    if (it->booked.count > 0 && -it->booked.latest.entries[0].key > at_us)
        at_us = -it->booked.latest.entries[0].key;
    if (it->reserved_ms * 1000 > at_us)
        it->reserved_ms = (at_us + 999) / 1000;
    /* ZREM, TIME, ZREMRANGEBYSCORE, two ZRANGE, two HGET and HSET, ZCARD; ZRANGEBYSCORE, ZADD,
     * ZREM, HGET and HSET of its pair each */
    count(store, 1, (*moved > 0 ? 10 : 8) + 5 * *moved);
    return it->booked.count;
}

/* --- Sidekiq --- */

bool store_fetch(struct store *store, bool push_first, uint32_t *job)
{
    if (!ring_take(queue_of(store, !push_first), job) &&
        !ring_take(queue_of(store, push_first), job))
        return false;
    claimed(store, *job);
    count(store, 1, 1);
    return true;
}

void store_fetch_nothing(struct store *store, unsigned threads)
{
    count(store, threads, threads);
}

bool store_enqueue_due(struct store *store, bool schedule, int64_t unix_ms)
{
    uint32_t job;
    bool found =
        scored_take(schedule ? &store->schedule : &store->retry, store->jobs, unix_ms * 1000, &job);

    count(store, found ? 3 : 1, found ? 5 : 2); /* EVALSHA with ZRANGE, ZREM; SADD, LPUSH */
    if (found) {
        store->jobs->list[job].moved = true;
        enqueue(store, job, false);
    }
    return found;
}
