#include "admin/attempts.h"

#include <string.h>
#include <sys/socket.h>

enum { IPV4_BYTES = 4, PREFIX_BYTES = 8 };

size_t attempts_address_bytes(int family)
{
    if (family == AF_INET)
        return IPV4_BYTES;
    return family == AF_INET6 ? PREFIX_BYTES : 0;
}

void attempts_init(struct attempts *attempts, int64_t now_ms)
{
    *attempts = (struct attempts){.tokens = ATTEMPTS_BURST, .filled_ms = now_ms};
}

static bool is_of(const struct attempts_entry *entry, int family, const unsigned char *address)
{
    return entry->used && entry->family == family &&
           memcmp(entry->address, address, attempts_address_bytes(family)) == 0;
}

static bool yields_before(const struct attempts_entry *a, const struct attempts_entry *b)
{
    if (a->used != b->used)
        return !a->used;
    if (a->known != b->known)
        return !a->known;
    return a->last_ms < b->last_ms;
}

/* The address's own, or the one that has been quiet for longest. Who got in before is the last to
 * be forgotten. */
static struct attempts_entry *entry_of(struct attempts *attempts, int family,
                                       const unsigned char *address, int64_t now_ms)
{
    struct attempts_entry *oldest = &attempts->entries[0];

    for (size_t i = 0; i < ATTEMPTS_ADDRESSES; i++) {
        struct attempts_entry *entry = &attempts->entries[i];
        if (is_of(entry, family, address)) {
            if (now_ms - entry->last_ms > ATTEMPTS_FORGOTTEN_MS)
                entry->wrong = 0;
            return entry;
        }
        if (yields_before(entry, oldest))
            oldest = entry;
    }
    *oldest = (struct attempts_entry){.used = true, .family = family, .last_ms = now_ms};
    memcpy(oldest->address, address, sizeof(oldest->address));
    return oldest;
}

static int64_t delay_ms(unsigned wrong)
{
    int64_t delay = ATTEMPTS_FIRST_MS;

    if (wrong <= ATTEMPTS_FREE)
        return 0;
    for (unsigned i = ATTEMPTS_FREE + 1; i < wrong && delay < ATTEMPTS_LONGEST_MS; i++)
        delay *= 2;
    return delay < ATTEMPTS_LONGEST_MS ? delay : ATTEMPTS_LONGEST_MS;
}

static int64_t take_token(struct attempts *attempts, int64_t now_ms)
{
    attempts->tokens += (double)(now_ms - attempts->filled_ms) / ATTEMPTS_EACH_MS;
    attempts->filled_ms = now_ms;
    if (attempts->tokens > ATTEMPTS_BURST)
        attempts->tokens = ATTEMPTS_BURST;
    if (attempts->tokens < 1)
        return (int64_t)((1 - attempts->tokens) * ATTEMPTS_EACH_MS) + 1;
    attempts->tokens -= 1;
    return 0;
}

int64_t attempts_begin(struct attempts *attempts, int family, const unsigned char address[16],
                       int64_t now_ms)
{
    struct attempts_entry *entry = entry_of(attempts, family, address, now_ms);

    if (entry->blocked_until_ms > now_ms)
        return entry->blocked_until_ms - now_ms;
    if (!entry->known) {
        int64_t wait_ms = take_token(attempts, now_ms);
        if (wait_ms > 0)
            return wait_ms;
    }
    entry->last_ms = now_ms;
    entry->wrong++;
    entry->blocked_until_ms = now_ms + delay_ms(entry->wrong);
    return 0;
}

void attempts_right(struct attempts *attempts, int family, const unsigned char address[16],
                    int64_t now_ms)
{
    struct attempts_entry *entry = entry_of(attempts, family, address, now_ms);

    entry->known = true;
    entry->wrong = 0;
    entry->blocked_until_ms = 0;
    entry->last_ms = now_ms;
}
