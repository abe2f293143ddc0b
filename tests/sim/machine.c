#include <stdlib.h>

#include "sched/share.h"
#include "tests/sim/machine_inside.h"

enum { SECOND_MS = 1000, PULSE_MOST = 1000, DEAD_AFTER_MS = 90000, SWEEP_S = 600 };

int64_t machine_now_ms(const struct machine *machine)
{
    return world_now_ms(machine->world) + machine->offset_ms;
}

/* --- the pulse --- */

static unsigned fleet_size(const struct world *world)
{
    unsigned count = 0;

    for (unsigned i = 0; i < WORLD_MACHINES; i++)
        count += world->machines[i] != NULL && world->machines[i]->state != MACHINE_GONE;
    return count;
}

static void tell_fleet(struct machine *machine)
{
    for (size_t i = 0; i < machine->told_count; i++) {
        const struct told *told = &machine->told[i];
        if (told->held_until_ms != 0) {
            store_hold(&machine->world->store, machine->index, told->host, told->held_until_ms);
            continue;
        }
        store_tell(&machine->world->store, machine->index, told->host, told->token,
                   world_unix_ms(machine->world), &told->circuit);
    }
    machine->told_count = 0;
}

static void adopt(struct machine *machine, uint32_t host)
{
    const struct store_host *circuit = &machine->world->store.hosts[host];
    struct str name = str_of(machine->world->hosts.list[host].name);
    int64_t now_ms = machine_now_ms(machine);
    struct lane *lane = lanes_get(machine->lanes, name, now_ms);

    if (circuit->open) {
        lanes_adopt_open(machine->lanes, lane, circuit->opened_ms, circuit->probe_ms,
                         circuit->backoff_ms, now_ms);
        if (lane->circuit.state == CIRCUIT_OPEN && lane->probe == LANE_PROBE_NONE)
            machine_park_all(machine, lane);
    } else if (lane->circuit.state != CIRCUIT_CLOSED) {
        lanes_adopt_closed(machine->lanes, lane, now_ms);
        machine_closed(machine, lane);
    }
    if (circuit->held_until_ms > world_unix_ms(machine->world)) {
        lanes_adopt_hold(machine->lanes, lane, circuit->held_until_ms, now_ms);
        machine_shed(machine, lane);
    }
}

static void say(struct machine *machine)
{
    struct world *world = machine->world;
    int64_t now_ms = machine_now_ms(machine);
    struct word word = {.suspicious = machine_suspects_itself(machine),
                        .rate = world->max_rate,
                        .wanted = lanes_wanted(machine->lanes, now_ms)};

    word.asked = share_of(word.rate, word.wanted, machine->heard.wants, machine->heard.want_count);
    for (unsigned i = 0; i < WORLD_MACHINES; i++)
        world->store.words[i].alive =
            world->machines[i] != NULL && world->machines[i]->state != MACHINE_GONE;
    machine->heard = store_say(&world->store, machine->index, &word, world_unix_ms(world));
    if (word.rate > 0) /* 0 would be no limit */
        lanes_set_rate(machine->lanes, machine->heard.share > 0.01 ? machine->heard.share : 0.01,
                       now_ms);
}

static void pulse(struct machine *machine)
{
    struct world *world = machine->world;
    uint32_t hosts[PULSE_MOST];

    tell_fleet(machine);
    say(machine);
    unsigned found =
        store_pulse(&world->store, machine->index, &machine->log_read, PULSE_MOST, hosts);
    for (unsigned i = 0; i < found; i++)
        adopt(machine, hosts[i]);
    lanes_set_fleet(machine->lanes, fleet_size(world),
                    world_unix_ms(world) - machine_now_ms(machine));
}

/* --- seconds --- */

static void try_resolver_again(struct machine *machine)
{
    int64_t now_ms = machine_now_ms(machine);
    struct claim *claim;
    struct claim *next;

    for (claim = TAILQ_FIRST(&machine->waiting); claim != NULL; claim = next) {
        next = TAILQ_NEXT(claim, entry);
        if (claim->due_ms > now_ms)
            continue;
        TAILQ_REMOVE(&machine->waiting, claim, entry);
        machine->waiting_count--;
        claim->state = CLAIM_NEW;
        machine_admit_again(machine, (struct held *)claim);
    }
}

/* Off the lists that the lanes and the doubts keep. */
static void withdraw(struct machine *machine, struct held *held)
{
    if (held->claim.state == CLAIM_LANE)
        lanes_remove(machine->lanes, &held->claim, machine_now_ms(machine));
    else if (held->claim.state == CLAIM_DOUBT)
        doubts_remove(machine->doubts, &held->claim);
    else if (held->claim.state == CLAIM_HELD)
        TAILQ_REMOVE(&machine->waiting, &held->claim, entry);
    held->claim.state = CLAIM_NEW;
}

/* The newest first, so that the oldest is taken next. */
static void return_waiting(struct machine *machine)
{
    struct held *held = TAILQ_LAST(&machine->all, held_list);

    while (held != NULL) {
        struct held *before = TAILQ_PREV(held, held_list, all);
        if (held->claim.state == CLAIM_LANE || held->claim.state == CLAIM_DOUBT ||
            held->claim.state == CLAIM_HELD) {
            withdraw(machine, held);
            machine_settle(machine, &(struct settling){.held = held, .ending = ENDING_RETURN});
        }
        held = before;
    }
    machine->waiting_count = 0;
}

