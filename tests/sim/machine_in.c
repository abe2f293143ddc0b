#include <stdlib.h>

#include "tests/sim/machine_inside.h"

enum {
    CLAIM_MOST = 256,
    LOW_WITH_OTHERS = 64, /* jobs of `pull` a second while `push` has some */
    CPU_US = 150,         /* of a delivery, on two cores (measured: 0.28 ms of one) */
    PULL_BYTES = 1,       /* every job is of one size */
};

uint32_t machine_host_of(const struct machine *machine, const struct lane *lane)
{
    (void)machine;
    return (uint32_t)strtoul(lane->host.ptr + 1, NULL, 10);
}

/* What the job says of itself. */
static struct held describe(struct machine *machine, uint32_t job, enum claim_origin origin)
{
    const struct sim_job *it = &machine->world->jobs.list[job];
    struct held held = {.machine = machine, .job = job};

    held.claim.origin = origin;
    held.claim.low = it->low;
    held.claim.moved = it->moved;
    held.claim.pair =
        it->low || it->account == 0 ? 0 : ((uint64_t)it->account << 32 | (it->host + 1));
    held.claim.job.retry_count = it->retry_count;
    held.claim.job.max_retries = it->max_retries;
    held.claim.job.created_at_s =
        (double)(world_unix_ms(machine->world) - world_now_ms(machine->world) + it->created_ms) /
        1000;
    return held;
}

static struct held *take(struct machine *machine, uint32_t job, enum claim_origin origin)
{
    const struct sim_job *it = &machine->world->jobs.list[job];
    struct held *held = TAILQ_FIRST(&machine->spare);

    if (held != NULL)
        TAILQ_REMOVE(&machine->spare, held, all);
    else
        held = mem_alloc(sizeof(*held));
    *held = describe(machine, job, origin);
    held->claim.seq = ++machine->seq;
    TAILQ_INSERT_TAIL(&machine->all, held, all);
    machine->held_count++;
    machine->low_count += it->low;
    standby_took(&machine->standby);
    return held;
}

static struct lane *lane_of(struct machine *machine, const struct held *held)
{
    const struct sim_job *it = &machine->world->jobs.list[held->job];
    struct str name = str_of(machine->world->hosts.list[it->host].name);
    return lanes_get(machine->lanes, name, machine_now_ms(machine));
}

static void book(struct machine *machine, struct held *held, struct lane *lane)
{
    int64_t now_ms = machine_now_ms(machine);
    int64_t unix_ms = world_unix_ms(machine->world);
    struct settling settling = {.held = held, .ending = ENDING_BOOKED};

    if (held->claim.low) {
        settling.ending = ENDING_AT;
        settling.unix_us = (unix_ms + lanes_book_low_ms(machine->lanes, lane, now_ms)) * 1000 +
                           (int64_t)dice_below(&machine->world->chance, 1000);
    } else {
        settling.unix_us = (unix_ms + lanes_book_ms(machine->lanes, lane, now_ms)) * 1000;
        settling.share_ms = lanes_pace_ms(machine->lanes, lane);
        lanes_want(machine->lanes, lane, now_ms);
    }
    machine_settle(machine, &settling);
}

void machine_shed(struct machine *machine, struct lane *lane)
{
    int64_t now_ms = machine_now_ms(machine);
    struct claim *claim;

    while ((claim = lanes_excess(machine->lanes, lane, now_ms)) != NULL) {
        lanes_remove(machine->lanes, claim, now_ms);
        book(machine, (struct held *)claim, lane);
    }
}

void machine_admit(struct machine *machine, struct held *held)
{
    struct lane *lane = lane_of(machine, held);
    int64_t now_ms = machine_now_ms(machine);

    lanes_came(machine->lanes, &held->claim);
    if (machine_is_paused(machine, held->job)) {
        machine_book_paused(machine, held);
        return;
    }
    switch (lanes_course(machine->lanes, lane, &held->claim, now_ms)) {
    case COURSE_LANE:
        lanes_add(machine->lanes, lane, &held->claim, false, now_ms);
        break;
    case COURSE_BOOK:
        book(machine, held, lane);
        break;
    case COURSE_PARK:
        if (lane->circuit.state == CIRCUIT_OPEN && !machine_knows(machine, lane))
            machine_block(machine, lane);
        machine_park(machine, held, lane);
        break;
    }
}

