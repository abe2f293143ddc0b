/*
 * The runtime directory: the lock that makes this the machine's one supervisor, and the identities
 * under which schedulers of this machine claimed jobs. A restarted machine knows its own former
 * identities and recovers their claims at once.
 *
 *   DIR/lock        flock()ed while the supervisor lives
 *   DIR/identities  one a line, oldest first; a line is added before its scheduler starts and
 *                   removed when that identity holds nothing any more
 */
#ifndef FEDPUSH_WORKER_IDENTITY_H
#define FEDPUSH_WORKER_IDENTITY_H

#include "base/err.h"
#include "base/str.h"

enum {
    IDENTITY_MAX_BYTES = 128,
    IDENTITY_MAX_COUNT = 256, /* past that the oldest is left to the other machines' recovery */
    IDENTITY_NONCE_BYTES = 6,
};

struct identities;

/* Makes `dir` (mode 0700) when it is missing, locks it, reads the identities. FP_UNAVAILABLE:
 * another supervisor holds the lock; FP_DENIED or FP_SYSTEM: the directory can't be used. */
enum fp_err identities_open(struct identities **out, const char *dir,
                            struct err *err) FP_MUST_CHECK;
void identities_close(struct identities *identities); /* NULL is fine */

/* "HOST:PID:NONCE" becomes the current identity; it is on the disk when this returns FP_OK. Bytes
 * that would need quoting in a host name are replaced by '-'. */
enum fp_err identities_add(struct identities *identities, const char *host, long pid,
                           const unsigned char nonce[IDENTITY_NONCE_BYTES],
                           struct err *err) FP_MUST_CHECK;
/* CONTROL_IDENTITY's text: the current one, then the former ones, newest first, a line each. */
void identities_put(const struct identities *identities, struct buf *out);
/* Forgets one; an unknown one is none. The current one goes when its scheduler has drained. */
enum fp_err identities_remove(struct identities *identities, struct str identity,
                              struct err *err) FP_MUST_CHECK;

#endif
