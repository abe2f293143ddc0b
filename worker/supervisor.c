#include "worker/supervisor.h"

#include <errno.h>
#include <signal.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/limits.h"
#include "base/loop.h"
#include "base/secret.h"
#include "base/ticket.h"
#include "worker/crew.h"
#include "worker/identity.h"
#include "worker/notify.h"
#include "worker/reload.h"
#include "worker/reread.h"
#include "worker/spawn.h"

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SANITIZED 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__)
#define SANITIZED 1
#endif

#ifdef SANITIZED
enum { PATIENCE = 2 };
#else
enum { PATIENCE = 1 };
#endif

enum supervisor_signal {
    SIGNAL_TERM = 0,
    SIGNAL_INT,
    SIGNAL_HUP,
    SIGNAL_CHLD,
    SIGNAL_COUNT,
};

/* A child's process: what the crew's child is not told. */
struct seat {
    struct supervisor *supervisor;
    size_t child; /* its number in the crew */
    pid_t pid;    /* 0: none */
    struct control *control;
};

struct supervisor {
    struct config *config;
    const char *mastodon_dir;
    struct event_base *base;
    struct clock clock;
    struct crew crew;
    struct seat seats[CREW_MAX_CHILDREN];
    struct identities *identities;
    struct reread *reread;
    struct loop_timer *step_timer;
    struct loop_timer *watchdog_timer; /* NULL: systemd wants none */
    int64_t watchdog_ms;
    struct event *signals[SIGNAL_COUNT];
    uint64_t ping;
    unsigned worker_count;
    unsigned char ticket_key[TICKET_KEY_BYTES];
};

static int64_t now_ms(const struct supervisor *s)
{
    return clock_mono_ms(&s->clock);
}

static const struct child *child_of(const struct supervisor *s, size_t i)
{
    return &s->crew.children[i];
}

/* Follows each call into the crew: it may want to be asked at another time now. */
static void schedule(struct supervisor *s)
{
    int64_t next_ms = crew_next_ms(&s->crew);

    if (next_ms == INT64_MAX)
        loop_timer_clear(s->step_timer);
    else
        loop_timer_set(s->step_timer, next_ms > now_ms(s) ? next_ms - now_ms(s) : 0);
}

static void on_step(void *arg)
{
    struct supervisor *s = arg;

    crew_step(&s->crew, now_ms(s));
    schedule(s);
}

static void log_child(const struct supervisor *s, enum log_level level, const char *message,
                      size_t i, const char *key, int64_t value)
{
    const struct child *child = child_of(s, i);
    log_event(level, message, LOG_TEXT("process", role_names[child->role]),
              LOG_INT("index", child->index), LOG_INT("pid", s->seats[i].pid), LOG_INT(key, value));
}

/* ---- what the children say ---- */

static enum fp_err add_identity(struct supervisor *s, struct err *err)
{
    unsigned char nonce[IDENTITY_NONCE_BYTES];
    char host[256] = "";

    if (gethostname(host, sizeof(host) - 1) == -1)
        host[0] = '\0';
    randombytes_buf(nonce, sizeof(nonce));
    return identities_add(s->identities, host, getpid(), nonce, err);
}

static void send_identity(struct supervisor *s, struct seat *seat)
{
    struct buf text;

    buf_init(&text, CONTROL_MAX_BYTES);
    identities_put(s->identities, &text);
    control_send(seat->control, CONTROL_IDENTITY, buf_str(&text), -1);
    buf_clear(&text);
}

static void kill_seat(void *arg, size_t i, const char *reason)
{
    struct supervisor *s = arg;
    const struct child *child = child_of(s, i);

    log_event(LOG_LEVEL_WARN, "process killed", LOG_TEXT("process", role_names[child->role]),
              LOG_INT("index", child->index), LOG_INT("pid", s->seats[i].pid),
              LOG_TEXT("reason", reason));
    if (s->seats[i].pid > 0)
        kill(s->seats[i].pid, SIGKILL);
}

