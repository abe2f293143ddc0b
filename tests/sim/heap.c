#include "tests/sim/heap.h"

#include <stdbool.h>
#include <stdlib.h>

#include "base/str.h"

static bool before(const struct heap_entry *a, const struct heap_entry *b)
{
    return a->key != b->key ? a->key < b->key : a->number < b->number;
}

void heap_add(struct heap *heap, int64_t key, uint32_t number)
{
    struct heap_entry entry = {key, number};
    size_t i = heap->count++;

    if (heap->count > heap->capacity) {
        heap->capacity = heap->capacity > 0 ? heap->capacity * 2 : 64;
        heap->entries = mem_realloc(heap->entries, heap->capacity * sizeof(struct heap_entry));
    }
    while (i > 0 && before(&entry, &heap->entries[(i - 1) / 2])) {
        heap->entries[i] = heap->entries[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    heap->entries[i] = entry;
}

void heap_drop_first(struct heap *heap)
{
    struct heap_entry last = heap->entries[--heap->count];
    size_t i = 0;

    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= heap->count)
            break;
        if (child + 1 < heap->count && before(&heap->entries[child + 1], &heap->entries[child]))
            child++;
        if (!before(&heap->entries[child], &last))
            break;
        heap->entries[i] = heap->entries[child];
        i = child;
    }
    if (heap->count > 0)
        heap->entries[i] = last;
}

void heap_clear(struct heap *heap)
{
    free(heap->entries);
    *heap = (struct heap){0};
}
