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
    /* Not more than are remembered of a host (BOOKED_MOST): the others come back by themselves. */
    posts_stream(world, 0, HOURS(1), 96000.0 / 3600, (struct hosts_of){0, 1});
    posts_stream(world, 0, HOURS(8), 2, but_first(world, 1));
}

/* --- half the fediverse --- */

static void black_holes(struct world *world)
{
    spoil(world, world->hosts.count / 2, MANNER_BLACK_HOLE);
    posts_each(world, SECONDS(10), MINUTES(30), SECONDS(60), all(world));
    posts_stream(world, 0, MINUTES(30), 10, all(world));
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

/* Jobs of eight retries: their ages run out after less than two hours, some untried. */
static void given_up(struct world *world)
{
    spoil(world, 50, MANNER_BLACK_HOLE);
    for (int64_t i = 0; i < 12; i++)
        posts_once(world, SECONDS(5) + MINUTES(15) * i, (struct hosts_of){0, 50}, 1, true);
    posts_once(world, MINUTES(200), (struct hosts_of){0, 50}, 200, true); /* all at once */
}

/* --- a restart --- */

static void restart(struct world *world)
{
    world->hosts.list[0].median_ms = 300;
    posts_stream(world, 0, MINUTES(5), 80, (struct hosts_of){0, 1});
    posts_stream(world, 0, MINUTES(5), 20, but_first(world, 1));
    spell(&world->hosts.list[0], MINUTES(3), MINUTES(3) + 700, MANNER_REFUSED);
}

static const char *check_restart(const struct world *world)
{
    return world->hosts.list[0].most_at_once < 16 ? "the host never had many requests at once"
                                                  : NULL;
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
     .what = "some 100,000 jobs for one host that is dead for six hours",
     .hosts = 100,
     .duration_ms = HOURS(9),
     .max_rate = 1000,
     .machines = 1,
     .set_up = dead_host,
     .bounds = {{FIGURE_P99_MS, 0, 2000},
                {FIGURE_FAIRNESS, 0.98, 1},
                {FIGURE_IN_VAIN, 5, 40},
                {FIGURE_BURNT, 0, 40},
                {FIGURE_OPENED, 1, 1},
                {FIGURE_BURNT_HEALTHY, 0, 0},
                {FIGURE_PENDING, 0, 0}},
     .ratios = {{FIGURE_CALLS, 0.2},
                {FIGURE_COMMANDS, 0.8},
                {FIGURE_TOUCHED_MEAN, 0.3},
                {FIGURE_TOUCHED_MOST, 0.8}}},
    {.name = "black-holes",
     .what = "half of the fediverse doesn't answer",
     .hosts = 2000,
     .duration_ms = MINUTES(35),
     .max_rate = 1000,
     .machines = 1,
     .set_up = black_holes,
     .bounds = {{FIGURE_P90_MS, 0, 2000},
                {FIGURE_P99_MS, 0,
                 12000}, /* of the first post, when nothing is known of any host */
                {FIGURE_FAIRNESS, 0.9, 1},
                {FIGURE_IN_VAIN, 0, 16},
                {FIGURE_TOUCHED_MEAN, 1, 1.5}, /* claimed for each parking: 3.6 */
                {FIGURE_BURNT_HEALTHY, 0, 10}}},
    {.name = "behind-holes",
     .what = "posts behind 20,000 jobs for 40 black holes",
     .hosts = 140,
     .duration_ms = MINUTES(5),
     .machines = 1,
     .set_up = behind_holes,
     .bounds = {{FIGURE_P99_MS, 0, 1500},
                {FIGURE_MOST_MS, 0, 6000},
                {FIGURE_TOUCHED_MOST, 1, 8},
                {FIGURE_IN_VAIN, 5, 12},
                {FIGURE_BURNT_HEALTHY, 0, 0}},
     .ratios = {{FIGURE_COMMANDS, 1.3}}},
    {.name = "bad-kinds",
     .what = "hosts of which each is bad in a manner of its own",
     .hosts = 500,
     .duration_ms = HOURS(2),
     .max_rate = 1000,
     .machines = 2,
     .set_up = bad_kinds,
     .bounds = {{FIGURE_P99_MS, 0, 2000}, {FIGURE_IN_VAIN, 0, 24}, {FIGURE_OPENED, 100, 400}}},
    {.name = "given-up",
     .what = "hosts that are dead for longer than jobs are kept",
     .hosts = 60,
     .duration_ms = HOURS(8),
     .max_rate = 1000,
     .machines = 1,
     .set_up = given_up,
     /* Without a try of their own, 50 more. */
     .bounds = {{FIGURE_IN_VAIN, 5, 24},
                {FIGURE_EXHAUSTED, 10600, 10600},
                {FIGURE_UNTRIED, 0, 10220}}},
    {.name = "restart",
     .what = "a host restarts under 32 requests",
     .hosts = 50,
     .duration_ms = MINUTES(8),
     .max_rate = 1000,
     .machines = 1,
     .set_up = restart,
     .check = check_restart,
     .bounds = {{FIGURE_OPENED, 0, 0}, {FIGURE_PENDING, 0, 0}}},
    {.name = "one-a-minute",
     .what = "hosts that take a request a minute",
     .hosts = 50,
     .duration_ms = HOURS(3),
     .max_rate = 1000,
     .machines = 2,
     .set_up = one_a_minute,
     .bounds = {{FIGURE_P99_MS, 0, 2000},
                {FIGURE_OPENED, 0, 0},
                {FIGURE_EXHAUSTED, 0, 0},
                {FIGURE_PENDING, 0, 0}}},
    {.name = "sixty-a-minute",
     .what = "600 jobs for hosts that answer 429 past 60 a minute",
     .hosts = 50,
     .duration_ms = HOURS(2),
     .max_rate = 1000,
     .machines = 2,
     .set_up = sixty_a_minute,
     .bounds = {{FIGURE_P99_MS, 0, 2000},
                {FIGURE_OPENED, 0, 0},
                {FIGURE_EXHAUSTED, 0, 0},
                {FIGURE_PENDING, 0, 0}}},
    {.name = "flapping",
     .what = "hosts that come and go",
     .hosts = 200,
     .duration_ms = HOURS(4),
     .max_rate = 1000,
     .machines = 2,
     .set_up = flapping,
     .bounds = {{FIGURE_P99_MS, 0, 2000}, {FIGURE_EXHAUSTED, 0, 0}}},
    {.name = "fan-out",
     .what = "one post to 5,000 hosts, 8 % of them bad",
     .hosts = 5000,
     .duration_ms = MINUTES(5),
     .machines = 1,
     .set_up = fan_out,
     .bounds = {{FIGURE_P99_MS, 0, 2000}, {FIGURE_FAIRNESS, 0.9, 1}}},
    {.name = "follows",
     .what = "Follow and Undo through full lanes and open circuits",
     .hosts = 120,
     .duration_ms = HOURS(6),
     .max_rate = 1000,
     .machines = 1,
     .set_up = scenarios_follows,
     .bounds = {{FIGURE_OVERTAKEN, 0, 0}, {FIGURE_PENDING, 0, 0}}},
    {.name = "follows-ruby",
     .what = "the same beside a Ruby process whose poller pushes what is due",
     .hosts = 120,
     .duration_ms = HOURS(6),
     .max_rate = 1000,
     .machines = 1,
     .set_up = follows_beside_ruby,
     .bounds = {{FIGURE_OVERTAKEN, 0, 0}, {FIGURE_PENDING, 0, 0}, {FIGURE_TOUCHED_MOST, 0, 20}}},
    {.name = "follows-fleet",
     .what = "the same with three machines",
     .hosts = 120,
     .duration_ms = HOURS(6),
     .max_rate = 1000,
     .machines = 3,
     .set_up = scenarios_follows,
     .bounds = {{FIGURE_OVERTAKEN, 0, 0}, {FIGURE_PENDING, 0, 0}, {FIGURE_TOUCHED_MOST, 0, 40}}},
    {.name = NULL},
};
