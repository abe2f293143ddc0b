#include "sched/large.h"

enum { SHARE = 2, HORIZON_MS = 3600000 };

bool claim_is_large(const struct claim *claim)
{
    return claim->payload_bytes >= LARGE_BYTES;
}

bool large_crowds(const struct claim *claim, size_t placed_bytes, size_t lookahead_bytes)
{
    return claim_is_large(claim) && placed_bytes > 0 &&
           placed_bytes + claim_bytes(claim) > lookahead_bytes / SHARE;
}

int64_t large_book_ms(const struct claim *claim, int64_t *reserved_ms, int64_t now_ms)
{
    if (*reserved_ms < now_ms)
        *reserved_ms = now_ms;
    *reserved_ms += (int64_t)(claim->payload_bytes / LARGE_BYTES_PER_MS);
    if (*reserved_ms > now_ms + HORIZON_MS)
        *reserved_ms = now_ms + HORIZON_MS;
    return *reserved_ms - now_ms;
}
