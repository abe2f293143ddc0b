/*
 * The circuit of one host: closed while it answers, open while it doesn't. Pure; times are Unix
 * milliseconds of Redis' clock, so that machines can share what they know (sched/fleet.h).
 *
 *   CLOSED --failures in a row, spaced--> OPEN --probe due, token won--> PROBING
 *   PROBING --failed--> OPEN, for twice as long       PROBING --answered--> CLOSED
 *   PROBING --it was our own fault, or the resolver's--> OPEN, for as long as before
 *   PROBING --no attempt was made, and no job is left--> OPEN, and a probe is due
 *
 * A probe may be overdue for hours: its host was paused, or fedpush, or down, or our own way out
 * cut. If it fails then, the circuit counts as opened by it: while nobody asked, nothing that waits
 * had its chance.
 *
 * What counts: a failure in transport, or an answer of 500 and above; any other answer is a sign of
 * life. Failures are spaced: one counts only if its request started after the last counted one came
 * back, and no request of a failing host starts sooner than the space after that (1 s, doubling to
 * 8 s). Five open it; three, when none of them left any doubt (refused, no such name, certificate
 * invalid).
 */
#ifndef FEDPUSH_SCHED_CIRCUIT_H
#define FEDPUSH_SCHED_CIRCUIT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/clock.h"

enum {
    CIRCUIT_FAILURES = 5,
    CIRCUIT_CERTAIN_FAILURES = 3,
    CIRCUIT_FIRST_SPACE_MS = 1000,
    CIRCUIT_LAST_SPACE_MS = 8000,
    CIRCUIT_FIRST_BACKOFF_MS = 30000,
    CIRCUIT_LAST_BACKOFF_MS = 3600000,
    CIRCUIT_OVERDUE_MS = 600000,
};

enum circuit_state { CIRCUIT_CLOSED = 0, CIRCUIT_OPEN, CIRCUIT_PROBING };

/* What an attempt did to it: what is not CIRCUIT_SAME concerns the other machines, too. */
enum circuit_event {
    CIRCUIT_SAME = 0,
    CIRCUIT_OPENED,
    CIRCUIT_REOPENED,
    CIRCUIT_CLOSED_AGAIN,
    CIRCUIT_UNPROVEN, /* the probe showed nothing: its token goes back */
};

struct circuit {
    enum circuit_state state;
    uint8_t failures; /* counted, in a row */
    uint8_t certain;  /* of these: without doubt */
    uint32_t backoff_ms;
    int64_t first_ms;   /* when the first of them came back */
    int64_t counted_ms; /* and the last */
    int64_t opened_ms;  /* OPEN, PROBING */
    int64_t probe_ms;   /* OPEN: when the next probe is due */
    int64_t due_ms;     /* OPEN, PROBING: when it was after the last failure, or by others' word */
    int64_t probed_ms;  /* OPEN, PROBING: when the last one failed, or before; 0: none is known */
};

/* An attempt that started at `started_ms` failed now. `hold_ms`: Retry-After, or 0. */
enum circuit_event circuit_failed(struct circuit *circuit, int64_t started_ms, bool certain,
                                  int64_t hold_ms, int64_t now_ms, const struct rng *rng);
/* The same while it may be our own fault: it is counted, but opens nothing. */
void circuit_doubted(struct circuit *circuit, int64_t started_ms, bool certain, int64_t now_ms);
enum circuit_event circuit_answered(struct circuit *circuit);
/* An attempt ended that says nothing about the host. If it was the probe, the next one is due after
 * the same time as this one was. */
enum circuit_event circuit_unproven(struct circuit *circuit, int64_t now_ms, const struct rng *rng);
/* The probe ended without an attempt, and nothing is left to make one with: the next one is due. */
void circuit_abandoned(struct circuit *circuit, int64_t now_ms);
/* The earliest time of the next attempt while it is closed, after failures. */
int64_t circuit_spaced_ms(const struct circuit *circuit);
/* A probe starts: from now on its attempt decides. Only while a probe is due. */
void circuit_probe(struct circuit *circuit);
/* What another machine has found out replaces what this one believed. It doesn't say when a probe
 * has failed; but none is made before its time, so that one has since that, if another time is set
 * for the next one. */
void circuit_adopt_open(struct circuit *circuit, int64_t opened_ms, int64_t probe_ms,
                        uint32_t backoff_ms, int64_t now_ms);
void circuit_adopt_closed(struct circuit *circuit);

#endif
