/*
 * A ticket is the scheduler's permission to have one delivery signed. The signer signs exactly what
 * a ticket says and nothing else, so that a captured worker can repeat its own current jobs and no
 * more. The key is made by the supervisor at each start and known to scheduler and signer only.
 */
#ifndef FEDPUSH_BASE_TICKET_H
#define FEDPUSH_BASE_TICKET_H

#include "base/err.h"
#include "base/str.h"

enum {
    TICKET_KEY_BYTES = 32,
    TICKET_MAC_BYTES = 32,
    TICKET_MAX_USES = 8,
    TICKET_MAX_SECONDS = 600,
    BODY_DIGEST_BYTES = 32,
};

struct ticket {
    uint64_t serial; /* unique within a scheduler's life; makes two tickets for equal work differ */
    int64_t account_id;
    int64_t expires_s; /* wall clock */
    unsigned char body_sha256[BODY_DIGEST_BYTES];
    struct str origin;          /* url.origin */
    struct str content_type;    /* "application/activity+json" */
    struct str synchronization; /* Collection-Synchronization's value, or empty */
    unsigned char mac[TICKET_MAC_BYTES];
};

/* Fills ticket->mac: keyed BLAKE2b over a domain-separated, length-prefixed encoding of all else.
 */
void ticket_seal(struct ticket *ticket, const unsigned char key[TICKET_KEY_BYTES]);
/* FP_DENIED with the reason when the MAC is wrong (constant time), or it is expired at `now_s`, or
 * its life is longer than TICKET_MAX_SECONDS. Uses are counted by the signer. */
enum fp_err ticket_check(const struct ticket *ticket, const unsigned char key[TICKET_KEY_BYTES],
                         int64_t now_s, struct err *err) FP_MUST_CHECK;

#endif
