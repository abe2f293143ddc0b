/*
 * How late a worker is: the time from a ping until its loop answers, at worst in the last seconds.
 * A worker that waits for slow hosts answers at once; one that has more to do than its processor
 * allows, or stands still, doesn't, and the scheduler claims less for it, so that another machine
 * takes the work. Pure.
 */
#ifndef FEDPUSH_SCHED_LAG_H
#define FEDPUSH_SCHED_LAG_H

#include <stdbool.h>
#include <stdint.h>

enum {
    LAG_TOLERATED_MS = 200,
    LAG_WINDOW_MS = 2000, /* what was worst is forgotten after one to two of these */
    LAG_LEAST = 32,       /* part of its slots that any worker keeps */
};

/* Zero: nothing known, not late. */
struct lag {
    int64_t asked_ms; /* monotonic: the ping that is unanswered; 0: none */
    int64_t window_ms;
    uint32_t worst_ms;  /* in this window */
    uint32_t before_ms; /* in the one before */
};

/* Several times a second: true when a ping with this time as its nonce shall be sent. */
bool lag_ask(struct lag *lag, int64_t now_ms);
void lag_answered(struct lag *lag, int64_t nonce_ms, int64_t now_ms);
uint32_t lag_ms(const struct lag *lag, int64_t now_ms);
/* How many of `slots` jobs a worker so late should be given: all up to LAG_TOLERATED_MS, a quarter
 * at twice that, a ninth at three times. */
unsigned lag_share(uint32_t lag_ms, unsigned slots);

#endif
