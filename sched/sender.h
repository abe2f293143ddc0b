/*
 * The local accounts whose followers were counted lately, and for how long that counts.
 */
#ifndef FEDPUSH_SCHED_SENDER_H
#define FEDPUSH_SCHED_SENDER_H

#include "base/clock.h"
#include "sched/claim.h"
#include "sched/tally.h"

enum sender_state {
    SENDER_IDLE = 0, /* nobody waits: what was counted last is all there is */
    SENDER_QUEUED,   /* waits for its row to be read; the last count may still be good */
    SENDER_COUNTING, /* waits for its next page of followers */
};

struct sender {
    TAILQ_ENTRY(sender) entry; /* of the queue, unless idle */
    enum sender_state state;
    int64_t account_id;
    struct claim_list waiting;
    char *username; /* NULL: no such account, or none that can be named in a header */
    int64_t id_scheme;
    struct tally *tally;
    bool counted;       /* the tally is a whole pass's, but while COUNTING */
    int64_t counted_ms; /* monotonic: when that pass ended */
    int64_t last_id;    /* COUNTING: followers up to this one are counted */
    int64_t rows;       /* COUNTING: of the page */
    size_t kept_bytes;  /* of the tally, when it was counted */
};

TAILQ_HEAD(sender_list, sender);

struct senders_options {
    const struct clock *clock;
    struct str web_domain; /* borrowed for its life */
    int64_t fresh_ms;      /* so long a count is good */
    size_t tally_bytes;    /* of one account */
    size_t total_bytes;    /* of all: the oldest counts go first */
};

struct senders;
struct senders *senders_create(const struct senders_options *options);
void senders_destroy(struct senders *senders);
struct sender *senders_get(struct senders *senders, int64_t account_id); /* made when not there */
/* A pass has ended: the sender is idle, its count fresh. */
void senders_counted(struct senders *senders, struct sender *sender);
/* A pass has failed: what was counted is part of an unknown whole. The sender is QUEUED. */
void sender_discard(struct sender *sender);
/* Forgets idle senders whose count is too old. */
void senders_sweep(struct senders *senders);
/*
 * The header's value for an inbox, from a fresh count; "" for an account that has none. A new
 * string, or NULL: not counted, or too long ago.
 */
char *senders_value(const struct senders *senders, int64_t account_id, struct str inbox_url);

#endif
