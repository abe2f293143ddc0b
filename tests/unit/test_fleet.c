/* What the machines of a fleet hear of each other through a real Redis; the monotonic clock is the
 * test's. */
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "sched/fleet.h"
#include "sched/share.h"
#include "store.h"

enum { STEPS = 3000, STEP_MS = 10, PULSES = 5, START_MS = 1000000, WALL_S = 1700000000 };
enum { MACHINES = 4, OTHER_DATABASE = 2, OTHER_NAMESPACE = 3 };

#define A STR("a.example")
#define B STR("b.example:8443")

struct machine {
    struct fixture *f;
    struct redis_endpoint endpoint;
    struct keys keys;
    struct redis *redis;
    struct membership *membership;
    struct fleet *fleet;
    bool ready;
    unsigned losses; /* of the connection, which comes back by itself */
    bool joined;
    struct buf heard; /* "open HOST OPENED PROBE BACKOFF;" "closed HOST;" "held HOST;" */
    int64_t held_until_ms;
    unsigned heard_count;
    bool shared;
    bool answered; /* a probe or a release */
    bool won;
};

struct fixture {
    struct store store;
    struct clock clock;
    struct rng rng;
    int64_t now_ms;
    struct machine machines[MACHINES];
};

static int64_t mono_ms(void *arg)
{
    return *(int64_t *)arg;
}

static int64_t wall_us(void *arg)
{
    (void)arg;
    return (int64_t)WALL_S * 1000000;
}

static void on_opened(void *arg, struct str host, int64_t opened_ms, int64_t probe_ms,
                      uint32_t backoff_ms)
{
    struct machine *m = arg;

    buf_printf(&m->heard, "open %.*s %" PRId64 " %" PRId64 " %" PRIu32 ";", STR_ARG(host),
               opened_ms, probe_ms, backoff_ms);
    m->heard_count++;
}

static void on_closed(void *arg, struct str host)
{
    struct machine *m = arg;

    buf_printf(&m->heard, "closed %.*s;", STR_ARG(host));
    m->heard_count++;
}

static void on_held(void *arg, struct str host, int64_t until_ms)
{
    struct machine *m = arg;

    buf_printf(&m->heard, "held %.*s;", STR_ARG(host));
    m->held_until_ms = until_ms;
    m->heard_count++;
}

static void on_shared(void *arg)
{
    struct machine *m = arg;
    m->shared = true;
}

static void on_ready(void *arg)
{
    struct machine *m = arg;

    script_load(m->redis);
    membership_redis_ready(m->membership);
    fleet_redis_ready(m->fleet);
    m->ready = true;
}

static void on_lost(void *arg, const char *reason)
{
    struct machine *m = arg;

    (void)reason;
    membership_redis_lost(m->membership);
    m->ready = false;
    m->losses++;
}

static void on_joined(void *arg)
{
    struct machine *m = arg;
    m->joined = true;
}

static void on_fenced(void *arg)
{
    (void)arg;
    fail_msg("fenced");
}

/* A machine that has not joined. */
static struct machine *connect_machine(struct fixture *f, unsigned index)
{
    static const struct redis_handlers handlers = {on_ready, on_lost};
    struct machine *m = &f->machines[index];
    const struct membership_handlers member = {on_joined, on_fenced, m};

    *m = (struct machine){.f = f};
    m->endpoint = f->store.endpoint;
    m->endpoint.db = index == OTHER_DATABASE ? 1 : 0;
    keys_init(&m->keys, index == OTHER_NAMESPACE ? STR("other") : STR_NULL);
    buf_init(&m->heard, 16 * 1024 * 1024);
    m->redis = redis_create(f->store.base, f->store.dns, &m->endpoint, "test", &handlers, m);
    m->membership = membership_create(f->store.base, &f->clock, m->redis, &m->keys, &member);
    m->fleet = fleet_create(&(struct fleet_options){.clock = &f->clock,
                                                    .rng = &f->rng,
                                                    .redis = m->redis,
                                                    .keys = &m->keys,
                                                    .membership = m->membership,
                                                    .opened = on_opened,
                                                    .closed = on_closed,
                                                    .held = on_held,
                                                    .shared = on_shared,
                                                    .arg = m});
    server_wait(f->store.base, &m->ready);
    return m;
}

static struct machine *join_machine(struct fixture *f, unsigned index)
{
    struct machine *m = connect_machine(f, index);
    char identity[] = "machine0";

    identity[7] = (char)('0' + index);
    membership_adopt(m->membership, str_of(identity));
    server_wait(f->store.base, &m->joined);
    return m;
}

static void disconnect_machine(struct machine *m)
{
    if (m->redis == NULL)
        return;
    while (redis_outstanding(m->redis) > 0) /* what a callback would have freed */
        event_base_loop(m->f->store.base, EVLOOP_ONCE);
    redis_destroy(m->redis);
    fleet_destroy(m->fleet);
    membership_destroy(m->membership);
    buf_clear(&m->heard);
    keys_clear(&m->keys);
    m->redis = NULL;
}

static int start(void **state)
{
    struct fixture *f = mem_alloc(sizeof(*f));

    store_start(&f->store);
    f->now_ms = START_MS;
    f->clock = (struct clock){mono_ms, wall_us, &f->now_ms};
    f->rng = rng_system();
    for (unsigned i = 0; i < 2; i++)
        join_machine(f, i);
    *state = f;
    return 0;
}

