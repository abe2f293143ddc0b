/*
 * What Redis says about the fleet: identities and their claims, queues, retries, and who consumes
 * the hand-off queues. Used by `status` and `check`.
 */
#ifndef FEDPUSH_ADMIN_SURVEY_H
#define FEDPUSH_ADMIN_SURVEY_H

#include "admin/session.h"
#include "sched/incumbent.h"

enum { SURVEY_MAX_IDENTITIES = 200 };

struct survey_identity {
    char name[300];
    double beat_age_s;
    int64_t claims;
    bool listed; /* in Sidekiq's `processes`: only these hear Quiet and Stop of the Web UI */
};
bool survey_is_alive(const struct survey_identity *identity); /* its beat is at most 60 s old */

struct survey {
    double redis_now_s;
    size_t identity_count;
    struct survey_identity identities[SURVEY_MAX_IDENTITIES];
    int64_t live;        /* identities that are alive */
    int64_t dead_claims; /* jobs held by the others */
    int64_t push_length;
    double push_age_s;   /* of the oldest waiting job; 0 when empty */
    int64_t pull_length; /* pull's members are 0 when it isn't consumed */
    double pull_age_s;
    int64_t retry_count, schedule_count, dead_count;
    int64_t open_circuits;
    int64_t handoff_length;
    int64_t handoff_consumers; /* live Sidekiq processes, fedpush apart, that serve the hand-off
                                  queue */
    int64_t handoff_pull_length;
    int64_t handoff_pull_consumers;
    int64_t push_consumers;            /* the same for `push` */
    struct incumbent_evidence sidekiq; /* which one a machine that starts now would find */
    char sidekiq_said[256]; /* which one the machines say that they found; "": none does */
    char policy[64];        /* maxmemory_policy */
    char redis_version[32];
    int64_t used_bytes; /* of Redis' memory; -1: unknown */
    int64_t max_bytes;  /* 0: no limit */
};

/* False with err filled when Redis doesn't answer. */
bool survey_take(struct survey *survey, struct session *session, struct err *err) FP_MUST_CHECK;
/* Appends which Sidekiq runs, and how that is known: "8.0.9, seen in vm:1234". As the machines use
 * it; while none lives, as one would. */
void survey_put_sidekiq(const struct survey *survey, struct buf *out);

#endif
