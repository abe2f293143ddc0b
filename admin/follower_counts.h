/*
 * How many followers of local accounts have their inbox at each host, by Mastodon's tables. Counted
 * once an hour in pages of bounded size over a connection of its own, whose answers are taken in
 * passing: nobody waits for them. Until the first count is whole all are unknown.
 */
#ifndef FEDPUSH_ADMIN_FOLLOWER_COUNTS_H
#define FEDPUSH_ADMIN_FOLLOWER_COUNTS_H

#include "admin/session.h"

struct follower_counts;
/* The session is borrowed and must outlive it. */
struct follower_counts *follower_counts_create(struct session *session);
void follower_counts_destroy(struct follower_counts *counts); /* NULL is fine */
/* Asks for the next page when its time has come. The session's loop brings the answer. */
void follower_counts_tick(struct follower_counts *counts);
/* Of a host as in an inbox's URL, with a port that isn't the default; -1: not counted yet. */
int64_t follower_counts_of(const struct follower_counts *counts, struct str host);

#endif
