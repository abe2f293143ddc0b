#include "base/role.h"

#include <assert.h>
#include <signal.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/loop.h"
#include "base/secret.h"
#include "base/thrift.h"

enum start_state {
    START_CONFIG = 0, /* CONTROL_CONFIG must come first */
    START_PEERS,      /* then, for the scheduler, CONTROL_IDENTITY, and PEERs up to START */
    START_DONE,
};

struct role_start {
    struct role_process *process;
    const struct role_handlers *handlers;
    void *arg;
    enum start_state state;
    bool has_identity;
    bool has_ticket_key;
    bool malformed; /* the supervisor sent what this release doesn't know */
};

static uint64_t little_endian(struct str bytes)
{
    uint64_t value = 0;
    for (size_t i = bytes.len; i > 0; i--)
        value = value << 8 | (unsigned char)bytes.ptr[i - 1];
    return value;
}

static bool take_config(struct role_start *start, struct str payload)
{
    struct config *config = &start->process->config;

    if (start->state != START_CONFIG || !config_decode(config, payload))
        return false;
    log_set_level(config->log_level);
    start->state = START_PEERS;
    return true;
}

static bool take_peer(struct role_start *start, struct str payload, int fd)
{
    if (start->state == START_CONFIG || payload.len != 2 || fd < 0)
        return false;
    unsigned role = (unsigned char)payload.ptr[0];
    unsigned index = (unsigned char)payload.ptr[1];
    if (role <= ROLE_SUPERVISOR || role >= ROLE_COUNT)
        return false;
    start->handlers->peer(start->arg, (enum role)role, index, fd);
    return true;
}

static bool wants_ticket_key(const struct role_start *start)
{
    return start->process->role == ROLE_SCHEDULER || start->process->role == ROLE_SIGNER;
}

static bool take_ticket_key(struct role_start *start, struct str payload)
{
    if (start->state != START_PEERS || !wants_ticket_key(start) || payload.len != TICKET_KEY_BYTES)
        return false;
    memcpy(start->process->ticket_key, payload.ptr, TICKET_KEY_BYTES);
    start->has_ticket_key = true;
    return true;
}

static bool take_start(struct role_start *start, struct str payload)
{
    bool wants_identity = start->handlers->identity != NULL;

    if (start->state != START_PEERS || payload.len != 0 ||
        (wants_identity && !start->has_identity) ||
        (wants_ticket_key(start) && !start->has_ticket_key))
        return false;
    start->state = START_DONE;
    start->handlers->start(start->arg);
    return true;
}

/* Only these may change in a running process; everything else is borrowed all over it. */
static bool take_reload(struct role_start *start, struct str payload)
{
    struct config *config = &start->process->config;
    struct config fresh = {0};

    if (start->state == START_CONFIG || !config_decode(&fresh, payload))
        return false;
    config->claim_rate = fresh.claim_rate;
    config->max_rate = fresh.max_rate;
    config->drain_seconds = fresh.drain_seconds;
    config->log_level = fresh.log_level;
    free(config->log_deliveries);
    config->log_deliveries = fresh.log_deliveries;
    fresh.log_deliveries = NULL;
    config->mastodon = fresh.mastodon;
    config_clear(&fresh);
    log_set_level(config->log_level);
    if (start->state == START_DONE && start->handlers->reload != NULL)
        start->handlers->reload(start->arg);
    return true;
}

static bool take_drain(struct role_start *start, struct str payload)
{
    if (start->state != START_DONE || payload.len != 4)
        return false;
    if (start->handlers->drain != NULL)
        start->handlers->drain(start->arg, (unsigned)little_endian(payload));
    return true;
}

static bool take_identity(struct role_start *start, struct str payload)
{
    if (start->state == START_CONFIG || start->handlers->identity == NULL)
        return false;
    start->has_identity = true;
    start->handlers->identity(start->arg, payload);
    return true;
}

