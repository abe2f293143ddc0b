/*
 * The jobs that a rehearsal looks at. Everything here reads: jobs are peeked at with LRANGE and
 * ZRANGE, senders and inboxes are drawn from a few random pages of their tables.
 */
#ifndef FEDPUSH_WORKER_SAMPLE_H
#define FEDPUSH_WORKER_SAMPLE_H

#include "admin/session.h"
#include "worker/trial.h"

enum { SAMPLE_MAX = 500, SAMPLE_MAX_CLASSES = 64, SAMPLE_MAX_SEEN = 100000 };

/* How much of the traffic is of one class, and what becomes of it. */
struct sample_class {
    char name[96]; /* "others" for what finds no place */
    uint64_t native;
    uint64_t handed_off;
    const char *reason; /* of a hand-off, or NULL */
};

struct sample {
    size_t wanted;
    size_t count;
    struct trial trials[SAMPLE_MAX];
    size_t class_count;
    struct sample_class classes[SAMPLE_MAX_CLASSES];
    uint64_t seen; /* real jobs, trials or not */
    struct json *json;
    struct table *jids; /* of what was seen */
};

void sample_init(struct sample *sample, size_t wanted);
void sample_clear(struct sample *sample);
/* What waits: the queue's consuming end (and that of `pull` when it is consumed), then the next
 * ones of `retry`. False: err. */
bool sample_waiting(struct sample *sample, struct session *session, struct err *err) FP_MUST_CHECK;
/* The same for what passes through the queue within so many seconds. */
bool sample_passing(struct sample *sample, struct session *session, unsigned seconds,
                    struct err *err) FP_MUST_CHECK;
/* Fills up with local senders and known inboxes of Mastodon's database. */
bool sample_pairs(struct sample *sample, struct session *session, struct postgres *postgres,
                  struct err *err) FP_MUST_CHECK;

#endif
