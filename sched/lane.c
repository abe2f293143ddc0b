#include "sched/lane.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/table.h"

enum {
    LANE_SHARE = 16,   /* of the look-ahead */
    SUSPECT_SHARE = 4, /* of slots and look-ahead */
    RETRIED_TURN = 4,
    BOOK_HORIZON_MS = 600000,
    IDLE_MS = 3600000,
    FIRST_MEAN_MS = 200,
    PROGRESS_MS = 2000,
};

TAILQ_HEAD(lane_ring, lane);

struct worker_rings {
    struct lane_ring healthy;
    struct lane_ring suspect;
};

struct lanes {
    struct lane_options options;
    struct table *by_host;
    struct worker_rings *rings;
    unsigned waiting;
    unsigned suspect_waiting;
    unsigned in_flight;
    unsigned suspect_in_flight;
    unsigned ready;
    unsigned healthy_ready;
    unsigned progressing;
};

struct lanes *lanes_create(const struct lane_options *options)
{
    struct lanes *lanes = mem_alloc(sizeof(*lanes));

    lanes->options = *options;
    lanes->by_host = table_create();
    lanes->rings = mem_alloc(options->workers * sizeof(struct worker_rings));
    for (unsigned i = 0; i < options->workers; i++) {
        TAILQ_INIT(&lanes->rings[i].healthy);
        TAILQ_INIT(&lanes->rings[i].suspect);
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
        table_put(lanes->by_host, lane->host, lane);
    }
    lane->touched_ms = now_ms;
    return lane;
}

static unsigned window_of(const struct lanes *lanes, const struct lane *lane)
{
    return lane->suspect ? 1 : lanes->options.host_window;
}

static struct lane_ring *ring_of(struct lanes *lanes, const struct lane *lane)
{
    struct worker_rings *rings = &lanes->rings[lane->worker];
    return lane->suspect ? &rings->suspect : &rings->healthy;
}

/* How many jobs the lane gets rid of within PROGRESS_MS. */
static void count_progressing(struct lanes *lanes, struct lane *lane)
{
    unsigned soon = window_of(lanes, lane) * PROGRESS_MS / (lane->mean_ms + 1);

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
    bool ready = lane->waiting > 0 && !lane->blocked && lane->in_flight < window_of(lanes, lane);

    count_progressing(lanes, lane);
    if (ready == lane->ready)
        return;
    lane->ready = ready;
    if (ready) {
        TAILQ_INSERT_TAIL(ring_of(lanes, lane), lane, ring);
        lanes->ready++;
        lanes->healthy_ready += !lane->suspect;
    } else {
        TAILQ_REMOVE(ring_of(lanes, lane), lane, ring);
        lanes->ready--;
        lanes->healthy_ready -= !lane->suspect;
    }
}

/* Out of the ring while the class changes, since the ring depends on it. */
static void set_suspect(struct lanes *lanes, struct lane *lane, bool suspect)
{
    bool blocked = lane->blocked;

    if (lane->suspect == suspect)
        return;
    lane->blocked = true;
    update_ready(lanes, lane);
    lane->suspect = suspect;
    if (suspect) {
        lanes->suspect_waiting += lane->waiting;
        lanes->suspect_in_flight += lane->in_flight;
    } else {
        lanes->suspect_waiting -= lane->waiting;
        lanes->suspect_in_flight -= lane->in_flight;
    }
    lane->blocked = blocked;
    update_ready(lanes, lane);
}

void lanes_learn(struct lanes *lanes, struct str host, bool suspect, int64_t now_ms)
{
    struct lane *lane = lanes_get(lanes, host, now_ms);

    lane->tried = true;
    set_suspect(lanes, lane, suspect);
}

bool lanes_has_room(const struct lanes *lanes, const struct lane *lane)
{
    unsigned total = lanes->options.lookahead_jobs;

    if (lane->waiting >= total / LANE_SHARE)
        return false;
    return !lane->suspect || !lane->tried || lanes->suspect_waiting < total / SUSPECT_SHARE;
}

static void count_waiting(struct lanes *lanes, struct lane *lane, int change)
{
    lane->waiting += (unsigned)change;
    lanes->waiting += (unsigned)change;
    if (lane->suspect)
        lanes->suspect_waiting += (unsigned)change;
}

static struct claim_list *list_of(struct lane *lane, const struct claim *claim)
{
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
    count_waiting(lanes, lane, 1);
    update_ready(lanes, lane);
}

void lanes_remove(struct lanes *lanes, struct claim *claim)
{
    struct lane *lane = claim->lane;

    assert(claim->state == CLAIM_LANE);
    TAILQ_REMOVE(list_of(lane, claim), claim, entry);
    claim->state = CLAIM_NEW;
    claim->lane = NULL;
    count_waiting(lanes, lane, -1);
    update_ready(lanes, lane);
}

int64_t lanes_book_ms(struct lanes *lanes, struct lane *lane, int64_t now_ms)
{
    int64_t share_ms = lane->mean_ms / window_of(lanes, lane) + 1;
    int64_t queued_ms = (int64_t)lane->waiting * share_ms;
    int64_t tail_ms =
        lane->reserved_ms > now_ms + queued_ms ? lane->reserved_ms : now_ms + queued_ms;

    tail_ms += share_ms;
    if (tail_ms > now_ms + BOOK_HORIZON_MS)
        tail_ms = now_ms + BOOK_HORIZON_MS;
    lane->reserved_ms = tail_ms;
    return tail_ms - now_ms;
}

static struct claim *take(struct lane *lane)
{
    struct claim *fresh = TAILQ_FIRST(&lane->fresh);
    struct claim *retried = TAILQ_FIRST(&lane->retried);

    if (fresh == NULL || (retried != NULL && lane->turns % RETRIED_TURN == RETRIED_TURN - 1))
        return retried;
    return fresh;
}

static bool suspects_may(const struct lanes *lanes)
{
    unsigned slots = lanes->options.max_in_flight;
    unsigned share =
        lanes->healthy_ready > 0 ? slots / SUSPECT_SHARE : slots - slots / SUSPECT_SHARE;
    return lanes->suspect_in_flight < (share > 0 ? share : 1);
}

struct claim *lanes_next(struct lanes *lanes, unsigned worker)
{
    struct worker_rings *rings = &lanes->rings[worker];
    struct lane *lane;

    if (lanes->in_flight >= lanes->options.max_in_flight)
        return NULL;
    lane = TAILQ_FIRST(&rings->healthy);
    if (lane == NULL && suspects_may(lanes))
        lane = TAILQ_FIRST(&rings->suspect);
    if (lane == NULL)
        return NULL;
    struct claim *claim = take(lane);
    lanes_remove(lanes, claim);
    claim->state = CLAIM_FLIGHT;
    claim->lane = lane;
    lane->turns++;
    lane->in_flight++;
    lanes->in_flight++;
    lanes->suspect_in_flight += lane->suspect;
    update_ready(lanes, lane);
    if (lane->ready) { /* one job a turn: to the end of the ring */
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
    lane->in_flight--;
    lanes->in_flight--;
    lanes->suspect_in_flight -= lane->suspect;
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

unsigned lanes_waiting(const struct lanes *lanes)
{
    return lanes->waiting;
}

unsigned lanes_in_flight(const struct lanes *lanes)
{
    return lanes->in_flight;
}

unsigned lanes_progressing(const struct lanes *lanes)
{
    return lanes->progressing;
}

unsigned lanes_ready(const struct lanes *lanes)
{
    return lanes->ready;
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
        if (lane->waiting == 0 && lane->in_flight == 0 && now_ms - lane->touched_ms > IDLE_MS) {
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
