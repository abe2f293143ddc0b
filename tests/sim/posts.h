/*
 * What Mastodon's people do: posts to many hosts, steady traffic, a Follow and its Undo. All times
 * are milliseconds since the start.
 */
#ifndef FEDPUSH_TESTS_SIM_POSTS_H
#define FEDPUSH_TESTS_SIM_POSTS_H

#include "tests/sim/world.h"

/* Hosts first … first + count - 1. */
struct hosts_of {
    uint32_t first;
    uint32_t count;
};

/* One job a host, `times` over; of an account of its own each time. */
void posts_once(struct world *world, int64_t at_ms, struct hosts_of hosts, uint32_t times,
                bool low);
/* The same each `every_ms`. */
void posts_each(struct world *world, int64_t from_ms, int64_t to_ms, int64_t every_ms,
                struct hosts_of hosts);
/* So many jobs a second, to hosts and of accounts by chance. */
void posts_stream(struct world *world, int64_t from_ms, int64_t to_ms, double per_second,
                  struct hosts_of hosts);
/* A Follow to this host, and `later_ms` after it its Undo. */
void posts_follow(struct world *world, int64_t at_ms, int64_t later_ms, uint32_t host);
/* A Ruby process that doesn't serve `push`: its poller still takes all that is due from `retry` and
 * `schedule` and pushes it. fedpush's runs only. */
void posts_ruby_poller(struct world *world, int64_t every_ms);
void posts_clear(struct world *world);

#endif
