#include "tests/sim/posts.h"

#include <stdlib.h>

#include "base/str.h"

enum {
    ACCOUNTS = 5000,       /* of streams */
    FIRST_POSTER = 100000, /* accounts of posts, from here on */
};

struct posts {
    struct posts *next;
    struct world *world;
    struct hosts_of hosts;
    uint32_t times;
    bool low;
    int64_t to_ms;
    int64_t every_ms;
    double per_second;
    int64_t later_ms;
};

static void plan(struct world *world, int64_t at_ms, event_fn *fn, const struct posts *what)
{
    struct posts *posts = mem_alloc(sizeof(*posts));

    *posts = *what;
    posts->world = world;
    posts->next = world->posts;
    world->posts = posts;
    events_at(world->events, world_at_ms(at_ms), fn, posts, 0);
}

void posts_clear(struct world *world)
{
    struct posts *posts;

    while ((posts = world->posts) != NULL) {
        world->posts = posts->next;
        free(posts);
    }
}

static void send(const struct posts *posts)
{
    for (uint32_t time = 0; time < posts->times; time++) {
        uint32_t account = FIRST_POSTER + posts->world->posters++;
        for (uint32_t i = 0; i < posts->hosts.count; i++) {
            const struct order order = {posts->hosts.first + i, account, JOB_NONE, posts->low};
            world_order(posts->world, &order);
        }
    }
}

static void on_post(void *arg, uint64_t data)
{
    const struct posts *posts = arg;
    int64_t next_ms = world_now_ms(posts->world) + posts->every_ms;

    (void)data;
    send(posts);
    if (posts->every_ms > 0 && next_ms < world_at_ms(posts->to_ms))
        events_at(posts->world->events, next_ms, on_post, arg, 0);
}

void posts_once(struct world *world, int64_t at_ms, struct hosts_of hosts, uint32_t times, bool low)
{
    plan(world, at_ms, on_post, &(struct posts){.hosts = hosts, .times = times, .low = low});
}

void posts_each(struct world *world, int64_t from_ms, int64_t to_ms, int64_t every_ms,
                struct hosts_of hosts)
{
    plan(world, from_ms, on_post,
         &(struct posts){.hosts = hosts, .times = 1, .to_ms = to_ms, .every_ms = every_ms});
}

static void on_job(void *arg, uint64_t data)
{
    const struct posts *posts = arg;
    struct world *world = posts->world;
    const struct order order = {.host = posts->hosts.first +
                                        (uint32_t)dice_below(&world->fate, posts->hosts.count),
                                .account = 1 + (uint32_t)dice_below(&world->fate, ACCOUNTS),
                                .after = JOB_NONE};
    int64_t next_ms =
        world_now_ms(world) + dice_exponential_ms(&world->fate, 1000 / posts->per_second);

    (void)data;
    world_order(world, &order);
    if (next_ms < world_at_ms(posts->to_ms))
        events_at(world->events, next_ms, on_job, arg, 0);
}

void posts_stream(struct world *world, int64_t from_ms, int64_t to_ms, double per_second,
                  struct hosts_of hosts)
{
    plan(world, from_ms, on_job,
         &(struct posts){.hosts = hosts, .to_ms = to_ms, .per_second = per_second});
}

/* `follow`: JOB_NONE, or the job that this one undoes. */
static void on_follow(void *arg, uint64_t follow)
{
    const struct posts *posts = arg;
    struct world *world = posts->world;
    bool undoes = follow != JOB_NONE;
    const struct order order = {.host = posts->hosts.first,
                                .account = undoes ? world->jobs.list[follow].account
                                                  : FIRST_POSTER + world->posters++,
                                .after = (uint32_t)follow};
    uint32_t job = world_order(world, &order);

    if (!undoes)
        events_at(world->events, world_now_ms(world) + posts->later_ms, on_follow, arg, job);
}

static void on_first_follow(void *arg, uint64_t data)
{
    (void)data;
    on_follow(arg, JOB_NONE);
}

void posts_follow(struct world *world, int64_t at_ms, int64_t later_ms, uint32_t host)
{
    plan(world, at_ms, on_first_follow, &(struct posts){.hosts = {host, 1}, .later_ms = later_ms});
}

static void on_poll(void *arg, uint64_t data)
{
    const struct posts *posts = arg;
    struct world *world = posts->world;
    int64_t sleep_ms =
        posts->every_ms / 2 + (int64_t)dice_below(&world->chance, (uint64_t)posts->every_ms);

    (void)data;
    for (int schedule = 0; schedule < 2; schedule++) {
        while (store_enqueue_due(&world->store, schedule == 1, world_unix_ms(world)))
            world_wake(world);
    }
    if (world_now_ms(world) < world_at_ms(world->duration_ms))
        events_at(world->events, world_now_ms(world) + sleep_ms, on_poll, arg, 0);
}

void posts_ruby_poller(struct world *world, int64_t every_ms)
{
    if (world->incumbent == NULL)
        plan(world, every_ms, on_poll, &(struct posts){.every_ms = every_ms});
}
