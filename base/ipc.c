#include "base/ipc.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    LENGTH_BYTES = 4,
    TYPE_BYTES = 2,
    TURN_BYTES = 256 * 1024, /* written at most in one call */
    INPUT_BYTES = 64 * 1024, /* what both buffers usually have; more only while a frame needs it */
};

enum ipc_state {
    IPC_OPEN = 0,
    IPC_DEAF,   /* the other side reads no more; what it wrote before is still read */
    IPC_CLOSED, /* `closed` was called */
};

/* Bytes from `start` to `end`, in a buffer that is given back when a large one runs empty. */
struct queue {
    char *bytes;
    size_t capacity;
    size_t start;
    size_t end;
};

/* A socket of our own instead of a bufferevent: that asks the kernel twice for each read and each
 * write, and there are four messages a delivery. */
struct ipc {
    int fd;
    enum ipc_state state;
    struct event *readable;
    struct event *writable; /* only while the socket is full */
    struct event *flush;    /* at the end of the turn */
    struct queue in;
    struct queue out;
    struct ipc_handlers handlers;
    void *arg;
};

/* --- queues --- */

static size_t queue_len(const struct queue *queue)
{
    return queue->end - queue->start;
}

/* Makes room for `len` more bytes behind `end`. */
static void queue_reserve(struct queue *queue, size_t len)
{
    size_t held = queue_len(queue);

    if (queue->capacity - queue->end >= len)
        return;
    if (queue->start > 0)
        memmove(queue->bytes, queue->bytes + queue->start, held);
    queue->start = 0;
    queue->end = held;
    if (queue->capacity - held >= len)
        return;
    size_t capacity = queue->capacity > 0 ? queue->capacity / 2 * 3 : INPUT_BYTES;
    if (capacity < held + len)
        capacity = held + len;
    queue->bytes = mem_realloc(queue->bytes, capacity);
    queue->capacity = capacity;
}

static void queue_put(struct queue *queue, const void *bytes, size_t len)
{
    if (len == 0)
        return;
    queue_reserve(queue, len);
    memcpy(queue->bytes + queue->end, bytes, len);
    queue->end += len;
}

static void queue_clear(struct queue *queue)
{
    free(queue->bytes);
    *queue = (struct queue){0};
}

static void queue_take(struct queue *queue, size_t len)
{
    queue->start += len;
    if (queue->start < queue->end)
        return;
    queue->start = queue->end = 0;
    if (queue->capacity > INPUT_BYTES)
        queue_clear(queue);
}

/* --- reading --- */

/* The caller must not touch `ipc` afterwards: `closed` may have destroyed it. */
static void close_with(struct ipc *ipc, const char *reason)
{
    ipc->state = IPC_CLOSED;
    event_del(ipc->readable);
    event_del(ipc->writable);
    ipc->handlers.closed(ipc->arg, ipc, reason);
}

enum take { TAKE_FRAME = 0, TAKE_MORE, TAKE_BAD };

/* A slice of the whole frame at the head of the input; with TAKE_MORE, *missing is what it still
 * lacks. */
static enum take take_frame(const struct queue *in, struct str *frame, size_t *missing,
                            const char **reason)
{
    const unsigned char *head = (const unsigned char *)in->bytes + in->start;

    *missing = 1;
    if (queue_len(in) < LENGTH_BYTES)
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
    if (queue_len(in) < LENGTH_BYTES + len) {
        *missing = LENGTH_BYTES + len - queue_len(in);
        return TAKE_MORE;
    }
    *frame = (struct str){in->bytes + in->start + LENGTH_BYTES, len};
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

/* All whole frames; false when the channel was closed over one of them. */
static bool handle_frames(struct ipc *ipc)
{
    const char *reason = NULL;
    struct str frame;
    size_t missing;

    while (queue_len(&ipc->in) > 0) {
        enum take take = take_frame(&ipc->in, &frame, &missing, &reason);
        if (take == TAKE_MORE) {
            queue_reserve(&ipc->in, missing);
            return true;
        }
        if (take == TAKE_BAD || !handle_frame(ipc, frame, &reason)) {
            close_with(ipc, reason);
            return false;
        }
        queue_take(&ipc->in, LENGTH_BYTES + frame.len);
    }
    return true;
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
    struct ipc *ipc = arg;

    (void)what;
    queue_reserve(&ipc->in, 1);
    ssize_t len = recv(fd, ipc->in.bytes + ipc->in.end, ipc->in.capacity - ipc->in.end, 0);
    if (len > 0) {
        ipc->in.end += (size_t)len;
        handle_frames(ipc);
    } else if (len == 0) {
        close_with(ipc, queue_len(&ipc->in) > 0 ? "closed by the other side within a frame"
                                                : "closed by the other side");
    } else if (errno != EAGAIN && errno != EINTR) {
        close_with(ipc, strerror(errno));
    }
}

/* --- writing --- */

/* A process that ended may have written its last frames before: they are read up to the end of the
 * stream, although ours reach it no more. */
static void become_deaf(struct ipc *ipc)
{
    ipc->state = IPC_DEAF;
    event_del(ipc->writable);
    queue_clear(&ipc->out);
}

static void on_flush(evutil_socket_t fd, short what, void *arg)
{
    struct ipc *ipc = arg;
    size_t len = queue_len(&ipc->out);

    (void)fd;
    (void)what;
    if (ipc->state != IPC_OPEN || len == 0)
        return;
    ssize_t written = send(ipc->fd, ipc->out.bytes + ipc->out.start,
                           len < TURN_BYTES ? len : TURN_BYTES, MSG_NOSIGNAL);
    if (written < 0 && errno != EAGAIN && errno != EINTR) {
        become_deaf(ipc);
        return;
    }
    if (written > 0)
        queue_take(&ipc->out, (size_t)written);
    if (queue_len(&ipc->out) > 0)
        event_add(ipc->writable, NULL);
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
    if (queue_len(&ipc->out) == 0)
        event_active(ipc->flush, EV_TIMEOUT, 0); /* behind all that this turn still has to do */
    queue_put(&ipc->out, head, sizeof(head));
    queue_put(&ipc->out, payload.ptr, payload.len);
}

size_t ipc_pending_bytes(const struct ipc *ipc)
{
    return queue_len(&ipc->out);
}

/* --- life --- */

struct ipc *ipc_create(struct event_base *base, int fd, const struct ipc_handlers *handlers,
                       void *arg)
{
    struct ipc *ipc = mem_alloc(sizeof(*ipc));

    ipc->fd = fd;
    ipc->handlers = *handlers;
    ipc->arg = arg;
    if (evutil_make_socket_nonblocking(fd) != 0 || evutil_make_socket_closeonexec(fd) != 0)
        abort();
    ipc->readable = event_new(base, fd, EV_READ | EV_PERSIST, on_readable, ipc);
    ipc->writable = event_new(base, fd, EV_WRITE, on_flush, ipc);
    ipc->flush = event_new(base, -1, 0, on_flush, ipc);
    if (ipc->readable == NULL || ipc->writable == NULL || ipc->flush == NULL ||
        event_add(ipc->readable, NULL) != 0)
        abort();
    return ipc;
}

void ipc_destroy(struct ipc *ipc)
{
    if (ipc == NULL)
        return;
    event_free(ipc->readable);
    event_free(ipc->writable);
    event_free(ipc->flush);
    close(ipc->fd);
    queue_clear(&ipc->in);
    queue_clear(&ipc->out);
    free(ipc);
}
