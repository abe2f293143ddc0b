/*
 * Lanes: one a host (normalized authority), each a FIFO of claims that wait for that host. Pure:
 * times and facts come in, the next claim to dispatch comes out.
 *
 *   - A lane has at most `host_window` jobs in flight, 1 while its host is suspect.
 *   - Ready lanes (something waits, window open) stand in a ring, one job a turn; each worker has
 * its own rings, since a host has one worker, and a worker without credit must not block the
 * others.
 *   - Suspect hosts (last outcome a transport failure, or no success ever) hold at most a quarter
 * of the slots while healthy hosts have work; else up to three quarters: a burst of posts finds
 * free slots even when black holes were all there was.
 *   - Fresh before retried, but each fourth turn of a lane is a retried job's.
 *   - Low jobs (claim->low: Mastodon's LowPriorityDeliveryWorker and whatever came from `pull`)
 * wait behind the others of their host, but for each sixteenth turn, and leave one place of its
 * window free for them. All hosts together, they hold at most an eighth of the slots, less what the
 * others have in flight, so that nobody waits for them in the workers either; but always a
 * thirty-second, and each sixteenth turn, while others could go.
 *   - What waits is bounded: a lane by a sixteenth of the look-ahead, all suspect lanes together by
 * a quarter. What exceeds that is booked on the lane's reservation clock and comes back later. Low
 * jobs have bounds (a lane the same, all together a quarter, suspect ones a sixteenth) and clocks
 * of their own, so that they take no place from the others.
 */
#ifndef FEDPUSH_SCHED_LANE_H
#define FEDPUSH_SCHED_LANE_H

#include "sched/claim.h"

/* The ring that a lane stands in while it is ready. */
enum lane_place {
    PLACE_NONE = 0,
    PLACE_HEALTHY,
    PLACE_SUSPECT,
    PLACE_LOW, /* only low jobs wait there */
    PLACE_LOW_SUSPECT,
    PLACE_COUNT
};

/* What an admin has ordered for a host. */
struct lane_limits {
    bool paused;         /* nothing leaves the lane */
    unsigned max_window; /* 0: no such order */
    int64_t
        min_gap_ms; /* between two jobs; 0: no such order. Whoever sends one lets the lane rest */
};

struct lane {
    TAILQ_ENTRY(lane) ring; /* of `place` */
    struct str host;        /* points into the lane's own memory */
    unsigned worker;        /* index of the worker that serves this host */
    struct claim_list fresh;
    struct claim_list retried;
    struct claim_list low;
    unsigned waiting; /* fresh and retried */
    unsigned low_waiting;
    unsigned in_flight; /* low ones included */
    unsigned low_in_flight;
    unsigned turns;
    enum lane_place place;
    bool suspect;
    bool tried; /* an attempt has ended: a suspect host that was never tried is only unknown */
    unsigned progressing; /* of `waiting`: what it will dispatch soon, at its pace */
    struct lane_limits limits;
    bool resting;        /* until min_gap_ms after its last job */
    bool blocked;        /* an answer about the host's availability is awaited */
    int64_t reserved_ms; /* monotonic: the end of what is booked */
    int64_t low_reserved_ms;
    uint32_t mean_ms; /* of its attempts, moving */
    int64_t touched_ms;
};

struct lane_options {
    unsigned workers;
    unsigned host_window;
    unsigned max_in_flight;
    unsigned lookahead_jobs;
};

struct lanes;
struct lanes *lanes_create(const struct lane_options *options);
/* Empty lanes only; claims are the caller's. */
void lanes_destroy(struct lanes *lanes);

/* The host's lane, made when it isn't there (suspect, as a host without any success is). */
struct lane *lanes_get(struct lanes *lanes, struct str host, int64_t now_ms);
/* What is known from earlier runs. */
void lanes_learn(struct lanes *lanes, struct str host, bool suspect, int64_t now_ms);

/* True when the lane may hold one more waiting job (low or not). */
bool lanes_has_room(const struct lanes *lanes, const struct lane *lane, bool low);
/* Puts a claim (CLAIM_NEW) at the end of its lane, or at its head when it comes back
 * unattempted. */
void lanes_add(struct lanes *lanes, struct lane *lane, struct claim *claim, bool at_head);
/* Takes a waiting claim out (it becomes CLAIM_NEW): at a drain. */
void lanes_remove(struct lanes *lanes, struct claim *claim);
/*
 * When a job that finds no room may come back: the lane's clock advances by one job's share of the
 * window, and never stands more than ten minutes ahead; a low job also waits for the clock of all
 * low ones. Milliseconds from now.
 */
int64_t lanes_book_ms(struct lanes *lanes, struct lane *lane, bool low, int64_t now_ms);

/* The next claim for this worker, now CLAIM_FLIGHT and counted, or NULL. */
struct claim *lanes_next(struct lanes *lanes, unsigned worker);
/* A claim left the worker's hands (it becomes CLAIM_NEW). `attempted`: an attempt was made, with
 * this result and duration. */
void lanes_landed(struct lanes *lanes, struct claim *claim, bool attempted, bool transport_failure,
                  uint32_t total_ms, int64_t now_ms);
/* No job of the lane is dispatched until it is unblocked. */
void lanes_block(struct lanes *lanes, struct lane *lane, bool blocked);
/* From now on; in flight there may be more than the window allows. */
void lanes_restrict(struct lanes *lanes, struct lane *lane, const struct lane_limits *limits);
/* No job of the lane is dispatched until it has rested. */
void lanes_rest(struct lanes *lanes, struct lane *lane, bool resting);

unsigned lanes_waiting(const struct lanes *lanes); /* claims in lanes, low ones apart */
unsigned lanes_low_waiting(const struct lanes *lanes);
unsigned lanes_in_flight(const struct lanes *lanes); /* low ones included */
/* Claims that will leave their lanes within two seconds at the pace of their hosts: while there are
 * enough of them, claiming more would only move the queue into memory; what waits for a host that
 * doesn't answer is not among them, nor are low jobs. */
unsigned lanes_progressing(const struct lanes *lanes);
unsigned lanes_ready(const struct lanes *lanes); /* lanes that could dispatch other than low jobs */
unsigned lanes_low_ready(const struct lanes *lanes); /* healthy hosts' lanes with only low jobs */
/* How many more low jobs may wait. */
unsigned lanes_low_room(const struct lanes *lanes);
unsigned lanes_count(const struct lanes *lanes);
/* Forgets idle lanes untouched for an hour; returns how many are left. */
unsigned lanes_sweep(struct lanes *lanes, int64_t now_ms);
/* Iteration over all lanes, as table_next. */
struct lane *lanes_each(const struct lanes *lanes, size_t *at);

#endif
