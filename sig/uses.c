#include "sig/uses.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum {
    MINUTE_S = 60,
    /* A ticket lives for ten minutes: eleven minutes can be alive, one more is being reused. */
    MINUTES = TICKET_MAX_SECONDS / MINUTE_S + 2,
    FIRST_SLOTS = 1024,
    COUNT_BITS = 4,
    COUNT_MASK = (1 << COUNT_BITS) - 1,
};

static_assert((int)TICKET_MAX_USES <= (int)COUNT_MASK, "a slot's low bits hold the count");

/* Open addressing, at most half full. A slot is 60 bits of the ticket's MAC and the count; 0 is
 * free. Nobody without the key can choose a MAC, so that they neither cluster nor collide. */
struct minute {
    int64_t number; /* of the expiry since 1970 */
    uint64_t *slots;
    size_t slot_count;
    size_t used;
};

struct uses {
    size_t max_tickets;
    size_t remembered;
    struct minute minutes[MINUTES];
};

struct uses *uses_create(size_t max_tickets)
{
    struct uses *uses = mem_alloc(sizeof(*uses));

    uses->max_tickets = max_tickets;
    return uses;
}

static void forget_minute(struct uses *uses, struct minute *minute)
{
    uses->remembered -= minute->used;
    free(minute->slots);
    *minute = (struct minute){0};
}

void uses_destroy(struct uses *uses)
{
    if (uses == NULL)
        return;
    for (size_t i = 0; i < MINUTES; i++)
        forget_minute(uses, &uses->minutes[i]);
    free(uses);
}

static void forget_expired(struct uses *uses, int64_t now_s)
{
    for (size_t i = 0; i < MINUTES; i++) {
        struct minute *minute = &uses->minutes[i];
        if (minute->used > 0 && (minute->number + 1) * MINUTE_S <= now_s)
            forget_minute(uses, minute);
    }
}

static uint64_t tag_of(const struct ticket *ticket)
{
    uint64_t tag;

    memcpy(&tag, ticket->mac, sizeof(tag));
    return tag & ~(uint64_t)COUNT_MASK;
}

/* The ticket's slot, or the free one it would take. */
static uint64_t *find_slot(const struct minute *minute, uint64_t tag)
{
    size_t at = (size_t)(tag >> COUNT_BITS) & (minute->slot_count - 1);

    while (minute->slots[at] != 0 && (minute->slots[at] & ~(uint64_t)COUNT_MASK) != tag)
        at = (at + 1) & (minute->slot_count - 1);
    return &minute->slots[at];
}

static void grow(struct minute *minute)
{
    struct minute larger = *minute;

    larger.slot_count = minute->slot_count > 0 ? minute->slot_count * 2 : FIRST_SLOTS;
    larger.slots = mem_alloc(larger.slot_count * sizeof(larger.slots[0]));
    for (size_t i = 0; i < minute->slot_count; i++) {
        if (minute->slots[i] != 0)
            *find_slot(&larger, minute->slots[i] & ~(uint64_t)COUNT_MASK) = minute->slots[i];
    }
    free(minute->slots);
    *minute = larger;
}

enum use uses_count(struct uses *uses, const struct ticket *ticket, int64_t now_s)
{
    int64_t number = ticket->expires_s / MINUTE_S;
    struct minute *minute = &uses->minutes[(uint64_t)number % MINUTES];

    if (minute->number != number) {
        forget_expired(uses, now_s);
        if (minute->used > 0) /* the clock was set back: what it held is not valid now either */
            forget_minute(uses, minute);
        minute->number = number;
    }
    if (minute->used * 2 >= minute->slot_count)
        grow(minute);
    uint64_t *slot = find_slot(minute, tag_of(ticket));
    if (*slot != 0) {
        if ((*slot & COUNT_MASK) >= TICKET_MAX_USES)
            return USE_EXHAUSTED;
        (*slot)++;
        return USE_ALLOWED;
    }
    if (uses->remembered >= uses->max_tickets) {
        forget_expired(uses, now_s);
        if (uses->remembered >= uses->max_tickets)
            return USE_FULL;
    }
    *slot = tag_of(ticket) | 1;
    minute->used++;
    uses->remembered++;
    return USE_ALLOWED;
}

size_t uses_remembered(const struct uses *uses)
{
    return uses->remembered;
}
