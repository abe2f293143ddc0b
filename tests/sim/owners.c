#include "tests/sim/owners.h"

#include <stdlib.h>

#include "base/str.h"

struct owner {
    uint64_t pair;
    unsigned machine;
    unsigned jobs;
    unsigned waiting;
};

static uint64_t pair_of(const struct sim_job *job)
{
    return job->low || job->account == 0 ? 0 : (uint64_t)job->account << 32 | job->host;
}

static struct owner *find(const struct owners *owners, uint64_t pair)
{
    if (pair == 0 || owners->by_pair == NULL)
        return NULL;
    return table_get(owners->by_pair, table_key_u64(&pair));
}

int owners_find(const struct owners *owners, const struct sim_job *job)
{
    const struct owner *owner = find(owners, pair_of(job));
    return owner != NULL ? (int)owner->machine : OWNER_NONE;
}

void owners_take(struct owners *owners, const struct sim_job *job, unsigned machine)
{
    uint64_t pair = pair_of(job);
    struct owner *owner = find(owners, pair);

    if (pair == 0)
        return;
    if (owners->by_pair == NULL)
        owners->by_pair = table_create();
    if (owner == NULL) {
        owner = mem_alloc(sizeof(*owner));
        owner->pair = pair;
        table_put(owners->by_pair, table_key_u64(&owner->pair), owner);
    }
    owner->machine = machine;
    owner->jobs++;
}

static void forget_idle(struct owners *owners, struct owner *owner)
{
    if (owner->jobs > 0 || owner->waiting > 0)
        return;
    table_remove(owners->by_pair, table_key_u64(&owner->pair));
    free(owner);
}

void owners_give(struct owners *owners, const struct sim_job *job)
{
    struct owner *owner = find(owners, pair_of(job));

    if (owner == NULL)
        return;
    owner->jobs -= owner->jobs > 0;
    forget_idle(owners, owner);
}

void owners_wait(struct owners *owners, const struct sim_job *job)
{
    struct owner *owner = find(owners, pair_of(job));

    if (owner != NULL)
        owner->waiting++;
}

void owners_came(struct owners *owners, const struct sim_job *job)
{
    struct owner *owner = find(owners, pair_of(job));

    if (owner == NULL)
        return;
    owner->waiting -= owner->waiting > 0;
    forget_idle(owners, owner);
}

void owners_clear(struct owners *owners)
{
    size_t at = 0;
    struct owner *owner;

    while (owners->by_pair != NULL && (owner = table_next(owners->by_pair, &at)) != NULL)
        free(owner);
    table_destroy(owners->by_pair);
    *owners = (struct owners){0};
}
