#include "base/control.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/loop.h"
#include "base/secret.h"

enum {
    TYPE_BYTES = 2,
    PACKET_BYTES = TYPE_BYTES + CONTROL_MAX_BYTES,
    MAX_DESCRIPTORS = 8, /* room for surplus ones, so that they are closed here */
    MAX_QUEUED = 1024,
    MAX_PER_TURN = 64,
};

const char *const role_names[ROLE_COUNT] = {"supervisor", "scheduler", "worker", "signer", "admin"};

struct packet {
    STAILQ_ENTRY(packet) link;
    int fd; /* our duplicate, or -1 */
    size_t len;
    unsigned char bytes[];
};

enum control_state {
    CONTROL_OPEN = 0,
    CONTROL_DEAF, /* the other side reads no more; what it wrote before is still read */
    CONTROL_CLOSED,
};

struct control {
    int fd;
    enum control_state state;
    struct event *readable;
    struct event *writable;
    struct loop_timer *closing; /* reports from the loop what control_send found */
    const char *close_reason;
    STAILQ_HEAD(, packet) queue;
    size_t queued;
    bool handling;  /* a handler is running: freeing waits for its return */
    bool destroyed; /* by that handler */
    struct control_handlers handlers;
    void *arg;
    unsigned char input[PACKET_BYTES + 1]; /* one byte more shows what is too long */
};

static void close_fd(int fd)
{
    if (fd >= 0)
        close(fd);
}

/* Configurations and keys pass here: no copy of them is left behind. */
static void packet_free(struct packet *packet)
{
    close_fd(packet->fd);
    secret_wipe(packet->bytes, packet->len);
    free(packet);
}

static void drop_queue(struct control *control)
{
    while (!STAILQ_EMPTY(&control->queue)) {
        struct packet *packet = STAILQ_FIRST(&control->queue);
        STAILQ_REMOVE_HEAD(&control->queue, link);
        packet_free(packet);
    }
    control->queued = 0;
}

static void control_free(struct control *control)
{
    event_free(control->readable);
    event_free(control->writable);
    loop_timer_destroy(control->closing);
    drop_queue(control);
    close(control->fd);
    free(control);
}

static void stop(struct control *control, enum control_state state)
{
    control->state = state;
    event_del(control->writable);
    drop_queue(control);
    if (state == CONTROL_CLOSED)
        event_del(control->readable);
}

/* The caller must not touch `control` afterwards: `closed` may have destroyed it. */
static void close_with(struct control *control, const char *reason)
{
    if (control->state == CONTROL_CLOSED)
        return;
    stop(control, CONTROL_CLOSED);
    loop_timer_clear(control->closing);
    control->handlers.closed(control->arg, control, reason);
}

static void on_closing(void *arg)
{
    struct control *control = arg;
    close_with(control, control->close_reason);
}

/* For use in control_send, which never calls back. */
static void close_soon(struct control *control, const char *reason)
{
    stop(control, CONTROL_DEAF);
    control->close_reason = reason;
    loop_timer_set(control->closing, 0);
}

enum sent { SENT = 0, SENT_LATER, SENT_TO_NOBODY, SENT_FAILED };

static enum sent send_packet(int socket, const struct iovec *parts, size_t part_count, int fd)
{
    union {
        struct cmsghdr header; /* for its alignment */
        char bytes[CMSG_SPACE(sizeof(int))];
    } ancillary;
    struct iovec copy[2];
    assert(part_count <= 2);
    memcpy(copy, parts, part_count * sizeof(copy[0]));
    struct msghdr message = {.msg_iov = copy, .msg_iovlen = part_count};

