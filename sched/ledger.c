#include "sched/ledger.h"

const char *ledger_word(enum ledger_entry entry)
{
    static const char *const words[LEDGER_ENTRIES] = {
        [LEDGER_BY_VERB] = "",
        [LEDGER_DELIVERED] = "delivered",
        [LEDGER_SKIPPED] = "skipped",
        [LEDGER_REJECTED] = "rejected",
        [LEDGER_REFUSED] = "refused",
        [LEDGER_RETRIED] = "retried",
        [LEDGER_BOOKED] = "booked",
        [LEDGER_EXHAUSTED] = "exhausted",
        [LEDGER_DEAD] = "dead",
        [LEDGER_HANDED_OFF] = "handed_off",
        [LEDGER_POLICY] = "policy",
        [LEDGER_RETURNED] = "returned",
        [LEDGER_RECOVERED] = "recovered",
    };
    return words[entry];
}