static int end(void **state)
{
    struct fixture *f = *state;

    for (unsigned i = 0; i < MACHINES; i++)
        disconnect_machine(&f->machines[i]);
    store_stop(&f->store);
    free(f);
    return 0;
}

static void step(struct fixture *f)
{
    for (unsigned i = 0; i < MACHINES; i++) {
        if (f->machines[i].redis != NULL)
            fleet_tick(f->machines[i].fleet);
    }
    server_run(f->store.base, STEP_MS);
}

static bool is_quiet(const struct fixture *f)
{
    for (unsigned i = 0; i < MACHINES; i++) {
        if (f->machines[i].redis != NULL && redis_outstanding(f->machines[i].redis) > 0)
            return false;
    }
    return true;
}

/* Several pulses of each machine, all of them answered. */
static void settle(struct fixture *f)
{
    for (int i = 0; i < PULSES; i++) {
        step(f);
        while (!is_quiet(f))
            event_base_loop(f->store.base, EVLOOP_ONCE);
    }
}

/* All machines live on until this one has heard so many; fails when it never does. */
static void wait_heard(struct fixture *f, unsigned machine, unsigned count)
{
    struct machine *m = &f->machines[machine];

    for (int i = 0; i < STEPS && m->heard_count < count; i++)
        step(f);
    if (m->heard_count < count)
        fail_msg("machine %u heard of %u changes instead of %u", machine, m->heard_count, count);
}

static void expect_heard(struct fixture *f, unsigned machine, const char *text)
{
    struct machine *m = &f->machines[machine];

    assert_string_equal(buf_cstr(&m->heard), text);
    buf_reset(&m->heard);
    m->heard_count = 0;
}

/* Redis' time in milliseconds. */
static int64_t redis_ms(const struct fixture *f)
{
    redisReply *reply = redisCommand(f->store.direct, "TIME");
    int64_t ms;

    assert_int_equal(reply->type, REDIS_REPLY_ARRAY);
    ms = strtoll(reply->element[0]->str, NULL, 10) * 1000 +
         strtoll(reply->element[1]->str, NULL, 10) / 1000;
    freeReplyObject(reply);
    return ms;
}

static void on_probe(void *arg, struct str host, bool won)
{
    struct machine *m = arg;

    assert_true(host.len > 0);
    m->won = won;
    m->answered = true;
}

static bool ask_probe_with(struct fixture *f, unsigned machine, struct str host, uint64_t pair,
                           int64_t created_us)
{
    struct machine *m = &f->machines[machine];
    const struct fleet_prober prober = {pair, created_us};

    m->answered = false;
    fleet_ask_probe(m->fleet, host, &prober, on_probe, m);
    assert_false(m->answered);
    server_wait(f->store.base, &m->answered);
    return m->won;
}

static bool ask_probe(struct fixture *f, unsigned machine, struct str host)
{
    return ask_probe_with(f, machine, host, 0, 0);
}

/* --- the log --- */

static void another_machine_hears_of_it_once(void **state)
{
    struct fixture *f = *state;

    fleet_tell_open(f->machines[0].fleet, A, 1000, 31000, 30000);
    wait_heard(f, 1, 1);
    settle(f);
    expect_heard(f, 1, "open a.example 1000 31000 30000;");
    expect_heard(f, 0, "");
    fleet_tell_closed(f->machines[1].fleet, A); /* and back */
    wait_heard(f, 0, 1);
    settle(f);
    expect_heard(f, 0, "closed a.example;");
    expect_heard(f, 1, "");
    store_expect(&f->store, "closed", "HGET fedpush:circuit a.example");
    store_expect(&f->store, "1", "ZCARD fedpush:circuits");
}

/* It goes its own way beside the host's circuit, and the later end counts. */
static void a_host_asks_all_machines_for_time(void **state)
{
    struct fixture *f = *state;
    int64_t until_ms = redis_ms(f) + 600000;

    fleet_tell_held(f->machines[0].fleet, A, until_ms);
    wait_heard(f, 1, 1);
    settle(f);
    expect_heard(f, 1, "held a.example;");
    expect_heard(f, 0, "");
    assert_int_equal(f->machines[1].held_until_ms, until_ms);
    fleet_tell_held(f->machines[1].fleet, A, until_ms - 1000);
    fleet_tell_open(f->machines[1].fleet, A, 1000, 31000, 30000);
    wait_heard(f, 0, 1);
    settle(f);
    expect_heard(f, 0, "open a.example 1000 31000 30000;");
    fleet_tell_held(f->machines[1].fleet, A, until_ms + 1000);
    wait_heard(f, 0, 1);
    expect_heard(f, 0, "held a.example;");
    assert_int_equal(f->machines[0].held_until_ms, until_ms + 1000);
    store_expect(&f->store, "open 1000 31000 30000", "HGET fedpush:circuit a.example");
}

static void what_is_over_is_not_heard_and_all_else_is_bounded(void **state)
{
    struct fixture *f = *state;
    int64_t now_ms = redis_ms(f);

    fleet_tell_held(f->machines[0].fleet, A, now_ms - 1000);
    fleet_tell_held(f->machines[0].fleet, B, now_ms + INT64_C(86400000));
    wait_heard(f, 1, 1);
    settle(f);
    expect_heard(f, 1, "held b.example:8443;");
    assert_in_range(f->machines[1].held_until_ms, now_ms, now_ms + 6 * 3600 * 1000 + 60000);
}

