#include "base/postgres_dial.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/postgres_fault.h"
#include "base/postgres_target.h"

enum { CONNECT_LIMIT_MS = 15 * 1000, BACKOFF_MIN_MS = 250, BACKOFF_MAX_MS = 10 * 1000 };

enum state { STATE_WAITING = 0, STATE_RESOLVING, STATE_CONNECTING, STATE_GIVEN };
static const char *const state_names[] = {"waiting", "resolving", "connecting", "given"};

enum cause { CAUSE_IO = 0, CAUSE_LIMIT, CAUSE_RESOLVED };

struct postgres_dial {
    struct event_base *base;
    struct dns *dns;
    struct rng rng;
    const char *name;
    struct postgres_targets targets;
    postgres_dial_fn *fn;
    void *arg;

    enum state state;
    size_t target;           /* the one being tried */
    struct dns_query *query; /* STATE_RESOLVING */
    struct dns_result found; /* addresses of `target` */
    size_t address;          /* the next one of `found` to try */
    PGconn *conn;            /* STATE_CONNECTING */
    struct event *io;
    struct loop_timer *limit; /* of the state */
    int64_t backoff_ms;
    unsigned failed_rounds;
    bool server_spoke; /* in this round: its refusal tells more than another address' silence */
    char problem[POSTGRES_FAULT_BYTES];
    char logged[POSTGRES_FAULT_BYTES]; /* the problem that was last written to the log */
};

static void on_io(evutil_socket_t fd, short what, void *arg);
static void on_resolved(void *arg, const struct dns_result *result);

static void set_state(struct postgres_dial *dial, enum state state)
{
    log_event(LOG_LEVEL_DEBUG, "postgres connection", LOG_TEXT("database", dial->name),
              LOG_TEXT("from", state_names[dial->state]), LOG_TEXT("to", state_names[state]));
    dial->state = state;
}

static void set_problem(struct postgres_dial *dial, const char *text)
{
    snprintf(dial->problem, sizeof(dial->problem), "%s", text);
}

static void watch(struct postgres_dial *dial, short what)
{
    loop_watch(dial->base, &dial->io, PQsocket(dial->conn), what, on_io, dial);
}

static void disconnect(struct postgres_dial *dial)
{
    loop_unwatch(&dial->io);
    loop_timer_clear(dial->limit);
    if (dial->conn != NULL)
        PQfinish(dial->conn);
    dial->conn = NULL;
}

/* --- rounds --- */

static void wait_for_round(struct postgres_dial *dial)
{
    int64_t delay = dial->backoff_ms;

    delay += (int64_t)rng_below(&dial->rng, (uint64_t)delay / 2 + 1);
    dial->backoff_ms =
        dial->backoff_ms * 2 < BACKOFF_MAX_MS ? dial->backoff_ms * 2 : BACKOFF_MAX_MS;
    if (strcmp(dial->logged, dial->problem) != 0) {
        log_event(LOG_LEVEL_WARN, "no connection to postgres", LOG_TEXT("database", dial->name),
                  LOG_TEXT("reason", dial->problem));
        snprintf(dial->logged, sizeof(dial->logged), "%s", dial->problem);
    }
    dial->failed_rounds++;
    dial->server_spoke = false;
    set_state(dial, STATE_WAITING);
    loop_timer_set(dial->limit, delay);
}

/* Begins with target `dial->target`. */
static void try_target(struct postgres_dial *dial)
{
    const struct postgres_target *target = &dial->targets.items[dial->target];

    dial->address = 0;
    dial->found = (struct dns_result){.status = DNS_NO_ANSWER};
    set_state(dial, STATE_RESOLVING);
    if (postgres_target_wants_address(target)) {
        loop_timer_set(dial->limit, CONNECT_LIMIT_MS);
        dial->query = dns_lookup(dial->dns, str_of(target->host), on_resolved, dial);
    } else {
        loop_timer_set(dial->limit, 0);
    }
}

static void try_next_target(struct postgres_dial *dial)
{
    if (++dial->target < dial->targets.count)
        try_target(dial);
    else
        wait_for_round(dial);
}

/* --- one attempt --- */

static void on_notice(void *arg, const PGresult *result)
{
    const struct postgres_dial *dial = arg;
    char text[POSTGRES_FAULT_BYTES];

    if (!log_wants(LOG_LEVEL_DEBUG))
        return;
    postgres_fault_statement(text, result);
    log_event(LOG_LEVEL_DEBUG, "postgres notice", LOG_TEXT("database", dial->name),
              LOG_TEXT("text", text));
}

static void start_connecting(struct postgres_dial *dial, const struct dns_address *address)
{
    set_state(dial, STATE_CONNECTING);
    dial->conn = postgres_target_start(&dial->targets, dial->target, address);
    if (dial->conn == NULL)
        abort();
    loop_timer_set(dial->limit, CONNECT_LIMIT_MS);
    if (PQstatus(dial->conn) == CONNECTION_BAD || PQsocket(dial->conn) < 0) {
        loop_timer_set(dial->limit, 0); /* fails from the loop, as every attempt does */
        return;
    }
    PQsetErrorVerbosity(dial->conn, PQERRORS_VERBOSE);
    PQsetNoticeReceiver(dial->conn, on_notice, dial);
    watch(dial, EV_WRITE);
}

enum spoke { NOBODY_SPOKE = 0, SERVER_SPOKE };

