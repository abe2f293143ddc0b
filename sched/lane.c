#include "sched/lane.h"

#include <assert.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/table.h"

enum {
    LANE_SHARE = 16,   /* of the look-ahead */
    SUSPECT_SHARE = 4, /* of slots and look-ahead */
    LOW_SHARE = 4,     /* of the look-ahead, for low jobs */
    LOW_MOST = 8,      /* of slots */
    LOW_LEAST = 32,    /* the same, whatever else there is */
    LOW_SUSPECT_SHARE = 16,
    RETRIED_TURN = 4,
    LOW_TURN = 16,
    LOW_BOOK_MS = 5, /* between two booked low jobs of the whole machine */
    BOOK_HORIZON_MS = 600000,
    IDLE_MS = 3600000,
    FIRST_MEAN_MS = 200,
    PROGRESS_MS = 2000,
    GAP_ROOM_MS = 60000,
};

TAILQ_HEAD(lane_ring, lane);

struct worker_rings {
    struct lane_ring of[PLACE_COUNT];
};

/* What a class of jobs holds in all lanes together. */
struct share {
    unsigned waiting;
    unsigned suspect_waiting;
    unsigned in_flight;
    unsigned suspect_in_flight;
};

struct lanes {
    struct lane_options options;
    struct table *by_host;
    struct worker_rings *rings;
    struct share shares[2]; /* [1]: of low jobs */
    unsigned ready[PLACE_COUNT];
    unsigned progressing;
    unsigned turns;
    int64_t low_reserved_ms;
};

struct lanes *lanes_create(const struct lane_options *options)
{
    struct lanes *lanes = mem_alloc(sizeof(*lanes));

    lanes->options = *options;
    lanes->by_host = table_create();
    lanes->rings = mem_alloc(options->workers * sizeof(struct worker_rings));
    for (unsigned i = 0; i < options->workers; i++) {
        for (int place = 0; place < PLACE_COUNT; place++)
            TAILQ_INIT(&lanes->rings[i].of[place]);
    }
    return lanes;
}

void lanes_destroy(struct lanes *lanes)
{
    size_t at = 0;
    struct lane *lane;

    if (lanes == NULL)
        return;
    while ((lane = table_next(lanes->by_host, &at)) != NULL)
        free(lane);
    table_destroy(lanes->by_host);
    free(lanes->rings);
    free(lanes);
}

/* FNV-1a: which worker serves a host must not change while the scheduler lives; it need not be
 * secret, since choosing names that meet in one worker gains a stranger nothing but that worker's
 * share. */
static unsigned worker_of(const struct lanes *lanes, struct str host)
{
    uint64_t hash = 14695981039346656037u;
    for (size_t i = 0; i < host.len; i++)
        hash = (hash ^ (unsigned char)host.ptr[i]) * 1099511628211u;
    return (unsigned)((hash ^ (hash >> 32)) % lanes->options.workers);
}

struct lane *lanes_get(struct lanes *lanes, struct str host, int64_t now_ms)
{
    struct lane *lane = table_get(lanes->by_host, host);

    if (lane == NULL) {
        lane = mem_alloc(sizeof(*lane) + host.len + 1);
        char *name = (char *)(lane + 1);
        memcpy(name, host.ptr, host.len);
        lane->host = (struct str){name, host.len};
        lane->worker = worker_of(lanes, host);
        lane->suspect = true;
        lane->mean_ms = FIRST_MEAN_MS;
        TAILQ_INIT(&lane->fresh);
        TAILQ_INIT(&lane->retried);
        TAILQ_INIT(&lane->low);
        table_put(lanes->by_host, lane->host, lane);
    }
    lane->touched_ms = now_ms;
    return lane;
}

static unsigned window_of(const struct lanes *lanes, const struct lane *lane)
{
    unsigned window = lane->suspect ? 1 : lanes->options.host_window;
    unsigned most = lane->limits.max_window;
    return most > 0 && most < window ? most : window;
}

static struct lane_ring *ring_of(struct lanes *lanes, const struct lane *lane)
{
    return &lanes->rings[lane->worker].of[lane->place];
}

/* Low jobs leave a place free for the host's others, where it has more than one. */
static bool low_fits(const struct lanes *lanes, const struct lane *lane)
{
    unsigned window = window_of(lanes, lane);
    return lane->low_waiting > 0 && lane->low_in_flight < (window > 1 ? window - 1 : 1);
}

