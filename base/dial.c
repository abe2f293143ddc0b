#include "base/dial.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/loop.h"

enum dial_state {
    DIAL_NEW = 0, /* begins from the loop, so that no answer comes from inside dial_create */
    DIAL_RESOLVING,
    DIAL_CONNECTING, /* to addresses[at] */
    DIAL_DONE,
};

struct dial {
    enum dial_state state;
    struct event_base *base;
    struct dns *dns;
    struct dial_target target;
    dial_fn *fn;
    void *arg;
    struct dns_query *query;
    struct dns_result found;
    size_t at;
    int fd; /* of the attempt that is under way */
    struct event *writable;
    struct loop_timer *timer;
};

/* The caller must not touch `dial` afterwards: the callback may have destroyed it. */
static void finish(struct dial *dial, int fd, const char *reason)
{
    dial->state = DIAL_DONE;
    loop_timer_clear(dial->timer);
    dial->fn(dial->arg, fd, reason);
}

static socklen_t socket_address(const struct dial *dial, struct sockaddr_storage *out)
{
    const struct dns_address *address = &dial->found.addresses[dial->at];

    memset(out, 0, sizeof(*out));
    if (dial->target.unix_path != NULL) {
        struct sockaddr_un *local = (struct sockaddr_un *)out;
        local->sun_family = AF_UNIX;
        snprintf(local->sun_path, sizeof(local->sun_path), "%s", dial->target.unix_path);
        return sizeof(*local);
    }
    if (address->family == AF_INET) {
        struct sockaddr_in *v4 = (struct sockaddr_in *)out;
        v4->sin_family = AF_INET;
        v4->sin_port = htons(dial->target.port);
        v4->sin_addr = address->ip.v4;
        return sizeof(*v4);
    }
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)out;
    v6->sin6_family = AF_INET6;
    v6->sin6_port = htons(dial->target.port);
    v6->sin6_addr = address->ip.v6;
    return sizeof(*v6);
}

/* A socket whose connection is under way, or -1 and errno. */
static int open_socket(const struct dial *dial)
{
    struct sockaddr_storage address;
    socklen_t len = socket_address(dial, &address);
    int fd = socket(address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd == -1)
        return -1;
    if (address.ss_family != AF_UNIX) {
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
        setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &(int){1}, sizeof(int));
    }
    if (connect(fd, (struct sockaddr *)&address, len) == 0 || errno == EINPROGRESS)
        return fd;
    int error = errno;
    close(fd);
    errno = error;
    return -1;
}

/* The attempt's socket, which is nobody's now. */
static int end_attempt(struct dial *dial)
{
    int fd = dial->fd;

    if (dial->writable != NULL)
        event_free(dial->writable);
    dial->writable = NULL;
    dial->fd = -1;
    return fd;
}

static void on_writable(evutil_socket_t fd, short what, void *arg);

/* Tries the addresses from dial->at on; `reason` is why the one before failed. */
static void attempt(struct dial *dial, const char *reason)
{
    size_t count = dial->target.unix_path != NULL ? 1 : dial->found.count;

    dial->state = DIAL_CONNECTING;
    for (; dial->at < count; dial->at++) {
        dial->fd = open_socket(dial);
        if (dial->fd == -1) {
            reason = strerror(errno);
            continue;
        }
        dial->writable = event_new(dial->base, dial->fd, EV_WRITE, on_writable, dial);
        if (dial->writable == NULL || event_add(dial->writable, NULL) != 0)
            abort();
        loop_timer_set(dial->timer, DIAL_TIMEOUT_MS);
        return;
    }
    finish(dial, -1, reason);
}

static void attempt_next(struct dial *dial, const char *reason)
{
    close(end_attempt(dial));
    dial->at++;
    attempt(dial, reason);
}

static void on_writable(evutil_socket_t fd, short what, void *arg)
{
    struct dial *dial = arg;
    int error = 0;
    socklen_t len = sizeof(error);
    (void)what;

    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) == -1)
        error = errno;
    if (error == 0)
        finish(dial, end_attempt(dial), NULL);
    else
        attempt_next(dial, strerror(error));
}

static void on_resolved(void *arg, const struct dns_result *result)
{
    struct dial *dial = arg;

    dial->query = NULL;
    dial->found = *result;
    switch (result->status) {
    case DNS_FOUND:
        attempt(dial, "the host name has no address");
        break;
    case DNS_NO_NAME:
        finish(dial, -1, "the host name does not exist");
        break;
    case DNS_NO_ANSWER:
    case DNS_UNSERVED:
    case DNS_NO_SOCKET:
    case DNS_CANCELLED:
        finish(dial, -1, "the resolver gives no answer for the host name");
        break;
    case DNS_BAD_NAME:
        finish(dial, -1, "the host name is malformed");
        break;
    }
}

static void on_timer(void *arg)
{
    struct dial *dial = arg;

    switch (dial->state) {
    case DIAL_NEW:
        dial->state = DIAL_RESOLVING;
        if (dial->target.unix_path != NULL)
            attempt(dial, "");
        else
            dial->query = dns_lookup(dial->dns, str_of(dial->target.host), on_resolved, dial);
        break;
    case DIAL_CONNECTING:
        attempt_next(dial, "time-out while connecting");
        break;
    case DIAL_RESOLVING: /* the resolver has its own time-out */
    case DIAL_DONE:
        break;
    }
}

struct dial *dial_create(struct event_base *base, struct dns *dns, const struct dial_target *target,
                         dial_fn *fn, void *arg)
{
    struct dial *dial = mem_alloc(sizeof(*dial));

    dial->base = base;
    dial->dns = dns;
    dial->target = *target;
    dial->fn = fn;
    dial->arg = arg;
    dial->fd = -1;
    dial->timer = loop_timer_create(base, on_timer, dial);
    loop_timer_set(dial->timer, 0);
    return dial;
}

void dial_destroy(struct dial *dial)
{
    if (dial == NULL)
        return;
    if (dial->query != NULL)
        dns_cancel(dial->query);
    int fd = end_attempt(dial);
    if (fd >= 0)
        close(fd);
    loop_timer_destroy(dial->timer);
    free(dial);
}