/* Without an identity on the disk its claims could not be told from a stranger's. */
static void give_new_identity(struct supervisor *s, struct seat *seat)
{
    struct err err;

    if (add_identity(s, &err) == FP_OK) {
        send_identity(s, seat);
        return;
    }
    log_event(LOG_LEVEL_ERROR, "no new identity; the scheduler is restarted",
              LOG_TEXT("reason", err.message));
    kill_seat(s, seat->child, "it needs a new identity");
}

static void forget_identity(struct supervisor *s, struct str identity)
{
    struct err err;

    if (identities_remove(s->identities, identity, &err) != FP_OK)
        log_event(LOG_LEVEL_WARN, "former identity not forgotten", LOG_STR("identity", identity),
                  LOG_TEXT("reason", err.message));
}

static bool on_scheduler_message(struct supervisor *s, struct seat *seat, enum control_type type,
                                 struct str payload)
{
    const unsigned char *bytes = (const unsigned char *)payload.ptr;

    switch (type) {
    case CONTROL_DRAINED:
        crew_drained(&s->crew, now_ms(s));
        return payload.len == 0;
    case CONTROL_KILL_PEER:
        return payload.len == 2 && bytes[0] == ROLE_WORKER &&
               crew_kill_worker(&s->crew, bytes[1], now_ms(s));
    case CONTROL_QUARANTINE:
        if (payload.len != 1 || bytes[0] > 1)
            return false;
        crew_quarantine(&s->crew, bytes[0] == 1, now_ms(s));
        return true;
    case CONTROL_IDENTITY_WANTED:
        give_new_identity(s, seat);
        return payload.len == 0;
    case CONTROL_IDENTITY_GONE:
        forget_identity(s, payload);
        return true;
    case CONTROL_CONFIG:
    case CONTROL_PEER:
    case CONTROL_START:
    case CONTROL_RELOAD:
    case CONTROL_DRAIN:
    case CONTROL_STOP:
    case CONTROL_PING:
    case CONTROL_IDENTITY:
    case CONTROL_TICKET_KEY:
    case CONTROL_READY:
    case CONTROL_PONG:
        break; /* the supervisor's own words, or every role's */
    }
    return false;
}

static bool on_message(void *arg, struct control *control, enum control_type type,
                       struct str payload, int fd)
{
    struct seat *seat = arg;
    struct supervisor *s = seat->supervisor;
    bool good;
    (void)control;

    if (fd >= 0)
        close(fd); /* no role has one to give */
    if (type == CONTROL_READY) {
        good = true;
        crew_ready(&s->crew, seat->child, now_ms(s));
    } else if (type == CONTROL_PONG) {
        good = payload.len == sizeof(s->ping);
        crew_pong(&s->crew, seat->child, now_ms(s));
    } else {
        good = child_of(s, seat->child)->role == ROLE_SCHEDULER &&
               on_scheduler_message(s, seat, type, payload);
    }
    schedule(s);
    return good;
}

static void on_closed(void *arg, struct control *control, const char *reason)
{
    struct seat *seat = arg;
    struct supervisor *s = seat->supervisor;
    const struct child *child = child_of(s, seat->child);

    if (crew_child_lives(child))
        log_event(LOG_LEVEL_WARN, "control socket closed",
                  LOG_TEXT("process", role_names[child->role]), LOG_INT("index", child->index),
                  LOG_TEXT("reason", reason));
    control_destroy(control);
    seat->control = NULL;
    crew_lost(&s->crew, seat->child, now_ms(s));
    schedule(s);
}

/* ---- what the crew wants ---- */

static void send_u8_pair(struct control *control, enum control_type type, unsigned first,
                         unsigned second, int fd)
{
    const char bytes[] = {(char)first, (char)second};
    control_send(control, type, (struct str){bytes, sizeof(bytes)}, fd);
}

/* What the workers can take: the scheduler divides no more. */
static int max_in_flight(const struct config *config)
{
    int all = config->workers * (int)limits_here(config).in_flight;
    return all < config->max_in_flight ? all : config->max_in_flight;
}