static enum lane_place place_of(const struct lanes *lanes, const struct lane *lane)
{
    if (lane->blocked || lane->limits.paused || lane->resting ||
        lane->in_flight >= window_of(lanes, lane))
        return PLACE_NONE;
    if (lane->waiting > 0)
        return lane->suspect ? PLACE_SUSPECT : PLACE_HEALTHY;
    if (!low_fits(lanes, lane))
        return PLACE_NONE;
    return lane->suspect ? PLACE_LOW_SUSPECT : PLACE_LOW;
}

/* How many jobs the lane gets rid of within PROGRESS_MS. */
static void count_progressing(struct lanes *lanes, struct lane *lane)
{
    unsigned soon = window_of(lanes, lane) * PROGRESS_MS / (lane->mean_ms + 1);

    if (lane->limits.min_gap_ms > 0 && soon > PROGRESS_MS / lane->limits.min_gap_ms)
        soon = (unsigned)(PROGRESS_MS / lane->limits.min_gap_ms);
    if (soon == 0)
        soon = 1;
    if (soon > lane->waiting)
        soon = lane->waiting;
    lanes->progressing += soon - lane->progressing; /* unsigned arithmetic wraps back */
    lane->progressing = soon;
}

/* Puts the lane into its ring or takes it out, as its state says; every change of state ends here.
 */
static void update_ready(struct lanes *lanes, struct lane *lane)
{
    enum lane_place place = place_of(lanes, lane);

    count_progressing(lanes, lane);
    if (place == lane->place)
        return;
    if (lane->place != PLACE_NONE)
        TAILQ_REMOVE(ring_of(lanes, lane), lane, ring);
    lanes->ready[lane->place]--; /* PLACE_NONE's number means nothing */
    lane->place = place;
    lanes->ready[place]++;
    if (place != PLACE_NONE)
        TAILQ_INSERT_TAIL(ring_of(lanes, lane), lane, ring);
}

static void set_suspect(struct lanes *lanes, struct lane *lane, bool suspect)
{
    unsigned sign = suspect ? 1 : UINT_MAX; /* unsigned arithmetic wraps back */

    if (lane->suspect == suspect)
        return;
    lane->suspect = suspect;
    lanes->shares[0].suspect_waiting += sign * lane->waiting;
    lanes->shares[0].suspect_in_flight += sign * (lane->in_flight - lane->low_in_flight);
    lanes->shares[1].suspect_waiting += sign * lane->low_waiting;
    lanes->shares[1].suspect_in_flight += sign * lane->low_in_flight;
    update_ready(lanes, lane);
}

void lanes_learn(struct lanes *lanes, struct str host, bool suspect, int64_t now_ms)
{
    struct lane *lane = lanes_get(lanes, host, now_ms);

    lane->tried = true;
    set_suspect(lanes, lane, suspect);
}

/* Of a slow lane, what leaves within a minute. */
static bool gap_has_room(const struct lane *lane)
{
    return lane->limits.min_gap_ms == 0 || lane->waiting + lane->low_waiting == 0 ||
           (lane->waiting + lane->low_waiting) * lane->limits.min_gap_ms < GAP_ROOM_MS;
}

bool lanes_has_room(const struct lanes *lanes, const struct lane *lane, bool low)
{
    unsigned total = lanes->options.lookahead_jobs;
    unsigned suspects = total / (low ? LOW_SUSPECT_SHARE : SUSPECT_SHARE);

    if ((low ? lane->low_waiting : lane->waiting) >= total / LANE_SHARE ||
        (low && lanes_low_room(lanes) == 0) || !gap_has_room(lane))
        return false;
    return !lane->suspect || !lane->tried || lanes->shares[low].suspect_waiting < suspects;
}

static void count_waiting(struct lanes *lanes, struct lane *lane, bool low, int change)
{
    struct share *share = &lanes->shares[low];

    *(low ? &lane->low_waiting : &lane->waiting) += (unsigned)change;
    share->waiting += (unsigned)change;
    if (lane->suspect)
        share->suspect_waiting += (unsigned)change;
}

static void count_in_flight(struct lanes *lanes, struct lane *lane, bool low, int change)
{
    struct share *share = &lanes->shares[low];

    lane->in_flight += (unsigned)change;
    share->in_flight += (unsigned)change;
    if (low)
        lane->low_in_flight += (unsigned)change;
    if (lane->suspect)
        share->suspect_in_flight += (unsigned)change;
}

static struct claim_list *list_of(struct lane *lane, const struct claim *claim)
{
    if (claim->low)
        return &lane->low;
    return claim->job.retry_count >= 0 ? &lane->retried : &lane->fresh;
}