static void fail_attempt(struct postgres_dial *dial, const char *reason, enum spoke spoke)
{
    if (spoke == SERVER_SPOKE || !dial->server_spoke)
        set_problem(dial, reason);
    dial->server_spoke = dial->server_spoke || spoke == SERVER_SPOKE;
    disconnect(dial);
    if (dial->address < dial->found.count)
        start_connecting(dial, &dial->found.addresses[dial->address++]);
    else
        try_next_target(dial);
}

static void take_addresses(struct postgres_dial *dial)
{
    const struct postgres_target *target = &dial->targets.items[dial->target];
    char text[POSTGRES_FAULT_BYTES];

    if (!postgres_target_wants_address(target)) {
        start_connecting(dial, NULL);
    } else if (dial->found.count > 0) {
        dial->address = 1;
        start_connecting(dial, &dial->found.addresses[0]);
    } else {
        snprintf(text, sizeof(text), "host \"%.200s\" can't be resolved (%s): check DB_HOST and %s",
                 target->host, dial->found.status == DNS_NO_NAME ? "no such name" : "no answer",
                 "the resolver");
        fail_attempt(dial, text, NOBODY_SPOKE);
    }
}

static void give(struct postgres_dial *dial)
{
    PGconn *conn = dial->conn;

    dial->conn = NULL;
    loop_timer_clear(dial->limit);
    PQsetErrorVerbosity(conn, PQERRORS_DEFAULT);
    PQsetnonblocking(conn, 1);
    set_state(dial, STATE_GIVEN);
    dial->fn(dial->arg, conn);
}

static void step_connecting(struct postgres_dial *dial, enum cause cause)
{
    char text[POSTGRES_FAULT_BYTES];

    if (cause == CAUSE_LIMIT && PQstatus(dial->conn) != CONNECTION_BAD) {
        fail_attempt(dial, "no answer within 15 s: check host, port and firewall", NOBODY_SPOKE);
        return;
    }
    loop_unwatch(&dial->io);
    switch (PQconnectPoll(dial->conn)) {
    case PGRES_POLLING_READING:
        watch(dial, EV_READ);
        return;
    case PGRES_POLLING_WRITING:
    case PGRES_POLLING_ACTIVE:
        watch(dial, EV_WRITE);
        return;
    case PGRES_POLLING_OK:
        give(dial);
        return;
    case PGRES_POLLING_FAILED:
        break;
    }
    bool spoke = postgres_fault_connect(text, dial->conn);
    fail_attempt(dial, text, spoke ? SERVER_SPOKE : NOBODY_SPOKE);
}

static void step(struct postgres_dial *dial, enum cause cause)
{
    switch (dial->state) {
    case STATE_WAITING:
        dial->target = 0;
        try_target(dial);
        return;
    case STATE_RESOLVING:
        if (cause == CAUSE_LIMIT && dial->query != NULL) {
            dns_cancel(dial->query);
            dial->query = NULL;
        }
        take_addresses(dial);
        return;
    case STATE_CONNECTING:
        step_connecting(dial, cause);
        return;
    case STATE_GIVEN:
        return;
    }
}

static void on_io(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    step(arg, CAUSE_IO);
}

static void on_limit(void *arg)
{
    step(arg, CAUSE_LIMIT);
}

static void on_resolved(void *arg, const struct dns_result *result)
{
    struct postgres_dial *dial = arg;

    dial->query = NULL;
    if (result->status == DNS_CANCELLED)
        return;
    dial->found = *result;
    step(dial, CAUSE_RESOLVED);
}

/* --- the interface --- */

struct postgres_dial *postgres_dial_create(struct event_base *base, struct dns *dns,
                                           struct str conninfo, const char *name,
                                           postgres_dial_fn *fn, void *arg)
{
    struct postgres_dial *dial = mem_alloc(sizeof(*dial));

    dial->base = base;
    dial->dns = dns;
    dial->rng = rng_system();
    dial->name = name;
    dial->fn = fn;
    dial->arg = arg;
    dial->backoff_ms = BACKOFF_MIN_MS;
    dial->limit = loop_timer_create(base, on_limit, dial);
    if (postgres_targets_init(&dial->targets, conninfo)) {
        set_problem(dial, "not connected yet");
        loop_timer_set(dial->limit, 0);
    } else {
        set_problem(dial, "the connection string is malformed: check the database URL or DB_*");
        log_event(LOG_LEVEL_ERROR, "no connection to postgres", LOG_TEXT("database", name),
                  LOG_TEXT("reason", dial->problem));
    }
    return dial;
}

void postgres_dial_destroy(struct postgres_dial *dial)
{
    if (dial->query != NULL)
        dns_cancel(dial->query);
    disconnect(dial);
    loop_timer_destroy(dial->limit);
    postgres_targets_clear(&dial->targets);
    free(dial);
}

void postgres_dial_good(struct postgres_dial *dial)
{
    dial->logged[0] = '\0';
    dial->backoff_ms = BACKOFF_MIN_MS;
    dial->failed_rounds = 0;
    dial->server_spoke = false;
    set_problem(dial, "");
}

void postgres_dial_next(struct postgres_dial *dial, const char *reason)
{
    fail_attempt(dial, reason, SERVER_SPOKE);
}

void postgres_dial_again(struct postgres_dial *dial, const char *reason)
{
    set_problem(dial, reason);
    wait_for_round(dial);
}

const char *postgres_dial_problem(const struct postgres_dial *dial)
{
    return dial->problem;
}

unsigned postgres_dial_failed_rounds(const struct postgres_dial *dial)
{
    return dial->failed_rounds;
}
