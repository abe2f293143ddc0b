/*
 * What scheduler, workers and signer say to each other: typed messages with checked codecs.
 * Integers are little endian, strings length-prefixed (u32). A decoder consumes a payload exactly,
 * checks every bound, and never asserts on what another process sent. Slices of a decoded message
 * borrow the payload.
 *
 *   scheduler --JOB, CANCEL, ABORT, FORESEE, PING--> worker --SIGN--> signer
 *   scheduler <--HELLO, OUTCOME, PONG-- worker <--SIGNED-- signer
 */
#ifndef FEDPUSH_BASE_MESSAGE_H
#define FEDPUSH_BASE_MESSAGE_H

#include "base/str.h"
#include "base/ticket.h"

enum message_type {
    MESSAGE_JOB = 1,
    MESSAGE_CANCEL,
    MESSAGE_PING,
    MESSAGE_HELLO,
    MESSAGE_OUTCOME,
    MESSAGE_PONG,
    MESSAGE_SIGN,
    MESSAGE_SIGNED,
    MESSAGE_ABORT,
    MESSAGE_FORESEE,
};

enum {
    MESSAGE_MAX_BODY_BYTES = 3 * 1024 * 1024,
    MESSAGE_MAX_TEXT_BYTES = 4096, /* URLs, header values */
    MESSAGE_MAX_ERROR_BYTES = 1000,
    MESSAGE_MAX_RETRY_AFTER_MS = 6 * 3600 * 1000,
};

/* How a request is signed; a remote server that doesn't know one knows the other. */
enum sign_scheme { SCHEME_CAVAGE = 0 /* draft-cavage-http-signatures-12 */, SCHEME_RFC9421 };

/* The scheme of a job's first request ("knock"), and whether a 400 or 401 is answered with another
 * request in the other one (once, as Mastodon 4.7 does it). */
enum knock { KNOCK_CAVAGE = 0, KNOCK_RFC9421, KNOCK_CAVAGE_FIRST, KNOCK_RFC9421_FIRST };

/* What a second knock has shown about its origin. */
enum learnt { LEARNT_NOTHING = 0, LEARNT_CAVAGE, LEARNT_RFC9421, LEARNT_NEITHER };

/* Deliver this. Sent only against credit (HELLO's, and one for each OUTCOME). */
struct message_job {
    uint64_t id; /* the scheduler's; unique within its life */
    struct ticket ticket;
    uint8_t knock;   /* enum knock */
    uint8_t proxy;   /* place in FEDPUSH_PROXIES, from 1; 0: as Mastodon's settings say */
    uint8_t http2;   /* 1: HTTP/2 where TLS agrees on it */
    uint8_t low;     /* 1: of low priority, its signatures wait behind the others' */
    struct str url;  /* url.text: already normal */
    struct str body; /* POST body, exact bytes */
};

/* Cancel what is not on the wire yet; each such job is answered by an OUTCOME_NOT_TRIED. No
 * payload. */

/* ABORT carries one u64, a job's id: it ends at once, on the wire or not, as OUTCOME_NOT_TRIED. One
 * that isn't there has ended. */
struct message_abort {
    uint64_t id;
};

/* FORESEE: jobs for this host (a normalized authority) will come; its name may be asked for. */
struct message_foresee {
    struct str host;
};

/* First message of a worker: how many jobs it may hold. */
struct message_hello {
    uint32_t credits;
};

/* PING and PONG carry one u64, echoed. */
struct message_ping {
    uint64_t nonce;
};

enum outcome_kind {
    OUTCOME_RESPONSE = 0, /* `status` is final (redirects followed as Mastodon does) */
    OUTCOME_TRANSPORT,    /* resolving, connecting, TLS, time-out, reset, garbage, too large, bad
                             redirect */
    OUTCOME_REFUSED, /* Mastodon::PrivateNetworkAddressError / HostValidationError: swallowed by
                        Mastodon */
    OUTCOME_SENDER_MISSING, /* no such account row: retried, not tracked */
    OUTCOME_KEY_UNUSABLE,   /* account without a usable key: retried and tracked, as in Mastodon */
    OUTCOME_KEY_WAIT,  /* keys can't be read now (database away, right missing): not an attempt */
    OUTCOME_NOT_TRIED, /* cancelled or refused before anything was sent: not an attempt */
};

