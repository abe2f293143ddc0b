#include "sched/parking.h"

enum { MOST_VIRTUAL = 64, SHORTEST_MS = 15000, JITTER_PART = 4 };

/* What retry_delay_s (sched/retry.h) gives on average. */
static int64_t mean_delay_ms(int64_t count)
{
    int64_t power = count * count * count * count;
    return (power + power / 4 + 15) * 1000 + (count + 1) * 4500;
}

static int64_t most_of(const struct parking_job *job)
{
    int64_t most = job->max_retries < MOST_VIRTUAL ? job->max_retries : MOST_VIRTUAL;
    return most < 1 ? 1 : most; /* not even one retry: it waits once */
}

static int64_t age_of(const struct parking_job *job, int64_t opened_ms, int64_t now_ms)
{
    int64_t began_ms = job->created_ms > opened_ms ? job->created_ms : opened_ms;
    return now_ms > began_ms ? now_ms - began_ms : 0;
}

int64_t parking_wait_ms(const struct parking_job *job, int64_t opened_ms, int64_t now_ms,
                        const struct rng *rng)
{
    int64_t age_ms = age_of(job, opened_ms, now_ms);
    int64_t most = most_of(job);
    int64_t passed_ms = 0;

    for (int64_t count = job->retry_count + 1; count < most; count++) {
        passed_ms += mean_delay_ms(count);
        if (passed_ms - age_ms >= SHORTEST_MS)
            return passed_ms - age_ms +
                   (int64_t)rng_below(rng, (uint64_t)mean_delay_ms(count) / JITTER_PART);
    }
    return -1;
}

int64_t parking_last_ms(const struct parking_job *job, int64_t opened_ms, int64_t probe_ms,
                        int64_t now_ms, int64_t *taken_ms)
{
    int64_t most = most_of(job);
    int64_t whole_ms = 0;

    for (int64_t count = job->retry_count + 1; count < most; count++)
        whole_ms += mean_delay_ms(count);
    if (job->retry_count >= 0 || now_ms < *taken_ms ||
        age_of(job, opened_ms, now_ms) > whole_ms + PARKING_LAST_MS)
        return -1;
    *taken_ms = probe_ms > now_ms + SHORTEST_MS ? probe_ms : now_ms + SHORTEST_MS;
    return *taken_ms - now_ms;
}
