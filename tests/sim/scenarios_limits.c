/* Hosts that hold us back, and what must not depend on them. */
#include "tests/sim/posts.h"
#include "tests/sim/scenario.h"

static struct hosts_of but_first(const struct world *world, uint32_t count)
{
    return (struct hosts_of){count, world->hosts.count - count};
}

/* --- many that answer 429 --- */

enum { BUSY_HOSTS = 40 };

/* Half of them say for how long, and mean it. */
static void busy(struct world *world)
{
    for (uint32_t i = 0; i < BUSY_HOSTS; i++) {
        struct sim_host *host = &world->hosts.list[i];
        host->spell = (struct spell){world_at_ms(0), world_at_ms(HOURS(1)), MANNER_BUSY};
        host->asks_ms = i % 2 == 0 ? HOURS(1) : 0;
        host->watched = false;
    }
    posts_once(world, SECONDS(30), (struct hosts_of){0, BUSY_HOSTS}, 500, false);
    posts_each(world, SECONDS(5), MINUTES(70), SECONDS(30), but_first(world, BUSY_HOSTS));
}

static const char *all_healthy_are_served(const struct world *world)
{
    for (uint32_t i = 0; i < world->jobs.count; i++) {
        const struct sim_job *job = &world->jobs.list[i];
        if (world->hosts.list[job->host].watched && job->place != JOB_DELIVERED)
            return "a job of a healthy host is not delivered";
    }
    return NULL;
}

const struct scenario scenarios_of_limits[] = {
    {.name = "busy",
     .what = "40 hosts with 500 jobs each that answer 429 for an hour, beside posts",
     .hosts = 240,
     .duration_ms = MINUTES(75),
     .max_rate = 1000,
     .machines = 1,
     .set_up = busy,
     .check = all_healthy_are_served,
     .bounds = {{FIGURE_P99_MS, 0, 2000},
                {FIGURE_FAIRNESS, 0.9, 1},
                {FIGURE_BURNT_HEALTHY, 0, 0},
                {FIGURE_OPENED, 0, 0}}},
    {.name = NULL},
};
