/* Two machines' copies of the policies, with a real Redis and a real PostgreSQL; the clock is the
 * test's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "sched/policies.h"
#include "sched/schema.h"
#include "sched/scripts.h"
#include "store.h"

enum { STEPS = 1000, STEP_MS = 10, TICK_MS = 1000 };

struct machine {
    struct fixture *f;
    struct redis *redis;
    struct postgres *postgres;
    struct policies *policies;
    bool ready;
    unsigned changes;
};

struct fixture {
    struct store store;
    struct server database;
    struct clock clock;
    int64_t now_ms;
    struct machine machines[2];
};

static int64_t mono_ms(void *arg)
{
    return *(int64_t *)arg;
}

static int64_t wall_us(void *arg)
{
    (void)arg;
    return INT64_C(40) * 86400 * 1000000;
}

static void on_ready(void *arg)
{
    struct machine *m = arg;
    script_load(m->redis);
    policies_redis_ready(m->policies);
    m->ready = true;
}

static void on_lost(void *arg, const char *reason)
{
    struct machine *m = arg;
    (void)reason;
    m->ready = false;
}

static void on_changed(void *arg)
{
    struct machine *m = arg;
    m->changes++;
}

static void connect_machine(struct fixture *f, unsigned index)
{
    static const struct redis_handlers handlers = {on_ready, on_lost};
    struct machine *m = &f->machines[index];
    char conninfo[256];

    *m = (struct machine){.f = f};
    snprintf(conninfo, sizeof(conninfo), "host=%s dbname=fedpush_test user=postgres",
             f->database.socket);
    m->postgres = postgres_create(
        f->store.base, NULL,
        &(struct postgres_options){.conninfo = str_of(conninfo), .name = "test", .writes = true});
    m->redis = redis_create(f->store.base, f->store.dns, &f->store.endpoint, "test", &handlers, m);
    const struct policies_options options = {.clock = &f->clock,
                                             .redis = m->redis,
                                             .keys = &f->store.keys,
                                             .postgres = m->postgres,
                                             .proxy_names = STR("eu,us"),
                                             .changed = on_changed,
                                             .arg = m};
    m->policies = policies_create(&options);
    server_wait(f->store.base, &m->ready);
}

static void disconnect_machine(struct machine *m)
{
    redis_destroy(m->redis);
    postgres_destroy(m->postgres);
    policies_destroy(m->policies);
}

static void set_up_done(void *arg, enum fp_err code, const char *message, int version)
{
    (void)message;
    (void)version;
    *(bool *)arg = code == FP_OK;
}

/* The servers are everybody's. */
static int start_all(void **state)
{
    struct fixture *f = mem_alloc(sizeof(*f));
    bool done = false;

    store_start(&f->store);
    server_start_postgres(&f->database);
    f->clock = (struct clock){mono_ms, wall_us, &f->now_ms};
    connect_machine(f, 0);
    schema_setup(f->machines[0].postgres, set_up_done, &done);
    server_wait(f->store.base, &done);
    disconnect_machine(&f->machines[0]);
    *state = f;
    return 0;
}

static int end_all(void **state)
{
    struct fixture *f = *state;

    server_stop(&f->database);
    store_stop(&f->store);
    free(f);
    return 0;
}

static int start(void **state)
{
    struct fixture *f = *state;

    store_expect(&f->store, "OK", "FLUSHALL");
    server_sql(&f->database, "TRUNCATE fedpush.domain_policy, fedpush.audit");
    f->now_ms = 1000000;
    for (unsigned i = 0; i < 2; i++)
        connect_machine(f, i);
    return 0;
}

static int end(void **state)
{
    struct fixture *f = *state;

    for (unsigned i = 0; i < 2; i++)
        disconnect_machine(&f->machines[i]);
    return 0;
}

/* Somebody's command line. */
static void order(struct fixture *f, const char *name, const char *seen, const char *text,
                  const char *expected)
{
    store_expect(&f->store, expected, "EVAL %s 2 fedpush:policies fedpush:audit id-%s %s %s %s %s",
                 script_policies_write, name, "me@here\ndomain pause\nx\ny", name, seen, text);
}

static void run(struct fixture *f)
{
    server_run(f->store.base, STEP_MS);
}

