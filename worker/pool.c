#include "worker/pool.h"

#include <assert.h>

#include "base/err.h"

const char *const pool_state_names[] = {"starting", "running", "restarting", "draining",
                                        "stopping", "killing", "ended"};

bool pool_child_lives(const struct child *child)
{
    switch (child->state) {
    case CHILD_SPAWNED:
    case CHILD_STARTING:
    case CHILD_READY:
        return true;
    case CHILD_ABSENT:
    case CHILD_WAITING:
    case CHILD_ENDING:
        break;
    }
    return false;
}

static bool has_process(const struct child *child)
{
    return pool_child_lives(child) || child->state == CHILD_ENDING;
}

static bool any_process(const struct pool *pool, bool workers_only)
{
    for (size_t i = 0; i < pool->child_count; i++) {
        const struct child *child = &pool->children[i];
        if (has_process(child) && (!workers_only || child->role == ROLE_WORKER))
            return true;
    }
    return false;
}

size_t pool_find(const struct pool *pool, enum role role, unsigned index)
{
    size_t i = 0;
    while (i < pool->child_count &&
           (pool->children[i].role != role || pool->children[i].index != index))
        i++;
    return i;
}

static struct child *scheduler_of(struct pool *pool)
{
    return &pool->children[pool_find(pool, ROLE_SCHEDULER, 0)];
}

static void add_child(struct pool *pool, enum role role, unsigned index, bool wanted)
{
    pool->children[pool->child_count++] =
        (struct child){.role = role,
                       .index = index,
                       .wanted = wanted,
                       .state = wanted ? CHILD_WAITING : CHILD_ABSENT,
                       .due_ms = INT64_MIN};
}

void pool_init(struct pool *pool, unsigned worker_count, int patience,
               const struct pool_actions *actions, void *arg)
{
    assert(worker_count >= 1 && worker_count <= POOL_MAX_WORKERS);
    *pool = (struct pool){.actions = actions, .arg = arg, .patience = patience};
    add_child(pool, ROLE_SIGNER, 0, true);
    for (unsigned i = 0; i < worker_count; i++)
        add_child(pool, ROLE_WORKER, i, true);
    add_child(pool, ROLE_WORKER, CONTROL_QUARANTINE_INDEX, false);
    add_child(pool, ROLE_SCHEDULER, 0, true);
}

static void set_state(struct pool *pool, enum pool_state state)
{
    pool->state = state;
    pool->actions->state(pool->arg, state);
}

static void kill_child(struct pool *pool, size_t i, const char *reason)
{
    pool->children[i].state = CHILD_ENDING;
    pool->children[i].due_ms = INT64_MAX;
    pool->actions->kill(pool->arg, i, reason);
}

static void stop_all(struct pool *pool, int exit_code)
{
    pool->exit_code = exit_code;
    pool->deadline_ms = pool->now_ms + POOL_STOP_MS;
    set_state(pool, POOL_STOPPING);
    for (size_t i = 0; i < pool->child_count; i++) {
        struct child *child = &pool->children[i];
        if (child->state == CHILD_WAITING)
            child->state = CHILD_ABSENT;
        if (!pool_child_lives(child))
            continue;
        child->state = CHILD_ENDING;
        child->due_ms = INT64_MAX; /* the pool's deadline is everyone's */
        pool->actions->send_stop(pool->arg, i);
    }
}

static void kill_all(struct pool *pool, int exit_code, const char *reason)
{
    pool->exit_code = exit_code;
    pool->deadline_ms = pool->now_ms + POOL_STOP_MS;
    set_state(pool, POOL_KILLING);
    for (size_t i = 0; i < pool->child_count; i++) {
        if (has_process(&pool->children[i]))
            kill_child(pool, i, reason);
        else
            pool->children[i].state = CHILD_ABSENT;
    }
}

static int64_t backoff_ms(unsigned failures)
{
    int64_t delay_ms = POOL_MIN_BACKOFF_MS;

    if (failures == 0)
        return 0;
    for (unsigned i = 1; i < failures && delay_ms < POOL_MAX_BACKOFF_MS; i++)
        delay_ms *= 2;
    return delay_ms < POOL_MAX_BACKOFF_MS ? delay_ms : POOL_MAX_BACKOFF_MS;
}

