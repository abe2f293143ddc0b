#include "base/redis_login.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/dial.h"
#include "base/loop.h"
#include "base/redis_wire.h"
#include "base/tls.h"

enum { STEP_TIMEOUT_MS = 5000, REASON_BYTES = 256, KEPT_BYTES = 1024 * 1024 };

enum state {
    STATE_CONNECTING = 0, /* resolving, too: `dial` does both */
    STATE_SECURING,
    STATE_AUTH,
    STATE_SELECT,
    STATE_ROLE, /* is it the master that the Sentinels believe it to be? */
    STATE_OVER,
};
/* The command that is waited for. */
static const char *const commands[] = {
    [STATE_AUTH] = "AUTH", [STATE_SELECT] = "SELECT", [STATE_ROLE] = "ROLE"};

struct redis_login {
    struct redis_login_options o;
    redis_login_fn *fn;
    void *arg;
    enum state state;
    struct loop_timer *timer;
    struct dial *dial;
    struct redis_line line;
};

/* ---- a line ---- */

void redis_line_close(struct redis_line *line)
{
    if (line->stream != NULL)
        bufferevent_free(line->stream);
    if (line->reader != NULL)
        redisReaderFree(line->reader);
    *line = (struct redis_line){.stream = NULL};
}

void redis_line_describe_loss(const struct redis_line *line, const struct redis_endpoint *endpoint,
                              short what, struct buf *reason)
{
    tls_describe_failure(line->stream, what, reason);
    /* With TLS 1.3 the handshake is over before the server misses it, and may say so in vain. */
    if (endpoint->tls && endpoint->cert_file == NULL && !line->answered)
        buf_put_str(reason, STR(" (if it asks for a certificate: FEDPUSH_REDIS_CERT_FILE)"));
}

static struct redis_line line_on(const struct redis_login *login, int fd)
{
    const struct redis_login_options *o = &login->o;
    struct redis_line line = {
        .stream = o->tls != NULL ? tls_stream_create(o->base, fd, o->tls, o->endpoint->host)
                                 : bufferevent_socket_new(o->base, fd, BEV_OPT_CLOSE_ON_FREE),
        .reader = redisReaderCreate()};

    if (line.stream == NULL || line.reader == NULL)
        abort();
    line.reader->maxbuf = KEPT_BYTES; /* instead of a new buffer for each reply */
    return line;
}

/* ---- the end ---- */

/* Each of them is the last thing that its caller does with the login, which may be gone then. */
static void fail(struct redis_login *login, const char *reason)
{
    login->state = STATE_OVER;
    loop_timer_clear(login->timer);
    redis_line_close(&login->line);
    login->fn(login->arg, login->line, reason);
}

static void succeed(struct redis_login *login)
{
    struct redis_line line = login->line;

    loop_timer_clear(login->timer);
    login->line = (struct redis_line){.stream = NULL};
    login->fn(login->arg, line, "");
}

/* ---- the steps ---- */

static enum state state_after(const struct redis_login *login)
{
    const struct redis_login_options *o = &login->o;

    switch (login->state) {
    case STATE_CONNECTING:
        if (o->tls != NULL)
            return STATE_SECURING;
        /* fall through */
    case STATE_SECURING:
        if (o->endpoint->password != NULL)
            return STATE_AUTH;
        /* fall through */
    case STATE_AUTH:
        if (o->endpoint->db != 0)
            return STATE_SELECT;
        /* fall through */
    case STATE_SELECT:
        if (o->master != NULL)
            return STATE_ROLE;
        /* fall through */
    case STATE_ROLE:
    case STATE_OVER:
        break;
    }
    return STATE_OVER;
}

static void send_auth(const struct redis_login *login)
{
    const struct redis_endpoint *endpoint = login->o.endpoint;
    struct str words[3] = {STR("AUTH")};
    size_t count = 1;

    if (endpoint->user != NULL)
        words[count++] = str_of(endpoint->user);
    words[count++] = str_of(endpoint->password);
    redis_wire_write(login->line.stream, count, words);
}

static void send_select(const struct redis_login *login)
{
    char db[16];

    snprintf(db, sizeof(db), "%d", login->o.endpoint->db);
    const struct str words[] = {STR("SELECT"), str_of(db)};
    redis_wire_write(login->line.stream, 2, words);
}

/* The work of the present state succeeded: begins the next one's. False: there is none, and the
 * login may be gone. */
