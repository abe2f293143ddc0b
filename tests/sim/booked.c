#include "tests/sim/booked.h"

#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "sched/away.h"

struct link {
    int64_t created_ms;
    int64_t at_us;
};

struct chain {
    uint64_t account;
    size_t count;
    struct link links[BOOKED_CHAIN + 1];
};

static struct chain *chain_of(struct booked *booked, uint64_t account)
{
    if (booked->chains == NULL)
        booked->chains = table_create();
    struct chain *chain = table_get(booked->chains, table_key_u64(&account));
    if (chain == NULL) {
        chain = mem_alloc(sizeof(*chain));
        chain->account = account;
        table_put(booked->chains, table_key_u64(&chain->account), chain);
    }
    return chain;
}

/* What should have come back long ago isn't awaited any more. */
static void forget_past(struct chain *chain, int64_t now_us)
{
    size_t kept = 0;

    for (size_t i = 0; i < chain->count; i++) {
        if (chain->links[i].at_us > now_us - (int64_t)AWAY_GRACE_MS * 1000)
            chain->links[kept++] = chain->links[i];
    }
    chain->count = kept;
}

/* The newest stays, for what comes behind it. */
static void insert(struct chain *chain, size_t place, struct link link)
{
    memmove(&chain->links[place + 1], &chain->links[place],
            (chain->count - place) * sizeof(struct link));
    chain->links[place] = link;
    if (++chain->count > BOOKED_CHAIN) {
        chain->links[BOOKED_CHAIN - 1] = chain->links[BOOKED_CHAIN];
        chain->count = BOOKED_CHAIN;
    }
}

static bool is_taken(const struct chain *chain, int64_t at_us)
{
    for (size_t i = 0; i < chain->count; i++) {
        if (chain->links[i].at_us == at_us)
            return true;
    }
    return false;
}

int64_t booked_in_order(struct booked *booked, const struct sim_job *job, int64_t at_us,
                        bool clocked, int64_t now_us)
{
    struct chain *chain = chain_of(booked, job->account);
    size_t place = 0;

    forget_past(chain, now_us);
    while (place < chain->count && chain->links[place].created_ms <= job->created_ms)
        place++;
    size_t before =
        place; /* the number of those up to there; what comes any moment is passed over */
    size_t after = place;
    while (before > 0 && chain->links[before - 1].at_us <= now_us)
        before--;
    while (after < chain->count && chain->links[after].at_us <= now_us)
        after++;
    if (before > 0) {
        int64_t behind_us = chain->links[before - 1].at_us + 1000;
        at_us = clocked && at_us > behind_us ? at_us : behind_us;
    }
    if (after < chain->count && at_us > chain->links[after].at_us - 1000) {
        int64_t after_us = chain->links[after].at_us;
        int64_t before_us = before > 0 ? chain->links[before - 1].at_us : after_us - 2000;
        at_us = (before_us + after_us) / 2;
    }
    while (is_taken(chain, at_us)) /* no two have one score */
        at_us++;
    insert(chain, place, (struct link){job->created_ms, at_us});
    return at_us;
}

void booked_returned(struct booked *booked, const struct sim_job *job, int64_t now_us)
{
    size_t place = 0;

    if (job->account == 0 || job->low)
        return;
    struct chain *chain = chain_of(booked, job->account);
    forget_past(chain, now_us);
    while (place < chain->count && chain->links[place].created_ms < job->created_ms)
        place++;
    insert(chain, place, (struct link){job->created_ms, now_us});
}

bool booked_is_behind(struct booked *booked, const struct sim_job *job, int64_t now_us)
{
    if (booked->chains == NULL || job->account == 0 || job->low)
        return false;
    struct chain *chain = chain_of(booked, job->account);
    forget_past(chain, now_us);
    return chain->count > 0 && chain->links[0].created_ms < job->created_ms;
}