static void a_new_connection_reads_all_again(void **state)
{
    struct fixture *f = *state;

    fleet_tell_open(f->machines[0].fleet, A, 1000, 31000, 30000);
    fleet_tell_open(f->machines[0].fleet, B, 2000, 32000, 30000);
    wait_heard(f, 1, 2);
    disconnect_machine(&f->machines[1]);
    connect_machine(f, 1);
    wait_heard(f, 1, 2);
    expect_heard(f, 1, "open a.example 1000 31000 30000;open b.example:8443 2000 32000 30000;");
}

static void a_lost_answer_loses_nothing(void **state)
{
    struct fixture *f = *state;
    struct machine *m = &f->machines[0];

    settle(f);
    fleet_tell_open(m->fleet, A, 1000, 31000, 30000);
    unsigned losses = m->losses;
    store_lose_answer(&f->store);
    fleet_tick(m->fleet);
    for (int i = 0; i < STEPS && m->losses == losses; i++)
        server_run(f->store.base, STEP_MS);
    assert_int_equal(m->losses, losses + 1);
    store_expect(&f->store, "open 1000 31000 30000", "HGET fedpush:circuit a.example");
    fleet_tell_open(m->fleet, B, 2000, 32000, 30000);
    wait_heard(f, 1, 2);
    settle(f);
    expect_heard(f, 1, "open a.example 1000 31000 30000;open b.example:8443 2000 32000 30000;");
    expect_heard(f, 0, "");
}

static void who_opens_it_first_decides_when_it_is_probed(void **state)
{
    struct fixture *f = *state;

    fleet_tell_open(f->machines[0].fleet, A, 1000, 31000, 30000);
    fleet_tell_open(f->machines[1].fleet, A, 1500, 33000, 30000);
    fleet_tick(f->machines[0].fleet);
    for (int i = 0; i < STEPS && redis_outstanding(f->machines[0].redis) > 0; i++)
        server_run(f->store.base, STEP_MS);
    settle(f);
    expect_heard(f, 0, "");
    assert_non_null(strstr(buf_cstr(&f->machines[1].heard), "open a.example 1000 31000 30000;"));
    store_expect(&f->store, "open 1000 31000 30000", "HGET fedpush:circuit a.example");
}

static void only_members_tell(void **state)
{
    struct fixture *f = *state;
    struct machine *m = &f->machines[0];

    disconnect_machine(m);
    connect_machine(f, 0);
    fleet_tell_open(m->fleet, A, 1000, 31000, 30000);
    settle(f);
    store_expect(&f->store, "0", "EXISTS fedpush:circuit");
    membership_adopt(m->membership, STR("new"));
    wait_heard(f, 1, 1);
}

static void many_are_told_and_read_in_pages(void **state)
{
    enum { HOSTS = 2500 };
    struct fixture *f = *state;
    char host[64];

    disconnect_machine(&f->machines[1]);
    for (int i = 0; i < HOSTS; i++) {
        snprintf(host, sizeof(host), "%d.example", i);
        fleet_tell_open(f->machines[0].fleet, str_of(host), i, i, 30000);
    }
    for (int i = 0; i < STEPS && f->machines[0].heard_count == 0; i++) {
        step(f);
        redisReply *reply = redisCommand(f->store.direct, "HLEN fedpush:circuit");
        bool all = reply->integer == HOSTS;
        freeReplyObject(reply);
        if (all)
            break;
    }
    connect_machine(f, 1);
    wait_heard(f, 1, HOSTS);
    settle(f);
    assert_int_equal(f->machines[1].heard_count, HOSTS);
    expect_heard(f, 0, "");
    /* What has an own place in the log is never passed over, nor read twice. */
    fleet_tell_closed(f->machines[0].fleet, str_of(host));
    wait_heard(f, 1, HOSTS + 1);
    settle(f);
    assert_int_equal(f->machines[1].heard_count, HOSTS + 1);
}

/* The other machine tells faster than a page is read: ours isn't reported back with the next one.
 */
static void own_changes_behind_a_full_page_are_known(void **state)
{
    struct fixture *f = *state;

    settle(f);
    store_expect(&f->store, NULL, "EVAL %s 0",
                 "for i = 1, 1000 do redis.call('ZADD', 'fedpush:circuits', i, i .. '.example') "
                 "redis.call('HSET', 'fedpush:circuit', i .. '.example', 'open 1 2 3') end");
    disconnect_machine(&f->machines[0]);
    struct machine *m = join_machine(f, 0);
    buf_reset(&m->heard);
    fleet_redis_ready(m->fleet);
    fleet_tell_open(m->fleet, A, 1000, 31000, 30000);
    settle(f);
    assert_null(strstr(buf_cstr(&m->heard), "a.example"));
    store_expect(&f->store, "open 1000 31000 30000", "HGET fedpush:circuit a.example");
}

