/*
 * Goes through everything that comes before a request is sent, for each trial of a sample: is its
 * host available, does it resolve to an address that may be connected to, does its sender's key
 * sign, and does the signature hold. Nothing is written, and no remote host is spoken to.
 */
#ifndef FEDPUSH_WORKER_REHEARSAL_H
#define FEDPUSH_WORKER_REHEARSAL_H

#include "worker/sample.h"

enum { REHEARSAL_MAX_PROBLEMS = 16 };

struct problem {
    const char *subject;
    char text[500]; /* what is wrong, and the remedy */
};

struct rehearsal {
    struct session *session;
    struct sample *sample;
    struct postgres *postgres; /* Mastodon's; NULL: it doesn't answer, which is a problem by then */
    size_t problem_count;
    struct problem problems[REHEARSAL_MAX_PROBLEMS];
};

void rehearsal_run(struct rehearsal *rehearsal);
/* Notes a problem; those past the last place are dropped. */
void rehearsal_problem(struct rehearsal *rehearsal, const char *subject, const char *format, ...)
    FP_PRINTF(3, 4);
size_t rehearsal_count(const struct rehearsal *rehearsal, enum trial_fate fate);

#endif
