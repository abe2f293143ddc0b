/*
 * A framed, typed, bounded channel between two processes over a stream socket pair.
 * Frame: u32 length of what follows (little endian), u16 type, payload. Writes of one loop turn
 * leave in one system call, when the turn ends.
 * A bad frame from the other side closes the channel and is reported as `closed`; it never ends the
 * receiver. The process must ignore SIGPIPE, as every role does.
 */
#ifndef FEDPUSH_BASE_IPC_H
#define FEDPUSH_BASE_IPC_H

#include <event2/event.h>

#include "base/str.h"

enum { IPC_MAX_FRAME_BYTES = 4 * 1024 * 1024 };

struct ipc;

struct ipc_handlers {
    /* `payload` is borrowed for the call. Returns false when it doesn't decode: the channel is
     * closed with that reason. The handler may send, but must not destroy the channel. */
    bool (*frame)(void *arg, struct ipc *ipc, uint16_t type, struct str payload);
    /* Called once, from the loop, never from inside ipc_send. After it only ipc_destroy is allowed,
     * which may be called from here. `reason` is borrowed. */
    void (*closed)(void *arg, struct ipc *ipc, const char *reason);
};

/* Takes fd over (non-blocking, close-on-exec are set). */
struct ipc *ipc_create(struct event_base *base, int fd, const struct ipc_handlers *handlers,
                       void *arg);
void ipc_destroy(struct ipc *ipc); /* closes; NULL is fine; no callback */
/* Queues a frame. After `closed` it does nothing. */
void ipc_send(struct ipc *ipc, uint16_t type, struct str payload);
/* Bytes queued and not yet written: the bound is the caller's credit. */
size_t ipc_pending_bytes(const struct ipc *ipc);

#endif
