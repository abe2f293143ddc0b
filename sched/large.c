#include "sched/large.h"

enum { SHARE = 2, HORIZON_MS = 3600000, PATIENCE_MS = 1000 };

bool claim_is_large(const struct claim *claim)
{
    return claim->payload_bytes >= LARGE_BYTES;
}

bool large_crowds(const struct claim *claim, size_t placed_bytes, size_t lookahead_bytes)
{
    return claim_is_large(claim) && placed_bytes >= lookahead_bytes / SHARE;
}

static void see_progress(struct large_clock *clock, uint64_t gone, int64_t now_ms)
{
    if (gone != clock->gone || clock->slowness == 0) {
        *clock = (struct large_clock){clock->reserved_ms, now_ms, gone, 1};
    } else if (now_ms - clock->changed_ms >= PATIENCE_MS && clock->slowness < LARGE_SLOWEST) {
        clock->changed_ms = now_ms;
        clock->slowness *= 2;
    }
}

int64_t large_book_ms(struct large_clock *clock, const struct claim *claim, uint64_t gone,
                      int64_t now_ms)
{
    int64_t gap_ms = (int64_t)(claim->payload_bytes / LARGE_BYTES_PER_MS);

    see_progress(clock, gone, now_ms);
    if (clock->reserved_ms < now_ms)
        clock->reserved_ms = now_ms;
    clock->reserved_ms += gap_ms * clock->slowness;
    if (clock->reserved_ms > now_ms + HORIZON_MS)
        clock->reserved_ms = now_ms + HORIZON_MS;
    return clock->reserved_ms - now_ms;
}
