/*
 * fedpush:held:ID of each machine, as claim.lua, due.lua and settle.lua keep them: which machine
 * has jobs of a sender and inbox in its hands. What comes then for the same goes to that one.
 */
#ifndef FEDPUSH_TESTS_SIM_OWNERS_H
#define FEDPUSH_TESTS_SIM_OWNERS_H

#include "base/table.h"
#include "tests/sim/jobs.h"

enum { OWNER_NONE = -1 };

struct owners {
    struct table *by_pair; /* NULL until there is one */
};

/* The machine that has jobs of this one's pair, or OWNER_NONE. */
int owners_find(const struct owners *owners, const struct sim_job *job);
void owners_take(struct owners *owners, const struct sim_job *job, unsigned machine);
void owners_give(struct owners *owners, const struct sim_job *job); /* it ended there */
/* It waits for the machine that has others of its pair; it does no longer. */
void owners_wait(struct owners *owners, const struct sim_job *job);
void owners_came(struct owners *owners, const struct sim_job *job);
void owners_clear(struct owners *owners);

#endif
