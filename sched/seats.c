#include "sched/seats.h"

static uint64_t mix(uint64_t hash, struct str text)
{
    for (size_t i = 0; i < text.len; i++)
        hash = (hash ^ (unsigned char)text.ptr[i]) * 1099511628211u;
    hash ^= hash >> 33;
    hash *= 0xff51afd7ed558ccdu;
    hash ^= hash >> 33;
    hash *= 0xc4ceb9fe1a85ec53u;
    return hash ^ hash >> 33;
}

static uint64_t weight(struct str machine, struct str host)
{
    return mix(mix(14695981039346656037u, host), machine);
}

/* How many have better places; two of one weight are as good as never met. */
static size_t rank_of(const struct str *machines, size_t count, struct str host, struct str machine)
{
    size_t rank = 0;

    for (size_t i = 0; i < count; i++)
        rank += weight(machines[i], host) > weight(machine, host);
    return rank;
}

struct str seats_machine(const struct str *machines, size_t count, struct str host, unsigned window,
                         uint64_t key)
{
    size_t seats = window < count ? window : count;

    for (size_t i = 0; i < count; i++) {
        if (rank_of(machines, count, host, machines[i]) == key % seats)
            return machines[i];
    }
    return machines[0];
}

bool seats_has(const struct str *machines, size_t count, struct str host, unsigned window,
               struct str machine)
{
    return rank_of(machines, count, host, machine) < window;
}
