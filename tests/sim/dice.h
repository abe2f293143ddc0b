/*
 * Chance that a seed repeats: SplitMix64, and the distributions that hosts and posts need.
 */
#ifndef FEDPUSH_TESTS_SIM_DICE_H
#define FEDPUSH_TESTS_SIM_DICE_H

#include "base/clock.h"

struct dice {
    uint64_t state;
    struct rng rng; /* what the tested code draws from; points at this dice */
};

void dice_init(struct dice *dice, uint64_t seed);
uint64_t dice_below(struct dice *dice, uint64_t n); /* uniform in [0, n) */
double dice_unit(struct dice *dice);                /* uniform in [0, 1) */
/* Half are below `median_ms`; `sigma` is that of the logarithm. At least 1. */
uint32_t dice_log_normal_ms(struct dice *dice, double median_ms, double sigma);
int64_t dice_exponential_ms(struct dice *dice, double mean_ms); /* at least 1 */

/* Before sodium_init: from then on libsodium draws from what dice_seed_sodium has set, so that the
 * order of hash tables, which their keys decide, is repeated as well. */
void dice_replace_sodium(void);
void dice_seed_sodium(uint64_t seed);

#endif
