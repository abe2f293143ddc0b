/*
 * The places a conninfo names, and the start of a connection to one of them. libpq gets addresses
 * only: given a name, it would block in getaddrinfo.
 */
#ifndef FEDPUSH_BASE_POSTGRES_TARGET_H
#define FEDPUSH_BASE_POSTGRES_TARGET_H

#include <libpq-fe.h>

#include "base/dns.h"
#include "base/str.h"

enum { POSTGRES_MAX_TARGETS = 16 };

struct postgres_target {
    char *host;    /* name for TLS verification, or a socket's directory; NULL: libpq's default */
    char *address; /* `hostaddr` of the conninfo, or NULL */
    char *port;    /* NULL: libpq's default */
};

struct postgres_targets {
    PQconninfoOption *options;
    size_t count;
    struct postgres_target items[POSTGRES_MAX_TARGETS];
};

/* False: the conninfo is malformed, or its lists of hosts, addresses and ports differ in length.
 * (libpq's own message may quote a password, so there is none.) */
bool postgres_targets_init(struct postgres_targets *targets, struct str conninfo) FP_MUST_CHECK;
void postgres_targets_clear(struct postgres_targets *targets); /* wipes the password */

/* Whether the target's name must be resolved before postgres_target_start. */
bool postgres_target_wants_address(const struct postgres_target *target);
/* PQconnectStartParams; `address` may be NULL. NULL: out of memory. */
PGconn *postgres_target_start(const struct postgres_targets *targets, size_t index,
                              const struct dns_address *address);

#endif