void machine_admit_again(struct machine *machine, struct held *held)
{
    struct lane *lane = lane_of(machine, held);
    int64_t now_ms = machine_now_ms(machine);

    lanes_came(machine->lanes, &held->claim);
    if (machine_is_paused(machine, held->job))
        machine_book_paused(machine, held);
    else if (lane->circuit.state == CIRCUIT_OPEN &&
             lanes_course(machine->lanes, lane, &held->claim, now_ms) == COURSE_PARK)
        machine_park(machine, held, lane);
    else
        lanes_add(machine->lanes, lane, &held->claim, true, now_ms);
}

/* --- claims --- */

static struct appetite appetite_of(const struct machine *machine)
{
    return (struct appetite){.trials = machine->standby.trials,
                             .lookahead_jobs = MACHINE_LOOKAHEAD,
                             .lookahead_bytes = MACHINE_LOOKAHEAD,
                             .max_in_flight = MACHINE_IN_FLIGHT};
}

static unsigned room_of(const struct machine *machine)
{
    const struct appetite appetite = appetite_of(machine);
    unsigned elsewhere = machine->waiting_count + doubts_count(machine->doubts);
    struct room room = appetite_room(&appetite, machine->lanes, elsewhere,
                                     machine->held_count * PULL_BYTES, machine_now_ms(machine));
    if (machine->paused)
        return 0;
    return room.bytes == 0 ? 0 : room.jobs < CLAIM_MOST ? room.jobs : CLAIM_MOST;
}

static unsigned pull_room_of(const struct machine *machine)
{
    const struct appetite appetite = appetite_of(machine);
    struct room room =
        appetite_pull_room(&appetite, machine->lanes, machine->held_count * PULL_BYTES,
                           machine->low_count * PULL_BYTES, machine_now_ms(machine));
    return room.bytes == 0 ? 0 : room.jobs < CLAIM_MOST ? room.jobs : CLAIM_MOST;
}

/* What the scripts say besides: which others of its sender are booked. */
static void hear(struct machine *machine, struct held *held)
{
    const struct sim_job *it = &machine->world->jobs.list[held->job];
    int64_t created_ms[BOOKED_CHAIN];
    int64_t at_us[BOOKED_CHAIN];
    struct away_booked booked[BOOKED_CHAIN];
    int64_t now_ms = machine_now_ms(machine);
    int64_t unix_ms = world_unix_ms(machine->world);
    int64_t unix_at_0_ms = unix_ms - world_now_ms(machine->world);
    size_t count = booked_of_account(&machine->world->store.hosts[it->host].booked, it,
                                     unix_ms * 1000, created_ms, at_us);

    for (size_t i = 0; i < count; i++)
        booked[i] = (struct away_booked){.created_us = (unix_at_0_ms + created_ms[i]) * 1000,
                                         .back_ms = at_us[i] / 1000 - unix_ms + now_ms};
    lanes_heard(machine->lanes, &held->claim, booked, count, now_ms);
}

static unsigned claim(struct machine *machine, bool pull, unsigned most)
{
    uint32_t jobs[CLAIM_MOST];
    unsigned found = store_claim(&machine->world->store, machine->index, pull,
                                 world_unix_ms(machine->world), most, jobs);

    for (unsigned i = 0; i < found; i++) {
        struct held *held = take(machine, jobs[i], pull ? ORIGIN_PULL : ORIGIN_QUEUE);
        hear(machine, held);
        machine_admit(machine, held);
    }
    return found;
}

static void on_claimed(void *arg, uint64_t data)
{
    struct machine *machine = arg;
    unsigned room = room_of(machine);
    unsigned found = 0;

    (void)data;
    machine->claiming = false;
    if (machine->state != MACHINE_RUNNING)
        return;
    if (room > 0) {
        found = claim(machine, false, room);
        machine->queue_empty = found < room;
        if (machine->queue_empty)
            store_wait(&machine->world->store);
    }
    if (machine->queue_empty && machine->world->store.pull.count > 0) {
        unsigned low = pull_room_of(machine);
        if (low > 0)
            found += claim(machine, true, low);
    }
    machine_dispatch(machine);
    if (found > 0)
        machine_claim(machine, false);
}

