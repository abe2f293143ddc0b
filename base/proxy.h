/*
 * The HTTP proxies of Mastodon's http_proxy and http_hidden_proxy, as Mastodon understands them: an
 * https target goes through CONNECT, an http one in absolute form. The connection to the proxy
 * itself is plain, whatever its URL's scheme says (that decides the default port alone), and
 * https_proxy and no_proxy mean nothing. And those of FEDPUSH_PROXIES, "NAME=URL,…", which a policy
 * names; their connections are made the same way.
 */
#ifndef FEDPUSH_BASE_PROXY_H
#define FEDPUSH_BASE_PROXY_H

#include "base/config.h"
#include "base/url.h"

struct proxy {
    struct url url; /* host, port, ip_literal */
    char *address;  /* "http://HOST:PORT", as libcurl wants it; NULL: there is no such proxy */
    /* "Proxy-Authorization: Basic …", or NULL. Only when both a user and a password are given; both
     * are sent as they stand in the URL, escapes included. */
    char *authorization;
};

enum { PROXIES_NAMED_MAX = 16 };

struct proxies {
    struct proxy plain;
    struct proxy hidden;                   /* for .onion and .i2p */
    struct proxy named[PROXIES_NAMED_MAX]; /* in the order of FEDPUSH_PROXIES */
    unsigned named_count;
};

/* FP_INVALID names the variable and never its value, which may hold a password. */
enum fp_err proxies_init(struct proxies *proxies, const struct config *config,
                         struct err *err) FP_MUST_CHECK;
void proxies_clear(struct proxies *proxies);
/* The one that requests to this host go through; NULL: none. Borrowed. */
const struct proxy *proxy_for(const struct proxies *proxies, struct str host);
/* The one at this place of FEDPUSH_PROXIES, from 1; NULL: there is none. Borrowed. */
const struct proxy *proxy_named(const struct proxies *proxies, unsigned place);
/* The names alone, "NAME,…", of a FEDPUSH_PROXIES that proxies_init accepts. Appends. */
void proxy_put_names(struct buf *out, struct str value);
/* Where a name stands among such names, from 1; 0: it doesn't. */
unsigned proxy_name_place(struct str names, struct str name);
/* A host of a hidden service: delivered to only with ALLOW_ACCESS_TO_HIDDEN_SERVICE. */
bool proxy_host_is_hidden(struct str host);

#endif