static bool send_config(struct supervisor *s, size_t i, enum control_type type)
{
    struct config visible = *s->config; /* borrows its texts */
    struct buf bytes;

    visible.workers = (int)s->worker_count;
    visible.max_in_flight = max_in_flight(&visible);
    buf_init(&bytes, CONTROL_MAX_BYTES);
    config_encode(&visible, child_of(s, i)->role, &bytes);
    bool fits = !bytes.overflow;
    if (fits)
        control_send(s->seats[i].control, type, buf_str(&bytes), -1);
    else
        log_plain(LOG_LEVEL_ERROR, "configuration larger than 64 KiB; shorten its longest values");
    secret_buf_clear(&bytes);
    return fits;
}

static void greet(struct supervisor *s, size_t i)
{
    struct seat *seat = &s->seats[i];
    enum role role = child_of(s, i)->role;

    if (role == ROLE_SCHEDULER || role == ROLE_SIGNER)
        control_send(seat->control, CONTROL_TICKET_KEY,
                     (struct str){(const char *)s->ticket_key, sizeof(s->ticket_key)}, -1);
    if (role == ROLE_SCHEDULER)
        send_identity(s, seat);
}

static bool spawn_seat(void *arg, size_t i)
{
    static const struct control_handlers handlers = {on_message, on_closed};
    struct supervisor *s = arg;
    const struct child *child = child_of(s, i);
    struct spawned spawned;
    struct err err;

    enum fp_err code = FP_OK;
    if (child->role == ROLE_SCHEDULER)
        code = add_identity(s, &err);
    if (code == FP_OK)
        code = spawn_role(child->role, child->index, &spawned, &err);
    if (code != FP_OK) {
        log_event(LOG_LEVEL_ERROR, "process not started", LOG_TEXT("reason", err.message));
        return false;
    }
    s->seats[i].pid = spawned.pid;
    s->seats[i].control = control_create(s->base, spawned.control_fd, &handlers, &s->seats[i]);
    log_child(s, LOG_LEVEL_INFO, "process started", i, "failures", child->failures);
    if (send_config(s, i, CONTROL_CONFIG))
        greet(s, i);
    return true; /* one without a configuration is silent, and replaced for that */
}

static void connect_seats(void *arg, size_t a, size_t b)
{
    struct supervisor *s = arg;
    struct err err;
    int ends[2];

    if (s->seats[a].control == NULL || s->seats[b].control == NULL)
        return;
    if (spawn_channel(ends, &err) != FP_OK) {
        log_event(LOG_LEVEL_ERROR, "no channel", LOG_TEXT("reason", err.message));
        kill_seat(s, a, "it can't reach its peers");
        return;
    }
    send_u8_pair(s->seats[a].control, CONTROL_PEER, child_of(s, b)->role, child_of(s, b)->index,
                 ends[0]);
    send_u8_pair(s->seats[b].control, CONTROL_PEER, child_of(s, a)->role, child_of(s, a)->index,
                 ends[1]);
    close(ends[0]);
    close(ends[1]);
}

static void send_to(struct supervisor *s, size_t i, enum control_type type, struct str payload)
{
    if (s->seats[i].control != NULL)
        control_send(s->seats[i].control, type, payload, -1);
}

static void send_start(void *arg, size_t i)
{
    send_to(arg, i, CONTROL_START, STR_NULL);
}

static void send_stop(void *arg, size_t i)
{
    send_to(arg, i, CONTROL_STOP, STR_NULL);
}

static void put_little_endian(char *bytes, size_t count, uint64_t value)
{
    for (size_t i = 0; i < count; i++, value >>= 8)
        bytes[i] = (char)(value & 0xff);
}

static void send_drain(void *arg, size_t i, unsigned seconds)
{
    char bytes[4];

    put_little_endian(bytes, sizeof(bytes), seconds);
    send_to(arg, i, CONTROL_DRAIN, (struct str){bytes, sizeof(bytes)});
}

static void send_ping(void *arg, size_t i)
{
    struct supervisor *s = arg;
    char bytes[sizeof(s->ping)];

    put_little_endian(bytes, sizeof(bytes), ++s->ping);
    send_to(s, i, CONTROL_PING, (struct str){bytes, sizeof(bytes)});
}

