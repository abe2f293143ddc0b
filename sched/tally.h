/*
 * One account's followers, counted by server: a digest for each prefix. All servers are counted in
 * one pass over the followers, since a post goes to all of them; where only a few are asked for, or
 * there are more than may be kept, a tally is partial: it knows the servers that were wanted before
 * the pass began, and says so of others. Pure.
 */
#ifndef FEDPUSH_SCHED_TALLY_H
#define FEDPUSH_SCHED_TALLY_H

#include "sched/synchronization.h"

struct tally;
/* Beyond max_bytes only wanted servers are counted. */
struct tally *tally_create(size_t max_bytes);
void tally_destroy(struct tally *tally); /* NULL is fine */
/* Empty, before a pass. */
void tally_reset(struct tally *tally);
/* This server's digest must be known after the pass. */
void tally_want(struct tally *tally, struct str prefix);
size_t tally_servers(const struct tally *tally);
/* Only what is wanted is counted in this pass. */
void tally_narrow(struct tally *tally);
/* Appends LIKE patterns that select the followers that this pass must count. */
void tally_put_patterns(const struct tally *tally, struct buf *array);
/* A follower's URI; one without a prefix belongs to no server. */
void tally_add(struct tally *tally, struct str uri);
/* After the pass: false when this server wasn't counted. */
bool tally_find(const struct tally *tally, struct str prefix,
                struct synchronization_digest *digest) FP_MUST_CHECK;
size_t tally_bytes(const struct tally *tally);

#endif