void lanes_add(struct lanes *lanes, struct lane *lane, struct claim *claim, bool at_head)
{
    struct claim_list *list = list_of(lane, claim);

    assert(claim->state == CLAIM_NEW);
    claim->state = CLAIM_LANE;
    claim->lane = lane;
    if (at_head)
        TAILQ_INSERT_HEAD(list, claim, entry);
    else
        TAILQ_INSERT_TAIL(list, claim, entry);
    count_waiting(lanes, lane, claim->low, 1);
    update_ready(lanes, lane);
}

void lanes_remove(struct lanes *lanes, struct claim *claim)
{
    struct lane *lane = claim->lane;

    assert(claim->state == CLAIM_LANE);
    TAILQ_REMOVE(list_of(lane, claim), claim, entry);
    claim->state = CLAIM_NEW;
    claim->lane = NULL;
    count_waiting(lanes, lane, claim->low, -1);
    update_ready(lanes, lane);
}

static int64_t later(int64_t a_ms, int64_t b_ms)
{
    return a_ms > b_ms ? a_ms : b_ms;
}

static int64_t within_horizon(int64_t at_ms, int64_t now_ms)
{
    return at_ms < now_ms + BOOK_HORIZON_MS ? at_ms : now_ms + BOOK_HORIZON_MS;
}

int64_t lanes_book_ms(struct lanes *lanes, struct lane *lane, bool low, int64_t now_ms)
{
    int64_t share_ms = later(lane->mean_ms / window_of(lanes, lane) + 1, lane->limits.min_gap_ms);
    int64_t queued_ms = (int64_t)(lane->waiting + (low ? lane->low_waiting : 0)) * share_ms;
    int64_t tail_ms = later(lane->reserved_ms, now_ms + queued_ms);

    if (low) {
        lanes->low_reserved_ms =
            within_horizon(later(lanes->low_reserved_ms, now_ms) + LOW_BOOK_MS, now_ms);
        tail_ms = later(later(tail_ms, lane->low_reserved_ms), lanes->low_reserved_ms);
    }
    tail_ms = within_horizon(tail_ms + share_ms, now_ms);
    *(low ? &lane->low_reserved_ms : &lane->reserved_ms) = tail_ms;
    return tail_ms - now_ms;
}

static struct claim *take(const struct lanes *lanes, struct lane *lane)
{
    struct claim *fresh = TAILQ_FIRST(&lane->fresh);
    struct claim *retried = TAILQ_FIRST(&lane->retried);

    if (low_fits(lanes, lane) && (lane->waiting == 0 || lane->turns % LOW_TURN == LOW_TURN - 1))
        return TAILQ_FIRST(&lane->low);
    if (fresh == NULL || (retried != NULL && lane->turns % RETRIED_TURN == RETRIED_TURN - 1))
        return retried;
    return fresh;
}

static bool suspects_may(const struct lanes *lanes)
{
    unsigned slots = lanes->options.max_in_flight;
    unsigned share =
        lanes->ready[PLACE_HEALTHY] > 0 ? slots / SUSPECT_SHARE : slots - slots / SUSPECT_SHARE;
    return lanes->shares[0].suspect_in_flight < (share > 0 ? share : 1);
}

/* What is in flight shares the processors, so that the others' in flight count against it, too. */
static bool low_may(const struct lanes *lanes, bool others)
{
    unsigned most = lanes->options.max_in_flight / LOW_MOST;
    unsigned share = lanes->options.max_in_flight / LOW_LEAST;

    if (!others && most > share + lanes->shares[0].in_flight)
        share = most - lanes->shares[0].in_flight;
    return lanes->shares[1].in_flight < (share > 0 ? share : 1);
}

/* Of their slots, suspect hosts' low jobs leave a quarter to the others. */
static struct lane *first_low(const struct lanes *lanes, struct worker_rings *rings)
{
    unsigned share = lanes->options.max_in_flight / LOW_MOST * 3 / 4;
    struct lane *lane = TAILQ_FIRST(&rings->of[PLACE_LOW]);

    if (lane == NULL && lanes->shares[1].suspect_in_flight < (share > 0 ? share : 1))
        lane = TAILQ_FIRST(&rings->of[PLACE_LOW_SUSPECT]);
    return lane;
}

static struct lane *choose(const struct lanes *lanes, struct worker_rings *rings)
{
    bool others =
        lanes->ready[PLACE_HEALTHY] > 0 || (lanes->ready[PLACE_SUSPECT] > 0 && suspects_may(lanes));
    struct lane *lane = NULL;

