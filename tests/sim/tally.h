/*
 * What a run is judged by.
 */
#ifndef FEDPUSH_TESTS_SIM_TALLY_H
#define FEDPUSH_TESTS_SIM_TALLY_H

#include <stdint.h>

enum { TALLY_SPAN_S = 5, TALLY_STEPS = 64, TALLY_BUCKETS = 40 * TALLY_STEPS };

/* Durations, to a sixty-fourth of their value. */
struct delays {
    uint32_t buckets[TALLY_BUCKETS];
    uint64_t count;
    int64_t most_ms;
};

struct tally {
    struct delays healthy; /* created -> accepted, at watched hosts, or -> the end of the
                              run; low jobs apart */
    struct delays low;
    uint64_t delivered;
    uint64_t attempts;
    struct {
        int64_t second;
        uint32_t attempts;
    } seconds[TALLY_SPAN_S];
    uint32_t most_in_span; /* attempts in so many seconds */
    uint64_t probes;
    uint64_t burnt; /* retries counted against jobs */
    uint64_t burnt_healthy;
    uint64_t exhausted;
    uint64_t untried; /* exhausted without a single attempt */
    uint64_t early;   /* exhausted sooner than Mastodon's retries can be over */
    uint64_t unasked; /* exhausted, and their host was asked nothing since these were */
    uint64_t
        overtaken;   /* jobs that arrived before one that had to come first, and was never tried */
    uint64_t opened; /* circuits */
    uint64_t doubts; /* failures that were ours */
    int64_t last_ms; /* the last delivery */
};

void tally_attempt(struct tally *tally, int64_t now_ms);
void delays_add(struct delays *delays, int64_t ms);
/* The smallest duration that `part` (0..1) of all don't exceed; 0 when there are none. */
int64_t delays_at(const struct delays *delays, double part);

#endif
