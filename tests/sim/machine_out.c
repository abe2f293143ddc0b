#include <stdlib.h>

#include "sched/parking.h"
#include "sched/verdict.h"
#include "tests/sim/machine_inside.h"

enum {
    SETTLE_MOST = 128,
    SETTLE_MS = 3,
    SECOND_MS = 1000,
    TOLD_HOLD_MS = 120000,
};

void machine_forget(struct machine *machine, struct held *held)
{
    TAILQ_REMOVE(&machine->all, held, all);
    machine->held_count--;
    machine->low_count -= held->claim.low;
    TAILQ_INSERT_HEAD(&machine->spare, held, all);
}

/* --- to Redis --- */

/* Our monotonic time of Redis' Unix time, as the lanes count. */
static int64_t mono_ms(const struct machine *machine, int64_t unix_us)
{
    return unix_us / 1000 - world_unix_ms(machine->world) + machine_now_ms(machine);
}

static void write(struct store *store, const struct settling *settling)
{
    uint32_t job = settling->held->job;
    struct machine *machine = settling->held->machine;
    int64_t at_us;

    switch (settling->ending) {
    case ENDING_OVER:
        store_settle_over(store, job, settling->place);
        break;
    case ENDING_AT:
        store_settle_at(store, job, settling->unix_us);
        break;
    case ENDING_BOOKED:
        at_us = store_settle_booked(store, job, settling->unix_us, settling->share_ms,
                                    world_unix_ms(machine->world));
        lanes_left_until(machine->lanes, &settling->held->claim, mono_ms(machine, at_us));
        break;
    case ENDING_RETURN:
        store_settle_return(store, machine->index, job, world_unix_ms(machine->world));
        break;
    }
}

static void on_flush(void *arg, uint64_t data)
{
    struct machine *machine = arg;
    struct world *world = machine->world;

    (void)data;
    machine->flushing = false;
    if (machine->settling_count == 0 || machine->state == MACHINE_GONE)
        return;
    store_settle(&world->store);
    for (unsigned i = 0; i < machine->settling_count; i++) {
        write(&world->store, &machine->settling[i]);
        machine_forget(machine, machine->settling[i].held);
    }
    machine->settling_count = 0;
    machine_claim(machine, false);
}

void machine_settle(struct machine *machine, const struct settling *settling)
{
    if (machine->settling == NULL)
        machine->settling = mem_alloc(SETTLE_MOST * sizeof(struct settling));
    settling->held->claim.state = CLAIM_SETTLING;
    if (settling->ending == ENDING_BOOKED)
        lanes_left(machine->lanes, &settling->held->claim, mono_ms(machine, settling->unix_us),
                   machine_now_ms(machine));
    else
        lanes_came(machine->lanes, &settling->held->claim);
    machine->settling[machine->settling_count++] = *settling;
    if (machine->settling_count == SETTLE_MOST) {
        on_flush(machine, 0);
    } else if (!machine->flushing) {
        machine->flushing = true;
        events_at(machine->world->events, world_now_ms(machine->world) + SETTLE_MS, on_flush,
                  machine, 0);
    }
}

static void give_up(struct machine *machine, struct held *held)
{
    world_exhaust(machine->world, held->job);
    machine_settle(machine,
                   &(struct settling){.held = held, .ending = ENDING_OVER, .place = JOB_EXHAUSTED});
}

/* --- circuits --- */

int64_t machine_parking_ms(struct machine *machine, const struct held *held,
                           const struct lane *lane, int64_t *taken_ms)
{
    const struct parking_job parked = parking_job_of(&held->claim.job);
    const struct rng *rng = &machine->world->chance.rng;
    int64_t unix_ms = world_unix_ms(machine->world);
    int64_t wait_ms = parking_wait_ms(&parked, &lane->circuit, unix_ms, rng);

    return wait_ms < 0 ? parking_last_ms(&parked, &lane->circuit, unix_ms, rng, taken_ms) : wait_ms;
}

void machine_park(struct machine *machine, struct held *held, struct lane *lane)
{
    int64_t unix_ms = world_unix_ms(machine->world);
    int64_t taken_ms = INT64_MAX;
    int64_t wait_ms = machine_parking_ms(machine, held, lane,
                                         machine->world->each_tried ? &taken_ms : &lane->last_ms);

    if (wait_ms < 0 && machine->world->each_tried &&
        machine->world->jobs.list[held->job].attempts == 0) {
        machine_try_last(machine, held);
        return;
    }
    if (wait_ms < 0) {
        give_up(machine, held);
        return;
    }
    machine_settle(machine, &(struct settling){.held = held,
                                               .ending = ENDING_BOOKED,
                                               .unix_us = (unix_ms + wait_ms) * 1000});
    lanes_want(machine->lanes, lane, machine_now_ms(machine));
}

