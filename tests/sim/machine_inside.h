/*
 * What the files that are a machine share: machine.c (its life and its seconds), machine_in.c (what
 * it takes and sends), machine_known.c (what it must ask first), machine_pause.c (what an admin
 * orders), machine_out.c (what becomes of it). Nobody else includes this.
 */
#ifndef FEDPUSH_TESTS_SIM_MACHINE_INSIDE_H
#define FEDPUSH_TESTS_SIM_MACHINE_INSIDE_H

#include "sched/appetite.h"
#include "sched/doubts.h"
#include "sched/standby.h"
#include "tests/sim/machine.h"

enum {
    MACHINE_WORKERS = 2,
    MACHINE_IN_FLIGHT = 2048,
    MACHINE_LOOKAHEAD = 4096,
    MACHINE_WINDOW = 32,
    REDIS_MS = 1, /* there and back */
};

enum machine_state { MACHINE_RUNNING = 0, MACHINE_DRAINING, MACHINE_GONE };

/* A job in the machine's hands. */
struct held {
    struct claim claim; /* first: the lanes give it back */
    TAILQ_ENTRY(held) all;
    struct machine *machine;
    uint32_t job;
    struct reply reply;
};

TAILQ_HEAD(held_list, held);

enum ending { ENDING_OVER = 0, ENDING_AT, ENDING_BOOKED, ENDING_RETURN };

/* A claim's end, on its way to Redis. */
struct settling {
    struct held *held;
    enum ending ending;
    enum job_place place; /* ENDING_OVER */
    int64_t unix_us;      /* ENDING_AT, ENDING_BOOKED */
    int64_t share_ms;     /* ENDING_BOOKED */
};

/* Word for the fleet about a host's circuit. */
struct told {
    uint32_t host;
    uint64_t token;
    int64_t held_until_ms; /* not 0: Retry-After, and nothing of the circuit */
    struct store_host circuit;
};

struct machine {
    struct world *world;
    unsigned index;
    enum machine_state state;
    int64_t offset_ms; /* its monotonic clock minus the events' */
    struct lanes *lanes;
    struct doubts *doubts;
    struct standby standby;
    struct heard heard;
    bool paused; /* it claims nothing */
    struct held_list all;
    struct held_list spare;
    unsigned held_count;
    unsigned low_count;
    uint64_t seq;
    struct claim_list waiting; /* CLAIM_HELD: our resolver failed */
    unsigned waiting_count;
    int64_t wake_ms;  /* of the events; when lanes are woken next; 0: not set */
    bool claiming;    /* an answer is on its way */
    bool queue_empty; /* as of the last claim */
    struct settling *settling;
    unsigned settling_count;
    bool flushing;
    struct told *told;
    size_t told_count;
    size_t told_capacity;
    size_t log_read;
    uint64_t *tokens; /* by host: of the probe that this machine makes */
    unsigned first_served;
    int64_t *read_ms;      /* by host: when it was last read whether it is available; 0: never */
    struct lane **blocked; /* until it is */
    size_t blocked_count;
    size_t blocked_capacity;
    int64_t cpu_free_us;
    int64_t fault_from_ms;
    int64_t fault_to_ms;
    enum fault fault;
};

/* Its monotonic clock. */
int64_t machine_now_ms(const struct machine *machine);

/* machine_in.c */
void machine_claim(struct machine *machine, bool regardless);
void machine_due(struct machine *machine);
/* A new claim, or one that comes back unattempted. */
void machine_admit(struct machine *machine, struct held *held);
void machine_admit_again(struct machine *machine, struct held *held);
/* What the lane must part with, since its host holds it back, is booked. */
void machine_shed(struct machine *machine, struct lane *lane);
void machine_dispatch(struct machine *machine);
/* Past its lane, and whatever its circuit says: world->each_tried. */
void machine_try_last(struct machine *machine, struct held *held);
/* The host of this lane. */
uint32_t machine_host_of(const struct machine *machine, const struct lane *lane);

/* machine_known.c. Whether its host is available; if that isn't known, its lane is to be blocked.
 */
bool machine_knows(struct machine *machine, const struct lane *lane);
void machine_block(struct machine *machine, struct lane *lane);

/* machine_pause.c: whether an admin has paused the host of this job; and limits_settle of such a
 * claim. */
bool machine_is_paused(const struct machine *machine, uint32_t job);
void machine_book_paused(struct machine *machine, struct held *held);

/* machine_out.c */
void machine_settle(struct machine *machine, const struct settling *settling);
/* parking_wait_ms, or parking_last_ms. */
int64_t machine_parking_ms(struct machine *machine, const struct held *held,
                           const struct lane *lane, int64_t *taken_ms);
void machine_park(struct machine *machine, struct held *held, struct lane *lane);
void machine_park_all(struct machine *machine, struct lane *lane);
void machine_landed(struct machine *machine, struct held *held);
void machine_tried(struct machine *machine, struct held *held); /* of machine_try_last */
void machine_judge_doubts(struct machine *machine);
void machine_abandon_probes(struct machine *machine);
/* Its host answers again: what is parked comes first. */
void machine_closed(struct machine *machine, struct lane *lane);
/* Calls back what is booked and could be taken now. */
void machine_release(struct machine *machine);
/* Off every list; its job is somebody else's. */
void machine_forget(struct machine *machine, struct held *held);

#endif
