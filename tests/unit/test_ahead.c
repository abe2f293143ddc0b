/*
 * Due entries of hosts that don't answer are scored anew where they stand (ahead.c, due.lua),
 * against a real Redis. Time stands still but for what the test moves.
 */
#include <inttypes.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <sodium.h>

#include "base/loop.h"
#include "sched/ahead.h"
#include "sched/intake.h"
#include "sched/pair.h"
#include "sched/scripts.h"
#include "store.h"

enum { ROOM = 256, MANY = 700, HOUR_S = 3600 };

#define BOOKED "fedpush:booked:dead.example"
#define PAIRS "fedpush:pairs"
#define TAIL "\",7,\"https://dead.example/inbox\",{}],\"jid\":\""
#define CREATED "\",\"created_at\":1700000000.5,\"enqueued_at\":1700000000.6}"
#define HEAD                                                                                       \
    "{\"retry\":16,\"queue\":\"push\",\"class\":\"ActivityPub::DeliveryWorker\",\"args\":[\""
#define JOB(jid) HEAD "{\\\"a\\\":\\\"}\\\",7\\\"}" TAIL jid CREATED

struct fixture {
    struct store store;
    struct clock clock;
    int64_t base_s; /* two minutes after the test began, by Redis' time */
    int64_t wall_us;
    struct redis *redis;
    struct redis *redis_wait;
    struct membership *membership;
    struct holdings holdings;
    struct ahead *ahead;
    struct intake *intake;
    bool wanted;
    int64_t wait_ms; /* until it comes again; 0: it is to be claimed */
    int64_t due_ms;  /* as was asked */
    unsigned asked;
    unsigned parked;
    int64_t back_ms; /* of the last */
    unsigned accepted;
    char payload[1024]; /* of the last */
    bool joined;
    bool quiet; /* Redis has answered all that came before */
};

static int64_t mono_ms(void *arg)
{
    (void)arg;
    return 1000000;
}

static int64_t wall_us(void *arg)
{
    const struct fixture *f = arg;
    return f->wall_us;
}

static void on_joined(void *arg)
{
    struct fixture *f = arg;
    intake_start(f->intake);
    f->joined = true;
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
    struct fixture *f = arg;
    (void)reason;
    membership_redis_lost(f->membership);
}

static void on_wait_ready(void *arg)
{
    (void)arg;
}

static void on_wait_lost(void *arg, const char *reason)
{
    (void)arg;
    (void)reason;
}

static struct room on_room(void *arg)
{
    (void)arg;
    return (struct room){ROOM, 1024 * 1024};
}

static void on_accept(void *arg, struct claim *claim)
{
    struct fixture *f = arg;

    f->accepted++;
    snprintf(f->payload, sizeof(f->payload), "%s", claim->payload);
    holdings_remove(&f->holdings, claim);
    claim_destroy(claim);
}

static bool is_wanted(void *arg)
{
    return ((const struct fixture *)arg)->wanted;
}

static int64_t parks_until_ms(void *arg, struct claim *entry, int64_t due_ms)
{
    struct fixture *f = arg;

    assert_int_equal(entry->job.account_id, 7);
    assert_true(str_equal(entry->url.authority, STR("dead.example")));
    assert_true(str_equal(entry->job.body_json, STR("\"\"")));
    f->asked++;
    f->due_ms = due_ms;
    return f->wait_ms > 0 ? due_ms + f->wait_ms : 0;
}

static void on_parked(void *arg, const struct claim *entry, int64_t back_ms)
{
    struct fixture *f = arg;

    assert_true(entry->pair != 0);
    f->parked++;
    f->back_ms = back_ms;
}

static void wire(struct fixture *f)
{
    static const struct redis_handlers handlers = {on_ready, on_lost};
    static const struct redis_handlers wait_handlers = {on_wait_ready, on_wait_lost};
    const struct membership_handlers member = {on_joined, on_fenced, f};

    f->clock = (struct clock){.mono_ms = mono_ms, .wall_us = wall_us, .arg = f};
    holdings_init(&f->holdings);
    f->redis = redis_create(f->store.base, f->store.dns, &f->store.endpoint, "test", &handlers, f);
    f->redis_wait =
        redis_create(f->store.base, f->store.dns, &f->store.endpoint, "wait", &wait_handlers, f);
    f->membership = membership_create(f->store.base, &f->clock, f->redis, &f->store.keys, &member);
    f->ahead = ahead_create(&(struct ahead_options){.clock = &f->clock,
                                                    .keys = &f->store.keys,
                                                    .wanted = is_wanted,
                                                    .parks_until_ms = parks_until_ms,
                                                    .parked = on_parked,
                                                    .arg = f});
    f->intake = intake_create(&(struct intake_options){.base = f->store.base,
                                                       .clock = &f->clock,
                                                       .redis = f->redis,
                                                       .redis_wait = f->redis_wait,
                                                       .keys = &f->store.keys,
                                                       .membership = f->membership,
                                                       .holdings = &f->holdings,
                                                       .ahead = f->ahead,
                                                       .room = on_room,
                                                       .accept = on_accept,
                                                       .arg = f});
}

