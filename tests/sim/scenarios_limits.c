/* Hosts that hold us back, and faults of our own that meet hosts of which little is known. */
#include "tests/sim/machine.h"
#include "tests/sim/posts.h"
#include "tests/sim/scenario.h"

static struct hosts_of all(const struct world *world)
{
    return (struct hosts_of){0, world->hosts.count};
}

static struct hosts_of but_first(const struct world *world, uint32_t count)
{
    return (struct hosts_of){count, world->hosts.count - count};
}

/* --- many that answer 429 --- */

enum { BUSY_HOSTS = 40, BUSY_FEW = 5 };

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

/* What one machine is told counts for all. */
static void busy_fleet(struct world *world)
{
    for (uint32_t i = 0; i < BUSY_FEW; i++) {
        struct sim_host *host = &world->hosts.list[i];
        host->spell = (struct spell){world_at_ms(0), world_at_ms(HOURS(1)), MANNER_BUSY};
        host->asks_ms = MINUTES(10);
        host->watched = false;
    }
    posts_stream(world, 0, HOURS(1), 10, (struct hosts_of){0, BUSY_FEW});
    posts_stream(world, 0, HOURS(1), 10, but_first(world, BUSY_FEW));
}

/* --- our way out, and strangers --- */

enum { STRANGERS_OF = 10, STRANGERS = 3 }; /* of ten hosts, three */

static const char *check_ours(const struct world *world)
{
    if (world->incumbent != NULL || world->machines[0] == NULL)
        return NULL;
    if (machine_open_circuits(world->machines[0]) > 0)
        return "circuits are open";
    return machine_suspects_itself(world->machines[0]) ? "the machine still suspects itself" : NULL;
}

static struct hosts_of strangers(const struct world *world)
{
    return (struct hosts_of){0, world->hosts.count * STRANGERS / STRANGERS_OF};
}

/* They are written to for the first time while our way out is cut. */
static void cut_beside_strangers(struct world *world)
{
    const struct hosts_of known = but_first(world, strangers(world).count);

    posts_each(world, SECONDS(5), MINUTES(40), MINUTES(2), known);
    posts_stream(world, 0, MINUTES(40), 20, known);
    posts_each(world, MINUTES(20), MINUTES(40), SECONDS(50), strangers(world));
    posts_stream(world, MINUTES(20), MINUTES(40), 20, strangers(world));
    if (world->incumbent == NULL)
        machine_break(world->machines[0], FAULT_CUT, world_at_ms(MINUTES(20) - SECONDS(5)),
                      world_at_ms(MINUTES(30)));
}

/* The machine starts into a dead network; what it knows is from its last run. */
static void cut_from_the_start(struct world *world)
{
    if (world->incumbent == NULL) {
        machine_remembers(world->machines[0], MINUTES(20));
        machine_break(world->machines[0], FAULT_CUT, 0, world_at_ms(MINUTES(10)));
    }
    posts_each(world, SECONDS(5), MINUTES(20), MINUTES(2), all(world));
    posts_stream(world, 0, MINUTES(20), 20, all(world));
}

/* --- more work than the rate allows, and strangers --- */

enum { CROWDING = 60 };

/* Strangers' posts come in the middle of what keeps all others busy for a minute. */
static void crowd(struct world *world)
{
    const struct hosts_of known = {world->hosts.count - CROWDING, CROWDING};
    const struct hosts_of others = {0, world->hosts.count - CROWDING};

    for (uint32_t i = known.first; i < world->hosts.count; i++)
        world->hosts.list[i].watched = false;
    posts_stream(world, 0, MINUTES(1), 20, known);
    for (int64_t at_ms = MINUTES(1); at_ms < MINUTES(10); at_ms += MINUTES(2)) {
        posts_once(world, at_ms, known, 5, false);
        posts_once(world, at_ms, others, 1, false);
        posts_once(world, at_ms, known, 95, false);
    }
}

/* --- names that get no answer --- */

enum { DEAD_ZONES = 30 };

