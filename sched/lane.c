#include "sched/lane.h"

#include <assert.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/table.h"
#include "sched/lane_inside.h"
#include "sched/share.h"

static const double wanted_more = 1.5; /* so that more can be started when more comes */

enum {
    LOW_SHARE = 4, /* of the look-ahead, for low jobs */
    IDLE_MS = 3600000,
    OPEN_MS = 7 * 86400000, /* as long as the fleet remembers an open circuit */
    FIRST_MEAN_MS = 200,
    LOST_PROBE_MS = 30000,
    UNRESOLVED_MS = 2000,
    HEARD_MS = 3000, /* for what one machine is told to have reached all */
    HEARD_SPREAD_MS = 12000,
    LONGEST_AWAITED_MS = AWAY_GRACE_MS + 2000, /* in the lane; longer in Redis */
    PROBE_NEAR_MS = 1000,
};

struct lanes *lanes_create(const struct lane_options *options)
{
    struct lanes *lanes = mem_alloc(sizeof(*lanes));

    lanes->options = *options;
    lanes->by_host = table_create();
    lanes->by_pair = table_create();
    lanes->known = mem_alloc(KNOWN_HOSTS * sizeof(uint64_t));
    lanes->away = away_create();
    lanes->machines = 1;
    lane_rings_init(lanes);
    rate_set(&lanes->rate, options->max_rate, 0);
    return lanes;
}

static void lane_free(struct lane *lane)
{
    free(lane->pairs);
    free(lane);
}

void lanes_destroy(struct lanes *lanes)
{
    size_t at = 0;
    struct lane *lane;

    if (lanes == NULL)
        return;
    while ((lane = table_next(lanes->by_host, &at)) != NULL)
        lane_free(lane);
    table_destroy(lanes->by_host);
    table_destroy(lanes->by_pair);
    free(lanes->known);
    away_destroy(lanes->away);
    free(lanes->rings);
    free(lanes);
}

void lanes_set_fleet(struct lanes *lanes, unsigned machines, int64_t unix_offset_ms)
{
    lanes->unix_offset_ms = unix_offset_ms;
    if (machines > 0)
        lanes->machines = machines;
}

void lanes_set_lookahead(struct lanes *lanes, unsigned jobs)
{
    lanes->options.lookahead_jobs = jobs;
}

void lanes_set_rate(struct lanes *lanes, double max_rate, int64_t now_ms)
{
    rate_set(&lanes->rate, max_rate, now_ms);
}

double lanes_wanted(struct lanes *lanes, int64_t now_ms)
{
    int64_t passed_ms = now_ms - lanes->wanted_ms;
    double wanted = passed_ms > 0 ? lanes->starts * 1000.0 / (double)passed_ms * wanted_more : 0;

    if (lanes->limited)
        wanted = share_all;
    lanes->starts = 0;
    lanes->limited = false;
    lanes->wanted_ms = now_ms;
    return wanted;
}

int64_t lanes_unix_ms(const struct lanes *lanes, int64_t now_ms)
{
    return now_ms + lanes->unix_offset_ms;
}

/* Which worker serves a host must not change while the scheduler lives; it need not be secret,
 * since choosing names that meet in one worker gains a stranger nothing but that worker's share. */
unsigned lanes_worker(const struct lanes *lanes, struct str host)
{
    return (unsigned)(lane_hash(host) % lanes->options.workers);
}

struct lane *lanes_find(const struct lanes *lanes, struct str host)
{
    return table_get(lanes->by_host, host);
}

struct lane *lanes_get(struct lanes *lanes, struct str host, int64_t now_ms)
{
    struct lane *lane = table_get(lanes->by_host, host);

