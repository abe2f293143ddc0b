/* The scheduler's parts, made and connected: what each borrows, and whom it tells. */
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "sched/state.h"

static struct redis *connect_role(struct scheduler *s, size_t index, const char *url,
                                  const char *name)
{
    static const struct redis_handlers side = {scheduler_on_side_ready, scheduler_on_side_lost};
    static const struct redis_handlers main_role = {scheduler_on_redis_ready,
                                                    scheduler_on_redis_lost};
    struct err err;

    if (redis_endpoint_parse(&s->endpoints[index], str_of(url),
                             str_of(s->process.config.redis_ca_file), &err) != FP_OK) {
        log_event(LOG_LEVEL_ERROR, "Redis URL unusable", LOG_TEXT("role", name),
                  LOG_TEXT("error", err.message));
        exit(FP_EXIT_CONFIG);
    }
    redis_endpoint_set_certificate(&s->endpoints[index], str_of(s->process.config.redis_cert_file),
                                   str_of(s->process.config.redis_key_file));
    if (index > 0 && redis_endpoint_equal(&s->endpoints[0], &s->endpoints[index]))
        return s->redis;
    return redis_create(s->process.base, s->dns, &s->endpoints[index], name,
                        index == 0 ? &main_role : &side, s);
}

static void connect_stores(struct scheduler *s)
{
    static const struct redis_handlers side = {scheduler_on_side_ready, scheduler_on_side_lost};
    const struct config *config = &s->process.config;
    struct dns_options dns = {
        .servers = str_of(config->resolvers), .hosts_file = true, .timeout_ms = 5000};
    struct postgres_options mastodon = {
        .conninfo = str_of(config->postgres_mastodon), .name = "mastodon", .writes = true};
    struct postgres_options fedpush = {
        .conninfo = str_of(config->postgres_fedpush), .name = "fedpush", .writes = true};
    struct postgres_options followers = {.conninfo = str_of(config->postgres_mastodon),
                                         .name = "followers"};
    struct err err;

    s->dns = dns_create(s->process.base, &dns, &err);
    if (s->dns == NULL) {
        log_event(LOG_LEVEL_ERROR, "FEDPUSH_RESOLVERS unusable", LOG_TEXT("error", err.message));
        exit(FP_EXIT_CONFIG);
    }
    s->redis = connect_role(s, 0, config->redis_sidekiq_url, "sidekiq");
    s->redis_base = connect_role(s, 1, config->redis_base_url, "base");
    s->redis_cache = connect_role(s, 2, config->redis_cache_url, "cache");
    s->redis_wait = redis_create(s->process.base, s->dns, &s->endpoints[0], "wait", &side, s);
    s->postgres = postgres_create(s->process.base, s->dns, &mastodon);
    s->postgres_fedpush = postgres_create(s->process.base, s->dns, &fedpush);
    if (!config->followers_synchronization_off)
        s->postgres_followers = postgres_create(s->process.base, s->dns, &followers);
}

static void on_claim(void *arg, struct claim *claim)
{
    admit_claim(arg, claim);
}

/* Due retries take at most half of what may be claimed: a wave of them never fills the look-ahead
 * before fresh posts. */
static struct room room_for_due(void *arg)
{
    struct room room = admit_room(arg);
    room.jobs /= 2;
    return room;
}

static int64_t own_mono_ms(void *arg)
{
    const struct scheduler *s = arg;
    return clock_mono_ms(&s->process.clock);
}

static int64_t redis_us(void *arg)
{
    const struct scheduler *s = arg;
    int64_t unix_ms = clock_mono_ms(&s->process.clock) + fleet_unix_offset_ms(s->fleet);
    return unix_ms * 1000 + clock_wall_us(&s->process.clock) % 1000; /* scores are told apart */
}

