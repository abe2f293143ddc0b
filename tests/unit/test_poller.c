/* How long the poller sleeps, as Sidekiq's own would by its version; and what it then moves. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>
#include <sodium.h>

#include "sched/poller.h"
#include "store.h"

/* A number below a bound comes out of rng_below as it is, the bound itself as 0. */
static uint64_t given(void *arg)
{
    return *(uint64_t *)arg;
}

static void the_interval_grows_with_the_processes(void **state)
{
    static const struct {
        const char *version;
        unsigned processes;
        int64_t least_ms, below_ms;
    } cases[] = {
        {"6.5.12", 0, 2500, 7500},  {"8.1.6", 1, 2500, 7500}, {"7.3.9", 9, 22500, 67500},
        {"8.1.6", 9, 22500, 67500}, {"6.5.12", 10, 0, 50000}, {"7.3.9", 10, 0, 50000},
        {"8.0.9", 10, 0, 50000},    {"8.1.6", 10, 0, 100000}, {"8.1.6", 20, 0, 200000},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct incumbent_version version;
        uint64_t draw = (uint64_t)(cases[i].below_ms - cases[i].least_ms);
        const struct rng rng = {given, &draw};

        assert_true(incumbent_version_parse(&version, str_of(cases[i].version)));
        assert_int_equal(poller_cadence_ms(&version, cases[i].processes, &rng), cases[i].least_ms);
        draw--;
        assert_int_equal(poller_cadence_ms(&version, cases[i].processes, &rng),
                         cases[i].below_ms - 1);
    }
}

/* --- against a Redis --- */

struct fixture {
    struct store store;
    struct clock clock;
    struct rng rng;
    uint64_t draw;
    int64_t now_ms;
    struct redis *redis;
    struct membership *membership;
    struct holdings holdings;
    struct intake *intake; /* never started: due deliveries are not what is looked at here */
    struct incumbent_version sidekiq;
    struct poller *poller;
    bool joined;
    bool quiet;
};

static int64_t mono_ms(void *arg)
{
    const struct fixture *f = arg;
    return f->now_ms;
}

static int64_t wall_us(void *arg)
{
    (void)arg;
    return INT64_C(1800000000000000);
}

static void on_joined(void *arg)
{
    ((struct fixture *)arg)->joined = true;
}

static void on_fenced(void *arg)
{
    (void)arg;
    fail();
}

static void on_ready(void *arg)
{
    struct fixture *f = arg;
    script_load(f->redis);
    membership_redis_ready(f->membership);
}

static void on_lost(void *arg, const char *reason)
{
    (void)arg;
    (void)reason;
}

static struct room no_room(void *arg)
{
    (void)arg;
    return (struct room){0, 0};
}

static int start(void **state)
{
    static const struct redis_handlers handlers = {on_ready, on_lost};
    struct fixture *f = mem_alloc(sizeof(*f));

    signal(SIGPIPE, SIG_IGN);
    if (sodium_init() < 0)
        return 1;
    store_start(&f->store);
    f->clock = (struct clock){.mono_ms = mono_ms, .wall_us = wall_us, .arg = f};
    f->rng = (struct rng){given, &f->draw};
    holdings_init(&f->holdings);
    f->redis = redis_create(f->store.base, f->store.dns, &f->store.endpoint, "test", &handlers, f);
    f->membership = membership_create(f->store.base, &f->clock, f->redis, &f->store.keys,
                                      &(struct membership_handlers){on_joined, on_fenced, f});
    f->intake = intake_create(&(struct intake_options){.base = f->store.base,
                                                       .clock = &f->clock,
                                                       .redis = f->redis,
                                                       .keys = &f->store.keys,
                                                       .membership = f->membership,
                                                       .holdings = &f->holdings});
    assert_true(incumbent_version_parse(&f->sidekiq, STR("8.1.6")));
    f->poller = poller_create(&(struct poller_options){.clock = &f->clock,
                                                       .rng = &f->rng,
                                                       .redis = f->redis,
                                                       .keys = &f->store.keys,
                                                       .membership = f->membership,
                                                       .intake = f->intake,
                                                       .sidekiq = &f->sidekiq,
                                                       .room = no_room});
    membership_adopt(f->membership, STR("me"));
    server_wait(f->store.base, &f->joined);
    *state = f;
    return 0;
}

static int end(void **state)
{
    struct fixture *f = *state;

    redis_destroy(f->redis);
    poller_destroy(f->poller);
    intake_destroy(f->intake);
    membership_destroy(f->membership);
    holdings_clear(&f->holdings);
    store_stop(&f->store);
    free(f);
    return 0;
}

static void on_quiet(void *arg, enum redis_status status, const redisReply *reply)
{
    (void)status;
    (void)reply;
    ((struct fixture *)arg)->quiet = true;
}

/* One round, until nothing that was asked, or is asked because of an answer, is unanswered. */
static void poll_once(struct fixture *f)
{
    const struct str ping[] = {STR("PING")};

    f->now_ms += 60000;
    poller_tick(f->poller, 1);
    do {
        f->quiet = false;
        redis_send(f->redis, on_quiet, f, 1, ping);
        server_wait(f->store.base, &f->quiet);
    } while (redis_outstanding(f->redis) > 0);
}

/* Due entries of Ruby's alone, one a second from `first_s` on, or ones that go to a queue. */
static void add(struct fixture *f, const char *zset, bool locked, int first_s, int count)
{
    static const char script[] =
        "for i = ARGV[1] + 0, ARGV[1] + ARGV[2] - 1 do redis.call('ZADD', KEYS[1], i, "
        "'{\"class\":\"X\",\"args\":[],\"queue\":\"default\",' .. ARGV[3] .. '\"jid\":\"' .. i .. "
        "'\"}') end";

    store_expect(&f->store, NULL, "EVAL %s 1 %s %d %d %s", script, zset, first_s, count,
                 locked ? "\"lock_digest\":\"d\"," : "");
}

static void what_is_left_to_ruby_hides_nothing(void **state)
{
    struct fixture *f = *state;

    add(f, "retry", true, 1, 60);
    add(f, "retry", false, 100, 120);
    add(f, "schedule", true, 300, 50); /* a full page, and nothing behind it */
    add(f, "schedule", false, 400, 1);
    poll_once(f);
    store_expect(&f->store, "121", "LLEN queue:default");
    store_expect(&f->store, "60", "ZCARD retry");
    store_expect(&f->store, "50", "ZCARD schedule");
}

static void a_round_is_bounded_and_the_next_goes_on(void **state)
{
    struct fixture *f = *state;

    add(f, "retry", true, 1, 1030);
    add(f, "retry", false, 2000, 1);
    poll_once(f);
    store_expect(&f->store, "0", "LLEN queue:default");
    poll_once(f);
    store_expect(&f->store, "1", "LLEN queue:default");
    add(f, "retry", false, 0, 1); /* in front of all: the set's end was reached, so from there */
    poll_once(f);
    store_expect(&f->store, "2", "LLEN queue:default");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_interval_grows_with_the_processes),
        cmocka_unit_test_setup_teardown(what_is_left_to_ruby_hides_nothing, start, end),
        cmocka_unit_test_setup_teardown(a_round_is_bounded_and_the_next_goes_on, start, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