    if (lane == NULL) {
        lane = mem_alloc(sizeof(*lane) + host.len + 1);
        char *name = (char *)(lane + 1);
        memcpy(name, host.ptr, host.len);
        lane->host = (struct str){name, host.len};
        lane->worker = lanes_worker(lanes, host);
        lane->tried = lane_take_known(lanes, host);
        lane->suspect = !lane->tried;
        lane->mean_ms = FIRST_MEAN_MS;
        window_init(&lane->window, now_ms);
        TAILQ_INIT(&lane->fresh);
        TAILQ_INIT(&lane->retried);
        TAILQ_INIT(&lane->low);
        table_put(lanes->by_host, lane->host, lane);
    }
    lane->touched_ms = now_ms;
    return lane;
}

static void set_suspect(struct lanes *lanes, struct lane *lane, bool suspect)
{
    unsigned sign = suspect ? 1 : UINT_MAX; /* unsigned arithmetic wraps back */

    if (lane->suspect == suspect)
        return;
    lane->suspect = suspect;
    lanes->shares[0].suspect_in_flight += sign * (lane->in_flight - lane->low_in_flight);
    lanes->shares[1].suspect_in_flight += sign * lane->low_in_flight;
}

void lanes_learn(struct lanes *lanes, struct str host, bool suspect, int64_t success_ms,
                 int64_t now_ms)
{
    struct lane *lane = lanes_get(lanes, host, now_ms);

    lane->tried = true;
    lane->mark.success_ms = success_ms;
    set_suspect(lanes, lane, suspect);
    lane_update(lanes, lane, now_ms);
}

void lanes_adopt_open(struct lanes *lanes, struct lane *lane, int64_t opened_unix_ms,
                      int64_t probe_unix_ms, uint32_t backoff_ms, int64_t now_ms)
{
    circuit_adopt_open(&lane->circuit, opened_unix_ms, probe_unix_ms, backoff_ms,
                       lanes_unix_ms(lanes, now_ms));
    lane->tried = true;
    set_suspect(lanes, lane, true);
    lane_update(lanes, lane, now_ms);
}

void lanes_adopt_closed(struct lanes *lanes, struct lane *lane, int64_t now_ms)
{
    circuit_adopt_closed(&lane->circuit);
    lane->probe = LANE_PROBE_NONE;
    lane_update(lanes, lane, now_ms);
}

/* Who was told goes first; if it is told again, it has said so before the others go, and not all of
 * these at once. */
void lanes_adopt_hold(struct lanes *lanes, struct lane *lane, int64_t until_unix_ms, int64_t now_ms)
{
    int64_t left_ms = until_unix_ms - lanes_unix_ms(lanes, now_ms);

    if (left_ms <= 0)
        return;
    window_hold(&lane->window,
                left_ms + HEARD_MS + (int64_t)rng_below(lanes->options.rng, HEARD_SPREAD_MS),
                now_ms);
    lane_update(lanes, lane, now_ms);
}

/* --- what waits --- */

/* What waits here may have to wait for one that is away: then the next one is the probe. */
static bool is_alone(const struct lane *lane)
{
    return lane->in_flight == 0 && (lane->stuck || lane->waiting + lane->low_waiting == 0);
}

enum course lanes_course(const struct lanes *lanes, const struct lane *lane,
                         const struct claim *claim, int64_t now_ms)
{
    bool returned = claim_is_returned(claim);
    int64_t awaits_ms = lane_awaits_ms(lanes, lane, claim, now_ms);

    if (lane->circuit.state != CIRCUIT_CLOSED) {
        bool won = lane->circuit.state == CIRCUIT_PROBING; /* the job it was won for may be gone */
        bool due = lane->probe == LANE_PROBE_NONE &&
                   lane->circuit.probe_ms <= lanes_unix_ms(lanes, now_ms);
        return is_alone(lane) && (won || due) && awaits_ms <= now_ms ? COURSE_LANE : COURSE_PARK;
    }
    if (!lane_has_room(lanes, lane, claim, now_ms))
        return COURSE_BOOK;
    /* What is booked was there before; what comes back from there has its turn now. */
    if (!returned && !claim->low && lane->reserved_ms > now_ms + BOOKED_SOON_MS)
        return COURSE_BOOK;
    if (awaits_ms > now_ms + LONGEST_AWAITED_MS)
        return COURSE_BOOK;
    return COURSE_LANE;
}

