/*
 * Addresses of remote hosts: base/dns.h behind a cache. Positive answers live for their TTL (5 s to
 * 1 h), "no such name" 60 s, "no answer" 5 s. "No such name" is believed when it was the name's
 * answer twice in a row: the first time, it is asked for again at once. One look-up a host at a
 * time, at most 256 in parallel and so many begun a second; others queue.
 *
 * Is it the name or the resolver? When a name gets no answer and none has come for any other within
 * the last second, a name that was found before (or our own, whatever /etc/hosts says of it) is
 * asked for again, and what has failed waits for that: any answer that comes first shows that the
 * resolver works (DNS_UNSERVED), and without one it doesn't (DNS_NO_ANSWER).
 *
 * Addresses whose time is over are asked for again, but used for another day (RFC 8767) when no
 * answer has come within 200 ms, or the resolver fails: a post to thousands of hosts would
 * otherwise wait for as many names each time, since what may be asked a second is bounded.
 */
#ifndef FEDPUSH_WORKER_RESOLVE_H
#define FEDPUSH_WORKER_RESOLVE_H

#include "base/clock.h"
#include "base/dns.h"

struct resolver;
struct resolve_wait;
typedef void resolve_fn(void *arg, const struct dns_result *result);

struct resolver_options {
    double per_s;        /* look-ups, in any second up to a tenth more; 0: no limit */
    struct str own_name; /* borrowed; of this server: it exists; empty: unknown */
};
struct resolver *resolver_create(struct event_base *base, const struct clock *clock,
                                 struct dns *dns, const struct resolver_options *options);
void resolver_destroy(struct resolver *resolver); /* no callback any more */
/* fn is called from the loop, never from here. */
struct resolve_wait *resolver_ask(struct resolver *resolver, struct str host, resolve_fn *fn,
                                  void *arg);
void resolver_cancel(struct resolve_wait *wait); /* before fn was called */
/* It will be asked for: looked up now, unless something is known of it or the cache is half full.
 */
void resolver_foresee(struct resolver *resolver, struct str host);
size_t resolver_cached(const struct resolver *resolver);

#endif
