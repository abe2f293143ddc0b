/*
 * A run in figures, and the bounds that they must keep.
 */
#ifndef FEDPUSH_TESTS_SIM_SUMMARY_H
#define FEDPUSH_TESTS_SIM_SUMMARY_H

#include "tests/sim/world.h"

enum figure {
    FIGURE_NONE = 0,
    FIGURE_JOBS,
    FIGURE_DELIVERED,
    FIGURE_EXHAUSTED,
    FIGURE_PENDING,  /* of these, none may be nowhere */
    FIGURE_FAIRNESS, /* Jain's index over watched hosts of 1 / (1 + mean seconds waited) */
    FIGURE_P50_MS,   /* of healthy deliveries: created -> accepted */
    FIGURE_P90_MS,
    FIGURE_P99_MS,
    FIGURE_P999_MS,
    FIGURE_MOST_MS,
    FIGURE_LOW_DELIVERED,
    FIGURE_ATTEMPTS,
    FIGURE_BUSIEST,     /* attempts a second, the most within five */
    FIGURE_IN_VAIN,     /* attempts: the most that one host had while it was away */
    FIGURE_PUSHED_BACK, /* answers of 429 */
    FIGURE_PROBES,
    FIGURE_OPENED,        /* circuits */
    FIGURE_BURNT,         /* retries */
    FIGURE_BURNT_HEALTHY, /* of these, of jobs for watched hosts */
    FIGURE_DOUBTS,        /* failures that were not held against a host */
    FIGURE_UNTRIED,       /* jobs exhausted without an attempt */
    FIGURE_OVERTAKEN,
    FIGURE_TOUCHED_MEAN, /* claims of a job */
    FIGURE_TOUCHED_MOST,
    FIGURE_CALLS, /* to Redis */
    FIGURE_COMMANDS,
    FIGURE_LAST_S, /* when the last delivery was, after the start */
    FIGURE_COUNT
};

struct summary {
    double of[FIGURE_COUNT];
};

void summary_make(struct summary *summary, const struct world *world);
const char *summary_name(enum figure figure);
/* Side by side. `other` may be NULL. */
void summary_print(const struct summary *summary, const struct summary *other);

#endif
