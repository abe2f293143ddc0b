/*
 * Time and randomness are passed in, so that logic can be tested with times of the test's choice.
 * mono: CLOCK_MONOTONIC, for time-outs and intervals; wall: CLOCK_REALTIME, for Date headers and
 * Sidekiq's scores.
 */
#ifndef FEDPUSH_BASE_CLOCK_H
#define FEDPUSH_BASE_CLOCK_H

#include <stdint.h>

struct clock {
    int64_t (*mono_ms)(void *arg);
    int64_t (*wall_us)(void *arg);
    void *arg;
};

struct rng {
    uint64_t (*next)(void *arg); /* uniform over 64 bits */
    void *arg;
};

struct clock clock_system(void);
int64_t clock_mono_ms(const struct clock *clock);
int64_t clock_wall_us(const struct clock *clock);

struct rng rng_system(void);                           /* libsodium's; call sodium_init first */
uint64_t rng_below(const struct rng *rng, uint64_t n); /* uniform in [0, n); n > 0 */
double rng_unit(const struct rng *rng);                /* uniform in [0, 1) */

#endif
