/*
 * What an admin has ordered about deliveries to a domain, and the book of all such orders. Pure.
 *
 * A policy counts for one host ("example.org") or for all hosts below one ("*.example.org"). The
 * most specific one that is in force decides, alone: a host's own, then that of its nearest parent.
 * An order to drop stands beside all that: it lifts no pause and no limit of a parent, and neither
 * do they lift it. Two names mean no domain: "*" is the fleet, "@NAME" one machine (its host name,
 * or the identity of one fedpush on it); of theirs only the pause counts.
 *
 * A host may be paused for several domains at once: as one itself, as one below it, as the inbox of
 * its accounts. It is paused until the last of them ends or is taken back.
 *
 * As text: "1", then words in this order, each at most once and only where it says something:
 *   paused, or paused=SECONDS (until then)   now   drop=SECONDS   window=N   rate=N   proxy=NAME
 *   http=2   scheme=cavage or scheme=rfc9421   exempt   limits_until=SECONDS   of=DOMAIN
 * Several domains stand as of=DOMAIN,DOMAIN/SECONDS,...: with its own end each that has one.
 * Seconds are Redis' TIME. In Redis the version of the policy stands in front of its text, and a
 * policy that says nothing stands there for one that was taken back.
 */
#ifndef FEDPUSH_BASE_POLICY_H
#define FEDPUSH_BASE_POLICY_H

#include "base/str.h"

enum {
    POLICY_MAX_NAME_BYTES = 300,
    POLICY_MAX_SHARES = 8, /* domains for which a host is paused */
    POLICY_MAX_OF_BYTES = 800,
    POLICY_MAX_TEXT_BYTES = 1600,
    POLICY_MAX_PROXY_BYTES = 32,
    POLICY_MAX_WINDOW = 256,
    POLICY_MAX_RATE = 60000, /* a minute */
    POLICIES_MAX = 10000,    /* names in a book */
};

#define POLICY_FLEET STR("*")

enum policy_scheme { POLICY_SCHEME_AUTO = 0, POLICY_SCHEME_CAVAGE, POLICY_SCHEME_RFC9421 };

struct policy {
    bool paused;
    bool now;               /* what is in flight when the order comes is aborted */
    bool http2;             /* where TLS agrees on it; else HTTP/1.1 */
    int64_t paused_until_s; /* 0: until it is taken back */
    int64_t drop_s;  /* jobs made before then are dropped, for POLICY_DROP_S; 0: no such order */
    unsigned window; /* most deliveries in flight to a host (each below "*.", each port), of the
                        fleet; 0: no such order */
    unsigned rate;   /* deliveries a minute, the same; 0: no such order */
    int64_t limits_until_s; /* end of window, rate, proxy, http2, scheme and exempt; 0: none */
    enum policy_scheme scheme;
    bool exempt;                            /* none of these, though a parent has some */
    char proxy[POLICY_MAX_PROXY_BYTES + 1]; /* a name of FEDPUSH_PROXIES, or "" */
    char of[POLICY_MAX_OF_BYTES + 1]; /* the domains for which it is paused, as above, or "" */
};

/* So long an order to drop stands: what comes back from a machine that died meanwhile is hit. */
enum { POLICY_DROP_S = 3600 };
/* So far ahead a paused host's jobs are booked at most: where resume looks for them. */
enum { POLICY_BOOKED_S = 7500 };

/* Appends the text. */
void policy_put(struct buf *out, const struct policy *policy);
/* False: not of that form; *policy is then empty. */
bool policy_parse(struct policy *policy, struct str text) FP_MUST_CHECK;
/* It says nothing: as good as none. */
bool policy_is_empty(const struct policy *policy);
/* It says something of what isn't dropped: then it decides about its hosts, and no parent's does.
 */
bool policy_decides(const struct policy *policy);
/* A window, a rate, a proxy, HTTP/2 or a scheme; or that it has none. */
bool policy_has_limits(const struct policy *policy);
/* None of these any more. */
void policy_clear_limits(struct policy *policy);
/* Paused for this domain (a policy_name) until then (0: until it is taken back), in place of an
 * earlier pause for it. False: for too many already; nothing has changed. */
bool policy_pause(struct policy *policy, struct str of, int64_t until_s) FP_MUST_CHECK;
/* No longer paused for this domain. */
void policy_resume(struct policy *policy, struct str of);
/* The domains for which it is paused, one by one; *at is 0 at first. False: that was the last. */
bool policy_next_of(const struct policy *policy, size_t *at, struct str *of) FP_MUST_CHECK;
/* What of it is in force at this time (Redis' seconds). */
struct policy policy_at(const struct policy *policy, int64_t now_s);
/* When it next changes by itself, after now_s; 0: never. */
int64_t policy_next_change_s(const struct policy *policy, int64_t now_s);
/* A host in lower case, "*." and a host, "*", or "@" and a machine. */
bool policy_name_is_valid(struct str name);
/* A name of FEDPUSH_PROXIES: 1 to 32 of a-z, 0-9, '-', '_'. */
bool policy_proxy_is_valid(struct str name);

/* "VERSION TEXT", as it stands in Redis. *text borrows the value. */
bool policy_value_parse(struct str value, int64_t *version, struct str *text) FP_MUST_CHECK;

struct policy_entry {
    char *name;
    int64_t version;
    char *text; /* as it stands in Redis, behind the version */
    struct policy policy;
};

struct policy_book;
struct policy_book *policy_book_create(void);
void policy_book_destroy(struct policy_book *book); /* NULL is fine */
/* Adds or replaces. False: the name or the text isn't valid, or the book is full. */
bool policy_book_put(struct policy_book *book, struct str name, int64_t version,
                     struct str text) FP_MUST_CHECK;
/* That very name's, or NULL. Borrowed until it is put again. */
const struct policy_entry *policy_book_get(const struct policy_book *book, struct str name);
/* The one that decides about this host (url.host) at this time, or NULL. What it says of dropping
 * is only a part of that. */
const struct policy_entry *policy_book_find(const struct policy_book *book, struct str host,
                                            int64_t now_s);
/* The one that would decide about it if this very name had none, or NULL. `name` may begin with
 * "*."
 */
const struct policy_entry *policy_book_find_above(const struct policy_book *book, struct str name,
                                                  int64_t now_s);
/* The order to drop that hits the most jobs for this host at this time, or NULL. */
const struct policy_entry *policy_book_find_drop(const struct policy_book *book, struct str host,
                                                 int64_t now_s);
/* Both in one, for people: all that is in force for this host, and whose it is: the one's that
 * decides, else the order's to drop. NULL: nothing is, and *policy is empty. */
const struct policy_entry *policy_book_sum(const struct policy_book *book, struct str host,
                                           int64_t now_s, struct policy *policy);
/* True when a name of the book ("b.example.org", "*.b.example.org") lies below this domain. */
bool policy_name_is_below(struct str name, struct str domain);
size_t policy_book_count(const struct policy_book *book);
/* Iteration, as table_next. */
const struct policy_entry *policy_book_each(const struct policy_book *book, size_t *at);

#endif