static void on_quiet(void *arg, enum redis_status status, const redisReply *reply)
{
    struct fixture *f = arg;
    (void)status;
    (void)reply;
    f->quiet = true;
}

/* Until nothing that was asked, or is asked because of an answer, is unanswered. */
static void settle_down(struct fixture *f)
{
    const struct str ping[] = {STR("PING")};

    do {
        f->quiet = false;
        redis_send(f->redis, on_quiet, f, 1, ping);
        server_wait(f->store.base, &f->quiet);
    } while (redis_outstanding(f->redis) > 0);
}

static int start(void **state)
{
    struct fixture *f = mem_alloc(sizeof(*f));

    signal(SIGPIPE, SIG_IGN);
    if (sodium_init() < 0)
        return 1;
    f->wanted = true;
    f->wait_ms = (int64_t)HOUR_S * 1000;
    store_start(&f->store);
    redisReply *time = redisCommand(f->store.direct, "TIME");
    f->base_s = strtoll(time->element[0]->str, NULL, 10) + 120;
    f->wall_us = f->base_s * 1000000;
    freeReplyObject(time);
    wire(f);
    membership_adopt(f->membership, STR("me"));
    server_wait(f->store.base, &f->joined);
    settle_down(f);
    *state = f;
    return 0;
}

static int end(void **state)
{
    struct fixture *f = *state;

    settle_down(f);
    redis_destroy(f->redis);
    redis_destroy(f->redis_wait);
    intake_destroy(f->intake);
    ahead_destroy(f->ahead);
    membership_destroy(f->membership);
    holdings_clear(&f->holdings);
    store_stop(&f->store);
    free(f);
    return 0;
}

/* It comes so many seconds after the start. */
static void put(struct fixture *f, const char *zset, const char *at_s, const char *job)
{
    store_expect(&f->store, NULL, "EVAL %s 1 %s %s %s %d",
                 "return redis.call('ZADD', KEYS[1], string.format('%.6f', ARGV[1] + ARGV[3]), "
                 "ARGV[2])",
                 zset, at_s, job, (int)f->base_s);
}

static void comes(struct fixture *f, const char *zset, const char *at_s, const char *job)
{
    store_expect(&f->store, at_s, "EVAL %s 1 %s %s %d",
                 "return string.format('%.6f', redis.call('ZSCORE', KEYS[1], ARGV[1]) - ARGV[2])",
                 zset, job, (int)f->base_s);
}

/* One is booked, there and then. */
static void is_booked(struct fixture *f, char letter, int64_t at_s)
{
    char *place = mem_printf("%c%" PRId64 ".000000", letter, f->base_s + at_s);
    store_expect(&f->store, place, "ZRANGE " BOOKED " 0 -1");
    free(place);
}

/* A look into both sets, so many seconds after the start. */
static void look(struct fixture *f, int64_t at_s)
{
    f->wall_us = (f->base_s + at_s) * 1000000;
    intake_due(f->intake, ORIGIN_RETRY, on_room(f));
    intake_due(f->intake, ORIGIN_SCHEDULE, on_room(f));
    settle_down(f);
}

/* --- what stays --- */

static void what_would_be_parked_again_stays(void **state)
{
    static const char *const zsets[] = {"retry", "schedule"};
    struct fixture *f = *state;

    for (unsigned i = 0; i < 2; i++) {
        f->asked = f->parked = 0;
        put(f, zsets[i], "1", JOB("1"));
        look(f, 0);
        assert_int_equal(f->asked, 1);
        comes(f, zsets[i], "1.000000", JOB("1"));
        look(f, 1);
        assert_int_equal(f->asked, 2);
        assert_int_equal(f->due_ms, (f->base_s + 1) * 1000);
        assert_int_equal(f->parked, 1);
        assert_int_equal(f->back_ms, (f->base_s + 1 + HOUR_S) * 1000);
        comes(f, zsets[i], "3601.000000", JOB("1"));
        is_booked(f, "rs"[i], 1 + HOUR_S);
        store_expect(&f->store, "1", "HLEN " PAIRS);
        store_expect(&f->store, NULL, "DEL retry schedule " BOOKED " " PAIRS);
    }
    assert_int_equal(f->accepted, 0);
    store_expect(&f->store, "0", "EXISTS fedpush:claimed:me");
    store_expect(&f->store, "0", "EXISTS fedpush:ledger:me");
}

