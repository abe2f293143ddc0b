#include "worker/crew.h"

#include <assert.h>

#include "base/err.h"

const char *const crew_state_names[] = {"starting", "running", "restarting", "draining",
                                        "stopping", "killing", "ended"};

bool crew_child_lives(const struct child *child)
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
    return crew_child_lives(child) || child->state == CHILD_ENDING;
}

enum those { ALL, ALL_BUT_ADMIN, WORKERS };

static bool is_of(const struct child *child, enum those those)
{
    switch (those) {
    case ALL:
        break;
    case ALL_BUT_ADMIN:
        return child->role != ROLE_ADMIN;
    case WORKERS:
        return child->role == ROLE_WORKER;
    }
    return true;
}

static bool any_process(const struct crew *crew, enum those those)
{
    for (size_t i = 0; i < crew->child_count; i++) {
        const struct child *child = &crew->children[i];
        if (has_process(child) && is_of(child, those))
            return true;
    }
    return false;
}

static size_t find_child(const struct crew *crew, enum role role, unsigned index)
{
    size_t i = 0;
    while (i < crew->child_count &&
           (crew->children[i].role != role || crew->children[i].index != index))
        i++;
    return i;
}

static struct child *scheduler_of(struct crew *crew)
{
    return &crew->children[find_child(crew, ROLE_SCHEDULER, 0)];
}

static void add_child(struct crew *crew, enum role role, unsigned index, bool wanted)
{
    crew->children[crew->child_count++] =
        (struct child){.role = role,
                       .index = index,
                       .wanted = wanted,
                       .state = wanted ? CHILD_WAITING : CHILD_ABSENT,
                       .due_ms = INT64_MIN};
}

void crew_init(struct crew *crew, unsigned worker_count, bool admin, int patience,
               const struct crew_actions *actions, void *arg)
{
    assert(worker_count >= 1 && worker_count <= CREW_MAX_WORKERS);
    *crew = (struct crew){.actions = actions, .arg = arg, .patience = patience};
    add_child(crew, ROLE_SIGNER, 0, true);
    for (unsigned i = 0; i < worker_count; i++)
        add_child(crew, ROLE_WORKER, i, true);
    add_child(crew, ROLE_WORKER, CONTROL_QUARANTINE_INDEX, false);
    add_child(crew, ROLE_SCHEDULER, 0, true);
    if (admin)
        add_child(crew, ROLE_ADMIN, 0, true);
}

static void set_state(struct crew *crew, enum crew_state state)
{
    crew->state = state;
    crew->actions->state(crew->arg, state);
}

static void kill_child(struct crew *crew, size_t i, const char *reason)
{
    crew->children[i].state = CHILD_ENDING;
    crew->children[i].due_ms = INT64_MAX;
    crew->actions->kill(crew->arg, i, reason);
}

static void stop_child(struct crew *crew, size_t i)
{
    crew->children[i].state = CHILD_ENDING;
    crew->children[i].due_ms = INT64_MAX; /* the crew's deadline is everyone's */
    crew->actions->send_stop(crew->arg, i);
}

static void stop_all(struct crew *crew, int exit_code)
{
    crew->exit_code = exit_code;
    crew->deadline_ms = crew->now_ms + CREW_STOP_MS;
    set_state(crew, CREW_STOPPING);
    for (size_t i = 0; i < crew->child_count; i++) {
        struct child *child = &crew->children[i];
        if (child->state == CHILD_WAITING)
            child->state = CHILD_ABSENT;
        if (crew_child_lives(child) && child->role != ROLE_ADMIN)
            stop_child(crew, i);
    }
}

static void kill_all(struct crew *crew, int exit_code, const char *reason)
{
    crew->exit_code = exit_code;
    crew->deadline_ms = crew->now_ms + CREW_STOP_MS;
    set_state(crew, CREW_KILLING);
    for (size_t i = 0; i < crew->child_count; i++) {
        if (has_process(&crew->children[i]))
            kill_child(crew, i, reason);
        else
            crew->children[i].state = CHILD_ABSENT;
    }
}

static int64_t backoff_ms(unsigned failures)
{
    int64_t delay_ms = CREW_MIN_BACKOFF_MS;

    if (failures == 0)
        return 0;
    for (unsigned i = 1; i < failures && delay_ms < CREW_MAX_BACKOFF_MS; i++)
        delay_ms *= 2;
    return delay_ms < CREW_MAX_BACKOFF_MS ? delay_ms : CREW_MAX_BACKOFF_MS;
}

