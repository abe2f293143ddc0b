/*
 * A Sidekiq job as it stands in Redis: fields are found in the original bytes, which are kept; the
 * retry fields are spliced into them, so that nothing else of the job changes (ids above 2^53, key
 * order, unknown fields).
 */
#ifndef FEDPUSH_SCHED_JOB_H
#define FEDPUSH_SCHED_JOB_H

#include "base/json.h"
#include "base/str.h"

enum { JOB_MAX_PAYLOAD_BYTES = 3 * 1024 * 1024, JOB_MAX_RETRIES_DEFAULT = 25 };

enum job_kind {
    JOB_DELIVERY = 0, /* native: all fields below are set */
    JOB_HANDOFF, /* well-formed enough to be somebody else's: byte for byte to the hand-off queue */
    JOB_MALFORMED, /* not a JSON object with a string class and an args array: Ruby could not run it
                      either: dead set */
};

/* Slices borrow the payload, but for `inbox_url`, which is decoded into the job's own memory. */
struct job {
    enum job_kind kind;
    bool has_lock;        /* has lock_digest */
    bool has_retry_queue; /* as Ruby sees it: neither absent nor null nor false */
    bool low_priority;
    bool bypass_availability;
    bool synchronize_followers; /* wants Collection-Synchronization */
    bool dead;                  /* `dead` isn't false: exhausted jobs go to the dead set */
    bool has_failed_at;
    bool moved; /* pushed long after it was made: a poller found it due in a sorted set */
    bool integer_ms_times; /* created_at is an integer above 1e11: written by Sidekiq 8 */
    const char *reason;    /* why it is handed off or malformed: a constant for logs and counters */
    struct str payload;
    struct str class_name; /* decoded; "" when absent */
    char jid[64];          /* decoded; "" when absent or longer */
    int64_t account_id;
    struct str body_json;   /* args[0] as it stands, quotes included; job_put_body decodes it */
    struct str inbox_url;   /* args[2] decoded, as given */
    int64_t max_retries;    /* from `retry`: n, true = 25, false = -1 (dropped on failure),
                               absent/null: the class's own (16 or 8) */
    int64_t retry_count;    /* -1: never failed */
    struct str retry_queue; /* raw bytes of the decoded name, or empty */
    double created_at_s;    /* 0 when absent; units recognized */
    char *memory;
};

/*
 * Never fails: what isn't understood is JOB_HANDOFF or JOB_MALFORMED, and nothing is judged more
 * strictly than Ruby would. Handed off: other classes (decided by `class` alone, MigratedFollow
 * included), jobs with lock_digest, options other than synchronize_followers and
 * bypass_availability, sign_with, args of another shape, an account id that isn't a 64-bit integer,
 * payloads above JOB_MAX_PAYLOAD_BYTES, a `retry` or `retry_for` that we don't know, `bid`,
 * `backtrace` truthy, `log_level`, `profile`. `json` is scratch; `payload` must outlive the job.
 */
void job_parse(struct job *job, struct json *json, struct str payload);
void job_clear(struct job *job);
/* Appends the POST body of a JOB_DELIVERY. It isn't kept decoded: what waits would need twice the
 * memory. It has at most body_json.len bytes. */
void job_put_body(const struct job *job, struct buf *out);
/* When a job that stands in a queue was put there: Unix seconds; 0: it doesn't say. */
double job_enqueued_at_s(struct str payload);

/* The jid alone, by the cheapest means (no parse): for jobs under suspicion. False when it isn't
 * plainly there. */
bool job_peek_jid(struct str payload, char jid[64]);

struct job_failure {
    struct str queue;       /* the queue it came from (bare name), unless the job has retry_queue */
    struct str error_class; /* Ruby class name */
    struct str error_message; /* at most 10,000 characters are kept; invalid UTF-8 scrubbed */
    int64_t now_us;           /* wall clock */
    bool integer_ms; /* failed_at/retried_at as Sidekiq 8 writes them, else float seconds */
};
/*
 * Appends the payload as Sidekiq's process_retry would write it: queue replaced where it stands,
 * error_message, error_class, failed_at and retry_count 0 at the first failure, retry_count + 1 and
 * retried_at later (each replaced where it stands, appended at the end in Sidekiq's order when
 * new). *count_out is the new retry_count.
 */
void job_put_retry(struct buf *out, struct json *json, const struct job *job,
                   const struct job_failure *failure, int64_t *count_out);
/* Appends the payload with enqueued_at set to now in the given unit (appended when absent): what
 * Sidekiq's poller pushes. */
void job_put_enqueued(struct buf *out, struct json *json, struct str payload, int64_t now_us,
                      bool integer_ms);
/*
 * Appends the payload with retry_queue set. A locked job that is handed off and fails is thereby
 * retried into `queue`, from which its digest was made, instead of the queue it was handed to:
 * sidekiq-unique-jobs would make another digest of that, and the lock would outlive the job.
 */
void job_put_retry_queue(struct buf *out, struct json *json, struct str payload, struct str queue);
/* Appends the payload as an entry of the dead set with these error fields, without parsing it;
 * untouched when it doesn't look like an object with members. */
void job_put_dead(struct buf *out, struct str payload, struct str error_class, struct str message);

/* The queue a due entry of `retry`/`schedule` goes to: its `queue` member is decoded and appended
 * to *out, "default" when it is no string. False: not a JSON object, or one beyond our limits. */
bool job_queue(struct json *json, struct str payload, struct buf *out) FP_MUST_CHECK;

#endif
