/*
 * What is simulated: a fediverse and what happens in it, and what must be true of it afterwards.
 */
#ifndef FEDPUSH_TESTS_SIM_SCENARIO_H
#define FEDPUSH_TESTS_SIM_SCENARIO_H

#include "tests/sim/summary.h"

#define SECONDS(n) ((int64_t)(n)*1000)
#define MINUTES(n) ((int64_t)(n)*60000)
#define HOURS(n) ((int64_t)(n)*3600000)

/* fedpush's figure over the incumbent's. */
struct ratio {
    enum figure figure;
    double most;
};

enum { SCENARIO_RATIOS = 4 };

/*
 * Every cost has a bound: what a scenario doesn't name must be 0. Bounds are the worst of 40 seeds
 * (sim --seeds 40 --worst) and a third, fairness what is left of 1 twice; what must not happen at
 * all is 0, and what a rule promises is what it promises.
 */
struct scenario {
    const char *name;
    const char *what;
    uint32_t hosts;
    int64_t duration_ms;
    double max_rate;
    unsigned machines; /* and processes of the incumbent */
    bool each_tried;   /* by the rule that fedpush doesn't have: world.h */
    void (*set_up)(struct world *world);
    const char *(*check)(const struct world *world); /* NULL, or what is wrong */
    double least[FIGURE_COUNT];
    double most[FIGURE_COUNT];
    struct ratio ratios[SCENARIO_RATIOS];
};

/* Follow and Undo through full lanes and open circuits. */
void scenarios_follows(struct world *world);

extern const struct scenario scenarios_of_hosts[]; /* ended by one without a name */
extern const struct scenario scenarios_of_ours[];
extern const struct scenario scenarios_of_limits[];
extern const struct scenario scenarios_of_parking[];

#endif