/* What an OUTCOME_TRANSPORT failed of: what it says about the host. */
enum failure_kind {
    FAILURE_NONE = 0, /* every other kind of outcome */
    FAILURE_REFUSED,  /* the connection was refused */
    FAILURE_NO_NAME,  /* NXDOMAIN or no address, two answers in a row; or no name DNS can have */
    FAILURE_RESOLVER, /* no name gets an answer, or the proxy's doesn't: never the host's fault */
    FAILURE_UNSERVED, /* SERVFAIL, REFUSED, no answer for this name while others get theirs */
    FAILURE_CERTIFICATE, /* the peer's isn't valid, or not its own: or our clock or CAs are wrong */
    FAILURE_TLS,         /* the handshake failed otherwise */
    FAILURE_TIMEOUT,
    FAILURE_RESET,       /* the connection ended before the answer did */
    FAILURE_UNREACHABLE, /* no route */
    FAILURE_OTHER,       /* an answer that isn't HTTP or leads nowhere; the proxy; ourselves */
};

struct message_outcome {
    uint64_t id;
    uint8_t kind;             /* enum outcome_kind */
    uint8_t failure;          /* enum failure_kind */
    uint8_t reused;           /* 1: the last request went over a kept connection */
    uint8_t sender_suspended; /* 1: accounts.suspended_at (or requested_deletion_at) is set: the 401
                                 rule */
    uint8_t learnt;           /* enum learnt */
    uint16_t status;          /* OUTCOME_RESPONSE: 100..999, else 0 */
    uint32_t total_ms;        /* from taking up the job to this outcome */
    uint32_t sent_bytes;      /* of the body; 0 when nothing was sent */
    uint32_t retry_after_ms;  /* what a 429 or 503 asked for, <= MESSAGE_MAX_RETRY_AFTER_MS; or 0 */
    struct str error_class;   /* the Ruby class an admin would have seen, or empty */
    struct str error_message; /* Mastodon's wording, <= MESSAGE_MAX_ERROR_BYTES, valid UTF-8 */
};

enum sign_method { SIGN_POST = 0, SIGN_GET = 1 /* after a 303 redirect; no digest, no body */ };

struct message_sign {
    uint64_t id; /* the worker's */
    struct ticket ticket;
    uint8_t method;    /* enum sign_method */
    uint8_t reread;    /* 1: the account's latest signature got a 401, its key may be another now */
    uint8_t scheme;    /* enum sign_scheme */
    uint8_t low;       /* the job's */
    int64_t date_s;    /* wall clock; at most 0 s ahead and 30 s behind the signer's own */
    struct str target; /* url.target on ticket.origin */
};

enum sign_status {
    SIGN_OK = 0,
    SIGN_REFUSED,         /* the ticket does not allow it; `reason` says why */
    SIGN_ACCOUNT_MISSING, /* no such row */
    SIGN_KEY_UNUSABLE,    /* no key, or one that can't sign; `reason` */
    SIGN_UNAVAILABLE,     /* database away or right missing: ask again later */
};

/* The values of the header fields that were signed, exactly as they must stand on the wire. */
struct message_signed {
    uint64_t id;
    uint8_t status; /* enum sign_status */
    uint8_t sender_suspended;
    struct str host;
    struct str date;
    struct str digest; /* Digest, or Content-Digest with SCHEME_RFC9421; empty for GET */
    struct str signature;
    struct str signature_input; /* SCHEME_RFC9421 alone */
    struct str reason;          /* not SIGN_OK: one line */
};

/* Encoders append to *out (reset by the caller); decoders return false on anything unusual. */
void message_put_job(struct buf *out, const struct message_job *m);
bool message_get_job(struct str payload, struct message_job *m) FP_MUST_CHECK;
void message_put_abort(struct buf *out, const struct message_abort *m);
bool message_get_abort(struct str payload, struct message_abort *m) FP_MUST_CHECK;
void message_put_foresee(struct buf *out, const struct message_foresee *m);
bool message_get_foresee(struct str payload, struct message_foresee *m) FP_MUST_CHECK;
void message_put_hello(struct buf *out, const struct message_hello *m);
bool message_get_hello(struct str payload, struct message_hello *m) FP_MUST_CHECK;
void message_put_ping(struct buf *out, const struct message_ping *m);
bool message_get_ping(struct str payload, struct message_ping *m) FP_MUST_CHECK;
void message_put_outcome(struct buf *out, const struct message_outcome *m);
bool message_get_outcome(struct str payload, struct message_outcome *m) FP_MUST_CHECK;
void message_put_sign(struct buf *out, const struct message_sign *m);
bool message_get_sign(struct str payload, struct message_sign *m) FP_MUST_CHECK;
void message_put_signed(struct buf *out, const struct message_signed *m);
bool message_get_signed(struct str payload, struct message_signed *m) FP_MUST_CHECK;

#endif
