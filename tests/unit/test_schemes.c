/* What is remembered of signature schemes, and shared through a real Redis; the clock is the
 * test's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "sched/schemes.h"
#include "store.h"

enum { STEPS = 2000, STEP_MS = 10, TICK_MS = 200, TIME_BYTES = 32 };

#define A STR("https://a.example")
#define B STR("https://b.example:8443")

struct machine {
    struct fixture *f;
    struct redis *redis;
    struct schemes *schemes;
    bool ready;
    unsigned losses; /* of the connection, which comes back by itself */
};

struct fixture {
    struct store store;
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
    return 0; /* the machines' wall clocks don't matter */
}

static void on_ready(void *arg)
{
    struct machine *m = arg;
    script_load(m->redis);
    schemes_redis_ready(m->schemes);
    m->ready = true;
}

static void on_lost(void *arg, const char *reason)
{
    struct machine *m = arg;
    (void)reason;
    m->ready = false;
    m->losses++;
}

static void connect_machine(struct fixture *f, unsigned index)
{
    static const struct redis_handlers handlers = {on_ready, on_lost};
    struct machine *m = &f->machines[index];

    m->f = f;
    m->ready = false;
    m->redis = redis_create(f->store.base, f->store.dns, &f->store.endpoint, "test", &handlers, m);
    m->schemes = schemes_create(&f->clock, m->redis, &f->store.keys);
    server_wait(f->store.base, &m->ready);
}

static void disconnect_machine(struct machine *m)
{
    redis_destroy(m->redis);
    schemes_destroy(m->schemes);
}

static int start(void **state)
{
    struct fixture *f = mem_alloc(sizeof(*f));

    store_start(&f->store);
    f->now_ms = 1000000;
    f->clock = (struct clock){mono_ms, wall_us, &f->now_ms};
    for (unsigned i = 0; i < 2; i++)
        connect_machine(f, i);
    *state = f;
    return 0;
}

static int end(void **state)
{
    struct fixture *f = *state;

    for (unsigned i = 0; i < 2; i++)
        disconnect_machine(&f->machines[i]);
    store_stop(&f->store);
    free(f);
    return 0;
}

/* Nothing is on its way: the next answer is the one to what is sent next. */
static void settle(struct fixture *f)
{
    for (int i = 0;
         i < STEPS &&
         redis_outstanding(f->machines[0].redis) + redis_outstanding(f->machines[1].redis) > 0;
         i++)
        server_run(f->store.base, STEP_MS);
}

static void tick_both(struct fixture *f)
{
    for (unsigned i = 0; i < 2; i++)
        schemes_tick(f->machines[i].schemes);
}

/* Both machines live on until this one knocks so; fails when it never does. */
static void wait_knock(struct fixture *f, unsigned machine, struct str origin, enum knock knock)
{
    for (int i = 0; i < STEPS; i++) {
        if (schemes_knock(f->machines[machine].schemes, origin) == knock)
            return;
        f->now_ms += TICK_MS;
        tick_both(f);
        server_run(f->store.base, STEP_MS);
    }
    fail_msg("machine %u knocks with %d instead of %d", machine,
             schemes_knock(f->machines[machine].schemes, origin), knock);
}

static void expect_knock(struct fixture *f, unsigned machine, struct str origin, enum knock knock)
{
    assert_int_equal(schemes_knock(f->machines[machine].schemes, origin), knock);
}

static void what_is_learnt_decides_the_next_knock(void **state)
{
    struct fixture *f = *state;
    struct schemes *s = f->machines[0].schemes;

    expect_knock(f, 0, A, KNOCK_CAVAGE_FIRST);
    schemes_learn(s, A, LEARNT_NOTHING);
    assert_int_equal(schemes_count(s), 0);
    schemes_learn(s, A, LEARNT_RFC9421);
    expect_knock(f, 0, A, KNOCK_RFC9421_FIRST);
    expect_knock(f, 0, B, KNOCK_CAVAGE_FIRST);
    schemes_learn(s, A, LEARNT_NEITHER); /* doesn't undo what it accepted */
    expect_knock(f, 0, A, KNOCK_RFC9421);
    schemes_learn(s, A, LEARNT_CAVAGE);
    expect_knock(f, 0, A, KNOCK_CAVAGE_FIRST);
    schemes_learn(s, B, LEARNT_NEITHER);
    expect_knock(f, 0, B, KNOCK_CAVAGE);
}