static void make_claiming(struct scheduler *s)
{
    const struct membership_handlers member = {scheduler_on_joined, scheduler_on_fenced, s};
    struct role_process *p = &s->process;

    s->due_clock = (struct clock){own_mono_ms, redis_us, s};
    s->membership = membership_create(p->base, &p->clock, s->redis, &s->keys, &member);
    const struct ahead_options ahead = {.clock = &s->due_clock,
                                        .keys = &s->keys,
                                        .wanted = circuits_have_parked,
                                        .parks_until_ms = circuits_park_until_ms,
                                        .parked = circuits_parked,
                                        .arg = s};
    const struct intake_options intake = {.base = p->base,
                                          .clock = &s->due_clock,
                                          .redis = s->redis,
                                          .redis_wait = s->redis_wait,
                                          .keys = &s->keys,
                                          .membership = s->membership,
                                          .holdings = &s->holdings,
                                          .ahead = ahead_create(&ahead),
                                          .claim_rate = p->config.claim_rate,
                                          .room = admit_room,
                                          .pull_room = s->takes_pull ? admit_pull_room : NULL,
                                          .accept = on_claim,
                                          .arg = s};
    s->intake = intake_create(&intake);
    s->reconcile =
        reconcile_create(p->base, s->redis, s->membership, &s->keys, &s->holdings, s->intake);
    const struct observer_options observer = {.base = p->base,
                                              .clock = &p->clock,
                                              .redis = s->redis,
                                              .keys = &s->keys,
                                              .membership = s->membership,
                                              .former_gone = scheduler_on_former_gone,
                                              .returned = scheduler_on_returned,
                                              .arg = s};
    s->observer = observer_create(&observer);
    const struct poller_options poller = {.clock = &s->due_clock,
                                          .rng = &p->rng,
                                          .redis = s->redis,
                                          .keys = &s->keys,
                                          .membership = s->membership,
                                          .intake = s->intake,
                                          .sidekiq = incumbent_version(s->incumbent),
                                          .room = room_for_due,
                                          .arg = s};
    s->poller = poller_create(&poller);
}

static void make_consumers(struct scheduler *s)
{
    const struct role_process *p = &s->process;

    s->consumer = consumer_create(&p->clock, s->redis, &s->keys, p->config.handoff_queue,
                                  "FEDPUSH_HANDOFF_QUEUE");
    if (s->takes_pull)
        s->consumer_pull =
            consumer_create(&p->clock, s->redis, &s->keys, p->config.handoff_queue_pull,
                            "FEDPUSH_HANDOFF_QUEUE_PULL");
}

static void make_followers(struct scheduler *s)
{
    struct role_process *p = &s->process;
    const struct followers_options followers = {.base = p->base,
                                                .clock = &p->clock,
                                                .postgres = s->postgres_followers,
                                                .web_domain = str_of(p->config.web_domain),
                                                .page_rows = FOLLOWERS_PAGE_ROWS,
                                                .tally_bytes = FOLLOWERS_TALLY_BYTES,
                                                .total_bytes = FOLLOWERS_TOTAL_BYTES,
                                                .release = admit_released,
                                                .answered = admit_counted,
                                                .arg = s};
    if (s->postgres_followers != NULL)
        s->followers = followers_create(&followers);
}

static void make_history(struct scheduler *s)
{
    struct role_process *p = &s->process;
    char machine[256] = "localhost";

    gethostname(machine, sizeof(machine) - 1);
    s->history = history_create(p->base, &p->clock, s->postgres_fedpush, str_of(machine));
    s->retention =
        retention_create(p->base, &p->clock, &p->rng, s->postgres_fedpush, p->config.history_days);
    s->recent = recent_create();
    s->outcome_log = outcome_log_create(p->config.log_deliveries);
    s->host_log = host_log_create(clock_mono_ms(&p->clock));
    s->backlog = backlog_create(&p->clock, s->redis, &s->keys);
}