    if (lanes->turns % LOW_TURN == LOW_TURN - 1 && low_may(lanes, true))
        lane = first_low(lanes, rings);
    if (lane == NULL)
        lane = TAILQ_FIRST(&rings->of[PLACE_HEALTHY]);
    if (lane == NULL && suspects_may(lanes))
        lane = TAILQ_FIRST(&rings->of[PLACE_SUSPECT]);
    if (lane == NULL && low_may(lanes, others))
        lane = first_low(lanes, rings);
    return lane;
}

struct claim *lanes_next(struct lanes *lanes, unsigned worker)
{
    struct lane *lane;

    if (lanes_in_flight(lanes) >= lanes->options.max_in_flight)
        return NULL;
    lane = choose(lanes, &lanes->rings[worker]);
    if (lane == NULL)
        return NULL;
    struct claim *claim = take(lanes, lane);
    lanes_remove(lanes, claim);
    claim->state = CLAIM_FLIGHT;
    claim->lane = lane;
    lane->turns++;
    lanes->turns++;
    count_in_flight(lanes, lane, claim->low, 1);
    update_ready(lanes, lane);
    if (lane->place != PLACE_NONE) { /* one job a turn: to the end of the ring */
        TAILQ_REMOVE(ring_of(lanes, lane), lane, ring);
        TAILQ_INSERT_TAIL(ring_of(lanes, lane), lane, ring);
    }
    return claim;
}

void lanes_landed(struct lanes *lanes, struct claim *claim, bool attempted, bool transport_failure,
                  uint32_t total_ms, int64_t now_ms)
{
    struct lane *lane = claim->lane;

    assert(claim->state == CLAIM_FLIGHT);
    claim->state = CLAIM_NEW;
    claim->lane = NULL;
    count_in_flight(lanes, lane, claim->low, -1);
    lane->touched_ms = now_ms;
    if (attempted) {
        lane->tried = true;
        lane->mean_ms = (uint32_t)(((uint64_t)lane->mean_ms * 7 + total_ms) / 8);
        set_suspect(lanes, lane, transport_failure);
    }
    update_ready(lanes, lane);
}

void lanes_block(struct lanes *lanes, struct lane *lane, bool blocked)
{
    lane->blocked = blocked;
    update_ready(lanes, lane);
}

void lanes_restrict(struct lanes *lanes, struct lane *lane, const struct lane_limits *limits)
{
    lane->limits = *limits;
    update_ready(lanes, lane);
}

void lanes_rest(struct lanes *lanes, struct lane *lane, bool resting)
{
    lane->resting = resting;
    update_ready(lanes, lane);
}

unsigned lanes_waiting(const struct lanes *lanes)
{
    return lanes->shares[0].waiting;
}

unsigned lanes_low_waiting(const struct lanes *lanes)
{
    return lanes->shares[1].waiting;
}

unsigned lanes_low_room(const struct lanes *lanes)
{
    unsigned bound = lanes->options.lookahead_jobs / LOW_SHARE;
    return bound > lanes->shares[1].waiting ? bound - lanes->shares[1].waiting : 0;
}

unsigned lanes_in_flight(const struct lanes *lanes)
{
    return lanes->shares[0].in_flight + lanes->shares[1].in_flight;
}

unsigned lanes_progressing(const struct lanes *lanes)
{
    return lanes->progressing;
}

unsigned lanes_ready(const struct lanes *lanes)
{
    return lanes->ready[PLACE_HEALTHY] + lanes->ready[PLACE_SUSPECT];
}

unsigned lanes_low_ready(const struct lanes *lanes)
{
    return lanes->ready[PLACE_LOW];
}

unsigned lanes_count(const struct lanes *lanes)
{
    return (unsigned)table_count(lanes->by_host);
}

unsigned lanes_sweep(struct lanes *lanes, int64_t now_ms)
{
    size_t at = 0;
    struct lane *lane;

    while ((lane = table_next(lanes->by_host, &at)) != NULL) {
        if (lane->waiting == 0 && lane->low_waiting == 0 && lane->in_flight == 0 &&
            !lane->resting && now_ms - lane->touched_ms > IDLE_MS) {
            table_remove(lanes->by_host, lane->host);
            free(lane);
        }
    }
    return lanes_count(lanes);
}

struct lane *lanes_each(const struct lanes *lanes, size_t *at)
{
    return table_next(lanes->by_host, at);
}
