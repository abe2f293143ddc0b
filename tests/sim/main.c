/*
 * sim [--seed N] [--seeds N] [--all] [--quiet] [SCENARIO...]: runs scenarios under fedpush's
 * scheduling and under the incumbent's, prints both, and exits 1 when a bound broke.
 */
#include <getopt.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "tests/sim/incumbent.h"
#include "tests/sim/machine.h"
#include "tests/sim/scenario.h"

struct wish {
    uint64_t seed;
    uint64_t seeds;
    bool all;   /* slow ones, too */
    bool quiet; /* only what broke */
    char *const *names;
    int name_count;
};

static void run(const struct scenario *scenario, uint64_t seed, bool incumbent, struct world *world)
{
    world_init(world, seed, scenario->hosts, scenario->duration_ms);
    world->max_rate = scenario->max_rate;
    if (incumbent)
        world->incumbent = incumbent_create(world, scenario->machines);
    for (unsigned i = 0; !incumbent && i < scenario->machines; i++)
        world->machines[i] = machine_create(world, i);
    scenario->set_up(world);
    events_run(world->events, world_at_ms(scenario->duration_ms));
}

static bool broke(const struct scenario *scenario, uint64_t seed, const char *what)
{
    printf("BROKEN %s: %s (seed %llu)\n", scenario->name, what, (unsigned long long)seed);
    return false;
}

static bool keeps_bounds(const struct scenario *scenario, uint64_t seed,
                         const struct summary *summary)
{
    bool kept = true;
    char text[160];

    for (size_t i = 0; i < SCENARIO_BOUNDS && scenario->bounds[i].figure != FIGURE_NONE; i++) {
        const struct bound *bound = &scenario->bounds[i];
        double value = summary->of[bound->figure];
        if (value >= bound->least && value <= bound->most)
            continue;
        snprintf(text, sizeof(text), "%s is %.3f, not within %.3f and %.3f",
                 summary_name(bound->figure), value, bound->least, bound->most);
        kept = broke(scenario, seed, text);
    }
    return kept;
}

static bool keeps_ratios(const struct scenario *scenario, uint64_t seed, const struct summary *ours,
                         const struct summary *theirs)
{
    bool kept = true;
    char text[160];

    for (size_t i = 0; i < SCENARIO_RATIOS && scenario->ratios[i].figure != FIGURE_NONE; i++) {
        const struct ratio *ratio = &scenario->ratios[i];
        if (ours->of[ratio->figure] <= theirs->of[ratio->figure] * ratio->most)
            continue;
        snprintf(text, sizeof(text), "%s is %.3f, more than %.3f of the incumbent's %.3f",
                 summary_name(ratio->figure), ours->of[ratio->figure], ratio->most,
                 theirs->of[ratio->figure]);
        kept = broke(scenario, seed, text);
    }
    return kept;
}

static bool try_scenario(const struct scenario *scenario, uint64_t seed, bool quiet)
{
    struct world world;
    struct summary ours;
    struct summary theirs;

    run(scenario, seed, false, &world);
    summary_make(&ours, &world);
    const char *wrong = scenario->check != NULL ? scenario->check(&world) : NULL;
    uint64_t happened = events_happened(world.events);
    world_clear(&world);
    run(scenario, seed, true, &world);
    summary_make(&theirs, &world);
    world_clear(&world);
    if (!quiet) {
        printf("%s: %s (seed %llu, %llu events)\n", scenario->name, scenario->what,
               (unsigned long long)seed, (unsigned long long)happened);
        summary_print(&ours, &theirs);
    }
    bool kept = keeps_bounds(scenario, seed, &ours);
    kept = keeps_ratios(scenario, seed, &ours, &theirs) && kept;
    return (wrong == NULL || broke(scenario, seed, wrong)) && kept;
}

static bool is_wanted(const struct wish *wish, const struct scenario *scenario)
{
    for (int i = 0; i < wish->name_count; i++) {
        if (strcmp(wish->names[i], scenario->name) == 0)
            return true;
    }
    return wish->name_count == 0 && (wish->all || !scenario->slow);
}

static bool try_all(const struct wish *wish, const struct scenario *list, unsigned *tried)
{
    bool kept = true;

    for (const struct scenario *scenario = list; scenario->name != NULL; scenario++) {
        for (uint64_t i = 0; is_wanted(wish, scenario) && i < wish->seeds; i++) {
            kept = try_scenario(scenario, wish->seed + i, wish->quiet) && kept;
            fflush(stdout);
            (*tried)++;
        }
    }
    return kept;
}

static bool read_wish(struct wish *wish, int argc, char **argv)
{
    static const struct option options[] = {{"seed", required_argument, NULL, 's'},
                                            {"seeds", required_argument, NULL, 'n'},
                                            {"all", no_argument, NULL, 'a'},
                                            {"quiet", no_argument, NULL, 'q'},
                                            {NULL, 0, NULL, 0}};
    int option;

    *wish = (struct wish){.seed = 1, .seeds = 1};
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (option == 's')
            wish->seed = strtoull(optarg, NULL, 10);
        else if (option == 'n')
            wish->seeds = strtoull(optarg, NULL, 10);
        else if (option == 'a')
            wish->all = true;
        else if (option == 'q')
            wish->quiet = true;
        else
            return false;
    }
    wish->names = argv + optind;
    wish->name_count = argc - optind;
    return true;
}

int main(int argc, char **argv)
{
    struct wish wish;
    unsigned tried = 0;

    dice_replace_sodium();
    if (sodium_init() == -1 || !read_wish(&wish, argc, argv)) {
        fputs("usage: sim [--seed N] [--seeds N] [--all] [--quiet] [SCENARIO...]\n", stderr);
        return 2;
    }
    bool kept = try_all(&wish, scenarios_of_hosts, &tried);
    kept = try_all(&wish, scenarios_of_ours, &tried) && kept;
    kept = try_all(&wish, scenarios_of_limits, &tried) && kept;
    printf("%u runs, %s\n", tried, kept ? "every bound kept" : "bounds broken");
    return kept && tried > 0 ? 0 : 1;
}