static void what_is_learnt_expires(void **state)
{
    struct fixture *f = *state;
    struct schemes *s = f->machines[0].schemes;

    schemes_learn(s, A, LEARNT_RFC9421);
    schemes_learn(s, A, LEARNT_NEITHER);
    f->now_ms += (int64_t)SCHEMES_VAIN_S * 1000 - 1;
    expect_knock(f, 0, A, KNOCK_RFC9421);
    f->now_ms += 1;
    expect_knock(f, 0, A, KNOCK_RFC9421_FIRST);
    f->now_ms += (int64_t)(SCHEMES_ACCEPTED_S - SCHEMES_VAIN_S) * 1000 - 1;
    expect_knock(f, 0, A, KNOCK_RFC9421_FIRST);
    f->now_ms += 1;
    expect_knock(f, 0, A, KNOCK_CAVAGE_FIRST);
}

static void another_machine_hears_of_it(void **state)
{
    struct fixture *f = *state;

    schemes_learn(f->machines[0].schemes, A, LEARNT_RFC9421);
    schemes_learn(f->machines[0].schemes, B, LEARNT_NEITHER);
    tick_both(f);
    server_run(f->store.base, STEP_MS);
    expect_knock(f, 1, A, KNOCK_CAVAGE_FIRST); /* it reads each 5 s */
    f->now_ms += SCHEMES_READ_MS;
    wait_knock(f, 1, A, KNOCK_RFC9421_FIRST);
    wait_knock(f, 1, B, KNOCK_CAVAGE);
    schemes_learn(f->machines[1].schemes, A, LEARNT_CAVAGE); /* and back */
    tick_both(f);
    server_run(f->store.base, STEP_MS);
    f->now_ms += SCHEMES_READ_MS;
    wait_knock(f, 0, A, KNOCK_CAVAGE_FIRST);
    store_expect(&f->store, "vain https://b.example:8443|cavage https://a.example",
                 "ZRANGE fedpush:schemes 0 -1");
}

static void it_survives_a_restart(void **state)
{
    struct fixture *f = *state;

    schemes_learn(f->machines[0].schemes, A, LEARNT_NEITHER);
    schemes_learn(f->machines[0].schemes, A, LEARNT_RFC9421);
    schemes_learn(f->machines[0].schemes, A, LEARNT_NEITHER);
    f->now_ms += SCHEMES_READ_MS;
    wait_knock(f, 1, A, KNOCK_RFC9421);
    disconnect_machine(&f->machines[0]);
    connect_machine(f, 0);
    for (int i = 0; i < STEPS && schemes_count(f->machines[0].schemes) == 0; i++)
        server_run(f->store.base, STEP_MS);
    expect_knock(f, 0, A, KNOCK_RFC9421);
}

static void a_lost_answer_loses_nothing(void **state)
{
    struct fixture *f = *state;

    settle(f);
    store_lose_answer(&f->store);
    schemes_learn(f->machines[0].schemes, A, LEARNT_RFC9421);
    schemes_tick(f->machines[0].schemes);
    schemes_learn(f->machines[0].schemes, A, LEARNT_NEITHER); /* while that is on its way */
    for (int i = 0; i < STEPS && f->machines[0].losses == 0; i++)
        server_run(f->store.base, STEP_MS);
    assert_int_equal(f->machines[0].losses, 1);
    server_wait(f->store.base, &f->machines[0].ready);
    f->now_ms += SCHEMES_READ_MS;
    wait_knock(f, 1, A, KNOCK_RFC9421);
}

static void what_redis_refuses_is_sent_again(void **state)
{
    struct fixture *f = *state;

    store_expect(&f->store, NULL, "SET fedpush:schemes %s", "what is no sorted set");
    schemes_learn(f->machines[0].schemes, A, LEARNT_RFC9421);
    schemes_learn(f->machines[0].schemes, A, LEARNT_NEITHER);
    for (int i = 0; i < 20; i++) {
        f->now_ms += TICK_MS;
        tick_both(f);
        server_run(f->store.base, STEP_MS);
    }
    store_expect(&f->store, "1", "DEL fedpush:schemes");
    wait_knock(f, 1, A, KNOCK_RFC9421);
}

/* Redis' time a number of seconds ago. */
static void ago(const struct fixture *f, int seconds, char text[TIME_BYTES])
{
    redisReply *reply = redisCommand(f->store.direct, "TIME");

    assert_int_equal(reply->type, REDIS_REPLY_ARRAY);
    snprintf(text, TIME_BYTES, "%lld", strtoll(reply->element[0]->str, NULL, 10) - seconds);
    freeReplyObject(reply);
}

