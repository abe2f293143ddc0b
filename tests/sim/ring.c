#include "tests/sim/ring.h"

#include <stdlib.h>

#include "base/str.h"

enum { FIRST_CAPACITY = 64 };

static void grow(struct ring *ring)
{
    size_t capacity = ring->capacity > 0 ? ring->capacity * 2 : FIRST_CAPACITY;
    uint32_t *jobs = mem_alloc(capacity * sizeof(*jobs));

    for (size_t i = 0; i < ring->count; i++)
        jobs[i] = ring->jobs[(ring->first + i) & (ring->capacity - 1)];
    free(ring->jobs);
    ring->jobs = jobs;
    ring->capacity = capacity;
    ring->first = 0;
}

void ring_push(struct ring *ring, uint32_t job)
{
    if (ring->count == ring->capacity)
        grow(ring);
    ring->jobs[(ring->first + ring->count++) & (ring->capacity - 1)] = job;
}

void ring_push_first(struct ring *ring, uint32_t job)
{
    if (ring->count == ring->capacity)
        grow(ring);
    ring->first = (ring->first + ring->capacity - 1) & (ring->capacity - 1);
    ring->jobs[ring->first] = job;
    ring->count++;
}

bool ring_take(struct ring *ring, uint32_t *job)
{
    if (ring->count == 0)
        return false;
    *job = ring->jobs[ring->first];
    ring->first = (ring->first + 1) & (ring->capacity - 1);
    ring->count--;
    return true;
}

bool ring_take_last(struct ring *ring, uint32_t *job)
{
    if (ring->count == 0)
        return false;
    *job = ring->jobs[(ring->first + --ring->count) & (ring->capacity - 1)];
    return true;
}

void ring_clear(struct ring *ring)
{
    free(ring->jobs);
    *ring = (struct ring){0};
}
