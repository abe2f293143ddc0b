#include "sched/scheduler.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mastodon.h"
#include "sched/machine_report.h"
#include "sched/state.h"

enum {
    TICK_MS = 1000,
    SILENT_MS = 10000,
    LOOK_TICKS = 5,
    RECONCILE_TICKS = 60,
    SWEEP_TICKS = 600,
    PRUNE_TICKS = 3600,
    READY_TICKS = 10,
    HISTORY_MS = 3000,
};

/* --- the workers --- */

void scheduler_on_credit(void *arg, unsigned worker)
{
    struct scheduler *s = arg;

    if (worker == CONTROL_QUARANTINE_INDEX) {
        quarantine_step(s);
        return;
    }
    admit_dispatch(s, worker);
    intake_room(s->intake);
}

void scheduler_on_outcome(void *arg, unsigned worker, struct claim *claim,
                          const struct message_outcome *outcome)
{
    struct scheduler *s = arg;

    (void)worker;
    conclude_outcome(s, claim, outcome);
    drain_step(s);
}

void scheduler_on_lost(void *arg, unsigned worker, struct claim *claim)
{
    struct scheduler *s = arg;

    conclude_lost(s, worker, claim);
    drain_step(s);
}

void scheduler_on_stuck(void *arg, unsigned worker)
{
    struct scheduler *s = arg;
    const char peer[] = {(char)ROLE_WORKER, (char)worker};

    control_send(s->process.control, CONTROL_KILL_PEER, (struct str){peer, sizeof(peer)}, -1);
}

/* --- membership --- */

struct work_list {
    struct work *entries;
    size_t count;
    size_t capacity;
};

static void add_work(void *arg, struct claim *claim)
{
    struct work_list *list = arg;

    if (list->count < list->capacity && !claim->orphan)
        list->entries[list->count++] = (struct work){claim, claim->low ? STR("pull") : STR("push")};
}

static int by_age(const void *a, const void *b)
{
    int64_t left = ((const struct work *)a)->claim->dispatched_us;
    int64_t right = ((const struct work *)b)->claim->dispatched_us;
    return (left > right) - (left < right);
}

static void beat_registration(struct scheduler *s)
{
    unsigned busy = dispatch_in_flight(s->dispatch);
    struct work_list list = {mem_alloc((busy + 1) * sizeof(struct work)), 0, busy};

    dispatch_each(s->dispatch, add_work, &list);
    qsort(list.entries, list.count, sizeof(struct work), by_age);
    register_beat(s->registration, busy, list.entries, list.count);
    free(list.entries);
}

static void send_ready(struct scheduler *s)
{
    if (s->ready_sent)
        return;
    s->ready_sent = true;
    control_send(s->process.control, CONTROL_READY, STR_NULL, -1);
}

static void on_reconciled(void *arg)
{
    struct scheduler *s = arg;

    if (membership_state(s->membership) != MEMBER_PRESENT)
        return;
    settle_replay(s->settle);
    intake_start(s->intake);
    observer_start(s->observer);
    admit_dispatch_all(s);
}

static void on_policy(void *arg, enum redis_status status, const redisReply *reply)
{
    struct scheduler *s = arg;
    const char *policy;

    if (status == REDIS_LOST || reply->type != REDIS_REPLY_STRING)
        return;
    policy = strstr(reply->str, "maxmemory_policy:");
    if (policy == NULL || strncmp(policy, "maxmemory_policy:noeviction", 27) == 0)
        return;
    log_plain(LOG_LEVEL_ERROR,
              "Redis evicts keys, so that jobs can vanish: set maxmemory-policy noeviction");
    if (!s->ready_sent)
        role_exit(&s->process, FP_EXIT_CONFIG);
}

static void look_for_consumers(struct scheduler *s)
{
    consumer_look(s->consumer);
    if (s->consumer_pull != NULL)
        consumer_look(s->consumer_pull);
}

void scheduler_on_share(void *arg)
{
    struct scheduler *s = arg;

    lanes_set_fleet(s->lanes, fleet_machines(s->fleet), fleet_unix_offset_ms(s->fleet));
    lanes_set_rate(s->lanes, fleet_rate(s->fleet), clock_mono_ms(&s->process.clock));
}

/* How it is, and what it wants of the rate: for the next pulse. */
static void say(struct scheduler *s)
{
    const struct fleet_word word = {.unfit = s->suspicious || !admit_takes_jobs(s),
                                    .rate = s->process.config.max_rate,
                                    .wanted =
                                        lanes_wanted(s->lanes, clock_mono_ms(&s->process.clock)),
                                    .proxies = str_of(s->process.config.proxy_names)};

    fleet_say(s->fleet, &word);
}

