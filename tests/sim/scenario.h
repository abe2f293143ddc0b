/*
 * What is simulated: a fediverse and what happens in it, and what must be true of it afterwards.
 */
#ifndef FEDPUSH_TESTS_SIM_SCENARIO_H
#define FEDPUSH_TESTS_SIM_SCENARIO_H

#include "tests/sim/summary.h"

#define SECONDS(n) ((int64_t)(n)*1000)
#define MINUTES(n) ((int64_t)(n)*60000)
#define HOURS(n) ((int64_t)(n)*3600000)

/* What a figure must be at least and at most. */
struct bound {
    enum figure figure;
    double least;
    double most;
};

/* fedpush's figure over the incumbent's. */
struct ratio {
    enum figure figure;
    double most;
};

enum { SCENARIO_BOUNDS = 16, SCENARIO_RATIOS = 4 };

struct scenario {
    const char *name;
    const char *what;
    uint32_t hosts;
    int64_t duration_ms;
    double max_rate;
    unsigned machines; /* and processes of the incumbent */
    bool slow;         /* only when asked for */
    void (*set_up)(struct world *world);
    const char *(*check)(const struct world *world); /* NULL, or what is wrong */
    struct bound bounds[SCENARIO_BOUNDS];            /* FIGURE_NONE at the end */
    struct ratio ratios[SCENARIO_RATIOS];
};

/* Follow and Undo through full lanes and open circuits. */
void scenarios_follows(struct world *world);

extern const struct scenario scenarios_of_hosts[]; /* ended by one without a name */
extern const struct scenario scenarios_of_ours[];
extern const struct scenario scenarios_of_limits[];

#endif