static void on_second(void *arg, uint64_t seconds)
{
    struct machine *machine = arg;

    if (machine->state == MACHINE_DRAINING && machine->held_count == 0) {
        machine->state = MACHINE_GONE;
        store_leave(&machine->world->store, machine->index);
    }
    if (machine->state == MACHINE_GONE)
        return;
    pulse(machine);
    lanes_wake(machine->lanes, machine_now_ms(machine));
    if (machine->state == MACHINE_RUNNING) {
        machine_judge_doubts(machine);
        try_resolver_again(machine);
        if (standby_tick(&machine->standby, machine_suspects_itself(machine),
                         machine->heard.healthy_others, machine_now_ms(machine)))
            return_waiting(machine);
        machine_release(machine);
        machine_due(machine);
        machine_claim(machine, true);
        machine_dispatch(machine);
        if (seconds % SWEEP_S == 0)
            lanes_sweep(machine->lanes, machine_now_ms(machine));
    }
    events_at(machine->world->events, world_now_ms(machine->world) + SECOND_MS, on_second, machine,
              seconds + 1);
}

/* --- life --- */

struct machine *machine_create(struct world *world, unsigned index)
{
    struct machine *machine = mem_alloc(sizeof(*machine));
    const struct lane_options options = {.workers = MACHINE_WORKERS,
                                         .host_window = MACHINE_WINDOW,
                                         .max_in_flight = MACHINE_IN_FLIGHT,
                                         .lookahead_jobs = MACHINE_LOOKAHEAD,
                                         .max_rate = world->max_rate / STORE_MACHINES,
                                         .rng = &world->chance.rng};

    machine->world = world;
    machine->index = index;
    store_join(&world->store, index);
    machine->offset_ms = (int64_t)(index + 1) * 1000003;
    TAILQ_INIT(&machine->all);
    TAILQ_INIT(&machine->spare);
    TAILQ_INIT(&machine->waiting);
    machine->tokens = mem_alloc(world->hosts.count * sizeof(uint64_t));
    machine->read_ms = mem_alloc(world->hosts.count * sizeof(int64_t));
    machine->lanes = lanes_create(&options);
    machine->doubts = doubts_create();
    machine->queue_empty = true;
    lanes_set_fleet(machine->lanes, 1, world_unix_ms(world) - machine_now_ms(machine));
    int64_t phase_ms = (int64_t)dice_below(&world->chance, SECOND_MS);
    events_at(world->events, world_now_ms(world) + phase_ms, on_second, machine, 1);
    return machine;
}

void machine_remembers(struct machine *machine, int64_t success_ago_ms)
{
    const struct hosts *hosts = &machine->world->hosts;
    int64_t now_ms = machine_now_ms(machine);

    for (uint32_t i = 0; i < hosts->count; i++)
        lanes_learn(machine->lanes, str_of(hosts->list[i].name), false, now_ms - success_ago_ms,
                    now_ms);
}

void machine_drain(struct machine *machine)
{
    machine->state = MACHINE_DRAINING;
    return_waiting(machine);
}

/* recover.lua, when its beat has been old for long enough. */
static void on_recovered(void *arg, uint64_t data)
{
    struct machine *machine = arg;
    struct held *held;

    (void)data;
    store_settle(&machine->world->store);
    store_yield(&machine->world->store, machine->index);
    TAILQ_FOREACH_REVERSE(held, &machine->all, held_list, all)
    store_settle_return(&machine->world->store, machine->index, held->job,
                        world_unix_ms(machine->world));
    store_leave(&machine->world->store, machine->index);
}

void machine_kill(struct machine *machine)
{
    machine->state = MACHINE_GONE;
    events_at(machine->world->events, world_now_ms(machine->world) + DEAD_AFTER_MS, on_recovered,
              machine, 0);
}

void machine_destroy(struct machine *machine)
{
    struct held *held;

    if (machine == NULL)
        return;
    while ((held = TAILQ_FIRST(&machine->all)) != NULL) {
        if (held->claim.state == CLAIM_LANE)
            withdraw(machine, held);
        machine_forget(machine, held);
    }
    while ((held = TAILQ_FIRST(&machine->spare)) != NULL) {
        TAILQ_REMOVE(&machine->spare, held, all);
        free(held);
    }
    doubts_destroy(machine->doubts);
    lanes_destroy(machine->lanes);
    free(machine->settling);
    free(machine->told);
    free(machine->tokens);
    free(machine->read_ms);
    free(machine->blocked);
    free(machine);
}

void machine_break(struct machine *machine, enum fault fault, int64_t from_ms, int64_t to_ms)
{
    machine->fault = fault;
    machine->fault_from_ms = from_ms;
    machine->fault_to_ms = to_ms;
}

void machine_pause(struct machine *machine)
{
    machine->paused = true;
}

bool machine_suspects_itself(const struct machine *machine)
{
    return lanes_suspicious(machine->lanes, machine_now_ms(machine));
}

unsigned machine_open_circuits(const struct machine *machine)
{
    unsigned open = 0;
    size_t at = 0;
    const struct lane *lane;

    while ((lane = lanes_each(machine->lanes, &at)) != NULL)
        open += lane->circuit.state != CIRCUIT_CLOSED;
    return open;
}
