/*
 * sim [--seed N] [--seeds N] [--quiet | --worst] [SCENARIO...]: runs scenarios under fedpush's
 * scheduling and under the incumbent's, prints both (--worst: only the worst of all seeds), and
 * exits 1 when a bound broke.
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
    bool quiet; /* only what broke */
    bool worst; /* and the worst of all seeds */
    char *const *names;
    int name_count;
};

static void run(const struct scenario *scenario, uint64_t seed, bool incumbent, struct world *world)
{
    world_init(world, seed, scenario->hosts, scenario->duration_ms);
    world->max_rate = scenario->max_rate;
    world->each_tried = scenario->each_tried;
    if (incumbent)
        world->incumbent = incumbent_create(world, scenario->machines);
    for (unsigned i = 0; !incumbent && i < scenario->machines; i++)
        world->machines[i] = machine_create(world, i);
    scenario->set_up(world);
    events_run(world->events, world_at_ms(scenario->duration_ms));
    world_end(world);
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

    for (int figure = FIGURE_JOBS; figure < FIGURE_COUNT; figure++) {
        double value = summary->of[figure];
        double least = scenario->least[figure];
        double most = scenario->most[figure];
        if (figure == FIGURE_FAIRNESS && least <= 0)
            least = 1; /* that, too, has a bound everywhere */
        if (figure < FIGURE_FIRST_COST && most <= 0)
            most = value;
        if (value >= least && value <= most)
            continue;
        snprintf(text, sizeof(text), "%s is %.4f, not within %.4f and %.4f",
                 summary_name((enum figure)figure), value, least, most);
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

static bool judge(const struct scenario *scenario, uint64_t seed, const char *wrong,
                  const struct summary *ours, const struct summary *theirs)
{
    bool kept = keeps_bounds(scenario, seed, ours);

    kept = keeps_ratios(scenario, seed, ours, theirs) && kept;
    return (wrong == NULL || broke(scenario, seed, wrong)) && kept;
}

/* Into the summaries, what both made of it. Returns what is wrong with fedpush's run, or NULL. */
static const char *run_both(const struct scenario *scenario, uint64_t seed, struct summary *ours,
                            struct summary *theirs)
{
    struct world world;

    run(scenario, seed, false, &world);
    summary_make(ours, &world);
    const char *wrong = scenario->check != NULL ? scenario->check(&world) : NULL;
    world_clear(&world);
    run(scenario, seed, true, &world);
    summary_make(theirs, &world);
    world_clear(&world);
    return wrong;
}

static bool try_scenario(const struct wish *wish, const struct scenario *scenario)
{
    struct summary ours;
    struct summary theirs;
    struct summary worst;
    struct summary worst_theirs;
    bool kept = true;

    for (uint64_t seed = wish->seed; seed < wish->seed + wish->seeds; seed++) {
        const char *wrong = run_both(scenario, seed, &ours, &theirs);
        if (!wish->quiet && !wish->worst) {
            printf("%s: %s (seed %llu)\n", scenario->name, scenario->what,
                   (unsigned long long)seed);
            summary_print(&ours, &theirs);
        }
        kept = judge(scenario, seed, wrong, &ours, &theirs) && kept;
        fflush(stdout);
        if (seed == wish->seed) {
            worst = ours;
            worst_theirs = theirs;
        }
        summary_worsen(&worst, &ours);
        summary_worsen(&worst_theirs, &theirs);
    }
    if (wish->worst) {
        printf("%s: the worst of %llu\n", scenario->name, (unsigned long long)wish->seeds);
        summary_print(&worst, &worst_theirs);
    }
    return kept;
}

static bool is_wanted(const struct wish *wish, const struct scenario *scenario)
{
    for (int i = 0; i < wish->name_count; i++) {
        if (strcmp(wish->names[i], scenario->name) == 0)
            return true;
    }
    return wish->name_count == 0;
}

static bool try_all(const struct wish *wish, const struct scenario *list, unsigned *tried)
{
    bool kept = true;

    for (const struct scenario *scenario = list; scenario->name != NULL; scenario++) {
        if (!is_wanted(wish, scenario))
            continue;
        kept = try_scenario(wish, scenario) && kept;
        *tried += (unsigned)wish->seeds;
    }
    return kept;
}

static bool read_wish(struct wish *wish, int argc, char **argv)
{
    static const struct option options[] = {{"seed", required_argument, NULL, 's'},
                                            {"seeds", required_argument, NULL, 'n'},
                                            {"quiet", no_argument, NULL, 'q'},
                                            {"worst", no_argument, NULL, 'w'},
                                            {NULL, 0, NULL, 0}};
    int option;

    *wish = (struct wish){.seed = 1, .seeds = 1};
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (option == 's')
            wish->seed = strtoull(optarg, NULL, 10);
        else if (option == 'n')
            wish->seeds = strtoull(optarg, NULL, 10);
        else if (option == 'q')
            wish->quiet = true;
        else if (option == 'w')
            wish->worst = true;
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
        fputs("usage: sim [--seed N] [--seeds N] [--quiet | --worst] [SCENARIO...]\n", stderr);
        return 2;
    }
    bool kept = try_all(&wish, scenarios_of_hosts, &tried);
    kept = try_all(&wish, scenarios_of_ours, &tried) && kept;
    kept = try_all(&wish, scenarios_of_limits, &tried) && kept;
    kept = try_all(&wish, scenarios_of_parking, &tried) && kept;
    printf("%u runs, %s\n", tried, kept ? "every bound kept" : "bounds broken");
    return kept && tried > 0 ? 0 : 1;
}
