#include "base/thrift.h"

#include <malloc.h>

#include "base/loop.h"

enum {
    LARGE_BYTES = 256 * 1024, /* from here on a block is mapped, and unmapped when it is freed */
    TRIM_MS = 2000,           /* to ask costs a per cent of a busy process each second */
    FREE_BYTES = 4 * 1024 * 1024, /* fewer aren't worth the page faults that follow */
    TOP_BYTES = 1024 * 1024,      /* stay at the end of the heap */
};

static struct loop_timer *timer;

static void on_trim(void *arg)
{
    (void)arg;
    loop_timer_set(timer, TRIM_MS);
    if (mallinfo2().fordblks > FREE_BYTES)
        malloc_trim(TOP_BYTES);
}

void thrift_begin(struct event_base *base)
{
    /* A sanitizer's allocator knows neither. */
    (void)mallopt(M_MMAP_THRESHOLD, LARGE_BYTES);
    (void)mallopt(M_TRIM_THRESHOLD, TOP_BYTES);
    timer = loop_timer_create(base, on_trim, NULL);
    loop_timer_set(timer, TRIM_MS);
}
