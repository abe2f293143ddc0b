/*
 * When a job comes back that waits behind an open circuit, and when it is given up. No attempt is
 * made, so none is counted; but the job comes back when Mastodon's formula would have tried it
 * again (a virtual attempt), so that it is touched no more often than by Mastodon, and jobs that
 * were parked in one minute don't all come back in another. Pure.
 *
 * Its virtual attempts run out at the age at which Mastodon would have given it up (16 retries take
 * 62 h or so, 8 take 1.7 h). That alone ends no job: as Mastodon's last attempt is a real one, so
 * its host must have failed a probe since. While none is made (the host is paused or has asked for
 * time, fedpush is paused or down, our own way out is cut) nothing is given up, however old it is.
 */
#ifndef FEDPUSH_SCHED_PARKING_H
#define FEDPUSH_SCHED_PARKING_H

#include "sched/circuit.h"
#include "sched/job.h"

struct parking_job {
    int64_t created_ms;  /* Unix time; 0: unknown */
    int64_t retry_count; /* -1: it never failed */
    int64_t max_retries; /* 16 or 8 for deliveries */
};

struct parking_job parking_job_of(const struct job *job);

/*
 * Milliseconds from now until its next virtual attempt, or -1: they have run out, the later of
 * these: all of its retries counted from its creation, which those that it had as a probe are among
 * in any case; and those that are left to it, counted from the circuit's opening, however long it
 * had waited before for other reasons.
 */
int64_t parking_wait_ms(const struct parking_job *job, const struct circuit *circuit,
                        int64_t now_ms, const struct rng *rng);

/*
 * What to do with a job whose virtual attempts have run out: milliseconds until it comes back, or
 * -1: it is given up. It waits until the next probe has shown something, if none has failed since
 * they ran out, or one is due or under way. A probe that fails speaks for all that wait; but a job
 * that was never tried itself is to be the probe if it can: one at a time for each host
 * (`*taken_ms` is until when the place is taken, Unix time), so that thousands of them cause no
 * more attempts than one, and, once a probe has failed, for PARKING_LAST_MS at most.
 */
enum { PARKING_LAST_MS = 3 * 3600 * 1000 };
int64_t parking_last_ms(const struct parking_job *job, const struct circuit *circuit,
                        int64_t now_ms, const struct rng *rng, int64_t *taken_ms);

#endif
