#include "base/ipc.h"

#include <assert.h>
#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    LENGTH_BYTES = 4,
    TYPE_BYTES = 2,
    TURN_BYTES = 256 * 1024, /* read or written at most in one call */
    INPUT_BYTES = IPC_MAX_FRAME_BYTES + LENGTH_BYTES + TURN_BYTES,
};

enum ipc_state {
    IPC_OPEN = 0,
    IPC_DEAF,   /* the other side reads no more; what it wrote before is still read */
    IPC_CLOSED, /* `closed` was called */
};

struct ipc {
    struct bufferevent *stream;
    enum ipc_state state;
    struct ipc_handlers handlers;
    void *arg;
};

/* The caller must not touch `ipc` afterwards: `closed` may have destroyed it. */
static void close_with(struct ipc *ipc, const char *reason)
{
    if (ipc->state == IPC_CLOSED)
        return;
    ipc->state = IPC_CLOSED;
    bufferevent_disable(ipc->stream, EV_READ | EV_WRITE);
    ipc->handlers.closed(ipc->arg, ipc, reason);
}

enum take { TAKE_FRAME = 0, TAKE_MORE, TAKE_BAD };

/* A slice of the whole frame at the head of `input`, which must be drained after use. */
static enum take take_frame(struct evbuffer *input, struct str *frame, const char **reason)
{
    unsigned char head[LENGTH_BYTES];

    if (evbuffer_copyout(input, head, sizeof(head)) < (ev_ssize_t)sizeof(head))
        return TAKE_MORE;
    size_t len =
        (size_t)head[0] | (size_t)head[1] << 8 | (size_t)head[2] << 16 | (size_t)head[3] << 24;
    if (len < TYPE_BYTES) {
        *reason = "frame without a type";
        return TAKE_BAD;
    }
    if (len > IPC_MAX_FRAME_BYTES) {
        *reason = "frame too large";
        return TAKE_BAD;
    }
    if (evbuffer_get_length(input) < LENGTH_BYTES + len)
        return TAKE_MORE;
    const unsigned char *bytes = evbuffer_pullup(input, (ev_ssize_t)(LENGTH_BYTES + len));
    if (bytes == NULL)
        abort();
    *frame = (struct str){(const char *)bytes + LENGTH_BYTES, len};
    return TAKE_FRAME;
}

static bool handle_frame(struct ipc *ipc, struct str frame, const char **reason)
{
    const unsigned char *bytes = (const unsigned char *)frame.ptr;
    uint16_t type = (uint16_t)(bytes[0] | bytes[1] << 8);

    if (type == 0) {
        *reason = "frame of type 0";
        return false;
    }
    if (!ipc->handlers.frame(ipc->arg, ipc, type, str_slice(frame, TYPE_BYTES))) {
        *reason = "frame does not decode";
        return false;
    }
    return true;
}

static void on_read(struct bufferevent *stream, void *arg)
{
    struct ipc *ipc = arg;
    struct evbuffer *input = bufferevent_get_input(stream);
    const char *reason = NULL;

    while (ipc->state != IPC_CLOSED) {
        struct str frame;
        enum take take = take_frame(input, &frame, &reason);
        if (take == TAKE_MORE)
            return;
        if (take == TAKE_BAD || !handle_frame(ipc, frame, &reason)) {
            close_with(ipc, reason);
            return;
        }
        evbuffer_drain(input, LENGTH_BYTES + frame.len);
    }
}

/* A process that ended may have written its last frames before: they are read up to the end of the
 * stream, although ours reach it no more. */
static void become_deaf(struct ipc *ipc)
{
    struct evbuffer *output = bufferevent_get_output(ipc->stream);

    ipc->state = IPC_DEAF;
    bufferevent_disable(ipc->stream, EV_WRITE);
    evbuffer_unfreeze(output, 1); /* libevent keeps the head of a socket's output frozen */
    evbuffer_drain(output, evbuffer_get_length(output));
}

static void on_event(struct bufferevent *stream, short what, void *arg)
{
    struct ipc *ipc = arg;
    int error = EVUTIL_SOCKET_ERROR();

    if (what & BEV_EVENT_ERROR && what & BEV_EVENT_WRITING && ipc->state == IPC_OPEN) {
        become_deaf(ipc);
        return;
    }
    if (what & BEV_EVENT_ERROR)
        close_with(ipc, strerror(error));
    else if (evbuffer_get_length(bufferevent_get_input(stream)) > 0)
        close_with(ipc, "closed by the other side within a frame");
    else
        close_with(ipc, "closed by the other side");
}

struct ipc *ipc_create(struct event_base *base, int fd, const struct ipc_handlers *handlers,
                       void *arg)
{
    struct ipc *ipc = mem_alloc(sizeof(*ipc));

    ipc->handlers = *handlers;
    ipc->arg = arg;
    if (evutil_make_socket_nonblocking(fd) != 0 || evutil_make_socket_closeonexec(fd) != 0)
        abort();
    ipc->stream = bufferevent_socket_new(base, fd, BEV_OPT_CLOSE_ON_FREE);
    if (ipc->stream == NULL)
        abort();
    bufferevent_setcb(ipc->stream, on_read, NULL, on_event, ipc);
    bufferevent_setwatermark(ipc->stream, EV_READ, 0, INPUT_BYTES);
    bufferevent_set_max_single_read(ipc->stream, TURN_BYTES);
    bufferevent_set_max_single_write(ipc->stream, TURN_BYTES);
    bufferevent_enable(ipc->stream, EV_READ | EV_WRITE);
    return ipc;
}

void ipc_destroy(struct ipc *ipc)
{
    if (ipc == NULL)
        return;
    bufferevent_free(ipc->stream);
    free(ipc);
}

void ipc_send(struct ipc *ipc, uint16_t type, struct str payload)
{
    size_t len = TYPE_BYTES + payload.len;

    assert(type != 0 && len <= IPC_MAX_FRAME_BYTES);
    if (ipc->state != IPC_OPEN)
        return;
    const unsigned char head[LENGTH_BYTES + TYPE_BYTES] = {
        (unsigned char)len,         (unsigned char)(len >> 8), (unsigned char)(len >> 16),
        (unsigned char)(len >> 24), (unsigned char)type,       (unsigned char)(type >> 8),
    };
    struct evbuffer *output = bufferevent_get_output(ipc->stream);
    if (evbuffer_add(output, head, sizeof(head)) != 0 ||
        evbuffer_add(output, payload.ptr, payload.len) != 0)
        abort();
}

size_t ipc_pending_bytes(const struct ipc *ipc)
{
    return evbuffer_get_length(bufferevent_get_output(ipc->stream));
}