static void wait_for_respawn(const struct pool *pool, struct child *child)
{
    bool young = pool->now_ms - child->started_ms < POOL_YOUNG_MS;

    child->failures = young ? child->failures + 1 : 0;
    child->due_ms = pool->now_ms + backoff_ms(child->failures);
    child->state = CHILD_WAITING;
}

static bool may_spawn(const struct pool *pool, const struct child *child)
{
    if (child->state != CHILD_WAITING)
        return false;
    switch (pool->state) {
    case POOL_STARTING:
    case POOL_RUNNING:
    case POOL_DRAINING: /* what is on the wire still needs its worker's peers */
        return true;
    case POOL_RESTARTING:
        return child->role == ROLE_SIGNER;
    case POOL_STOPPING:
    case POOL_KILLING:
    case POOL_ENDED:
        break;
    }
    return false;
}

/* Scheduler and signer never speak to each other: what passes between them is in the tickets. */
static bool is_edge(const struct child *a, const struct child *b)
{
    return (a->role == ROLE_WORKER) != (b->role == ROLE_WORKER);
}

static int64_t silence_ms(const struct pool *pool, const struct child *child)
{
    int64_t limit_ms = child->role == ROLE_SCHEDULER ? POOL_SCHEDULER_SILENCE_MS : POOL_SILENCE_MS;
    return limit_ms * pool->patience;
}

static void spawn_child(struct pool *pool, size_t i)
{
    struct child *child = &pool->children[i];

    child->started_ms = pool->now_ms;
    if (!pool->actions->spawn(pool->arg, i)) {
        wait_for_respawn(pool, child);
        return;
    }
    child->state = CHILD_SPAWNED;
    child->ping_due_ms = pool->now_ms + POOL_PING_MS;
    child->due_ms = pool->now_ms + silence_ms(pool, child);
    for (size_t peer = 0; peer < pool->child_count; peer++) {
        if (pool_child_lives(&pool->children[peer]) && is_edge(child, &pool->children[peer]))
            pool->actions->connect(pool->arg, i, peer);
    }
}

/* A worker can do nothing without signer and scheduler; these work with any number of workers. */
static bool may_start(const struct pool *pool, const struct child *child)
{
    if (child->state != CHILD_SPAWNED)
        return false;
    for (size_t i = 0; i < pool->child_count; i++) {
        const struct child *peer = &pool->children[i];
        if (child->role == ROLE_WORKER && is_edge(child, peer) && !pool_child_lives(peer))
            return false;
    }
    return true;
}

/* All due ones are spawned before any is started, so that each first has all its channels. */
static void bring_up(struct pool *pool)
{
    for (size_t i = 0; i < pool->child_count; i++) {
        if (may_spawn(pool, &pool->children[i]) && pool->children[i].due_ms <= pool->now_ms)
            spawn_child(pool, i);
    }
    for (size_t i = 0; i < pool->child_count; i++) {
        if (!may_start(pool, &pool->children[i]))
            continue;
        pool->children[i].state = CHILD_STARTING;
        pool->actions->send_start(pool->arg, i);
    }
}

static void watch_children(struct pool *pool)
{
    for (size_t i = 0; i < pool->child_count; i++) {
        struct child *child = &pool->children[i];
        if (!has_process(child))
            continue;
        if (child->due_ms <= pool->now_ms) {
            kill_child(pool, i, child->state == CHILD_ENDING ? "did not stop" : "does not answer");
        } else if (child->state != CHILD_ENDING && child->ping_due_ms <= pool->now_ms) {
            child->ping_due_ms = pool->now_ms + POOL_PING_MS;
            pool->actions->send_ping(pool->arg, i);
        }
    }
}

static bool all_ready(const struct pool *pool)
{
    for (size_t i = 0; i < pool->child_count; i++) {
        if (pool->children[i].wanted && pool->children[i].state != CHILD_READY)
            return false;
    }
    return true;
}

/* The workers' deliveries belong to a scheduler that is gone: its claims are recovered only when
 * nobody works on them any more. */
static void finish_restart(struct pool *pool)
{
    if (any_process(pool, true))
        return;
    for (size_t i = 0; i < pool->child_count; i++) {
        struct child *child = &pool->children[i];
        if (child->role == ROLE_WORKER && child->state == CHILD_WAITING)
            child->due_ms = pool->now_ms;
    }
    set_state(pool, POOL_STARTING);
}