static void clocks_that_go_back_hide_nothing(void **state)
{
    struct fixture *f = *state;
    int64_t ahead_us = (redis_ms(f) + 3600 * 1000) * 1000;

    store_expect(&f->store, NULL, "ZADD fedpush:circuits %lld b.example:8443", (long long)ahead_us);
    store_expect(&f->store, NULL, "HSET fedpush:circuit b.example:8443 %s", "open 1 2 30000");
    wait_heard(f, 0, 1);
    wait_heard(f, 1, 1);
    fleet_tell_open(f->machines[0].fleet, A, 1000, 31000, 30000);
    wait_heard(f, 1, 2);
    store_expect(&f->store, "b.example:8443|a.example", "ZRANGE fedpush:circuits 0 -1");
    /* Another log: what was read of the old one is of no account. */
    store_expect(&f->store, "2", "DEL fedpush:circuits fedpush:circuit");
    fleet_tell_open(f->machines[0].fleet, B, 5, 6, 30000);
    wait_heard(f, 1, 3);
    assert_non_null(strstr(buf_cstr(&f->machines[1].heard), "open b.example:8443 5 6 30000;"));
}

static void put_change(struct fixture *f, int64_t age_s, const char *host, const char *value)
{
    store_expect(&f->store, NULL, "ZADD fedpush:circuits %lld %s",
                 (long long)((redis_ms(f) - age_s * 1000) * 1000), host);
    if (value[0] != '\0')
        store_expect(&f->store, NULL, "HSET fedpush:circuit %s %s", host, value);
}

static void what_is_old_is_forgotten(void **state)
{
    enum { HOUR = 3600, WEEK = 7 * 86400 };
    struct fixture *f = *state;
    char host[64];

    for (int i = 0; i < 250; i++) { /* more than one look */
        snprintf(host, sizeof(host), "%d.example", i);
        put_change(f, WEEK - HOUR - i, host, i % 2 == 0 ? "closed" : "open 1 2 3");
    }
    put_change(f, HOUR + 60, "closed.example", "closed");
    put_change(f, HOUR - 60, "young.example", "closed");
    put_change(f, HOUR + 60, "open.example", "open 1 2 3");
    put_change(f, WEEK + 60, "week.example", "open 1 2 3");
    put_change(f, HOUR + 60, "novalue.example", "");
    settle(f);
    store_expect(&f->store, "127", "ZCARD fedpush:circuits"); /* 125, young, open */
    store_expect(&f->store, "127", "HLEN fedpush:circuit");
    store_expect(&f->store, "closed|open 1 2 3|nil|nil",
                 "HMGET fedpush:circuit young.example open.example closed.example week.example");
}

/* A host that asks for hours is left alone for hours, also by a machine that starts meanwhile. */
static void a_hold_is_known_until_it_ends(void **state)
{
    enum { HOUR = 3600 };
    struct fixture *f = *state;
    int64_t until_ms = redis_ms(f) + 3 * HOUR * 1000;
    char held[64];

    snprintf(held, sizeof(held), "held %" PRId64, until_ms);
    put_change(f, HOUR + 60, "~a.example", held);
    put_change(f, 8 * 86400, "~week.example", held);
    put_change(f, HOUR + 60, "~over.example", "held 1700000000000");
    put_change(f, HOUR + 60, "~broken.example", "held for long");
    settle(f);
    store_expect(&f->store, "~a.example", "ZRANGE fedpush:circuits 0 -1");
    store_expect(&f->store, "~a.example", "HKEYS fedpush:circuit");
    disconnect_machine(&f->machines[1]);
    connect_machine(f, 1);
    wait_heard(f, 1, 1);
    expect_heard(f, 1, "held a.example;");
    assert_int_equal(f->machines[1].held_until_ms, until_ms);
}

static void the_log_is_bounded(void **state)
{
    struct fixture *f = *state;

    store_expect(&f->store, NULL, "EVAL %s 0",
                 "local now = redis.call('TIME')[1] * 1e6 for i = 1, 65536 + 150 do "
                 "redis.call('ZADD', 'fedpush:circuits', string.format('%.0f', now + i), i) "
                 "redis.call('HSET', 'fedpush:circuit', i, 'open 1 2 3') end");
    settle(f);
    store_expect(&f->store, "65536", "ZCARD fedpush:circuits");
    store_expect(&f->store, "65536", "HLEN fedpush:circuit");
    store_expect(&f->store, "0|1", "EVAL %s 0",
                 "return {redis.call('HEXISTS', 'fedpush:circuit', 150),"
                 " redis.call('HEXISTS', 'fedpush:circuit', 151)}");
}

static void reservations_of_the_past_are_forgotten(void **state)
{
    struct fixture *f = *state;
    int64_t now_ms = redis_ms(f);

    for (int i = 0; i < 1000; i++)
        store_expect(&f->store, NULL, "HSET fedpush:reserved %d.example %lld", i,
                     (long long)(now_ms + (i == 7 ? 3600000 : -1000)));
    for (int i = 0; i < STEPS; i++) {
        redisReply *reply = redisCommand(f->store.direct, "HLEN fedpush:reserved");
        bool done = reply->integer == 1;
        freeReplyObject(reply);
        if (done)
            break;
        step(f);
    }
    store_expect(&f->store, "7.example", "HKEYS fedpush:reserved");
}

