/*
 * Schema `fedpush`: versioned, made and upgraded by `fedpush setup`, idempotent, without superuser.
 * No foreign key, view, trigger or function touches `public`. Tables:
 * fedpush.schema_version(version, applied_at), fedpush.inbox_health(inbox_url PK, host, …),
 * fedpush.domain_health(host PK, …), fedpush.domain_policy(domain PK, version, policy: as in
 * base/policy.h), fedpush.audit(id PK, at, who, action, domain, detail).
 */
#ifndef FEDPUSH_SCHED_SCHEMA_H
#define FEDPUSH_SCHED_SCHEMA_H

#include "base/postgres.h"

enum { SCHEMA_VERSION = 2 };

typedef void schema_fn(void *arg, enum fp_err code, const char *message, int version);
/* Creates or upgrades; each migration is one transaction in one statement string. fn once, from the
 * loop. */
void schema_setup(struct postgres *postgres, schema_fn *fn, void *arg);
/* Reads the version (0: none) and checks, with has_table_privilege, what a run needs: FP_DENIED's
 * message is the GRANT to run. */
void schema_check(struct postgres *postgres, schema_fn *fn, void *arg);

#endif
