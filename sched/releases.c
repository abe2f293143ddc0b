#include "sched/releases.h"

#include <stdlib.h>

enum {
    ASKED_MOST = 32, /* at once: the answers say whether there is time for more */
    TICK_MS = 1000,
};

_Static_assert((int)LANES_RELEASE_MOST <= (int)FLEET_RELEASE_MAX,
               "the gap is that of all that are asked for");

struct releases {
    const struct clock *clock;
    struct lanes *lanes;
    struct fleet *fleet;
    unsigned asked; /* answers are awaited */
};

struct releases *releases_create(const struct clock *clock, struct lanes *lanes,
                                 struct fleet *fleet)
{
    struct releases *releases = mem_alloc(sizeof(*releases));

    releases->clock = clock;
    releases->lanes = lanes;
    releases->fleet = fleet;
    return releases;
}

void releases_destroy(struct releases *releases)
{
    free(releases);
}

void releases_want(struct releases *releases, struct str host)
{
    struct lane *lane = lanes_find(releases->lanes, host);

    if (lane != NULL)
        lanes_want(releases->lanes, lane, clock_mono_ms(releases->clock));
}

bool releases_any(const struct releases *releases)
{
    return lanes_wanted_back(releases->lanes) > 0;
}

static void on_released(void *arg, struct str host, unsigned moved, unsigned left);

static void ask(struct releases *releases)
{
    int64_t now_ms = clock_mono_ms(releases->clock);
    struct lane *lane;
    unsigned count;

    while (releases->asked < ASKED_MOST &&
           (lane = lanes_next_call(releases->lanes, &count, now_ms)) != NULL) {
        releases->asked++;
        fleet_release(releases->fleet, lane->host, count, TICK_MS / count, on_released, releases);
    }
}

static void on_released(void *arg, struct str host, unsigned moved, unsigned left)
{
    struct releases *releases = arg;
    struct lane *lane = lanes_find(releases->lanes, host);

    releases->asked--;
    if (lane != NULL)
        lanes_released(releases->lanes, lane, moved, left, clock_mono_ms(releases->clock));
    ask(releases);
}

void releases_tick(struct releases *releases)
{
    lanes_begin_calls(releases->lanes, clock_mono_ms(releases->clock));
    ask(releases);
}
