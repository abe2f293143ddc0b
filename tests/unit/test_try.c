/* The script of "try now" (try.lua), against a real Redis. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "sched/scripts.h"
#include "store.h"

#define LATER "2000000000.250000" /* when the job would come, long after this test */
#define BOOKED "fedpush:booked:a.example"

static int set_up(void **state)
{
    struct store *store = mem_alloc(sizeof(*store));

    store_start(store);
    *state = store;
    return 0;
}

static int tear_down(void **state)
{
    store_stop(*state);
    free(*state);
    return 0;
}

static void empty(struct store *store)
{
    store_expect(store, "OK", "FLUSHALL");
}

/* Answers "OPEN|PROBING|DUE" as expected. */
static void try(struct store *store, const char *job, const char *expected)
{
    store_expect(store, expected,
                 "EVAL %s 5 fedpush:circuits fedpush:circuit fedpush:probe:a.example " BOOKED
                 " retry a.example r %s",
                 script_try, job);
}

static double number(struct store *store, const char *format, const char *what)
{
    redisReply *reply = redisCommand(store->direct, format, what);
    double value;

    assert_non_null(reply);
    assert_true(reply->type == REDIS_REPLY_STRING || reply->type == REDIS_REPLY_INTEGER);
    value = reply->type == REDIS_REPLY_STRING ? strtod(reply->str, NULL) : (double)reply->integer;
    freeReplyObject(reply);
    return value;
}

static double now_s(struct store *store)
{
    return number(store, "EVAL %s 0", "return redis.call('TIME')[1]");
}

static void a_job_is_due_now_and_stays_there_once(void **state)
{
    struct store *store = *state;

    empty(store);
    store_expect(store, "1", "ZADD retry " LATER " job");
    store_expect(store, "1", "ZADD retry 2000000001 other");
    store_expect(store, "1", "ZADD " BOOKED " " LATER " r" LATER);
    store_expect(store, "1", "ZADD " BOOKED " 2000000001 r2000000001.000000");
    try(store, "job", "0|0|1");
    assert_true(number(store, "ZSCORE retry %s", "job") <= now_s(store) + 1);
    assert_true(number(store, "ZSCORE retry %s", "other") > 2e9);
    store_expect(store, "2", "ZCARD retry");
    store_expect(store, "r2000000001.000000", "ZRANGE " BOOKED " 0 -1");
    store_expect(store, "0", "EXISTS fedpush:circuit fedpush:circuits");
}

static void a_job_that_is_due_or_gone_is_left_alone(void **state)
{
    struct store *store = *state;

    empty(store);
    store_expect(store, "1", "ZADD retry 1000.5 job");
    try(store, "job", "0|0|1");
    store_expect(store, "1000.5", "ZSCORE retry job");
    try(store, "gone", "0|0|0");
    try(store, "", "0|0|0");
    store_expect(store, "1", "ZCARD retry");
}

static void the_probe_is_due_now_and_everybody_hears_of_it(void **state)
{
    struct store *store = *state;

    empty(store);
    store_expect(store, "1", "HSET fedpush:circuit a.example %s",
                 "open 1700000000000 4000000000000 60000");
    store_expect(store, "1", "ZADD fedpush:circuits 1700000000000000 a.example");
    /* Another change, by a clock that went ahead: ours must stand behind it all the same. */
    store_expect(store, "1", "ZADD fedpush:circuits 3000000000000000 b.example");
    store_expect(store, "1", "ZADD retry " LATER " job");
    try(store, "job", "1|0|1");
    store_expect(store, "b.example|a.example", "ZRANGE fedpush:circuits 0 -1");
    store_expect(store, "1", "EVAL %s 1 fedpush:circuit",
                 "local v = redis.call('HGET', KEYS[1], 'a.example')"
                 " local opened, probe, backoff = string.match(v, '^open (%d+) (%d+) (%d+)$')"
                 " local now = redis.call('TIME')[1] * 1000"
                 " return (opened == '1700000000000' and backoff == '60000'"
                 " and math.abs(probe - now) < 60000) and 1 or 0");
}

static void a_probe_under_way_is_not_disturbed(void **state)
{
    struct store *store = *state;

    empty(store);
    store_expect(store, "1", "HSET fedpush:circuit a.example %s",
                 "open 1700000000000 4000000000000 60000");
    store_expect(store, "OK", "SET fedpush:probe:a.example token");
    try(store, "", "1|1|0");
    store_expect(store, "open 1700000000000 4000000000000 60000", "HGET fedpush:circuit a.example");
    store_expect(store, "0", "EXISTS fedpush:circuits");
}

static void a_closed_circuit_stays_closed(void **state)
{
    struct store *store = *state;

    empty(store);
    store_expect(store, "1", "HSET fedpush:circuit a.example closed");
    try(store, "", "0|0|0");
    store_expect(store, "closed", "HGET fedpush:circuit a.example");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_job_is_due_now_and_stays_there_once),
        cmocka_unit_test(a_job_that_is_due_or_gone_is_left_alone),
        cmocka_unit_test(the_probe_is_due_now_and_everybody_hears_of_it),
        cmocka_unit_test(a_probe_under_way_is_not_disturbed),
        cmocka_unit_test(a_closed_circuit_stays_closed),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
