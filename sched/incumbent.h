/*
 * Which Sidekiq runs here: it decides the units of times, the jitter of retries, the pace of the
 * heartbeat and the names of metrics. Mastodon may be upgraded or rolled back under a running
 * fedpush, so what runs is looked at each five seconds. In order: FEDPUSH_SIDEKIQ_VERSION;
 * the live process that was started last (`version` in its info from Sidekiq 7 on; 6 has neither
 * `version` nor `weights` there), remembered when all of them are gone; the form of created_at in
 * the job taken last (an integer from Sidekiq 8 on); the Sidekiq of Mastodon's version.
 */
#ifndef FEDPUSH_SCHED_INCUMBENT_H
#define FEDPUSH_SCHED_INCUMBENT_H

#include "base/redis.h"
#include "sched/keys.h"

struct incumbent_version {
    int major; /* from 8 on: times are integers in milliseconds */
    int minor;
    char text[32];
};
/* "8.0.9"; what follows the second number is not judged. False: not of that form, or before 6. */
bool incumbent_version_parse(struct incumbent_version *version, struct str text) FP_MUST_CHECK;

enum incumbent_source {
    INCUMBENT_SET = 0, /* FEDPUSH_SIDEKIQ_VERSION */
    INCUMBENT_PROCESS,
    INCUMBENT_JOB,
    INCUMBENT_MASTODON,
};

/* What speaks for which version. */
struct incumbent_evidence {
    bool set; /* `configured` is FEDPUSH_SIDEKIQ_VERSION's, else by Mastodon's version */
    struct incumbent_version configured;
    bool process_seen;
    double process_started_s;
    struct incumbent_version process_version;
    char process[128]; /* "HOST:PID" */
    bool job_seen;     /* since the last look that saw a process */
    bool job_integer_ms;
};
void incumbent_evidence_init(struct incumbent_evidence *evidence, const char *configured, bool set);
/* A member of `processes` with its `info` (JSON): kept when it is a Sidekiq, not a fedpush, and
 * started after the one that is kept. */
void incumbent_see_process(struct incumbent_evidence *evidence, struct str identity,
                           struct str info);
enum incumbent_source incumbent_decide(const struct incumbent_evidence *evidence,
                                       struct incumbent_version *version);
/* Appends "8.0.9, seen in vm:1234". */
void incumbent_describe(const struct incumbent_evidence *evidence, struct buf *out);

struct incumbent;
/* All borrowed. Until the first look it is the configured one. */
struct incumbent *incumbent_create(struct redis *redis, const struct keys *keys,
                                   const char *configured, bool set);
void incumbent_destroy(struct incumbent *incumbent); /* after `redis` */
/* Another Mastodon has this one: from the next look on it is the configured one. */
void incumbent_configure(struct incumbent *incumbent, const char *configured);
/* Looks at the processes now, unless a look is under way; logs a change. */
void incumbent_look(struct incumbent *incumbent);
/* A job came from the queue that never failed before, so that its client made it lately. */
void incumbent_saw_job(struct incumbent *incumbent, bool integer_ms);
/* Lives as long as the incumbent and follows what is found. */
const struct incumbent_version *incumbent_version(const struct incumbent *incumbent);
/* The same with how it is known, as incumbent_describe; until the next look. */
struct str incumbent_said(const struct incumbent *incumbent);

#endif
