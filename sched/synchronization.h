/*
 * The value of Mastodon's Collection-Synchronization header (FEP-8fcf): which followers of the
 * sender live on the receiving server, as a digest, so that both sides notice when they disagree.
 * Pure: no connection, no clock.
 */
#ifndef FEDPUSH_SCHED_SYNCHRONIZATION_H
#define FEDPUSH_SCHED_SYNCHRONIZATION_H

#include "base/digest.h"
#include "base/str.h"

enum { SYNCHRONIZATION_SCHEME_NUMERIC = 1 }; /* accounts.id_scheme, Mastodon 4.5 and later */

/* The XOR of the SHA-256 of every URI: independent of their order; all zero for none. */
struct synchronization_digest {
    unsigned char bytes[DIGEST_SHA256_BYTES];
};

/*
 * What tells a server from others: the match of \Ahttps?://[^/]+ in an inbox's or an actor's URI as
 * given (nothing is normalized: case and port stay). Borrows; empty when there is none. An actor
 * belongs to an inbox's server when both prefixes are equal: that is what Mastodon's
 * `uri LIKE 'PREFIX/%' OR uri = 'PREFIX'` selects.
 */
struct str synchronization_prefix(struct str uri);
void synchronization_add(struct synchronization_digest *digest, struct str uri);

/* Appends the two patterns that select the prefix's actors with LIKE to an array literal under
 * construction (postgres_array_add). */
void synchronization_put_patterns(struct buf *array, struct str prefix);

struct synchronization_sender {
    int64_t account_id;
    struct str username; /* stored case */
    int64_t id_scheme;   /* 0 where it is NULL or there is no such column */
};
/* False: a user name that Mastodon doesn't give to local accounts, and that has no place in a
 * header. */
bool synchronization_is_username(struct str username) FP_MUST_CHECK;
/*
 * Appends `collectionId="…", digest="…", url="…"`. The collection is numeric for a numeric account,
 * the URL never is. `digest` NULL: an inbox without a prefix, for which Mastodon sends an empty
 * digest.
 */
void synchronization_put_value(struct buf *out, struct str web_domain,
                               const struct synchronization_sender *sender,
                               const struct synchronization_digest *digest);

#endif
