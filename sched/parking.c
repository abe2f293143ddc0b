#include "sched/parking.h"

enum { MOST_VIRTUAL = 64, SHORTEST_MS = 15000, JITTER_PART = 4 };

struct parking_job parking_job_of(const struct job *job)
{
    return (struct parking_job){.created_ms = (int64_t)(job->created_at_s * 1000),
                                .retry_count = job->retry_count,
                                .max_retries = job->max_retries};
}

static int64_t later(int64_t a_ms, int64_t b_ms)
{
    return a_ms > b_ms ? a_ms : b_ms;
}

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

/* Virtual attempts: behind each of these retries, from then on. */
struct course {
    int64_t began_ms;
    int64_t first;
    int64_t most;
    int64_t ends_ms;
};

static struct course course_from(int64_t began_ms, int64_t first, int64_t most)
{
    struct course course = {began_ms, first, most, began_ms};

    for (int64_t count = first; count < most; count++)
        course.ends_ms += mean_delay_ms(count);
    return course;
}

static struct course course_of(const struct parking_job *job, const struct circuit *circuit)
{
    int64_t most = most_of(job);
    struct course whole = course_from(job->created_ms, 0, most);
    struct course rest = course_from(circuit->opened_ms, job->retry_count + 1, most);

    return whole.ends_ms > rest.ends_ms ? whole : rest;
}

int64_t parking_wait_ms(const struct parking_job *job, const struct circuit *circuit,
                        int64_t now_ms, const struct rng *rng)
{
    struct course course = course_of(job, circuit);
    int64_t at_ms = course.began_ms;

    if (now_ms < at_ms) /* clocks differ */
        now_ms = at_ms;
    for (int64_t count = course.first; count < course.most; count++) {
        at_ms += mean_delay_ms(count);
        if (at_ms - now_ms >= SHORTEST_MS)
            return at_ms - now_ms +
                   (int64_t)rng_below(rng, (uint64_t)mean_delay_ms(count) / JITTER_PART);
    }
    return -1;
}

int64_t parking_last_ms(const struct parking_job *job, const struct circuit *circuit,
                        int64_t now_ms, const struct rng *rng, int64_t *taken_ms)
{
    int64_t over_ms = course_of(job, circuit).ends_ms;
    int64_t probe_wait_ms = circuit->state == CIRCUIT_OPEN ? circuit->probe_ms - now_ms : 0;
    bool failed_since = circuit->probed_ms >= over_ms;

    if (probe_wait_ms > 0 && job->retry_count < 0 && now_ms >= *taken_ms &&
        (!failed_since || now_ms <= over_ms + PARKING_LAST_MS)) {
        *taken_ms = now_ms + later(probe_wait_ms, SHORTEST_MS);
        return *taken_ms - now_ms;
    }
    if (probe_wait_ms > 0 && failed_since)
        return -1;
    /* Behind the probe, and the longer that takes, the less all at once. */
    int64_t spread_ms = later(probe_wait_ms / JITTER_PART, SHORTEST_MS);
    return later(probe_wait_ms, 0) + SHORTEST_MS + (int64_t)rng_below(rng, (uint64_t)spread_ms);
}
