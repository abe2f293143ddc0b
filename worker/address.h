/*
 * Which addresses may be connected to: Mastodon's private address deny list, minus
 * ALLOWED_PRIVATE_ADDRESSES. Pure. Enforced on the address that is actually connected to.
 */
#ifndef FEDPUSH_WORKER_ADDRESS_H
#define FEDPUSH_WORKER_ADDRESS_H

#include <sys/socket.h>

#include "base/config.h"
#include "base/dns.h"
#include "base/network.h"

enum { ADDRESS_MAX_ALLOWED = 256 };

struct address_policy {
    struct network allowed[ADDRESS_MAX_ALLOWED];
    size_t allowed_count;
    bool unwrap_compatible; /* ::a.b.c.d counts as a.b.c.d; true when initialized */
};

/* `allowed`: addresses and ranges ("10.0.0.0/8", "10.0.0.0/255.0.0.0") between commas and blanks.
 * FP_INVALID names the one that isn't. */
enum fp_err address_policy_init(struct address_policy *policy, struct str allowed,
                                struct err *err) FP_MUST_CHECK;
/* Whether this Mastodon looks into ::a.b.c.d. */
bool address_unwraps_compatible(const struct mastodon_version *version);
bool address_is_allowed(const struct address_policy *policy, const struct dns_address *address);
/* The same for what a socket is about to connect to; other families than IPv4 and IPv6 are refused.
 */
bool address_sockaddr_is_allowed(const struct address_policy *policy,
                                 const struct sockaddr *address);
/* "192.0.2.1" or "[2001:db8::1]", as CURLOPT_RESOLVE wants it. Appends. */
void address_put(struct buf *out, const struct dns_address *address);

#endif
