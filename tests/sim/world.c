#include "tests/sim/world.h"

#include "sched/retry.h"
#include "tests/sim/incumbent.h"
#include "tests/sim/machine.h"
#include "tests/sim/posts.h"

enum { MAX_RETRIES = 16, MAX_RETRIES_LOW = 8 };

/* What Redis' clock shows when the events' shows 0. */
static const int64_t epoch_ms = 1750000000000;

void world_init(struct world *world, uint64_t seed, uint32_t host_count, int64_t duration_ms)
{
    *world = (struct world){.seed = seed, .duration_ms = duration_ms};
    dice_seed_sodium(seed);
    world->events = events_create();
    dice_init(&world->fate, seed * 2 + 1);
    dice_init(&world->chance, ~seed);
    hosts_init(&world->hosts, host_count, &world->fate);
    store_init(&world->store, &world->jobs, host_count);
}

void world_clear(struct world *world)
{
    for (unsigned i = 0; i < WORLD_MACHINES; i++)
        machine_destroy(world->machines[i]);
    incumbent_destroy(world->incumbent);
    posts_clear(world);
    store_clear(&world->store);
    jobs_clear(&world->jobs);
    hosts_clear(&world->hosts);
    events_destroy(world->events);
}

int64_t world_now_ms(const struct world *world)
{
    return events_now_ms(world->events);
}

int64_t world_unix_ms(const struct world *world)
{
    return events_now_ms(world->events) + epoch_ms;
}

int64_t world_at_ms(int64_t since_start_ms)
{
    return EVENTS_START_MS + since_start_ms;
}

/* BLMOVE wakes one waiter. */
void world_wake(struct world *world)
{
    for (unsigned i = 0; i < WORLD_MACHINES; i++) {
        struct machine *machine = world->machines[world->next_machine++ % WORLD_MACHINES];
        if (machine != NULL && machine_wake(machine))
            return;
    }
}

uint32_t world_order(struct world *world, const struct order *order)
{
    struct sim_job job = {.created_ms = world_now_ms(world),
                          .host = order->host,
                          .account = order->account,
                          .after = order->after,
                          .retry_count = -1,
                          .max_retries = order->low ? MAX_RETRIES_LOW : MAX_RETRIES,
                          .low = order->low};
    uint32_t number = jobs_add(&world->jobs, &job);

    store_push(&world->store, number);
    if (world->incumbent != NULL)
        incumbent_wake(world->incumbent);
    else
        world_wake(world);
    return number;
}

bool world_burn(struct world *world, uint32_t job, int64_t hold_ms, int64_t *unix_us)
{
    struct sim_job *it = &world->jobs.list[job];

    it->retry_count++;
    world->tally.burnt++;
    if (world->hosts.list[it->host].watched)
        world->tally.burnt_healthy++;
    if (retry_exhausted(it->retry_count, it->max_retries))
        return false;
    int64_t delay_ms = retry_delay_s(it->retry_count, SIDEKIQ_MAJOR, &world->chance.rng) * 1000;
    *unix_us = (world_unix_ms(world) + (delay_ms > hold_ms ? delay_ms : hold_ms)) * 1000 +
               (int64_t)dice_below(&world->chance, 1000);
    return true;
}

static bool is_overtaking(const struct world *world, const struct sim_job *job)
{
    if (job->after == JOB_NONE)
        return false;
    const struct sim_job *first = &world->jobs.list[job->after];
    return first->place != JOB_DELIVERED && first->place != JOB_EXHAUSTED && first->attempts == 0;
}

void world_deliver(struct world *world, uint32_t job, uint32_t took_ms)
{
    const struct sim_job *it = &world->jobs.list[job];
    struct sim_host *host = &world->hosts.list[it->host];
    int64_t delay_ms = world_now_ms(world) - it->created_ms;

    world->tally.delivered++;
    world->tally.last_ms = world_now_ms(world);
    if (is_overtaking(world, it))
        world->tally.overtaken++;
    if (it->low) {
        delays_add(&world->tally.low, delay_ms);
        return;
    }
    host->delivered++;
    host->waited_ms += (double)(delay_ms - took_ms);
    if (host->watched)
        delays_add(&world->tally.healthy, delay_ms);
}

/* When Mastodon has made all attempts at the earliest: without any jitter. */
static int64_t over_ms(const struct sim_job *job)
{
    int64_t at_ms = job->created_ms;

    for (int64_t count = 0; count < job->max_retries; count++)
        at_ms += (count * count * count * count + 15) * 1000;
    return at_ms;
}

void world_exhaust(struct world *world, uint32_t job)
{
    const struct sim_job *it = &world->jobs.list[job];

    world->tally.exhausted++;
    world->tally.untried += it->attempts == 0;
    world->tally.early += world_now_ms(world) < over_ms(it);
    world->tally.unasked += world->hosts.list[it->host].asked_ms < over_ms(it);
}

void world_end(struct world *world)
{
    for (uint32_t i = 0; i < world->jobs.count; i++) {
        const struct sim_job *it = &world->jobs.list[i];
        struct sim_host *host = &world->hosts.list[it->host];
        int64_t waited_ms = world_now_ms(world) - it->created_ms;
        if (it->low || it->place == JOB_DELIVERED)
            continue;
        host->missing++;
        host->waited_ms += (double)waited_ms;
        if (host->watched)
            delays_add(&world->tally.healthy, waited_ms);
    }
}

uint32_t world_pending(const struct world *world)
{
    uint32_t pending = 0;

    for (uint32_t i = 0; i < world->jobs.count; i++) {
        if (world->jobs.list[i].place != JOB_DELIVERED &&
            world->jobs.list[i].place != JOB_EXHAUSTED)
            pending++;
    }
    return pending;
}
