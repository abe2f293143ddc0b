#include "base/postgres.h"

#include <assert.h>
#include <openssl/crypto.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/postgres_dial.h"
#include "base/postgres_fault.h"
#include "base/postgres_statement.h"

enum {
    MAX_QUEUED = 256,
    STATEMENT_LIMIT_MS = 30 * 1000,
    /* libpq's input buffer grows while it holds blanks only: a later realloc would leave a copy of
     * what it held in freed memory. */
    BLANK_BYTES = 128 * 1024,
    BLANK_MARGIN_BYTES = 8192, /* row descriptions and the messages around a result */
};

/*
 * AWAY -> [CHECKING ->] READY -> RUNNING -> [BLANKING ->] READY
 * `lose` leads from each of them back to AWAY, and `refuse` from CHECKING.
 */
enum state {
    STATE_AWAY = 0, /* `dial` works for a session */
    STATE_CHECKING, /* a statement of ours: may this session write? */
    STATE_READY,
    STATE_RUNNING,
    STATE_BLANKING, /* a statement of ours overwrites what the last result left in buffers */
};
static const char *const state_names[] = {"away", "checking", "ready", "running", "blanking"};

enum cause { CAUSE_IO = 0, CAUSE_LIMIT };

struct postgres {
    struct event_base *base;
    struct clock clock;
    char *name;
    bool writes;
    bool secret_results;

    enum state state;
    struct postgres_dial *dial;
    PGconn *conn; /* NULL: STATE_AWAY */
    struct event *io;
    struct loop_timer *limit; /* of the statement */

    struct statements queue;
    struct statements refused; /* by a full queue; their callbacks come from `wake` */
    struct loop_timer *wake;   /* next expiry in the queue, or at once */
    struct statement *running;
    PGresult *result; /* of the statement being received */
    bool calling;
};

static int64_t now_ms(const struct postgres *pg)
{
    return clock_mono_ms(&pg->clock);
}

static void set_state(struct postgres *pg, enum state state)
{
    log_event(LOG_LEVEL_DEBUG, "postgres state", LOG_TEXT("database", pg->name),
              LOG_TEXT("from", state_names[pg->state]), LOG_TEXT("to", state_names[state]));
    pg->state = state;
}

/* --- statements --- */

static void conclude(struct postgres *pg, struct statement *statement, enum postgres_status status,
                     PGresult *result, const char *message)
{
    if (statement->fn != NULL) {
        pg->calling = true;
        statement->fn(statement->arg, status, result, message);
        pg->calling = false;
    }
    statement_destroy(statement);
}

static void result_clear(struct postgres *pg)
{
    PGresult *result = pg->result;

    pg->result = NULL;
    if (result == NULL)
        return;
    for (int row = 0; pg->secret_results && row < PQntuples(result); row++) {
        for (int field = 0; field < PQnfields(result); field++)
            OPENSSL_cleanse(PQgetvalue(result, row, field),
                            (size_t)PQgetlength(result, row, field));
    }
    PQclear(result);
}

static size_t result_bytes(const PGresult *result)
{
    size_t total = 0;
    for (int row = 0; row < PQntuples(result); row++) {
        for (int field = 0; field < PQnfields(result); field++)
            total += (size_t)PQgetlength(result, row, field) + sizeof(int32_t);
        total += 7; /* each row's header */
    }
    return total;
}

/* --- the session --- */

static void on_io(evutil_socket_t fd, short what, void *arg);

static void watch(struct postgres *pg, short what)
{
    loop_watch(pg->base, &pg->io, PQsocket(pg->conn), what, on_io, pg);
}

static void disconnect(struct postgres *pg)
{
    loop_unwatch(&pg->io);
    loop_timer_clear(pg->limit);
    result_clear(pg);
    if (pg->conn != NULL)
        PQfinish(pg->conn);
    pg->conn = NULL;
}

/* The session is of no use any more: what runs ends as POSTGRES_LOST, the queue stays. */
static void lose(struct postgres *pg, const char *reason)
{
    struct statement *running = pg->running;

    pg->running = NULL;
    disconnect(pg);
    set_state(pg, STATE_AWAY);
    postgres_dial_again(pg->dial, reason);
    if (running != NULL)
        conclude(pg, running, POSTGRES_LOST, NULL, postgres_dial_problem(pg->dial));
}

