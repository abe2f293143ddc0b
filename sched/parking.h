/*
 * When a job comes back that waits behind an open circuit. No attempt is made, so none is counted;
 * but the job comes back when Mastodon's formula would have tried it again (a virtual attempt), so
 * that it is touched no more often than by Mastodon, and jobs that were parked in one minute don't
 * all come back in another. Pure.
 */
#ifndef FEDPUSH_SCHED_PARKING_H
#define FEDPUSH_SCHED_PARKING_H

#include <stdbool.h>
#include <stdint.h>

#include "base/clock.h"

struct parking_job {
    int64_t created_ms;  /* Unix time; 0: unknown */
    int64_t retry_count; /* -1: it never failed */
    int64_t max_retries; /* 16 or 8 for deliveries */
};

/*
 * Milliseconds from now until it comes back, or -1: its age is the one at which Mastodon would have
 * given up (16 retries take 62 h or so, 8 take 1.7 h). The age counts from the later of its
 * creation and the circuit's opening, and a job that failed before has its counted retries behind
 * it.
 */
int64_t parking_wait_ms(const struct parking_job *job, int64_t opened_ms, int64_t now_ms,
                        const struct rng *rng);

/*
 * What to do with a job whose age has run out: milliseconds until it comes back as its host's next
 * probe, or -1: it is given up. The probes that failed since it was made spoke for it, but one that
 * was never tried itself is to be the probe if it can: one at a time for each host (`*taken_ms` is
 * until when the place is taken, Unix time), so that thousands of them cause no more attempts than
 * one, and for PARKING_LAST_MS at most.
 */
enum { PARKING_LAST_MS = 3 * 3600 * 1000 };
int64_t parking_last_ms(const struct parking_job *job, int64_t opened_ms, int64_t probe_ms,
                        int64_t now_ms, int64_t *taken_ms);

#endif
