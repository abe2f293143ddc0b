#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "sched/state.h"

enum {
    RETURN_MS = 10000, /* what a paused machine holds goes back so long after */
    BOOK_MS = 600000,  /* a paused host's jobs come back to look at the latest then */
    SPREAD = 10,       /* they are spread over a tenth of that time more */
    MAX_GAP_MS = 1800000,
};

/* --- lanes that rest between two jobs --- */

static void set_timer(struct scheduler *s)
{
    int64_t now_ms = clock_mono_ms(&s->process.clock);
    int64_t next_ms = INT64_MAX;
    const struct rest *rest;

    TAILQ_FOREACH(rest, &s->limits.resting, entry)
    {
        next_ms = rest->due_ms < next_ms ? rest->due_ms : next_ms;
    }
    s->limits.timer_ms = next_ms;
    if (next_ms != INT64_MAX)
        loop_timer_set(s->limits.timer, next_ms > now_ms ? next_ms - now_ms : 0);
}

static void on_rested(void *arg)
{
    struct scheduler *s = arg;
    int64_t now_ms = clock_mono_ms(&s->process.clock);
    struct rest *rest;
    struct rest *next;

    for (rest = TAILQ_FIRST(&s->limits.resting); rest != NULL; rest = next) {
        next = TAILQ_NEXT(rest, entry);
        if (rest->due_ms > now_ms)
            continue;
        TAILQ_REMOVE(&s->limits.resting, rest, entry);
        lanes_rest(s->lanes, rest->lane, false);
        free(rest);
    }
    admit_dispatch_all(s);
    set_timer(s);
}

void limits_sent(struct scheduler *s, struct lane *lane)
{
    struct rest *rest = mem_alloc(sizeof(*rest));

    rest->lane = lane;
    rest->due_ms = clock_mono_ms(&s->process.clock) + lane->limits.min_gap_ms;
    TAILQ_INSERT_TAIL(&s->limits.resting, rest, entry);
    lanes_rest(s->lanes, lane, true);
    if (rest->due_ms < s->limits.timer_ms)
        set_timer(s);
}

/* A rate that was raised counts for those that rest, too. */
static void shorten_rests(struct scheduler *s)
{
    int64_t now_ms = clock_mono_ms(&s->process.clock);
    struct rest *rest;

    TAILQ_FOREACH(rest, &s->limits.resting, entry)
    {
        if (rest->due_ms > now_ms + rest->lane->limits.min_gap_ms)
            rest->due_ms = now_ms + rest->lane->limits.min_gap_ms;
    }
    set_timer(s);
}

/* --- lanes and their claims --- */

/* A lane's name without the port. */
static struct str host_of(struct str authority)
{
    size_t end = authority.len > 0 && authority.ptr[0] == '[' ? str_find(authority, ']') + 1
                                                              : str_find(authority, ':');
    return (struct str){authority.ptr, end < authority.len ? end : authority.len};
}

void limits_follow(struct scheduler *s, struct lane *lane)
{
    struct lane_limits limits = {.paused = false};
    struct policy policy;

    if (policies_look(s->policies, host_of(lane->host), &policy)) {
        limits.paused = policy.paused;
        limits.max_window = policy.window;
        if (policy.rate != 0)
            limits.min_gap_ms = (int64_t)60000 * policies_machines(s->policies) / policy.rate;
        if (limits.min_gap_ms > MAX_GAP_MS)
            limits.min_gap_ms = MAX_GAP_MS;
    }
    if (limits.paused != lane->limits.paused || limits.max_window != lane->limits.max_window ||
        limits.min_gap_ms != lane->limits.min_gap_ms)
        lanes_restrict(s->lanes, lane, &limits);
}

enum verdict_of_policy { POLICY_LETS = 0, POLICY_BOOKS, POLICY_DROPS };

static enum verdict_of_policy verdict_for(const struct scheduler *s, const struct claim *claim,
                                          struct policy *policy)
{
    if (!claim->has_url || !policies_look(s->policies, claim->url.host, policy))
        return POLICY_LETS;
    if (policy->drop_s != 0 && claim->job.created_at_s <= (double)policy->drop_s)
        return POLICY_DROPS;
    return policy->paused ? POLICY_BOOKS : POLICY_LETS;
}

static int64_t booking_ms(struct scheduler *s, const struct policy *policy)
{
    int64_t delay_ms = BOOK_MS;

    if (policy->paused_until_s != 0)
        delay_ms = (policy->paused_until_s - policies_now_s(s->policies)) * 1000;
    if (delay_ms > BOOK_MS)
        delay_ms = BOOK_MS;
    if (delay_ms < 1000)
        delay_ms = 1000;
    return delay_ms + (int64_t)rng_below(&s->process.rng, (uint64_t)delay_ms / SPREAD);
}

bool limits_settle(struct scheduler *s, struct claim *claim)
{
    struct settlement dropped = {.verb = SETTLE_DONE, .entry = LEDGER_POLICY};
    struct policy policy;

    switch (verdict_for(s, claim, &policy)) {
    case POLICY_LETS:
        return false;
    case POLICY_BOOKS:
        conclude_book(s, claim, booking_ms(s, &policy));
        return true;
    case POLICY_DROPS:
        settle_add(s->settle, claim, &dropped);
        return true;
    }
    return false;
}

static void apply_to_claims(struct scheduler *s)
{
    size_t at = 0;
    struct claim *claim;
    struct policy policy;

    while ((claim = table_next(s->holdings.by_seq, &at)) != NULL) {
        if (verdict_for(s, claim, &policy) == POLICY_LETS)
            continue;
        if (claim->state == CLAIM_FLIGHT && policy.now)
            dispatch_abort(s->dispatch, claim);
        else if (drain_unlist(s, claim))
            (void)limits_settle(s, claim);
    }
}

/* --- the machine --- */

/* What BLMOVE took while the order came goes back to the end that is served next. */
static void return_waited(struct scheduler *s)
{
    const struct str words[] = {STR("LMOVE"), str_of(membership_wait_key(s->membership)),
                                str_of(s->keys.queue_push), STR("LEFT"), STR("RIGHT")};
    redis_send(s->redis, NULL, NULL, 5, words);
}

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

void limits_changed(void *scheduler)
{
    struct scheduler *s = scheduler;
    struct lane *lane;
    size_t at = 0;

    while ((lane = lanes_each(s->lanes, &at)) != NULL)
        limits_follow(s, lane);
    shorten_rests(s);
    apply_to_claims(s);
    follow_pause(s);
    admit_dispatch_all(s);
}

void limits_tick(struct scheduler *s)
{
    int64_t now_ms = clock_mono_ms(&s->process.clock);

    follow_pause(s);
    if (!s->limits.paused || s->state != SCHEDULER_RUNNING || now_ms < s->limits.return_ms ||
        membership_state(s->membership) != MEMBER_PRESENT)
        return;
    s->limits.return_ms = now_ms + RETURN_MS;
    drain_return_waiting(s);
    return_waited(s);
}

/* --- start --- */

void limits_start(struct scheduler *s)
{
    const struct policies_options options = {.clock = &s->process.clock,
                                             .redis = s->redis,
                                             .keys = &s->keys,
                                             .postgres = s->postgres_fedpush,
                                             .proxy_names = str_of(s->process.config.proxy_names),
                                             .changed = limits_changed,
                                             .arg = s};

    TAILQ_INIT(&s->limits.resting);
    s->limits.timer_ms = INT64_MAX;
    s->limits.timer = loop_timer_create(s->process.base, on_rested, s);
    s->policies = policies_create(&options);
}
