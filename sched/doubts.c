#include "sched/doubts.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

struct doubted {
    TAILQ_ENTRY(doubted) entry;
    struct claim *claim;
    int64_t failed_ms;
    struct message_outcome outcome; /* its texts stand behind the structure */
};

TAILQ_HEAD(doubted_list, doubted);

struct doubts {
    struct doubted_list waiting; /* the oldest first */
    unsigned count;
    struct doubted *told; /* what the last doubts_next has lent */
};

struct doubts *doubts_create(void)
{
    struct doubts *doubts = mem_alloc(sizeof(*doubts));

    TAILQ_INIT(&doubts->waiting);
    return doubts;
}

void doubts_forget(struct doubts *doubts)
{
    struct doubted *doubted;

    while ((doubted = TAILQ_FIRST(&doubts->waiting)) != NULL) {
        TAILQ_REMOVE(&doubts->waiting, doubted, entry);
        free(doubted);
    }
    doubts->count = 0;
}

void doubts_destroy(struct doubts *doubts)
{
    if (doubts == NULL)
        return;
    doubts_forget(doubts);
    free(doubts->told);
    free(doubts);
}

static struct str copy_text(char **end, struct str text)
{
    struct str copy = {*end, text.len};

    if (text.len > 0)
        memcpy(*end, text.ptr, text.len);
    *end += text.len;
    return copy;
}

bool doubts_add(struct doubts *doubts, struct claim *claim, const struct message_outcome *outcome,
                int64_t now_ms)
{
    struct doubted *doubted;
    char *end;

    assert(claim->state == CLAIM_NEW);
    if (doubts->count >= DOUBTS_MAX)
        return false;
    doubted = mem_alloc(sizeof(*doubted) + outcome->error_class.len + outcome->error_message.len);
    end = (char *)(doubted + 1);
    doubted->claim = claim;
    doubted->failed_ms = now_ms;
    doubted->outcome = *outcome;
    doubted->outcome.error_class = copy_text(&end, outcome->error_class);
    doubted->outcome.error_message = copy_text(&end, outcome->error_message);
    claim->state = CLAIM_DOUBT;
    TAILQ_INSERT_TAIL(&doubts->waiting, doubted, entry);
    doubts->count++;
    return true;
}

static void take(struct doubts *doubts, struct doubted *doubted)
{
    TAILQ_REMOVE(&doubts->waiting, doubted, entry);
    doubts->count--;
    doubted->claim->state = CLAIM_NEW;
    free(doubts->told);
    doubts->told = doubted;
}

struct claim *doubts_next(struct doubts *doubts, struct lanes *lanes, int64_t now_ms,
                          enum doubt *verdict, struct message_outcome *outcome)
{
    struct doubted *oldest = TAILQ_FIRST(&doubts->waiting);

    if (oldest == NULL)
        return NULL;
    *verdict = lanes_doubt(lanes, oldest->claim->started_ms, oldest->failed_ms, now_ms);
    if (*verdict == DOUBT_WAIT)
        return NULL;
    take(doubts, oldest);
    *outcome = oldest->outcome;
    return oldest->claim;
}

void doubts_remove(struct doubts *doubts, struct claim *claim)
{
    struct doubted *doubted;

    TAILQ_FOREACH(doubted, &doubts->waiting, entry)
    {
        if (doubted->claim == claim) {
            take(doubts, doubted);
            return;
        }
    }
}

unsigned doubts_count(const struct doubts *doubts)
{
    return doubts->count;
}