static void refuse(struct postgres *pg, const char *reason)
{
    disconnect(pg);
    set_state(pg, STATE_AWAY);
    postgres_dial_next(pg->dial, reason);
}

static void start_next(struct postgres *pg);

static void become_ready(struct postgres *pg)
{
    if (pg->state == STATE_AWAY || pg->state == STATE_CHECKING) {
        log_event(LOG_LEVEL_INFO, "connected to postgres", LOG_TEXT("database", pg->name),
                  LOG_TEXT("host", PQhost(pg->conn)));
        postgres_dial_good(pg->dial);
    }
    set_state(pg, STATE_READY);
    loop_timer_clear(pg->limit);
    watch(pg, EV_READ);
    start_next(pg);
}

static bool is_streamed(const struct postgres *pg)
{
    return pg->state == STATE_RUNNING && pg->running->row_fn != NULL;
}

/* True: sent, or on its way. */
static bool submit(struct postgres *pg, const char *sql, size_t param_count, char *const *params)
{
    /* Only the simple protocol takes several statements in one string. */
    int sent = param_count == 0 && !pg->secret_results
                   ? PQsendQuery(pg->conn, sql)
                   : PQsendQueryParams(pg->conn, sql, (int)param_count, NULL,
                                       (const char *const *)params, NULL, NULL, 0);
    if (sent != 1)
        return false;
    if (is_streamed(pg))
        PQsetSingleRowMode(pg->conn);
    int flushed = PQflush(pg->conn);
    if (flushed < 0)
        return false;
    watch(pg, flushed > 0 ? EV_READ | EV_WRITE : EV_READ);
    loop_timer_set(pg->limit, STATEMENT_LIMIT_MS);
    return true;
}

static void start_next(struct postgres *pg)
{
    while (pg->state == STATE_READY && pg->queue.count > 0) {
        struct statement *statement = statements_pop(&pg->queue);
        if (statement->expires_ms <= now_ms(pg)) {
            conclude(pg, statement, POSTGRES_LOST, NULL, "waited too long for its turn");
            continue;
        }
        pg->running = statement;
        set_state(pg, STATE_RUNNING);
        if (!submit(pg, statement->sql, statement->param_count, statement->params))
            lose(pg, "connection lost while sending a statement");
    }
}

/* Blanks of at least `bytes` pass through libpq's input buffer, from its beginning on. */
static void start_own_statement(struct postgres *pg, enum state state, size_t bytes)
{
    char sql[256];

    snprintf(sql, sizeof(sql), "SELECT %s, repeat(' ', %zu)",
             state == STATE_CHECKING && pg->writes
                 ? "pg_is_in_recovery() OR current_setting('transaction_read_only')::bool"
                 : "false",
             bytes);
    set_state(pg, state);
    if (!submit(pg, sql, 0, NULL))
        lose(pg, "connection lost while sending a statement");
}

static void on_connected(void *arg, PGconn *conn)
{
    struct postgres *pg = arg;
    SSL *ssl = pg->secret_results ? PQsslStruct(conn, "OpenSSL") : NULL;

    pg->conn = conn;
    if (ssl != NULL)
        SSL_set_options(ssl, SSL_OP_CLEANSE_PLAINTEXT);
    if (pg->writes || pg->secret_results)
        start_own_statement(pg, STATE_CHECKING, pg->secret_results ? BLANK_BYTES : 0);
    else
        become_ready(pg);
}

/* --- results --- */

static bool is_success(const PGresult *result)
{
    ExecStatusType status = PQresultStatus(result);
    return status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK || status == PGRES_EMPTY_QUERY;
}

static void finish_checking(struct postgres *pg)
{
    char text[POSTGRES_FAULT_BYTES];

    if (!is_success(pg->result) || PQntuples(pg->result) != 1) {
        postgres_fault_statement(text, pg->result);
        refuse(pg, text);
    } else if (strcmp(PQgetvalue(pg->result, 0, 0), "t") == 0) {
        refuse(pg, "the server accepts no writes (a standby, or read-only): connect to the "
                   "primary");
    } else {
        result_clear(pg);
        become_ready(pg);
    }
}

