/*
 * The rights that fedpush uses and no others, written for an admin to review and run: PostgreSQL
 * roles for scheduler and signer, and Redis users. Nothing is executed here. Whoever makes fedpush
 * read another column or send another command adds it here; integration tests run everything with
 * these rights alone.
 */
#ifndef FEDPUSH_ADMIN_RIGHTS_H
#define FEDPUSH_ADMIN_RIGHTS_H

#include "base/config.h"
#include "base/err.h"

enum { RIGHTS_MAX_BYTES = 16 * 1024 };

/* Both append to a buf of RIGHTS_MAX_BYTES. The SQL is the same for all releases of Mastodon: it
 * looks for the columns that not all have. */
void rights_put_sql(struct buf *out);
/* One ACL SETUSER for each server; a URL of the configuration names the user ("fedpush" without).
 */
enum fp_err rights_put_redis_acl(const struct config *config, struct buf *out,
                                 struct err *err) FP_MUST_CHECK;

#endif
