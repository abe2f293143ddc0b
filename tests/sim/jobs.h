/*
 * All jobs of a run, compact: where each is and what it went through. A job is known by its number.
 */
#ifndef FEDPUSH_TESTS_SIM_JOBS_H
#define FEDPUSH_TESTS_SIM_JOBS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum job_place {
    JOB_NOWHERE = 0,
    JOB_PUSH,  /* queue:push */
    JOB_PULL,  /* queue:pull */
    JOB_RETRY, /* the sorted sets, at score_us */
    JOB_SCHEDULE,
    JOB_CLAIMED, /* or in a thread of the incumbent */
    JOB_DELIVERED,
    JOB_EXHAUSTED,
};

#define JOB_NONE UINT32_MAX

struct sim_job {
    int64_t created_ms;
    int64_t score_us;
    int64_t booked_us; /* its score as the host's bookings have it; 0: they don't */
    uint32_t host;
    uint32_t account;
    uint32_t seq;   /* of its last claim */
    uint32_t after; /* a job of the same account that must arrive first, or JOB_NONE */
    uint16_t touched;
    uint16_t attempts;
    int8_t retry_count; /* -1: never failed */
    int8_t max_retries;
    uint8_t place; /* enum job_place */
    uint8_t from;  /* the same, before its last claim */
    bool low;
    bool moved; /* by Ruby's poller */
};

struct jobs {
    struct sim_job *list;
    uint32_t count;
    uint32_t capacity;
};

uint32_t jobs_add(struct jobs *jobs, const struct sim_job *job); /* its number */
void jobs_clear(struct jobs *jobs);

#endif
