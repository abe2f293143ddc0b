#include "worker/rereads.h"

#include <string.h>

static void remove_at(struct rereads *rereads, size_t i)
{
    rereads->count--;
    memmove(&rereads->accounts[i], &rereads->accounts[i + 1],
            (rereads->count - i) * sizeof(rereads->accounts[0]));
}

bool rereads_take(struct rereads *rereads, int64_t account)
{
    for (size_t i = 0; i < rereads->count; i++) {
        if (rereads->accounts[i] == account) {
            remove_at(rereads, i);
            return true;
        }
    }
    return false;
}

void rereads_note(struct rereads *rereads, int64_t account)
{
    (void)rereads_take(rereads, account); /* it becomes the newest */
    if (rereads->count == REREADS_MAX)
        remove_at(rereads, 0);
    rereads->accounts[rereads->count++] = account;
}