static void tick(struct fixture *f, unsigned machines)
{
    for (unsigned i = 0; i < machines; i++)
        policies_tick(f->machines[i].policies);
    run(f);
}

static bool is_paused(struct fixture *f, unsigned machine, struct str host)
{
    struct policy policy;
    return policies_look(f->machines[machine].policies, host, &policy) && policy.paused;
}

/* Fails when this machine never thinks so. */
static void wait_paused(struct fixture *f, unsigned machine, struct str host, bool paused)
{
    for (int i = 0; i < STEPS; i++) {
        if (is_paused(f, machine, host) == paused)
            return;
        f->now_ms += TICK_MS;
        tick(f, 2);
    }
    fail_msg("machine %u: %.*s", machine, STR_ARG(host));
}

static void wait_kept(struct fixture *f, const char *sql, const char *expected)
{
    for (int i = 0; i < STEPS; i++) {
        char *value = server_sql_value(&f->database, sql);
        bool same = strcmp(value, expected) == 0;
        free(value);
        if (same)
            return;
        f->now_ms += TICK_MS;
        tick(f, 2);
    }
    fail_msg("never %s", expected);
}

static void an_order_reaches_all_machines_and_postgresql(void **state)
{
    struct fixture *f = *state;

    wait_paused(f, 0, STR("a.example"), false);
    order(f, "a.example", "", "1 paused", "1");
    wait_paused(f, 0, STR("a.example"), true);
    wait_paused(f, 1, STR("a.example"), true);
    assert_false(is_paused(f, 0, STR("b.example")));
    assert_true(f->machines[0].changes > 0);
    wait_kept(f, "SELECT policy FROM fedpush.domain_policy WHERE domain = 'a.example'", "1 paused");
    wait_kept(f, "SELECT who || ',' || action FROM fedpush.audit", "me@here,domain pause");
    wait_kept(f, "SELECT count(*) FROM fedpush.audit", "1");
    for (int i = 0; i < 50; i++)
        tick(f, 2);
    store_expect(&f->store, "0", "HLEN fedpush:audit");
}

static void an_order_against_what_was_not_seen_writes_nothing(void **state)
{
    struct fixture *f = *state;

    order(f, "a.example", "", "1 paused", "1");
    order(f, "a.example", "", "1 window=2", "0");
    order(f, "a.example", "7 1 paused", "1 window=2", "0");
    wait_paused(f, 0, STR("a.example"), true);
}

static void what_redis_loses_comes_back_from_memory(void **state)
{
    struct fixture *f = *state;

    order(f, "a.example", "", "1 paused", "1");
    order(f, "b.example", "", "1 paused", "1");
    wait_paused(f, 0, STR("b.example"), true);
    wait_paused(f, 1, STR("b.example"), true);
    store_expect(&f->store, "1", "DEL fedpush:policies");
    order(f, "c.example", "", "1 paused", "1");
    wait_paused(f, 0, STR("c.example"), true);
    assert_true(is_paused(f, 0, STR("a.example")));
    for (int i = 0; i < 50; i++)
        tick(f, 2);
    store_expect(&f->store, "4", "HLEN fedpush:policies"); /* with the version */
    assert_true(is_paused(f, 1, STR("a.example")) && is_paused(f, 1, STR("b.example")));
}

/* A replica takes over that has seen the order, but not what came after it. */
static void what_was_taken_back_stays_so_when_redis_loses_that(void **state)
{
    struct fixture *f = *state;

    order(f, "a.example", "", "1 paused", "1");
    order(f, "*", "", "1 paused", "1");
    wait_paused(f, 1, STR("a.example"), true);
    redisReply *seen = redisCommand(f->store.direct, "HMGET fedpush:policies a.example * :version");
    assert_int_equal(seen->elements, 3);
    server_pause_postgres(&f->database);
    order(f, "a.example", seen->element[0]->str, "1 paused=1000", "1"); /* that is over */
    order(f, "*", seen->element[1]->str, "1", "1");
    for (unsigned i = 0; i < 2; i++)
        wait_paused(f, i, STR("a.example"), false);
    assert_false(policies_pause_fleet(f->machines[0].policies));
    store_expect(&f->store, NULL, "HSET fedpush:policies a.example %s * %s :version %s",
                 seen->element[0]->str, seen->element[1]->str, seen->element[2]->str);
    freeReplyObject(seen);
    for (int i = 0; i < 50; i++)
        tick(f, 2);
    assert_false(policies_pause_fleet(f->machines[1].policies));
    assert_false(is_paused(f, 1, STR("a.example")));
    store_expect(&f->store, "0", "EVAL %s 1 fedpush:policies",
                 "local text = redis.call('HGET', KEYS[1], '*') "
                 "return string.find(text, 'paused') and 1 or 0");
    server_resume_postgres(&f->database);
    wait_kept(f, "SELECT policy FROM fedpush.domain_policy WHERE domain = '*'", "1");
}

