/* What waits behind open circuits while nobody asks its hosts, and when it is given up. */
#include "tests/sim/incumbent.h"
#include "tests/sim/machine.h"
#include "tests/sim/posts.h"
#include "tests/sim/scenario.h"

static struct hosts_of but_first(const struct world *world, uint32_t count)
{
    return (struct hosts_of){count, world->hosts.count - count};
}

/* The first hosts are dead for a time. */
static void kill_first(struct world *world, uint32_t count, int64_t from_ms, int64_t to_ms)
{
    for (uint32_t i = 0; i < count; i++) {
        struct sim_host *host = &world->hosts.list[i];
        host->spell = (struct spell){world_at_ms(from_ms), world_at_ms(to_ms),
                                     i % 2 == 0 ? MANNER_BLACK_HOLE : MANNER_REFUSED};
        host->watched = false;
        host->median_ms = 3000; /* so that others come by while one is the probe */
    }
}

/* --- an admin's pause --- */

static void on_pause(void *arg, uint64_t host)
{
    struct world *world = arg;

    for (unsigned i = 0; i < WORLD_MACHINES; i++) {
        if (world->machines[i] != NULL)
            machine_follow(world->machines[i], (uint32_t)host);
    }
}

static void pause_first(struct world *world, uint32_t count, int64_t from_ms, int64_t to_ms)
{
    for (uint32_t i = 0; i < count; i++) {
        world->hosts.list[i].pause =
            (struct spell){.from_ms = world_at_ms(from_ms), .to_ms = world_at_ms(to_ms)};
        events_at(world->events, world_at_ms(from_ms), on_pause, world, i);
        events_at(world->events, world_at_ms(to_ms), on_pause, world, i);
    }
}

/* For longer than jobs are kept. Half of the hosts are well again soon after it has begun; the
 * others still fail the first probe after it. */
static void paused(struct world *world)
{
    const struct hosts_of dead = {0, 10};

    kill_first(world, dead.count, 0, HOURS(80) + MINUTES(20));
    kill_first(world, dead.count / 2, 0, HOURS(12));
    posts_once(world, MINUTES(10), dead, 20, false);
    posts_once(world, HOURS(9) + MINUTES(30), dead, 10, true);
    pause_first(world, dead.count, HOURS(10), HOURS(80));
    posts_stream(world, HOURS(2), HOURS(78), 0.002, dead);
    posts_stream(world, 0, HOURS(82), 0.1, but_first(world, dead.count));
}

static void paused_low(struct world *world)
{
    const struct hosts_of dead = {0, 5};

    kill_first(world, dead.count, 0, HOURS(2));
    posts_once(world, MINUTES(10), dead, 500, true);
    pause_first(world, dead.count, HOURS(1), HOURS(4));
    posts_stream(world, 0, HOURS(5), 1, but_first(world, dead.count));
}

/* --- fedpush is away --- */

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

static void night(struct world *world)
{
    const struct hosts_of dead = {0, 10};

    kill_first(world, dead.count, 0, HOURS(2));
    posts_once(world, MINUTES(20), dead, 100, true);
    posts_stream(world, 0, MINUTES(45), 2, but_first(world, dead.count));
    posts_once(world, HOURS(5), dead, 20, true);
    posts_stream(world, HOURS(10) + SECONDS(10), HOURS(11), 2, but_first(world, dead.count));
    if (world->incumbent != NULL)
        return;
    events_at(world->events, world_at_ms(HOURS(1)), on_drain, world, 0);
    events_at(world->events, world_at_ms(HOURS(10)), on_join, world, 1);
}

/* --- our way out is cut --- */

static void cut_beside_parked(struct world *world)
{
    const struct hosts_of dead = {0, 10};

    kill_first(world, dead.count, 0, MINUTES(75));
    posts_once(world, MINUTES(20), dead, 100, true);
    posts_stream(world, 0, HOURS(5), 2, but_first(world, dead.count));
    if (world->incumbent != NULL)
        incumbent_cut(world->incumbent, 0, world_at_ms(HOURS(1)), world_at_ms(HOURS(4)));
    else
        machine_break(world->machines[0], FAULT_CUT, world_at_ms(HOURS(1)), world_at_ms(HOURS(4)));
}

/* --- a host asks for time --- */

static void on_first_aid(void *arg, uint64_t host)
{
    struct world *world = arg;
    world->hosts.list[host].spell.manner = MANNER_UNAVAILABLE;
}

