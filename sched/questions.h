/*
 * What admins ask about a host, and what this machine answers: `fedpush domain show` puts the host
 * into fedpush:questions, for ten seconds, and each machine looks there once a second and writes
 * why the host's deliveries are or aren't being sent into the hash fedpush:answers:HOST, under its
 * identity, for half a minute: first what holds back, or keeps from taking more, the machine as a
 * whole (standing.h), then a line for each of the host's lanes (lane_words.c), then what waits
 * outside of them; fedpush:said:HOST has the same as a list of sentences
 * (base/phrase.h), which older machines don't write and older readers don't miss. The question
 * "trace URI" is about an activity: the answer has a line "OUTCOME STATUS UNIX_MS INBOX" for each
 * inbox, OUTCOME being in_flight (since then), waiting (made then), or of the latest attempt
 * delivered, retried, rejected or exhausted; STATUS is 0 without an answer. What is held comes
 * first, then what was last attempted (recent.h), the newest first; at most QUESTIONS_LINES of
 * them, then "more N". Losing any of it loses an answer. Where it looks, the order to drain this
 * machine stands, too: fedpush:drain:IDENTITY, which is taken away and followed once.
 */
#ifndef FEDPUSH_SCHED_QUESTIONS_H
#define FEDPUSH_SCHED_QUESTIONS_H

#include "sched/holdings.h"
#include "sched/lane.h"
#include "sched/membership.h"
#include "sched/policies.h"
#include "sched/recent.h"
#include "sched/standing.h"

enum { QUESTIONS_AT_ONCE = 16, QUESTIONS_ANSWER_S = 30, QUESTIONS_LINES = 200 };

/* All are borrowed and must outlive it. */
struct questions_options {
    const struct clock *clock;
    struct redis *redis;
    const struct keys *keys;
    struct membership *membership;
    struct lanes *lanes;
    const struct holdings *holdings;
    struct recent *recent;
    const struct policies *policies;
    void (*stands)(void *arg, struct standing *standing); /* how the machine does, now */
    bool (*is_busy)(void *arg, unsigned worker);          /* it takes no more at the moment */
    /* The window, by this order (0: none) and the setting, if it is so small that other machines
     * serve the host; or 0. */
    unsigned (*passes_on)(void *arg, struct str host, const struct policy *policy);
    void (*drain)(void *arg); /* an admin wants this machine to drain and end */
    void *arg;
};

struct questions;
struct questions *questions_create(const struct questions_options *options);
void questions_tick(struct questions *questions); /* each second */

#endif