static void on_crew_state(void *arg, enum crew_state state)
{
    struct supervisor *s = arg;

    log_event(LOG_LEVEL_INFO, "state", LOG_TEXT("is", crew_state_names[state]),
              LOG_INT("workers", s->worker_count));
    notify_status("%s; workers: %u", crew_state_names[state], s->worker_count);
    switch (state) {
    case CREW_RUNNING:
        notify_ready();
        break;
    case CREW_DRAINING:
    case CREW_STOPPING:
    case CREW_KILLING:
        notify_stopping();
        break;
    case CREW_ENDED:
        event_base_loopexit(s->base, NULL);
        break;
    case CREW_STARTING:
    case CREW_RESTARTING:
        break;
    }
}

static const struct crew_actions actions = {spawn_seat, connect_seats, send_start, send_stop,
                                            send_drain, send_ping,     kill_seat,  on_crew_state};

/* ---- signals and time ---- */

static void on_child_gone(struct supervisor *s, size_t i, int status)
{
    struct seat *seat = &s->seats[i];
    int exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
    bool expected = child_of(s, i)->state == CHILD_ENDING && exit_code == FP_EXIT_OK;

    log_child(s, expected ? LOG_LEVEL_INFO : LOG_LEVEL_WARN, "process ended", i, "exit", exit_code);
    control_destroy(seat->control);
    seat->control = NULL;
    seat->pid = 0;
    crew_exited(&s->crew, i, exit_code, now_ms(s));
}

static void reap(struct supervisor *s)
{
    int status;
    pid_t pid;

    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
        size_t i = 0;
        while (i < s->crew.child_count && s->seats[i].pid != pid)
            i++;
        if (i < s->crew.child_count)
            on_child_gone(s, i, status);
    }
    schedule(s);
}

static void send_reload(struct supervisor *s)
{
    log_set_level(s->config->log_level);
    for (size_t i = 0; i < s->crew.child_count; i++) {
        if (crew_child_lives(child_of(s, i)) && s->seats[i].control != NULL)
            send_config(s, i, CONTROL_RELOAD);
    }
}

static void reload(struct supervisor *s, const struct config *fresh)
{
    struct buf restart;

    buf_init(&restart, 2048);
    reload_merge(s->config, fresh, &restart);
    send_reload(s);
    if (restart.len > 0)
        log_event(LOG_LEVEL_WARN, "reloaded; what else has changed needs a restart",
                  LOG_STR("changed", buf_str(&restart)));
    else
        log_plain(LOG_LEVEL_INFO, "reloaded");
    buf_clear(&restart);
}

static void follow_upgrade(struct supervisor *s, const struct config *fresh)
{
    struct buf restart;

    if (strcmp(fresh->mastodon.text, s->config->mastodon.text) == 0)
        return; /* the file was only written again */
    log_event(LOG_LEVEL_INFO, "another Mastodon is installed",
              LOG_TEXT("before", s->config->mastodon.text), LOG_TEXT("now", fresh->mastodon.text));
    buf_init(&restart, 2048);
    reload_upgrade(s->config, fresh, &restart);
    send_reload(s);
    if (restart.len > 0)
        log_event(LOG_LEVEL_WARN, "what has changed beside Mastodon's version needs a restart",
                  LOG_STR("changed", buf_str(&restart)));
    buf_clear(&restart);
}

static void on_reread(void *arg, enum reread_reason reason, const struct config *fresh,
                      const char *error)
{
    struct supervisor *s = arg;

    if (fresh == NULL)
        log_event(LOG_LEVEL_ERROR,
                  reason == REREAD_ORDERED ? "not reloaded: the configuration is invalid"
                                           : "another Mastodon is installed, but not followed",
                  LOG_TEXT("reason", error));
    else if (reason == REREAD_ORDERED)
        reload(s, fresh);
    else
        follow_upgrade(s, fresh);
    if (reason == REREAD_ORDERED && s->crew.state == CREW_RUNNING)
        notify_ready();
}

