/*
 * Is it them, or is it us? When within 20 s more than half of at least 20 distinct hosts that had
 * succeeded in the last hour fail in transport or resolving, it is this machine's network,
 * resolver, clock or CA store. Pure.
 *
 * Until that can be told, a failure in transport of a host that was recently good is a doubt: its
 * claim waits (SUSPICION_DOUBT_MS at most) instead of burning a retry, and opens no circuit. When
 * suspicion falls on us, all doubts go back to their lanes and only trials are made: three recently
 * good hosts each 5 s. Three answers in a row end it: one alone may be luck (a name in the cache).
 * What started before the end and fails after it was ours, too. When so many other recently good
 * hosts answer that it cannot be us any more, doubts are resolved at once.
 */
#ifndef FEDPUSH_SCHED_SUSPICION_H
#define FEDPUSH_SCHED_SUSPICION_H

#include <stdbool.h>
#include <stdint.h>

enum {
    SUSPICION_SPAN_MS = 20000,
    SUSPICION_HOSTS = 20,
    SUSPICION_GOOD_MS = 3600000, /* this long after its last success a host counts as good */
    SUSPICION_DOUBT_MS = 20000,
    SUSPICION_TRIALS = 3,
    SUSPICION_TRIAL_MS = 5000,
};

/* What a host's last attempt in the span showed; each lane has one. */
struct suspicion_mark {
    int64_t at_ms;      /* of that attempt; 0: none */
    int64_t success_ms; /* of its last success, negative: before the clock began; 0: none */
    unsigned slot;      /* the second that counts it */
    bool failed;
    bool counted;
};

struct suspicion {
    struct {
        int64_t second;
        unsigned good;
        unsigned failed;
    } slots[SUSPICION_SPAN_MS / 1000]; /* hosts by the second of their last attempt */
    bool active;
    unsigned answers; /* while active: in a row */
    int64_t ended_ms; /* when it was last active; 0: never */
    int64_t since_ms;
    int64_t trial_ms; /* the current round of trials began then */
    unsigned trials;  /* of this round */
};

/* What the mark means now. */
bool suspicion_is_good(const struct suspicion_mark *mark, int64_t now_ms);
/* An attempt ended; `failed`: in transport or resolving. Only hosts that were good count. */
void suspicion_note(struct suspicion *suspicion, struct suspicion_mark *mark, bool failed,
                    int64_t now_ms);
/* The lane of this mark is forgotten. */
void suspicion_forget(struct suspicion *suspicion, struct suspicion_mark *mark);
/* While active: whether a trial of this host would tell something: it was good when the trouble
 * began, however long ago that is. */
bool suspicion_may_try(const struct suspicion *suspicion, const struct suspicion_mark *mark);
/* Whether a good host has failed within the span, and not answered since. */
bool suspicion_has_failures(const struct suspicion *suspicion, int64_t now_ms);
/* Whether we suspect ourselves. Time alone never ends it: a trial does. */
bool suspicion_is_active(struct suspicion *suspicion, int64_t now_ms);
/* While active: whether a trial may be made now; and the same, which counts it. */
bool suspicion_has_trial(const struct suspicion *suspicion, int64_t now_ms);
bool suspicion_takes_trial(struct suspicion *suspicion, int64_t now_ms);
/* It wasn't made after all. */
void suspicion_returns_trial(struct suspicion *suspicion);
/* Whether a failure of an attempt that started then says nothing about its host. */
bool suspicion_excuses(struct suspicion *suspicion, int64_t started_ms, int64_t now_ms);
/* What to do with a claim whose attempt failed in transport at `failed_ms` at a good host. */
enum doubt { DOUBT_WAIT = 0, DOUBT_THEIRS, DOUBT_OURS };
enum doubt suspicion_judge(struct suspicion *suspicion, int64_t started_ms, int64_t failed_ms,
                           int64_t now_ms);

#endif
