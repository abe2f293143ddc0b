/* What hosts do to us. */
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

/* The first hosts are bad ones. */
static void spoil(struct world *world, uint32_t count, enum manner manner)
{
    for (uint32_t i = 0; i < count; i++) {
        world->hosts.list[i].manner = manner;
        world->hosts.list[i].watched = false;
    }
}

static void spell(struct sim_host *host, int64_t from_ms, int64_t to_ms, enum manner manner)
{
    host->spell = (struct spell){world_at_ms(from_ms), world_at_ms(to_ms), manner};
    host->watched = false;
}

/* --- one dead host --- */

static void dead_host(struct world *world)
{
    spell(&world->hosts.list[0], 0, HOURS(6), MANNER_BLACK_HOLE);
    /* More than are remembered of a host (BOOKED_MOST): the others come back by themselves. */
    posts_stream(world, 0, HOURS(1), 120000.0 / 3600, (struct hosts_of){0, 1});
    posts_stream(world, 0, HOURS(8), 2, but_first(world, 1));
}

/* --- half the fediverse --- */

static void black_holes(struct world *world)
{
    spoil(world, world->hosts.count / 2, MANNER_BLACK_HOLE);
    posts_each(world, SECONDS(10), MINUTES(30), SECONDS(60), all(world));
    posts_stream(world, 0, MINUTES(30), 10, all(world));
}

/* More of them than any table of ours is made for; when they are back all that waited comes long
 * before its own time. */
static void half_returns(struct world *world)
{
    for (uint32_t i = 0; i < world->hosts.count / 2; i++)
        spell(&world->hosts.list[i], 0, MINUTES(15), MANNER_BLACK_HOLE);
    posts_each(world, SECONDS(10), MINUTES(9), SECONDS(60), all(world));
}

/* All in the queue at once, behind some posts, and nothing is known of them. */
static void behind_holes(struct world *world)
{
    spoil(world, 40, MANNER_BLACK_HOLE);
    posts_each(world, SECONDS(1), MINUTES(2), SECONDS(1), but_first(world, 40));
    posts_once(world, SECONDS(20), (struct hosts_of){0, 40}, 500, false);
}

static void bad_kinds(struct world *world)
{
    static const enum manner kinds[] = {MANNER_BLACK_HOLE, MANNER_REFUSED, MANNER_SILENT,
                                        MANNER_ERROR, MANNER_UNAVAILABLE};

    for (uint32_t i = 0; i < 100; i++) {
        world->hosts.list[i].manner = kinds[i % 5];
        world->hosts.list[i].watched = false;
    }
    posts_each(world, SECONDS(10), HOURS(2), SECONDS(120), all(world));
}

/* Hosts that are away for longer than jobs are kept (16 retries are 62 hours), each in its manner,
 * and one for good. */
static void days(struct world *world)
{
    static const enum manner kinds[] = {MANNER_BLACK_HOLE, MANNER_REFUSED, MANNER_SILENT,
                                        MANNER_ERROR};

    for (uint32_t i = 0; i < 4; i++)
        spell(&world->hosts.list[i], HOURS(1), HOURS(73), kinds[i]);
    spell(&world->hosts.list[4], HOURS(1), HOURS(1000), MANNER_BLACK_HOLE);
    posts_stream(world, 0, HOURS(90), 0.1, (struct hosts_of){0, 5});
    posts_stream(world, 0, HOURS(90), 0.3, but_first(world, 5));
}

/* Jobs of eight retries: their ages run out after less than two hours, some untried. */
static void given_up(struct world *world)
{
    spoil(world, 50, MANNER_BLACK_HOLE);
    for (int64_t i = 0; i < 12; i++)
        posts_once(world, SECONDS(5) + MINUTES(15) * i, (struct hosts_of){0, 50}, 1, true);
    posts_once(world, MINUTES(200), (struct hosts_of){0, 50}, 200, true); /* all at once */
    posts_stream(world, 0, HOURS(7), 1, but_first(world, 50));
}

/* --- a restart --- */

/* With as many requests under way as it ever gets. It counts as healthy: what the restart costs it
 * shows in the delays. */
