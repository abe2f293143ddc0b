/*
 * fedpush:booked:HOST and fedpush:pairs:HOST, as settle.lua and release.lua keep them: the scores
 * of what waits for a host, so that it can be called back, and the order of each sender's jobs.
 */
#ifndef FEDPUSH_TESTS_SIM_BOOKED_H
#define FEDPUSH_TESTS_SIM_BOOKED_H

#include "base/table.h"
#include "tests/sim/heap.h"
#include "tests/sim/jobs.h"

enum { BOOKED_MOST = 100000, BOOKED_CHAIN = 32 };

struct booked {
    struct heap soonest; /* by score */
    struct heap latest;  /* by negated score: what is dropped when there are too many */
    size_t count;
    struct table *chains; /* by account; NULL until there is one */
};

/* When a job of its account comes back: behind what was created before it, before what was created
 * after it. `clocked`: `at_us` says when; else it is right behind the one before it. */
int64_t booked_in_order(struct booked *booked, const struct sim_job *job, int64_t at_us,
                        bool clocked, int64_t now_us);
/* Those of its account that wait here, at most BOOKED_CHAIN: how many. */
size_t booked_of_account(struct booked *booked, const struct sim_job *job, int64_t now_us,
                         int64_t *created_ms, int64_t *at_us);
/* How many of those that were made before it haven't had their time yet. */
unsigned booked_ahead(struct booked *booked, const struct sim_job *job, int64_t now_us);
/* Whether one of its account that was created before it waits here. */
bool booked_is_behind(struct booked *booked, const struct sim_job *job, int64_t now_us);
void booked_add(struct booked *booked, struct jobs *jobs, uint32_t job, int64_t at_us,
                int64_t now_us);
/* The soonest that is later than now; false: none is left. */
bool booked_take(struct booked *booked, struct jobs *jobs, int64_t now_us, uint32_t *job,
                 int64_t *at_us);
void booked_came(struct booked *booked, const struct sim_job *job); /* it is claimed */
/* It was due, and goes back unattempted: it comes any moment. */
void booked_returned(struct booked *booked, const struct sim_job *job, int64_t now_us);
/* It was called back to then. */
void booked_moved(struct booked *booked, const struct sim_job *job, int64_t at_us);
void booked_clear(struct booked *booked);

#endif
