/*
 * `fedpush domain`: what its parts know of the command line. domain.c takes it apart;
 * domain_order.c pauses, resumes, limits and tries, domain_drop.c drops (all by admin/give.h),
 * domain_list.c lists, domain_show.c and domain_show_json.c show.
 */
#ifndef FEDPUSH_ADMIN_DOMAIN_H
#define FEDPUSH_ADMIN_DOMAIN_H

#include "admin/domain_hosts.h"
#include "admin/orders.h"

struct domain_options {
    const char *domain; /* as given */
    bool now;
    bool yes;
    bool json;
    bool clear;
    bool inherit;   /* limit: its own are taken back, a parent's count */
    int64_t span_s; /* --for; 0: until it is taken back */
    /* limit: -1, NULL: not given */
    int64_t window;
    int64_t rate;
    const char *proxy; /* "none": by no other than Mastodon's */
    int http;          /* 0: not given; 1, 2 */
    int scheme;        /* enum policy_scheme, or -1 */
};

struct desk;
/* Each gets an open session and returns the exit code. */
int domain_pause(struct session *session, const struct domain_options *options);
int domain_resume(struct session *session, const struct domain_options *options);
int domain_limit(struct session *session, const struct domain_options *options);
int domain_drop(struct session *session, const struct domain_options *options);
int domain_try(struct session *session, const struct domain_options *options);
int domain_list(struct session *session, const struct domain_options *options);
int domain_show(struct session *session, const struct domain_options *options);
/* The same for programs. */
int domain_show_json(struct desk *desk, const struct domain_options *options);

/* Anything but --inherit alone. */
bool domain_has_limit(const struct domain_options *options);
/* The hosts that a handle's domain means, for `pause` and `drop`. False: one line has been said. */
bool domain_resolve(struct domain_hosts *hosts, struct session *session,
                    const struct domain_options *options);
/* Adds what has a policy of its own below the domain: it would stand against the domain's. */
void domain_add_ordered(struct domain_hosts *hosts, const struct orders *orders);

#endif
