/*
 * A growing ring of jobs: a Redis list.
 */
#ifndef FEDPUSH_TESTS_SIM_RING_H
#define FEDPUSH_TESTS_SIM_RING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ring {
    uint32_t *jobs;
    size_t capacity; /* a power of two, or 0 */
    size_t first;
    size_t count;
};

void ring_push(struct ring *ring, uint32_t job);       /* at the end */
void ring_push_first(struct ring *ring, uint32_t job); /* taken next */
bool ring_take(struct ring *ring, uint32_t *job);      /* the first; false: empty */
bool ring_take_last(struct ring *ring, uint32_t *job);
void ring_clear(struct ring *ring);

#endif