static void what_others_wrote_there_is_passed_over(void **state)
{
    struct fixture *f = *state;
    char far[80];

    put_change(f, 10, "1.example", "nonsense");
    put_change(f, 10, "2.example", "open");
    put_change(f, 10, "3.example", "open 1 2");
    put_change(f, 10, "4.example", "open -1 2 3");
    put_change(f, 10, "5.example", "open 1 2 99999999999");
    put_change(f, 10, "6.example", "open 1 2 3 4");
    put_change(f, 9, "7.example", "open 1 9223372036854775807 3"); /* would never be probed */
    put_change(f, 8, "8.example", "closed");
    int64_t before_ms = redis_ms(f);
    wait_heard(f, 1, 2);
    int64_t after_ms = redis_ms(f);
    int64_t probe_ms;
    assert_int_equal(sscanf(buf_cstr(&f->machines[1].heard), "open 7.example 1 %" SCNd64 " 3;%79s",
                            &probe_ms, far),
                     2);
    assert_true(probe_ms >= before_ms + 86400 * 1000 && probe_ms <= after_ms + 86400 * 1000);
}

/* --- who probes --- */

static void no_probe_overtakes_its_pair(void **state)
{
    struct fixture *f = *state;
    char chain[64];

    snprintf(chain, sizeof(chain), "2000000 %" PRId64, (redis_ms(f) + 60000) * 1000);
    store_expect(&f->store, "1", "HSET fedpush:pairs 00000000000000a1 %s", chain);
    assert_false(ask_probe_with(f, 0, A, 0xa1, 2000001));
    assert_true(ask_probe_with(f, 0, A, 0xa1, 2000000)); /* itself, or older */
    store_expect(&f->store, "1", "DEL fedpush:probe:a.example");
    assert_true(ask_probe_with(f, 0, A, 0xa2, 2000001));
    store_expect(&f->store, "1", "DEL fedpush:probe:a.example");
    assert_true(ask_probe_with(f, 0, A, 0, 2000001));
}

static void one_machine_probes(void **state)
{
    struct fixture *f = *state;
    char later[80];

    fleet_tell_open(f->machines[0].fleet, A, 1000, 2000, 30000); /* due long ago */
    wait_heard(f, 1, 1);
    assert_true(ask_probe(f, 1, A));
    assert_false(ask_probe(f, 0, A));
    assert_false(ask_probe(f, 1, A));
    store_expect(&f->store, "1", "EXISTS fedpush:probe:a.example");
    store_expect(&f->store, "1", "EVAL %s 0",
                 "local ms = redis.call('PTTL', 'fedpush:probe:a.example') return ms > 60000 and "
                 "ms <= 120000 and 1 or ms");
    expect_heard(f, 1, "open a.example 1000 2000 30000;");
    /* Its result counts, and none other may follow before the next time. */
    int64_t next_ms = redis_ms(f) + 60000;
    fleet_tell_open(f->machines[1].fleet, A, 1000, next_ms, 60000);
    wait_heard(f, 0, 1);
    snprintf(later, sizeof(later), "open a.example 1000 %" PRId64 " 60000;", next_ms);
    expect_heard(f, 0, later);
    store_expect(&f->store, "0", "EXISTS fedpush:probe:a.example");
    assert_false(ask_probe(f, 0, A));
    /* Now of another one: it answers. */
    store_expect(&f->store, NULL, "HSET fedpush:circuit a.example %s", "open 1000 2000 60000");
    assert_true(ask_probe(f, 0, A));
    fleet_tell_closed(f->machines[0].fleet, A);
    wait_heard(f, 1, 1);
    expect_heard(f, 1, "closed a.example;");
    store_expect(&f->store, "0", "EXISTS fedpush:probe:a.example");
    assert_false(ask_probe(f, 1, A)); /* nothing is left to probe */
}

static void the_result_of_an_expired_token_is_ignored(void **state)
{
    struct fixture *f = *state;

    fleet_tell_open(f->machines[0].fleet, A, 1000, 2000, 30000);
    wait_heard(f, 1, 1);
    expect_heard(f, 1, "open a.example 1000 2000 30000;");
    assert_true(ask_probe(f, 0, A));
    store_expect(&f->store, "1", "DEL fedpush:probe:a.example"); /* its time is over */
    assert_true(ask_probe(f, 1, A));
    fleet_tell_closed(f->machines[0].fleet, A);
    wait_heard(f, 0, 1);
    settle(f);
    expect_heard(f, 0, "open a.example 1000 2000 30000;"); /* what counts instead */
    expect_heard(f, 1, "");
    store_expect(&f->store, "1", "EXISTS fedpush:probe:a.example"); /* the other's */
    fleet_tell_closed(f->machines[1].fleet, A);
    wait_heard(f, 0, 1);
    expect_heard(f, 0, "closed a.example;");
}

static void a_lost_result_is_told_again(void **state)
{
    struct fixture *f = *state;
    struct machine *m = &f->machines[0];

    fleet_tell_open(m->fleet, A, 1000, 2000, 30000);
    wait_heard(f, 1, 1);
    assert_true(ask_probe(f, 0, A));
    settle(f);
    fleet_tell_closed(m->fleet, A);
    unsigned losses = m->losses;
    store_lose_answer(&f->store);
    fleet_tick(m->fleet);
    for (int i = 0; i < STEPS && m->losses == losses; i++)
        server_run(f->store.base, STEP_MS);
    assert_int_equal(m->losses, losses + 1);
    wait_heard(f, 1, 2);
    settle(f);
    store_expect(&f->store, "closed", "HGET fedpush:circuit a.example");
    expect_heard(f, 0, ""); /* that it was told in vain the second time says nothing new */
}