static void wait_for_respawn(const struct crew *crew, struct child *child)
{
    bool young = crew->now_ms - child->started_ms < CREW_YOUNG_MS;

    child->failures = young ? child->failures + 1 : 0;
    child->due_ms = crew->now_ms + backoff_ms(child->failures);
    child->state = CHILD_WAITING;
}

static bool may_spawn(const struct crew *crew, const struct child *child)
{
    if (child->state != CHILD_WAITING)
        return false;
    switch (crew->state) {
    case CREW_STARTING:
    case CREW_RUNNING:
    case CREW_DRAINING: /* what is on the wire still needs its worker's peers */
        return true;
    case CREW_RESTARTING:
        return child->role == ROLE_SIGNER || child->role == ROLE_ADMIN;
    case CREW_STOPPING:
    case CREW_KILLING:
    case CREW_ENDED:
        break;
    }
    return false;
}

/* Scheduler and signer never speak to each other: what passes between them is in the tickets. */
static bool is_edge(const struct child *a, const struct child *b)
{
    return (a->role == ROLE_WORKER) != (b->role == ROLE_WORKER) && a->role != ROLE_ADMIN &&
           b->role != ROLE_ADMIN;
}

static int64_t silence_ms(const struct crew *crew, const struct child *child)
{
    int64_t limit_ms = child->role == ROLE_SCHEDULER ? CREW_SCHEDULER_SILENCE_MS : CREW_SILENCE_MS;
    return limit_ms * crew->patience;
}

static void spawn_child(struct crew *crew, size_t i)
{
    struct child *child = &crew->children[i];

    child->started_ms = crew->now_ms;
    if (!crew->actions->spawn(crew->arg, i)) {
        wait_for_respawn(crew, child);
        return;
    }
    child->state = CHILD_SPAWNED;
    child->ping_due_ms = crew->now_ms + CREW_PING_MS;
    child->due_ms = crew->now_ms + silence_ms(crew, child);
    for (size_t peer = 0; peer < crew->child_count; peer++) {
        if (crew_child_lives(&crew->children[peer]) && is_edge(child, &crew->children[peer]))
            crew->actions->connect(crew->arg, i, peer);
    }
}

/* A worker can do nothing without signer and scheduler; these work with any number of workers. */
static bool may_start(const struct crew *crew, const struct child *child)
{
    if (child->state != CHILD_SPAWNED)
        return false;
    for (size_t i = 0; i < crew->child_count; i++) {
        const struct child *peer = &crew->children[i];
        if (child->role == ROLE_WORKER && is_edge(child, peer) && !crew_child_lives(peer))
            return false;
    }
    return true;
}

/* All due ones are spawned before any is started, so that each first has all its channels. */
static void bring_up(struct crew *crew)
{
    for (size_t i = 0; i < crew->child_count; i++) {
        if (may_spawn(crew, &crew->children[i]) && crew->children[i].due_ms <= crew->now_ms)
            spawn_child(crew, i);
    }
    for (size_t i = 0; i < crew->child_count; i++) {
        if (!may_start(crew, &crew->children[i]))
            continue;
        crew->children[i].state = CHILD_STARTING;
        crew->actions->send_start(crew->arg, i);
    }
}

static void watch_children(struct crew *crew)
{
    for (size_t i = 0; i < crew->child_count; i++) {
        struct child *child = &crew->children[i];
        if (!has_process(child))
            continue;
        if (child->due_ms <= crew->now_ms) {
            kill_child(crew, i, child->state == CHILD_ENDING ? "did not stop" : "does not answer");
        } else if (child->state != CHILD_ENDING && child->ping_due_ms <= crew->now_ms) {
            child->ping_due_ms = crew->now_ms + CREW_PING_MS;
            crew->actions->send_ping(crew->arg, i);
        }
    }
}

static bool all_ready(const struct crew *crew)
{
    for (size_t i = 0; i < crew->child_count; i++) {
        const struct child *child = &crew->children[i];
        if (child->wanted && child->role != ROLE_ADMIN && child->state != CHILD_READY)
            return false;
    }
    return true;
}

/* The workers' deliveries belong to a scheduler that is gone: its claims are recovered only when
 * nobody works on them any more. */
static void finish_restart(struct crew *crew)
{
    if (any_process(crew, WORKERS))
        return;
    for (size_t i = 0; i < crew->child_count; i++) {
        struct child *child = &crew->children[i];
        if (child->role == ROLE_WORKER && child->state == CHILD_WAITING)
            child->due_ms = crew->now_ms;
    }
    set_state(crew, CREW_STARTING);
}

