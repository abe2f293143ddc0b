#include "sched/holdings.h"

#include <stdlib.h>

#include "sched/large.h"

struct hand {
    uint64_t pair;
    uint64_t latest; /* seq */
    unsigned count;
};

void holdings_init(struct holdings *holdings)
{
    *holdings = (struct holdings){.by_seq = table_create(), .hands = table_create()};
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
    table_destroy(holdings->hands);
    holdings->by_seq = holdings->hands = NULL;
}

static void take_in_hand(struct holdings *holdings, const struct claim *claim)
{
    struct hand *hand = table_get(holdings->hands, table_key_u64(&claim->hold));

    if (claim->hold == 0)
        return;
    if (hand == NULL) {
        hand = mem_alloc(sizeof(*hand));
        hand->pair = claim->hold;
        table_put(holdings->hands, table_key_u64(&hand->pair), hand);
    }
    hand->count++;
    if (hand->latest < claim->seq)
        hand->latest = claim->seq;
}

void holdings_place(struct holdings *holdings, struct claim *claim)
{
    if (!claim_is_large(claim) || claim->placed)
        return;
    claim->placed = true;
    holdings->placed_bytes += claim_bytes(claim);
}

static void displace(struct holdings *holdings, struct claim *claim)
{
    if (!claim->placed)
        return;
    claim->placed = false;
    holdings->displaced++;
    holdings->placed_bytes -= claim_bytes(claim);
}

void holdings_let_go(struct holdings *holdings, struct claim *claim)
{
    struct hand *hand = table_get(holdings->hands, table_key_u64(&claim->hold));

    displace(holdings, claim);
    if (claim->hold == 0 || claim->off_hands || hand == NULL)
        return;
    claim->off_hands = true;
    if (--hand->count > 0)
        return;
    claim->let_go = hand->latest;
    table_remove(holdings->hands, table_key_u64(&claim->hold));
    free(hand);
}

static void count_bytes(struct holdings *holdings, const struct claim *claim, bool added)
{
    size_t change = added ? claim_bytes(claim) : 0 - claim_bytes(claim); /* wraps back */

    holdings->bytes += change;
    if (claim->origin == ORIGIN_PULL)
        holdings->pull_bytes += change;
    if (claim_is_large(claim)) {
        holdings->large_bytes += change;
        holdings->large_count += added ? 1 : (size_t)-1;
    }
}

struct claim *holdings_add(struct holdings *holdings, struct claim *claim)
{
    struct str key = table_key_u64(&claim->seq);

    if (table_get(holdings->by_seq, key) != NULL)
        return NULL;
    table_put(holdings->by_seq, key, claim);
    count_bytes(holdings, claim, true);
    take_in_hand(holdings, claim);
    holdings->claimed++;
    return claim;
}

struct claim *holdings_find(const struct holdings *holdings, uint64_t seq)
{
    return table_get(holdings->by_seq, table_key_u64(&seq));
}

void holdings_remove(struct holdings *holdings, struct claim *claim)
{
    if (table_remove(holdings->by_seq, table_key_u64(&claim->seq)) == NULL)
        return;
    count_bytes(holdings, claim, false);
    holdings_let_go(holdings, claim);
}
