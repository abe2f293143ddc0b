/*
 * The HTTP proxies of Mastodon's http_proxy and http_hidden_proxy, as Mastodon understands them: an
 * https target goes through CONNECT, an http one in absolute form. The connection to the proxy
 * itself is plain, whatever its URL's scheme says (that decides the default port alone), and
 * https_proxy and no_proxy mean nothing.
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

struct proxies {
    struct proxy plain;
    struct proxy hidden; /* for .onion and .i2p */
};

/* FP_INVALID names the variable and never its value, which may hold a password. */
enum fp_err proxies_init(struct proxies *proxies, const struct config *config,
                         struct err *err) FP_MUST_CHECK;
void proxies_clear(struct proxies *proxies);
/* The one that requests to this host go through; NULL: none. Borrowed. */
const struct proxy *proxy_for(const struct proxies *proxies, struct str host);
/* A host of a hidden service: delivered to only with ALLOW_ACCESS_TO_HIDDEN_SERVICE. */
bool proxy_host_is_hidden(struct str host);

#endif