/* The admin process goes when all others have gone. */
static void stop_last(struct crew *crew)
{
    if (any_process(crew, ALL_BUT_ADMIN))
        return;
    for (size_t i = 0; i < crew->child_count; i++) {
        if (crew_child_lives(&crew->children[i]))
            stop_child(crew, i);
    }
}

static void end_if_reaped(struct crew *crew)
{
    if (!any_process(crew, ALL))
        set_state(crew, CREW_ENDED);
}

/* A supervisor that was stopped or starved for a while must not take its own sleep for the silence
 * of its children. */
static void excuse_own_delay(struct crew *crew, int64_t now_ms)
{
    int64_t due_ms = crew_next_ms(crew);
    int64_t late_ms = due_ms < now_ms && due_ms > INT64_MIN ? now_ms - due_ms : 0;

    if (late_ms < CREW_PING_MS)
        return;
    for (size_t i = 0; i < crew->child_count; i++) {
        if (crew_child_lives(&crew->children[i]))
            crew->children[i].due_ms += late_ms;
    }
}

void crew_step(struct crew *crew, int64_t now_ms)
{
    excuse_own_delay(crew, now_ms);
    crew->now_ms = now_ms;
    watch_children(crew);
    if (crew->state == CREW_RESTARTING)
        finish_restart(crew);
    switch (crew->state) {
    case CREW_STARTING:
        bring_up(crew);
        if (all_ready(crew))
            set_state(crew, CREW_RUNNING);
        break;
    case CREW_RUNNING:
    case CREW_RESTARTING:
        bring_up(crew);
        break;
    case CREW_DRAINING:
        bring_up(crew);
        if (crew->deadline_ms <= now_ms)
            kill_all(crew, FP_EXIT_FAILURE, "the time to drain is over");
        break;
    case CREW_STOPPING:
        if (crew->deadline_ms <= now_ms)
            kill_all(crew, crew->exit_code, "did not stop");
        else
            stop_last(crew);
        if (crew->state == CREW_STOPPING)
            end_if_reaped(crew);
        break;
    case CREW_KILLING:
        if (crew->deadline_ms <= now_ms)
            set_state(crew, CREW_ENDED); /* unkillable ones end with their supervisor */
        else
            end_if_reaped(crew);
        break;
    case CREW_ENDED:
        break;
    }
}

