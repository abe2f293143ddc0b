#include "sched/retry.h"

#include <inttypes.h>
#include <stdio.h>

/* A count comes from the job: past this (317 years) the power must not overflow. */
enum { MAX_COUNT = 10000 };

/* Mastodon's rand(0.5 * n^4): an integer below the truncated bound; a bound that truncates to 0
 * gives a fraction of a second, which Sidekiq truncates. */
static int64_t mastodon_jitter_s(int64_t power, const struct rng *rng)
{
    int64_t bound = power / 2;
    return bound > 0 ? (int64_t)rng_below(rng, (uint64_t)bound) : 0;
}

static int64_t sidekiq_jitter_s(int64_t count, int sidekiq_major, const struct rng *rng)
{
    if (sidekiq_major < 8)
        return (int64_t)rng_below(rng, 10) * (count + 1);
    return (int64_t)rng_below(rng, 10 * (uint64_t)(count + 1));
}

int64_t retry_delay_s(int64_t count, int sidekiq_major, const struct rng *rng)
{
    if (count < 0)
        count = 0;
    if (count > MAX_COUNT)
        count = MAX_COUNT;
    int64_t power = count * count * count * count;
    int64_t delay_s = power + 15 + mastodon_jitter_s(power, rng);
    return delay_s + sidekiq_jitter_s(count, sidekiq_major, rng);
}

int retry_exhausted(int64_t count, int64_t max_retries)
{
    return max_retries < 0 || count >= max_retries;
}

void retry_score(char out[32], int64_t wall_us)
{
    snprintf(out, 32, "%" PRId64 ".%06" PRId64, wall_us / 1000000, wall_us % 1000000);
}
