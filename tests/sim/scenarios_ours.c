/* What we do to ourselves: our network, our machines, our load. */
#include "tests/sim/incumbent.h"
#include "tests/sim/machine.h"
#include "tests/sim/posts.h"
#include "tests/sim/scenario.h"

static struct hosts_of all(const struct world *world)
{
    return (struct hosts_of){0, world->hosts.count};
}

static void break_machine(struct world *world, unsigned index, enum fault fault, int64_t from_ms,
                          int64_t to_ms)
{
    from_ms = world_at_ms(from_ms);
    to_ms = world_at_ms(to_ms);
    if (world->incumbent != NULL)
        incumbent_cut(world->incumbent, index, from_ms, to_ms);
    else
        machine_break(world->machines[index], fault, from_ms, to_ms);
}

/* Some hosts are busy. */
static void usual_traffic(struct world *world, int64_t to_ms)
{
    posts_each(world, SECONDS(5), to_ms, MINUTES(2), all(world));
    posts_stream(world, 0, to_ms, 30, all(world));
    posts_stream(world, 0, to_ms, 15, (struct hosts_of){0, 5});
}

static void egress(struct world *world)
{
    usual_traffic(world, MINUTES(60));
    break_machine(world, 0, FAULT_CUT, MINUTES(30), MINUTES(40));
}

static void firewall(struct world *world)
{
    usual_traffic(world, MINUTES(60));
    break_machine(world, 0, FAULT_REFUSED, MINUTES(30), MINUTES(40));
}

/* For longer than a host counts as good. */
static void long_egress(struct world *world)
{
    posts_each(world, SECONDS(5), HOURS(2), MINUTES(5), all(world));
    posts_stream(world, 0, HOURS(2), 5, all(world));
    break_machine(world, 0, FAULT_CUT, MINUTES(15), MINUTES(105));
}

/* All at once: none of them can help another. */
static void fleet_egress(struct world *world)
{
    usual_traffic(world, MINUTES(40));
    for (unsigned i = 0; i < 3; i++)
        break_machine(world, i, FAULT_CUT, MINUTES(15), MINUTES(25));
}

static const char *check_egress(const struct world *world)
{
    for (unsigned i = 0; i < WORLD_MACHINES && world->incumbent == NULL; i++) {
        if (world->machines[i] == NULL)
            continue;
        if (machine_open_circuits(world->machines[i]) > 0)
            return "circuits are open";
        if (machine_suspects_itself(world->machines[i]))
            return "a machine still suspects itself";
    }
    return NULL;
}

static void resolver(struct world *world)
{
    usual_traffic(world, MINUTES(60));
    break_machine(world, 1, FAULT_RESOLVER, MINUTES(30), MINUTES(50));
}

/* --- machines that come and go --- */

static void on_join(void *arg, uint64_t index)
{
    struct world *world = arg;
    world->machines[index] = machine_create(world, (unsigned)index);
}

static void on_drain(void *arg, uint64_t index)
{
    struct world *world = arg;
    machine_drain(world->machines[index]);
}

static void on_kill(void *arg, uint64_t index)
{
    struct world *world = arg;
    machine_kill(world->machines[index]);
}

static void fleet(struct world *world)
{
    posts_each(world, SECONDS(5), MINUTES(30), MINUTES(1), all(world));
    posts_stream(world, 0, MINUTES(30), 100, all(world));
    if (world->incumbent != NULL)
        return;
    events_at(world->events, world_at_ms(MINUTES(5)), on_join, world, 2);
    events_at(world->events, world_at_ms(MINUTES(8)), on_join, world, 3);
    events_at(world->events, world_at_ms(MINUTES(12)) + 100, on_drain, world, 0);
    events_at(world->events, world_at_ms(MINUTES(16)) + 5100, on_kill, world, 1);
    events_at(world->events, world_at_ms(MINUTES(20)), on_join, world, 4);
}

static void follows_and_machines(struct world *world)
{
    scenarios_follows(world);
    if (world->incumbent != NULL)
        return;
    events_at(world->events, world_at_ms(MINUTES(7)), on_drain, world, 0);
    events_at(world->events, world_at_ms(MINUTES(8)), on_join, world, 3);
    events_at(world->events, world_at_ms(MINUTES(20)) + 300, on_kill, world, 1);
    events_at(world->events, world_at_ms(MINUTES(30)), on_join, world, 4);
    events_at(world->events, world_at_ms(MINUTES(40)), on_drain, world, 2);
}

/* --- load --- */

static void low_jobs(struct world *world)
{
    posts_once(world, SECONDS(1), all(world), 2000, true);
    posts_each(world, SECONDS(20), MINUTES(20), SECONDS(20), all(world));
}

static void some_low_jobs(struct world *world)
{
    posts_once(world, SECONDS(1), all(world), 100, true);
    posts_each(world, SECONDS(20), MINUTES(2), SECONDS(10), all(world));
}

/* The other machine is there, but takes nothing: its share is not wasted. */
static void idle_machine(struct world *world)
{
    if (world->incumbent == NULL)
        machine_pause(world->machines[1]);
    posts_once(world, SECONDS(10), all(world), 24, false);
}

static void busy_machines(struct world *world)
{
    posts_once(world, SECONDS(10), all(world), 24, false);
    posts_stream(world, MINUTES(3), MINUTES(5), 70, all(world));
}

static void bursts(struct world *world)
{
    posts_each(world, SECONDS(5), MINUTES(10), SECONDS(30), all(world));
    posts_stream(world, 0, MINUTES(10), 50, all(world));
}

