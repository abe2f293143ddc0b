#include "sched/suspicion.h"

#include <stddef.h>

enum { SLOTS = SUSPICION_SPAN_MS / 1000, CLEARED_HOSTS = SUSPICION_HOSTS / 2 };

bool suspicion_is_good(const struct suspicion_mark *mark, int64_t now_ms)
{
    return mark->success_ms != 0 && now_ms - mark->success_ms < SUSPICION_GOOD_MS;
}

bool suspicion_may_try(const struct suspicion *suspicion, const struct suspicion_mark *mark)
{
    return suspicion_is_good(mark, suspicion->since_ms);
}

void suspicion_forget(struct suspicion *suspicion, struct suspicion_mark *mark)
{
    if (!mark->counted)
        return;
    mark->counted = false;
    if (suspicion->slots[mark->slot].second != mark->at_ms / 1000)
        return; /* that second is long over */
    if (mark->failed)
        suspicion->slots[mark->slot].failed--;
    else
        suspicion->slots[mark->slot].good--;
}

void suspicion_note(struct suspicion *suspicion, struct suspicion_mark *mark, bool failed,
                    int64_t now_ms)
{
    bool counts = suspicion_is_good(mark, now_ms);
    int64_t second = now_ms / 1000;
    unsigned slot = (unsigned)(second % SLOTS);

    suspicion_forget(suspicion, mark);
    mark->at_ms = now_ms;
    mark->failed = failed;
    if (!failed)
        mark->success_ms = now_ms;
    if (suspicion->active) {
        suspicion->answers = failed ? 0 : suspicion->answers + 1;
        if (suspicion->answers >= SUSPICION_TRIALS) /* what was counted against us is void */
            *suspicion = (struct suspicion){.ended_ms = now_ms};
    }
    if (!counts)
        return;
    if (suspicion->slots[slot].second != second) {
        suspicion->slots[slot].second = second;
        suspicion->slots[slot].good = suspicion->slots[slot].failed = 0;
    }
    mark->counted = true;
    mark->slot = slot;
    if (failed)
        suspicion->slots[slot].failed++;
    else
        suspicion->slots[slot].good++;
}

/* Hosts by their last attempt within the span, and at or after `since_ms`. */
static void count(const struct suspicion *suspicion, int64_t since_ms, int64_t now_ms,
                  unsigned *good, unsigned *failed)
{
    int64_t first = now_ms / 1000 - SLOTS + 1;

    if (since_ms / 1000 > first)
        first = since_ms / 1000;
    *good = *failed = 0;
    for (size_t i = 0; i < SLOTS; i++) {
        if (suspicion->slots[i].second >= first) {
            *good += suspicion->slots[i].good;
            *failed += suspicion->slots[i].failed;
        }
    }
}

bool suspicion_has_failures(const struct suspicion *suspicion, int64_t now_ms)
{
    unsigned good;
    unsigned failed;

    count(suspicion, 0, now_ms, &good, &failed);
    return failed > 0;
}

bool suspicion_is_active(struct suspicion *suspicion, int64_t now_ms)
{
    unsigned good;
    unsigned failed;

    if (suspicion->active)
        return true;
    count(suspicion, 0, now_ms, &good, &failed);
    if (good + failed < SUSPICION_HOSTS || failed <= good)
        return false;
    suspicion->active = true;
    suspicion->answers = 0;
    suspicion->since_ms = now_ms;
    suspicion->trial_ms = now_ms - SUSPICION_TRIAL_MS;
    suspicion->trials = 0;
    return true;
}

static bool is_round_over(const struct suspicion *suspicion, int64_t now_ms)
{
    return now_ms - suspicion->trial_ms >= SUSPICION_TRIAL_MS;
}

bool suspicion_has_trial(const struct suspicion *suspicion, int64_t now_ms)
{
    return suspicion->trials < SUSPICION_TRIALS || is_round_over(suspicion, now_ms);
}

bool suspicion_takes_trial(struct suspicion *suspicion, int64_t now_ms)
{
    if (!suspicion_has_trial(suspicion, now_ms))
        return false;
    if (is_round_over(suspicion, now_ms)) {
        suspicion->trial_ms = now_ms;
        suspicion->trials = 0;
    }
    suspicion->trials++;
    return true;
}

void suspicion_returns_trial(struct suspicion *suspicion)
{
    if (suspicion->active && suspicion->trials > 0)
        suspicion->trials--;
}

bool suspicion_excuses(struct suspicion *suspicion, int64_t started_ms, int64_t now_ms)
{
    return suspicion_is_active(suspicion, now_ms) || started_ms < suspicion->ended_ms;
}

enum doubt suspicion_judge(struct suspicion *suspicion, int64_t started_ms, int64_t failed_ms,
                           int64_t now_ms)
{
    unsigned good;
    unsigned failed;

    if (suspicion_excuses(suspicion, started_ms, now_ms))
        return DOUBT_OURS;
    if (now_ms - failed_ms >= SUSPICION_DOUBT_MS)
        return DOUBT_THEIRS;
    count(suspicion, failed_ms, now_ms, &good, &failed);
    return good >= CLEARED_HOSTS && good > failed * 2 ? DOUBT_THEIRS : DOUBT_WAIT;
}
