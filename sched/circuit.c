#include "sched/circuit.h"

/* Up to a fifth later, so that probes of hosts that died together spread. */
static void schedule_probe(struct circuit *circuit, int64_t hold_ms, int64_t now_ms,
                           const struct rng *rng)
{
    int64_t wait_ms = circuit->backoff_ms > hold_ms ? circuit->backoff_ms : hold_ms;
    circuit->probe_ms = now_ms + wait_ms + (int64_t)rng_below(rng, (uint64_t)wait_ms / 5 + 1);
}

static enum circuit_event open_it(struct circuit *circuit, int64_t hold_ms, int64_t now_ms,
                                  const struct rng *rng)
{
    circuit->state = CIRCUIT_OPEN;
    circuit->opened_ms = now_ms;
    circuit->backoff_ms = CIRCUIT_FIRST_BACKOFF_MS;
    schedule_probe(circuit, hold_ms, now_ms, rng);
    circuit->due_ms = circuit->probe_ms;
    return CIRCUIT_OPENED;
}

/* It was on its way when the last counted one came back: they are one failure. */
static bool is_of_one(const struct circuit *circuit, int64_t started_ms)
{
    return circuit->failures > 0 && started_ms < circuit->counted_ms;
}

static void count(struct circuit *circuit, bool certain, int64_t now_ms)
{
    if (circuit->failures == 0)
        circuit->first_ms = now_ms;
    if (circuit->failures < CIRCUIT_FAILURES)
        circuit->failures++;
    if (certain && circuit->certain < CIRCUIT_CERTAIN_FAILURES)
        circuit->certain++;
    circuit->counted_ms = now_ms;
}

void circuit_doubted(struct circuit *circuit, int64_t started_ms, bool certain, int64_t now_ms)
{
    if (circuit->state == CIRCUIT_CLOSED && !is_of_one(circuit, started_ms))
        count(circuit, certain, now_ms);
}

enum circuit_event circuit_failed(struct circuit *circuit, int64_t started_ms, bool certain,
                                  int64_t hold_ms, int64_t now_ms, const struct rng *rng)
{
    switch (circuit->state) {
    case CIRCUIT_CLOSED:
        if (is_of_one(circuit, started_ms))
            return CIRCUIT_SAME;
        count(circuit, certain, now_ms);
        if (circuit->failures >= CIRCUIT_FAILURES || circuit->certain >= CIRCUIT_CERTAIN_FAILURES)
            return open_it(circuit, hold_ms, now_ms, rng);
        return CIRCUIT_SAME;
    case CIRCUIT_PROBING:
        circuit->state = CIRCUIT_OPEN;
        circuit->probed_ms = now_ms;
        if (now_ms - circuit->due_ms > CIRCUIT_OVERDUE_MS)
            circuit->opened_ms = now_ms;
        circuit->backoff_ms = circuit->backoff_ms > CIRCUIT_LAST_BACKOFF_MS / 2
                                  ? CIRCUIT_LAST_BACKOFF_MS
                                  : circuit->backoff_ms * 2;
        schedule_probe(circuit, hold_ms, now_ms, rng);
        circuit->due_ms = circuit->probe_ms;
        return CIRCUIT_REOPENED;
    case CIRCUIT_OPEN: /* it was on its way when the circuit opened */
        break;
    }
    return CIRCUIT_SAME;
}

enum circuit_event circuit_answered(struct circuit *circuit)
{
    bool was_open = circuit->state != CIRCUIT_CLOSED;

    circuit_adopt_closed(circuit);
    return was_open ? CIRCUIT_CLOSED_AGAIN : CIRCUIT_SAME;
}

enum circuit_event circuit_unproven(struct circuit *circuit, int64_t now_ms, const struct rng *rng)
{
    if (circuit->state != CIRCUIT_PROBING)
        return CIRCUIT_SAME;
    circuit->state = CIRCUIT_OPEN;
    schedule_probe(circuit, 0, now_ms, rng);
    return CIRCUIT_UNPROVEN;
}

void circuit_abandoned(struct circuit *circuit, int64_t now_ms)
{
    if (circuit->state != CIRCUIT_PROBING)
        return;
    circuit->state = CIRCUIT_OPEN;
    circuit->probe_ms = now_ms;
}

int64_t circuit_spaced_ms(const struct circuit *circuit)
{
    int64_t space_ms = CIRCUIT_FIRST_SPACE_MS;

    if (circuit->failures == 0)
        return INT64_MIN;
    for (unsigned i = 1; i < circuit->failures && space_ms < CIRCUIT_LAST_SPACE_MS; i++)
        space_ms *= 2;
    return circuit->counted_ms + space_ms;
}

void circuit_probe(struct circuit *circuit)
{
    circuit->state = CIRCUIT_PROBING;
}

/* A time that has come isn't set by a probe, but by who wants one now. */
static bool tells_of_probe(const struct circuit *circuit, int64_t probe_ms, int64_t now_ms)
{
    return circuit->state != CIRCUIT_CLOSED && probe_ms > circuit->due_ms && probe_ms > now_ms;
}

void circuit_adopt_open(struct circuit *circuit, int64_t opened_ms, int64_t probe_ms,
                        uint32_t backoff_ms, int64_t now_ms)
{
    int64_t since_ms = circuit->due_ms < now_ms ? circuit->due_ms : now_ms;

    if (tells_of_probe(circuit, probe_ms, now_ms) && circuit->probed_ms < since_ms)
        circuit->probed_ms = since_ms;
    if (circuit->state == CIRCUIT_CLOSED)
        circuit->state = CIRCUIT_OPEN; /* a probe under way stays one: its token decides */
    circuit->opened_ms = opened_ms;
    circuit->probe_ms = circuit->due_ms = probe_ms;
    circuit->backoff_ms = backoff_ms < CIRCUIT_FIRST_BACKOFF_MS  ? CIRCUIT_FIRST_BACKOFF_MS
                          : backoff_ms > CIRCUIT_LAST_BACKOFF_MS ? CIRCUIT_LAST_BACKOFF_MS
                                                                 : backoff_ms;
}

void circuit_adopt_closed(struct circuit *circuit)
{
    *circuit = (struct circuit){.state = CIRCUIT_CLOSED};
}
