/*
 * From an attempt's outcome to what has to be written: ActivityPub::DeliveryWorker's outcome
 * matrix, by Mastodon's version. Pure.
 */
#ifndef FEDPUSH_SCHED_JUDGE_H
#define FEDPUSH_SCHED_JUDGE_H

#include "base/message.h"
#include "sched/availability.h"
#include "sched/health.h"
#include "sched/job.h"
#include "sched/verdict.h"

enum sentence {
    SENTENCE_DONE = 0, /* the job is over */
    SENTENCE_RETRY,    /* it failed: retry, or exhausted */
    SENTENCE_AGAIN,    /* no attempt was made: back to its lane */
    SENTENCE_WAIT,     /* its key can't be read, or no name be resolved now: wait and try again, no
                          attempt was made */
    SENTENCE_ASK, /* 401 to a suspended sender: ask whether it is gone for good, then judge again */
};

struct judgement {
    enum sentence sentence;
    enum track track;
    bool attempted; /* something was tried on the network: it counts for the lane */
    bool transport_failure;
    enum failure_kind failure; /* with transport_failure: what it says about the host */
    uint32_t retry_after_ms; /* SENTENCE_RETRY: the host wants no request before; 0: it said none */
    bool recorded;           /* it belongs into the health tables, as: */
    enum health_result result;
    struct str error_class; /* SENTENCE_RETRY */
    char error_message[MESSAGE_MAX_ERROR_BYTES + 64];
};

/* `sender_gone`: -1 not asked, 0 no, 1 yes. `url` is the inbox as given in the job. Slices borrow
 * `outcome`. */
void judge(struct judgement *judgement, const struct message_outcome *outcome,
           const struct mastodon_version *version, const struct job *job, int sender_gone);

#endif
