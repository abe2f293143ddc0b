/*
 * One machine of the fleet: the lanes, doubts and appetite of sched/ as they are, and around them
 * what scheduler.c, admit.c, circuits.c, conclude.c, poller.c and fleet.c do, as thin as possible.
 * Its monotonic clock is its own.
 */
#ifndef FEDPUSH_TESTS_SIM_MACHINE_H
#define FEDPUSH_TESTS_SIM_MACHINE_H

#include "tests/sim/world.h"

/* Joins the fleet as number `index`. */
struct machine *machine_create(struct world *world, unsigned index);
void machine_destroy(struct machine *machine); /* NULL is fine */
/* A job was pushed: true when this machine waited for one, and claims it. */
bool machine_wake(struct machine *machine);
/* From then to then packets vanish on their way out; or connections are refused at once, as by a
 * firewall of ours; or nine of ten names aren't resolved; or no name is whose host has never
 * answered, the others' addresses being known. */
enum fault { FAULT_CUT = 0, FAULT_REFUSED, FAULT_RESOLVER, FAULT_MUTE };
void machine_break(struct machine *machine, enum fault fault, int64_t from_ms, int64_t to_ms);
/* What the machine's earlier runs have left: every host has answered, so long ago. */
void machine_remembers(struct machine *machine, int64_t success_ago_ms);
/* A drain: claims and sends no more; what is on the wire ends, the rest goes back. */
void machine_drain(struct machine *machine);
/* It is paused by an admin: it claims no more, but lives. */
void machine_pause(struct machine *machine);
/* An admin's pause of a host begins or ends: all machines follow it. */
void machine_follow(struct machine *machine, uint32_t host);
/* It dies; the others return what it held after a minute. */
void machine_kill(struct machine *machine);
bool machine_suspects_itself(const struct machine *machine);
/* Circuits that its lanes hold open now. */
unsigned machine_open_circuits(const struct machine *machine);

#endif
