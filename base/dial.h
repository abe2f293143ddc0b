/*
 * A connection to a server on its way: resolves the name, then tries one address after the other.
 */
#ifndef FEDPUSH_BASE_DIAL_H
#define FEDPUSH_BASE_DIAL_H

#include <event2/event.h>

#include "base/dns.h"

enum { DIAL_TIMEOUT_MS = 5000 }; /* for each address */

/* The texts are borrowed and must live as long as the dial. */
struct dial_target {
    const char *unix_path; /* NULL: TCP */
    const char *host;      /* a name or an address */
    uint16_t port;
};

struct dial;
/* Called once, from the loop: a connected, non-blocking socket that is now the callee's, or -1 and
 * why in one line. After it only dial_destroy is allowed, which may be called from here. */
typedef void dial_fn(void *arg, int fd, const char *reason);

struct dial *dial_create(struct event_base *base, struct dns *dns, const struct dial_target *target,
                         dial_fn *fn, void *arg);
void dial_destroy(struct dial *dial); /* no callback any more; NULL is fine */

#endif
