/*
 * What Collection-Synchronization says of a sender's followers: read from Mastodon's database, a
 * pass an account for all servers at once, kept for FOLLOWERS_FRESH_MS, while the claims that need
 * it wait here. An account may have a million followers: they are read in pages, each streamed row
 * by row, and accounts that are being counted take turns.
 *
 *   UNKNOWN -> DETECTING -> IDLE -> NAMING -> IDLE (the sender's row is known)
 *      ^        |            ^  \-> COUNTING -> IDLE (a page is counted)
 *      |        v            |         |
 *      \----- PAUSED <-------|---------/  the database is away, denies or refuses: as long as
 *                                         somebody waits it is asked again
 */
#ifndef FEDPUSH_SCHED_FOLLOWERS_H
#define FEDPUSH_SCHED_FOLLOWERS_H

#include <event2/event.h>

#include "base/clock.h"
#include "base/postgres.h"
#include "sched/claim.h"

enum {
    /* Mastodon keeps a digest for ten minutes and drops it at each change of the followers, of
     * which we don't hear. Long enough for one post's way to every server, and short enough that a
     * new follower is in the digest of the next one. */
    FOLLOWERS_FRESH_MS = 30 * 1000,
    FOLLOWERS_GATHER_MS = 5,      /* so long a pass waits for more servers to be asked for */
    FOLLOWERS_LOST_MS = 1000,     /* after a lost connection, and */
    FOLLOWERS_REFUSED_MS = 5000,  /* after a refusal, this long nothing is asked */
    FOLLOWERS_DETECT_MS = 60000,  /* what the catalogue says is believed for so long */
    FOLLOWERS_LOG_MS = 60000,     /* a refusal is logged so often */
    FOLLOWERS_NARROW_SERVERS = 8, /* up to so many, a first pass reads their followers only */
    FOLLOWERS_PAGE_ROWS = 50000,  /* a page's query visits all of an account's followers anew */
    FOLLOWERS_TURNS = 4,          /* so many accounts may be between two pages */
    FOLLOWERS_TALLY_BYTES = 8 * 1024 * 1024, /* an account: some 50,000 servers */
    FOLLOWERS_TOTAL_BYTES = FOLLOWERS_TALLY_BYTES,
};

struct followers_options {
    struct event_base *base;
    const struct clock *clock;
    struct postgres *postgres; /* Mastodon's, a connection of its own: pages keep it busy */
    struct str web_domain;     /* borrowed for its life */
    int page_rows;             /* FOLLOWERS_PAGE_ROWS and so on */
    size_t tally_bytes;
    size_t total_bytes;
    /* From the loop, for each claim that waited for a count that has ended, the youngest first:
     * CLAIM_NEW, to be looked up again. Then `answered`, once. */
    void (*release)(void *arg, struct claim *claim);
    void (*answered)(void *arg);
    void *arg;
};

struct followers;
struct followers *followers_create(const struct followers_options *options);
/* After its connection was destroyed, which holds its callbacks. Waiting claims are the caller's.
 * NULL is fine. */
void followers_destroy(struct followers *followers);

/* True: claim->synchronization is set, and at most FOLLOWERS_FRESH_MS old; "" when the account is
 * gone, which the signer will say, too. False: it must wait. */
bool followers_lookup(struct followers *followers, struct claim *claim) FP_MUST_CHECK;
/* The claim (CLAIM_NEW, parsed) becomes CLAIM_FOLLOWERS. Unbounded: see followers_waiting. */
void followers_wait(struct followers *followers, struct claim *claim);
/* Takes a waiting claim out; it becomes CLAIM_NEW. */
void followers_remove(struct followers *followers, struct claim *claim);
unsigned followers_waiting(const struct followers *followers); /* claims */
/* The database has refused, or a right is missing, and nothing was counted since: it is logged. */
bool followers_refused(const struct followers *followers);

/* Selects the GRANTs that the connection's role lacks, one a row. */
extern const char followers_rights[];

#endif