static bool step(struct redis_login *login)
{
    login->state = state_after(login);
    loop_timer_set(login->timer, STEP_TIMEOUT_MS);
    switch (login->state) {
    case STATE_CONNECTING:
    case STATE_SECURING:
        break; /* the stream is at it */
    case STATE_AUTH:
        send_auth(login);
        break;
    case STATE_SELECT:
        send_select(login);
        break;
    case STATE_ROLE:
        redis_wire_write(login->line.stream, 1, &STR("ROLE"));
        break;
    case STATE_OVER:
        succeed(login);
        return false;
    }
    return true;
}

static bool handle_reply(struct redis_login *login, const redisReply *reply)
{
    bool asked_role = login->state == STATE_ROLE;
    char class[REDIS_CLASS_BYTES] = "unexpected reply";
    char reason[REASON_BYTES];

    if (asked_role ? redis_reply_is_master(reply) : reply->type == REDIS_REPLY_STATUS)
        return step(login);
    if (asked_role && reply->type == REDIS_REPLY_ARRAY) {
        fail(login, "it is a replica, though the Sentinels call it the master");
        return false;
    }
    if (reply->type == REDIS_REPLY_ERROR)
        redis_reply_class(reply, class);
    snprintf(reason, sizeof(reason), "%s: %s", commands[login->state], class);
    fail(login, reason);
    return false;
}

/* False: no whole reply is left, or the login may be gone. */
static bool take_reply(struct redis_login *login)
{
    void *parsed = NULL;

    if (redisReaderGetReply(login->line.reader, &parsed) != REDIS_OK) {
        fail(login, "protocol error");
        return false;
    }
    if (parsed == NULL)
        return false;
    login->line.answered = true;
    bool goes_on = handle_reply(login, parsed);
    freeReplyObject(parsed);
    return goes_on;
}

/* ---- callbacks ---- */

static void on_read(struct bufferevent *stream, void *arg)
{
    struct redis_login *login = arg;

    redis_wire_read(login->line.reader, stream, login->o.tls == NULL);
    while (take_reply(login))
        continue;
}

static void on_stream_event(struct bufferevent *stream, short what, void *arg)
{
    struct redis_login *login = arg;
    struct buf reason;

    if (what & BEV_EVENT_CONNECTED) {
        (void)step(login);
        return;
    }
    buf_init(&reason, REASON_BYTES);
    if (login->state == STATE_SECURING)
        tls_describe_failure(stream, what, &reason);
    else
        redis_line_describe_loss(&login->line, login->o.endpoint, what, &reason);
    fail(login, buf_cstr(&reason));
    buf_clear(&reason);
}

static void on_dialed(void *arg, int fd, const char *reason)
{
    struct redis_login *login = arg;

    if (fd < 0) {
        fail(login, reason);
        return;
    }
    login->line = line_on(login, fd);
    bufferevent_setcb(login->line.stream, on_read, NULL, on_stream_event, login);
    bufferevent_enable(login->line.stream, EV_READ | EV_WRITE);
    (void)step(login);
}

static void on_timer(void *arg)
{
    struct redis_login *login = arg;
    char reason[REASON_BYTES];

    if (login->state == STATE_SECURING) {
        fail(login, "time-out in the TLS handshake");
        return;
    }
    snprintf(reason, sizeof(reason), "time-out waiting for %s", commands[login->state]);
    fail(login, reason);
}

/* ---- life ---- */

struct redis_login *redis_login_create(const struct redis_login_options *options,
                                       redis_login_fn *fn, void *arg)
{
    struct redis_login *login = mem_alloc(sizeof(*login));
    const struct redis_endpoint *endpoint = options->endpoint;
    struct dial_target target = {endpoint->unix_path, endpoint->host, endpoint->port};

    if (options->master != NULL)
        target = (struct dial_target){NULL, options->master->host, options->master->port};
    login->o = *options;
    login->fn = fn;
    login->arg = arg;
    login->timer = loop_timer_create(options->base, on_timer, login);
    login->dial = dial_create(options->base, options->dns, &target, on_dialed, login);
    return login;
}

void redis_login_destroy(struct redis_login *login)
{
    if (login == NULL)
        return;
    dial_destroy(login->dial);
    redis_line_close(&login->line);
    loop_timer_destroy(login->timer);
    free(login);
}
