#include "admin/verdict.h"

enum phrase verdict_of(const struct orders *orders, struct str host, bool unavailable, bool live)
{
    const struct policy fleet = orders_get(orders, POLICY_FLEET);
    struct policy policy;

    (void)policy_book_sum(orders->book, host, orders->now_s, &policy);
    if (!live)
        return PHRASE_VERDICT_NO_MACHINE;
    if (fleet.paused)
        return PHRASE_VERDICT_FLEET_PAUSED;
    if (policy.paused)
        return PHRASE_VERDICT_PAUSED;
    return unavailable ? PHRASE_VERDICT_UNAVAILABLE : PHRASE_VERDICT_MACHINES;
}
