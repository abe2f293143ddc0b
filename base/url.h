/*
 * One derivation of an inbox URL feeds everything: connection, SNI, request line, Host header,
 * signature, lane and Mastodon's failure tracker. See the table in ARCHITECTURE.md.
 */
#ifndef FEDPUSH_BASE_URL_H
#define FEDPUSH_BASE_URL_H

#include "base/err.h"
#include "base/str.h"

/* Owns its strings (one allocation); url_clear() frees. All ASCII, no control byte anywhere. `text`
 * and `target` end in NUL. */
struct url {
    bool https;
    uint16_t port;        /* the effective port, never 0 */
    bool default_port;    /* 443 for https, 80 for http */
    bool ip_literal;      /* host is an IPv4 or a bracketed IPv6 address */
    struct str host;      /* lower case, A-labels; IPv6 in brackets */
    struct str authority; /* host, with ":port" when it isn't the default: the Host header */
    struct str origin;    /* "https://" authority */
    struct str target;    /* path and query as on the request line; at least "/" */
    struct str path;      /* target without "?query" */
    struct str text;      /* origin target */
    char *memory;
};

enum { URL_MAX_BYTES = 2048 };

/*
 * Parses and normalizes. http and https only. Lower-cases scheme and host; IDNA: a host with
 * non-ASCII labels becomes A-labels (UTS 46, by the library that libcurl links; see hostname.h);
 * drops default ports and fragments; removes dot segments; percent-encodes raw bytes >= 0x80, space
 * and "<>\^`{|} in path and query, ' in the query (upper-case hex); leaves existing escapes as they
 * are; empty path becomes "/"; a lone "?" stays. Refuses (FP_INVALID): userinfo, bytes < 0x20 or
 * 0x7f, empty host, a host with bytes other than letters, digits, '-', '_' or labels longer than 63
 * bytes, port 0 or > 65535, a trailing dot, numeric oddities ("0x7f.1", "127.1", "2130706433"),
 * longer than URL_MAX_BYTES, before or after encoding.
 */
enum fp_err url_parse(struct url *url, struct str text, struct err *err) FP_MUST_CHECK;
void url_clear(struct url *url);

/*
 * Mastodon's key of a host in `exhausted_deliveries:*` and `unavailable_domains` (Addressable's
 * normalized_host): no port, no userinfo, lower case, A-labels (sharp s and final sigma mapped as
 * IDNA2003 does), one trailing dot removed; never validated. A text that does not start with
 * exactly "https://" or "http://" is its own key. Returns a new string; free().
 */
char *url_tracker_host(struct str inbox_url);

#endif