static void make_recording(struct scheduler *s)
{
    /* What Sidekiq's Web UI and Mastodon's own checks find served by this process. */
    static const char *const push[] = {"push", NULL};
    static const char *const both[] = {"push", "pull", NULL};
    struct role_process *p = &s->process;
    const struct availability_options availability = {.base = p->base,
                                                      .clock = &p->clock,
                                                      .postgres = s->postgres,
                                                      .redis_base = s->redis_base,
                                                      .redis_cache = s->redis_cache,
                                                      .redis_namespace =
                                                          str_of(p->config.redis_namespace),
                                                      .mastodon = &p->config.mastodon,
                                                      .answered = admit_answered,
                                                      .arg = s};
    s->availability = availability_create(&availability);
    s->health = health_create(p->base, &p->clock, s->postgres_fedpush);
    make_history(s);
    s->footprint = footprint_create(getppid(), "/proc", "/sys/fs/cgroup");
    s->started_ms = clock_wall_us(&p->clock) / 1000;
    const struct settle_options settle = {.base = p->base,
                                          .clock = &p->clock,
                                          .redis = s->redis,
                                          .keys = &s->keys,
                                          .membership = s->membership,
                                          .holdings = &s->holdings,
                                          .availability = s->availability,
                                          .ended = scheduler_on_ended,
                                          .settled = scheduler_on_settled,
                                          .listed = scheduler_on_listed,
                                          .arg = s};
    s->settle = settle_create(&settle);
    const struct register_options registration = {.clock = &p->clock,
                                                  .redis = s->redis,
                                                  .keys = &s->keys,
                                                  .membership = s->membership,
                                                  .sidekiq = incumbent_version(s->incumbent),
                                                  .queues = s->takes_pull ? both : push,
                                                  .concurrency = p->config.concurrency,
                                                  .started_us = clock_wall_us(&p->clock),
                                                  .quiet = scheduler_on_quiet,
                                                  .stop = scheduler_on_stop,
                                                  .arg = s};
    s->registration = register_create(&registration);
    if (p->config.double_knock)
        s->schemes = schemes_create(&p->clock, s->redis, &s->keys);
    make_consumers(s);
}

static void make_lanes(struct scheduler *s)
{
    struct role_process *p = &s->process;
    const struct lane_options lanes = {.workers = s->workers,
                                       .host_window = (unsigned)p->config.host_window,
                                       .max_in_flight = (unsigned)p->config.max_in_flight,
                                       .lookahead_jobs = (unsigned)p->config.lookahead_jobs,
                                       .max_rate = p->config.max_rate,
                                       .rng = &p->rng};
    struct dispatch_options dispatch = {.base = p->base,
                                        .clock = &p->clock,
                                        .schemes = s->schemes,
                                        .policies = s->policies,
                                        .credit = scheduler_on_credit,
                                        .outcome = scheduler_on_outcome,
                                        .lost = scheduler_on_lost,
                                        .kill = scheduler_on_stuck,
                                        .arg = s};

    s->lanes = lanes_create(&lanes);
    lanes_set_fleet(s->lanes, 1, clock_wall_us(&p->clock) / 1000 - clock_mono_ms(&p->clock));
    s->doubts = doubts_create();
    const struct fleet_options fleet = {.clock = &p->clock,
                                        .rng = &p->rng,
                                        .redis = s->redis,
                                        .keys = &s->keys,
                                        .membership = s->membership,
                                        .opened = circuits_opened_elsewhere,
                                        .closed = circuits_closed_elsewhere,
                                        .held = circuits_held_elsewhere,
                                        .shared = scheduler_on_share,
                                        .arg = s};
    s->fleet = fleet_create(&fleet);
    const struct questions_options questions = {.clock = &p->clock,
                                                .redis = s->redis,
                                                .keys = &s->keys,
                                                .membership = s->membership,
                                                .lanes = s->lanes,
                                                .holdings = &s->holdings,
                                                .recent = s->recent,
                                                .policies = s->policies,
                                                .stands = announce_standing,
                                                .is_busy = announce_is_busy,
                                                .passes_on = limits_pass_on,
                                                .drain = scheduler_on_stop,
                                                .arg = s};
    s->questions = questions_create(&questions);
    s->releases = releases_create(&p->clock, s->lanes, s->fleet);
    s->wake = loop_timer_create(p->base, admit_wake, s);
    memcpy(dispatch.ticket_key, p->ticket_key, TICKET_KEY_BYTES);
    s->dispatch = dispatch_create(&dispatch);
    sodium_memzero(dispatch.ticket_key, TICKET_KEY_BYTES);
    s->foresight = foresight_create(s->lanes, s->dispatch, p->config.dns_rate);
}

void assemble(struct scheduler *s)
{
    connect_stores(s);
    s->incumbent = incumbent_create(s->redis, &s->keys, s->process.config.sidekiq_version,
                                    s->process.config.sidekiq_version_set);
    make_claiming(s);
    make_recording(s);
    make_followers(s);
    limits_start(s);
    make_lanes(s);
}
