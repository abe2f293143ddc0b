/* The order of a pair (account and inbox): one of its jobs at a time, the oldest first, wherever
 * the others are: in flight, in the lists of their lane, or away. */
#include <stdlib.h>

#include "base/table.h"
#include "sched/lane_inside.h"

/* --- in flight --- */

bool lane_pair_is_free(const struct lane *lane, uint64_t pair)
{
    if (pair == 0)
        return true;
    for (unsigned i = 0; i < lane->pair_count; i++) {
        if (lane->pairs[i] == pair)
            return false;
    }
    return true;
}

void lane_pair_started(struct lane *lane, uint64_t pair)
{
    if (pair == 0)
        return;
    if (lane->pair_count == lane->pair_capacity) {
        lane->pair_capacity = lane->pair_capacity > 0 ? lane->pair_capacity * 2 : 4;
        lane->pairs = mem_realloc(lane->pairs, lane->pair_capacity * sizeof(uint64_t));
    }
    lane->pairs[lane->pair_count++] = pair;
}

void lane_pair_landed(struct lane *lane, uint64_t pair)
{
    for (unsigned i = 0; pair != 0 && i < lane->pair_count; i++) {
        if (lane->pairs[i] == pair) {
            lane->pairs[i] = lane->pairs[--lane->pair_count];
            return;
        }
    }
}

/* --- waiting --- */

static bool is_older(const struct claim *claim, const struct claim *other)
{
    int64_t created_us = claim_created_us(claim);
    int64_t other_us = claim_created_us(other);

    return created_us != other_us ? created_us < other_us : claim->seq < other->seq;
}

static void put_first(struct lanes *lanes, struct claim *claim)
{
    table_put(lanes->by_pair, table_key_u64(&claim->pair), claim);
}

/* Most that come are the youngest: the place is looked for from that end. */
void lane_pair_waits(struct lanes *lanes, struct claim *claim)
{
    struct claim *first;

    claim->elder = claim->younger = claim;
    if (claim->pair == 0)
        return;
    first = table_get(lanes->by_pair, table_key_u64(&claim->pair));
    if (first == NULL) {
        put_first(lanes, claim);
        return;
    }
    struct claim *elder = first->elder;
    while (elder != first && is_older(claim, elder))
        elder = elder->elder;
    if (is_older(claim, elder)) { /* than all: between the youngest and who was the first */
        elder = first->elder;
        put_first(lanes, claim);
    }
    claim->elder = elder;
    claim->younger = elder->younger;
    claim->elder->younger = claim->younger->elder = claim;
}

void lane_pair_waited(struct lanes *lanes, struct claim *claim)
{
    if (claim->pair == 0)
        return;
    if (claim->younger == claim)
        table_remove(lanes->by_pair, table_key_u64(&claim->pair));
    else if (lane_pair_first(lanes, claim) == claim)
        put_first(lanes, claim->younger);
    claim->elder->younger = claim->younger;
    claim->younger->elder = claim->elder;
    claim->elder = claim->younger = NULL;
}

struct claim *lane_pair_first(const struct lanes *lanes, struct claim *claim)
{
    return claim->pair == 0 ? claim : table_get(lanes->by_pair, table_key_u64(&claim->pair));
}

struct claim *lane_pair_oldest(struct claim *claim)
{
    while (is_older(claim->elder, claim))
        claim = claim->elder;
    return claim;
}

/* --- away --- */

void lanes_left(struct lanes *lanes, const struct claim *claim, int64_t back_ms, int64_t now_ms)
{
    away_add(lanes->away, claim->pair, claim_created_us(claim), back_ms, now_ms);
}

void lanes_left_uncalled(struct lanes *lanes, const struct claim *claim, int64_t back_ms,
                         int64_t now_ms)
{
    lanes_left(lanes, claim, back_ms, now_ms);
    away_uncalled(lanes->away, claim->pair, claim_created_us(claim));
}

void lanes_left_until(struct lanes *lanes, const struct claim *claim, int64_t back_ms)
{
    away_move(lanes->away, claim->pair, claim_created_us(claim), back_ms);
}

void lanes_came(struct lanes *lanes, const struct claim *claim)
{
    away_back(lanes->away, claim->pair, claim_created_us(claim));
}

void lanes_heard(struct lanes *lanes, const struct claim *claim, const struct away_booked *booked,
                 size_t count, int64_t now_ms)
{
    away_heard(lanes->away, claim->pair, booked, count, now_ms);
}

int64_t lane_awaits_ms(const struct lanes *lanes, const struct lane *lane,
                       const struct claim *claim, int64_t now_ms)
{
    if (claim->pair == 0)
        return INT64_MIN;
    return away_until_ms(lanes->away, claim->pair, claim_created_us(claim), lane->emptied_ms,
                         now_ms);
}
