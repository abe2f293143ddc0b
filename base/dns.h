/*
 * Asynchronous look-ups with c-ares on libevent: never a resolver thread, never a blocking
 * getaddrinfo.
 */
#ifndef FEDPUSH_BASE_DNS_H
#define FEDPUSH_BASE_DNS_H

#include <event2/event.h>
#include <netinet/in.h>

#include "base/err.h"
#include "base/str.h"

enum { DNS_MAX_ADDRESSES = 16 };

enum dns_status {
    DNS_FOUND = 0,
    DNS_NO_NAME,   /* NXDOMAIN, or no A and no AAAA record: the name's own fault */
    DNS_NO_ANSWER, /* SERVFAIL, REFUSED, time-out, unreachable: the resolver's fault, or its zone's
                    */
    DNS_UNSERVED,  /* the same of a name while others are answered: its zone's fault; only a cache
                      that has seen others (worker/resolve.h) can tell */
    DNS_BAD_NAME,  /* can't be asked for */
    DNS_NO_SOCKET, /* this process or machine has no descriptor or memory to ask with */
    DNS_CANCELLED,
};

struct dns_address {
    int family; /* AF_INET or AF_INET6 */
    union {
        struct in_addr v4;
        struct in6_addr v6;
    } ip;
};

struct dns_result {
    enum dns_status status;
    uint32_t ttl_s; /* the smallest of the answers'; 0 when there is none */
    size_t count;
    struct dns_address addresses[DNS_MAX_ADDRESSES]; /* in the resolver's order, both families */
};

struct dns;
struct dns_query;
typedef void dns_fn(void *arg, const struct dns_result *result);

struct dns_options {
    struct str servers; /* "ADDRESS[:PORT],…"; empty: the system's resolv.conf */
    bool v4_only;       /* no AAAA question: this machine couldn't use the answer */
    bool hosts_file;    /* look into /etc/hosts first (read once, at creation) */
    int timeout_ms;     /* for each server; one attempt each, as Mastodon does: 5,000 */
};

/* NULL with err filled when `servers` is unusable. Call sodium_init first. */
struct dns *dns_create(struct event_base *base, const struct dns_options *options, struct err *err);
void dns_destroy(
    struct dns *dns); /* outstanding look-ups end as DNS_CANCELLED, before this returns */
/* Whether look-ups from now on go by the file that `hosts_file` had read; nothing without it. */
void dns_use_hosts_file(struct dns *dns, bool use);
/* Asks for A and AAAA (unless v4_only). IP literals (brackets allowed) are answered without asking.
 * The answer comes from the loop, never before dns_lookup returns. `host` is copied. */
struct dns_query *dns_lookup(struct dns *dns, struct str host, dns_fn *fn, void *arg);
/* The same, but of the name servers alone, whatever is known without them (base/hosts.h). */
struct dns_query *dns_lookup_served(struct dns *dns, struct str host, dns_fn *fn, void *arg);
/* The callback will not be called. Not allowed after it was. */
void dns_cancel(struct dns_query *query);
/* UDP/TCP queries sent since creation: for the packets-a-second limit and its test. */
uint64_t dns_queries_sent(const struct dns *dns);

#endif