static void restart(struct world *world)
{
    world->hosts.list[0].median_ms = 300;
    posts_stream(world, 0, MINUTES(5), 60, (struct hosts_of){0, 1});
    posts_stream(world, 0, MINUTES(5), 20, but_first(world, 1));
    posts_once(world, MINUTES(3) - SECONDS(8), (struct hosts_of){0, 1}, 700, false);
    spell(&world->hosts.list[0], MINUTES(3), MINUTES(3) + 700, MANNER_REFUSED);
    world->hosts.list[0].watched = true;
}

static const char *check_restart(const struct world *world)
{
    return world->hosts.list[0].most_at_once < 32 ? "the host never had 32 requests at once" : NULL;
}

/* --- limits --- */

static void limit(struct sim_host *host, unsigned a_minute, bool says_when)
{
    host->limit = a_minute;
    host->says_when = says_when;
    host->watched = false;
}

static void one_a_minute(struct world *world)
{
    limit(&world->hosts.list[0], 1, false);
    limit(&world->hosts.list[1], 1, true);
    posts_once(world, SECONDS(5), (struct hosts_of){0, 2}, 40, false);
    posts_stream(world, 0, HOURS(2), 10, but_first(world, 2));
}

static void sixty_a_minute(struct world *world)
{
    limit(&world->hosts.list[0], 60, false);
    limit(&world->hosts.list[1], 60, true);
    posts_once(world, SECONDS(5), (struct hosts_of){0, 2}, 600, false);
    posts_stream(world, 0, HOURS(1), 10, but_first(world, 2));
}

static void flapping(struct world *world)
{
    for (uint32_t i = 0; i < 20; i++) {
        world->hosts.list[i].flap_ms = SECONDS(20 + 20 * i);
        world->hosts.list[i].watched = false;
    }
    posts_stream(world, 0, HOURS(3), 20, all(world));
}

/* --- fan-out --- */

static void fan_out(struct world *world)
{
    static const enum manner kinds[] = {MANNER_SILENT, MANNER_BLACK_HOLE, MANNER_SILENT,
                                        MANNER_REFUSED};

    for (uint32_t i = 0; i < world->hosts.count; i++) {
        if (dice_below(&world->fate, 100) < 8) {
            world->hosts.list[i].manner = kinds[i % 4];
            world->hosts.list[i].watched = false;
        }
    }
    posts_once(world, SECONDS(5), all(world), 1, false);
}

/* --- order --- */

void scenarios_follows(struct world *world)
{
    for (uint32_t i = 0; i < 60; i++) { /* outages of all lengths */
        struct sim_host *host = &world->hosts.list[i];
        spell(host, MINUTES(1), MINUTES(2 + i), i % 3 == 0 ? MANNER_REFUSED : MANNER_BLACK_HOLE);
        for (unsigned j = 0; j < 40; j++)
            posts_follow(world, (int64_t)dice_below(&world->fate, (uint64_t)MINUTES(70)),
                         1 + dice_exponential_ms(&world->fate, 120000), i);
    }
    for (uint32_t i = 60; i < 64; i++) { /* more than their lanes hold */
        world->hosts.list[i].median_ms = 1500;
        world->hosts.list[i].watched = false;
        posts_once(world, MINUTES(5), (struct hosts_of){i, 1}, 3000, false);
        for (unsigned j = 0; j < 200; j++)
            posts_follow(world, MINUTES(5) + (int64_t)dice_below(&world->fate, MINUTES(10)),
                         1 + dice_exponential_ms(&world->fate, 30000), i);
    }
    posts_stream(world, 0, HOURS(2), 10, but_first(world, 64));
}

static void follows_beside_ruby(struct world *world)
{
    scenarios_follows(world);
    posts_ruby_poller(world, SECONDS(10));
}

