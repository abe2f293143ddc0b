/* availability.c: what is known of a host is believed for some seconds; then its lane rests until
 * it was read again. In the simulation no host is marked unavailable. */
#include <stdlib.h>

#include "sched/availability.h"
#include "tests/sim/machine_inside.h"

enum { READING_MS = 5 };

static void on_read(void *arg, uint64_t data)
{
    struct machine *machine = arg;
    int64_t now_ms = machine_now_ms(machine);

    (void)data;
    for (size_t i = 0; i < machine->blocked_count; i++) {
        struct lane *lane = machine->blocked[i];
        machine->read_ms[machine_host_of(machine, lane)] = now_ms;
        lanes_block(machine->lanes, lane, false, now_ms);
    }
    machine->blocked_count = 0;
    if (machine->state == MACHINE_RUNNING)
        machine_dispatch(machine);
}

bool machine_knows(struct machine *machine, const struct lane *lane)
{
    int64_t read_ms = machine->read_ms[machine_host_of(machine, lane)];
    return read_ms != 0 && machine_now_ms(machine) - read_ms <= AVAILABILITY_FRESH_MS;
}

void machine_block(struct machine *machine, struct lane *lane)
{
    if (lane->blocked)
        return;
    lanes_block(machine->lanes, lane, true, machine_now_ms(machine));
    if (machine->blocked_count == 0)
        events_at(machine->world->events, world_now_ms(machine->world) + READING_MS, on_read,
                  machine, 0);
    if (machine->blocked_count == machine->blocked_capacity) {
        machine->blocked_capacity =
            machine->blocked_capacity > 0 ? machine->blocked_capacity * 2 : 64;
        machine->blocked =
            mem_realloc(machine->blocked, machine->blocked_capacity * sizeof(struct lane *));
    }
    machine->blocked[machine->blocked_count++] = lane;
}