/* `regardless`: whatever is known of the queues. */
void machine_claim(struct machine *machine, bool regardless)
{
    bool wants = room_of(machine) > 0 && (!machine->queue_empty || regardless);
    bool wants_low = machine->queue_empty && pull_room_of(machine) > 0 &&
                     (machine->world->store.pull.count > 0 || regardless);

    if (regardless && room_of(machine) == 0)
        store_yield(&machine->world->store, machine->index);
    if (machine->claiming || machine->state != MACHINE_RUNNING || (!wants && !wants_low))
        return;
    machine->claiming = true;
    events_at(machine->world->events, world_now_ms(machine->world) + REDIS_MS, on_claimed, machine,
              0);
}

bool machine_wake(struct machine *machine)
{
    if (!machine->queue_empty || machine->state != MACHINE_RUNNING)
        return false;
    machine->queue_empty = false;
    machine_claim(machine, false);
    return machine->claiming;
}

/* circuits_park_until_ms. */
static int64_t parks_until_ms(void *arg, uint32_t job, bool schedule)
{
    struct machine *machine = arg;
    const struct held held = describe(machine, job, schedule ? ORIGIN_SCHEDULE : ORIGIN_RETRY);
    struct str name = str_of(machine->world->hosts.list[machine->world->jobs.list[job].host].name);
    const struct lane *lane = lanes_find(machine->lanes, name);
    int64_t unix_ms = world_unix_ms(machine->world);

    if (lane == NULL || !lanes_parks(machine->lanes, lane, &held.claim, machine_now_ms(machine)) ||
        machine_is_paused(machine, job))
        return 0;
    int64_t taken_ms = lane->last_ms;
    int64_t wait_ms = machine_parking_ms(machine, &held, lane, &taken_ms);
    return wait_ms < 0 || taken_ms != lane->last_ms ? 0 : unix_ms + wait_ms;
}

/* circuits_parked. */
static void parked(void *arg, uint32_t job, int64_t at_us)
{
    struct machine *machine = arg;
    const struct held held = describe(machine, job, ORIGIN_SCHEDULE);
    struct str name = str_of(machine->world->hosts.list[machine->world->jobs.list[job].host].name);
    int64_t now_ms = machine_now_ms(machine);

    int64_t back_ms = at_us / 1000 - world_unix_ms(machine->world) + now_ms;

    lanes_left(machine->lanes, &held.claim, back_ms, now_ms);
    lanes_left_until(machine->lanes, &held.claim, back_ms);
    lanes_want(machine->lanes, lanes_find(machine->lanes, name), now_ms);
}

void machine_due(struct machine *machine)
{
    const struct ahead_sim ahead = {lanes_wanted_back(machine->lanes) > 0, parks_until_ms, parked,
                                    machine};
    uint32_t jobs[CLAIM_MOST];

    for (int schedule = 0; schedule < 2; schedule++) {
        unsigned room = room_of(machine);
        unsigned found = store_due(&machine->world->store, machine->index, schedule == 1,
                                   world_unix_ms(machine->world), room, jobs, &ahead);
        for (unsigned i = 0; i < found; i++) {
            struct held *held =
                take(machine, jobs[i], schedule == 1 ? ORIGIN_SCHEDULE : ORIGIN_RETRY);
            hear(machine, held);
            machine_admit(machine, held);
        }
    }
    if (!machine->queue_empty && machine->world->store.pull.count > 0) {
        unsigned low = pull_room_of(machine);
        if (low > 0)
            claim(machine, true, low < LOW_WITH_OTHERS ? low : LOW_WITH_OTHERS);
    }
}

/* --- to the workers --- */

static struct reply ask(struct machine *machine, const struct held *held)
{
    struct world *world = machine->world;
    struct sim_host *host = &world->hosts.list[world->jobs.list[held->job].host];
    int64_t now_ms = world_now_ms(world);
    bool broken = now_ms >= machine->fault_from_ms && now_ms < machine->fault_to_ms;

    if (!broken || (machine->fault == FAULT_RESOLVER && dice_below(&world->chance, 10) == 0) ||
        (machine->fault == FAULT_MUTE && host->delivered > 0))
        return hosts_ask(host, now_ms, &world->chance);
    host->at_once++;
    if (machine->fault == FAULT_REFUSED)
        return (struct reply){.kind = REPLY_TRANSPORT, .certain = true, .took_ms = 1};
    if (machine->fault == FAULT_RESOLVER || machine->fault == FAULT_MUTE ||
        dice_below(&world->chance, 2) == 0)
        return (struct reply){.kind = REPLY_UNRESOLVED, .took_ms = HOSTS_CONNECT_MS};
    return (struct reply){.kind = REPLY_TRANSPORT, .took_ms = HOSTS_CONNECT_MS};
}

