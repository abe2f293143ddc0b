#include "base/clock.h"

#include <assert.h>
#include <sodium.h>
#include <stddef.h>
#include <time.h>

static int64_t system_mono_ms(void *arg)
{
    struct timespec now;
    (void)arg;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static int64_t system_wall_us(void *arg)
{
    struct timespec now;
    (void)arg;
    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

struct clock clock_system(void)
{
    return (struct clock){system_mono_ms, system_wall_us, NULL};
}

int64_t clock_mono_ms(const struct clock *clock)
{
    return clock->mono_ms(clock->arg);
}

int64_t clock_wall_us(const struct clock *clock)
{
    return clock->wall_us(clock->arg);
}

static uint64_t system_random(void *arg)
{
    uint64_t value;
    (void)arg;
    randombytes_buf(&value, sizeof(value));
    return value;
}

struct rng rng_system(void)
{
    return (struct rng){system_random, NULL};
}

uint64_t rng_below(const struct rng *rng, uint64_t n)
{
    assert(n > 0);
    uint64_t limit = UINT64_MAX - UINT64_MAX % n; /* rejection keeps the result unbiased */
    uint64_t value;
    do
        value = rng->next(rng->arg);
    while (value >= limit);
    return value % n;
}

double rng_unit(const struct rng *rng)
{
    return (double)(rng->next(rng->arg) >> 11) * 0x1.0p-53;
}
