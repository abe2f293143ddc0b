/*
 * The fediverse: simulated hosts, how fast and in what manner each answers, and what happened to
 * it.
 */
#ifndef FEDPUSH_TESTS_SIM_HOSTS_H
#define FEDPUSH_TESTS_SIM_HOSTS_H

#include <stdbool.h>
#include <stdint.h>

#include "tests/sim/dice.h"

enum {
    HOSTS_CONNECT_MS = 5000, /* what Mastodon, and fedpush like it, wait for a connection */
    HOSTS_SILENCE_MS = 10000 /* and for an answer */
};

enum manner {
    MANNER_ANSWERS = 0, /* 202 */
    MANNER_BLACK_HOLE,  /* nothing answers to a connection */
    MANNER_REFUSED,     /* a restart, or a closed port: what was on its way is reset */
    MANNER_SILENT,      /* takes the request and says nothing */
    MANNER_ERROR,       /* 500 */
    MANNER_UNAVAILABLE, /* 503, at once */
    MANNER_BUSY,        /* 429, at once */
    MANNER_UNSERVED,    /* nobody answers for its name */
};

/* For a time, a host is another. */
struct spell {
    int64_t from_ms;
    int64_t to_ms;
    enum manner manner;
};

struct sim_host {
    char name[24];
    enum manner manner;
    double median_ms; /* of its answers, log-normal */
    double sigma;
    struct spell spell;
    int64_t flap_ms;      /* 0, or: so long up, so long refusing, in turn */
    unsigned limit;       /* requests a minute, 0: as many as come; more get 429 */
    bool says_when;       /* with Retry-After */
    int64_t asks_ms;      /* MANNER_BUSY, MANNER_UNAVAILABLE: its Retry-After; 0: it says none */
    struct spell pause;   /* by an admin of ours, who has said for how long; of no manner */
    bool watched;         /* it counts as healthy in the report */
    int64_t limit_minute; /* the one that `limit_count` counts */
    unsigned limit_count;
    /* What it saw. */
    unsigned attempts;
    int64_t asked_ms;     /* the last of them */
    unsigned in_vain;     /* of these: while it wasn't there */
    unsigned pushed_back; /* 429 */
    unsigned delivered;
    unsigned missing; /* at the end of the run: not delivered */
    double waited_ms; /* sum over its jobs of what was not its own time */
    unsigned at_once; /* requests now */
    unsigned most_at_once;
};

struct hosts {
    struct sim_host *list;
    uint32_t count;
};

enum reply_kind {
    REPLY_STATUS = 0,
    REPLY_TRANSPORT,
    REPLY_UNRESOLVED, /* no name gets an answer (FAILURE_RESOLVER) */
    REPLY_UNSERVED,   /* this one doesn't (FAILURE_UNSERVED) */
};

struct reply {
    enum reply_kind kind;
    unsigned status;
    bool certain; /* REPLY_TRANSPORT: refused, no doubt about it */
    uint32_t took_ms;
    int64_t retry_after_ms;
};

/* `count` hosts that answer, with medians of their own around 150 ms. */
void hosts_init(struct hosts *hosts, uint32_t count, struct dice *dice);
void hosts_clear(struct hosts *hosts);
/* How the request that starts now will end. */
struct reply hosts_ask(struct sim_host *host, int64_t now_ms, struct dice *dice);
/* It ended. */
void hosts_told(struct sim_host *host, const struct reply *reply);

#endif
