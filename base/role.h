/*
 * What scheduler, worker, signer and admin process have in common: the start over the control
 * socket, answers to the supervisor's pings, and the end with the supervisor. A role's main creates
 * its state, then calls role_run.
 */
#ifndef FEDPUSH_BASE_ROLE_H
#define FEDPUSH_BASE_ROLE_H

#include <event2/event.h>

#include "base/clock.h"
#include "base/config.h"
#include "base/control.h"
#include "base/ticket.h"

struct role_process {
    enum role role;
    unsigned index;
    struct event_base *base;
    struct control *control;
    struct config config; /* only what this role may see; complete before `start` */
    struct clock clock;
    struct rng rng;
    /* Scheduler and signer only; there before `start`. The role may wipe it when it has its own. */
    unsigned char ticket_key[TICKET_KEY_BYTES];
    int exit_code; /* role_exit's */
};

struct role_handlers {
    /* CONFIG, and for the scheduler IDENTITY, and all first PEERs have come. The role sends
     * CONTROL_READY itself, when it works. */
    void (*start)(void *arg);
    /* A channel to a peer: before `start`, and again when that peer was respawned (replaces the old
     * channel). */
    void (*peer)(void *arg, enum role role, unsigned index, int fd);
    void (*reload)(
        void *arg); /* reloadable values of process->config have been replaced; may be NULL */
    void (*drain)(void *arg, unsigned seconds); /* may be NULL */
    void (*identity)(void *arg,
                     struct str text); /* scheduler only: CONTROL_IDENTITY's text; else NULL */
};

/*
 * Hardens, binds to the parent, opens the log and the loop, speaks the start on CONTROL_FD, then
 * runs the loop until it is broken. Returns the exit code. The supervisor's end ends the process
 * (exit at once). `process` is the caller's, zeroed; its fields are set before the first handler is
 * called, and stay as they are afterwards: what the role has made on its loop may still use them.
 */
int role_run(struct role_process *process, enum role role, unsigned index,
             const struct role_handlers *handlers, void *arg);
/* Ends role_run with this exit code after the current turn. */
void role_exit(struct role_process *process, int exit_code);

#endif
