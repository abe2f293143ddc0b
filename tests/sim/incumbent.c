#include "tests/sim/incumbent.h"

#include <stdlib.h>
#include <sys/queue.h>

#include "base/str.h"

enum {
    THREADS = 25,
    CPU_US = 2300, /* of a delivery, for a process that can use one core (measured) */
    RED_US = 800,  /* of a job that fails without a request */
    RED_FAILURES = 10,
    RED_MS = 60000,
    POLL_MS = 5000,  /* a registered process */
    FETCH_MS = 2000, /* for so long BRPOP waits, in each idle thread */
    PUSH_WEIGHT = 6,
    PULL_WEIGHT = 1,
};

/* A running attempt, between its events. */
struct attempt {
    LIST_ENTRY(attempt) entry;
    struct process *process;
    struct reply reply;
    uint32_t job;
    bool cut;
};

LIST_HEAD(attempt_list, attempt);

struct process {
    struct incumbent *incumbent;
    unsigned idle;       /* threads */
    int64_t cpu_free_us; /* the interpreter's lock is taken until then */
    int64_t cut_from_ms;
    int64_t cut_to_ms;
};

struct incumbent {
    struct world *world;
    unsigned count;
    unsigned next; /* whose idle thread gets what was pushed */
    struct attempt_list attempts;
    struct process processes[];
};

static void run_threads(struct process *process);

/* How long a thread waits for and uses the processor. */
static int64_t cpu_ms(struct process *process, int64_t us)
{
    int64_t now_us = world_now_ms(process->incumbent->world) * 1000;

    if (process->cpu_free_us < now_us)
        process->cpu_free_us = now_us;
    process->cpu_free_us += us;
    return (process->cpu_free_us - now_us) / 1000;
}

static void fail(struct world *world, uint32_t job)
{
    int64_t at_us;

    store_track(&world->store, false);
    if (world_burn(world, job, 0, &at_us)) {
        scored_add(&world->store.retry, &world->jobs, job, at_us);
        world->store.calls++;
        world->store.commands++; /* ZADD */
    } else {
        world->jobs.list[job].place = JOB_EXHAUSTED;
        world_exhaust(world, job);
    }
}

static void note(struct world *world, uint32_t host, bool failed)
{
    struct store_host *breaker = &world->store.hosts[host];

    world->store.calls++;
    world->store.commands += failed ? 3 : 1; /* ZADD and its like in a transaction; or DEL */
    breaker->failures = failed ? breaker->failures + 1 : 0;
    breaker->failed_ms = world_now_ms(world);
}

static void on_answer(void *arg, uint64_t data)
{
    struct attempt attempt = *(struct attempt *)arg;
    struct world *world = attempt.process->incumbent->world;
    uint32_t host = world->jobs.list[attempt.job].host;
    bool accepted = attempt.reply.kind == REPLY_STATUS && attempt.reply.status < 300;

    (void)data;
    LIST_REMOVE((struct attempt *)arg, entry);
    free(arg);
    if (!attempt.cut)
        hosts_told(&world->hosts.list[host], &attempt.reply);
    note(world, host, !accepted);
    if (accepted) {
        store_track(&world->store, true);
        world->jobs.list[attempt.job].place = JOB_DELIVERED;
        world_deliver(world, attempt.job, attempt.reply.took_ms);
    } else {
        fail(world, attempt.job);
    }
    attempt.process->idle++;
    run_threads(attempt.process);
}

static void on_red(void *arg, uint64_t job)
{
    struct process *process = arg;

    fail(process->incumbent->world, (uint32_t)job);
    process->idle++;
    run_threads(process);
}

static bool is_red(struct world *world, uint32_t host)
{
    const struct store_host *breaker = &world->store.hosts[host];

    world->store.calls++;
    world->store.commands += 2; /* its state and its failures */
    return breaker->failures >= RED_FAILURES && world_now_ms(world) - breaker->failed_ms < RED_MS;
}

