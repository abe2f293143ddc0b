/* Hosts that were good when their lanes were forgotten. One that is written to each few hours would
 * otherwise be a stranger each time: one delivery at once, behind all whose lanes are kept. */
#include "sched/lane_inside.h"

/* Strangers may find names of one hash: all they gain is to be taken for good hosts until they
 * fail. 0 is no hash. */
uint64_t lane_hash(struct str host)
{
    uint64_t hash = 14695981039346656037u; /* FNV-1a */

    for (size_t i = 0; i < host.len; i++)
        hash = (hash ^ (unsigned char)host.ptr[i]) * 1099511628211u;
    return hash ^ (hash >> 32);
}

static uint64_t *slot_of(struct lanes *lanes, uint64_t hash)
{
    return &lanes->known[hash % KNOWN_HOSTS];
}

void lane_keep_known(struct lanes *lanes, const struct lane *lane)
{
    uint64_t hash = lane_hash(lane->host);

    if (!lane->suspect)
        *slot_of(lanes, hash) = hash;
}

bool lane_take_known(struct lanes *lanes, struct str host)
{
    uint64_t hash = lane_hash(host);
    uint64_t *slot = slot_of(lanes, hash);
    bool known = *slot == hash && hash != 0;

    if (known)
        *slot = 0;
    return known;
}