static void a_probe_that_is_not_made_gives_its_token_back(void **state)
{
    struct fixture *f = *state;

    fleet_tell_open(f->machines[0].fleet, A, 1000, 2000, 30000);
    wait_heard(f, 1, 1);
    assert_true(ask_probe(f, 0, A));
    fleet_tell_unprobed(f->machines[0].fleet, A);
    for (int i = 0; i < STEPS && !ask_probe(f, 1, A); i++)
        step(f);
    assert_true(f->machines[1].won);
    fleet_tell_unprobed(f->machines[0].fleet, A); /* nothing to give */
    settle(f);
    store_expect(&f->store, "1", "EXISTS fedpush:probe:a.example");
    store_expect(&f->store, "open 1000 2000 30000", "HGET fedpush:circuit a.example");
    expect_heard(f, 0, "");
}

/* What comes after the others' word is no result of a probe any more. */
static void a_closed_circuit_ends_the_probe(void **state)
{
    struct fixture *f = *state;

    fleet_tell_open(f->machines[0].fleet, A, 1000, 2000, 30000);
    wait_heard(f, 1, 1);
    settle(f);
    assert_true(ask_probe(f, 0, A));
    fleet_tell_closed(f->machines[1].fleet, A); /* an attempt from before succeeded */
    wait_heard(f, 0, 1);
    store_expect(&f->store, "1", "DEL fedpush:probe:a.example");
    fleet_tell_open(f->machines[0].fleet, A, 5000, 6000, 30000);
    wait_heard(f, 1, 2);
    store_expect(&f->store, "open 5000 6000 30000", "HGET fedpush:circuit a.example");
}

static void without_redis_nobody_probes(void **state)
{
    struct fixture *f = *state;

    redis_reconnect(f->machines[0].redis, "test");
    assert_false(ask_probe(f, 0, A));
    store_expect(&f->store, "0", "EXISTS fedpush:probe:a.example");
    server_wait(f->store.base, &f->machines[0].ready);
    assert_true(ask_probe(f, 0, A)); /* a circuit that Redis doesn't know of */
}

/* --- machines and time --- */

static void wait_machines(struct fixture *f, unsigned count)
{
    for (int i = 0; i < STEPS && fleet_machines(f->machines[0].fleet) != count; i++)
        step(f);
    assert_int_equal(fleet_machines(f->machines[0].fleet), count);
}

static void live_machines_are_counted(void **state)
{
    struct fixture *f = *state;
    double now_s = (double)redis_ms(f) / 1000;

    wait_machines(f, 2);
    store_expect(&f->store, NULL, "ZADD fedpush:identities %f dead -1 condemned %f alive",
                 now_s - 61, now_s - 20);
    wait_machines(f, 3);
    store_expect(&f->store, "1", "DEL fedpush:identities");
    wait_machines(f, 1);
}

static void say(struct fixture *f, unsigned machine, bool suspicious, double rate, double wanted)
{
    const struct fleet_word word = {suspicious, rate, wanted, STR_NULL};
    fleet_say(f->machines[machine].fleet, &word);
}

static double rate_of(const struct fixture *f, unsigned machine)
{
    return fleet_rate(f->machines[machine].fleet);
}

static bool is_about(double a, double b)
{
    return a > b - 0.01 && a < b + 0.01;
}

/* Until both hold so many; never do they hold more than there is. */
static void wait_rates(struct fixture *f, double first, double second)
{
    for (int i = 0;
         i < STEPS && (!is_about(rate_of(f, 0), first) || !is_about(rate_of(f, 1), second)); i++) {
        step(f);
        assert_true(rate_of(f, 0) + rate_of(f, 1) < 1000.1);
    }
    if (!is_about(rate_of(f, 0), first) || !is_about(rate_of(f, 1), second))
        fail_msg("%f and %f instead of %f and %f", rate_of(f, 0), rate_of(f, 1), first, second);
}

static void the_rate_goes_where_the_work_is(void **state)
{
    struct fixture *f = *state;

    settle(f);
    assert_true(is_about(rate_of(f, 0), 0)); /* there is no limit */
    say(f, 0, false, 1000, share_all);
    say(f, 1, false, 1000, share_all);
    wait_rates(f, 500, 500);
    say(f, 0, false, 1000, 0);
    wait_rates(f, 31.25, 968.75);
    say(f, 0, false, 1000, 200);
    wait_rates(f, 200, 800);
    say(f, 0, false, 1000, share_all);
    wait_rates(f, 500, 500);
    say(f, 1, false, 1000, 100);
    wait_rates(f, 900, 100);
}

/* What was given isn't for ever: without Redis each holds an even share at most. */
static void without_redis_shares_are_even(void **state)
{
    struct fixture *f = *state;

    settle(f); /* each has a share, and knows of the other */
    say(f, 0, false, 1000, share_all);
    say(f, 1, false, 1000, 0);
    wait_rates(f, 968.75, 31.25);
    f->now_ms += SHARE_LEASE_MS - 1;
    assert_true(is_about(rate_of(f, 0), 968.75));
    f->now_ms += 1;
    assert_true(is_about(rate_of(f, 0), 500));
    assert_true(is_about(rate_of(f, 1), 31.25));
    wait_rates(f, 968.75, 31.25);
}

