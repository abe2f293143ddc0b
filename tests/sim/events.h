/*
 * What happens when: a queue of events in simulated milliseconds. Events of one millisecond happen
 * in the order in which they were made, so that a run depends on its seed alone.
 */
#ifndef FEDPUSH_TESTS_SIM_EVENTS_H
#define FEDPUSH_TESTS_SIM_EVENTS_H

#include <stdint.h>

/* The clock's first reading: later than what the tested code counts back from (an hour or so). */
enum { EVENTS_START_MS = 10000000 };

typedef void event_fn(void *arg, uint64_t data);

struct events;
struct events *events_create(void);
void events_destroy(struct events *events);
int64_t events_now_ms(const struct events *events);
/* Calls fn(arg, data) at that time, or next when it has passed. */
void events_at(struct events *events, int64_t at_ms, event_fn *fn, void *arg, uint64_t data);
/* Until nothing is left, or only what comes later than `end_ms`, which becomes the time. */
void events_run(struct events *events, int64_t end_ms);

#endif
