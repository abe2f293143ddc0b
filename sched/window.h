/*
 * How many deliveries a host gets at once, and how soon one after another: additive increase,
 * multiplicative decrease, by epochs. Pure.
 *
 *   - It starts at 2 and grows by one for each window's worth of successes while it is full and
 *     others wait: not while something else is the limit (the rate, the slots, an admin).
 *   - It is halved at most once an epoch: a failure counts only if its request started after the
 *     last counted one came back, so that the 32 errors of one restart are one failure.
 *   - At a window of one, a host that pushes back (429, 503) gets a gap between two starts, doubled
 *     each time and slowly taken back: a host that takes a request a minute is asked once a minute.
 *   - Retry-After holds everything back until then.
 *   - After five idle minutes it is at most 4 again: what was true then need not be now.
 */
#ifndef FEDPUSH_SCHED_WINDOW_H
#define FEDPUSH_SCHED_WINDOW_H

#include <stdbool.h>
#include <stdint.h>

enum {
    WINDOW_FIRST = 2,
    WINDOW_REST = 4, /* at most, after WINDOW_IDLE_MS without a start */
    WINDOW_IDLE_MS = 300000,
    WINDOW_FIRST_GAP_MS = 250,
    WINDOW_MAX_GAP_MS = 120000,
    WINDOW_MAX_RETRY_AFTER_MS = 6 * 3600 * 1000,
};

struct window {
    unsigned size;         /* at least 1 */
    unsigned credit;       /* successes towards the next place */
    uint32_t gap_ms;       /* between two starts; 0: none */
    int64_t counted_ms;    /* when the last counted failure came back */
    int64_t started_ms;    /* the last start */
    int64_t not_before_ms; /* Retry-After */
};

void window_init(struct window *window, int64_t now_ms);
/* A request of the host starts. */
void window_started(struct window *window, int64_t now_ms);
/* One succeeded; `limited`: others waited for a place of it meanwhile. `most`: it grows no further.
 */
void window_succeeded(struct window *window, bool limited, unsigned most);
/* One that started at `started_ms` failed: a connection error, a time-out, 429 or 503. Returns
 * whether it counted. `pushed_back`: it was 429 or 503. */
bool window_failed(struct window *window, int64_t started_ms, bool pushed_back, int64_t now_ms);
/* Nothing for so long (Retry-After); longer than WINDOW_MAX_RETRY_AFTER_MS is cut, an earlier end
 * never shortens a later one. */
void window_hold(struct window *window, int64_t hold_ms, int64_t now_ms);
/* The earliest time of the next start, at or before now when there is nothing to wait for. */
int64_t window_opens_ms(const struct window *window);

#endif
