#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "sched/seats.h"
#include "sched/state.h"

enum {
    RETURN_MS = 10000, /* what a paused machine holds goes back so long after */
    /* A paused host's job comes back when it is as old again, and up to twice that; its age counts
     * as one between these. */
    BOOK_MS = 600000,
    LONGEST_BOOK_MS = 3600000,
    /* The same of a job whose proxy no machine has: its age counts as one between this and BOOK_MS,
     * for a machine that has it may come any time. */
    NO_PROXY_BOOK_MS = 30000,
    /* When the pause ends sooner, it comes then, within a part of the time more. */
    SPREAD = 10,
    MOST_SPREAD_MS = 60000,
    MAX_GAP_MS = 1800000,
    SETTLED_MS = 3000, /* as many machines as take jobs have heard of each other by then */
};

/* --- lanes and their claims --- */

/* A lane's name without the port. */
static struct str host_of(struct str authority)
{
    size_t end = authority.len > 0 && authority.ptr[0] == '[' ? str_find(authority, ']') + 1
                                                              : str_find(authority, ':');
    return (struct str){authority.ptr, end < authority.len ? end : authority.len};
}

/* How many a host gets at once from all machines together: FEDPUSH_HOST_WINDOW, or an order for
 * less (`ordered`; 0: there is none). */
static unsigned window_of(const struct scheduler *s, unsigned ordered)
{
    unsigned window = (unsigned)s->process.config.host_window;
    return ordered > 0 && ordered < window ? ordered : window;
}

/* How many share what is allowed. */
static unsigned machines_for(const struct scheduler *s, const struct policy *policy)
{
    unsigned machines = policies_machines(s->policies);
    unsigned window = window_of(s, policy->window);
    return window < machines ? window : machines;
}

void limits_follow(struct scheduler *s, struct lane *lane)
{
    struct lane_limits limits = {.paused = false};
    struct policy policy;

    if (policies_look(s->policies, host_of(lane->host), &policy)) {
        limits.paused = policy.paused;
        limits.max_window = policy.window;
        if (policy.rate != 0)
            limits.min_gap_ms = (int64_t)60000 * machines_for(s, &policy) / policy.rate;
        if (limits.min_gap_ms > MAX_GAP_MS)
            limits.min_gap_ms = MAX_GAP_MS;
    }
    if (limits.paused != lane->limits.paused || limits.max_window != lane->limits.max_window ||
        limits.min_gap_ms != lane->limits.min_gap_ms)
        lanes_restrict(s->lanes, lane, &limits, clock_mono_ms(&s->process.clock));
}

enum verdict_of_policy { POLICY_LETS = 0, POLICY_BOOKS, POLICY_DROPS, POLICY_PASSES };

/* A window smaller than the fleet: not every machine has a place in it, and none without the proxy.
 * While machines come and go each keeps what it has. */
static bool has_no_seat(const struct scheduler *s, struct str host, const struct policy *policy,
                        struct str takers[FLEET_TAKERS], size_t *count)
{
    unsigned window = window_of(s, policy->window);
    int64_t since_ms;

    if (window >= fleet_machines(s->fleet))
        return false;
    *count = fleet_takers(s->fleet, str_of(policy->proxy), takers, &since_ms);
    return window < *count && clock_mono_ms(&s->process.clock) - since_ms >= SETTLED_MS &&
           !seats_has(takers, *count, host, window, membership_identity(s->membership));
}

unsigned limits_pass_on(void *scheduler, struct str host, const struct policy *policy)
{
    struct str takers[FLEET_TAKERS];
    size_t count;

    return has_no_seat(scheduler, host, policy, takers, &count)
               ? window_of(scheduler, policy->window)
               : 0;
}

static bool is_elsewhere(const struct scheduler *s, const struct claim *claim,
                         const struct policy *policy, bool lacks, struct str *machine)
{
    unsigned window = window_of(s, policy->window);
    struct str takers[FLEET_TAKERS];
    int64_t since_ms;
    size_t count;

    if (lacks)
        count = fleet_takers(s->fleet, str_of(policy->proxy), takers, &since_ms);
    else if (!has_no_seat(s, claim->url.host, policy, takers, &count))
        return false;
    if (count == 0)
        return false;
    *machine = seats_machine(takers, count, claim->url.host, window,
                             claim->hold != 0 ? claim->hold : claim->seq);
    return true;
}

/* What is in force is in *policy, where that isn't POLICY_LETS; `now` is then of what decided. */
static enum verdict_of_policy verdict_for(const struct scheduler *s, const struct claim *claim,
                                          struct policy *policy, struct str *machine)
{
    bool lacks;

    *policy = (struct policy){.paused = false};
    if (!claim->has_url)
        return POLICY_LETS;
    if (policies_drop(s->policies, claim->url.host, claim->job.created_at_s, &policy->now))
        return POLICY_DROPS;
    (void)policies_look_at(s->policies, claim->url.host, policy, &lacks);
    if (policy->paused)
        return POLICY_BOOKS;
    if (is_elsewhere(s, claim, policy, lacks, machine))
        return POLICY_PASSES;
    return lacks ? POLICY_BOOKS : POLICY_LETS;
}

static bool lacks_proxy(const struct scheduler *s, const struct policy *policy)
{
    return policy->proxy[0] != '\0' && policies_proxy(s->policies, str_of(policy->proxy)) == 0;
}

