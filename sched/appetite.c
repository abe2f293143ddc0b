#include "sched/appetite.h"

enum {
    READY_ENOUGH = 64,
    PROGRESSING_ENOUGH = 256,
    SPARE_JOBS = 64,
    PULL_BATCH = 128, /* fewer aren't worth a claim */
    PULL_SHARE = 4,   /* of the look-ahead's bytes */
    ENOUGH_CLAIMS = 64,
};

unsigned appetite_jobs(unsigned lookahead_jobs, size_t lookahead_bytes, size_t bytes, size_t count)
{
    if (count < ENOUGH_CLAIMS || bytes / count * lookahead_jobs <= lookahead_bytes)
        return lookahead_jobs;
    return (unsigned)(lookahead_bytes / (bytes / count));
}

/* As many as find a slot, and some that wait; late workers get fewer. */
static unsigned wanted(const struct appetite *appetite, const struct lanes *lanes)
{
    unsigned slots = appetite->max_in_flight;
    unsigned in_flight = lanes_in_flight(lanes);
    unsigned coming = lanes_progressing(lanes);

    if (appetite->shares && appetite->late)
        return appetite->free_slots > coming ? appetite->free_slots - coming : 0;
    return (in_flight < slots ? slots - in_flight : 0) + SPARE_JOBS;
}

struct room appetite_room(const struct appetite *appetite, struct lanes *lanes, unsigned elsewhere,
                          size_t bytes, int64_t now_ms)
{
    unsigned waiting = lanes_waiting(lanes) + elsewhere;
    bool suspicious = lanes_suspicious(lanes, now_ms);
    unsigned most = suspicious ? appetite->trials : wanted(appetite, lanes);
    struct room room = {0, 0};

    if (waiting >= appetite->lookahead_jobs ||
        (!suspicious &&
         (lanes_ready(lanes) >= READY_ENOUGH || lanes_progressing(lanes) >= PROGRESSING_ENOUGH)))
        return room;
    room.jobs = appetite->lookahead_jobs - waiting;
    if (room.jobs > most)
        room.jobs = most;
    if (bytes < appetite->lookahead_bytes)
        room.bytes = (appetite->lookahead_bytes - bytes) / CLAIM_COPIES;
    return room;
}

struct room appetite_pull_room(const struct appetite *appetite, struct lanes *lanes, size_t bytes,
                               size_t pull_bytes, int64_t now_ms)
{
    size_t share = appetite->lookahead_bytes / PULL_SHARE;
    struct room room = {lanes_low_room(lanes), 0};
    unsigned bound = room.jobs + lanes_low_waiting(lanes);
    unsigned least = bound / 2 < PULL_BATCH ? bound / 2 : PULL_BATCH;

    if (lanes_low_ready(lanes) >= READY_ENOUGH || room.jobs < least ||
        lanes_suspicious(lanes, now_ms))
        room.jobs = 0;
    if (bytes < appetite->lookahead_bytes && pull_bytes < share)
        room.bytes = (share - pull_bytes) / CLAIM_COPIES;
    return room;
}
