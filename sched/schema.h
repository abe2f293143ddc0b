/*
 * Schema `fedpush`: versioned, made and upgraded by `fedpush setup`, idempotent, without superuser.
 * No foreign key, view, trigger or function touches `public`. Tables:
 * fedpush.schema_version(version, applied_at), fedpush.inbox_health(inbox_url PK, host, …),
 * fedpush.domain_health(host PK, …), fedpush.domain_policy(domain PK, version, policy: as in
 * base/policy.h), fedpush.audit(id PK, at, who, action, domain, detail), and the history, all times
 * UTC, latency: attempts by total_ms in COUNTS_BUCKETS (counts.h):
 * fedpush.domain_hourly(host, hour PK, hours: 1, or 24 for a day that was rolled up, delivered,
 * retried, rejected, exhausted, sent_bytes, latency), fedpush.fleet_minutely(minute, machine PK,
 * the same counts, handed_off, and the highest of queue_length, oldest_age_ms, in_flight,
 * open_circuits), fedpush.fleet_hourly(hour, machine PK, the same), fedpush.domain_error(host,
 * error PK, status, count, first_at, last_at): at most HISTORY_ERRORS a host.
 */
#ifndef FEDPUSH_SCHED_SCHEMA_H
#define FEDPUSH_SCHED_SCHEMA_H

#include "base/postgres.h"

enum { SCHEMA_VERSION = 3 };

typedef void schema_fn(void *arg, enum fp_err code, const char *message, int version);
/* Creates or upgrades; each migration is one transaction in one statement string. fn once, from the
 * loop. */
void schema_setup(struct postgres *postgres, schema_fn *fn, void *arg);
/* Reads the version (0: none) and checks, with has_table_privilege, what a run needs: FP_DENIED's
 * message is the GRANT to run. */
void schema_check(struct postgres *postgres, schema_fn *fn, void *arg);

#endif
