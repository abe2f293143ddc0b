/*
 * A host whose window is smaller than the fleet: so many machines as it allows serve it, one
 * delivery each, and all others pass their jobs on. Which ones follows from the names of host and
 * machines alone (rendezvous hashing), so that all agree, and a machine that comes or goes changes
 * no more than its own hosts. Pure.
 */
#ifndef FEDPUSH_SCHED_SEATS_H
#define FEDPUSH_SCHED_SEATS_H

#include <stdint.h>

#include "base/str.h"

/* The machine that a job goes to: one of the `window` (at least 1) that serve the host, the same
 * one for the same `key`. `count` machines, at least 1. */
struct str seats_machine(const struct str *machines, size_t count, struct str host, unsigned window,
                         uint64_t key);
/* Whether `machine` is one of these. */
bool seats_has(const struct str *machines, size_t count, struct str host, unsigned window,
               struct str machine);

#endif
