/* A machine of the simulator follows an admin who pauses a host: limits.c. */
#include "tests/sim/machine_inside.h"

enum {
    PAUSED_MS = 600000, /* booked for so long, at least */
    PAUSED_MOST_MS = 3600000,
    PAUSED_SPREAD_MS = 60000,
};

static bool is_paused(const struct machine *machine, uint32_t host)
{
    const struct spell *pause = &machine->world->hosts.list[host].pause;
    int64_t now_ms = world_now_ms(machine->world);

    return now_ms >= pause->from_ms && now_ms < pause->to_ms;
}

bool machine_is_paused(const struct machine *machine, uint32_t job)
{
    return is_paused(machine, machine->world->jobs.list[job].host);
}

void machine_book_paused(struct machine *machine, struct held *held)
{
    const struct sim_job *it = &machine->world->jobs.list[held->job];
    int64_t now_ms = world_now_ms(machine->world);
    int64_t left_ms = machine->world->hosts.list[it->host].pause.to_ms - now_ms;
    int64_t age_ms = now_ms - it->created_ms;
    int64_t wait_ms = age_ms > PAUSED_MS ? age_ms : PAUSED_MS;

    if (wait_ms > PAUSED_MOST_MS)
        wait_ms = PAUSED_MOST_MS;
    int64_t spread_ms = wait_ms;
    if (left_ms < 2 * wait_ms) {
        wait_ms = left_ms > 1000 ? left_ms : 1000;
        spread_ms = wait_ms / 10 < PAUSED_SPREAD_MS ? wait_ms / 10 : PAUSED_SPREAD_MS;
    }
    wait_ms += (int64_t)dice_below(&machine->world->chance, (uint64_t)spread_ms);
    machine_settle(
        machine, &(struct settling){.held = held,
                                    .ending = held->claim.pair != 0 ? ENDING_BOOKED : ENDING_AT,
                                    .unix_us = (world_unix_ms(machine->world) + wait_ms) * 1000 +
                                               (int64_t)dice_below(&machine->world->chance, 1000)});
}

void machine_follow(struct machine *machine, uint32_t host)
{
    const struct sim_host *it = &machine->world->hosts.list[host];
    const struct lane_limits limits = {.paused = is_paused(machine, host)};
    int64_t now_ms = machine_now_ms(machine);
    struct lane *lane = lanes_get(machine->lanes, str_of(it->name), now_ms);
    struct claim *claim;

    if (machine->state != MACHINE_RUNNING)
        return;
    lanes_restrict(machine->lanes, lane, &limits, now_ms);
    while (limits.paused && (claim = lanes_oldest(lane)) != NULL) {
        lanes_remove(machine->lanes, claim, now_ms);
        machine_book_paused(machine, (struct held *)claim);
    }
    machine_dispatch(machine);
}
