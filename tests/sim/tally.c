#include "tests/sim/tally.h"

#include <stddef.h>

static size_t bucket_of(uint64_t ms)
{
    unsigned power = 0;

    while (ms >> power >= 2 * TALLY_STEPS)
        power++;
    size_t bucket = power * TALLY_STEPS + (size_t)(ms >> power);
    return bucket < TALLY_BUCKETS ? bucket : TALLY_BUCKETS - 1;
}

static int64_t value_of(size_t bucket)
{
    size_t power = bucket < 2 * TALLY_STEPS ? 0 : bucket / TALLY_STEPS - 1;
    return (int64_t)(bucket - power * TALLY_STEPS) << power;
}

void delays_add(struct delays *delays, int64_t ms)
{
    if (ms < 0)
        ms = 0;
    delays->buckets[bucket_of((uint64_t)ms)]++;
    delays->count++;
    if (ms > delays->most_ms)
        delays->most_ms = ms;
}

int64_t delays_at(const struct delays *delays, double part)
{
    double wanted = part * (double)delays->count;
    uint64_t seen = 0;

    for (size_t i = 0; i < TALLY_BUCKETS; i++) {
        seen += delays->buckets[i];
        if (seen > 0 && (double)seen >= wanted)
            return value_of(i);
    }
    return delays->most_ms;
}

void tally_attempt(struct tally *tally, int64_t now_ms)
{
    int64_t second = now_ms / 1000;
    size_t slot = (size_t)(second % TALLY_SPAN_S);
    uint32_t sum = 0;

    tally->attempts++;
    if (tally->seconds[slot].second != second) {
        tally->seconds[slot].second = second;
        tally->seconds[slot].attempts = 0;
    }
    tally->seconds[slot].attempts++;
    for (size_t i = 0; i < TALLY_SPAN_S; i++)
        sum += tally->seconds[i].second > second - TALLY_SPAN_S ? tally->seconds[i].attempts : 0;
    if (sum > tally->most_in_span)
        tally->most_in_span = sum;
}
