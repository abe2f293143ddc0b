/*
 * A token bucket: so many starts a second, with a burst of a tenth of a second. Pure.
 */
#ifndef FEDPUSH_SCHED_RATE_H
#define FEDPUSH_SCHED_RATE_H

#include <stdbool.h>
#include <stdint.h>

struct rate {
    double per_s; /* 0: no limit */
    double tokens;
    int64_t at_ms;
};

/* From now on so many a second; the tokens at hand stay, within the burst. */
void rate_set(struct rate *rate, double per_s, int64_t now_ms);
/* Whether there is a token. */
bool rate_has(struct rate *rate, int64_t now_ms);
/* Takes it, if there is one. */
bool rate_take(struct rate *rate, int64_t now_ms);
/* When the next token will be there: now or earlier when there is one. */
int64_t rate_next_ms(const struct rate *rate, int64_t now_ms);

#endif