size_t booked_of_account(struct booked *booked, const struct sim_job *job, int64_t now_us,
                         int64_t *created_ms, int64_t *at_us)
{
    size_t count = 0;

    if (booked->chains == NULL || job->account == 0 || job->low)
        return 0;
    struct chain *chain = chain_of(booked, job->account);
    forget_past(chain, now_us);
    for (size_t i = 0; i < chain->count; i++) {
        created_ms[count] = chain->links[i].created_ms;
        at_us[count++] = chain->links[i].at_us;
    }
    return count;
}

unsigned booked_ahead(struct booked *booked, const struct sim_job *job, int64_t now_us)
{
    unsigned count = 0;

    if (booked->chains == NULL || job->account == 0 || job->low)
        return 0;
    const struct chain *chain = chain_of(booked, job->account);
    for (size_t i = 0; i < chain->count; i++)
        count += chain->links[i].at_us > now_us && chain->links[i].created_ms < job->created_ms;
    return count;
}

void booked_came(struct booked *booked, const struct sim_job *job)
{
    if (booked->chains == NULL || job->account == 0 || job->low)
        return;
    struct chain *chain = chain_of(booked, job->account);
    size_t kept = 0;
    for (size_t i = 0; i < chain->count; i++) {
        if (chain->links[i].created_ms != job->created_ms)
            chain->links[kept++] = chain->links[i];
    }
    chain->count = kept;
}

void booked_moved(struct booked *booked, const struct sim_job *job, int64_t at_us)
{
    if (booked->chains == NULL || job->account == 0 || job->low)
        return;
    struct chain *chain = chain_of(booked, job->account);
    for (size_t i = 0; i < chain->count; i++) {
        if (chain->links[i].created_ms == job->created_ms)
            chain->links[i].at_us = at_us;
    }
}

static bool is_good(const struct jobs *jobs, uint32_t job, int64_t at_us)
{
    return jobs->list[job].booked_us == at_us;
}

static bool take(struct booked *booked, struct jobs *jobs, bool latest, uint32_t *job,
                 int64_t *at_us)
{
    struct heap *heap = latest ? &booked->latest : &booked->soonest;

    while (heap->count > 0) {
        *job = heap->entries[0].number;
        *at_us = latest ? -heap->entries[0].key : heap->entries[0].key;
        heap_drop_first(heap);
        if (is_good(jobs, *job, *at_us)) {
            jobs->list[*job].booked_us = 0;
            booked->count--;
            return true;
        }
    }
    return false;
}

/* What comes by itself now. */
static void drop_past(struct booked *booked, struct jobs *jobs, int64_t now_us)
{
    while (booked->soonest.count > 0 && booked->soonest.entries[0].key <= now_us) {
        uint32_t job = booked->soonest.entries[0].number;
        if (is_good(jobs, job, booked->soonest.entries[0].key)) {
            jobs->list[job].booked_us = 0;
            booked->count--;
        }
        heap_drop_first(&booked->soonest);
    }
}

void booked_add(struct booked *booked, struct jobs *jobs, uint32_t job, int64_t at_us,
                int64_t now_us)
{
    uint32_t dropped;
    int64_t dropped_us;

    drop_past(booked, jobs, now_us);
    if (jobs->list[job].booked_us != 0) /* its former entry finds nothing any more */
        booked->count--;
    jobs->list[job].booked_us = at_us;
    heap_add(&booked->soonest, at_us, job);
    heap_add(&booked->latest, -at_us, job);
    if (++booked->count > BOOKED_MOST)
        take(booked, jobs, true, &dropped, &dropped_us);
}

bool booked_take(struct booked *booked, struct jobs *jobs, int64_t now_us, uint32_t *job,
                 int64_t *at_us)
{
    drop_past(booked, jobs, now_us);
    return take(booked, jobs, false, job, at_us);
}

static void forget_order(struct booked *booked)
{
    size_t at = 0;
    struct chain *chain;

    while (booked->chains != NULL && (chain = table_next(booked->chains, &at)) != NULL)
        free(chain);
    table_destroy(booked->chains);
    booked->chains = NULL;
}

void booked_clear(struct booked *booked)
{
    forget_order(booked);
    heap_clear(&booked->soonest);
    heap_clear(&booked->latest);
    *booked = (struct booked){0};
}