static void end_if_reaped(struct pool *pool)
{
    if (!any_process(pool, false))
        set_state(pool, POOL_ENDED);
}

/* A supervisor that was stopped or starved for a while must not take its own sleep for the silence
 * of its children. */
static void excuse_own_delay(struct pool *pool, int64_t now_ms)
{
    int64_t due_ms = pool_next_ms(pool);
    int64_t late_ms = due_ms < now_ms && due_ms > INT64_MIN ? now_ms - due_ms : 0;

    if (late_ms < POOL_PING_MS)
        return;
    for (size_t i = 0; i < pool->child_count; i++) {
        if (pool_child_lives(&pool->children[i]))
            pool->children[i].due_ms += late_ms;
    }
}

void pool_step(struct pool *pool, int64_t now_ms)
{
    excuse_own_delay(pool, now_ms);
    pool->now_ms = now_ms;
    watch_children(pool);
    if (pool->state == POOL_RESTARTING)
        finish_restart(pool);
    switch (pool->state) {
    case POOL_STARTING:
        bring_up(pool);
        if (all_ready(pool))
            set_state(pool, POOL_RUNNING);
        break;
    case POOL_RUNNING:
    case POOL_RESTARTING:
        bring_up(pool);
        break;
    case POOL_DRAINING:
        bring_up(pool);
        if (pool->deadline_ms <= now_ms)
            kill_all(pool, FP_EXIT_FAILURE, "the time to drain is over");
        break;
    case POOL_STOPPING:
        if (pool->deadline_ms <= now_ms)
            kill_all(pool, pool->exit_code, "did not stop");
        else
            end_if_reaped(pool);
        break;
    case POOL_KILLING:
        if (pool->deadline_ms <= now_ms)
            set_state(pool, POOL_ENDED); /* unkillable ones end with their supervisor */
        else
            end_if_reaped(pool);
        break;
    case POOL_ENDED:
        break;
    }
}

