/*
 * Reads accounts for the keyring from Mastodon's database: which columns there are (they differ by
 * release) and which of them may be read is looked up in the catalogue (columns.h), again each
 * minute and at once when a statement fails or a key is missing: then Mastodon may be moving its
 * keys. A missing right is logged once a minute with the GRANT that helps.
 *
 *   UNKNOWN -> DETECTING -> READY <-> LOADING
 *      ^           |  \-> DENIED -> DETECTING (when asked, after SOURCE_DENIED_MS)
 *      \-----------/ the database is away or refused a statement
 */
#ifndef FEDPUSH_SIG_SOURCE_H
#define FEDPUSH_SIG_SOURCE_H

#include <event2/event.h>

#include "base/clock.h"
#include "base/postgres.h"
#include "sig/keyring.h"

enum {
    SOURCE_DETECT_MS = 60 * 1000, /* what the catalogue says is believed for so long */
    SOURCE_DENIED_MS = 5 * 1000,  /* after a GRANT nobody should wait for a minute */
    SOURCE_LOG_MS = 60 * 1000,
};

struct source;
/* All are borrowed and outlive it. Becomes the keyring's loader. `decrypts`: the keyring can open
 * what stands in keypairs; where it has to and can't, that is logged once a minute. */
struct source *source_create(struct event_base *base, const struct clock *clock,
                             struct postgres *postgres, struct keyring *keyring, bool decrypts);
void source_destroy(struct source *source); /* before `postgres`; NULL is fine */

#endif
