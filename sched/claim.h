/*
 * One claimed job: what we hold of it, from the script that claimed it to the script that settles
 * it. Its state names the one list it is on; claim_set_state is the only way from one to another.
 */
#ifndef FEDPUSH_SCHED_CLAIM_H
#define FEDPUSH_SCHED_CLAIM_H

#include <sys/queue.h>

#include "base/url.h"
#include "sched/away.h"
#include "sched/job.h"

enum claim_state {
    CLAIM_NEW = 0,    /* on no list: being looked at */
    CLAIM_LANE,       /* waits in its host's lane */
    CLAIM_FLIGHT,     /* with a worker */
    CLAIM_HELD,       /* waits for its key to become readable, until due_ms */
    CLAIM_FOLLOWERS,  /* waits for the digest of its sender's followers */
    CLAIM_SUSPICIOUS, /* waits to run alone */
    CLAIM_DOUBT,      /* failed, and it may be our own fault */
    CLAIM_SETTLING,   /* its outcome is decided, the script that writes it is queued or sent */
};
enum { CLAIM_STATES = CLAIM_SETTLING + 1 };

enum claim_origin {
    ORIGIN_QUEUE = 'q', /* queue:push */
    ORIGIN_PULL = 'p',  /* queue:pull */
    ORIGIN_RETRY = 'r',
    ORIGIN_SCHEDULE = 's'
};

struct lane;
struct sender;

struct claim {
    TAILQ_ENTRY(claim) entry; /* of the list that `state` names */
    struct claim *elder;      /* CLAIM_LANE: of its pair, */
    struct claim *younger;    /* in a ring that the oldest closes */
    enum claim_state state;
    uint64_t seq; /* the field in fedpush:claimed:ID */
    enum claim_origin origin;
    char score[32]; /* of a due entry, as Redis printed it */
    char *payload;  /* the job's bytes, NUL-terminated for convenience */
    size_t payload_bytes;
    uint64_t pair;   /* of account and inbox: one of them at a time, in order; 0: exempt */
    uint64_t hold;   /* the same as fedpush:held:ID has it, low ones included; 0: it hasn't */
    uint64_t let_go; /* settling: the latest seq of its pair, nothing of which was left; or 0 */
    bool off_hands;  /* settling: it counts no more for its pair */
    bool has_heard;  /* the script that claimed it has said what is booked of its pair: */
    unsigned heard_count;
    struct away_booked *heard; /* Unix milliseconds of Redis */
    unsigned recoveries;       /* how often it was in the hands of something that died */
    unsigned holds;   /* how often it waited for its key or for our resolver: its backoff */
    bool alone;       /* runs alone now: if it takes its process with it, it is poison */
    bool parsed;      /* job is set */
    bool has_url;     /* url is set */
    bool moved;       /* it stood in a sorted set before Ruby's poller put it into its queue */
    bool low;         /* of the lowest priority; set once, before it is in a lane */
    bool settle_sent; /* CLAIM_SETTLING: the script was sent, its answer may be lost */
    bool orphan;      /* fenced: somebody else has it; its outcome is not written */
    bool placed;      /* a large one that has its place in the look-ahead (holdings_place) */
    bool overdue;     /* CLAIM_FLIGHT: was past its deadline once */
    struct job job;
    struct url url;
    char *tracker_host;
    char *synchronization; /* Collection-Synchronization's value at the last look-up, or NULL */
    struct sender *sender; /* CLAIM_FOLLOWERS */
    struct lane *lane;     /* CLAIM_LANE, CLAIM_FLIGHT */
    unsigned worker;       /* CLAIM_FLIGHT: index */
    int64_t due_ms;        /* CLAIM_HELD: monotonic; CLAIM_FLIGHT: when it counts as stuck */
    uint64_t flight_id;    /* CLAIM_FLIGHT: the job's id between us and the worker */
    int64_t dispatched_us; /* CLAIM_FLIGHT: wall clock */
    int64_t started_ms;    /* CLAIM_FLIGHT: monotonic */
};

TAILQ_HEAD(claim_list, claim);

/* True when it was popped from a queue: it has no score. */
bool claim_is_queued(enum claim_origin origin);
/* It has waited in a sorted set: it isn't put back behind what came later. */
bool claim_is_returned(const struct claim *claim);
/* In microseconds; orders the jobs of a pair. */
int64_t claim_created_us(const struct claim *claim);
/* Of its payload when it isn't parsed yet; empty: it has none that is plain. */
struct str claim_jid(struct claim *claim);
/* "CREATED AT ...", as in fedpush:pairs. */
void claim_hear(struct claim *claim, struct str booked);
/* What `pair` is to be, of one that is parsed. */
uint64_t claim_pair_of(const struct claim *claim);
/* Copies payload. Score is text, empty for a queue. */
struct claim *claim_create(uint64_t seq, enum claim_origin origin, struct str score,
                           struct str payload);
void claim_destroy(struct claim *claim);
/* "ORIGIN\nJOB" as it stands in fedpush:claimed. False: not of that form. */
bool claim_value_parse(struct str value, enum claim_origin *origin, struct str *score,
                       struct str *payload) FP_MUST_CHECK;
void claim_value_put(struct buf *out, const struct claim *claim);
/* No attempt can be made now, for want of a key or of our resolver: so many milliseconds until the
 * next, a second, doubled each time. */
enum { CLAIM_LONGEST_HOLD_MS = 30000 };
int64_t claim_hold_ms(struct claim *claim);
/* How the job counts against the look-ahead: what is sent stands in its worker once more. */
enum { CLAIM_COPIES = 2 };
size_t claim_bytes(const struct claim *claim);

#endif