bool limits_let(const struct scheduler *s, const struct claim *claim)
{
    struct policy policy;
    struct str machine; /* whose it is to be sent counts once it can be */
    enum verdict_of_policy verdict = verdict_for(s, claim, &policy, &machine);
    return verdict == POLICY_LETS || (verdict == POLICY_PASSES && !lacks_proxy(s, &policy));
}

/* A job is touched the less often the longer its host has been paused; whoever resumes the host
 * calls its jobs back. */
static int64_t booking_ms(struct scheduler *s, const struct policy *policy,
                          const struct claim *claim)
{
    int64_t now_s = policies_now_s(s->policies);
    int64_t left_ms = (policy->paused_until_s - now_s) * 1000;
    double age_ms = ((double)now_s - claim->job.created_at_s) * 1000;
    int64_t least_ms = policy->paused ? BOOK_MS : NO_PROXY_BOOK_MS;
    int64_t most_ms = policy->paused ? LONGEST_BOOK_MS : BOOK_MS;
    int64_t delay_ms = least_ms;
    int64_t spread_ms;

    if (age_ms > (double)least_ms)
        delay_ms = age_ms < (double)most_ms ? (int64_t)age_ms : most_ms;
    spread_ms = delay_ms;
    if (policy->paused_until_s != 0 && left_ms < 2 * delay_ms) {
        delay_ms = left_ms > 1000 ? left_ms : 1000;
        spread_ms = delay_ms / SPREAD < MOST_SPREAD_MS ? delay_ms / SPREAD : MOST_SPREAD_MS;
    }
    return delay_ms + (int64_t)rng_below(&s->process.rng, (uint64_t)spread_ms);
}

bool limits_settle(struct scheduler *s, struct claim *claim)
{
    struct settlement dropped = {.verb = SETTLE_DONE, .entry = LEDGER_POLICY};
    struct settlement passed = {.verb = SETTLE_PASS};
    struct policy policy;

    switch (verdict_for(s, claim, &policy, &passed.host)) {
    case POLICY_LETS:
        return false;
    case POLICY_BOOKS:
        conclude_book(s, claim, booking_ms(s, &policy, claim));
        return true;
    case POLICY_DROPS:
        settle_add(s->settle, claim, &dropped);
        return true;
    case POLICY_PASSES:
        settle_add(s->settle, claim, &passed);
        return true;
    }
    return false;
}

bool limits_drops(const struct scheduler *s, const struct claim *claim)
{
    bool now;

    return claim->has_url &&
           policies_drop(s->policies, claim->url.host, claim->job.created_at_s, &now);
}

static void apply_to_claims(struct scheduler *s)
{
    size_t at = 0;
    struct claim *claim;
    struct policy policy;
    struct str machine;

    while ((claim = table_next(s->holdings.by_seq, &at)) != NULL) {
        enum verdict_of_policy verdict = verdict_for(s, claim, &policy, &machine);
        if (verdict == POLICY_LETS)
            continue;
        if (claim->state == CLAIM_FLIGHT && verdict != POLICY_PASSES && policy.now)
            dispatch_abort(s->dispatch, claim);
        else if (drain_unlist(s, claim))
            (void)limits_settle(s, claim);
    }
}

/* --- the machine --- */

static void follow_pause(struct scheduler *s)
{
    bool paused = policies_pause_machine(s->policies, membership_identity(s->membership));

    if (paused == s->limits.paused)
        return;
    s->limits.paused = paused;
    s->limits.return_ms = clock_mono_ms(&s->process.clock) + RETURN_MS;
    log_event(LOG_LEVEL_WARN, paused ? "paused by an admin" : "no longer paused",
              LOG_INT("in_flight", dispatch_in_flight(s->dispatch)));
    if (!paused)
        admit_dispatch_all(s);
}

/* The policies' `changed`: all lanes follow. */
static void on_changed(void *scheduler)
{
    struct scheduler *s = scheduler;
    struct lane *lane;
    size_t at = 0;

    while ((lane = lanes_each(s->lanes, &at)) != NULL)
        limits_follow(s, lane);
    apply_to_claims(s);
    at = 0;
    while ((lane = lanes_each(s->lanes, &at)) != NULL)
        admit_shed(s, lane);
    follow_pause(s);
    admit_dispatch_all(s);
}

/* What waits here may belong elsewhere since the fleet has changed. */
static void follow_fleet(struct scheduler *s, int64_t now_ms)
{
    struct str takers[FLEET_TAKERS];
    int64_t since_ms;

    (void)fleet_takers(s->fleet, STR_NULL, takers, &since_ms);
    if (since_ms == s->limits.takers_ms || now_ms - since_ms < SETTLED_MS)
        return;
    s->limits.takers_ms = since_ms;
    apply_to_claims(s);
}

void limits_tick(struct scheduler *s)
{
    int64_t now_ms = clock_mono_ms(&s->process.clock);

    follow_pause(s);
    follow_fleet(s, now_ms);
    if (!s->limits.paused || s->state != SCHEDULER_RUNNING || now_ms < s->limits.return_ms ||
        membership_state(s->membership) != MEMBER_PRESENT)
        return;
    s->limits.return_ms = now_ms + RETURN_MS;
    drain_return_waiting(s);
}

/* --- start --- */

void limits_start(struct scheduler *s)
{
    const struct policies_options options = {.clock = &s->process.clock,
                                             .redis = s->redis,
                                             .keys = &s->keys,
                                             .postgres = s->postgres_fedpush,
                                             .proxy_names = str_of(s->process.config.proxy_names),
                                             .changed = on_changed,
                                             .arg = s};

    s->policies = policies_create(&options);
}