static void a_new_fleet_reads_postgresql_and_the_latest_wins(void **state)
{
    struct fixture *f = *state;

    server_sql(&f->database, "INSERT INTO fedpush.domain_policy (domain, version, policy) VALUES"
                             " ('old.example', 5, '1 paused'), ('gone.example', 6, '1'),"
                             " ('new.example', 3000000000000000, '1 window=1'),"
                             " ('other.example', 7, '9 what a newer fedpush wrote')");
    order(f, "new.example", "", "1 paused", "1");
    wait_paused(f, 0, STR("old.example"), true);
    wait_paused(f, 0, STR("new.example"), false);
    wait_paused(f, 1, STR("new.example"), false);
    assert_false(is_paused(f, 0, STR("gone.example")));
    store_expect(&f->store, "5 1 paused", "HGET fedpush:policies old.example");
    wait_kept(f, "SELECT policy FROM fedpush.domain_policy WHERE domain = 'other.example'",
              "9 what a newer fedpush wrote");
}

static void what_was_taken_back_long_ago_is_forgotten(void **state)
{
    struct fixture *f = *state;

    server_sql(&f->database, "INSERT INTO fedpush.domain_policy (domain, version, policy) VALUES"
                             " ('gone.example', 6, '1'), ('over.example', 7, '1 paused=1000'),"
                             " ('late.example', 8, '1 paused')");
    store_expect(&f->store, NULL, "HSET fedpush:policies :version 9 gone.example %s", "6 1");
    store_expect(&f->store, NULL, "HSET fedpush:policies over.example %s", "7 1 paused=1000");
    store_expect(&f->store, NULL, "HSET fedpush:policies kept.example %s", "5 1");
    wait_paused(f, 0, STR("late.example"), true);
    order(f, "a.example", "", "1 paused", "1"); /* the next comparison */
    wait_paused(f, 1, STR("a.example"), true);
    wait_kept(f, "SELECT version FROM fedpush.domain_policy WHERE domain = 'kept.example'", "5");
    for (int i = 0; i < 50; i++)
        tick(f, 2);
    store_expect(&f->store, "nil|nil", "HMGET fedpush:policies gone.example over.example");
    store_expect(&f->store, "8 1 paused", "HGET fedpush:policies late.example");
}

static void pauses_of_fleet_and_machine_are_told_apart(void **state)
{
    struct fixture *f = *state;
    const struct policies *p = f->machines[0].policies;
    struct str me = STR("host:1:abc");

    order(f, "other.example", "", "1 paused", "1");
    wait_paused(f, 0, STR("other.example"), true);
    assert_false(policies_pause_machine(p, me));
    order(f, "@host", "", "1 paused", "1");
    order(f, "one.example", "", "1 paused", "1");
    wait_paused(f, 0, STR("one.example"), true);
    assert_true(policies_pause_machine(p, me));
    assert_false(policies_pause_machine(p, STR("hosts:1:abc")));
    order(f, "@two:1:abc", "", "1 paused", "1");
    order(f, "two.example", "", "1 paused", "1");
    wait_paused(f, 0, STR("two.example"), true);
    assert_true(policies_pause_machine(p, STR("two:1:abc")));
    assert_false(policies_pause_machine(p, STR("two:2:abc")));
    order(f, "*", "", "1 paused", "1");
    order(f, "three.example", "", "1 paused", "1");
    wait_paused(f, 0, STR("three.example"), true);
    assert_true(policies_pause_machine(p, STR("two:2:abc")));
    assert_false(is_paused(f, 0, STR("a.b"))); /* "*" is no pattern of hosts */
}