static void who_says_nothing_holds_an_even_share(void **state)
{
    struct fixture *f = *state;

    disconnect_machine(&f->machines[1]);
    store_expect(&f->store, NULL, "DEL fedpush:pulses"); /* one that is older than shares */
    store_expect(&f->store, "2", "ZCARD fedpush:identities");
    say(f, 0, false, 1000, share_all);
    for (int i = 0; i < STEPS && !is_about(rate_of(f, 0), 500); i++)
        step(f);
    assert_true(is_about(rate_of(f, 0), 500));
    store_expect(&f->store, "1", "ZREM fedpush:identities machine1");
    for (int i = 0; i < STEPS && !is_about(rate_of(f, 0), 1000); i++)
        step(f);
    assert_true(is_about(rate_of(f, 0), 1000));
}

static void wait_healthy(struct fixture *f, unsigned machine, unsigned count)
{
    const struct fleet *fleet = f->machines[machine].fleet;

    for (int i = 0; i < STEPS && fleet_healthy_others(fleet) != count; i++)
        step(f);
    assert_int_equal(fleet_healthy_others(fleet), count);
}

static void others_know_who_suspects_itself(void **state)
{
    struct fixture *f = *state;
    char word[40];

    wait_healthy(f, 0, 1);
    wait_healthy(f, 1, 1);
    say(f, 1, true, 0, 0);
    wait_healthy(f, 0, 0);
    wait_healthy(f, 1, 1);
    say(f, 1, false, 0, 0);
    wait_healthy(f, 0, 1);
    /* Who lives, but says nothing any more, may have the same trouble; who is dead is forgotten. */
    snprintf(word, sizeof(word), "%" PRId64 " 0", (redis_ms(f) - 6000) * 1000);
    store_expect(&f->store, "1", "HSET fedpush:pulses silent %s", word);
    store_expect(&f->store, "1", "HSET fedpush:pulses dead %s", word);
    store_expect(&f->store, "1", "ZADD fedpush:identities %f silent", (double)redis_ms(f) / 1000);
    settle(f);
    assert_int_equal(fleet_healthy_others(f->machines[0].fleet), 1);
    store_expect(&f->store, "0", "HEXISTS fedpush:pulses dead");
    store_expect(&f->store, "1", "HEXISTS fedpush:pulses silent");
}

/* How many take jobs, by machine 0; with this proxy, if it isn't "". */
static size_t takers_with(const struct fixture *f, const char *proxy)
{
    struct str takers[FLEET_TAKERS];
    int64_t since_ms;

    return fleet_takers(f->machines[0].fleet, str_of(proxy), takers, &since_ms);
}

static void others_know_who_has_which_proxy(void **state)
{
    struct fixture *f = *state;
    struct fleet_word word = {false, 0, 0, STR("eu,tor")};
    struct str takers[FLEET_TAKERS];
    int64_t since_ms;

    wait_healthy(f, 0, 1);
    assert_int_equal(takers_with(f, "tor"), 0);
    fleet_say(f->machines[1].fleet, &word);
    for (int i = 0; i < STEPS && takers_with(f, "tor") == 0; i++)
        step(f);
    assert_int_equal(takers_with(f, "tor"), 1);
    assert_int_equal(takers_with(f, "to"), 0);
    assert_int_equal(takers_with(f, ""), 2);
    assert_int_equal(fleet_takers(f->machines[0].fleet, STR("eu"), takers, &since_ms), 1);
    assert_true(str_equal(takers[0], membership_identity(f->machines[1].membership)));
    fleet_say(f->machines[0].fleet, &word);
    settle(f);
    assert_int_equal(takers_with(f, "tor"), 2);
    word.unfit = true;
    fleet_say(f->machines[1].fleet, &word);
    fleet_say(f->machines[0].fleet, &word);
    settle(f);
    assert_int_equal(takers_with(f, "tor"), 0);
    assert_int_equal(takers_with(f, ""), 0);
}

/* One pulse that takes so long on our clock; what of it the offset may be is between the two. */
static void pulse(struct fixture *f, int64_t takes_ms, int64_t *lowest_ms, int64_t *highest_ms)
{
    struct machine *m = &f->machines[0];

    *lowest_ms = redis_ms(f) - f->now_ms - takes_ms / 2;
    fleet_tick(m->fleet);
    *highest_ms = -f->now_ms - takes_ms / 2;
    f->now_ms += takes_ms;
    while (redis_outstanding(m->redis) > 0)
        event_base_loop(f->store.base, EVLOOP_ONCE);
    *highest_ms += redis_ms(f);
}

/* The pulse that it sends before it is a member says nothing that others heed. */
static void who_joins_takes_no_share_that_is_not_noted(void **state)
{
    struct fixture *f = *state;

    disconnect_machine(&f->machines[1]);
    struct machine *m = connect_machine(f, 1);
    while (!is_quiet(f))
        event_base_loop(f->store.base, EVLOOP_ONCE);
    say(f, 1, false, 1000, share_all);
    store_expect(&f->store, NULL, "DEL fedpush:pulses");
    membership_adopt(m->membership, STR("new"));
    fleet_tick(m->fleet); /* its answer finds a member */
    server_wait(f->store.base, &m->shared);
    assert_true(m->joined);
    store_expect(&f->store, "1", "HEXISTS fedpush:pulses new");
}