static void an_old_entry_has_the_rest_of_its_time(void **state)
{
    struct fixture *f = *state;
    char time[TIME_BYTES];

    ago(f, SCHEMES_VAIN_S + 5, time);
    store_expect(&f->store, NULL, "ZADD fedpush:schemes %s %s", time, "vain https://a.example");
    ago(f, SCHEMES_VAIN_S - 60, time);
    store_expect(&f->store, NULL, "ZADD fedpush:schemes %s %s", time,
                 "vain https://b.example:8443");
    f->now_ms += SCHEMES_READ_MS;
    wait_knock(f, 1, B, KNOCK_CAVAGE);
    expect_knock(f, 1, A, KNOCK_CAVAGE_FIRST);
    f->now_ms += 61 * 1000;
    expect_knock(f, 1, B, KNOCK_CAVAGE_FIRST);
    ago(f, SCHEMES_ACCEPTED_S + 5, time);
    store_expect(&f->store, NULL, "ZADD fedpush:schemes %s %s", time, "rfc9421 https://c.example");
    schemes_learn(f->machines[0].schemes, A, LEARNT_RFC9421);
    f->now_ms += SCHEMES_READ_MS;
    wait_knock(f, 1, A, KNOCK_RFC9421_FIRST);
    store_expect(&f->store, "nil", "ZSCORE fedpush:schemes %s", "rfc9421 https://c.example");
}

static void what_others_wrote_there_is_passed_over(void **state)
{
    struct fixture *f = *state;
    char time[TIME_BYTES];
    char longest[4096];

    ago(f, 1, time);
    memset(longest, 'x', sizeof(longest) - 1);
    longest[sizeof(longest) - 1] = '\0';
    memcpy(longest, "rfc9421 ", 8);
    store_expect(&f->store, NULL, "ZADD fedpush:schemes %s %s %s %s %s %s", time, "", time,
                 "nonsense", time, longest);
    store_expect(&f->store, NULL, "ZADD fedpush:schemes %s %s inf %s", time,
                 "gossip https://a.example", "rfc9421 https://inf.example");
    ago(f, 0, time);
    store_expect(&f->store, NULL, "ZADD fedpush:schemes %s %s", time,
                 "rfc9421 https://b.example:8443");
    f->now_ms += SCHEMES_READ_MS;
    wait_knock(f, 1, B, KNOCK_RFC9421_FIRST);
    expect_knock(f, 1, A, KNOCK_CAVAGE_FIRST);
    assert_true(schemes_count(f->machines[1].schemes) <= 2);
}

static void many_are_sent_and_read_in_pages(void **state)
{
    enum { ORIGINS = 3000 };
    struct fixture *f = *state;
    char origin[64];

    for (int i = 0; i < ORIGINS; i++) {
        snprintf(origin, sizeof(origin), "https://%d.example", i);
        schemes_learn(f->machines[0].schemes, str_of(origin), LEARNT_RFC9421);
    }
    f->now_ms += SCHEMES_READ_MS;
    wait_knock(f, 1, str_of(origin), KNOCK_RFC9421_FIRST);
    assert_int_equal(schemes_count(f->machines[1].schemes), ORIGINS);
}

static void the_table_is_bounded(void **state)
{
    struct fixture *f = *state;
    struct schemes *s = f->machines[0].schemes;
    char origin[64];

    for (int i = 0; i <= SCHEMES_MAX; i++) {
        snprintf(origin, sizeof(origin), "https://%d.example", i);
        schemes_learn(s, str_of(origin), LEARNT_NEITHER);
    }
    assert_int_equal(schemes_count(s), SCHEMES_MAX);
    assert_int_equal(schemes_knock(s, str_of(origin)), KNOCK_CAVAGE_FIRST);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, start, end)
    const struct CMUnitTest tests[] = {
        TEST(what_is_learnt_decides_the_next_knock), TEST(what_is_learnt_expires),
        TEST(another_machine_hears_of_it),           TEST(it_survives_a_restart),
        TEST(a_lost_answer_loses_nothing),           TEST(what_redis_refuses_is_sent_again),
        TEST(an_old_entry_has_the_rest_of_its_time), TEST(what_others_wrote_there_is_passed_over),
        TEST(many_are_sent_and_read_in_pages),       TEST(the_table_is_bounded),
    };
    return cmocka_run_group_tests_name("schemes", tests, NULL, NULL);
}
