#include "base/limits.h"

#include <sched.h>
#include <sys/resource.h>
#include <unistd.h>

static uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static uint64_t at_least_one(uint64_t value)
{
    return value > 0 ? value : 1;
}

struct limits limits_of(unsigned max_in_flight, unsigned workers, uint64_t descriptors,
                        uint64_t memory_bytes)
{
    uint64_t usable =
        descriptors > LIMITS_OWN_DESCRIPTORS ? descriptors - LIMITS_OWN_DESCRIPTORS : 0;
    uint64_t wanted = ((uint64_t)max_in_flight + workers - 1) / workers;
    /* Two sockets each while they are made, and as many left for what is kept. */
    uint64_t in_flight = at_least_one(least(wanted, usable / 4));
    uint64_t made = least(2 * in_flight, usable);
    uint64_t affordable = memory_bytes / LIMITS_MEMORY_SHARE / LIMITS_CONNECTION_BYTES;
    uint64_t kept = least(usable - made, least(LIMITS_CONNECTIONS, affordable) / workers);

    return (struct limits){(unsigned)in_flight, (unsigned)at_least_one(kept)};
}

unsigned limits_workers(const struct config *config)
{
    cpu_set_t cores;

    if (config->workers > 0)
        return (unsigned)config->workers;
    if (sched_getaffinity(0, sizeof(cores), &cores) == -1)
        return 1;
    int count = CPU_COUNT(&cores);
    return count < 1 ? 1 : (unsigned)count;
}

uint64_t limits_descriptors(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return 1024; /* what every system has */
    return least(limit.rlim_max, LIMITS_DESCRIPTORS);
}

void limits_raise_descriptors(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= limits_descriptors())
        return;
    limit.rlim_cur = limits_descriptors();
    (void)setrlimit(RLIMIT_NOFILE, &limit); /* up to the hard limit, which is never refused */
}

static uint64_t memory_bytes(void)
{
    long pages = sysconf(_SC_PHYS_PAGES);
    long page_bytes = sysconf(_SC_PAGESIZE);

    if (pages <= 0 || page_bytes <= 0)
        return UINT64_MAX;
    return (uint64_t)pages * (uint64_t)page_bytes;
}

struct limits limits_here(const struct config *config)
{
    return limits_of((unsigned)config->max_in_flight, limits_workers(config), limits_descriptors(),
                     memory_bytes());
}
