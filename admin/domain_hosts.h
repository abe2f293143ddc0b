/*
 * The hosts behind the domain of a handle: that host, all below it, and every host that accounts of
 * the domain have an inbox on, by Mastodon's table.
 */
#ifndef FEDPUSH_ADMIN_DOMAIN_HOSTS_H
#define FEDPUSH_ADMIN_DOMAIN_HOSTS_H

#include "admin/session.h"
#include "base/policy.h"

enum { DOMAIN_HOSTS_MAX = 1000, DOMAIN_OTHERS_MAX = 20 };

struct domain_hosts {
    struct str domain; /* A-labels, lower case; borrows names[0] */
    bool below_only;   /* "*.domain" was given */
    size_t count;
    char *names[DOMAIN_HOSTS_MAX]; /* as in base/policy.h; no name twice */
    size_t other_count;
    char *others[DOMAIN_OTHERS_MAX]; /* inbox hosts that are domains of their own: not meant */
    struct err problem;              /* why Mastodon's table wasn't read; FP_OK: it was */
};

/* "example.org", "*.example.org", "@user@example.org"; no database is asked. False: neither. */
bool domain_hosts_init(struct domain_hosts *hosts, const char *text) FP_MUST_CHECK;
void domain_hosts_clear(struct domain_hosts *hosts);
/* Adds what Mastodon's table knows; `problem` says why not. Nothing for "*.example.org". */
void domain_hosts_ask(struct domain_hosts *hosts, struct session *session);
void domain_hosts_add(struct domain_hosts *hosts, struct str name);
/* Whether `names` are all hosts that the domain's accounts have inboxes on. */
bool domain_hosts_are_all(const struct domain_hosts *hosts);
/* Whether a name or pattern of the list means this host. */
bool domain_hosts_mean(const struct domain_hosts *hosts, struct str host);

#endif
