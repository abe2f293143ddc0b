#include "tests/sim/dice.h"

#include <math.h>
#include <sodium.h>

static const double tau = 6.283185307179586;

static uint64_t next(void *arg)
{
    struct dice *dice = arg;
    uint64_t z = (dice->state += 0x9e3779b97f4a7c15u);

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

void dice_init(struct dice *dice, uint64_t seed)
{
    *dice = (struct dice){.state = seed, .rng = {next, dice}};
    next(dice);
}

uint64_t dice_below(struct dice *dice, uint64_t n)
{
    return rng_below(&dice->rng, n);
}

double dice_unit(struct dice *dice)
{
    return rng_unit(&dice->rng);
}

uint32_t dice_log_normal_ms(struct dice *dice, double median_ms, double sigma)
{
    double radius = sqrt(-2 * log(1 - dice_unit(dice)));
    double normal = radius * cos(tau * dice_unit(dice));
    double ms = median_ms * exp(sigma * normal);

    return ms < 1 ? 1 : ms > 1e9 ? 1000000000 : (uint32_t)ms;
}

int64_t dice_exponential_ms(struct dice *dice, double mean_ms)
{
    double ms = -mean_ms * log(1 - dice_unit(dice));
    return ms < 1 ? 1 : (int64_t)ms;
}

/* libsodium's interface has no argument that could carry it. */
static struct dice sodiums;

static const char *sodium_name(void)
{
    return "seeded";
}

static uint32_t sodium_random(void)
{
    return (uint32_t)next(&sodiums);
}

static void sodium_buf(void *out, const size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        ((unsigned char *)out)[i] = (unsigned char)next(&sodiums);
}

void dice_replace_sodium(void)
{
    static randombytes_implementation implementation = {
        .implementation_name = sodium_name, .random = sodium_random, .buf = sodium_buf};
    randombytes_set_implementation(&implementation);
}

void dice_seed_sodium(uint64_t seed)
{
    dice_init(&sodiums, seed);
}