static void on_landed(void *arg, uint64_t data)
{
    struct held *held = arg;
    struct machine *machine = held->machine;

    (void)data;
    hosts_told(&machine->world->hosts.list[machine->world->jobs.list[held->job].host],
               &held->reply);
    machine_landed(machine, held);
}

/* The processors take one after another. */
static int64_t cpu_wait_ms(struct machine *machine)
{
    int64_t now_us = world_now_ms(machine->world) * 1000;

    if (machine->cpu_free_us < now_us)
        machine->cpu_free_us = now_us;
    machine->cpu_free_us += CPU_US;
    return (machine->cpu_free_us - now_us) / 1000;
}

static void send(struct machine *machine, struct held *held, event_fn *landed)
{
    struct world *world = machine->world;
    struct sim_job *it = &world->jobs.list[held->job];

    held->reply = ask(machine, held);
    if (held->reply.kind != REPLY_UNRESOLVED && it->attempts < UINT16_MAX)
        it->attempts++;
    tally_attempt(&world->tally, world_now_ms(world));
    held->reply.took_ms += (uint32_t)cpu_wait_ms(machine);
    events_at(world->events, world_now_ms(world) + held->reply.took_ms, landed, held, 0);
}

static void on_last(void *arg, uint64_t data)
{
    struct held *held = arg;
    struct machine *machine = held->machine;

    (void)data;
    hosts_told(&machine->world->hosts.list[machine->world->jobs.list[held->job].host],
               &held->reply);
    machine_tried(machine, held);
}

void machine_try_last(struct machine *machine, struct held *held)
{
    held->claim.state = CLAIM_FLIGHT;
    send(machine, held, on_last);
}

static void ask_probe(struct machine *machine, struct held *held)
{
    struct lane *lane = held->claim.lane;
    int64_t now_ms = machine_now_ms(machine);
    uint64_t token =
        store_ask_probe(&machine->world->store, held->job, world_unix_ms(machine->world));

    lanes_probe_asked(machine->lanes, lane, now_ms);
    lanes_probe_answered(machine->lanes, lane, token != 0, now_ms);
    if (token != 0)
        machine->tokens[machine_host_of(machine, lane)] = token;
    else
        machine_park_all(machine, lane);
}

static void on_wake(void *arg, uint64_t data)
{
    struct machine *machine = arg;

    (void)data;
    if (machine->state != MACHINE_RUNNING || world_now_ms(machine->world) != machine->wake_ms)
        return;
    machine->wake_ms = 0;
    machine_abandon_probes(machine);
    lanes_wake(machine->lanes, machine_now_ms(machine));
    machine_dispatch(machine);
}

static void set_wake(struct machine *machine)
{
    int64_t now_ms = machine_now_ms(machine);
    int64_t at_ms = lanes_wake_ms(machine->lanes, now_ms) - machine->offset_ms;

    if (at_ms <= world_now_ms(machine->world))
        at_ms = world_now_ms(machine->world) + 1;
    if (machine->wake_ms != 0 && machine->wake_ms <= at_ms)
        return;
    machine->wake_ms = at_ms;
    events_at(machine->world->events, at_ms, on_wake, machine, 0);
}

static void launch(struct machine *machine, struct held *held)
{
    struct lane *lane = held->claim.lane;

    if (!machine_knows(machine, lane)) {
        machine_block(machine, lane);
    } else if (lanes_is_probe(lane)) {
        ask_probe(machine, held);
    } else {
        machine->world->tally.probes += lane->circuit.state == CIRCUIT_PROBING;
        lanes_start(machine->lanes, &held->claim, machine_now_ms(machine));
        send(machine, held, on_landed);
    }
}

void machine_dispatch(struct machine *machine)
{
    int64_t now_ms = machine_now_ms(machine);
    struct claim *claim;

    if (machine->state != MACHINE_RUNNING)
        return;
    machine->first_served++;
    for (unsigned i = 0; i < MACHINE_WORKERS; i++) {
        unsigned worker = (machine->first_served + i) % MACHINE_WORKERS;
        while ((claim = lanes_next(machine->lanes, worker, now_ms)) != NULL)
            launch(machine, (struct held *)claim);
    }
    set_wake(machine);
    machine_claim(machine, false);
}