/* Of a probe. */
static void asks_for_hours(struct world *world)
{
    const struct hosts_of busy = {0, 10};

    kill_first(world, busy.count, 0, HOURS(2));
    for (uint32_t i = 0; i < busy.count; i++) {
        world->hosts.list[i].asks_ms = HOURS(6);
        events_at(world->events, world_at_ms(MINUTES(50)), on_first_aid, world, i);
    }
    posts_once(world, MINUTES(10), busy, 100, true);
    posts_stream(world, 0, HOURS(8), 1, but_first(world, busy.count));
}

/* --- a host whose name is lost --- */

static void on_lost(void *arg, uint64_t host)
{
    struct world *world = arg;
    world->hosts.list[host].spell.manner = MANNER_UNSERVED;
}

/* Right after it died. */
static void lost_zone(struct world *world)
{
    const struct hosts_of dead = {0, 10};

    kill_first(world, dead.count, 0, HOURS(1000));
    for (uint32_t i = 0; i < dead.count; i++)
        events_at(world->events, world_at_ms(MINUTES(12)), on_lost, world, i);
    posts_once(world, MINUTES(10), dead, 100, true);
    posts_once(world, MINUTES(30), dead, 100, true);
    posts_stream(world, 0, HOURS(7), 1, but_first(world, dead.count));
}

/* --- few jobs --- */

/* Most probes are made by jobs that have failed before. */
static void few_jobs(struct world *world)
{
    enum { DEAD = 40 };

    kill_first(world, DEAD, 0, HOURS(1000));
    for (uint32_t i = 0; i < DEAD; i++)
        posts_once(world, MINUTES(1) + MINUTES(3) * i, (struct hosts_of){i, 1}, 2 + i / 8,
                   i % 4 == 3);
    posts_stream(world, 0, HOURS(138), 0.05, but_first(world, DEAD));
}

