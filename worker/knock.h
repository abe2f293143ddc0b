/*
 * Double-knocking: which signature scheme a delivery's requests use, and what its answers show. As
 * Mastodon 4.7, a POST that is answered with 400 or 401 is sent once more in the other scheme, and
 * that answer is final; other statuses (403, 404, 410, 5xx, …) say nothing about signatures. Unlike
 * Mastodon the origin's scheme is remembered (sched/schemes.h), so that a later job begins with it.
 * Pure.
 */
#ifndef FEDPUSH_WORKER_KNOCK_H
#define FEDPUSH_WORKER_KNOCK_H

#include "base/message.h"

struct knocking {
    enum sign_scheme scheme; /* of the present request */
    bool may_again;
    unsigned first_status; /* of a first knock that was rejected; 0: there was none */
};

void knock_begin(struct knocking *knocking, enum knock knock);
/* A POST was answered: true when it must be sent again, in the scheme that is now set. */
bool knock_again(struct knocking *knocking, unsigned status);
/* The second request was not made after all: returns the first one's status, which stands. */
unsigned knock_give_up(struct knocking *knocking);
/* What the final status shows; 0: there was none. */
enum learnt knock_learnt(const struct knocking *knocking, unsigned status);

#endif
