/*
 * Who sends a request, as far as connection and header tell: from where, over which proxy, under
 * which name of ours. Pure.
 *
 * What a header claims counts only from a proxy of FEDPUSH_ADMIN_TRUSTED_PROXIES; but whoever was
 * forwarded by anybody is not on this machine.
 */
#ifndef FEDPUSH_ADMIN_VISITOR_H
#define FEDPUSH_ADMIN_VISITOR_H

#include "admin/web.h"
#include "base/config.h"
#include "base/err.h"
#include "base/network.h"

/* How the page is reached, from the configuration. */
struct visit_rules {
    char *origin; /* FEDPUSH_ADMIN_URL's "https://fedpush.example", or "" */
    char *host;   /* of it: "fedpush.example" or "example:8443"; "": none is set */
    char *prefix; /* its path without the last slash */
    char *url;    /* all of it, without the last slash; "": none is set */
    bool https;
    uint16_t port; /* that we listen on; 0: a Unix socket */
    struct network proxies[CONFIG_MAX_TRUSTED_PROXIES];
    size_t proxy_count;
    bool local_proxy; /* who comes over the Unix socket is one */
};

struct visitor {
    bool loopback;             /* on this machine, and nobody says otherwise */
    bool our_host;             /* the request is for a name of ours: no rebound DNS */
    int family;                /* of the address; AF_UNIX: of a Unix socket */
    unsigned char address[16]; /* its own, or as a trusted proxy says */
};

/* `config` is valid. */
void visit_rules_init(struct visit_rules *rules, const struct config *config);
void visit_rules_clear(struct visit_rules *rules);
bool visit_is_proxy(const struct visit_rules *rules, const struct web_peer *peer);

void visitor_read(struct visitor *visitor, const struct visit_rules *rules,
                  const struct web_request *request);
/* Whether our own page sent this, as the browser says it. False when it says nothing. */
bool visitor_is_same_origin(const struct visit_rules *rules, const struct web_head *head);
/* Whether the request came by FEDPUSH_ADMIN_URL, not to localhost. */
bool visitor_came_by_url(const struct visit_rules *rules, const struct web_head *head);

#endif
