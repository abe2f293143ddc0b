/*
 * One job of a rehearsal: what is known of it, and what fedpush would do with it. Nothing here
 * touches a store or the network.
 */
#ifndef FEDPUSH_WORKER_TRIAL_H
#define FEDPUSH_WORKER_TRIAL_H

#include "base/dns.h"
#include "base/message.h"
#include "base/url.h"
#include "sched/job.h"

enum trial_source {
    TRIAL_PUSH = 0, /* waits in the queue, or passed through it */
    TRIAL_PULL,     /* the same, of `pull` */
    TRIAL_RETRY,    /* stands in `retry` */
    TRIAL_PAIR,     /* made up of a local sender and a known inbox */
    TRIAL_SOURCES,
};

enum trial_fate {
    FATE_DELIVER = 0,
    FATE_HANDOFF,
    FATE_SKIP,   /* its host is in unavailable_domains */
    FATE_DROP,   /* Mastodon refuses the address and is done */
    FATE_RETRY,  /* would fail before anything is sent, as in Ruby */
    FATE_DEAD,   /* no job at all: to the dead set */
    FATE_BROKEN, /* something is wrong here: see trial_problem */
    FATES,
};

/* What the signer answered. */
struct trial_signature {
    bool answered;
    struct message_signed answer;
    char *texts; /* owned: what the answer's slices point to */
    bool holds;  /* with the account's public key */
};

struct trial {
    enum trial_source source;
    char *payload; /* owned */
    struct job job;
    struct buf body; /* of a delivery */
    bool has_url;
    struct url url;
    char *tracker_host;    /* NULL unless a delivery */
    bool unavailable;      /* and nothing in the job says that it goes out all the same */
    bool hidden;           /* a hidden service, and those are not allowed */
    bool looked_up;        /* false through a proxy, which resolves itself */
    struct dns_result dns; /* of the URL's host: the allowed addresses, when looked_up */
    size_t refused;        /* addresses that Mastodon doesn't connect to */
    char *synchronization; /* owned: Collection-Synchronization's value; NULL: not counted for it */
    bool asked;            /* for a signature */
    bool both;             /* for one in each scheme: a second knock may come */
    struct trial_signature signatures[2]; /* by enum sign_scheme */
    bool has_public_key;
};

/* Copies `payload` and parses it; `json` is scratch. */
void trial_init(struct trial *trial, enum trial_source source, struct str payload,
                struct json *json);
void trial_clear(struct trial *trial);
/* It would be sent, as far as the job and its host's availability say. */
bool trial_is_sent(const struct trial *trial);
/* Copies the signer's answer. */
void trial_answer(struct trial *trial, enum sign_scheme scheme,
                  const struct message_signed *answer);
/* How many signatures were asked for. */
size_t trial_schemes(const struct trial *trial);
/* All of them were answered: what is broken isn't the signer. */
bool trial_is_answered(const struct trial *trial);

enum trial_fate trial_fate(const struct trial *trial);
/* "deliver", "hand off", ... */
const char *trial_fate_name(enum trial_fate fate);
const char *trial_source_name(enum trial_source source);
/* Why, in words for people; appends nothing where the fate says all. */
void trial_put_reason(struct buf *out, const struct trial *trial);

#endif