const struct scenario scenarios_of_parking[] = {
    {.name = "paused",
     .what = "hosts that die, are paused for three days, and are well by then or soon after",
     .hosts = 60,
     .duration_ms = HOURS(84),
     .max_rate = 1000,
     .machines = 2,
     .set_up = paused,
     .least = {[FIGURE_FAIRNESS] = 0.998},
     .most = {[FIGURE_P50_MS] = 240,
              [FIGURE_P90_MS] = 640,
              [FIGURE_P99_MS] = 1700,
              [FIGURE_P999_MS] = 2800,
              [FIGURE_MOST_MS] = 4800,
              [FIGURE_IN_VAIN] = 32,
              [FIGURE_PROBES] = 220,
              [FIGURE_OPENED] = 14,
              [FIGURE_BURNT] = 280,
              [FIGURE_TOUCHED_MEAN] = 2.38,
              [FIGURE_TOUCHED_MOST] = 74,
              [FIGURE_CALLS] = 4200000,
              [FIGURE_COMMANDS] = 24000000}},
    {.name = "paused-low",
     .what = "the same for three hours, with jobs of eight retries",
     .hosts = 60,
     .duration_ms = HOURS(6),
     .max_rate = 1000,
     .machines = 1,
     .set_up = paused_low,
     .least = {[FIGURE_FAIRNESS] = 0.998},
     .most = {[FIGURE_P50_MS] = 240,
              [FIGURE_P90_MS] = 660,
              [FIGURE_P99_MS] = 1600,
              [FIGURE_P999_MS] = 2800,
              [FIGURE_MOST_MS] = 5900,
              [FIGURE_IN_VAIN] = 15,
              [FIGURE_PROBES] = 47,
              [FIGURE_OPENED] = 7,
              [FIGURE_BURNT] = 78,
              [FIGURE_TOUCHED_MEAN] = 1.65,
              [FIGURE_TOUCHED_MOST] = 12,
              [FIGURE_CALLS] = 230000,
              [FIGURE_COMMANDS] = 1600000}},
    {.name = "night",
     .what = "fedpush is down over night, with such jobs for hosts that recover meanwhile",
     .hosts = 60,
     .duration_ms = HOURS(12),
     .max_rate = 1000,
     .machines = 1,
     .set_up = night,
     .least = {[FIGURE_FAIRNESS] = 0.998},
     .most = {[FIGURE_P50_MS] = 240,
              [FIGURE_P90_MS] = 640,
              [FIGURE_P99_MS] = 1600,
              [FIGURE_P999_MS] = 3000,
              [FIGURE_MOST_MS] = 5300,
              [FIGURE_IN_VAIN] = 15,
              [FIGURE_PROBES] = 95,
              [FIGURE_OPENED] = 14,
              [FIGURE_BURNT] = 150,
              [FIGURE_TOUCHED_MEAN] = 1.2,
              [FIGURE_TOUCHED_MOST] = 10,
              [FIGURE_CALLS] = 130000,
              [FIGURE_COMMANDS] = 870000}},
    {.name = "cut-parked",
     .what = "our way out is cut for three hours, with such jobs for hosts that recover meanwhile",
     .hosts = 100,
     .duration_ms = HOURS(6),
     .max_rate = 1000,
     .machines = 1,
     .set_up = cut_beside_parked,
     .least = {[FIGURE_FAIRNESS] = 0.992},
     .most = {[FIGURE_P50_MS] = 2600000,
              [FIGURE_P90_MS] = 12000000,
              [FIGURE_P99_MS] = 15000000,
              [FIGURE_P999_MS] = 15000000,
              [FIGURE_MOST_MS] = 15000000,
              [FIGURE_IN_VAIN] = 15,
              [FIGURE_PROBES] = 94,
              [FIGURE_OPENED] = 14,
              [FIGURE_BURNT] = 140,
              [FIGURE_DOUBTS] = 8700,
              [FIGURE_TOUCHED_MEAN] = 1.05,
              [FIGURE_TOUCHED_MOST] = 8,
              [FIGURE_CALLS] = 200000,
              [FIGURE_COMMANDS] = 1400000}},
    {.name = "asks-for-hours",
     .what = "hosts that answer 503 and ask for six hours, with such jobs",
     .hosts = 60,
     .duration_ms = HOURS(10),
     .max_rate = 1000,
     .machines = 2,
     .set_up = asks_for_hours,
     .least = {[FIGURE_FAIRNESS] = 0.998},
     .most = {[FIGURE_P50_MS] = 240,
              [FIGURE_P90_MS] = 630,
              [FIGURE_P99_MS] = 1700,
              [FIGURE_P999_MS] = 2900,
              [FIGURE_MOST_MS] = 5000,
              [FIGURE_IN_VAIN] = 23,
              [FIGURE_PROBES] = 110,
              [FIGURE_OPENED] = 27,
              [FIGURE_BURNT] = 210,
              [FIGURE_TOUCHED_MEAN] = 1.06,
              [FIGURE_TOUCHED_MOST] = 10,
              [FIGURE_CALLS] = 600000,
              [FIGURE_COMMANDS] = 3700000}},
    {.name = "lost-zone",
     .what = "hosts that die, and nobody answers for their names any more, with such jobs",
     .hosts = 60,
     .duration_ms = HOURS(8),
     .max_rate = 1000,
     .machines = 2,
     .set_up = lost_zone,
     .least = {[FIGURE_FAIRNESS] = 0.998, [FIGURE_EXHAUSTED] = 2000},
     .most = {[FIGURE_P50_MS] = 240,
              [FIGURE_P90_MS] = 640,
              [FIGURE_P99_MS] = 1600,
              [FIGURE_P999_MS] = 2800,
              [FIGURE_MOST_MS] = 5500,
              [FIGURE_EXHAUSTED] = 2000,
              [FIGURE_UNTRIED] = 2000,
              [FIGURE_IN_VAIN] = 27,
              [FIGURE_PROBES] = 140,
              [FIGURE_OPENED] = 27,
              [FIGURE_BURNT] = 240,
              [FIGURE_TOUCHED_MEAN] = 1.12,
              [FIGURE_TOUCHED_MOST] = 14,
              [FIGURE_CALLS] = 490000,
              [FIGURE_COMMANDS] = 3100000}},
    {.name = "few-jobs",
     .what = "hosts that are dead for good, with two to six jobs each",
     .hosts = 80,
     .duration_ms = HOURS(140),
     .max_rate = 1000,
     .machines = 1,
     .set_up = few_jobs,
     .least = {[FIGURE_FAIRNESS] = 0.998, [FIGURE_EXHAUSTED] = 160},
     .most = {[FIGURE_P50_MS] = 240,
              [FIGURE_P90_MS] = 680,
              [FIGURE_P99_MS] = 1600,
              [FIGURE_P999_MS] = 2700,
              [FIGURE_MOST_MS] = 5500,
              [FIGURE_EXHAUSTED] = 160,
              [FIGURE_UNTRIED] = 3,
              [FIGURE_IN_VAIN] = 130,
              [FIGURE_PROBES] = 2600,
              [FIGURE_OPENED] = 54,
              [FIGURE_BURNT] = 2800,
              [FIGURE_TOUCHED_MEAN] = 1.12,
              [FIGURE_TOUCHED_MOST] = 28,
              [FIGURE_CALLS] = 3500000,
              [FIGURE_COMMANDS] = 18000000}},
    {.name = NULL},
};