const struct scenario scenarios_of_hosts[] = {
    {.name = "dead-host",
     .what = "120,000 jobs for one host that is dead for six hours",
     .hosts = 100,
     .duration_ms = HOURS(12),
     .max_rate = 1000,
     .machines = 1,
     .set_up = dead_host,
     .least = {[FIGURE_FAIRNESS] = 0.998, [FIGURE_IN_VAIN] = 5, [FIGURE_OPENED] = 1},
     .most = {[FIGURE_P50_MS] = 220,
              [FIGURE_P90_MS] = 520,
              [FIGURE_P99_MS] = 1550,
              [FIGURE_P999_MS] = 2950,
              [FIGURE_MOST_MS] = 5900,
              [FIGURE_IN_VAIN] = 22,
              [FIGURE_PROBES] = 16,
              [FIGURE_OPENED] = 1,
              [FIGURE_BURNT] = 22,
              [FIGURE_TOUCHED_MEAN] = 6.35,
              [FIGURE_TOUCHED_MOST] = 56,
              [FIGURE_CALLS] = 1200000,
              [FIGURE_COMMANDS] = 23000000},
     .ratios = {{FIGURE_CALLS, 0.2}, {FIGURE_COMMANDS, 1.3}, {FIGURE_TOUCHED_MEAN, 0.8}}},
    {.name = "black-holes",
     .what = "half of the fediverse doesn't answer",
     .hosts = 2000,
     .duration_ms = MINUTES(35),
     .max_rate = 1000,
     .machines = 1,
     .set_up = black_holes,
     .least = {[FIGURE_FAIRNESS] = 0.946},
     .most = {[FIGURE_P50_MS] = 670,
              [FIGURE_P90_MS] = 1400,
              [FIGURE_P99_MS] = 2000,
              [FIGURE_P999_MS] = 3200,
              [FIGURE_MOST_MS] = 8700,
              [FIGURE_PENDING] = 40150,
              [FIGURE_IN_VAIN] = 15,
              [FIGURE_PROBES] = 6800,
              [FIGURE_OPENED] = 1051,
              [FIGURE_BURNT] = 14000,
              [FIGURE_TOUCHED_MEAN] = 4.5,
              [FIGURE_TOUCHED_MOST] = 14,
              [FIGURE_CALLS] = 120000,
              [FIGURE_COMMANDS] = 5100000}},
    {.name = "half-returns",
     .what = "half of a large fediverse comes back after 15 minutes",
     .hosts = 12000,
     .duration_ms = MINUTES(24),
     .max_rate = 1000,
     .machines = 1,
     .set_up = half_returns,
     .least = {[FIGURE_FAIRNESS] = 0.888},
     .most = {[FIGURE_P50_MS] = 5900,
              [FIGURE_P90_MS] = 29000,
              [FIGURE_P99_MS] = 34000,
              [FIGURE_P999_MS] = 35000,
              [FIGURE_MOST_MS] = 36000,
              [FIGURE_PENDING] = 3,
              [FIGURE_IN_VAIN] = 12,
              [FIGURE_PROBES] = 40000,
              [FIGURE_OPENED] = 6000,
              [FIGURE_BURNT] = 72000,
              [FIGURE_TOUCHED_MEAN] = 2.51,
              [FIGURE_TOUCHED_MOST] = 11,
              [FIGURE_CALLS] = 151000,
              [FIGURE_COMMANDS] = 5710000}},
    {.name = "behind-holes",
     .what = "posts behind 20,000 jobs for 40 black holes",
     .hosts = 140,
     .duration_ms = MINUTES(5),
     .machines = 1,
     .set_up = behind_holes,
     .least = {[FIGURE_FAIRNESS] = 0.998, [FIGURE_IN_VAIN] = 5},
     .most = {[FIGURE_P50_MS] = 230,
              [FIGURE_P90_MS] = 610,
              [FIGURE_P99_MS] = 1900,
              [FIGURE_P999_MS] = 3900,
              [FIGURE_MOST_MS] = 7400,
              [FIGURE_PENDING] = 20400,
              [FIGURE_IN_VAIN] = 11,
              [FIGURE_PROBES] = 140,
              [FIGURE_OPENED] = 43,
              [FIGURE_BURNT] = 400,
              [FIGURE_TOUCHED_MEAN] = 2.98,
              [FIGURE_TOUCHED_MOST] = 10,
              [FIGURE_CALLS] = 13000,
              [FIGURE_COMMANDS] = 930000},
     .ratios = {{FIGURE_COMMANDS, 1.5}}},
    {.name = "bad-kinds",
     .what = "hosts of which each is bad in a manner of its own",
     .hosts = 500,
     .duration_ms = HOURS(2),
     .max_rate = 1000,
     .machines = 2,
     .set_up = bad_kinds,
     .least = {[FIGURE_FAIRNESS] = 0.98, [FIGURE_OPENED] = 100},
     .most = {[FIGURE_P50_MS] = 400,
              [FIGURE_P90_MS] = 790,
              [FIGURE_P99_MS] = 1500,
              [FIGURE_P999_MS] = 2800,
              [FIGURE_MOST_MS] = 9000,
              [FIGURE_PENDING] = 6120,
              [FIGURE_IN_VAIN] = 23,
              [FIGURE_PROBES] = 940,
              [FIGURE_OPENED] = 108,
              [FIGURE_BURNT] = 2000,
              [FIGURE_TOUCHED_MEAN] = 2.74,
              [FIGURE_TOUCHED_MOST] = 18,
              [FIGURE_CALLS] = 130000,
              [FIGURE_COMMANDS] = 1700000}},
    {.name = "days",
     .what = "hosts that are dead for three days, and one for good",
     .hosts = 60,
     .duration_ms = HOURS(96),
     .max_rate = 1000,
     .machines = 2,
     .set_up = days,
     .least = {[FIGURE_FAIRNESS] = 0.998, [FIGURE_OPENED] = 5},
     .most = {[FIGURE_P50_MS] = 230,
              [FIGURE_P90_MS] = 660,
              [FIGURE_P99_MS] = 1600,
              [FIGURE_P999_MS] = 2700,
              [FIGURE_MOST_MS] = 5500,
              [FIGURE_PENDING] = 4415,
              [FIGURE_EXHAUSTED] = 4870,
              [FIGURE_UNTRIED] = 4685,
              [FIGURE_IN_VAIN] = 390,
              [FIGURE_PROBES] = 790,
              [FIGURE_OPENED] = 8,
              [FIGURE_BURNT] = 830,
              [FIGURE_TOUCHED_MEAN] = 4.03,
              [FIGURE_TOUCHED_MOST] = 38,
              [FIGURE_CALLS] = 5500000,
              [FIGURE_COMMANDS] = 36000000},
     .ratios = {{FIGURE_EXHAUSTED, 1}}},
    {.name = "given-up",
     .what = "hosts that are dead for longer than jobs are kept",
     .hosts = 60,
     .duration_ms = HOURS(10),
     .max_rate = 1000,
     .machines = 1,
     .set_up = given_up,
     .least = {[FIGURE_FAIRNESS] = 0.998, [FIGURE_IN_VAIN] = 5, [FIGURE_EXHAUSTED] = 10600},
     .most = {[FIGURE_P50_MS] = 320,
              [FIGURE_P90_MS] = 740,
              [FIGURE_P99_MS] = 2000,
              [FIGURE_P999_MS] = 3200,
              [FIGURE_MOST_MS] = 5900,
              [FIGURE_EXHAUSTED] = 10600,
              [FIGURE_UNTRIED] = 10414,
              [FIGURE_IN_VAIN] = 22,
              [FIGURE_PROBES] = 740,
              [FIGURE_OPENED] = 54,
              [FIGURE_BURNT] = 1100,
              [FIGURE_TOUCHED_MEAN] = 3.94,
              [FIGURE_TOUCHED_MOST] = 20,
              [FIGURE_CALLS] = 310000,
              [FIGURE_COMMANDS] = 2800000},
     .ratios = {{FIGURE_CALLS, 0.5}}},
    {.name = "given-up-tried",
     .what = "the same, if each job had to have an attempt of its own first",
     .hosts = 60,
     .duration_ms = HOURS(10),
     .max_rate = 1000,
     .machines = 1,
     .each_tried = true,
     .set_up = given_up,
     .least = {[FIGURE_FAIRNESS] = 0.998, [FIGURE_EXHAUSTED] = 10600},
     .most = {[FIGURE_P50_MS] = 310,
              [FIGURE_P90_MS] = 760,
              [FIGURE_P99_MS] = 2000,
              [FIGURE_P999_MS] = 3200,
              [FIGURE_MOST_MS] = 5900,
              [FIGURE_EXHAUSTED] = 10600,
              [FIGURE_IN_VAIN] = 300,
              [FIGURE_PROBES] = 670,
              [FIGURE_OPENED] = 54,
              [FIGURE_BURNT] = 15000,
              [FIGURE_TOUCHED_MEAN] = 4.31,
              [FIGURE_TOUCHED_MOST] = 19,
              [FIGURE_CALLS] = 310000,
              [FIGURE_COMMANDS] = 3000000}},
    {.name = "restart",
     .what = "a host restarts under 32 requests",
     .hosts = 50,
     .duration_ms = MINUTES(8),
     .max_rate = 1000,
     .machines = 1,
     .set_up = restart,
     .check = check_restart,
     .least = {[FIGURE_FAIRNESS] = 0.99},
     .most = {[FIGURE_P50_MS] = 400,
              [FIGURE_P90_MS] = 4600,
              [FIGURE_P99_MS] = 15000,
              [FIGURE_P999_MS] = 38000,
              [FIGURE_MOST_MS] = 47000,
              [FIGURE_IN_VAIN] = 3,
              [FIGURE_BURNT] = 43,
              [FIGURE_BURNT_HEALTHY] = 43,
              [FIGURE_TOUCHED_MEAN] = 1.13,
              [FIGURE_TOUCHED_MOST] = 4,
              [FIGURE_CALLS] = 95000,
              [FIGURE_COMMANDS] = 830000}},
    {.name = "one-a-minute",
     .what = "hosts that take a request a minute",
     .hosts = 50,
     .duration_ms = HOURS(3),
     .max_rate = 1000,
     .machines = 2,
     .set_up = one_a_minute,
     .least = {[FIGURE_FAIRNESS] = 0.998},
     .most = {[FIGURE_P50_MS] = 240,
              [FIGURE_P90_MS] = 650,
              [FIGURE_P99_MS] = 1600,
              [FIGURE_P999_MS] = 2800,
              [FIGURE_MOST_MS] = 5700,
              [FIGURE_PUSHED_BACK] = 120,
              [FIGURE_BURNT] = 120,
              [FIGURE_TOUCHED_MEAN] = 1.02,
              [FIGURE_TOUCHED_MOST] = 10,
              [FIGURE_CALLS] = 440000,
              [FIGURE_COMMANDS] = 3300000}},
    {.name = "sixty-a-minute",
     .what = "600 jobs for hosts that answer 429 past 60 a minute",
     .hosts = 50,
     .duration_ms = HOURS(2),
     .max_rate = 1000,
     .machines = 2,
     .set_up = sixty_a_minute,
     .least = {[FIGURE_FAIRNESS] = 0.998},
     .most = {[FIGURE_P50_MS] = 240,
              [FIGURE_P90_MS] = 660,
              [FIGURE_P99_MS] = 1600,
              [FIGURE_P999_MS] = 2900,
              [FIGURE_MOST_MS] = 5400,
              [FIGURE_PUSHED_BACK] = 170,
              [FIGURE_BURNT] = 170,
              [FIGURE_TOUCHED_MEAN] = 1.05,
              [FIGURE_TOUCHED_MOST] = 10,
              [FIGURE_CALLS] = 250000,
              [FIGURE_COMMANDS] = 1800000}},
    {.name = "flapping",
     .what = "hosts that come and go",
     .hosts = 200,
     .duration_ms = HOURS(4),
     .max_rate = 1000,
     .machines = 2,
     .set_up = flapping,
     .least = {[FIGURE_FAIRNESS] = 0.998},
     .most = {[FIGURE_P50_MS] = 220,
              [FIGURE_P90_MS] = 580,
              [FIGURE_P99_MS] = 1700,
              [FIGURE_P999_MS] = 3600,
              [FIGURE_MOST_MS] = 7800,
              [FIGURE_PENDING] = 2650,
              [FIGURE_IN_VAIN] = 740,
              [FIGURE_PROBES] = 3300,
              [FIGURE_OPENED] = 731,
              [FIGURE_BURNT] = 6600,
              [FIGURE_TOUCHED_MEAN] = 1.46,
              [FIGURE_TOUCHED_MOST] = 44,
              [FIGURE_CALLS] = 1200000,
              [FIGURE_COMMANDS] = 11000000}},
    {.name = "fan-out",
     .what = "one post to 5,000 hosts, 8 % of them bad",
     .hosts = 5000,
     .duration_ms = MINUTES(5),
     .machines = 1,
     .set_up = fan_out,
     .least = {[FIGURE_FAIRNESS] = 0.923},
     .most = {[FIGURE_P50_MS] = 760,
              [FIGURE_P90_MS] = 1300,
              [FIGURE_P99_MS] = 1800,
              [FIGURE_P999_MS] = 3000,
              [FIGURE_MOST_MS] = 5300,
              [FIGURE_PENDING] = 472,
              [FIGURE_IN_VAIN] = 7,
              [FIGURE_PROBES] = 340,
              [FIGURE_OPENED] = 400,
              [FIGURE_BURNT] = 2900,
              [FIGURE_TOUCHED_MEAN] = 1.47,
              [FIGURE_TOUCHED_MOST] = 8,
              [FIGURE_CALLS] = 3300,
              [FIGURE_COMMANDS] = 59000}},
    {.name = "follows",
     .what = "Follow and Undo through full lanes and open circuits",
     .hosts = 120,
     .duration_ms = HOURS(6),
     .max_rate = 1000,
     .machines = 1,
     .set_up = scenarios_follows,
     .least = {[FIGURE_FAIRNESS] = 0.998},
     .most = {[FIGURE_P50_MS] = 240,
              [FIGURE_P90_MS] = 600,
              [FIGURE_P99_MS] = 2000,
              [FIGURE_P999_MS] = 4400,
              [FIGURE_MOST_MS] = 13000,
              [FIGURE_IN_VAIN] = 16,
              [FIGURE_PROBES] = 460,
              [FIGURE_OPENED] = 64,
              [FIGURE_BURNT] = 730,
              [FIGURE_TOUCHED_MEAN] = 1.41,
              [FIGURE_TOUCHED_MOST] = 22,
              [FIGURE_CALLS] = 480000,
              [FIGURE_COMMANDS] = 3900000}},
    {.name = "follows-ruby",
     .what = "the same beside a Ruby process whose poller pushes what is due",
     .hosts = 120,
     .duration_ms = HOURS(6),
     .max_rate = 1000,
     .machines = 1,
     .set_up = follows_beside_ruby,
     .least = {[FIGURE_FAIRNESS] = 0.998},
     .most = {[FIGURE_P50_MS] = 240,
              [FIGURE_P90_MS] = 590,
              [FIGURE_P99_MS] = 2000,
              [FIGURE_P999_MS] = 4400,
              [FIGURE_MOST_MS] = 7900,
              [FIGURE_IN_VAIN] = 16,
              [FIGURE_PROBES] = 460,
              [FIGURE_OPENED] = 64,
              [FIGURE_BURNT] = 730,
              [FIGURE_TOUCHED_MEAN] = 1.41,
              [FIGURE_TOUCHED_MOST] = 22,
              [FIGURE_CALLS] = 500000,
              [FIGURE_COMMANDS] = 3900000}},
    {.name = "follows-fleet",
     .what = "the same with three machines",
     .hosts = 120,
     .duration_ms = HOURS(6),
     .max_rate = 1000,
     .machines = 3,
     .set_up = scenarios_follows,
     .least = {[FIGURE_FAIRNESS] = 0.998},
     .most = {[FIGURE_P50_MS] = 240,
              [FIGURE_P90_MS] = 600,
              [FIGURE_P99_MS] = 2000,
              [FIGURE_P999_MS] = 4500,
              [FIGURE_MOST_MS] = 8500,
              [FIGURE_IN_VAIN] = 28,
              [FIGURE_PROBES] = 450,
              [FIGURE_OPENED] = 64,
              [FIGURE_BURNT] = 1200,
              [FIGURE_TOUCHED_MEAN] = 2.36,
              [FIGURE_TOUCHED_MOST] = 38,
              [FIGURE_CALLS] = 780000,
              [FIGURE_COMMANDS] = 7000000}},
    {.name = NULL},
};