static void on_signal(evutil_socket_t number, short what, void *arg)
{
    struct supervisor *s = arg;
    (void)what;

    if (number == SIGCHLD) {
        reap(s);
    } else if (number == SIGHUP) {
        if (s->crew.state == CREW_RUNNING) /* systemd waits for READY otherwise */
            notify_reloading();
        reread_order(s->reread);
    } else {
        crew_terminate(&s->crew, (unsigned)s->config->drain_seconds, now_ms(s));
        schedule(s);
    }
}

static void on_watchdog(void *arg)
{
    struct supervisor *s = arg;

    notify_watchdog();
    loop_timer_set(s->watchdog_timer, s->watchdog_ms);
}

static void open_loop(struct supervisor *s)
{
    static const int numbers[SIGNAL_COUNT] = {SIGTERM, SIGINT, SIGHUP, SIGCHLD};

    signal(SIGPIPE, SIG_IGN);
    s->base = loop_create();
    s->clock = clock_system();
    s->step_timer = loop_timer_create(s->base, on_step, s);
    for (size_t i = 0; i < SIGNAL_COUNT; i++) {
        s->signals[i] = evsignal_new(s->base, numbers[i], on_signal, s);
        if (s->signals[i] == NULL || event_add(s->signals[i], NULL) != 0)
            abort();
    }
    s->watchdog_ms = notify_watchdog_ms();
    if (s->watchdog_ms > 0) {
        s->watchdog_timer = loop_timer_create(s->base, on_watchdog, s);
        loop_timer_set(s->watchdog_timer, 0);
    }
}

static void close_loop(struct supervisor *s)
{
    for (size_t i = 0; i < s->crew.child_count; i++)
        control_destroy(s->seats[i].control);
    for (size_t i = 0; i < SIGNAL_COUNT; i++)
        event_free(s->signals[i]);
    loop_timer_destroy(s->watchdog_timer);
    loop_timer_destroy(s->step_timer);
    reread_destroy(s->reread);
    event_base_free(s->base);
}

static void warn_of_few_descriptors(const struct supervisor *s)
{
    struct config config = *s->config; /* borrows its texts */

    config.workers = (int)s->worker_count;
    if (max_in_flight(&config) < config.max_in_flight)
        log_event(LOG_LEVEL_WARN, "few descriptors: raise LimitNOFILE=",
                  LOG_INT("deliveries_at_once", max_in_flight(&config)),
                  LOG_INT("instead_of", config.max_in_flight));
}

int supervisor_run(struct config *config, const char *mastodon_dir)
{
    struct supervisor *s = mem_alloc(sizeof(*s));
    struct err err;

    s->config = config;
    s->mastodon_dir = mastodon_dir;
    if (identities_open(&s->identities, config->runtime_dir, &err) != FP_OK) {
        log_event(LOG_LEVEL_ERROR, "not started", LOG_TEXT("reason", err.message));
        free(s);
        return FP_EXIT_CONFIG;
    }
    s->worker_count = limits_workers(config);
    if (s->worker_count > CREW_MAX_WORKERS)
        s->worker_count = CREW_MAX_WORKERS;
    warn_of_few_descriptors(s);
    randombytes_buf(s->ticket_key, sizeof(s->ticket_key));
    spawn_prepare();
    open_loop(s);
    s->reread = reread_create(s->base, config, mastodon_dir, REREAD_LOOK_MS, on_reread, s);
    crew_init(&s->crew, s->worker_count, config->admin_listen[0] != '\0', PATIENCE, &actions, s);
    for (size_t i = 0; i < s->crew.child_count; i++)
        s->seats[i] = (struct seat){.supervisor = s, .child = i};
    loop_timer_set(s->step_timer, 0);
    event_base_dispatch(s->base);

    int exit_code = s->crew.exit_code;
    close_loop(s);
    identities_close(s->identities);
    secret_wipe(s->ticket_key, sizeof(s->ticket_key));
    free(s);
    return exit_code;
}
