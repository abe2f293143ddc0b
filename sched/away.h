/*
 * Jobs of which this machine knows that they come later, although they were made earlier: booked or
 * parked in Redis, waiting for a key or a count, or in doubt. What their sender has for the same
 * inbox must not pass them (Undo behind its Follow). Pure; times are monotonic milliseconds, but
 * for `created_us`, which only orders.
 *
 * Another machine, or Ruby, may have taken one: so each is awaited for AWAY_GRACE_MS past the time
 * at which it was to come, and no longer. Of what is booked Redis knows more than we: it is asked
 * with each claim (away_heard), so that a machine hears of what others have booked, or called back.
 */
#ifndef FEDPUSH_SCHED_AWAY_H
#define FEDPUSH_SCHED_AWAY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    AWAY_MAX = 65536, /* jobs; more aren't remembered */
    AWAY_GRACE_MS = 10000,
};

struct away;
struct away *away_create(void); /* call sodium_init first */
void away_destroy(struct away *away);
/* It comes at `back_ms`: a new one, or one whose time has changed. */
void away_add(struct away *away, uint64_t pair, int64_t created_us, int64_t back_ms,
              int64_t now_ms);
/* It comes at its own time, even when all that is booked at its host is called back. */
void away_uncalled(struct away *away, uint64_t pair, int64_t created_us);
/* It is booked for then, as Redis says; nothing when it has come by now. */
void away_move(struct away *away, uint64_t pair, int64_t created_us, int64_t back_ms);
void away_back(struct away *away, uint64_t pair, int64_t created_us); /* it came */

/* A booked job, as Redis knows it. */
struct away_booked {
    int64_t created_us;
    int64_t back_ms;
};
/* These of the pair are booked, and no others: but for those of which we don't know yet that their
 * booking has reached Redis. */
void away_heard(struct away *away, uint64_t pair, const struct away_booked *booked, size_t count,
                int64_t now_ms);
/*
 * Until when an older one of the pair is awaited, INT64_MIN: none is. What went away before
 * `emptied_ms` was called back then: it is awaited no longer than from that.
 */
int64_t away_until_ms(const struct away *away, uint64_t pair, int64_t created_us,
                      int64_t emptied_ms, int64_t now_ms);
/* Forgets those that aren't awaited any more; returns how many are left. */
unsigned away_sweep(struct away *away, int64_t now_ms);

#endif
