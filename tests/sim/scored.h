/*
 * A Redis sorted set of jobs. An entry is good while its job is where the set is and has its score:
 * so a job is taken out, or moved, by changing the job alone.
 */
#ifndef FEDPUSH_TESTS_SIM_SCORED_H
#define FEDPUSH_TESTS_SIM_SCORED_H

#include "tests/sim/heap.h"
#include "tests/sim/jobs.h"

struct scored {
    struct heap heap;     /* by score */
    enum job_place place; /* of the jobs in it */
};

/* The job is moved there. */
void scored_add(struct scored *set, struct jobs *jobs, uint32_t job, int64_t score_us);
/* The job with the lowest score, when that is at most `most_us`; it is no longer anywhere. */
bool scored_take(struct scored *set, struct jobs *jobs, int64_t most_us, uint32_t *job);
void scored_clear(struct scored *set);

#endif
