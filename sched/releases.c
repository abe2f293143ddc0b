#include "sched/releases.h"

#include <stdlib.h>
#include <string.h>

#include "base/table.h"

enum {
    RELEASES_MAX = 4096, /* hosts; what is booked of others comes back at its time */
    TICK_MS = 1000,
};

struct release {
    bool asked; /* an answer is awaited */
    struct str host;
};

struct releases {
    const struct clock *clock;
    struct lanes *lanes;
    struct fleet *fleet;
    struct table *by_host;
};

struct releases *releases_create(const struct clock *clock, struct lanes *lanes,
                                 struct fleet *fleet)
{
    struct releases *releases = mem_alloc(sizeof(*releases));

    releases->clock = clock;
    releases->lanes = lanes;
    releases->fleet = fleet;
    releases->by_host = table_create();
    return releases;
}

void releases_want(struct releases *releases, struct str host)
{
    struct release *release;

    if (table_get(releases->by_host, host) != NULL ||
        table_count(releases->by_host) >= RELEASES_MAX)
        return;
    release = mem_alloc(sizeof(*release) + host.len);
    memcpy(release + 1, host.ptr, host.len);
    release->host = (struct str){(const char *)(release + 1), host.len};
    table_put(releases->by_host, release->host, release);
}

bool releases_any(const struct releases *releases)
{
    return table_count(releases->by_host) > 0;
}

static void on_released(void *arg, struct str host, unsigned moved, unsigned left)
{
    struct releases *releases = arg;
    struct release *release = table_get(releases->by_host, host);
    struct lane *lane = lanes_find(releases->lanes, host);

    (void)moved;
    if (lane != NULL)
        lanes_released(lane, left, clock_mono_ms(releases->clock));
    if (release == NULL)
        return;
    release->asked = false;
    if (left == 0) {
        table_remove(releases->by_host, host);
        free(release);
    }
}

void releases_tick(struct releases *releases)
{
    int64_t now_ms = clock_mono_ms(releases->clock);
    size_t at = 0;
    struct release *release;

    while ((release = table_next(releases->by_host, &at)) != NULL) {
        struct lane *lane = lanes_find(releases->lanes, release->host);
        unsigned count = lane != NULL ? lanes_release(releases->lanes, lane, now_ms) : 0;
        bool closed = lane != NULL && lane->circuit.state == CIRCUIT_CLOSED;
        if (lane == NULL || (closed && lane->reserved_ms <= now_ms)) { /* it comes by itself */
            table_remove(releases->by_host, release->host);
            free(release);
        } else if (count > 0 && !release->asked) {
            release->asked = true; /* what is called back next must come behind these */
            fleet_release(releases->fleet, release->host, count, TICK_MS / count, on_released,
                          releases);
        }
    }
}