    if (fd >= 0) {
        memset(&ancillary, 0, sizeof(ancillary));
        message.msg_control = &ancillary;
        message.msg_controllen = sizeof(ancillary.bytes);
        struct cmsghdr *header = CMSG_FIRSTHDR(&message);
        *header = (struct cmsghdr){CMSG_LEN(sizeof(int)), SOL_SOCKET, SCM_RIGHTS};
        memcpy(CMSG_DATA(header), &fd, sizeof(fd));
    }
    ssize_t n;
    do
        n = sendmsg(socket, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    while (n == -1 && errno == EINTR);
    if (n >= 0)
        return SENT;
    if (errno == EAGAIN || errno == EWOULDBLOCK)
        return SENT_LATER;
    return errno == EPIPE || errno == ECONNRESET ? SENT_TO_NOBODY : SENT_FAILED;
}

static void on_writable(evutil_socket_t fd, short what, void *arg)
{
    struct control *control = arg;
    (void)fd;
    (void)what;

    while (!STAILQ_EMPTY(&control->queue)) {
        struct packet *packet = STAILQ_FIRST(&control->queue);
        struct iovec whole = {packet->bytes, packet->len};
        switch (send_packet(control->fd, &whole, 1, packet->fd)) {
        case SENT:
            break;
        case SENT_LATER:
            return;
        case SENT_TO_NOBODY:
            stop(control, CONTROL_DEAF);
            return;
        case SENT_FAILED:
            close_with(control, strerror(errno));
            return;
        }
        STAILQ_REMOVE_HEAD(&control->queue, link);
        control->queued--;
        packet_free(packet);
    }
    event_del(control->writable);
}

static void enqueue(struct control *control, const unsigned char head[TYPE_BYTES],
                    struct str payload, int fd)
{
    if (control->queued >= MAX_QUEUED) {
        close_soon(control, "the other side does not read");
        return;
    }
    int copy = -1;
    if (fd >= 0 && (copy = fcntl(fd, F_DUPFD_CLOEXEC, 0)) == -1) {
        close_soon(control, "a descriptor can't be duplicated");
        return;
    }
    struct packet *packet = mem_alloc(sizeof(*packet) + TYPE_BYTES + payload.len);
    packet->fd = copy;
    packet->len = TYPE_BYTES + payload.len;
    memcpy(packet->bytes, head, TYPE_BYTES);
    if (payload.len > 0)
        memcpy(packet->bytes + TYPE_BYTES, payload.ptr, payload.len);
    STAILQ_INSERT_TAIL(&control->queue, packet, link);
    control->queued++;
    event_add(control->writable, NULL);
}

void control_send(struct control *control, enum control_type type, struct str payload, int fd)
{
    unsigned char head[TYPE_BYTES] = {(unsigned char)type, (unsigned char)(type >> 8)};

    assert(payload.len <= CONTROL_MAX_BYTES);
    if (control->state != CONTROL_OPEN)
        return;
    if (!STAILQ_EMPTY(&control->queue)) {
        enqueue(control, head, payload, fd);
        return;
    }
    /* At once, so that a process's last word is out before it exits. */
    union {
        const char *in;
        void *out; /* sendmsg doesn't write through it */
    } bytes = {payload.ptr};
    struct iovec parts[] = {{head, sizeof(head)}, {bytes.out, payload.len}};
    switch (send_packet(control->fd, parts, payload.len > 0 ? 2 : 1, fd)) {
    case SENT:
        break;
    case SENT_LATER:
        enqueue(control, head, payload, fd);
        break;
    case SENT_TO_NOBODY:
        stop(control, CONTROL_DEAF);
        break;
    case SENT_FAILED:
        close_soon(control, strerror(errno));
        break;
    }
}

/* The first descriptor of a message; surplus ones are closed. */
static int take_descriptor(struct msghdr *message)
{
    int first = -1;

    for (struct cmsghdr *header = CMSG_FIRSTHDR(message); header != NULL;
         header = CMSG_NXTHDR(message, header)) {
        if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS)
            continue;
        size_t count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < count; i++) {
            int fd;
            memcpy(&fd, CMSG_DATA(header) + i * sizeof(int), sizeof(fd));
            if (first == -1)
                first = fd;
            else
                close(fd);
        }
    }
    return first;
}

/* recvmsg's result; *fd is -1 or the caller's. */
static ssize_t receive_packet(struct control *control, int *fd)
{
    union {
        struct cmsghdr header; /* for its alignment */
        char bytes[CMSG_SPACE(MAX_DESCRIPTORS * sizeof(int))];
    } ancillary;
    struct iovec whole = {control->input, sizeof(control->input)};
    struct msghdr message = {.msg_iov = &whole,
                             .msg_iovlen = 1,
                             .msg_control = &ancillary,
                             .msg_controllen = sizeof(ancillary.bytes)};

    *fd = -1;
    ssize_t n = recvmsg(control->fd, &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
    if (n >= 0)
        *fd = take_descriptor(&message);
    return n;
}

static const char *handle_packet(struct control *control, size_t len, int fd)
{
    if (len < TYPE_BYTES || len > PACKET_BYTES) {
        close_fd(fd);
        return len < TYPE_BYTES ? "message without a type" : "message too large";
    }
    unsigned type = control->input[0] | (unsigned)control->input[1] << 8;
    struct str payload = {(const char *)control->input + TYPE_BYTES, len - TYPE_BYTES};
    if (type == 0) {
        close_fd(fd);
        return "message of type 0";
    }
    control->handling = true;
    bool good =
        control->handlers.message(control->arg, control, (enum control_type)type, payload, fd);
    control->handling = false;
    secret_wipe(control->input, len);
    return good ? NULL : "message does not decode";
}

static void on_readable(evutil_socket_t socket, short what, void *arg)
{
    struct control *control = arg;
    (void)socket;
    (void)what;

    for (int i = 0; i < MAX_PER_TURN; i++) {
        int fd;
        ssize_t n = receive_packet(control, &fd);
        /* A reset is reported once, before what was sent ahead of it. */
        if (n == -1 && (errno == EINTR || errno == ECONNRESET))
            continue;
        if (n == -1 && (errno == EAGAIN || errno == EWOULDBLOCK))
            return;
        if (n <= 0) {
            close_with(control, n == 0 ? "closed by the other side" : strerror(errno));
            return;
        }
        const char *reason = handle_packet(control, (size_t)n, fd);
        if (control->destroyed) {
            control_free(control);
            return;
        }
        if (reason != NULL) {
            close_with(control, reason);
            return;
        }
    }
}

struct control *control_create(struct event_base *base, int fd,
                               const struct control_handlers *handlers, void *arg)
{
    struct control *control = mem_alloc(sizeof(*control));

    control->fd = fd;
    control->handlers = *handlers;
    control->arg = arg;
    STAILQ_INIT(&control->queue);
    if (evutil_make_socket_nonblocking(fd) != 0 || evutil_make_socket_closeonexec(fd) != 0)
        abort();
    control->readable = event_new(base, fd, EV_READ | EV_PERSIST, on_readable, control);
    control->writable = event_new(base, fd, EV_WRITE | EV_PERSIST, on_writable, control);
    control->closing = loop_timer_create(base, on_closing, control);
    if (control->readable == NULL || control->writable == NULL ||
        event_add(control->readable, NULL) != 0)
        abort();
    return control;
}

void control_destroy(struct control *control)
{
    if (control == NULL)
        return;
    if (control->handling) {
        stop(control, CONTROL_CLOSED);
        loop_timer_clear(control->closing);
        control->destroyed = true;
        return;
    }
    control_free(control);
}
