/*
 * A binary heap of numbers by their keys: the lowest key first, then the lowest number.
 */
#ifndef FEDPUSH_TESTS_SIM_HEAP_H
#define FEDPUSH_TESTS_SIM_HEAP_H

#include <stddef.h>
#include <stdint.h>

struct heap_entry {
    int64_t key;
    uint32_t number;
};

struct heap {
    struct heap_entry *entries; /* entries[0] is the first */
    size_t count;
    size_t capacity;
};

void heap_add(struct heap *heap, int64_t key, uint32_t number);
void heap_drop_first(struct heap *heap); /* there is one */
void heap_clear(struct heap *heap);

#endif
