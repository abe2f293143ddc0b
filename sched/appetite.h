/*
 * How much to claim now. Pure. Claims are wanted while little of what is held can go soon, and the
 * look-ahead has space: what one machine can't send soon is left in the queue for the others.
 */
#ifndef FEDPUSH_SCHED_APPETITE_H
#define FEDPUSH_SCHED_APPETITE_H

#include "sched/lane.h"

struct room {
    unsigned jobs;
    size_t bytes; /* of payloads */
};

struct appetite {
    unsigned lookahead_jobs;
    size_t lookahead_bytes;
    unsigned max_in_flight;
    unsigned trials;     /* how many it may claim while we suspect ourselves (sched/standby.h) */
    bool shares;         /* there are other machines: alone, one gains nothing by leaving jobs */
    bool late;           /* the workers are late (sched/lag.h) */
    unsigned free_slots; /* how many jobs they should be given then */
};

/* How many jobs the look-ahead has for the payloads that are held: with larger ones than usual its
 * bytes are full first, and shares of it must follow. `bytes` of `count` claims, large ones
 * (sched/large.h) aside; few of them say nothing. */
unsigned appetite_jobs(unsigned lookahead_jobs, size_t lookahead_bytes, size_t bytes, size_t count);
/* `elsewhere`: claims that wait outside the lanes; `bytes`: of all that is held. */
struct room appetite_room(const struct appetite *appetite, struct lanes *lanes, unsigned elsewhere,
                          size_t bytes, int64_t now_ms);
/* The same for `pull`, whose jobs are held apart from the others, so that none of those is claimed
 * later for them. `pull_bytes`: of what is held of it. */
struct room appetite_pull_room(const struct appetite *appetite, struct lanes *lanes, size_t bytes,
                               size_t pull_bytes, int64_t now_ms);

#endif
