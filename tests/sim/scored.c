#include "tests/sim/scored.h"

void scored_add(struct scored *set, struct jobs *jobs, uint32_t job, int64_t score_us)
{
    heap_add(&set->heap, score_us, job);
    jobs->list[job].place = (uint8_t)set->place;
    jobs->list[job].score_us = score_us;
}

bool scored_take(struct scored *set, struct jobs *jobs, int64_t most_us, uint32_t *job)
{
    while (set->heap.count > 0 && set->heap.entries[0].key <= most_us) {
        struct heap_entry first = set->heap.entries[0];
        struct sim_job *found = &jobs->list[first.number];
        heap_drop_first(&set->heap);
        if (found->place == set->place && found->score_us == first.key) {
            found->place = JOB_NOWHERE;
            *job = first.number;
            return true;
        }
    }
    return false;
}

void scored_clear(struct scored *set)
{
    heap_clear(&set->heap);
}