static void what_is_to_be_tried_is_claimed(void **state)
{
    struct fixture *f = *state;

    f->wait_ms = 0;
    put(f, "schedule", "1", JOB("1"));
    look(f, 0);
    look(f, 1);
    assert_int_equal(f->asked, 1);
    assert_int_equal(f->accepted, 1);
    assert_string_equal(f->payload, JOB("1"));
    store_expect(&f->store, "0", "ZCARD schedule");
}

static void what_was_to_stay_may_be_tried_after_all(void **state)
{
    struct fixture *f = *state;

    put(f, "schedule", "1", JOB("1"));
    look(f, 0);
    f->wait_ms = 0;
    look(f, 1);
    assert_int_equal(f->asked, 2);
    assert_int_equal(f->parked, 0);
    assert_int_equal(f->accepted, 1);
}

static void without_parked_jobs_nothing_is_named(void **state)
{
    struct fixture *f = *state;

    put(f, "schedule", "1", JOB("1"));
    look(f, 0);
    f->wanted = false;
    f->asked = 0;
    look(f, 1);
    assert_int_equal(f->accepted, 1);
    put(f, "schedule", "3", JOB("1"));
    look(f, 2);
    f->wanted = true;
    look(f, 3);
    assert_int_equal(f->accepted, 2);
    assert_int_equal(f->asked, 0);
    assert_int_equal(f->parked, 0);
}

static void what_isnt_plain_is_claimed(void **state)
{
    static const char *const jobs[] = {
        HEAD "body" TAIL CREATED,
        HEAD "{}\",7]" CREATED,
        HEAD "{}\",7,\"https://dead.example/inbox\",{\"x\":1}],\"jid\":\"" CREATED,
        HEAD "{}\",7,\"ftp://dead.example/inbox\",{}],\"jid\":\"" CREATED,
        HEAD "{}" TAIL "1\",\"bid\":\"b" CREATED,
        HEAD "{}" TAIL,
        "{\"args\":[\"{}\",7],\"class\":\"ActivityPub::DeliveryWorker\"}",
        "{\"class\":\"ActivityPub::DeliveryWorker\"}",
    };
    struct fixture *f = *state;

    for (unsigned i = 0; i < sizeof(jobs) / sizeof(jobs[0]); i++) {
        put(f, "schedule", "1", jobs[i]);
        look(f, 0);
        look(f, 1);
        if (f->accepted != i + 1)
            fail_msg("not claimed: %s", jobs[i]);
    }
    assert_int_equal(f->asked, 0);
    store_expect(&f->store, "0", "ZCARD schedule");
}

static void a_long_tail_is_claimed(void **state)
{
    struct fixture *f = *state;
    struct buf job;

    buf_init(&job, (size_t)16 * 1024);
    buf_put_str(&job, STR(HEAD "{}" TAIL "1\",\"error_message\":\""));
    for (int i = 0; i < 4096; i++)
        buf_put_char(&job, 'x');
    buf_put_str(&job, STR(CREATED));
    put(f, "retry", "1", buf_cstr(&job));
    look(f, 0);
    look(f, 1);
    assert_int_equal(f->asked, 0);
    assert_int_equal(f->accepted, 1);
    buf_clear(&job);
}

static void what_came_elsewhere_meanwhile_is_claimed(void **state)
{
    struct fixture *f = *state;

    put(f, "schedule", "1", JOB("1"));
    look(f, 0);
    put(f, "schedule", "0.5", JOB("1")); /* it was called back */
    look(f, 1);
    assert_int_equal(f->asked, 2);
    assert_int_equal(f->parked, 0);
    assert_int_equal(f->accepted, 1);
}

static void one_verdict_is_for_one_entry(void **state)
{
    struct fixture *f = *state;

    put(f, "schedule", "1", JOB("1"));
    look(f, 0);
    put(f, "schedule", "1", JOB("2")); /* as long, and due in the same microsecond */
    look(f, 1);
    assert_int_equal(f->parked, 1);
    assert_int_equal(f->accepted, 1);
    store_expect(&f->store, "1", "ZCARD schedule");
}

