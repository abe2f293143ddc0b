#include "sched/holdings.h"

void holdings_init(struct holdings *holdings)
{
    *holdings = (struct holdings){.by_seq = table_create()};
}

void holdings_clear(struct holdings *holdings)
{
    size_t at = 0;
    struct claim *claim;

    while ((claim = table_next(holdings->by_seq, &at)) != NULL) {
        holdings_remove(holdings, claim);
        claim_destroy(claim);
    }
    table_destroy(holdings->by_seq);
    holdings->by_seq = NULL;
}

static void count_bytes(struct holdings *holdings, const struct claim *claim, bool added)
{
    size_t change = added ? claim_bytes(claim) : 0 - claim_bytes(claim); /* wraps back */

    holdings->bytes += change;
    if (claim->origin == ORIGIN_PULL)
        holdings->pull_bytes += change;
}

struct claim *holdings_add(struct holdings *holdings, struct claim *claim)
{
    struct str key = table_key_u64(&claim->seq);

    if (table_get(holdings->by_seq, key) != NULL)
        return NULL;
    table_put(holdings->by_seq, key, claim);
    count_bytes(holdings, claim, true);
    holdings->claimed++;
    return claim;
}

struct claim *holdings_find(const struct holdings *holdings, uint64_t seq)
{
    return table_get(holdings->by_seq, table_key_u64(&seq));
}

void holdings_remove(struct holdings *holdings, struct claim *claim)
{
    if (table_remove(holdings->by_seq, table_key_u64(&claim->seq)) != NULL)
        count_bytes(holdings, claim, false);
}