static int64_t min_ms(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

int64_t pool_next_ms(const struct pool *pool)
{
    int64_t next_ms = INT64_MAX;

    if (pool->state == POOL_ENDED)
        return next_ms;
    for (size_t i = 0; i < pool->child_count; i++) {
        const struct child *child = &pool->children[i];
        if (pool_child_lives(child))
            next_ms = min_ms(next_ms, min_ms(child->ping_due_ms, child->due_ms));
        else if (child->state == CHILD_ENDING || may_spawn(pool, child))
            next_ms = min_ms(next_ms, child->due_ms);
    }
    if (pool->state >= POOL_DRAINING)
        next_ms = min_ms(next_ms, pool->deadline_ms);
    return next_ms;
}

static void restart(struct pool *pool)
{
    set_state(pool, POOL_RESTARTING);
    for (size_t i = 0; i < pool->child_count; i++) {
        struct child *child = &pool->children[i];
        if (child->role == ROLE_WORKER && child->index == CONTROL_QUARANTINE_INDEX)
            child->wanted = false; /* the next scheduler asks anew */
        if (child->role == ROLE_WORKER && has_process(child))
            kill_child(pool, i, "its scheduler is gone");
        else if (!child->wanted)
            child->state = CHILD_ABSENT;
    }
}

static void judge_exit(struct pool *pool, const struct child *child, int exit_code)
{
    bool refused = exit_code == FP_EXIT_CONFIG || exit_code == FP_EXIT_NO_PERMISSION;

    switch (pool->state) {
    case POOL_STARTING:
        if (refused)
            stop_all(pool, exit_code);
        else if (child->role == ROLE_SCHEDULER)
            restart(pool);
        break;
    case POOL_RUNNING:
        if (child->role == ROLE_SCHEDULER)
            restart(pool);
        break;
    case POOL_DRAINING:
        if (child->role == ROLE_SCHEDULER)
            stop_all(pool, FP_EXIT_FAILURE);
        break;
    case POOL_RESTARTING:
    case POOL_STOPPING:
    case POOL_KILLING:
    case POOL_ENDED:
        break;
    }
}

void pool_exited(struct pool *pool, size_t i, int exit_code, int64_t now_ms)
{
    struct child *child = &pool->children[i];
    bool replaced = child->wanted && pool->state < POOL_STOPPING;

    pool->now_ms = now_ms;
    if (!replaced) {
        child->state = CHILD_ABSENT;
    } else if (pool->state == POOL_RESTARTING && child->role == ROLE_WORKER) {
        child->state = CHILD_WAITING; /* killed for no fault of its own */
    } else {
        wait_for_respawn(pool, child);
    }
    judge_exit(pool, child, exit_code);
    pool_step(pool, now_ms);
}

void pool_lost(struct pool *pool, size_t i, int64_t now_ms)
{
    struct child *child = &pool->children[i];

    if (pool_child_lives(child)) {
        child->state = CHILD_ENDING; /* most likely it is exiting: its exit code tells why */
        child->due_ms = now_ms + POOL_CLOSED_MS;
    }
    pool_step(pool, now_ms);
}

void pool_ready(struct pool *pool, size_t i, int64_t now_ms)
{
    if (pool->children[i].state == CHILD_STARTING)
        pool->children[i].state = CHILD_READY;
    pool_step(pool, now_ms);
}

void pool_pong(struct pool *pool, size_t i, int64_t now_ms)
{
    struct child *child = &pool->children[i];

    if (pool_child_lives(child))
        child->due_ms = now_ms + silence_ms(pool, child);
}

bool pool_kill_worker(struct pool *pool, unsigned index, int64_t now_ms)
{
    size_t i = pool_find(pool, ROLE_WORKER, index);

    if (i == pool->child_count)
        return false;
    if (pool_child_lives(&pool->children[i]))
        kill_child(pool, i, "the scheduler calls it stuck");
    pool_step(pool, now_ms);
    return true;
}

void pool_quarantine(struct pool *pool, bool wanted, int64_t now_ms)
{
    size_t i = pool_find(pool, ROLE_WORKER, CONTROL_QUARANTINE_INDEX);
    struct child *child = &pool->children[i];

    if (pool->state == POOL_STARTING || pool->state == POOL_RUNNING) {
        child->wanted = wanted;
        if (wanted && child->state == CHILD_ABSENT) {
            child->state = CHILD_WAITING;
            child->due_ms = now_ms;
        } else if (!wanted && child->state == CHILD_WAITING) {
            child->state = CHILD_ABSENT;
        } else if (!wanted && pool_child_lives(child)) {
            child->state = CHILD_ENDING;
            child->due_ms = now_ms + POOL_STOP_MS;
            pool->actions->send_stop(pool->arg, i);
        }
    }
    pool_step(pool, now_ms);
}

void pool_drained(struct pool *pool, int64_t now_ms)
{
    pool->now_ms = now_ms;
    switch (pool->state) {
    case POOL_STARTING:
    case POOL_RUNNING: /* unasked: Sidekiq Web's stop button */
    case POOL_DRAINING:
        stop_all(pool, FP_EXIT_OK);
        break;
    case POOL_RESTARTING:
    case POOL_STOPPING:
    case POOL_KILLING:
    case POOL_ENDED:
        break;
    }
    pool_step(pool, now_ms);
}

static void drain(struct pool *pool, unsigned drain_seconds)
{
    const struct child *scheduler = scheduler_of(pool);

    if (scheduler->state != CHILD_STARTING && scheduler->state != CHILD_READY) {
        /* Nobody is there to return what may still be claimed; it is recovered later. */
        stop_all(pool, FP_EXIT_FAILURE);
        return;
    }
    pool->deadline_ms = pool->now_ms + (int64_t)drain_seconds * 1000 + POOL_STOP_MS;
    set_state(pool, POOL_DRAINING);
    pool->actions->send_drain(pool->arg, (size_t)(scheduler - pool->children), drain_seconds);
}

void pool_terminate(struct pool *pool, unsigned drain_seconds, int64_t now_ms)
{
    pool->now_ms = now_ms;
    switch (pool->state) {
    case POOL_STARTING:
    case POOL_RUNNING:
    case POOL_RESTARTING:
        drain(pool, drain_seconds);
        break;
    case POOL_DRAINING:
    case POOL_STOPPING:
        kill_all(pool, pool->exit_code != 0 ? pool->exit_code : FP_EXIT_FAILURE,
                 "told to stop twice");
        break;
    case POOL_KILLING:
    case POOL_ENDED:
        break;
    }
    pool_step(pool, now_ms);
}
