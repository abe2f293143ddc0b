#include "sig/heap.h"

#include <openssl/crypto.h>
#include <sys/resource.h>

#include "base/log.h"

enum { PARSING_BYTES = 64 * 1024, MIN_BLOCK_BYTES = 16, TIGHT_SHARE = 16 };

static int64_t lock_limit_bytes(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_MEMLOCK, &limit) == -1 || limit.rlim_cur > INT64_MAX)
        return INT64_MAX;
    return (int64_t)limit.rlim_cur;
}

void heap_open(struct heap *heap, size_t keys)
{
    size_t wanted_bytes = keys * HEAP_BYTES_A_KEY + PARSING_BYTES;
    size_t size_bytes = PARSING_BYTES;

    while (size_bytes < wanted_bytes)
        size_bytes *= 2; /* the allocator wants a power of two */
    heap->size_bytes = 0;
    int made = CRYPTO_secure_malloc_init(size_bytes, MIN_BLOCK_BYTES);
    if (made == 0) {
        log_event(LOG_LEVEL_WARN, "no secure heap, private keys are kept in ordinary memory",
                  LOG_INT("bytes", size_bytes),
                  LOG_TEXT("remedy", "lower FEDPUSH_KEY_CACHE or allow more address space"));
        return;
    }
    heap->size_bytes = size_bytes;
    if (made == 2) /* the mapping is there, but locking it (or guarding it) was refused */
        log_event(LOG_LEVEL_WARN, "private keys are not locked into memory and may reach swap",
                  LOG_INT("bytes", size_bytes), LOG_INT("limit", lock_limit_bytes()),
                  LOG_TEXT("remedy", "raise the memory lock limit (LimitMEMLOCK=) or lower "
                                     "FEDPUSH_KEY_CACHE"));
}

bool heap_is_tight(const struct heap *heap)
{
    /* CRYPTO_secure_used may only be asked when there is a heap. */
    return heap->size_bytes > 0 &&
           CRYPTO_secure_used() > heap->size_bytes - heap->size_bytes / TIGHT_SHARE;
}