static int64_t min_ms(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

int64_t crew_next_ms(const struct crew *crew)
{
    int64_t next_ms = INT64_MAX;

    if (crew->state == CREW_ENDED)
        return next_ms;
    for (size_t i = 0; i < crew->child_count; i++) {
        const struct child *child = &crew->children[i];
        if (crew_child_lives(child))
            next_ms = min_ms(next_ms, min_ms(child->ping_due_ms, child->due_ms));
        else if (child->state == CHILD_ENDING || may_spawn(crew, child))
            next_ms = min_ms(next_ms, child->due_ms);
    }
    if (crew->state >= CREW_DRAINING)
        next_ms = min_ms(next_ms, crew->deadline_ms);
    return next_ms;
}

static void restart(struct crew *crew)
{
    set_state(crew, CREW_RESTARTING);
    for (size_t i = 0; i < crew->child_count; i++) {
        struct child *child = &crew->children[i];
        if (child->role == ROLE_WORKER && child->index == CONTROL_QUARANTINE_INDEX)
            child->wanted = false; /* the next scheduler asks anew */
        if (child->role == ROLE_WORKER && has_process(child))
            kill_child(crew, i, "its scheduler is gone");
        else if (!child->wanted)
            child->state = CHILD_ABSENT;
    }
}

static void judge_exit(struct crew *crew, const struct child *child, int exit_code)
{
    bool refused = exit_code == FP_EXIT_CONFIG || exit_code == FP_EXIT_NO_PERMISSION;

    switch (crew->state) {
    case CREW_STARTING:
        if (refused && child->role != ROLE_ADMIN)
            stop_all(crew, exit_code);
        else if (child->role == ROLE_SCHEDULER)
            restart(crew);
        break;
    case CREW_RUNNING:
        if (child->role == ROLE_SCHEDULER)
            restart(crew);
        break;
    case CREW_DRAINING:
        if (child->role == ROLE_SCHEDULER)
            stop_all(crew, FP_EXIT_FAILURE);
        break;
    case CREW_RESTARTING:
    case CREW_STOPPING:
    case CREW_KILLING:
    case CREW_ENDED:
        break;
    }
}

void crew_exited(struct crew *crew, size_t i, int exit_code, int64_t now_ms)
{
    struct child *child = &crew->children[i];
    bool replaced = child->wanted && crew->state < CREW_STOPPING;

    crew->now_ms = now_ms;
    if (!replaced) {
        child->state = CHILD_ABSENT;
    } else if (crew->state == CREW_RESTARTING && child->role == ROLE_WORKER) {
        child->state = CHILD_WAITING; /* killed for no fault of its own */
    } else {
        wait_for_respawn(crew, child);
    }
    judge_exit(crew, child, exit_code);
    crew_step(crew, now_ms);
}

void crew_lost(struct crew *crew, size_t i, int64_t now_ms)
{
    struct child *child = &crew->children[i];

    if (crew_child_lives(child)) {
        child->state = CHILD_ENDING; /* most likely it is exiting: its exit code tells why */
        child->due_ms = now_ms + CREW_CLOSED_MS;
    }
    crew_step(crew, now_ms);
}

void crew_ready(struct crew *crew, size_t i, int64_t now_ms)
{
    if (crew->children[i].state == CHILD_STARTING)
        crew->children[i].state = CHILD_READY;
    crew_step(crew, now_ms);
}

void crew_pong(struct crew *crew, size_t i, int64_t now_ms)
{
    struct child *child = &crew->children[i];

    if (crew_child_lives(child))
        child->due_ms = now_ms + silence_ms(crew, child);
}

bool crew_kill_worker(struct crew *crew, unsigned index, int64_t now_ms)
{
    size_t i = find_child(crew, ROLE_WORKER, index);

    if (i == crew->child_count)
        return false;
    if (crew_child_lives(&crew->children[i]))
        kill_child(crew, i, "the scheduler calls it stuck");
    crew_step(crew, now_ms);
    return true;
}

void crew_quarantine(struct crew *crew, bool wanted, int64_t now_ms)
{
    size_t i = find_child(crew, ROLE_WORKER, CONTROL_QUARANTINE_INDEX);
    struct child *child = &crew->children[i];

    if (crew->state == CREW_STARTING || crew->state == CREW_RUNNING) {
        child->wanted = wanted;
        if (wanted && child->state == CHILD_ABSENT) {
            child->state = CHILD_WAITING;
            child->due_ms = now_ms;
        } else if (!wanted && child->state == CHILD_WAITING) {
            child->state = CHILD_ABSENT;
        } else if (!wanted && crew_child_lives(child)) {
            child->state = CHILD_ENDING;
            child->due_ms = now_ms + CREW_STOP_MS;
            crew->actions->send_stop(crew->arg, i);
        }
    }
    crew_step(crew, now_ms);
}

void crew_drained(struct crew *crew, int64_t now_ms)
{
    crew->now_ms = now_ms;
    switch (crew->state) {
    case CREW_STARTING:
    case CREW_RUNNING: /* unasked: Sidekiq Web's stop button */
    case CREW_DRAINING:
        stop_all(crew, FP_EXIT_OK);
        break;
    case CREW_RESTARTING:
    case CREW_STOPPING:
    case CREW_KILLING:
    case CREW_ENDED:
        break;
    }
    crew_step(crew, now_ms);
}

static void drain(struct crew *crew, unsigned drain_seconds)
{
    const struct child *scheduler = scheduler_of(crew);

    if (scheduler->state != CHILD_STARTING && scheduler->state != CHILD_READY) {
        /* Nobody is there to return what may still be claimed; it is recovered later. */
        stop_all(crew, FP_EXIT_FAILURE);
        return;
    }
    crew->deadline_ms = crew->now_ms + (int64_t)drain_seconds * 1000 + CREW_STOP_MS;
    set_state(crew, CREW_DRAINING);
    crew->actions->send_drain(crew->arg, (size_t)(scheduler - crew->children), drain_seconds);
}

void crew_terminate(struct crew *crew, unsigned drain_seconds, int64_t now_ms)
{
    crew->now_ms = now_ms;
    switch (crew->state) {
    case CREW_STARTING:
    case CREW_RUNNING:
    case CREW_RESTARTING:
        drain(crew, drain_seconds);
        break;
    case CREW_DRAINING:
    case CREW_STOPPING:
        kill_all(crew, crew->exit_code != 0 ? crew->exit_code : FP_EXIT_FAILURE,
                 "told to stop twice");
        break;
    case CREW_KILLING:
    case CREW_ENDED:
        break;
    }
    crew_step(crew, now_ms);
}
