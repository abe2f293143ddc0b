#include "sched/counts.h"

unsigned counts_bucket(uint32_t total_ms)
{
    unsigned bucket = 0;

    while (total_ms > 0 && bucket < COUNTS_BUCKETS - 1) {
        total_ms >>= 1;
        bucket++;
    }
    return bucket;
}

void counts_add(struct counts *counts, const struct health_event *event, int64_t now_ms)
{
    struct counts_second *second = &counts->recent[now_ms / 1000 % COUNTS_RECENT_S];

    if (second->second != now_ms / 1000)
        *second = (struct counts_second){.second = now_ms / 1000};
    second->results[event->result]++;
    counts->results[event->result]++;
    counts->sent_bytes += event->sent_bytes;
    counts->unresolved += event->unresolved;
    counts->latency[counts_bucket(event->total_ms)]++;
}

void counts_recent(const struct counts *counts, int64_t now_ms, uint64_t results[HEALTH_RESULTS])
{
    for (unsigned result = 0; result < HEALTH_RESULTS; result++)
        results[result] = 0;
    for (unsigned i = 0; i < COUNTS_RECENT_S; i++) {
        if (now_ms / 1000 - counts->recent[i].second >= COUNTS_RECENT_S)
            continue;
        for (unsigned result = 0; result < HEALTH_RESULTS; result++)
            results[result] += counts->recent[i].results[result];
    }
}
