/* The URIs of Mastodon's local accounts: what is left of '#' in a key id. */
#ifndef FEDPUSH_SIG_ACTOR_H
#define FEDPUSH_SIG_ACTOR_H

#include "base/str.h"

enum { ACTOR_INSTANCE_ID = -99, ACTOR_SCHEME_NUMERIC = 1 };

/* Appends "https://WEB_DOMAIN/…". `id_scheme`: accounts.id_scheme (Mastodon 4.5 and later), 0 where
 * it is NULL or there is no such column. `username` in its stored case. */
void actor_put_uri(struct buf *out, struct str web_domain, int64_t account_id, struct str username,
                   int64_t id_scheme);

#endif