static void an_end_is_followed_by_redis_clock(void **state)
{
    struct fixture *f = *state;
    char text[64];

    for (int i = 0; i < STEPS && !policies_are_known(f->machines[0].policies); i++)
        run(f);
    snprintf(text, sizeof(text), "1 paused=%lld",
             (long long)policies_now_s(f->machines[0].policies) + 3600);
    order(f, "a.example", "", text, "1");
    for (int i = 0; i < STEPS && !is_paused(f, 0, STR("a.example")); i++)
        tick(f, 1);
    assert_true(is_paused(f, 0, STR("a.example")));
    unsigned changes = f->machines[0].changes;
    f->now_ms += 3500 * 1000;
    assert_true(is_paused(f, 0, STR("a.example")));
    f->now_ms += 200 * 1000;
    assert_false(is_paused(f, 0, STR("a.example")));
    policies_tick(f->machines[0].policies);
    assert_true(f->machines[0].changes > changes);
}

static void a_proxy_that_is_not_there_pauses(void **state)
{
    struct fixture *f = *state;
    struct policy policy;

    order(f, "a.example", "", "1 proxy=asia", "1");
    order(f, "b.example", "", "1 proxy=us", "1");
    wait_paused(f, 0, STR("a.example"), true);
    assert_false(is_paused(f, 0, STR("b.example")));
    assert_true(policies_look(f->machines[0].policies, STR("b.example"), &policy));
    assert_int_equal(policies_proxy(f->machines[0].policies, str_of(policy.proxy)), 2);
}

static void a_drop_lifts_no_proxy(void **state)
{
    struct fixture *f = *state;
    const struct policies *p = f->machines[0].policies;
    struct policy policy;
    char text[64];
    bool now = false;

    for (int i = 0; i < STEPS && !policies_are_known(p); i++)
        run(f);
    int64_t drop_s = policies_now_s(p);
    snprintf(text, sizeof(text), "1 now drop=%lld", (long long)drop_s);
    order(f, "*.example", "", "1 proxy=us", "1");
    order(f, "b.example", "", text, "1");
    order(f, "c.example", "", "1 paused", "1");
    wait_paused(f, 0, STR("c.example"), true);
    assert_true(policies_look(p, STR("b.example"), &policy));
    assert_string_equal(policy.proxy, "us");
    assert_true(policies_drop(p, STR("b.example"), (double)drop_s, &now) && now);
    assert_false(policies_drop(p, STR("b.example"), (double)drop_s + 1, &now));
    assert_false(policies_drop(p, STR("a.example"), (double)drop_s, &now));
}

static void a_lost_answer_and_strangers_fields_change_nothing(void **state)
{
    struct fixture *f = *state;

    order(f, "a.example", "", "1 paused", "1");
    store_expect(&f->store, NULL, "HSET fedpush:policies b.example nonsense :other x");
    wait_paused(f, 0, STR("a.example"), true);
    store_lose_answer(&f->store);
    for (int i = 0; i < 20; i++)
        tick(f, 2);
    assert_true(is_paused(f, 0, STR("a.example")));
    order(f, "d.example", "", "1 paused", "1");
    wait_paused(f, 0, STR("d.example"), true);
    wait_paused(f, 1, STR("d.example"), true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(an_order_reaches_all_machines_and_postgresql, start, end),
        cmocka_unit_test_setup_teardown(an_order_against_what_was_not_seen_writes_nothing, start,
                                        end),
        cmocka_unit_test_setup_teardown(what_redis_loses_comes_back_from_memory, start, end),
        cmocka_unit_test_setup_teardown(what_was_taken_back_stays_so_when_redis_loses_that, start,
                                        end),
        cmocka_unit_test_setup_teardown(a_new_fleet_reads_postgresql_and_the_latest_wins, start,
                                        end),
        cmocka_unit_test_setup_teardown(what_was_taken_back_long_ago_is_forgotten, start, end),
        cmocka_unit_test_setup_teardown(pauses_of_fleet_and_machine_are_told_apart, start, end),
        cmocka_unit_test_setup_teardown(an_end_is_followed_by_redis_clock, start, end),
        cmocka_unit_test_setup_teardown(a_proxy_that_is_not_there_pauses, start, end),
        cmocka_unit_test_setup_teardown(a_drop_lifts_no_proxy, start, end),
        cmocka_unit_test_setup_teardown(a_lost_answer_and_strangers_fields_change_nothing, start,
                                        end),
    };
    return cmocka_run_group_tests(tests, start_all, end_all);
}
