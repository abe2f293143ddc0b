/*
 * What became of the latest attempts, for `fedpush trace`: which inboxes an activity went to. A
 * ring in memory, of at most RECENT_OUTCOMES outcomes and RECENT_BYTES; the oldest goes. Activities
 * are told apart by a keyed hash of their id, inboxes are kept once each.
 */
#ifndef FEDPUSH_SCHED_RECENT_H
#define FEDPUSH_SCHED_RECENT_H

#include "sched/health.h"
#include "sched/job.h"

enum {
    RECENT_OUTCOMES = 65536,
    RECENT_BYTES = 6 * 1024 * 1024, /* the ring's own two included */
    RECENT_MAX_ID_BYTES = 2048,
};

/* The id of a JSON object, as it stands there: found without parsing more than comes before it;
 * empty when there is none, or no plain one. Borrows `body`, or with escapes in it, `text`. */
struct str recent_id_of(struct str body, char text[RECENT_MAX_ID_BYTES]);
/* The same of a job's activity; borrows `text`. */
struct str recent_id_of_job(const struct job *job, char text[RECENT_MAX_ID_BYTES]);

struct recent;
struct recent *recent_create(void); /* call sodium_init first */
void recent_destroy(struct recent *recent);
/* What an activity is known by here; 0: it has no id. Posts to many inboxes have one body: it is
 * looked through once as long as no other comes between. */
uint64_t recent_activity(struct recent *recent, const struct job *job);
uint64_t recent_activity_of_id(const struct recent *recent, struct str id);
void recent_add(struct recent *recent, uint64_t activity, const struct health_event *event);
size_t recent_count(const struct recent *recent);
size_t recent_bytes(const struct recent *recent);

struct recent_outcome {
    struct str inbox; /* borrowed for the call */
    enum health_result result;
    uint16_t status; /* 0: no answer */
    int64_t at_ms;   /* Unix, by our clock */
};
typedef void recent_fn(void *arg, const struct recent_outcome *outcome);
/* The latest outcome of each inbox, the newest first. */
void recent_each(struct recent *recent, uint64_t activity, recent_fn *fn, void *arg);

#endif