bool lanes_parks(const struct lanes *lanes, const struct lane *lane, const struct claim *claim,
                 int64_t now_ms)
{
    bool near = lane->circuit.state != CIRCUIT_OPEN ||
                lane->circuit.probe_ms <= lanes_unix_ms(lanes, now_ms) + PROBE_NEAR_MS;

    return !(is_alone(lane) && near) && lanes_course(lanes, lane, claim, now_ms) == COURSE_PARK;
}

static void count_waiting(struct lanes *lanes, struct lane *lane, bool low, int change)
{
    struct lane_share *share = &lanes->shares[low];

    *(low ? &lane->low_waiting : &lane->waiting) += (unsigned)change;
    share->waiting += (unsigned)change;
    if (lane->slow)
        share->slow_waiting += (unsigned)change;
}

void lane_count_in_flight(struct lanes *lanes, struct lane *lane, bool low, int change)
{
    struct lane_share *share = &lanes->shares[low];

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

/* What was made later for the same inbox goes behind it, if it stands in this list. */
static struct claim *first_younger(struct lanes *lanes, struct lane *lane, struct claim *claim)
{
    const struct claim *first = lane_pair_first(lanes, claim);
    struct claim *other = claim->younger;

    while (other != first && list_of(lane, other) != list_of(lane, claim))
        other = other->younger;
    return other != first ? other : NULL;
}

/* Its pair knows of it already. */
static void insert(struct lanes *lanes, struct lane *lane, struct claim *claim, bool at_head)
{
    struct claim_list *list = list_of(lane, claim);
    struct claim *younger =
        !at_head && claim_is_returned(claim) ? first_younger(lanes, lane, claim) : NULL;

    if (at_head)
        TAILQ_INSERT_HEAD(list, claim, entry);
    else if (younger != NULL)
        TAILQ_INSERT_BEFORE(younger, claim, entry);
    else
        TAILQ_INSERT_TAIL(list, claim, entry);
}

void lanes_add(struct lanes *lanes, struct lane *lane, struct claim *claim, bool at_head,
               int64_t now_ms)
{
    assert(claim->state == CLAIM_NEW);
    claim->state = CLAIM_LANE;
    claim->lane = lane;
    lanes_came(lanes, claim);
    lane_pair_waits(lanes, claim);
    insert(lanes, lane, claim, at_head);
    if (at_head)
        lane->kept_ms = 0;
    count_waiting(lanes, lane, claim->low, 1);
    lane->stuck = false;
    lane_update(lanes, lane, now_ms);
}

void lanes_remove(struct lanes *lanes, struct claim *claim, int64_t now_ms)
{
    struct lane *lane = claim->lane;

    assert(claim->state == CLAIM_LANE);
    TAILQ_REMOVE(list_of(lane, claim), claim, entry);
    lane_pair_waited(lanes, claim);
    claim->state = CLAIM_NEW;
    claim->lane = NULL;
    count_waiting(lanes, lane, claim->low, -1);
    lane->stuck = false;
    lane_update(lanes, lane, now_ms);
}

struct claim *lanes_oldest(const struct lane *lane)
{
    struct claim *heads[] = {TAILQ_FIRST(&lane->fresh), TAILQ_FIRST(&lane->retried),
                             TAILQ_FIRST(&lane->low)};
    struct claim *oldest = NULL;

    for (size_t i = 0; i < 3; i++) {
        if (heads[i] != NULL && (oldest == NULL || heads[i]->seq < oldest->seq))
            oldest = heads[i];
    }
    return oldest != NULL ? lane_pair_oldest(oldest) : NULL;
}

/* --- probes --- */

bool lanes_is_probe(const struct lane *lane)
{
    return lane->circuit.state == CIRCUIT_OPEN;
}

void lanes_probe_asked(struct lanes *lanes, struct lane *lane, int64_t now_ms)
{
    lane->probe = LANE_PROBE_ASKED;
    lane_update(lanes, lane, now_ms);
}

void lanes_probe_answered(struct lanes *lanes, struct lane *lane, bool won, int64_t now_ms)
{
    if (lane->circuit.state != CIRCUIT_OPEN || lane->probe != LANE_PROBE_ASKED)
        return;
    if (won && lane->waiting + lane->low_waiting > 0) {
        lane->probe = LANE_PROBE_WON;
        circuit_probe(&lane->circuit);
    } else {
        lane->probe = LANE_PROBE_NONE;
        lane->circuit.probe_ms = lanes_unix_ms(lanes, now_ms) + LOST_PROBE_MS;
    }
    lane_update(lanes, lane, now_ms);
}

struct lane *lanes_abandon_probe(struct lanes *lanes, int64_t now_ms)
{
    size_t at = 0;
    struct lane *lane;

    while (lanes->probeless > 0 && (lane = table_next(lanes->by_host, &at)) != NULL) {
        if (!lane->probeless)
            continue;
        lane->probe = LANE_PROBE_NONE;
        circuit_abandoned(&lane->circuit, lanes_unix_ms(lanes, now_ms));
        lane_update(lanes, lane, now_ms);
        return lane;
    }
    return NULL;
}

/* --- what attempts show --- */

/* A host that was good until now may be as good as ever, and the trouble ours; but of one whose
 * circuit another machine has opened, a probe that fails has failed. */
static bool is_doubtful(struct lanes *lanes, const struct lane *lane, int64_t started_ms,
                        int64_t now_ms)
{
    int64_t first_ms =
        lane->circuit.failures > 0 ? lane->circuit.first_ms - lanes->unix_offset_ms : now_ms;

    if (lane->circuit.state == CIRCUIT_PROBING && !lanes->suspicion.active)
        return false;
    return suspicion_is_good(&lane->mark, now_ms) &&
           suspicion_judge(&lanes->suspicion, started_ms, first_ms, now_ms) != DOUBT_THEIRS;
}

static enum circuit_event learn(struct lanes *lanes, struct lane *lane, int64_t started_ms,
                                const struct lane_result *result, int64_t now_ms)
{
    int64_t unix_ms = lanes_unix_ms(lanes, now_ms);
    int64_t unix_started_ms = lanes_unix_ms(lanes, started_ms);
    unsigned most = lanes->options.host_window / lanes->machines;
    bool transport = result->answer == LANE_TRANSPORT;

    if (result->hold_ms > 0)
        window_hold(&lane->window, result->hold_ms, now_ms);
    switch (result->answer) {
    case LANE_PUSHED_BACK:
        window_failed(&lane->window, started_ms, true, now_ms);
        return circuit_answered(&lane->circuit);
    case LANE_UNAVAILABLE:
    case LANE_TRANSPORT:
        window_failed(&lane->window, started_ms, !transport, now_ms);
        if (transport && is_doubtful(lanes, lane, started_ms, now_ms)) {
            circuit_doubted(&lane->circuit, unix_started_ms, result->certain, unix_ms);
            return CIRCUIT_SAME;
        }
        /* fall through */
    case LANE_ERROR:
        return circuit_failed(&lane->circuit, unix_started_ms, result->certain, result->hold_ms,
                              unix_ms, lanes->options.rng);
    case LANE_ANSWERED:
        window_succeeded(&lane->window, lane->filled && lane->waiting + lane->low_waiting > 0,
                         most);
        return circuit_answered(&lane->circuit);
    case LANE_UNRESOLVED: /* no fault of the host, but asking again at once is of no use */
        window_hold(&lane->window, UNRESOLVED_MS, now_ms);
        lane->unresolved_ms = now_ms + UNRESOLVED_MS;
        return circuit_unproven(&lane->circuit, unix_ms, lanes->options.rng);
    case LANE_UNSERVED:
        window_hold(&lane->window, UNRESOLVED_MS, now_ms);
        if (lane->circuit.state == CIRCUIT_PROBING) /* what waits must come to an end */
            return circuit_failed(&lane->circuit, unix_started_ms, false, 0, unix_ms,
                                  lanes->options.rng);
        break;
    case LANE_UNTRIED:
        break;
    }
    return CIRCUIT_SAME;
}

static enum circuit_event attempted(struct lanes *lanes, struct lane *lane, int64_t started_ms,
                                    const struct lane_result *result, int64_t now_ms)
{
    bool unresolved = result->answer == LANE_UNRESOLVED || result->answer == LANE_UNSERVED;
    bool dark = result->answer == LANE_TRANSPORT || unresolved;
    bool ours = dark && started_ms < lanes->suspicion.ended_ms;

    if (!ours)
        suspicion_note(&lanes->suspicion, &lane->mark, dark, now_ms);
    if (ours || (dark && lanes_suspicious(lanes, now_ms))) /* it says nothing about the host */
        return circuit_unproven(&lane->circuit, lanes_unix_ms(lanes, now_ms), lanes->options.rng);
    lane->tried = true;
    if (!unresolved) {
        lane->mean_ms = (uint32_t)(((uint64_t)lane->mean_ms * 7 + result->total_ms) / 8);
        set_suspect(lanes, lane, dark);
    }
    return learn(lanes, lane, started_ms, result, now_ms);
}

/* Its host was asked nothing: what the start has taken is there again, if none came after it. */
static void give_back(struct lanes *lanes, struct lane *lane, int64_t started_ms)
{
    lanes->rate.tokens += 1;
    suspicion_returns_trial(&lanes->suspicion);
    if (lane->window.started_ms == started_ms)
        lane->window.started_ms -= lane_gap_ms(lane);
}

enum circuit_event lanes_landed(struct lanes *lanes, struct claim *claim,
                                const struct lane_result *result, int64_t now_ms)
{
    struct lane *lane = claim->lane;
    enum circuit_event event = CIRCUIT_SAME;

    assert(claim->state == CLAIM_FLIGHT);
    claim->state = CLAIM_NEW;
    claim->lane = NULL;
    lane_count_in_flight(lanes, lane, claim->low, -1);
    lane_pair_landed(lane, claim->pair);
    lane->stuck = false;
    lane->touched_ms = now_ms;
    if (result->answer == LANE_UNTRIED) {
        give_back(lanes, lane, claim->started_ms);
    } else {
        event = attempted(lanes, lane, claim->started_ms, result, now_ms);
        if (lane->circuit.state != CIRCUIT_PROBING)
            lane->probe = LANE_PROBE_NONE;
    }
    lane_update(lanes, lane, now_ms);
    return event;
}

void lanes_block(struct lanes *lanes, struct lane *lane, bool blocked, int64_t now_ms)
{
    lane->blocked = blocked;
    lane_update(lanes, lane, now_ms);
}

void lanes_restrict(struct lanes *lanes, struct lane *lane, const struct lane_limits *limits,
                    int64_t now_ms)
{
    lane->limits = *limits;
    lane_update(lanes, lane, now_ms);
}

void lanes_pardon(struct lanes *lanes, struct lane *lane, int64_t now_ms)
{
    if (lane->circuit.state == CIRCUIT_OPEN)
        lane->circuit.probe_ms = lanes_unix_ms(lanes, now_ms);
    lane->window.not_before_ms = now_ms;
    lane_update(lanes, lane, now_ms);
}

/* --- ourselves --- */

/* What failed since the trouble began was not the hosts' doing. */
static void void_failures(struct lanes *lanes, int64_t now_ms)
{
    int64_t since_ms = lanes_unix_ms(lanes, now_ms) - SUSPICION_SPAN_MS - SUSPICION_DOUBT_MS;
    size_t at = 0;
    struct lane *lane;

    while ((lane = table_next(lanes->by_host, &at)) != NULL) {
        if (lane->circuit.state == CIRCUIT_CLOSED && lane->circuit.failures > 0 &&
            lane->circuit.counted_ms >= since_ms)
            circuit_adopt_closed(&lane->circuit);
        if (lane->suspect && suspicion_is_good(&lane->mark, now_ms))
            set_suspect(lanes, lane, false);
        lane_update(lanes, lane, now_ms);
    }
}

bool lanes_is_blameless(const struct lanes *lanes, const struct lane *lane, int64_t now_ms)
{
    bool unknown = !lane->suspect || !lane->tried;

    if (lanes->suspicion.active && suspicion_may_try(&lanes->suspicion, &lane->mark))
        return true;
    return suspicion_is_good(&lane->mark, now_ms) ||
           (unknown && suspicion_has_failures(&lanes->suspicion, now_ms));
}

bool lanes_suspicious(struct lanes *lanes, int64_t now_ms)
{
    bool was = lanes->suspicion.active;
    bool is = suspicion_is_active(&lanes->suspicion, now_ms);

    if (is && !was)
        void_failures(lanes, now_ms);
    return is;
}

enum doubt lanes_doubt(struct lanes *lanes, int64_t started_ms, int64_t failed_ms, int64_t now_ms)
{
    lanes_suspicious(lanes, now_ms);
    return suspicion_judge(&lanes->suspicion, started_ms, failed_ms, now_ms);
}

enum doubt lanes_blame(struct lanes *lanes, bool was_blameless, int64_t started_ms, int64_t now_ms)
{
    enum doubt verdict = lanes_doubt(lanes, started_ms, now_ms, now_ms);
    return verdict == DOUBT_WAIT && !was_blameless ? DOUBT_THEIRS : verdict;
}

/* --- numbers --- */

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
    unsigned suspects = lane_suspects_may(lanes) ? lanes->ready[PLACE_SUSPECT] : 0;
    return lanes->ready[PLACE_HEALTHY] + suspects;
}