void scheduler_on_joined(void *arg)
{
    struct scheduler *s = arg;

    if (s->state == SCHEDULER_STARTING || s->state == SCHEDULER_FENCED) {
        s->state = s->quiet ? SCHEDULER_QUIET : SCHEDULER_RUNNING;
        log_event(LOG_LEVEL_INFO, "joined",
                  LOG_STR("identity", membership_identity(s->membership)));
        say(s);
        scheduler_on_share(s);
    }
    incumbent_look(s->incumbent);
    fleet_tick(s->fleet); /* its share of the rate is asked for as a member */
    beat_registration(s);
    look_for_consumers(s);
    reconcile_run(s->reconcile, on_reconciled, s);
    send_ready(s);
}

/* Everything waiting is somebody else's now; what is with a worker is forgotten when it comes back.
 */
static void drop_everything(struct scheduler *s)
{
    size_t at = 0;
    struct claim *claim;

    while ((claim = table_next(s->holdings.by_seq, &at)) != NULL) {
        holdings_remove(&s->holdings, claim);
        if (claim->state == CLAIM_FLIGHT) {
            claim->orphan = true;
            continue;
        }
        if (claim->state == CLAIM_LANE)
            lanes_remove(s->lanes, claim, clock_mono_ms(&s->process.clock));
        if (claim->state == CLAIM_FOLLOWERS)
            followers_remove(s->followers, claim);
        claim_destroy(claim);
    }
    doubts_forget(s->doubts);
    TAILQ_INIT(&s->held);
    s->held_count = 0;
    quarantine_forget(s);
}

void scheduler_on_fenced(void *arg)
{
    struct scheduler *s = arg;

    s->asked_generation++;
    register_fenced(s->registration);
    announce_end(s);
    settle_forget(s->settle);
    intake_forget(s->intake);
    reconcile_forget(s->reconcile);
    dispatch_cancel(s->dispatch);
    drop_everything(s);
    if (s->state == SCHEDULER_DRAINING) { /* others have it all: nothing is left to return */
        s->drain = DRAIN_LEFT;
        return;
    }
    s->state = SCHEDULER_FENCED;
    control_send(s->process.control, CONTROL_IDENTITY_WANTED, STR_NULL, -1);
}

void scheduler_on_redis_ready(void *arg)
{
    struct scheduler *s = arg;
    const struct str words[] = {STR("INFO"), STR("memory")};

    script_load(s->redis);
    redis_send(s->redis, on_policy, s, 2, words);
    policies_redis_ready(s->policies);
    membership_redis_ready(s->membership);
    fleet_redis_ready(s->fleet);
    if (s->schemes != NULL)
        schemes_redis_ready(s->schemes);
}

void scheduler_on_redis_lost(void *arg, const char *reason)
{
    struct scheduler *s = arg;

    log_event(LOG_LEVEL_WARN, "Redis lost", LOG_TEXT("role", "sidekiq"),
              LOG_TEXT("reason", reason));
    membership_redis_lost(s->membership);
    observer_lost(s->observer);
    poller_lost(s->poller);
}

void scheduler_on_side_ready(void *arg)
{
    (void)arg;
}

void scheduler_on_side_lost(void *arg, const char *reason)
{
    (void)arg;
    log_event(LOG_LEVEL_WARN, "Redis lost", LOG_TEXT("role", "base, cache or wait"),
              LOG_TEXT("reason", reason));
}

void scheduler_on_ended(void *arg, const struct claim *claim, int64_t back_ms)
{
    struct scheduler *s = arg;

    if (back_ms > 0)
        lanes_left_until(s->lanes, claim, back_ms - fleet_unix_offset_ms(s->fleet));
    else
        lanes_came(s->lanes, claim);
}

void scheduler_on_settled(void *arg)
{
    struct scheduler *s = arg;

    intake_room(s->intake);
    drain_step(s);
}

void scheduler_on_listed(void *arg)
{
    struct scheduler *s = arg;
    intake_listed(s->intake);
}

void scheduler_on_former_gone(void *arg, struct str identity)
{
    struct scheduler *s = arg;
    control_send(s->process.control, CONTROL_IDENTITY_GONE, identity, -1);
}

void scheduler_on_returned(void *arg)
{
    struct scheduler *s = arg;
    intake_tick(s->intake);
}

/* --- orders from Sidekiq's Web UI --- */

static void on_quiet_stopped(void *arg)
{
    struct scheduler *s = arg;
    intake_yield(s->intake);
}

void scheduler_on_quiet(void *arg)
{
    struct scheduler *s = arg;

    s->quiet = true;
    if (s->state != SCHEDULER_RUNNING)
        return;
    s->state = SCHEDULER_QUIET;
    register_set_quiet(s->registration);
    poller_stop(s->poller);
    intake_stop(s->intake, on_quiet_stopped, s);
    drain_return_waiting(s);
}

