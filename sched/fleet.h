/*
 * What the machines of one fleet tell each other through Redis: whose circuit is open, who probes,
 * how many machines there are, what time it is (Redis' own), and what is called back early of what
 * was booked (struct settlement in sched/settle.h books). Times are Unix milliseconds of Redis'
 * TIME.
 *
 * There is no message: each machine reads the log of changes each second where its last reading
 * ended (fleet.lua), and all of it whenever a connection stands. What is lost of it costs some
 * attempts, never a job.
 *
 * A host's news: HELD is a probe's token without any.
 *
 *   --tell--> UNSENT --pulse--> SENT --acknowledged--> TOLD --the log is read up to here--> freed
 *   SENT --tell--> STALE --acknowledged--> UNSENT       SENT, STALE --lost--> UNSENT
 *   --won--> HELD --tell--> UNSENT
 */
#ifndef FEDPUSH_SCHED_FLEET_H
#define FEDPUSH_SCHED_FLEET_H

#include "base/clock.h"
#include "sched/membership.h"

enum {
    FLEET_MAX_HOSTS = 65536, /* with news of ours; what exceeds that isn't told */
    FLEET_PROBE_MS = 120000, /* for so long a token stands */
    FLEET_RELEASE_MAX = 256, /* jobs a call */
};

/* Everything is borrowed and must outlive it. The handlers may call any function of this file but
 * fleet_destroy. */
struct fleet_options {
    const struct clock *clock;
    const struct rng *rng;
    struct redis *redis;
    const struct keys *keys;
    struct membership *membership;
    /* What others have found out, also each time all is read again; or that what was told of a host
     * didn't count (its token had expired; another machine was first), and what counts instead. */
    void (*opened)(void *arg, struct str host, int64_t opened_ms, int64_t probe_ms,
                   uint32_t backoff_ms);
    void (*closed)(void *arg, struct str host);
    /* Another machine was asked for time (Retry-After) by the host; NULL is fine. */
    void (*held)(void *arg, struct str host, int64_t until_ms);
    void (*shared)(void *arg); /* fleet_rate has changed; NULL is fine */
    void *arg;
};

struct fleet;
struct fleet *fleet_create(const struct fleet_options *options);
void fleet_destroy(struct fleet *fleet); /* after its redis; NULL is fine */
/* Each time a connection stands and its scripts are loaded: reads all again. */
void fleet_redis_ready(struct fleet *fleet);
/* Each second: the pulse. News leave with it while membership is present. */
void fleet_tick(struct fleet *fleet);

/* Machines whose last beat is less than a minute old, at the last pulse; at least 1. */
unsigned fleet_machines(const struct fleet *fleet);
/* What the pulse tells the others. */
struct fleet_word {
    bool unfit;         /* this machine takes no jobs now, or suspects itself */
    double rate;        /* deliveries a second for the fleet, 0: no limit */
    double wanted;      /* and what this machine wants of them (sched/share.h) */
    struct str proxies; /* config.proxy_names; borrowed */
};
void fleet_say(struct fleet *fleet, const struct fleet_word *word);
/* How many others have said within five seconds, at the last pulse, that they are fit. */
unsigned fleet_healthy_others(const struct fleet *fleet);
/* Who these are, and this machine while it is: their number, at most FLEET_TAKERS. Of those only
 * that have this proxy, if it names one. Borrowed until the next pulse. `*since_ms`: monotonic,
 * since when it has been all these, with these proxies. */
enum { FLEET_TAKERS = 64 };
size_t fleet_takers(const struct fleet *fleet, struct str proxy, struct str takers[FLEET_TAKERS],
                    int64_t *since_ms);
/* This machine's share of the rate now; 0: no limit. */
double fleet_rate(const struct fleet *fleet);
/* What to add to our monotonic time for Redis' Unix time; before the first answer, for that of this
 * machine. It stays as it is while an answer doesn't contradict it (half a round trip). */
int64_t fleet_unix_offset_ms(const struct fleet *fleet);

/* This machine has opened, reopened or closed a host's circuit. If it holds the token of the host's
 * probe, this is its result, and counts only while the token stands. Without one, an open circuit
 * that others have opened before stays as they have said. */
void fleet_tell_open(struct fleet *fleet, struct str host, int64_t opened_ms, int64_t probe_ms,
                     uint32_t backoff_ms);
void fleet_tell_closed(struct fleet *fleet, struct str host);
/* The host wants no request before then. Who joins until then hears it, too. */
void fleet_tell_held(struct fleet *fleet, struct str host, int64_t until_ms);
/* The probe that was won was not made after all: another may be. */
void fleet_tell_unprobed(struct fleet *fleet, struct str host);

/* The host's circuit, if it is open, is to be probed without delay: all machines will hear it. */
void fleet_probe_now(struct fleet *fleet, struct str host);

/* The job that would be sent: as in struct settlement. */
struct fleet_prober {
    uint64_t pair;
    int64_t created_us;
};
/* Asks to be the one that probes: won, or not: another is probing, a probe isn't due yet, an older
 * job of the same pair waits, the circuit is closed by now (which `closed` tells), or Redis can't
 * answer. `fn` is called from the loop. */
typedef void fleet_probe_fn(void *arg, struct str host, bool won);
void fleet_ask_probe(struct fleet *fleet, struct str host, const struct fleet_prober *prober,
                     fleet_probe_fn *fn, void *arg);

/* Calls back up to `count` (and FLEET_RELEASE_MAX) of the host's booked jobs, the first one to now
 * and each next one `gap_ms` later, in the order of their bookings' times; the host's reservation
 * clock goes back accordingly. `fn` (NULL is fine) hears how many were, and how many are left: call
 * again for these; also when Redis couldn't answer, as if one were left. */
typedef void fleet_release_fn(void *arg, struct str host, unsigned moved, unsigned left);
void fleet_release(struct fleet *fleet, struct str host, unsigned count, uint32_t gap_ms,
                   fleet_release_fn *fn, void *arg);

#endif