void machine_park_all(struct machine *machine, struct lane *lane)
{
    int64_t now_ms = machine_now_ms(machine);
    bool oldest = true;
    struct claim *claim;

    while ((claim = lanes_oldest(lane)) != NULL) {
        struct held *held = (struct held *)claim;
        lanes_remove(machine->lanes, claim, now_ms);
        if (oldest)
            machine_settle(machine, &(struct settling){.held = held,
                                                       .ending = ENDING_BOOKED,
                                                       .unix_us = lane->circuit.probe_ms * 1000});
        else
            machine_park(machine, held, lane);
        oldest = false;
    }
}

static struct told *add_told(struct machine *machine)
{
    if (machine->told_count == machine->told_capacity) {
        machine->told_capacity = machine->told_capacity > 0 ? machine->told_capacity * 2 : 64;
        machine->told = mem_realloc(machine->told, machine->told_capacity * sizeof(struct told));
    }
    return &machine->told[machine->told_count++];
}

static void tell_held(struct machine *machine, const struct lane *lane, int64_t hold_ms)
{
    int64_t until_ms = world_unix_ms(machine->world) + hold_ms;

    if (hold_ms >= TOLD_HOLD_MS)
        *add_told(machine) = (struct told){.host = machine_host_of(machine, lane),
                                           .held_until_ms = (until_ms / 1000 + 1) * 1000};
}

static void tell(struct machine *machine, const struct lane *lane, uint64_t token)
{
    *add_told(machine) = (struct told){.host = machine_host_of(machine, lane),
                                       .token = token,
                                       .circuit = {.open = lane->circuit.state != CIRCUIT_CLOSED,
                                                   .opened_ms = lane->circuit.opened_ms,
                                                   .probe_ms = lane->circuit.probe_ms,
                                                   .backoff_ms = lane->circuit.backoff_ms}};
}

void machine_closed(struct machine *machine, struct lane *lane)
{
    lanes_booked(lane, machine_now_ms(machine));
    lanes_want(machine->lanes, lane, machine_now_ms(machine));
}

static void happened(struct machine *machine, struct lane *lane, enum circuit_event event,
                     bool was_probe)
{
    uint64_t *token = &machine->tokens[machine_host_of(machine, lane)];

    switch (event) {
    case CIRCUIT_SAME:
        return;
    case CIRCUIT_OPENED:
        machine->world->tally.opened++;
        machine_park_all(machine, lane);
        break;
    case CIRCUIT_REOPENED:
        machine_park_all(machine, lane);
        break;
    case CIRCUIT_CLOSED_AGAIN:
        machine_closed(machine, lane);
        break;
    case CIRCUIT_UNPROVEN:
        machine_park_all(machine, lane);
        store_unprobe(&machine->world->store, machine_host_of(machine, lane), *token);
        *token = 0;
        return;
    }
    tell(machine, lane, was_probe ? *token : 0);
    *token = 0;
}

void machine_abandon_probes(struct machine *machine)
{
    struct lane *lane;

    while ((lane = lanes_abandon_probe(machine->lanes, machine_now_ms(machine))) != NULL)
        happened(machine, lane, CIRCUIT_UNPROVEN, true);
}

void machine_release(struct machine *machine)
{
    int64_t now_ms = machine_now_ms(machine);
    struct lane *lane;
    unsigned count;
    unsigned moved;

    lanes_begin_calls(machine->lanes, now_ms);
    while ((lane = lanes_next_call(machine->lanes, &count, now_ms)) != NULL) {
        size_t left = store_release(&machine->world->store, machine_host_of(machine, lane), count,
                                    SECOND_MS / count, world_unix_ms(machine->world), &moved);
        lanes_released(machine->lanes, lane, moved, (unsigned)left, now_ms);
    }
}

/* --- outcomes --- */

static void burn(struct machine *machine, struct held *held)
{
    int64_t unix_us;

    store_track(&machine->world->store, false);
    if (!world_burn(machine->world, held->job, held->reply.retry_after_ms, &unix_us)) {
        give_up(machine, held);
        return;
    }
    machine_settle(machine,
                   &(struct settling){.held = held, .ending = ENDING_AT, .unix_us = unix_us});
}

static void hold(struct machine *machine, struct held *held)
{
    int64_t wait_ms = claim_hold_ms(&held->claim);

    if (machine->waiting_count >= MACHINE_LOOKAHEAD / (held->claim.low ? 8 : 2)) {
        machine_settle(machine, &(struct settling){.held = held,
                                                   .ending = ENDING_BOOKED,
                                                   .unix_us = (world_unix_ms(machine->world) +
                                                               CLAIM_LONGEST_HOLD_MS) *
                                                              1000});
        return;
    }
    held->claim.state = CLAIM_HELD;
    held->claim.due_ms = machine_now_ms(machine) + wait_ms;
    lanes_left(machine->lanes, &held->claim, held->claim.due_ms, machine_now_ms(machine));
    TAILQ_INSERT_TAIL(&machine->waiting, &held->claim, entry);
    machine->waiting_count++;
}

