/*
 * Redis as fedpush and Sidekiq use it: queues, sorted sets, claims, what machines tell each other.
 * Each function is one script or command sequence, and counts what the real one does: `calls` are
 * round trips, `commands` what Redis executes, those inside a script included. A script runs in no
 * time; the way there and back is the caller's.
 */
#ifndef FEDPUSH_TESTS_SIM_STORE_H
#define FEDPUSH_TESTS_SIM_STORE_H

#include "tests/sim/booked.h"
#include "tests/sim/owners.h"
#include "tests/sim/ring.h"
#include "tests/sim/scored.h"

enum {
    STORE_TOKEN_MS = 120000,
    STORE_RELEASE = 1000, /* places a call */
    STORE_MACHINES = 8,
};

/* What the fleet knows of a host. */
struct store_host {
    bool open;
    int64_t opened_ms; /* Unix time, as all here */
    int64_t probe_ms;
    uint32_t backoff_ms;
    uint64_t token; /* of who probes; 0: nobody */
    int64_t token_until_ms;
    int64_t reserved_ms; /* the end of what is booked */
    int64_t held_until_ms;
    int64_t called_ms; /* until when it is called back */
    struct booked booked;
    uint64_t booking_call; /* the last one that booked here */
    /* The incumbent's breaker. */
    unsigned failures;
    int64_t failed_ms;
};

/* What a machine says of itself with its pulse. */
struct word {
    bool suspicious;
    double rate;   /* deliveries a second for the fleet; 0: no limit */
    double wanted; /* of these */
    double asked;
};

struct store_word {
    bool alive; /* its beat is young; the machines say so */
    bool suspicious;
    int64_t said_ms; /* 0: nothing yet */
    double wanted;
    double held;
    double later;
};

/* What it hears. */
struct heard {
    unsigned healthy_others;
    double share;
    double wants[STORE_MACHINES]; /* of the others */
    size_t want_count;
};

struct change {
    uint32_t host;
    unsigned machine; /* that found it out */
};

struct store {
    struct jobs *jobs;
    struct ring push;
    struct ring pull;
    struct ring wait[STORE_MACHINES]; /* what others have claimed for it */
    bool present[STORE_MACHINES];     /* in fedpush:identities */
    uint64_t seqs[STORE_MACHINES];    /* of the latest claim of each */
    struct owners owners;
    struct scored retry;
    struct scored schedule;
    struct store_host *hosts;
    uint32_t host_count;
    struct table *pairs; /* of host and account: the last score that was booked */
    struct store_word words[STORE_MACHINES];
    struct change *changed; /* the change log */
    size_t changes;
    size_t change_capacity;
    uint64_t tokens;
    uint64_t commands;
    uint64_t calls;
    uint64_t booking_calls; /* of them: settle.lua and due.lua */
    uint64_t paired_call;   /* the last of these that booked one that has an order */
};

void store_init(struct store *store, struct jobs *jobs, uint32_t host_count);
void store_clear(struct store *store);

/* Mastodon's push: into the queue that the job's class has. Not counted: both engines have it. */
void store_push(struct store *store, uint32_t job);
/* BLMOVE, which each machine that waits for a job calls again and again. */
void store_wait(struct store *store);
/* beat.lua and leave.lua: in and out of the fleet; what waits for it goes back. */
void store_join(struct store *store, unsigned machine);
void store_leave(struct store *store, unsigned machine);
/* claim.lua: up to `most` jobs, of what waits for this machine first, then from the consuming end.
 * What another machine has older ones of goes there. */
unsigned store_claim(struct store *store, unsigned machine, bool pull, int64_t unix_ms,
                     unsigned most, uint32_t *jobs);
/* due.lua: up to `most` of `retry` or `schedule`, but for those; what would only be parked again
 * stays there. */
struct ahead_sim {
    bool wanted; /* anything is parked or booked */
    int64_t (*parks_until_ms)(void *arg, uint32_t job, bool schedule); /* 0: it is claimed */
    void (*parked)(void *arg, uint32_t job, int64_t at_us);
    void *arg;
};
unsigned store_due(struct store *store, unsigned machine, bool schedule, int64_t unix_ms,
                   unsigned most, uint32_t *jobs, const struct ahead_sim *ahead);

/* settle.lua: one call, then each claim's end. */
void store_settle(struct store *store);
void store_settle_over(struct store *store, uint32_t job, enum job_place place);
/* Into a sorted set at this time; what failed before belongs into `retry`. */
void store_settle_at(struct store *store, uint32_t job, int64_t unix_us);
/* The same, booked at its host: in the order of its account's jobs, to be called back early.
 * `share_ms` > 0: on its host's clock, behind what is booked there already. Returns when. */
int64_t store_settle_booked(struct store *store, uint32_t job, int64_t at_us, int64_t share_ms,
                            int64_t unix_ms);
/* Back to where it was claimed from. */
void store_settle_return(struct store *store, unsigned machine, uint32_t job, int64_t unix_ms);
/* yield.lua: what waits for a machine that takes nothing goes back. */
void store_yield(struct store *store, unsigned machine);
/* Mastodon's failure tracker, as both write it. */
void store_track(struct store *store, bool success);

/* The pulse: the others' changes in the log behind `*read`, at most `most`. */
unsigned store_pulse(struct store *store, unsigned machine, size_t *read, unsigned most,
                     uint32_t *hosts);
/* The same call: what the machine says of itself, and what it hears of the others. */
struct heard store_say(struct store *store, unsigned machine, const struct word *word,
                       int64_t unix_ms);
/* A machine's word about a circuit; `token`: its probe's, or 0. Nothing, if the token stands no
 * more, or if without one a circuit is opened that is open. */
void store_tell(struct store *store, unsigned machine, uint32_t host, uint64_t token,
                int64_t unix_ms, const struct store_host *circuit);
/* Nonzero: the probe's token was won. Zero: somebody else probes, none is due, or the job is not
 * the first of its account's that wait. */
uint64_t store_ask_probe(struct store *store, uint32_t job, int64_t unix_ms);
/* The host has asked a machine for time. */
void store_hold(struct store *store, unsigned machine, uint32_t host, int64_t until_ms);
/* The probe was not made: its token goes back. */
void store_unprobe(struct store *store, uint32_t host, uint64_t token);
/* release.lua: booked jobs come back, from now on one each `gap_ms`; how many did, and returns how
 * many are left. */
size_t store_release(struct store *store, uint32_t host, unsigned most, int64_t gap_ms,
                     int64_t unix_ms, unsigned *moved);

/* Sidekiq. */
bool store_fetch(struct store *store, bool push_first, uint32_t *job); /* BRPOP */
/* So many threads call it again, since nothing came. */
void store_fetch_nothing(struct store *store, unsigned threads);
bool store_enqueue_due(struct store *store, bool schedule, int64_t unix_ms);

#endif
