/*
 * The control socket between supervisor and a role: SOCK_SEQPACKET on descriptor CONTROL_FD of the
 * child, one message a packet, optionally with one descriptor (SCM_RIGHTS). Over it a role gets its
 * configuration (only what is its own), its peers, and orders; over it it reports.
 *
 *  supervisor -> role: CONFIG, TICKET_KEY (scheduler and signer), PEER (with descriptor), START,
 * RELOAD, DRAIN, STOP, PING, IDENTITY (scheduler)
 *  role -> supervisor: READY, PONG, DRAINED, KILL_PEER (scheduler: a worker is stuck),
 * IDENTITY_WANTED, IDENTITY_GONE, QUARANTINE (scheduler wants / no longer wants a worker for
 * suspicious jobs)
 *
 * Order at start: CONFIG, [TICKET_KEY], [IDENTITY], PEER*, START; the role answers READY when it
 * works. A respawned role's peers get a new PEER for the same (role, index): it replaces the old
 * channel.
 */
#ifndef FEDPUSH_BASE_CONTROL_H
#define FEDPUSH_BASE_CONTROL_H

#include <event2/event.h>

#include "base/err.h"
#include "base/str.h"

enum { CONTROL_FD = 3, CONTROL_MAX_BYTES = 64 * 1024, CONTROL_QUARANTINE_INDEX = 255 };

enum role { ROLE_SUPERVISOR = 0, ROLE_SCHEDULER, ROLE_WORKER, ROLE_SIGNER, ROLE_ADMIN, ROLE_COUNT };
extern const char *const role_names[ROLE_COUNT];

enum control_type {
    CONTROL_CONFIG = 1, /* config_encode's bytes */
    CONTROL_PEER,       /* u8 role, u8 index; descriptor: the channel (struct ipc) to that peer */
    CONTROL_START,      /* */
    CONTROL_RELOAD,     /* config_encode's bytes: only reloadable values may differ */
    CONTROL_DRAIN,      /* u32 seconds */
    CONTROL_STOP,       /* exit now: claims are recovered later */
    CONTROL_PING,       /* u64 */
    CONTROL_IDENTITY,  /* text: first line the identity to use, further lines former ones to recover
                        */
    CONTROL_READY,     /* */
    CONTROL_PONG,      /* u64 */
    CONTROL_DRAINED,   /* scheduler: everything is returned and deregistered */
    CONTROL_KILL_PEER, /* u8 role, u8 index: SIGKILL it and start another */
    CONTROL_IDENTITY_WANTED, /* scheduler: fenced, needs a new identity */
    CONTROL_IDENTITY_GONE,   /* text: this former identity holds nothing any more */
    CONTROL_QUARANTINE,      /* u8: 1 start, 0 stop the worker CONTROL_QUARANTINE_INDEX */
    CONTROL_TICKET_KEY,      /* supervisor: TICKET_KEY_BYTES, to scheduler and signer only */
};

struct control;
struct control_handlers {
    /* `fd` is -1 or a descriptor that the handler now owns. False: the message is malformed. */
    bool (*message)(void *arg, struct control *control, enum control_type type, struct str payload,
                    int fd);
    /* The other side is gone or sent rubbish; called once; control_destroy may be called from here.
     */
    void (*closed)(void *arg, struct control *control, const char *reason);
};

struct control *control_create(struct event_base *base, int fd,
                               const struct control_handlers *handlers, void *arg);
void control_destroy(struct control *control);
/* Never blocks: what doesn't fit the socket is queued (bounded: 1,024 messages; past that the
 * channel is closed). `fd` (or -1) is duplicated by the kernel; the caller keeps its own copy and
 * may close it at once. */
void control_send(struct control *control, enum control_type type, struct str payload, int fd);

#endif
