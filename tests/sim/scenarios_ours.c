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
     .least = {[FIGURE_FAIRNESS] = 0.946},
     .most = {[FIGURE_P50_MS] = 310,
              [FIGURE_P90_MS] = 350000,
              [FIGURE_P99_MS] = 660000,
              [FIGURE_P999_MS] = 660000,
              [FIGURE_MOST_MS] = 660000,
              [FIGURE_DOUBTS] = 1600,
              [FIGURE_TOUCHED_MEAN] = 1.06,
              [FIGURE_TOUCHED_MOST] = 6,
              [FIGURE_CALLS] = 560000,
              [FIGURE_COMMANDS] = 4700000},
     .ratios = {{FIGURE_CALLS, 1}}},
    {.name = "firewall",
     .what = "a firewall of ours refuses every connection for ten minutes",
     .hosts = 500,
     .duration_ms = MINUTES(70),
     .max_rate = 1000,
     .machines = 1,
     .set_up = firewall,
     .check = check_egress,
     .least = {[FIGURE_FAIRNESS] = 0.946},
     .most = {[FIGURE_P50_MS] = 310,
              [FIGURE_P90_MS] = 360000,
              [FIGURE_P99_MS] = 660000,
              [FIGURE_P999_MS] = 660000,
              [FIGURE_MOST_MS] = 660000,
              [FIGURE_BURNT] = 3,
              [FIGURE_BURNT_HEALTHY] = 3,
              [FIGURE_DOUBTS] = 860,
              [FIGURE_TOUCHED_MEAN] = 1.07,
              [FIGURE_TOUCHED_MOST] = 6,
              [FIGURE_CALLS] = 550000,
              [FIGURE_COMMANDS] = 4700000}},
    {.name = "resolver",
     .what = "one of three machines has no resolver for twenty minutes",
     .hosts = 500,
     .duration_ms = MINUTES(70),
     .max_rate = 1000,
     .machines = 3,
     .set_up = resolver,
     .check = check_egress,
     .least = {[FIGURE_FAIRNESS] = 0.996},
     .most = {[FIGURE_P50_MS] = 250,
              [FIGURE_P90_MS] = 780,
              [FIGURE_P99_MS] = 2000,
              [FIGURE_P999_MS] = 18000,
              [FIGURE_MOST_MS] = 33000,
              [FIGURE_DOUBTS] = 850,
              [FIGURE_TOUCHED_MEAN] = 1.02,
              [FIGURE_TOUCHED_MOST] = 3,
              [FIGURE_CALLS] = 740000,
              [FIGURE_COMMANDS] = 6600000}},
    {.name = "long-egress",
     .what = "our way out is cut for an hour and a half",
     .hosts = 200,
     .duration_ms = MINUTES(130),
     .max_rate = 1000,
     .machines = 1,
     .set_up = long_egress,
     .check = check_egress,
     .least = {[FIGURE_FAIRNESS] = 0.992},
     .most = {[FIGURE_P50_MS] = 2500000,
              [FIGURE_P90_MS] = 5460000,
              [FIGURE_P99_MS] = 5460000,
              [FIGURE_P999_MS] = 5460000,
              [FIGURE_MOST_MS] = 5460000,
              [FIGURE_DOUBTS] = 4700,
              [FIGURE_TOUCHED_MEAN] = 1.01,
              [FIGURE_TOUCHED_MOST] = 2,
              [FIGURE_CALLS] = 91000,
              [FIGURE_COMMANDS] = 680000}},
    {.name = "fleet-egress",
     .what = "the way out of all three machines is cut for ten minutes",
     .hosts = 200,
     .duration_ms = MINUTES(45),
     .max_rate = 1000,
     .machines = 3,
     .set_up = fleet_egress,
     .check = check_egress,
     .least = {[FIGURE_FAIRNESS] = 0.978},
     .most = {[FIGURE_P50_MS] = 320,
              [FIGURE_P90_MS] = 510000,
              [FIGURE_P99_MS] = 660000,
              [FIGURE_P999_MS] = 660000,
              [FIGURE_MOST_MS] = 660000,
              [FIGURE_DOUBTS] = 2100,
              [FIGURE_TOUCHED_MEAN] = 1.1,
              [FIGURE_TOUCHED_MOST] = 8,
              [FIGURE_CALLS] = 400000,
              [FIGURE_COMMANDS] = 3700000}},
    {.name = "fleet",
     .what = "machines join, leave and die",
     .hosts = 500,
     .duration_ms = MINUTES(40),
     .max_rate = 1000,
     .machines = 2,
     .set_up = fleet,
     .least = {[FIGURE_FAIRNESS] = 0.98},
     .most = {[FIGURE_P50_MS] = 230,
              [FIGURE_P90_MS] = 630,
              [FIGURE_P99_MS] = 1400,
              [FIGURE_P999_MS] = 130000,
              [FIGURE_MOST_MS] = 130000,
              [FIGURE_TOUCHED_MEAN] = 1.02,
              [FIGURE_TOUCHED_MOST] = 3,
              [FIGURE_CALLS] = 780000,
              [FIGURE_COMMANDS] = 7200000}},
    {.name = "follows-machines",
     .what = "Follow and Undo while machines join, leave and die",
     .hosts = 120,
     .duration_ms = HOURS(6),
     .max_rate = 1000,
     .machines = 3,
     .set_up = follows_and_machines,
     .least = {[FIGURE_FAIRNESS] = 0.998},
     .most = {[FIGURE_P50_MS] = 240,
              [FIGURE_P90_MS] = 600,
              [FIGURE_P99_MS] = 2000,
              [FIGURE_P999_MS] = 4400,
              [FIGURE_MOST_MS] = 130000,
              [FIGURE_IN_VAIN] = 120,
              [FIGURE_PROBES] = 560,
              [FIGURE_OPENED] = 64,
              [FIGURE_BURNT] = 1200,
              [FIGURE_DOUBTS] = 3,
              [FIGURE_TOUCHED_MEAN] = 2,
              [FIGURE_TOUCHED_MOST] = 28,
              [FIGURE_CALLS] = 650000,
              [FIGURE_COMMANDS] = 5700000}},
    {.name = "low-jobs",
     .what = "50,000 jobs of low priority behind posts",
     .hosts = 500,
     .duration_ms = MINUTES(3),
     .max_rate = 1000,
     .machines = 1,
     .set_up = some_low_jobs,
     .least = {[FIGURE_FAIRNESS] = 0.968, [FIGURE_LOW_DELIVERED] = 20000},
     .most = {[FIGURE_P50_MS] = 530,
              [FIGURE_P90_MS] = 1100,
              [FIGURE_P99_MS] = 1600,
              [FIGURE_P999_MS] = 3000,
              [FIGURE_MOST_MS] = 5300,
              [FIGURE_TOUCHED_MEAN] = 1.01,
              [FIGURE_TOUCHED_MOST] = 2,
              [FIGURE_CALLS] = 19000,
              [FIGURE_COMMANDS] = 340000}},
    {.name = "million",
     .what = "a million jobs of low priority behind posts",
     .hosts = 500,
     .duration_ms = MINUTES(60),
     .max_rate = 1000,
     .machines = 1,
     .set_up = low_jobs,
     .least = {[FIGURE_FAIRNESS] = 0.96},
     .most = {[FIGURE_P50_MS] = 610,
              [FIGURE_P90_MS] = 1100,
              [FIGURE_P99_MS] = 1600,
              [FIGURE_P999_MS] = 3000,
              [FIGURE_MOST_MS] = 6700,
              [FIGURE_TOUCHED_MEAN] = 1.01,
              [FIGURE_TOUCHED_MOST] = 2,
              [FIGURE_CALLS] = 350000,
              [FIGURE_COMMANDS] = 6200000}},
    {.name = "idle-machine",
     .what = "a limit of 100 a second, and one of two machines has no work",
     .hosts = 500,
     .duration_ms = MINUTES(10),
     .max_rate = 100,
     .machines = 2,
     .set_up = idle_machine,
     .least = {[FIGURE_FAIRNESS] = 0.97, [FIGURE_BUSIEST] = 90, [FIGURE_LAST_S] = 120},
     .most = {[FIGURE_BUSIEST] = 103,
              [FIGURE_LAST_S] = 145,
              [FIGURE_P50_MS] = 85000,
              [FIGURE_P90_MS] = 160000,
              [FIGURE_P99_MS] = 170000,
              [FIGURE_P999_MS] = 170000,
              [FIGURE_MOST_MS] = 180000,
              [FIGURE_TOUCHED_MEAN] = 1.01,
              [FIGURE_TOUCHED_MOST] = 2,
              [FIGURE_CALLS] = 20000,
              [FIGURE_COMMANDS] = 150000}},
    {.name = "busy-machines",
     .what = "a limit of 100 a second, and two machines that want more",
     .hosts = 500,
     .duration_ms = MINUTES(10),
     .max_rate = 100,
     .machines = 2,
     .set_up = busy_machines,
     .least = {[FIGURE_FAIRNESS] = 0.929, [FIGURE_BUSIEST] = 90, [FIGURE_LAST_S] = 120},
     .most = {[FIGURE_BUSIEST] = 103,
              [FIGURE_LAST_S] = 310,
              [FIGURE_P50_MS] = 24000,
              [FIGURE_P90_MS] = 140000,
              [FIGURE_P99_MS] = 160000,
              [FIGURE_P999_MS] = 170000,
              [FIGURE_MOST_MS] = 170000,
              [FIGURE_TOUCHED_MEAN] = 1.01,
              [FIGURE_TOUCHED_MOST] = 2,
              [FIGURE_CALLS] = 56000,
              [FIGURE_COMMANDS] = 460000}},
    {.name = "bursts",
     .what = "posts in quick succession, three machines",
     .hosts = 1000,
     .duration_ms = MINUTES(12),
     .max_rate = 1000,
     .machines = 3,
     .set_up = bursts,
     .least = {[FIGURE_FAIRNESS] = 0.97},
     .most = {[FIGURE_P50_MS] = 340,
              [FIGURE_P90_MS] = 1300,
              [FIGURE_P99_MS] = 2000,
              [FIGURE_P999_MS] = 4800,
              [FIGURE_MOST_MS] = 8000,
              [FIGURE_TOUCHED_MEAN] = 1.01,
              [FIGURE_TOUCHED_MOST] = 2,
              [FIGURE_CALLS] = 150000,
              [FIGURE_COMMANDS] = 1400000}},
    {.name = NULL},
};
