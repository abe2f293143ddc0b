/*
 * Where a server listens: "127.0.0.1:4480", "[::1]:4480", "unix:/run/fedpush/admin.sock".
 */
#ifndef FEDPUSH_BASE_LISTEN_H
#define FEDPUSH_BASE_LISTEN_H

#include <sys/socket.h>

#include "base/str.h"

struct listen_address {
    struct sockaddr_storage address;
    socklen_t len;
    uint16_t port;  /* 0: a Unix socket */
    char path[108]; /* of that socket; else "" */
};

/* False: `text` is none of these. Addresses only, no names: which one a name means may change. */
bool listen_parse(struct listen_address *address, struct str text) FP_MUST_CHECK;

#endif
