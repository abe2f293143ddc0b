/*
 * Claims whose attempt failed in transport at a host that was good until now: they wait until it
 * can be told whether it was the host or us (sched/suspicion.h), so that our own trouble burns no
 * retry.
 */
#ifndef FEDPUSH_SCHED_DOUBTS_H
#define FEDPUSH_SCHED_DOUBTS_H

#include "base/message.h"
#include "sched/lane.h"

enum { DOUBTS_MAX = 2048 };

struct doubts;
struct doubts *doubts_create(void);
/* Claims are the caller's. */
void doubts_destroy(struct doubts *doubts);
/* Takes a claim (CLAIM_NEW; it becomes CLAIM_DOUBT) and a copy of its outcome. False: there are
 * DOUBTS_MAX already, and nothing was taken. */
bool doubts_add(struct doubts *doubts, struct claim *claim, const struct message_outcome *outcome,
                int64_t now_ms) FP_MUST_CHECK;
/*
 * The next claim about which there is no doubt any more (it becomes CLAIM_NEW), or NULL. Whose
 * fault it was goes to *verdict; *outcome borrows memory that stands until the next call.
 */
struct claim *doubts_next(struct doubts *doubts, struct lanes *lanes, int64_t now_ms,
                          enum doubt *verdict, struct message_outcome *outcome);
/* Takes this claim out: it becomes CLAIM_NEW. */
void doubts_remove(struct doubts *doubts, struct claim *claim);
void doubts_forget(struct doubts *doubts); /* all of them; the claims are gone */
unsigned doubts_count(const struct doubts *doubts);

#endif