static void try_it(struct process *process, uint32_t job)
{
    struct world *world = process->incumbent->world;
    struct sim_job *it = &world->jobs.list[job];
    int64_t now_ms = world_now_ms(world);

    if (is_red(world, it->host)) {
        events_at(world->events, now_ms + cpu_ms(process, RED_US), on_red, process, job);
        return;
    }
    struct attempt *attempt = mem_alloc(sizeof(*attempt));
    LIST_INSERT_HEAD(&process->incumbent->attempts, attempt, entry);
    attempt->process = process;
    attempt->job = job;
    attempt->cut = now_ms >= process->cut_from_ms && now_ms < process->cut_to_ms;
    it->attempts++;
    world->tally.attempts++;
    if (attempt->cut)
        attempt->reply = (struct reply){.kind = REPLY_TRANSPORT, .took_ms = HOSTS_CONNECT_MS};
    else
        attempt->reply = hosts_ask(&world->hosts.list[it->host], now_ms, &world->chance);
    events_at(world->events, now_ms + cpu_ms(process, CPU_US) + attempt->reply.took_ms, on_answer,
              attempt, 0);
}

static void run_threads(struct process *process)
{
    struct world *world = process->incumbent->world;
    uint32_t job;

    while (process->idle > 0 &&
           store_fetch(&world->store,
                       dice_below(&world->chance, PUSH_WEIGHT + PULL_WEIGHT) < PUSH_WEIGHT, &job)) {
        process->idle--;
        try_it(process, job);
    }
}

void incumbent_wake(struct incumbent *incumbent)
{
    for (unsigned i = 0; i < incumbent->count; i++) {
        struct process *process = &incumbent->processes[incumbent->next++ % incumbent->count];
        if (process->idle > 0) {
            run_threads(process);
            return;
        }
    }
}

/* All that is due, `retry` first; then it sleeps for about its share of the processes' turns. */
static void poll(void *arg, uint64_t data)
{
    struct process *process = arg;
    struct incumbent *incumbent = process->incumbent;
    struct world *world = incumbent->world;
    int64_t interval_ms = (int64_t)incumbent->count * POLL_MS;

    (void)data;
    for (int schedule = 0; schedule < 2; schedule++) {
        while (store_enqueue_due(&world->store, schedule == 1, world_unix_ms(world)))
            incumbent_wake(incumbent);
    }
    int64_t sleep_ms = interval_ms / 2 + (int64_t)dice_below(&world->chance, (uint64_t)interval_ms);
    events_at(world->events, world_now_ms(world) + sleep_ms, poll, process, 0);
}

static void fetch_again(void *arg, uint64_t data)
{
    struct process *process = arg;
    struct world *world = process->incumbent->world;

    (void)data;
    store_fetch_nothing(&world->store, process->idle);
    events_at(world->events, world_now_ms(world) + FETCH_MS, fetch_again, process, 0);
}

struct incumbent *incumbent_create(struct world *world, unsigned processes)
{
    struct incumbent *incumbent =
        mem_alloc(sizeof(*incumbent) + processes * sizeof(struct process));

    incumbent->world = world;
    incumbent->count = processes;
    for (unsigned i = 0; i < processes; i++) {
        struct process *process = &incumbent->processes[i];
        process->incumbent = incumbent;
        process->idle = THREADS;
        events_at(world->events,
                  world_now_ms(world) + (int64_t)dice_below(&world->chance, 2 * POLL_MS), poll,
                  process, 0);
        events_at(world->events, world_now_ms(world) + FETCH_MS, fetch_again, process, 0);
    }
    return incumbent;
}

void incumbent_destroy(struct incumbent *incumbent)
{
    struct attempt *attempt;

    while (incumbent != NULL && (attempt = LIST_FIRST(&incumbent->attempts)) != NULL) {
        LIST_REMOVE(attempt, entry);
        free(attempt);
    }
    free(incumbent);
}

void incumbent_cut(struct incumbent *incumbent, unsigned index, int64_t from_ms, int64_t to_ms)
{
    if (index < incumbent->count) {
        incumbent->processes[index].cut_from_ms = from_ms;
        incumbent->processes[index].cut_to_ms = to_ms;
    }
}