const struct scenario scenarios_of_ours[] = {
    {.name = "egress",
     .what = "our way out is cut for ten minutes",
     .hosts = 500,
     .duration_ms = MINUTES(70),
     .max_rate = 1000,
     .machines = 1,
     .set_up = egress,
     .check = check_egress,
     .bounds = {{FIGURE_OPENED, 0, 0},
                {FIGURE_BURNT, 0, 0},
                {FIGURE_MOST_MS, 0, 660000},
                {FIGURE_PENDING, 0, 0}}},
    {.name = "firewall",
     .what = "a firewall of ours refuses every connection for ten minutes",
     .hosts = 500,
     .duration_ms = MINUTES(70),
     .max_rate = 1000,
     .machines = 1,
     .set_up = firewall,
     .check = check_egress,
     .bounds = {{FIGURE_OPENED, 0, 0},
                {FIGURE_BURNT, 0, 0},
                {FIGURE_MOST_MS, 0, 660000},
                {FIGURE_PENDING, 0, 0}}},
    {.name = "resolver",
     .what = "one of three machines has no resolver for twenty minutes",
     .hosts = 500,
     .duration_ms = MINUTES(70),
     .max_rate = 1000,
     .machines = 3,
     .set_up = resolver,
     .check = check_egress,
     /* What it had begun comes back after its time-outs; what it held, the others deliver. */
     .bounds = {{FIGURE_OPENED, 0, 0},
                {FIGURE_BURNT, 0, 0},
                {FIGURE_P99_MS, 0, 2000},
                {FIGURE_MOST_MS, 0, 60000},
                {FIGURE_FAIRNESS, 0.98, 1},
                {FIGURE_PENDING, 0, 0}}},
    {.name = "long-egress",
     .what = "our way out is cut for an hour and a half",
     .hosts = 200,
     .duration_ms = MINUTES(130),
     .max_rate = 1000,
     .machines = 1,
     .set_up = long_egress,
     .check = check_egress,
     .bounds = {{FIGURE_OPENED, 0, 0},
                {FIGURE_BURNT, 0, 0},
                {FIGURE_MOST_MS, 0, 5460000},
                {FIGURE_PENDING, 0, 0}}},
    {.name = "fleet-egress",
     .what = "the way out of all three machines is cut for ten minutes",
     .hosts = 200,
     .duration_ms = MINUTES(45),
     .max_rate = 1000,
     .machines = 3,
     .set_up = fleet_egress,
     .check = check_egress,
     .bounds = {{FIGURE_OPENED, 0, 0},
                {FIGURE_BURNT, 0, 0},
                {FIGURE_MOST_MS, 0, 660000},
                {FIGURE_PENDING, 0, 0}}},
    {.name = "fleet",
     .what = "machines join, leave and die",
     .hosts = 500,
     .duration_ms = MINUTES(40),
     .max_rate = 1000,
     .machines = 2,
     .set_up = fleet,
     .bounds = {{FIGURE_PENDING, 0, 0}, {FIGURE_P99_MS, 0, 3000}, {FIGURE_BURNT, 0, 0}}},
    {.name = "follows-machines",
     .what = "Follow and Undo while machines join, leave and die",
     .hosts = 120,
     .duration_ms = HOURS(6),
     .max_rate = 1000,
     .machines = 3,
     .set_up = follows_and_machines,
     .bounds = {{FIGURE_OVERTAKEN, 0, 0}, {FIGURE_PENDING, 0, 0}}},
    {.name = "low-jobs",
     .what = "50,000 jobs of low priority behind posts",
     .hosts = 500,
     .duration_ms = MINUTES(3),
     .max_rate = 1000,
     .machines = 1,
     .set_up = some_low_jobs,
     .bounds = {{FIGURE_P99_MS, 0, 2500}, {FIGURE_LOW_DELIVERED, 20000, 50000}}},
    {.name = "million",
     .what = "a million jobs of low priority behind posts",
     .hosts = 500,
     .duration_ms = MINUTES(60),
     .max_rate = 1000,
     .machines = 1,
     .slow = true,
     .set_up = low_jobs,
     .bounds = {{FIGURE_P99_MS, 0, 2500}, {FIGURE_PENDING, 0, 0}}},
    {.name = "idle-machine",
     .what = "a limit of 100 a second, and one of two machines has no work",
     .hosts = 500,
     .duration_ms = MINUTES(10),
     .max_rate = 100,
     .machines = 2,
     .set_up = idle_machine,
     /* 12,000 jobs at the whole rate are 120 s; at half of it they were 240. */
     .bounds = {{FIGURE_LAST_S, 120, 145}, {FIGURE_BUSIEST, 90, 103}, {FIGURE_PENDING, 0, 0}}},
    {.name = "busy-machines",
     .what = "a limit of 100 a second, and two machines that want more",
     .hosts = 500,
     .duration_ms = MINUTES(10),
     .max_rate = 100,
     .machines = 2,
     .set_up = busy_machines,
     .bounds = {{FIGURE_BUSIEST, 90, 103}, {FIGURE_LAST_S, 120, 310}, {FIGURE_PENDING, 0, 0}}},
    {.name = "bursts",
     .what = "posts in quick succession, three machines",
     .hosts = 1000,
     .duration_ms = MINUTES(12),
     .max_rate = 1000,
     .machines = 3,
     .set_up = bursts,
     .bounds = {{FIGURE_P99_MS, 0, 2500}, {FIGURE_FAIRNESS, 0.95, 1}, {FIGURE_BURNT, 0, 0}}},
    {.name = NULL},
};
