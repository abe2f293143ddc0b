#include "tests/sim/events.h"

#include <stdbool.h>
#include <stdlib.h>

#include "base/str.h"

struct event {
    int64_t at_ms;
    uint64_t order;
    event_fn *fn;
    void *arg;
    uint64_t data;
};

/* A binary heap. */
struct events {
    struct event *heap;
    size_t count;
    size_t capacity;
    uint64_t order;
    int64_t now_ms;
};

struct events *events_create(void)
{
    struct events *events = mem_alloc(sizeof(*events));
    events->now_ms = EVENTS_START_MS;
    return events;
}

void events_destroy(struct events *events)
{
    if (events == NULL)
        return;
    free(events->heap);
    free(events);
}

int64_t events_now_ms(const struct events *events)
{
    return events->now_ms;
}

static bool before(const struct event *a, const struct event *b)
{
    return a->at_ms != b->at_ms ? a->at_ms < b->at_ms : a->order < b->order;
}

void events_at(struct events *events, int64_t at_ms, event_fn *fn, void *arg, uint64_t data)
{
    struct event event = {at_ms, events->order++, fn, arg, data};
    size_t i = events->count++;

    if (event.at_ms < events->now_ms)
        event.at_ms = events->now_ms;
    if (events->count > events->capacity) {
        events->capacity = events->capacity > 0 ? events->capacity * 2 : 1024;
        events->heap = mem_realloc(events->heap, events->capacity * sizeof(struct event));
    }
    while (i > 0 && before(&event, &events->heap[(i - 1) / 2])) {
        events->heap[i] = events->heap[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    events->heap[i] = event;
}

static struct event take_first(struct events *events)
{
    struct event first = events->heap[0];
    struct event last = events->heap[--events->count];
    size_t i = 0;

    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= events->count)
            break;
        if (child + 1 < events->count && before(&events->heap[child + 1], &events->heap[child]))
            child++;
        if (!before(&events->heap[child], &last))
            break;
        events->heap[i] = events->heap[child];
        i = child;
    }
    if (events->count > 0)
        events->heap[i] = last;
    return first;
}

void events_run(struct events *events, int64_t end_ms)
{
    while (events->count > 0 && events->heap[0].at_ms <= end_ms) {
        struct event event = take_first(events);
        events->now_ms = event.at_ms;
        event.fn(event.arg, event.data);
    }
    if (events->now_ms < end_ms)
        events->now_ms = end_ms;
}
