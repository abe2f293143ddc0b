/*
 * What the files that are the lanes share: lane.c (their life and what they learn), lane_ring.c
 * (which of them may go), lane_turn.c (whose turn it is), lane_pairs.c (what goes in order),
 * lane_room.c (how many may wait), lane_book.c (what comes back later), lane_call.c (what comes
 * back sooner), lane_known.c (what is kept of those that are forgotten), lane_words.c (why). Nobody
 * else includes this.
 */
#ifndef FEDPUSH_SCHED_LANE_INSIDE_H
#define FEDPUSH_SCHED_LANE_INSIDE_H

#include "sched/lane.h"
#include "sched/rate.h"

enum {
    LANE_SHARE = 16,        /* of the look-ahead */
    LANE_SUSPECT_SHARE = 4, /* of slots and look-ahead */
    BOOKED_SOON_MS = 1000,  /* what is booked for so soon is as good as here */
    WHEEL_TICK_MS = 32,
    WHEEL_BUCKETS = 256,
    CALL_BUCKETS = 64,
    KNOWN_HOSTS = 65536,
};

TAILQ_HEAD(lane_ring, lane);

struct worker_rings {
    struct lane_ring of[PLACE_COUNT];
    unsigned turns;
    unsigned low_turns; /* of these: of low jobs */
};

/* What a class of jobs holds in all lanes together. */
struct lane_share {
    unsigned waiting;
    unsigned slow_waiting; /* in lanes that are suspect or held back */
    unsigned in_flight;
    unsigned suspect_in_flight;
};

/* Sleeping lanes by the time at which to look at them again; one that sleeps past the wheel's turn
 * is looked at once a turn. */
struct lane_wheel {
    struct lane_ring buckets[WHEEL_BUCKETS];
    int64_t tick; /* the next one to look at */
    unsigned count;
};

/* Lanes of which something may be booked, by the tick at which to look at them again. */
struct lane_calls {
    struct lane_ring buckets[CALL_BUCKETS];
    struct lane_ring due; /* who wasn't looked at in one tick goes first in the next */
    int64_t tick;         /* the next one */
    int64_t began_ms;     /* the last one */
    unsigned looks;       /* in this tick */
    unsigned asked;
    unsigned moved; /* jobs that were called back */
    unsigned count; /* lanes that aren't LANE_CALL_NONE */
};

struct lanes {
    struct lane_options options;
    struct table *by_host;
    struct table *by_pair; /* the oldest of those that wait in lanes */
    uint64_t *known;       /* hashes of hosts */
    struct worker_rings *rings;
    struct lane_wheel wheel;
    struct lane_calls calls;
    struct lane_share shares[2]; /* [1]: of low jobs */
    unsigned ready[PLACE_COUNT];
    unsigned progressing;
    unsigned probeless; /* lanes whose probe has no job left */
    int64_t low_reserved_ms;
    struct rate rate;
    int64_t short_ms;  /* when tokens or slots were last wanting */
    unsigned starts;   /* since wanted_ms */
    bool limited;      /* and whether the rate has held one back */
    int64_t wanted_ms; /* when lanes_wanted was called */
    unsigned machines;
    int64_t unix_offset_ms;
    struct suspicion suspicion;
    struct away *away;
};

/* lane_ring.c. Puts the lane into its ring or to sleep, as its state says; every change of state
 * ends here. */
void lane_update(struct lanes *lanes, struct lane *lane, int64_t now_ms);
void lane_rings_init(struct lanes *lanes);
/* When a suspect host, of which nobody knows whether it answers at all, is taken for one that
 * doesn't: its jobs must not keep others' from being claimed. INT64_MAX: nothing of it is awaited.
 */
int64_t lane_silent_ms(const struct lane *lane);
unsigned lane_window(const struct lanes *lanes, const struct lane *lane);
/* When time allows the lane's next start; INT64_MAX: time alone never will. */
int64_t lane_opens_ms(const struct lanes *lanes, const struct lane *lane);
/* Low jobs leave a place free for the host's others, where it has more than one. */
bool lane_low_fits(const struct lanes *lanes, const struct lane *lane);
struct lane_ring *lane_ring_of(struct lanes *lanes, const struct lane *lane);
/* Off ring and wheel, for good. */
void lane_withdraw(struct lanes *lanes, struct lane *lane);

/* lane_room.c. How long its host or an admin lets it wait now; 0 while its circuit is open. */
int64_t lane_wait_ms(const struct lanes *lanes, const struct lane *lane, int64_t now_ms);
/* Between two starts, whoever wants it; 0: none. */
int64_t lane_gap_ms(const struct lane *lane);
/* It must wait for long, or between any two starts: what it holds keeps nobody from claiming. */
bool lane_is_held_back(const struct lanes *lanes, const struct lane *lane, int64_t now_ms);
/* How many may wait in it, for all that its host and admins say, when one arrives. */
unsigned lane_holds(const struct lanes *lanes, const struct lane *lane, int64_t now_ms);
/* And for all that the look-ahead allows. */
bool lane_has_room(const struct lanes *lanes, const struct lane *lane, const struct claim *claim,
                   int64_t now_ms);

/* lane_call.c. An earlier look at it may be due now. */
void lane_calls_init(struct lane_calls *calls);
void lane_call_update(struct lanes *lanes, struct lane *lane, int64_t now_ms);
void lane_call_withdraw(struct lanes *lanes, struct lane *lane);

/* lane.c */
void lane_count_in_flight(struct lanes *lanes, struct lane *lane, bool low, int change);

/* lane_turn.c */
bool lane_suspects_may(const struct lanes *lanes); /* they have slots left */

/* lane_pairs.c. Whether nothing of the pair is in flight; something starts, or has landed. */
bool lane_pair_is_free(const struct lane *lane, uint64_t pair);
void lane_pair_started(struct lane *lane, uint64_t pair);
void lane_pair_landed(struct lane *lane, uint64_t pair);
/* The claim begins to wait in a lane, in whichever of its lists; and no longer does. */
void lane_pair_waits(struct lanes *lanes, struct claim *claim);
void lane_pair_waited(struct lanes *lanes, struct claim *claim);
/* The oldest of its pair that waits; and the same, found at greater length. */
struct claim *lane_pair_first(const struct lanes *lanes, struct claim *claim);
struct claim *lane_pair_oldest(struct claim *claim);
/* Until when an older one of its pair is awaited; now or earlier: none is. */
int64_t lane_awaits_ms(const struct lanes *lanes, const struct lane *lane,
                       const struct claim *claim, int64_t now_ms);

/* lane_known.c. A lane is forgotten; and whether the host that one is made for was good then. */
void lane_keep_known(struct lanes *lanes, const struct lane *lane);
bool lane_take_known(struct lanes *lanes, struct str host);
uint64_t lane_hash(struct str host);

#endif
