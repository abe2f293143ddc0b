/*
 * What a machine lets fedpush hold open: descriptors bound what is in flight, and, with memory, the
 * connections that are kept for hosts delivered to before.
 */
#ifndef FEDPUSH_BASE_LIMITS_H
#define FEDPUSH_BASE_LIMITS_H

#include "base/config.h"

enum {
    LIMITS_DESCRIPTORS = 65536,      /* of a process: more are never asked for */
    LIMITS_OWN_DESCRIPTORS = 64,     /* channels, loop, log, name servers' sockets */
    LIMITS_CONNECTIONS = 10000,      /* of a machine */
    LIMITS_CONNECTION_BYTES = 52000, /* an idle TLS connection: libcurl's and OpenSSL's share */
    LIMITS_MEMORY_SHARE = 4,         /* of the machine's memory is for connections */
};

/* Of one worker. */
struct limits {
    unsigned in_flight;   /* deliveries; a connection may need two sockets while it is made */
    unsigned connections; /* kept: what is in flight above that is closed after its answer */
};

/* Pure: `descriptors` of each process and the machine's memory, shared by `workers` (> 0) of which
 * all together shall have `max_in_flight`. Nothing is ever 0. */
struct limits limits_of(unsigned max_in_flight, unsigned workers, uint64_t descriptors,
                        uint64_t memory_bytes);
/* The same for this process' hard limit, this machine and its configuration. */
struct limits limits_here(const struct config *config);
/* FEDPUSH_WORKERS, or one a core that this process may use. */
unsigned limits_workers(const struct config *config);
/* How many descriptors this process may have once they are raised. */
uint64_t limits_descriptors(void);
/* Raises the soft limit to that. */
void limits_raise_descriptors(void);

#endif