/* --- many --- */

static void many_stay_within_a_second(void **state)
{
    static const char fill[] = "for i = 1, ARGV[1] do redis.call('ZADD', KEYS[1], "
                               "string.format('%.6f', ARGV[4] + i / 1e6), "
                               "ARGV[2] .. i .. ARGV[3]) end";
    struct fixture *f = *state;

    store_expect(&f->store, NULL, "EVAL %s 1 schedule %d %s %s %d", fill, MANY, HEAD "{}" TAIL,
                 CREATED, (int)f->base_s);
    look(f, 0);
    look(f, 1);
    assert_int_equal(f->parked, MANY);
    assert_int_equal(f->accepted, 0);
    store_expect(&f->store, "0", "ZCOUNT schedule -inf %d", (int)f->base_s + HOUR_S - 1);
    store_expect(&f->store, "700", "ZCARD " BOOKED);
}

static void what_is_rubys_hides_nothing(void **state)
{
    static const char fill[] = "for i = 1, 300 do redis.call('ZADD', KEYS[1], i, "
                               "'{\"lock_digest\":\"' .. i .. '\"}') end";
    struct fixture *f = *state;

    store_expect(&f->store, NULL, "EVAL %s 1 schedule", fill);
    put(f, "schedule", "1", JOB("1"));
    look(f, 0);
    look(f, 1);
    assert_int_equal(f->parked, 1);
    assert_int_equal(f->accepted, 0);
    store_expect(&f->store, "301", "ZCARD schedule");
}

/* --- order --- */

static void a_pair_stays_in_order(void **state)
{
    struct fixture *f = *state;

    put(f, "schedule", "1", JOB("1"));
    put(f, "schedule", "1.001", HEAD "{}" TAIL "2\",\"created_at\":1700000001.5}");
    put(f, "schedule", "1.002", HEAD "{}" TAIL "3\",\"created_at\":1700000002.5}");
    look(f, 0);
    look(f, 1); /* the first */
    look(f, 2); /* the others */
    assert_int_equal(f->parked, 3);
    comes(f, "schedule", "3601.000000", JOB("1"));
    comes(f, "schedule", "3601.001000", HEAD "{}" TAIL "2\",\"created_at\":1700000001.5}");
    comes(f, "schedule", "3601.002000", HEAD "{}" TAIL "3\",\"created_at\":1700000002.5}");
}

/* Of two that come together, the first isn't put behind what comes later than both. */
static void a_pair_stays_before_what_comes_later(void **state)
{
    static const char *const jobs[] = {JOB("1"), HEAD "{}" TAIL "2\",\"created_at\":1700000001.5}",
                                       HEAD "{}" TAIL "3\",\"created_at\":1700000002.5}"};
    struct fixture *f = *state;
    char pair[PAIR_TEXT];

    f->base_s -= 123; /* by Redis' clock the two are due, too */
    pair_text(pair, pair_of(7, STR("https://dead.example/inbox")));
    char *chain = mem_printf("1700000000500000 %" PRId64 "000000 1700000001500000 %" PRId64
                             "500000 1700000002500000 %" PRId64 "000000",
                             f->base_s + 1, f->base_s + 1, f->base_s + HOUR_S);
    store_expect(&f->store, NULL, "HSET " PAIRS " %s %s", pair, chain);
    free(chain);
    put(f, "schedule", "1", jobs[0]);
    put(f, "schedule", "1.5", jobs[1]);
    put(f, "schedule", "3600", jobs[2]);
    f->wait_ms = (int64_t)2 * HOUR_S * 1000;
    f->wall_us = f->base_s * 1000000 + 500000;
    intake_due(f->intake, ORIGIN_SCHEDULE, on_room(f));
    settle_down(f);
    look(f, 2);
    assert_int_equal(f->parked, 2);
    comes(f, "schedule", "3599.999000", jobs[0]);
    comes(f, "schedule", "3599.999500", jobs[1]);
    comes(f, "schedule", "3600.000000", jobs[2]);
}

/* It isn't put behind where it stood itself, though Redis' clock hasn't come so far. */
static void a_pair_doesnt_wait_for_itself(void **state)
{
    struct fixture *f = *state;

    put(f, "schedule", "1", JOB("1"));
    for (int64_t hour = 0; hour < 3; hour++) {
        look(f, hour * HOUR_S);
        look(f, hour * HOUR_S + 1);
        assert_int_equal(f->parked, hour + 1);
        assert_int_equal(f->back_ms, (f->base_s + 1 + (hour + 1) * HOUR_S) * 1000);
    }
}