static void judge(struct machine *machine, struct held *held)
{
    if (held->reply.kind == REPLY_UNRESOLVED) {
        machine->world->tally.doubts++;
        if (machine->state == MACHINE_RUNNING && !machine->standby.active)
            hold(machine, held);
        else
            machine_settle(machine, &(struct settling){.held = held, .ending = ENDING_RETURN});
        return;
    }
    if (held->reply.kind == REPLY_TRANSPORT || held->reply.kind == REPLY_UNSERVED ||
        verdict_of_status(held->reply.status) == VERDICT_RETRY) {
        burn(machine, held);
        return;
    }
    store_track(&machine->world->store, true);
    world_deliver(machine->world, held->job, held->reply.took_ms);
    machine_settle(machine,
                   &(struct settling){.held = held, .ending = ENDING_OVER, .place = JOB_DELIVERED});
}

static enum lane_answer answer_of(const struct reply *reply)
{
    switch (reply->kind) {
    case REPLY_TRANSPORT:
        return LANE_TRANSPORT;
    case REPLY_UNRESOLVED:
        return LANE_UNRESOLVED;
    case REPLY_UNSERVED:
        return LANE_UNSERVED;
    case REPLY_STATUS:
        break;
    }
    if (reply->status == 429)
        return LANE_PUSHED_BACK;
    if (reply->status == 503)
        return LANE_UNAVAILABLE;
    return reply->status >= 500 && reply->status != 501 ? LANE_ERROR : LANE_ANSWERED;
}

static void spare(struct machine *machine, struct held *held)
{
    machine->world->tally.doubts++;
    if (machine->state == MACHINE_RUNNING && !machine->standby.active)
        machine_admit_again(machine, held);
    else
        machine_settle(machine, &(struct settling){.held = held, .ending = ENDING_RETURN});
}

/* No answer came. Returns false when that is the host's fault. */
static bool doubt(struct machine *machine, struct held *held, bool was_blameless)
{
    const struct message_outcome outcome = {.kind = OUTCOME_TRANSPORT};
    int64_t now_ms = machine_now_ms(machine);

    switch (lanes_blame(machine->lanes, was_blameless, held->claim.started_ms, now_ms)) {
    case DOUBT_THEIRS:
        return false;
    case DOUBT_WAIT:
        if (machine->state == MACHINE_RUNNING &&
            doubts_add(machine->doubts, &held->claim, &outcome, now_ms)) {
            lanes_left(machine->lanes, &held->claim, now_ms + SUSPICION_DOUBT_MS, now_ms);
            return true;
        }
        break;
    case DOUBT_OURS:
        break;
    }
    spare(machine, held);
    return true;
}

static void after_landing(struct machine *machine, struct held *held, bool was_blameless)
{
    if (machine->state == MACHINE_GONE)
        return;
    if (held->reply.kind != REPLY_STATUS && held->reply.kind != REPLY_UNRESOLVED &&
        doubt(machine, held, was_blameless))
        return;
    judge(machine, held);
}

void machine_landed(struct machine *machine, struct held *held)
{
    int64_t now_ms = machine_now_ms(machine);
    struct lane *lane = held->claim.lane;
    bool was_blameless = lanes_is_blameless(machine->lanes, lane, now_ms);
    bool was_probe = lane->circuit.state == CIRCUIT_PROBING;
    const struct lane_result result = {.answer = answer_of(&held->reply),
                                       .certain = held->reply.certain,
                                       .total_ms = held->reply.took_ms,
                                       .hold_ms = held->reply.retry_after_ms};

    happened(machine, lane, lanes_landed(machine->lanes, &held->claim, &result, now_ms), was_probe);
    tell_held(machine, lane, result.hold_ms);
    if (machine->state == MACHINE_RUNNING)
        machine_shed(machine, lane);
    after_landing(machine, held, was_blameless);
    machine_dispatch(machine);
}

void machine_judge_doubts(struct machine *machine)
{
    int64_t now_ms = machine_now_ms(machine);
    struct message_outcome outcome;
    enum doubt verdict;
    struct claim *claim;

    while ((claim = doubts_next(machine->doubts, machine->lanes, now_ms, &verdict, &outcome)) !=
           NULL) {
        struct held *held = (struct held *)claim;
        if (verdict == DOUBT_THEIRS)
            judge(machine, held);
        else
            spare(machine, held);
    }
}

void machine_tried(struct machine *machine, struct held *held)
{
    if (machine->state != MACHINE_GONE)
        judge(machine, held);
}
