/*
 * One run: a fediverse, a Redis, and who delivers, either fedpush's machines or the incumbent.
 */
#ifndef FEDPUSH_TESTS_SIM_WORLD_H
#define FEDPUSH_TESTS_SIM_WORLD_H

#include "tests/sim/events.h"
#include "tests/sim/hosts.h"
#include "tests/sim/store.h"
#include "tests/sim/tally.h"

enum { WORLD_MACHINES = STORE_MACHINES, SIDEKIQ_MAJOR = 7 };

struct machine;
struct incumbent;
struct posts;

struct world {
    uint64_t seed;
    struct events *events;
    struct dice fate;   /* hosts and posts: the same for both engines */
    struct dice chance; /* what depends on what they do */
    struct hosts hosts;
    struct jobs jobs;
    struct store store;
    struct tally tally;
    struct machine *machines[WORLD_MACHINES]; /* NULL: not there */
    unsigned next_machine;                    /* whose turn it is to be woken */
    struct incumbent *incumbent;              /* NULL: fedpush delivers */
    double max_rate;                          /* fedpush's, for the fleet */
    bool each_tried; /* no job is given up without an attempt of its own, whatever probes say */
    int64_t duration_ms;
    struct posts *posts; /* what is planned */
    uint32_t posters;    /* accounts so far that each had a post */
};

void world_init(struct world *world, uint64_t seed, uint32_t host_count, int64_t duration_ms);
void world_clear(struct world *world);
/* Simulated time since the start, and the start's other readings. */
int64_t world_now_ms(const struct world *world); /* of the events */
int64_t world_unix_ms(const struct world *world);
/* The event time at which so much has passed since the start. */
int64_t world_at_ms(int64_t since_start_ms);

/* A job is made now and pushed; returns its number. */
struct order {
    uint32_t host;
    uint32_t account;
    uint32_t after; /* JOB_NONE, or the job that must arrive first */
    bool low;
};
uint32_t world_order(struct world *world, const struct order *order);

/* A job stands in its queue again: somebody is woken. */
void world_wake(struct world *world);

/* An attempt of this job failed for good and counts: the next retry's number and time, or false
 * when that was the last. */
bool world_burn(struct world *world, uint32_t job, int64_t hold_ms, int64_t *unix_us);
/* The job was accepted by an attempt that took so long. */
void world_deliver(struct world *world, uint32_t job, uint32_t took_ms);
/* It is given up. */
void world_exhaust(struct world *world, uint32_t job);
/* The run is over: what is not delivered by now has waited until now. */
void world_end(struct world *world);
/* Jobs that are neither delivered nor exhausted. */
uint32_t world_pending(const struct world *world);

#endif