/* --- faults --- */

/* A call that says of the first job where it is parked. */
static redisReply *run(struct fixture *f, const char *script)
{
    int due_s = (int)f->base_s + 1;
    char *which = mem_printf("%d %d", due_s, (int)strlen(JOB("1")));
    char *where = mem_printf("%d.000000 10 0 a1 1700000000500000 dead.example", due_s + HOUR_S);
    redisReply *reply =
        redisCommand(f->store.direct,
                     "EVAL %s 10 fedpush:identities fedpush:claimed:me schedule fedpush:recoveries "
                     "fedpush:ledger:me fedpush:held:me " PAIRS " retry schedule " BOOKED
                     " me %d 10 1000000 100 s 0 100 16 %d %s %s",
                     script, due_s, due_s + 1, which, where);
    free(which);
    free(where);
    return reply;
}

/* The script as if Redis died at its so-manieth command. */
static char *dying(const char *script, int at)
{
    return mem_printf("local real, count = redis, 0\n"
                      "local function run(how) return function(...) count = count + 1\n"
                      "if count > %d then error('died') end return real[how](...) end end\n"
                      "local redis = {call = run('call'), pcall = run('pcall')}\n%s",
                      at, script);
}

static void dying_anywhere_keeps_the_entry(void **state)
{
    struct fixture *f = *state;
    bool died = true;
    int steps = 0;

    for (; died; steps++) {
        char *script = dying(script_due, steps);
        store_expect(&f->store, NULL, "DEL schedule " BOOKED " " PAIRS);
        put(f, "schedule", "1", JOB("1"));
        redisReply *reply = run(f, script);
        died = reply->type == REDIS_REPLY_ERROR;
        if (died)
            assert_non_null(strstr(reply->str, "died"));
        freeReplyObject(reply);
        free(script);
        store_expect(&f->store, JOB("1"), "ZRANGE schedule 0 -1");
        freeReplyObject(run(f, script_due)); /* replayed, or too late */
        comes(f, "schedule", "3601.000000", JOB("1"));
        store_expect(&f->store, "0", "EXISTS fedpush:claimed:me");
    }
    assert_true(steps > 10);
    is_booked(f, 's', 1 + HOUR_S);
}

static void a_lost_answer_costs_nothing(void **state)
{
    struct fixture *f = *state;

    put(f, "schedule", "1", JOB("1"));
    look(f, 0);
    f->joined = false;
    f->wall_us = (f->base_s + 1) * 1000000;
    store_lose_answer(&f->store);
    intake_due(f->intake, ORIGIN_SCHEDULE, on_room(f));
    server_wait(f->store.base, &f->joined);
    settle_down(f);
    assert_int_equal(f->parked, 0);
    comes(f, "schedule", "3601.000000", JOB("1"));
    look(f, HOUR_S);
    look(f, HOUR_S + 1);
    assert_int_equal(f->parked, 1);
    assert_int_equal(f->accepted, 0);
}

static void a_full_redis_parks(void **state)
{
    struct fixture *f = *state;

    put(f, "schedule", "1", JOB("1"));
    look(f, 0);
    store_expect(&f->store, "OK", "CONFIG SET maxmemory-policy noeviction");
    store_expect(&f->store, "OK", "CONFIG SET maxmemory 1");
    look(f, 1);
    assert_int_equal(f->parked, 1);
    comes(f, "schedule", "3601.000000", JOB("1"));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, start, end)
    const struct CMUnitTest tests[] = {
        TEST(what_would_be_parked_again_stays),
        TEST(what_is_to_be_tried_is_claimed),
        TEST(what_was_to_stay_may_be_tried_after_all),
        TEST(without_parked_jobs_nothing_is_named),
        TEST(what_isnt_plain_is_claimed),
        TEST(a_long_tail_is_claimed),
        TEST(what_came_elsewhere_meanwhile_is_claimed),
        TEST(one_verdict_is_for_one_entry),
        TEST(many_stay_within_a_second),
        TEST(what_is_rubys_hides_nothing),
        TEST(a_pair_stays_in_order),
        TEST(a_pair_stays_before_what_comes_later),
        TEST(a_pair_doesnt_wait_for_itself),
        TEST(dying_anywhere_keeps_the_entry),
        TEST(a_lost_answer_costs_nothing),
        TEST(a_full_redis_parks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