static void time_is_that_of_redis(void **state)
{
    struct fixture *f = *state;
    const struct fleet *fleet = f->machines[0].fleet;
    int64_t lowest_ms;
    int64_t highest_ms;

    settle(f);
    f->now_ms += 86400 * 1000; /* far from what any answer allows */
    pulse(f, 3000, &lowest_ms, &highest_ms);
    assert_in_range(fleet_unix_offset_ms(fleet), lowest_ms, highest_ms);
    pulse(f, 0, &lowest_ms, &highest_ms); /* a better answer */
    assert_in_range(fleet_unix_offset_ms(fleet), lowest_ms - 1, highest_ms + 1);
    int64_t before_ms = fleet_unix_offset_ms(fleet);
    pulse(f, 60000, &lowest_ms, &highest_ms); /* says less than is known */
    assert_int_equal(fleet_unix_offset_ms(fleet), before_ms);
}

static void before_the_first_answer_time_is_ours(void **state)
{
    struct fixture *f = *state;
    struct fleet *fleet =
        fleet_create(&(struct fleet_options){.clock = &f->clock, .redis = f->machines[0].redis});

    assert_int_equal(fleet_unix_offset_ms(fleet), (int64_t)WALL_S * 1000 - f->now_ms);
    assert_int_equal(fleet_machines(fleet), 1);
    fleet_destroy(fleet);
}

/* --- Redis --- */

static void another_database_and_another_namespace_share_nothing(void **state)
{
    struct fixture *f = *state;

    for (unsigned i = OTHER_DATABASE; i <= OTHER_NAMESPACE; i++)
        join_machine(f, i);
    fleet_tell_open(f->machines[0].fleet, A, 1000, 2000, 30000);
    fleet_tell_open(f->machines[OTHER_NAMESPACE].fleet, B, 1000, 2000, 30000);
    wait_heard(f, 1, 1);
    settle(f);
    expect_heard(f, 1, "open a.example 1000 2000 30000;");
    for (unsigned i = OTHER_DATABASE; i <= OTHER_NAMESPACE; i++) {
        expect_heard(f, i, "");
        assert_int_equal(fleet_machines(f->machines[i].fleet), 1);
        assert_true(ask_probe(f, i, A)); /* each has a token of its own */
    }
    assert_true(ask_probe(f, 0, A));
    assert_int_equal(fleet_machines(f->machines[0].fleet), 2);
    store_expect(&f->store, "b.example:8443", "HKEYS other:fedpush:circuit");
    store_expect(&f->store, "1", "EXISTS other:fedpush:probe:a.example");
}

static void a_full_redis_refuses_nothing(void **state)
{
    struct fixture *f = *state;

    settle(f);
    store_expect(&f->store, "OK", "CONFIG SET maxmemory-policy noeviction");
    store_expect(&f->store, "OK", "CONFIG SET maxmemory 1");
    fleet_tell_open(f->machines[0].fleet, A, 1000, 2000, 30000);
    wait_heard(f, 1, 1);
    assert_true(ask_probe(f, 1, A));
    fleet_tell_closed(f->machines[1].fleet, A);
    wait_heard(f, 0, 1);
    expect_heard(f, 0, "closed a.example;");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, start, end)
    const struct CMUnitTest tests[] = {
        TEST(another_machine_hears_of_it_once),
        TEST(a_host_asks_all_machines_for_time),
        TEST(what_is_over_is_not_heard_and_all_else_is_bounded),
        TEST(a_new_connection_reads_all_again),
        TEST(a_lost_answer_loses_nothing),
        TEST(who_opens_it_first_decides_when_it_is_probed),
        TEST(only_members_tell),
        TEST(many_are_told_and_read_in_pages),
        TEST(own_changes_behind_a_full_page_are_known),
        TEST(clocks_that_go_back_hide_nothing),
        TEST(what_is_old_is_forgotten),
        TEST(a_hold_is_known_until_it_ends),
        TEST(the_log_is_bounded),
        TEST(reservations_of_the_past_are_forgotten),
        TEST(what_others_wrote_there_is_passed_over),
        TEST(no_probe_overtakes_its_pair),
        TEST(one_machine_probes),
        TEST(the_result_of_an_expired_token_is_ignored),
        TEST(a_lost_result_is_told_again),
        TEST(a_probe_that_is_not_made_gives_its_token_back),
        TEST(a_closed_circuit_ends_the_probe),
        TEST(without_redis_nobody_probes),
        TEST(live_machines_are_counted),
        TEST(others_know_who_suspects_itself),
        TEST(others_know_who_has_which_proxy),
        TEST(the_rate_goes_where_the_work_is),
        TEST(without_redis_shares_are_even),
        TEST(who_says_nothing_holds_an_even_share),
        TEST(who_joins_takes_no_share_that_is_not_noted),
        TEST(time_is_that_of_redis),
        TEST(before_the_first_answer_time_is_ours),
        TEST(another_database_and_another_namespace_share_nothing),
        TEST(a_full_redis_refuses_nothing),
    };
    return cmocka_run_group_tests_name("fleet", tests, NULL, NULL);
}