static bool dispatch(struct role_start *start, enum control_type type, struct str payload, int fd)
{
    switch (type) {
    case CONTROL_CONFIG:
        return take_config(start, payload);
    case CONTROL_PEER:
        return take_peer(start, payload, fd);
    case CONTROL_START:
        return take_start(start, payload);
    case CONTROL_RELOAD:
        return take_reload(start, payload);
    case CONTROL_DRAIN:
        return take_drain(start, payload);
    case CONTROL_STOP:
        role_exit(start->process, FP_EXIT_OK);
        return true;
    case CONTROL_PING:
        control_send(start->process->control, CONTROL_PONG, payload, -1);
        return payload.len == sizeof(uint64_t);
    case CONTROL_IDENTITY:
        return take_identity(start, payload);
    case CONTROL_TICKET_KEY:
        return take_ticket_key(start, payload);
    case CONTROL_READY:
    case CONTROL_PONG:
    case CONTROL_DRAINED:
    case CONTROL_KILL_PEER:
    case CONTROL_IDENTITY_WANTED:
    case CONTROL_IDENTITY_GONE:
    case CONTROL_QUARANTINE:
        break; /* a role's own words */
    }
    return false;
}

static bool on_message(void *arg, struct control *control, enum control_type type,
                       struct str payload, int fd)
{
    struct role_start *start = arg;
    (void)control;

    if (fd >= 0 && type != CONTROL_PEER) {
        close(fd);
        fd = -1;
    }
    bool good = dispatch(start, type, payload, fd);
    if (!good) {
        start->malformed = true;
        log_event(LOG_LEVEL_ERROR, "the supervisor's message was not expected; restart fedpush",
                  LOG_INT("type", type), LOG_INT("bytes", payload.len));
    }
    return good;
}

/* No process outlives its supervisor, and nothing of this one is worth a second of waiting: what it
 * holds is recovered by the next. */
static void on_closed(void *arg, struct control *control, const char *reason)
{
    const struct role_start *start = arg;
    (void)control;
    (void)reason;
    _exit(start->malformed ? FP_EXIT_SOFTWARE : FP_EXIT_OK);
}

/* Orders come by the control socket only: a Ctrl-C in the terminal is the supervisor's to judge. */
static void ignore_signals(void)
{
    static const int ignored[] = {SIGINT, SIGTERM, SIGHUP, SIGPIPE};
    struct sigaction action = {.sa_handler = SIG_IGN};

    for (size_t i = 0; i < sizeof(ignored) / sizeof(ignored[0]); i++)
        sigaction(ignored[i], &action, NULL);
}

static void set_title(enum role role, unsigned index)
{
    if (role == ROLE_WORKER)
        process_title("fedpush: %s %u", role_names[role], index);
    else
        process_title("fedpush: %s", role_names[role]);
}

int role_run(struct role_process *process, enum role role, unsigned index,
             const struct role_handlers *handlers, void *arg)
{
    static const struct control_handlers control_handlers = {on_message, on_closed};
    struct role_start start = {.process = process, .handlers = handlers, .arg = arg};

    assert(role > ROLE_SUPERVISOR && role < ROLE_COUNT);
    process_harden();
    process_bind_to_parent(getppid());
    ignore_signals();
    set_title(role, index);
    log_open(role_names[role], LOG_LEVEL_INFO);
    if (sodium_init() == -1)
        abort();
    process->role = role;
    process->index = index;
    process->base = loop_create();
    thrift_begin(process->base);
    process->clock = clock_system();
    process->rng = rng_system();
    process->exit_code = FP_EXIT_OK;
    process->control = control_create(process->base, CONTROL_FD, &control_handlers, &start);
    event_base_dispatch(process->base);
    return process->exit_code;
}

void role_exit(struct role_process *process, int exit_code)
{
    process->exit_code = exit_code;
    event_base_loopexit(process->base, NULL);
}