static void finish_running(struct postgres *pg)
{
    struct statement *running = pg->running;
    char text[POSTGRES_FAULT_BYTES] = "";
    size_t bytes = result_bytes(pg->result);
    bool success = is_success(pg->result);

    if (!success)
        postgres_fault_statement(text, pg->result);
    if (!success && postgres_fault_ends_session(postgres_sqlstate(pg->result))) {
        lose(pg, text);
        return;
    }
    pg->running = NULL;
    conclude(pg, running, success ? POSTGRES_OK : POSTGRES_ERROR, pg->result, text);
    result_clear(pg);
    if (PQtransactionStatus(pg->conn) != PQTRANS_IDLE)
        lose(pg, "a statement left its transaction open");
    else if (pg->secret_results)
        start_own_statement(pg, STATE_BLANKING, bytes + BLANK_MARGIN_BYTES);
    else
        become_ready(pg);
}

static void finish_statement(struct postgres *pg)
{
    loop_timer_clear(pg->limit);
    if (pg->result == NULL) {
        lose(pg, "the server answered nothing");
    } else if (pg->state == STATE_CHECKING) {
        finish_checking(pg);
    } else if (pg->state == STATE_RUNNING) {
        finish_running(pg);
    } else {
        result_clear(pg);
        become_ready(pg);
    }
}

static void hand_row(struct postgres *pg, PGresult *row)
{
    pg->calling = true;
    pg->running->row_fn(pg->running->arg, row);
    pg->calling = false;
    PQclear(row);
}

/* Keeps the first error of a statement string, else its last result. */
static bool keep_result(struct postgres *pg, PGresult *result)
{
    ExecStatusType status = PQresultStatus(result);

    if (status == PGRES_SINGLE_TUPLE) {
        hand_row(pg, result);
        return true;
    }
    if (status == PGRES_COPY_IN || status == PGRES_COPY_OUT || status == PGRES_COPY_BOTH) {
        PQclear(result);
        return false;
    }
    if (pg->result != NULL && !is_success(pg->result)) {
        PQclear(result);
        return true;
    }
    result_clear(pg);
    pg->result = result;
    return true;
}

/* One SSL_read takes at most what libpq's buffer has room for; no event tells of the rest. */
static bool consume(struct postgres *pg)
{
    const SSL *ssl = PQsslStruct(pg->conn, "OpenSSL");

    do {
        if (PQconsumeInput(pg->conn) != 1)
            return false;
    } while (PQisBusy(pg->conn) && ssl != NULL && SSL_pending(ssl) > 0);
    return true;
}

static void step_statement(struct postgres *pg, enum cause cause)
{
    if (cause == CAUSE_LIMIT) {
        lose(pg, "no result within 30 s");
        return;
    }
    if (!consume(pg) && PQisBusy(pg->conn)) {
        lose(pg, "connection lost while a statement ran");
        return;
    }
    if (is_streamed(pg))
        loop_timer_set(pg->limit, STATEMENT_LIMIT_MS);
    int flushed = PQflush(pg->conn);
    while (!PQisBusy(pg->conn)) {
        PGresult *result = PQgetResult(pg->conn);
        if (result == NULL) {
            finish_statement(pg);
            return;
        }
        if (!keep_result(pg, result)) {
            lose(pg, "a statement wanted to copy");
            return;
        }
    }
    if (flushed < 0)
        lose(pg, "connection lost while sending a statement");
    else
        watch(pg, flushed > 0 ? EV_READ | EV_WRITE : EV_READ);
}

/* Nothing is expected but the end of the session, or parameters that changed. */
static void step_ready(struct postgres *pg)
{
    bool alive = consume(pg) && !PQisBusy(pg->conn);

    if (!alive || PQstatus(pg->conn) == CONNECTION_BAD)
        lose(pg, "the server closed the connection");
    else
        watch(pg, EV_READ);
}

