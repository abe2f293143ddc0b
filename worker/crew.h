/*
 * When to start, ping, kill and replace the roles: the supervisor's policy. Pure: times come in,
 * decisions go out as calls of `struct crew_actions`. How to do it stands in spawn.h and
 * supervisor.c.
 *
 * A crew:
 *
 *   STARTING --all ready--> RUNNING --terminate--> DRAINING --drained--> STOPPING --reaped--> ENDED
 *      ^  \___scheduler died___/                      |                      |                  ^
 *      |            v                                 |deadline, terminate   |deadline,terminate|
 *      +-------RESTARTING                             +------> KILLING <-----+                  |
 *        all workers reaped                                       +----reaped or deadline-------+
 *
 * STARTING, RUNNING and RESTARTING go straight to STOPPING when there is nothing to drain.
 *
 * The admin process is nobody's peer and no part of this: it starts last, nothing waits for it, its
 * death touches nobody, and it is stopped when all others are reaped, so that its page answers
 * until the end.
 *
 * A child:
 *
 *   ABSENT -> WAITING --due--> SPAWNED --its peers live--> STARTING --READY--> READY
 *     ^          ^                \______________________________|______________/
 *     |          +---- reaped ----- ENDING <-- told to stop, stuck, or its socket closed
 *     +-- reaped, not wanted --'
 */
#ifndef FEDPUSH_WORKER_CREW_H
#define FEDPUSH_WORKER_CREW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/control.h"

enum {
    CREW_MAX_WORKERS = 64,
    CREW_MAX_CHILDREN = CREW_MAX_WORKERS + 4, /* signer, quarantine worker, scheduler, admin */
    CREW_PING_MS = 5000,
    CREW_SILENCE_MS = 15000,
    CREW_SCHEDULER_SILENCE_MS = 20000,
    CREW_YOUNG_MS = 10000, /* dying at a lower age makes its successor wait */
    CREW_MIN_BACKOFF_MS = 100,
    CREW_MAX_BACKOFF_MS = 10000,
    CREW_STOP_MS = 5000,   /* from STOP to SIGKILL; also what a drain gets on top of its seconds */
    CREW_CLOSED_MS = 1000, /* from a closed control socket to SIGKILL */
};

enum crew_state {
    CREW_STARTING = 0,
    CREW_RUNNING,
    CREW_RESTARTING,
    CREW_DRAINING,
    CREW_STOPPING,
    CREW_KILLING,
    CREW_ENDED,
};
extern const char *const crew_state_names[];

enum child_state {
    CHILD_ABSENT = 0, /* not wanted, no process */
    CHILD_WAITING,    /* no process; one is started at due_ms */
    CHILD_SPAWNED,    /* has its configuration; START waits for the peers it can't do without */
    CHILD_STARTING,   /* START is sent */
    CHILD_READY,
    CHILD_ENDING, /* told to stop, killed or lost; not yet reaped */
};

struct child {
    enum role role;
    unsigned index;
    enum child_state state;
    bool wanted; /* false: once gone it stays away */
    int64_t started_ms;
    int64_t ping_due_ms; /* SPAWNED, STARTING, READY: the next ping */
    int64_t due_ms;      /* WAITING: spawn; ENDING: SIGKILL; otherwise: SIGKILL when no PONG came */
    unsigned failures;   /* deaths in a row at a low age */
};

/* `child` counts the crew's children from 0. None of these calls back into the crew. */
struct crew_actions {
    /* Starts the process and sends all that precedes PEER; false: it didn't work (logged). */
    bool (*spawn)(void *arg, size_t child);
    void (*connect)(void *arg, size_t child, size_t peer); /* a channel, an end to each */
    void (*send_start)(void *arg, size_t child);
    void (*send_stop)(void *arg, size_t child);
    void (*send_drain)(void *arg, size_t child, unsigned seconds);
    void (*send_ping)(void *arg, size_t child);
    void (*kill)(void *arg, size_t child, const char *reason); /* SIGKILL */
    void (*state)(void *arg, enum crew_state state);           /* has become this; ENDED: finish */
};

struct crew {
    const struct crew_actions *actions;
    void *arg;
    enum crew_state state;
    int64_t now_ms;      /* of the running step */
    int64_t deadline_ms; /* DRAINING, STOPPING, KILLING */
    int exit_code;       /* valid in ENDED */
    int patience;        /* factor on the limits of silence: 2 in sanitizer builds */
    size_t child_count;
    struct child children[CREW_MAX_CHILDREN]; /* in the order of their start */
};

/* All times are monotonic milliseconds. worker_count in [1, CREW_MAX_WORKERS]; `admin`: there is an
 * admin process. */
void crew_init(struct crew *crew, unsigned worker_count, bool admin, int patience,
               const struct crew_actions *actions, void *arg);
bool crew_child_lives(const struct child *child); /* SPAWNED, STARTING or READY */

/* Does what is due. Called once to start, then whenever crew_next_ms has come; what follows calls
 * it itself. */
void crew_step(struct crew *crew, int64_t now_ms);
/* When crew_step is due next; INT64_MAX: never. */
int64_t crew_next_ms(const struct crew *crew);

/* What happened. `exit_code` is negative when a signal ended it. */
void crew_exited(struct crew *crew, size_t child, int exit_code, int64_t now_ms);
void crew_lost(struct crew *crew, size_t child, int64_t now_ms); /* its control socket is closed */
void crew_ready(struct crew *crew, size_t child, int64_t now_ms);
void crew_pong(struct crew *crew, size_t child, int64_t now_ms);
/* The scheduler's: a worker is stuck; the quarantine worker is wanted; everything is returned. A
 * child that doesn't exist or isn't a worker is false. */
bool crew_kill_worker(struct crew *crew, unsigned index, int64_t now_ms);
void crew_quarantine(struct crew *crew, bool wanted, int64_t now_ms);
void crew_drained(struct crew *crew, int64_t now_ms);
/* SIGTERM: the first drains, the second kills. */
void crew_terminate(struct crew *crew, unsigned drain_seconds, int64_t now_ms);

#endif