unsigned lanes_low_ready(const struct lanes *lanes)
{
    return lanes->ready[PLACE_LOW];
}

unsigned lanes_count(const struct lanes *lanes)
{
    return (unsigned)table_count(lanes->by_host);
}

/* Who forgets an open circuit tells nobody when it closes; a host that has asked for hours is to
 * have them; and what is booked was there before. */
static bool is_idle(const struct lanes *lanes, const struct lane *lane, int64_t now_ms)
{
    return lane->waiting == 0 && lane->low_waiting == 0 && lane->in_flight == 0 &&
           now_ms - lane->touched_ms > IDLE_MS && lane->window.not_before_ms <= now_ms &&
           lane->reserved_ms <= now_ms && lane->low_reserved_ms <= now_ms &&
           (lane->circuit.state == CIRCUIT_CLOSED ||
            lane->circuit.probe_ms + OPEN_MS < lanes_unix_ms(lanes, now_ms));
}

unsigned lanes_sweep(struct lanes *lanes, int64_t now_ms)
{
    size_t at = 0;
    struct lane *lane;

    while ((lane = table_next(lanes->by_host, &at)) != NULL) {
        if (is_idle(lanes, lane, now_ms)) {
            lane_keep_known(lanes, lane);
            lane_withdraw(lanes, lane);
            suspicion_forget(&lanes->suspicion, &lane->mark);
            table_remove(lanes->by_host, lane->host);
            lane_free(lane);
        }
    }
    away_sweep(lanes->away, now_ms);
    return lanes_count(lanes);
}

struct lane *lanes_each(const struct lanes *lanes, size_t *at)
{
    return table_next(lanes->by_host, at);
}
