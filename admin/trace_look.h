/*
 * Looks for the jobs of one activity: in the queues, in the claims of all machines, in `retry`,
 * `schedule` and `dead`; in this order, which is the one that jobs move in. Redis searches, in
 * steps of a few hundred entries, and answers with those that have the id somewhere.
 */
#ifndef FEDPUSH_ADMIN_TRACE_LOOK_H
#define FEDPUSH_ADMIN_TRACE_LOOK_H

#include "admin/session.h"
#include "admin/trace_ids.h"

/* Entries of a place that are looked at, at most. */
enum { TRACE_MAX_ENTRIES = 1000000, TRACE_STEP = 250 };

enum trace_place {
    TRACE_PUSH = 0,
    TRACE_PULL,
    TRACE_HELD,
    TRACE_RETRY,
    TRACE_SCHEDULE,
    TRACE_DEAD,
    TRACE_PLACES
};

struct trace_job {
    enum trace_place place;
    struct str inbox;   /* as given: what strangers wrote */
    double due_s;       /* of `retry` and `schedule`; of `dead`, when it got there */
    struct str machine; /* TRACE_HELD: the identity */
    struct str error;   /* of its latest failure, or empty */
    int64_t failures;
};

struct trace_look {
    struct session *session;
    const struct trace_ids *ids;
    void (*found)(void *arg, const struct trace_job *job); /* its texts are borrowed */
    void (*progress)(void *arg, double share);             /* 0 to 1; NULL: not told */
    void *arg;
    bool cut; /* a place had more entries than are looked at */
};

/* False with err filled when Redis doesn't answer. */
bool trace_look(struct trace_look *look, struct err *err) FP_MUST_CHECK;

#endif
