/*
 * What a machine says of itself in fedpush:machines: one JSON object, under its identity. Pure.
 * Readers leave out reports that are older than MACHINE_REPORT_LIVES_S, by Redis' TIME, or whose
 * identity isn't in fedpush:identities.
 *
 *   {"v":1,"at":Unix seconds by Redis' clock,"host":name,"version":fedpush's,"mastodon":"4.5.15",
 *    "sidekiq":"8.1.6, seen in
 * vm:1234","state":"starting"|"running"|"quiet"|"paused"|"fenced"|"draining","suspicious":false,
 *    "started_at":Unix seconds,"workers":2,
 *    "in_flight":jobs with the workers,"slots":how many they may have,"held":claims,
 *    "waiting":of these, in lanes,"lookahead":how many claims there may be,"lanes":hosts,
 *    "open_circuits":of these,"keys_waiting":claims whose key can't be read,"lag_ms":of the latest
 *    worker,"cpu":cores in use,"rss_bytes":of all processes,    (both null: unknown)
 *    "dns_failures":attempts, since the start, that our resolver let down,
 *    "recent":{"seconds":60,"delivered":0,"retried":0,"rejected":0,"exhausted":0},
 *    "totals":{"delivered":0,"retried":0,"rejected":0,"exhausted":0,"handed_off":0,"sent_bytes":0},
 *    "latency":[counts of COUNTS_BUCKETS, since the start],"postgres":null or what is wrong}
 */
#ifndef FEDPUSH_SCHED_MACHINE_REPORT_H
#define FEDPUSH_SCHED_MACHINE_REPORT_H

#include "sched/counts.h"

enum { MACHINE_REPORT_EACH_S = 2, MACHINE_REPORT_LIVES_S = 30, MACHINE_REPORT_BYTES = 8192 };

/* All borrowed. */
struct machine_report {
    int64_t at_ms; /* Unix, by Redis' clock */
    struct str host;
    const char *mastodon;
    struct str sidekiq; /* which one runs here, and how that is known (incumbent.h) */
    const char *state;
    bool suspicious;
    int64_t started_ms; /* Unix */
    unsigned workers;
    unsigned in_flight;
    unsigned slots;
    size_t held;
    unsigned waiting;
    unsigned lookahead;
    unsigned lanes;
    unsigned open_circuits;
    unsigned keys_waiting;
    uint32_t lag_ms;
    double cores;      /* negative: unknown */
    int64_t rss_bytes; /* negative: unknown */
    uint64_t recent[HEALTH_RESULTS];
    const struct counts *counts;
    uint64_t handed_off;
    const char *postgres; /* what is wrong; "": nothing */
};

/* Appends. */
void machine_report_put(struct buf *out, const struct machine_report *report);

#endif