void scheduler_on_stop(void *arg)
{
    struct scheduler *s = arg;
    drain_start(s, (unsigned)s->process.config.drain_seconds);
}

/* --- each second --- */

static void release_held(struct scheduler *s)
{
    int64_t now_ms = clock_mono_ms(&s->process.clock);
    struct claim *claim;
    struct claim *next;

    for (claim = TAILQ_FIRST(&s->held); claim != NULL; claim = next) {
        next = TAILQ_NEXT(claim, entry);
        if (claim->due_ms > now_ms)
            continue;
        TAILQ_REMOVE(&s->held, claim, entry);
        s->held_count--;
        claim->state = CLAIM_NEW;
        if (claim->recoveries >= QUARANTINE_RECOVERIES)
            quarantine_add(s, claim);
        else
            admit_again(s, claim);
    }
}

static void watch_connections(struct scheduler *s)
{
    if (redis_is_ready(s->redis) && redis_oldest_ms(s->redis) > SILENT_MS)
        redis_reconnect(s->redis, "no answer");
    if (s->redis_base != s->redis && redis_oldest_ms(s->redis_base) > SILENT_MS)
        redis_reconnect(s->redis_base, "no answer");
    if (s->redis_cache != s->redis && s->redis_cache != s->redis_base &&
        redis_oldest_ms(s->redis_cache) > SILENT_MS)
        redis_reconnect(s->redis_cache, "no answer");
    intake_watch(s->intake);
}

static void look_at_fleet(struct scheduler *s)
{
    say(s);
    fleet_tick(s->fleet);
    scheduler_on_share(s);
    releases_tick(s->releases);
    questions_tick(s->questions);
}

/* What this machine can't send, others do. */
static void stand_by(struct scheduler *s)
{
    unsigned others = fleet_healthy_others(s->fleet);
    bool was_active = s->standby.active;

    if (!standby_tick(&s->standby, s->suspicious, others, clock_mono_ms(&s->process.clock)) ||
        s->state != SCHEDULER_RUNNING || membership_state(s->membership) != MEMBER_PRESENT)
        return;
    if (!was_active)
        log_event(LOG_LEVEL_WARN, "standing by: what waits here goes back, for other machines",
                  LOG_INT("machines", others), LOG_INT("held", table_count(s->holdings.by_seq)));
    drain_return_waiting(s);
}

static void watch_ourselves(struct scheduler *s)
{
    bool suspicious = lanes_suspicious(s->lanes, clock_mono_ms(&s->process.clock));

    if (suspicious == s->suspicious)
        return;
    s->suspicious = suspicious;
    if (suspicious)
        log_plain(LOG_LEVEL_ERROR,
                  "this machine suspects itself: most hosts that were good fail at once; check its "
                  "network, resolver, clock and CA certificates");
    else
        log_plain(LOG_LEVEL_WARN, "hosts answer again: this machine no longer suspects itself");
}

static void record_history(struct scheduler *s)
{
    backlog_tick(s->backlog);
    retention_tick(s->retention);
    if (s->ticks % MACHINE_REPORT_EACH_S == 0)
        announce_sample(s);
}

static void on_tick(void *arg)
{
    struct scheduler *s = arg;

    loop_timer_set(s->tick, TICK_MS);
    s->ticks++;
    watch_connections(s);
    release_held(s);
    dispatch_tick(s->dispatch);
    foresight_tick(s->foresight);
    observer_tick(s->observer);
    look_at_fleet(s);
    if (s->schemes != NULL)
        schemes_tick(s->schemes);
    policies_tick(s->policies);
    limits_tick(s);
    quarantine_step(s);
    watch_ourselves(s);
    conclude_doubts(s);
    stand_by(s);
    if (s->state == SCHEDULER_RUNNING) {
        poller_tick(s->poller, register_processes(s->registration));
        intake_tick(s->intake);
        admit_dispatch_all(s);
    }
    intake_yield(s->intake);
    drain_step(s);
    if (s->ticks == READY_TICKS)
        send_ready(s); /* without Redis it works on, so to say: it waits for it */
    record_history(s);
    outcome_log_tick(s->outcome_log, clock_mono_ms(&s->process.clock));
    host_log_tick(s->host_log, clock_mono_ms(&s->process.clock));
    if (s->ticks % SWEEP_TICKS == 0)
        lanes_sweep(s->lanes, clock_mono_ms(&s->process.clock));
    if (membership_state(s->membership) != MEMBER_PRESENT)
        return;
    if (s->ticks % MACHINE_REPORT_EACH_S == 0)
        announce(s);
    if (s->ticks % register_beat_s(s->registration) == 0)
        beat_registration(s);
    if (s->ticks % LOOK_TICKS == 0)
        incumbent_look(s->incumbent);
    if (s->ticks % PRUNE_TICKS == 0)
        quarantine_prune(s);
    if (s->ticks % RECONCILE_TICKS == 0) {
        reconcile_run(s->reconcile, NULL, NULL);
        look_for_consumers(s);
    }
}

