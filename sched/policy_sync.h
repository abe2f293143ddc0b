/*
 * Keeps policies and the audit in PostgreSQL (fedpush.domain_policy, fedpush.audit), and brings
 * back to Redis what it has lost. Each machine compares both each 30 s and after each change: of a
 * name the latest version wins on either side, so that all may do it at once, and again. While
 * PostgreSQL is away, Redis alone counts.
 */
#ifndef FEDPUSH_SCHED_POLICY_SYNC_H
#define FEDPUSH_SCHED_POLICY_SYNC_H

#include "base/clock.h"
#include "base/policy.h"
#include "base/postgres.h"
#include "sched/keys.h"
#include "sched/script.h"

/* Orders that were taken back, or are over, are known for so long. */
enum { POLICY_SYNC_FORGET_S = 7 * 24 * 3600 };

struct policy_sync_options {
    const struct clock *clock;
    struct redis *redis;
    const struct keys *keys;
    struct postgres *postgres;
};

struct policy_sync;
struct policy_sync *policy_sync_create(const struct policy_sync_options *options);
void policy_sync_destroy(struct policy_sync *sync); /* NULL is fine */
/* Compare soon: something has changed. */
void policy_sync_wanted(struct policy_sync *sync);
/* Each second, with all that Redis has. */
void policy_sync_tick(struct policy_sync *sync, const struct policy_book *book);
/* Entries of the audit wait in Redis. */
void policy_sync_audit(struct policy_sync *sync);
/* Gathers what Redis has lost; policy_sync_send sends it. */
void policy_sync_bring_back(struct policy_sync *sync, const struct policy_entry *entry);
void policy_sync_send(struct policy_sync *sync);

#endif