static void step(struct postgres *pg, enum cause cause)
{
    switch (pg->state) {
    case STATE_AWAY:
        return;
    case STATE_READY:
        step_ready(pg);
        return;
    case STATE_CHECKING:
    case STATE_RUNNING:
    case STATE_BLANKING:
        step_statement(pg, cause);
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

/* --- the queue --- */

static void expire_queued(struct postgres *pg)
{
    struct statements expired;
    struct statement *statement;

    statements_init(&expired);
    statements_take_expired(&pg->queue, now_ms(pg), &expired);
    while ((statement = statements_pop(&expired)) != NULL) {
        const char *problem = postgres_dial_problem(pg->dial);
        conclude(pg, statement, POSTGRES_LOST, NULL,
                 problem[0] != '\0' ? problem : "waited too long for its turn");
    }
}

static void set_wake(struct postgres *pg)
{
    int64_t at = statements_next_expiry_ms(&pg->queue);

    if (pg->refused.count > 0 || (pg->state == STATE_READY && pg->queue.count > 0))
        loop_timer_set(pg->wake, 0);
    else if (at != INT64_MAX)
        loop_timer_set(pg->wake, at - now_ms(pg));
}

static void on_wake(void *arg)
{
    struct postgres *pg = arg;
    struct statement *statement;

    for (size_t left = pg->refused.count; left > 0; left--) {
        statement = statements_pop(&pg->refused);
        conclude(pg, statement, POSTGRES_LOST, NULL, "too many statements wait");
    }
    expire_queued(pg);
    start_next(pg);
    set_wake(pg);
}

void postgres_stream(struct postgres *pg, postgres_row_fn *row_fn, postgres_fn *fn, void *arg,
                     int64_t deadline_ms, const char *sql, size_t param_count,
                     const struct str *params)
{
    struct statement *statement = statement_create(sql, param_count, params);

    assert(row_fn == NULL || !pg->secret_results); /* rows are not wiped */
    statement->fn = fn;
    statement->row_fn = row_fn;
    statement->arg = arg;
    statement->expires_ms = now_ms(pg) + deadline_ms;
    statements_push(pg->queue.count < MAX_QUEUED ? &pg->queue : &pg->refused, statement);
    set_wake(pg);
}

void postgres_query(struct postgres *pg, postgres_fn *fn, void *arg, int64_t deadline_ms,
                    const char *sql, size_t param_count, const struct str *params)
{
    postgres_stream(pg, NULL, fn, arg, deadline_ms, sql, param_count, params);
}

/* --- life --- */

struct postgres *postgres_create(struct event_base *base, struct dns *dns,
                                 const struct postgres_options *options)
{
    struct postgres *pg = mem_alloc(sizeof(*pg));

    pg->base = base;
    pg->clock = clock_system();
    pg->name = str_dup(str_of(options->name));
    pg->writes = options->writes;
    pg->secret_results = options->secret_results;
    statements_init(&pg->queue);
    statements_init(&pg->refused);
    pg->limit = loop_timer_create(base, on_limit, pg);
    pg->wake = loop_timer_create(base, on_wake, pg);
    pg->dial = postgres_dial_create(base, dns, options->conninfo, pg->name, on_connected, pg);
    return pg;
}

void postgres_destroy(struct postgres *pg)
{
    if (pg == NULL)
        return;
    assert(!pg->calling); /* use loop_defer */
    disconnect(pg);
    postgres_dial_destroy(pg->dial);
    if (pg->running != NULL)
        statement_destroy(pg->running);
    statements_clear(&pg->queue);
    statements_clear(&pg->refused);
    loop_timer_destroy(pg->limit);
    loop_timer_destroy(pg->wake);
    free(pg->name);
    free(pg);
}

bool postgres_is_ready(const struct postgres *pg)
{
    return pg->state >= STATE_READY;
}

const char *postgres_problem(const struct postgres *pg)
{
    return postgres_dial_problem(pg->dial);
}

unsigned postgres_failed_rounds(const struct postgres *pg)
{
    return postgres_dial_failed_rounds(pg->dial);
}

const char *postgres_user(const struct postgres *pg)
{
    const char *user = pg->conn != NULL ? PQuser(pg->conn) : NULL;
    return user != NULL ? user : "";
}
