/*
 * Names in Redis. Sidekiq's own are as Sidekiq spells them; ours begin with "fedpush:". With
 * REDIS_NAMESPACE (Mastodon up to 4.3) every name has that prefix.
 *
 * fedpush:identities  sorted set: identity -> Redis TIME of its last beat in seconds; <= 0: it is
 *                     condemned, its claims are being recovered
 * fedpush:claimed:ID  hash: field "seq" the counter, fields "1", "2", ... the claims:
 *                     "ORIGIN\nJOB", JOB the job's own bytes, ORIGIN "q" (of queue:push), "p" (of
 *                     queue:pull), or "r<score>" / "s<score>" (a due entry of `retry` / `schedule`)
 * fedpush:wait:ID     list: jobs that BLMOVE took from queue:push, or that other machines have put
 *                     there, since this one has older ones of the same sender and inbox; the next
 *                     claim drains it
 * fedpush:held:ID     hash: sender and inbox (pair.h) -> "SEQ WAITING PASSES": the latest claim of
 *                     such a job in this machine's hands (0: none), how many wait in that list, and
 *                     how often these came from list to list (left out at the end when 0)
 * fedpush:ledger:ID   hash: "claimed" and each word of ledger.h -> how many claims; when the
 *                     identity ends it is added to fedpush:ledger
 * fedpush:recoveries  hash: jid -> "<count> <unix seconds>", with " alone" behind it while it is so
 * fedpush:schemes     sorted set: "rfc9421 ORIGIN", "cavage ORIGIN" or "vain ORIGIN" -> Redis TIME
 *                     at which a second knock showed it
 * fedpush:circuits    sorted set: host -> Redis TIME, in microseconds, of the last change of its
 *                     circuit: the log that each machine reads (fleet.lua)
 * fedpush:circuit     hash: host -> "open OPENED_MS PROBE_MS BACKOFF_MS" (Unix milliseconds of
 *                     Redis' TIME), or "closed", for an hour; "~HOST" -> "held UNTIL_MS", until
 *                     then: it has asked for time
 * fedpush:questions   set: hosts, or "trace URI" of activities, that an admin asks about, for ten
 *                     seconds; at most 64
 * fedpush:answers:QUESTION  hash: identity -> words, for half a minute (questions.h)
 * fedpush:said:HOST   hash: identity -> the same words of a host as JSON, for as long
 * fedpush:machines    hash: identity -> what that machine says of itself (machine_report.h)
 * fedpush:drain:ID    string, for a minute: an admin wants this machine to drain and end
 * fedpush:probe:HOST  string: the token of the probe that is under way; expires
 * fedpush:reserved    hash: host -> Unix milliseconds at which its last booked job comes back;
 *                     "HOST called" -> the same of those that were called back
 * fedpush:pulses      hash: identity -> "SAID SUSPICIOUS WANTED HELD LATER PROXIES": Redis TIME in
 *                     microseconds of its last pulse, 1 when it takes no jobs or suspects itself,
 *                     else 0, and of FEDPUSH_MAX_RATE what it wants, what it holds for three
 *                     seconds, and what after these; the names of FEDPUSH_PROXIES, if any
 * fedpush:booked:HOST sorted set: "r<score>" or "s<score>", where in `retry` or `schedule` a job of
 *                     the host is booked -> that score, for three days
 * fedpush:pairs       hash: sender and inbox (pair.h) -> "CREATED SCORE ...", in microseconds, of
 *                     its booked jobs, in the order in which they are to come back
 * fedpush:policies   hash: name -> "VERSION TEXT" (base/policy.h), ":version" -> that of the latest
 *                     change: Redis TIME in microseconds
 * fedpush:pauser      string: who has paused the fleet, for the page
 * fedpush:audit       hash: id -> what an admin did, a line each: version, who, action, name,
 *                     detail; waits here until it stands in PostgreSQL
 * fedpush:session:HASH  string: who is signed in to the page (admin/logins.h), by the SHA-256 of
 *                     the cookie's token; expires
 * fedpush:logouts     hash: who -> Redis TIME in microseconds of "log out everywhere": what was
 *                     signed in before counts no more
 * fedpush:tokens      hash: SHA-256 of a token of the API -> whose it is (admin/tokens.h)
 * fedpush:attempts, fedpush:attempts:ADDRESS  of the admin processes (admin/attempts_store.h)
 * fedpush:alerter, fedpush:alerts, fedpush:alerts:over  of the admin processes
 *                     (admin/alert_store.h)
 */
#ifndef FEDPUSH_SCHED_KEYS_H
#define FEDPUSH_SCHED_KEYS_H

#include "base/str.h"

struct keys {
    char *prefix; /* "" or "NAMESPACE:" */
    char *identities;
    char *recoveries;
    char *ledger;
    char *schemes;
    char *circuits;
    char *circuit;
    char *reserved;
    char *pairs;
    char *machines;
    char *questions;
    char *pulses;
    char *policies;
    char *audit;
    char *logouts;
    char *tokens;
    char *queues;     /* Sidekiq's set of queue names */
    char *queue_push; /* "queue:push" */
    char *queue_pull; /* "queue:pull" */
    char *retry;
    char *schedule;
    char *dead;
    char *processes;
};

void keys_init(struct keys *keys, struct str redis_namespace);
void keys_clear(struct keys *keys);
/* New strings; free(). */
char *keys_claimed(const struct keys *keys, struct str identity);
char *keys_wait(const struct keys *keys, struct str identity);
char *keys_ledger(const struct keys *keys, struct str identity);
char *keys_probe(const struct keys *keys, struct str host);
char *keys_booked(const struct keys *keys, struct str host);
char *keys_held(const struct keys *keys, struct str identity);
char *keys_session(const struct keys *keys, struct str hash);
char *keys_drain(const struct keys *keys, struct str identity);
char *keys_answers(const struct keys *keys, struct str host);
char *keys_said(const struct keys *keys, struct str host);
char *keys_queue(const struct keys *keys, struct str queue_name);
char *keys_prefixed(const struct keys *keys, struct str name);

#endif
