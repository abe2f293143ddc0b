/*
 * What fedpush replaces: Sidekiq processes of 25 threads, each blocked for as long as its request
 * takes; Mastodon's time-outs; Stoplight by inbox (ten failures in a row, then red for 60 s; while
 * it is red a job fails at once and burns a retry); Sidekiq's poller.
 */
#ifndef FEDPUSH_TESTS_SIM_INCUMBENT_H
#define FEDPUSH_TESTS_SIM_INCUMBENT_H

#include "tests/sim/world.h"

struct incumbent *incumbent_create(struct world *world, unsigned processes);
void incumbent_destroy(struct incumbent *incumbent);
/* A job was pushed. */
void incumbent_wake(struct incumbent *incumbent);
/* Process `index` has no way out from then to then. */
void incumbent_cut(struct incumbent *incumbent, unsigned index, int64_t from_ms, int64_t to_ms);

#endif