/* As Mastodon, each job of theirs burns its retries and ends. */
static void dead_zones(struct world *world)
{
    for (uint32_t i = 0; i < DEAD_ZONES; i++) {
        world->hosts.list[i].manner = MANNER_UNSERVED;
        world->hosts.list[i].watched = false;
    }
    posts_once(world, MINUTES(1), (struct hosts_of){0, DEAD_ZONES}, 4, false);
    posts_each(world, SECONDS(5), HOURS(1), MINUTES(2), but_first(world, DEAD_ZONES));
}

static const char *check_dead_zones(const struct world *world)
{
    bool suspects = world->incumbent == NULL && machine_suspects_itself(world->machines[0]);
    return suspects ? "the machine suspects itself" : NULL;
}

/* Fewer of its hosts are known than suspicion needs. */
static void mute_resolver(struct world *world)
{
    posts_stream(world, 0, MINUTES(60), 2, (struct hosts_of){0, 10});
    posts_once(world, MINUTES(15), all(world), 3, false);
    if (world->incumbent == NULL)
        machine_break(world->machines[0], FAULT_MUTE, world_at_ms(MINUTES(10)),
                      world_at_ms(MINUTES(40)));
}

const struct scenario scenarios_of_limits[] = {
    {.name = "busy",
     .what = "40 hosts with 500 jobs each that answer 429 for an hour, beside posts",
     .hosts = 240,
     .duration_ms = MINUTES(75),
     .max_rate = 1000,
     .machines = 1,
     .set_up = busy,
     .least = {[FIGURE_FAIRNESS] = 0.998},
     .most = {[FIGURE_P50_MS] = 270,
              [FIGURE_P90_MS] = 660,
              [FIGURE_P99_MS] = 1500,
              [FIGURE_P999_MS] = 2300,
              [FIGURE_MOST_MS] = 5500,
              [FIGURE_PENDING] = 10022,
              [FIGURE_IN_VAIN] = 52,
              [FIGURE_PUSHED_BACK] = 1100,
              [FIGURE_BURNT] = 1100,
              [FIGURE_TOUCHED_MEAN] = 1.84,
              [FIGURE_TOUCHED_MOST] = 10,
              [FIGURE_CALLS] = 58000,
              [FIGURE_COMMANDS] = 990000}},
    {.name = "busy-fleet",
     .what = "four machines, and 5 hosts that answer 429 and ask for ten minutes each time",
     .hosts = 100,
     .duration_ms = MINUTES(70),
     .max_rate = 1000,
     .machines = 4,
     .set_up = busy_fleet,
     .least = {[FIGURE_FAIRNESS] = 0.998},
     .most = {[FIGURE_P50_MS] = 220,
              [FIGURE_P90_MS] = 660,
              [FIGURE_P99_MS] = 2000,
              [FIGURE_P999_MS] = 4100,
              [FIGURE_MOST_MS] = 8700,
              [FIGURE_IN_VAIN] = 15,
              [FIGURE_PUSHED_BACK] = 56,
              [FIGURE_BURNT] = 56,
              [FIGURE_TOUCHED_MEAN] = 3.08,
              [FIGURE_TOUCHED_MOST] = 35,
              [FIGURE_CALLS] = 450000,
              [FIGURE_COMMANDS] = 6300000}},
    {.name = "cut-strangers",
     .what = "our way out is cut for ten minutes, and 30 % of the hosts are new to us",
     .hosts = 500,
     .duration_ms = MINUTES(50),
     .max_rate = 1000,
     .machines = 1,
     .set_up = cut_beside_strangers,
     .check = check_ours,
     .least = {[FIGURE_FAIRNESS] = 0.816},
     .most = {[FIGURE_P50_MS] = 390,
              [FIGURE_P90_MS] = 600000,
              [FIGURE_P99_MS] = 660000,
              [FIGURE_P999_MS] = 660000,
              [FIGURE_MOST_MS] = 660000,
              [FIGURE_DOUBTS] = 1500,
              [FIGURE_TOUCHED_MEAN] = 1.08,
              [FIGURE_TOUCHED_MOST] = 4,
              [FIGURE_CALLS] = 220000,
              [FIGURE_COMMANDS] = 1900000}},
    {.name = "cut-start",
     .what = "a machine starts into a dead network",
     .hosts = 500,
     .duration_ms = MINUTES(30),
     .max_rate = 1000,
     .machines = 1,
     .set_up = cut_from_the_start,
     .check = check_ours,
     .least = {[FIGURE_FAIRNESS] = 0.948},
     .most = {[FIGURE_P50_MS] = 31000,
              [FIGURE_P90_MS] = 650000,
              [FIGURE_P99_MS] = 660000,
              [FIGURE_P999_MS] = 660000,
              [FIGURE_MOST_MS] = 660000,
              [FIGURE_DOUBTS] = 1400,
              [FIGURE_TOUCHED_MEAN] = 1.01,
              [FIGURE_TOUCHED_MOST] = 2,
              [FIGURE_CALLS] = 64000,
              [FIGURE_COMMANDS] = 540000}},
    {.name = "crowd",
     .what = "60 hosts have work for a minute at a hundred a second, beside 30 that are new to us",
     .hosts = 90,
     .duration_ms = MINUTES(15),
     .max_rate = 100,
     .machines = 1,
     .set_up = crowd,
     .least = {[FIGURE_FAIRNESS] = 0.908},
     .most = {[FIGURE_P50_MS] = 1500,
              [FIGURE_P90_MS] = 2500,
              [FIGURE_P99_MS] = 4700,
              [FIGURE_P999_MS] = 5500,
              [FIGURE_MOST_MS] = 5500,
              [FIGURE_TOUCHED_MEAN] = 1.01,
              [FIGURE_TOUCHED_MOST] = 2,
              [FIGURE_CALLS] = 42000,
              [FIGURE_COMMANDS] = 420000}},
    {.name = "dead-zones",
     .what = "names of 30 hosts get no answer for good, those of all others do",
     .hosts = 200,
     .duration_ms = HOURS(80),
     .max_rate = 1000,
     .machines = 1,
     .set_up = dead_zones,
     .check = check_dead_zones,
     .least = {[FIGURE_FAIRNESS] = 0.998, [FIGURE_EXHAUSTED] = 120},
     .most = {[FIGURE_P50_MS] = 250,
              [FIGURE_P90_MS] = 610,
              [FIGURE_P99_MS] = 1400,
              [FIGURE_P999_MS] = 2300,
              [FIGURE_MOST_MS] = 4000,
              [FIGURE_EXHAUSTED] = 120,
              [FIGURE_IN_VAIN] = 91,
              [FIGURE_BURNT] = 2800,
              [FIGURE_TOUCHED_MEAN] = 1.5,
              [FIGURE_TOUCHED_MOST] = 23,
              [FIGURE_CALLS] = 2000000,
              [FIGURE_COMMANDS] = 9000000}},
    {.name = "mute-resolver",
     .what = "no name is resolved for half an hour, with hosts that were never asked for",
     .hosts = 100,
     .duration_ms = MINUTES(70),
     .max_rate = 1000,
     .machines = 1,
     .set_up = mute_resolver,
     .check = check_ours,
     .least = {[FIGURE_FAIRNESS] = 0.067},
     .most = {[FIGURE_P50_MS] = 380,
              [FIGURE_P90_MS] = 1300,
              [FIGURE_P99_MS] = 2100000,
              [FIGURE_P999_MS] = 1900000,
              [FIGURE_MOST_MS] = 1900000,
              [FIGURE_DOUBTS] = 17000,
              [FIGURE_TOUCHED_MEAN] = 1.01,
              [FIGURE_TOUCHED_MOST] = 2,
              [FIGURE_CALLS] = 58000,
              [FIGURE_COMMANDS] = 370000}},
    {.name = NULL},
};
