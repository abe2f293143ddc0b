#include "tests/sim/jobs.h"

#include <stdlib.h>

#include "base/str.h"

uint32_t jobs_add(struct jobs *jobs, const struct sim_job *job)
{
    if (jobs->count == jobs->capacity) {
        jobs->capacity = jobs->capacity > 0 ? jobs->capacity * 2 : 4096;
        jobs->list = mem_realloc(jobs->list, jobs->capacity * sizeof(struct sim_job));
    }
    jobs->list[jobs->count] = *job;
    return jobs->count++;
}

void jobs_clear(struct jobs *jobs)
{
    free(jobs->list);
    *jobs = (struct jobs){0};
}