/* --- start --- */

/* First line: the identity to use; the others were ours, and may still hold claims. */
static void take_identity(struct scheduler *s, struct str text)
{
    bool first = true;

    while (text.len > 0) {
        size_t end = str_find(text, '\n');
        struct str line = {text.ptr, end};
        text = str_slice(text, end + 1);
        if (line.len == 0)
            continue;
        if (first)
            membership_adopt(s->membership, line);
        else
            observer_former(s->observer, line);
        first = false;
    }
}

static void on_history_host(void *arg, struct str host, bool suspect, int64_t success_s)
{
    struct scheduler *s = arg;
    int64_t now_ms = clock_mono_ms(&s->process.clock);
    int64_t success_ms = success_s >= 0 ? now_ms - success_s * 1000 : 0;

    lanes_learn(s->lanes, host, suspect, success_ms, now_ms);
    if (!suspect && success_s >= 0 && success_s < FORESIGHT_LATELY_S)
        foresight_add(s->foresight, host);
}

/* Nothing is claimed before it is known which hosts are suspect, or PostgreSQL has had its chance
 * to say so. */
static void on_history(void *arg)
{
    struct scheduler *s = arg;

    take_identity(s, str_of(s->identity_text));
    free(s->identity_text);
    s->identity_text = NULL;
}

static void on_start(void *arg)
{
    struct scheduler *s = arg;

    keys_init(&s->keys, str_of(s->process.config.redis_namespace));
    holdings_init(&s->holdings);
    TAILQ_INIT(&s->held);
    TAILQ_INIT(&s->quarantine.waiting);
    s->json = json_create();
    s->takes_pull = config_takes_pull(&s->process.config);
    assemble(s);
    say(s); /* before the first pulse: a fleet that has heard of no rate has no limit */
    for (unsigned i = 0; i < s->workers; i++)
        dispatch_connect(s->dispatch, i, s->worker_fds[i]);
    if (s->quarantine_fd > 0)
        dispatch_connect(s->dispatch, CONTROL_QUARANTINE_INDEX, s->quarantine_fd);
    s->tick = loop_timer_create(s->process.base, on_tick, s);
    loop_timer_set(s->tick, TICK_MS);
    health_load(s->health, HISTORY_MS, on_history_host, on_history, s);
}

static void on_peer(void *arg, enum role role, unsigned index, int fd)
{
    struct scheduler *s = arg;

    if (role != ROLE_WORKER ||
        (index >= DISPATCH_MAX_WORKERS && index != CONTROL_QUARANTINE_INDEX)) {
        log_event(LOG_LEVEL_ERROR, "unexpected peer", LOG_INT("role", role),
                  LOG_INT("index", index));
        exit(FP_EXIT_SOFTWARE);
    }
    if (s->dispatch != NULL) {
        dispatch_connect(s->dispatch, index, fd);
        foresight_again(s->foresight);
    } else if (index == CONTROL_QUARANTINE_INDEX) {
        s->quarantine_fd = fd;
    } else {
        s->worker_fds[index] = fd;
        if (index >= s->workers)
            s->workers = index + 1;
    }
}

static void on_identity(void *arg, struct str text)
{
    struct scheduler *s = arg;

    if (s->membership != NULL && s->identity_text == NULL) {
        take_identity(s, text);
    } else {
        free(s->identity_text);
        s->identity_text = str_dup(text);
    }
}

static void on_reload(void *arg)
{
    struct scheduler *s = arg;
    const struct config *config = &s->process.config;

    intake_set_rate(s->intake, config->claim_rate);
    outcome_log_configure(s->outcome_log, config->log_deliveries);
    if (config->sidekiq_version_set == 0)
        incumbent_configure(s->incumbent, mastodon_sidekiq_version(&config->mastodon));
}

static void on_drain(void *arg, unsigned seconds)
{
    drain_start(arg, seconds);
}

int scheduler_main(void)
{
    static const struct role_handlers handlers = {on_start, on_peer, on_reload, on_drain,
                                                  on_identity};
    struct scheduler *s = mem_alloc(sizeof(*s));

    return role_run(&s->process, ROLE_SCHEDULER, 0, &handlers, s);
}
