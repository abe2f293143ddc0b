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
    FIGURE_LOW_DELIVERED,
    FIGURE_ATTEMPTS,
    FIGURE_BUSIEST, /* attempts a second, the most within five */
    FIGURE_LAST_S,  /* when the last delivery was, after the start */
    /* Jain's index over watched hosts that had a job, of 1 / (1 + mean seconds waited); 0 of one
     * that got none of its jobs, and when nobody had any. */
    FIGURE_FAIRNESS,
    FIGURE_MISSING, /* jobs of watched hosts that were not delivered; low jobs apart */
    FIGURE_P50_MS,  /* of the same: created -> accepted, or the end of the run */
    FIGURE_P90_MS,
    FIGURE_P99_MS,
    FIGURE_P999_MS,
    FIGURE_MOST_MS,
    FIGURE_PENDING, /* of all jobs */
    FIGURE_EXHAUSTED,
    FIGURE_UNTRIED,     /* of these: without an attempt */
    FIGURE_EARLY,       /* of all: sooner than Mastodon's retries can be over */
    FIGURE_UNASKED,     /* of all: no attempt at their host since these were over at the earliest */
    FIGURE_IN_VAIN,     /* attempts: the most that one host had while it was away */
    FIGURE_PUSHED_BACK, /* answers of 429 */
    FIGURE_PROBES,
    FIGURE_OPENED,        /* circuits */
    FIGURE_BURNT,         /* retries */
    FIGURE_BURNT_HEALTHY, /* of these, of jobs for watched hosts */
    FIGURE_DOUBTS,        /* failures that were not held against a host */
    FIGURE_OVERTAKEN,
    FIGURE_TOUCHED_MEAN, /* claims of a job */
    FIGURE_TOUCHED_MOST,
    FIGURE_CALLS, /* to Redis */
    FIGURE_COMMANDS,
    FIGURE_COUNT
};

/* The less the better. */
enum { FIGURE_FIRST_COST = FIGURE_MISSING };

struct summary {
    double of[FIGURE_COUNT];
};

void summary_make(struct summary *summary, const struct world *world);
/* `worst` takes over what is worse: of costs the most, of the others the least. */
void summary_worsen(struct summary *worst, const struct summary *summary);
const char *summary_name(enum figure figure);
/* Side by side. `other` may be NULL. */
void summary_print(const struct summary *summary, const struct summary *other);

#endif
