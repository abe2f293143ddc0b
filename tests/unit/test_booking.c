/*
 * Jobs that are booked at a host by what settles them (settle.lua), come back by themselves
 * (due.lua) or are called back (release.lua), against a real Redis and with two machines.
 */
#include <inttypes.h>
#include <math.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <sodium.h>

#include "sched/fleet.h"
#include "sched/retry.h"
#include "sched/scripts.h"
#include "sched/settle.h"
#include "store.h"

enum { MACHINES = 2, MINUTE_MS = 60000, HOUR_MS = 3600000 };

#define HOST "a.example"
#define BOOKED "fedpush:booked:a.example"
#define PAIRS "fedpush:pairs"
#define RESERVED "fedpush:reserved"
#define HELD "fedpush:held:m0"

struct machine {
    struct fixture *f;
    struct redis *redis;
    struct membership *membership;
    struct holdings holdings;
    struct settle *settle;
    uint64_t seq;
    bool joined;
    bool settled;
    int64_t back_ms; /* of the last claim */
};

struct fixture {
    struct store store;
    struct clock clock;
    struct rng rng;
    struct machine machines[MACHINES];
    struct fleet *fleet; /* of the first machine */
    int64_t base_ms;     /* two minutes after the test began, by Redis' time */
    bool answered;
    unsigned moved;
    unsigned left;
    char reply[4096];
};

static void on_ready(void *arg)
{
    struct machine *m = arg;
    script_load(m->redis);
    membership_redis_ready(m->membership);
}

static void on_lost(void *arg, const char *reason)
{
    struct machine *m = arg;
    (void)reason;
    membership_redis_lost(m->membership);
}

static void on_joined(void *arg)
{
    struct machine *m = arg;
    m->joined = true;
    if (m->settle != NULL)
        settle_replay(m->settle);
}

static void on_fenced(void *arg)
{
    (void)arg;
    fail_msg("fenced");
}

static void on_ended(void *arg, const struct claim *claim, int64_t back_ms)
{
    struct machine *m = arg;
    (void)claim;
    m->back_ms = back_ms;
}

static void on_settled(void *arg)
{
    struct machine *m = arg;
    m->settled = settle_pending(m->settle) == 0;
}

static void start_machine(struct fixture *f, unsigned index)
{
    static const struct redis_handlers handlers = {on_ready, on_lost};
    struct machine *m = &f->machines[index];
    const struct membership_handlers member = {on_joined, on_fenced, m};

    m->f = f;
    holdings_init(&m->holdings);
    m->redis = redis_create(f->store.base, f->store.dns, &f->store.endpoint, "test", &handlers, m);
    m->membership = membership_create(f->store.base, &f->clock, m->redis, &f->store.keys, &member);
    m->settle = settle_create(&(struct settle_options){.base = f->store.base,
                                                       .clock = &f->clock,
                                                       .redis = m->redis,
                                                       .keys = &f->store.keys,
                                                       .membership = m->membership,
                                                       .holdings = &m->holdings,
                                                       .ended = on_ended,
                                                       .settled = on_settled,
                                                       .arg = m});
    membership_adopt(m->membership, index == 0 ? STR("m0") : STR("m1"));
    server_wait(f->store.base, &m->joined);
}

static int start(void **state)
{
    struct fixture *f = mem_alloc(sizeof(*f));

    signal(SIGPIPE, SIG_IGN);
    if (sodium_init() < 0)
        return 1;
    store_start(&f->store);
    f->clock = clock_system();
    f->rng = rng_system();
    for (unsigned i = 0; i < MACHINES; i++)
        start_machine(f, i);
    f->fleet = fleet_create(&(struct fleet_options){.clock = &f->clock,
                                                    .rng = &f->rng,
                                                    .redis = f->machines[0].redis,
                                                    .keys = &f->store.keys,
                                                    .membership = f->machines[0].membership,
                                                    .arg = f});
    redisReply *time = redisCommand(f->store.direct, "TIME");
    f->base_ms = (strtoll(time->element[0]->str, NULL, 10) + 120) * 1000;
    freeReplyObject(time);
    *state = f;
    return 0;
}

static int end(void **state)
{
    struct fixture *f = *state;

    for (unsigned i = 0; i < MACHINES; i++) {
        struct machine *m = &f->machines[i];
        while (redis_outstanding(m->redis) > 0)
            event_base_loop(f->store.base, EVLOOP_ONCE);
        redis_destroy(m->redis);
        settle_destroy(m->settle);
        membership_destroy(m->membership);
        holdings_clear(&m->holdings);
    }
    fleet_destroy(f->fleet);
    store_stop(&f->store);
    free(f);
    return 0;
}

struct booking {
    const char *job;
    const char *host; /* NULL: HOST */
    int64_t at_ms;    /* from base_ms */
    uint32_t share_ms;
    uint64_t pair;
    int created_s;
    enum settle_verb verb; /* 0: SETTLE_SCHEDULE */
};

/* Hands a claim of this job over to be settled. */
static void add(struct fixture *f, unsigned machine, struct booking b)
{
    struct machine *m = &f->machines[machine];
    uint64_t seq = ++m->seq;
    struct claim *claim = claim_create(seq, ORIGIN_QUEUE, STR_NULL, str_of(b.job));
    struct settlement what = {.verb = b.verb != SETTLE_DONE ? b.verb : SETTLE_SCHEDULE,
                              .host = str_of(b.host != NULL ? b.host : HOST),
                              .share_ms = b.share_ms,
                              .pair = b.pair,
                              .handoff_queue = "fedpush_ruby"};

    store_expect(&f->store, NULL, "HSET fedpush:claimed:m%u %d %s%s", machine, (int)seq, "q\n",
                 b.job);
    claim->job.created_at_s = b.created_s;
    assert_non_null(holdings_add(&m->holdings, claim));
    buf_init(&what.bytes, 4096);
    buf_put_str(&what.bytes, str_of(b.job));
    retry_score(what.score, (f->base_ms + b.at_ms) * 1000);
    m->settled = false;
    settle_add(m->settle, claim, &what);
    buf_clear(&what.bytes);
}

static void book(struct fixture *f, unsigned machine, struct booking b)
{
    add(f, machine, b);
    server_wait(f->store.base, &f->machines[machine].settled);
    assert_int_equal(f->machines[machine].holdings.fenced, 0);
}

static double score_of(const struct fixture *f, const char *zset, const char *job)
{
    redisReply *reply = redisCommand(f->store.direct, "ZSCORE %s %s", zset, job);
    double score;

    if (reply->type != REDIS_REPLY_STRING)
        fail_msg("%s isn't in %s", job, zset);
    score = strtod(reply->str, NULL);
    freeReplyObject(reply);
    return score;
}

/* When it comes back, in milliseconds from base_ms. */
static int64_t comes_ms(const struct fixture *f, const char *job)
{
    return (int64_t)floor(score_of(f, "schedule", job) * 1000 + 0.0005) - f->base_ms;
}

static int64_t number(const struct fixture *f, const char *command)
{
    redisReply *reply = redisCommand(f->store.direct, command);
    int64_t value = reply->type == REDIS_REPLY_STRING    ? strtoll(reply->str, NULL, 10)
                    : reply->type == REDIS_REPLY_INTEGER ? reply->integer
                                                         : -1;
    freeReplyObject(reply);
    return value;
}

static void on_released(void *arg, struct str host, unsigned moved, unsigned left)
{
    struct fixture *f = arg;

    assert_true(host.len > 0);
    f->moved = moved;
    f->left = left;
    f->answered = true;
}

static void release(struct fixture *f, unsigned count, uint32_t gap_ms)
{
    f->answered = false;
    fleet_release(f->fleet, STR(HOST), count, gap_ms, on_released, f);
    server_wait(f->store.base, &f->answered);
}

/* --- the clock --- */

static void machines_book_on_one_clock(void **state)
{
    struct fixture *f = *state;

    book(f, 0, (struct booking){.job = "1", .at_ms = 5000, .share_ms = 700});
    book(f, 1, (struct booking){.job = "2", .at_ms = 5000, .share_ms = 700});
    book(f, 1, (struct booking){.job = "3", .at_ms = 0, .share_ms = 300});
    book(f, 0, (struct booking){.job = "4", .at_ms = 6000, .share_ms = 700});
    book(f, 0, (struct booking){.job = "5", .at_ms = 20000, .share_ms = 700}); /* later anyway */
    book(f, 0, (struct booking){.job = "6", .host = "b.example", .at_ms = 0, .share_ms = 700});
    assert_int_equal(comes_ms(f, "1"), 5700);
    assert_int_equal(comes_ms(f, "2"), 6400);
    assert_int_equal(comes_ms(f, "3"), 6700);
    assert_int_equal(comes_ms(f, "4"), 7400);
    assert_int_equal(comes_ms(f, "5"), 20700);
    assert_int_equal(comes_ms(f, "6"), 700);
    assert_int_equal(number(f, "HGET " RESERVED " " HOST), f->base_ms + 20700);
    store_expect(&f->store, "5", "ZCARD " BOOKED);
    assert_true(number(f, "TTL " BOOKED) > 2 * 86400);
    store_expect(&f->store, "0", "EXISTS " PAIRS);
}

static void the_clock_is_an_hour_ahead_at_most(void **state)
{
    struct fixture *f = *state;

    store_expect(&f->store, NULL, "HSET " RESERVED " " HOST " %lld",
                 (long long)f->base_ms + 10LL * HOUR_MS);
    book(f, 0, (struct booking){.job = "1", .at_ms = 0, .share_ms = 1000});
    assert_in_range(comes_ms(f, "1"), HOUR_MS - 2 * MINUTE_MS, HOUR_MS);
    store_expect(&f->store, NULL, "HSET " RESERVED " " HOST " nonsense");
    book(f, 0, (struct booking){.job = "2", .at_ms = MINUTE_MS, .share_ms = 1000});
    assert_int_equal(comes_ms(f, "2"), MINUTE_MS + 1000);
}

static void without_a_share_the_score_counts(void **state)
{
    struct fixture *f = *state;
    char member[64];
    char score[32];

    book(f, 0, (struct booking){.job = "1", .at_ms = 5000, .share_ms = 1000});
    book(f, 0, (struct booking){.job = "2", .at_ms = 9000});
    book(f, 0, (struct booking){.job = "3", .at_ms = 3000, .verb = SETTLE_RETRY});
    assert_int_equal(comes_ms(f, "2"), 9000);
    assert_int_equal(number(f, "HGET " RESERVED " " HOST), f->base_ms + 6000);
    retry_score(score, (f->base_ms + 3000) * 1000);
    snprintf(member, sizeof(member), "r%s", score);
    assert_true(fabs(score_of(f, BOOKED, member) - score_of(f, "retry", "3")) < 1e-7);
    retry_score(score, (f->base_ms + 9000) * 1000);
    snprintf(member, sizeof(member), "s%s", score);
    assert_true(fabs(score_of(f, BOOKED, member) - score_of(f, "schedule", "2")) < 1e-7);
}

static void no_two_jobs_have_one_score(void **state)
{
    struct fixture *f = *state;
    char job[8];

    for (int i = 0; i < 5; i++) {
        snprintf(job, sizeof(job), "%d", i);
        book(f, 0,
             (struct booking){.job = job, .host = i % 2 == 0 ? HOST : "b.example", .at_ms = 5000});
    }
    for (int i = 0; i < 5; i++) {
        snprintf(job, sizeof(job), "%d", i);
        int64_t us = (int64_t)(score_of(f, "schedule", job) * 1e6 + 0.5);
        assert_int_equal(us, (f->base_ms + 5000) * 1000 + i);
    }
}

/* --- what can't be written --- */

static bool is_only_claim(const struct fixture *f, const char *seq)
{
    redisReply *reply = redisCommand(f->store.direct, "HKEYS fedpush:claimed:m0");
    bool only = reply->elements == 1 && strcmp(reply->element[0]->str, seq) == 0;
    freeReplyObject(reply);
    return only;
}

/* `retry` of a kind that no job can go to stands for whatever a script fails by. */
static void one_that_can_not_be_written_holds_up_no_other(void **state)
{
    struct fixture *f = *state;
    struct machine *m = &f->machines[0];
    char job[8];

    store_expect(&f->store, "OK", "SET retry nonsense");
    for (int i = 1; i <= 20; i++) {
        snprintf(job, sizeof(job), "%d", i);
        add(f, 0, (struct booking){.job = job, .verb = i == 7 ? SETTLE_RETRY : SETTLE_SCHEDULE});
    }
    for (int i = 0; i < 1500 && !is_only_claim(f, "7"); i++)
        server_run(f->store.base, 20);
    assert_true(is_only_claim(f, "7"));
    for (int i = 0; i < 1500 && settle_pending(m->settle) != 1; i++)
        server_run(f->store.base, 20);
    assert_int_equal(settle_pending(m->settle), 1);
    store_expect(&f->store, "19", "ZCARD schedule");
    store_expect(&f->store, "1", "DEL retry");
    server_wait(f->store.base, &m->settled);
    store_expect(&f->store, "7", "ZRANGE retry 0 -1");
    store_expect(&f->store, "0", "EXISTS fedpush:claimed:m0");
}

/* Whatever it says of itself. */
static void a_job_of_no_known_time_is_booked(void **state)
{
    struct fixture *f = *state;
    struct machine *m = &f->machines[0];
    struct json *json = json_create();
    struct settlement what = {.verb = SETTLE_SCHEDULE, .host = STR(HOST), .pair = 7};
    const struct str job = STR("{\"class\":\"ActivityPub::DeliveryWorker\",\"args\":[\"{}\",7,"
                               "\"https://a.example/inbox\"],\"created_at\":1700000000000000000}");
    struct claim *claim = claim_create(++m->seq, ORIGIN_QUEUE, STR_NULL, job);

    store_expect(&f->store, NULL, "HSET fedpush:claimed:m0 1 %s%s", "q\n", job.ptr);
    job_parse(&claim->job, json, (struct str){claim->payload, claim->payload_bytes});
    claim->parsed = true;
    assert_int_equal(claim->job.kind, JOB_DELIVERY);
    assert_non_null(holdings_add(&m->holdings, claim));
    retry_score(what.score, (f->base_ms + 5000) * 1000);
    settle_add(m->settle, claim, &what);
    server_wait(f->store.base, &m->settled);
    assert_int_equal(comes_ms(f, job.ptr), 5000);
    json_destroy(json);
    book(f, 0, (struct booking){.job = "odd", .at_ms = 5000, .pair = 7, .created_s = -5});
    assert_int_equal(comes_ms(f, "odd"), 5000);
}

/* --- pairs --- */

static void undo_never_overtakes_follow(void **state)
{
    struct fixture *f = *state;

    book(f, 0, (struct booking){.job = "follow", .at_ms = HOUR_MS, .pair = 0xabc, .created_s = 1});
    book(f, 1, (struct booking){.job = "undo", .at_ms = 20000, .pair = 0xabc, .created_s = 2});
    book(f, 0,
         (struct booking){.job = "again", .at_ms = 2LL * HOUR_MS, .pair = 0xabc, .created_s = 3});
    book(f, 0, (struct booking){.job = "other", .at_ms = 20000, .pair = 0xabd, .created_s = 2});
    book(f, 0, (struct booking){.job = "any", .at_ms = 20000, .created_s = 2});
    assert_int_equal(comes_ms(f, "follow"), HOUR_MS);
    assert_int_equal(comes_ms(f, "undo"), HOUR_MS + 1);
    assert_int_equal(f->machines[1].back_ms, f->base_ms + HOUR_MS + 1); /* it hears of that */
    assert_int_equal(comes_ms(f, "again"), HOUR_MS + 2); /* with them, though it may come later */
    assert_int_equal(comes_ms(f, "other"), 20000);
    assert_int_equal(comes_ms(f, "any"), 20000);
    /* On the clock each has a time of its own, behind that. */
    book(f, 0,
         (struct booking){
             .job = "clocked", .at_ms = 20000, .share_ms = 500, .pair = 0xabc, .created_s = 4});
    assert_int_equal(comes_ms(f, "clocked"), HOUR_MS + 3);
    book(
        f, 0,
        (struct booking){
            .job = "next", .at_ms = 2LL * HOUR_MS, .share_ms = 500, .pair = 0xabc, .created_s = 5});
    assert_int_equal(comes_ms(f, "next"), 2LL * HOUR_MS + 500);
    assert_true(number(f, "TTL " PAIRS) > 2 * 86400);
}

/* They are due together, and whoever is booked again first stays first. */
static void those_that_come_back_together_keep_their_order(void **state)
{
    struct fixture *f = *state;

    book(f, 0, (struct booking){.job = "follow", .at_ms = -HOUR_MS, .pair = 7, .created_s = 1});
    book(f, 0, (struct booking){.job = "undo", .at_ms = -HOUR_MS, .pair = 7, .created_s = 2});
    book(f, 0, (struct booking){.job = "follow", .at_ms = HOUR_MS, .pair = 7, .created_s = 1});
    book(f, 0, (struct booking){.job = "undo", .at_ms = MINUTE_MS, .pair = 7, .created_s = 2});
    assert_int_equal(comes_ms(f, "follow"), HOUR_MS);
    assert_int_equal(comes_ms(f, "undo"), HOUR_MS + 1);
}

static void what_comes_back_keeps_its_place(void **state)
{
    struct fixture *f = *state;
    static const char *const jobs[] = {"1", "2", "3", "4"};

    for (int i = 0; i < 4; i++)
        book(f, 0,
             (struct booking){.job = jobs[i],
                              .at_ms = MINUTE_MS,
                              .share_ms = 1000,
                              .pair = 7,
                              .created_s = i + 1});
    for (int round = 0; round < 2; round++) { /* the first two had their turn, and again no room */
        for (int i = 0; i < 2; i++)
            book(f, 0,
                 (struct booking){.job = jobs[i],
                                  .at_ms = MINUTE_MS,
                                  .share_ms = 1000,
                                  .pair = 7,
                                  .created_s = i + 1});
    }
    for (int i = 0; i < 3; i++)
        assert_true(score_of(f, "schedule", jobs[i]) < score_of(f, "schedule", jobs[i + 1]));
    assert_int_equal(comes_ms(f, "4"), MINUTE_MS + 4000);
}

static void pairs_are_bounded(void **state)
{
    struct fixture *f = *state;
    char job[16];
    char expected[80];

    for (int i = 1; i <= 40; i++) {
        snprintf(job, sizeof(job), "%d", i);
        book(f, 0, (struct booking){.job = job, .at_ms = HOUR_MS, .pair = 7, .created_s = i});
    }
    redisReply *reply = redisCommand(f->store.direct, "HGET " PAIRS " 0000000000000007");
    int spaces = 0;
    for (const char *at = reply->str; *at != '\0'; at++)
        spaces += *at == ' ';
    assert_int_equal(spaces, 2 * 32 - 1);
    snprintf(expected, sizeof(expected), " 40000000 %" PRId64, (f->base_ms + HOUR_MS + 39) * 1000);
    assert_true(str_ends_with(str_of(reply->str), str_of(expected)));
    freeReplyObject(reply);
    store_expect(&f->store, NULL, "EVAL %s 0 %lld",
                 "for i = 1, 100000 do redis.call('HSET', '" PAIRS
                 "', 'x' .. i, '1 ' .. ARGV[1]) end",
                 (long long)(f->base_ms + HOUR_MS) * 1000);
    book(f, 0, (struct booking){.job = "no", .at_ms = HOUR_MS, .pair = 0xf00, .created_s = 1});
    store_expect(&f->store, "0", "HEXISTS " PAIRS " 0000000000000f00"); /* no place: in any order */
    store_expect(&f->store, NULL, "DEL " PAIRS);
    store_expect(&f->store, NULL, "EVAL %s 0",
                 "for i = 1, 100000 do redis.call('HSET', '" PAIRS "', 'x' .. i, '1 1000000') end");
    book(f, 0, (struct booking){.job = "yes", .at_ms = HOUR_MS, .pair = 0xf00, .created_s = 1});
    store_expect(&f->store, "1",
                 "HEXISTS " PAIRS " 0000000000000f00"); /* what is over gave it up */
    assert_true(number(f, "HLEN " PAIRS) < 100000);
}

static void absurd_times_are_no_order(void **state)
{
    struct fixture *f = *state;

    store_expect(&f->store, NULL, "HSET " PAIRS " 0000000000000007 %s",
                 "1 9000000000000000 2 1e300 nonsense");
    book(f, 0, (struct booking){.job = "1", .at_ms = MINUTE_MS, .pair = 7, .created_s = 3});
    assert_int_equal(comes_ms(f, "1"), MINUTE_MS);
}

static void what_is_booked_is_bounded(void **state)
{
    struct fixture *f = *state;

    store_expect(&f->store, NULL, "EVAL %s 0 %lld",
                 "for i = 1, 100000 do local at = string.format('%d.%06d', ARGV[1], i) "
                 "redis.call('ZADD', '" BOOKED "', at, 's' .. at) end",
                 (long long)(f->base_ms + HOUR_MS) / 1000);
    book(f, 0, (struct booking){.job = "late", .at_ms = 2LL * HOUR_MS});
    store_expect(&f->store, "100000", "ZCARD " BOOKED);
    assert_int_equal(comes_ms(f, "late"), 2LL * HOUR_MS); /* comes by itself */
    book(f, 0, (struct booking){.job = "early", .at_ms = MINUTE_MS});
    store_expect(&f->store, "100000", "ZCARD " BOOKED);
    release(f, 1, 0);
    assert_true(comes_ms(f, "early") < MINUTE_MS);
}

/* --- what may go wrong --- */

static void what_is_broken_stops_no_job(void **state)
{
    struct fixture *f = *state;

    store_expect(&f->store, "OK", "MSET " BOOKED " x " PAIRS " x " RESERVED " x");
    book(f, 0,
         (struct booking){.job = "1", .at_ms = 5000, .share_ms = 700, .pair = 7, .created_s = 1});
    assert_int_equal(comes_ms(f, "1"), 5700);
    store_expect(&f->store, "0", "HEXISTS fedpush:claimed:m0 1");
    release(f, 1, 0);
    assert_int_equal(f->moved, 0);
    assert_int_equal(f->left, 1); /* unknown: the caller may ask again */
}

static void a_replay_books_nothing(void **state)
{
    struct fixture *f = *state;

    add(f, 0,
        (struct booking){.job = "1", .at_ms = 5000, .share_ms = 700, .pair = 7, .created_s = 1});
    store_lose_answer(&f->store);
    server_wait(f->store.base, &f->machines[0].settled);
    assert_int_equal(f->machines[0].holdings.fenced, 1); /* the first call ended it */
    assert_int_equal(comes_ms(f, "1"), 5700);
    assert_int_equal(number(f, "HGET " RESERVED " " HOST), f->base_ms + 5700);
    store_expect(&f->store, "1", "ZCARD " BOOKED);
}

/* A batch in which everything has keys of its own. */
static void keys_of_a_batch_stay_apart(void **state)
{
    struct fixture *f = *state;

    add(f, 0, (struct booking){.job = "h1", .verb = SETTLE_HANDOFF});
    add(f, 0, (struct booking){.job = "1", .at_ms = 5000, .share_ms = 700, .pair = 7});
    add(f, 0, (struct booking){.job = "h2", .verb = SETTLE_HANDOFF});
    add(f, 0, (struct booking){.job = "2", .host = "b.example", .at_ms = 5000, .share_ms = 100});
    add(f, 0, (struct booking){.job = "dead", .verb = SETTLE_DEAD});
    add(f, 0, (struct booking){.job = "3", .verb = SETTLE_RETRY, .at_ms = 5000, .share_ms = 700});
    server_wait(f->store.base, &f->machines[0].settled);
    store_expect(&f->store, "h2|h1", "LRANGE queue:fedpush_ruby 0 -1");
    store_expect(&f->store, "dead", "ZRANGE dead 0 -1");
    assert_int_equal(comes_ms(f, "1"), 5700);
    assert_int_equal(comes_ms(f, "2"), 5100);
    assert_true(fabs(score_of(f, "retry", "3") - (double)(f->base_ms + 6400) / 1000) < 0.001);
    store_expect(&f->store, "2|1|1", "EVAL %s 0",
                 "return {redis.call('ZCARD', '" BOOKED "'),"
                 " redis.call('ZCARD', 'fedpush:booked:b.example'), redis.call('HLEN', '" PAIRS
                 "')}");
}

/* The script as if Redis died at its so-manieth command. */
static char *dying(const char *script, int at)
{
    return mem_printf("local real, count = redis, 0\n"
                      "local function run(how) return function(...) count = count + 1\n"
                      "if count > %d then error('died') end return real[how](...) end end\n"
                      "local redis = {call = run('call'), pcall = run('pcall'), "
                      "sha1hex = real.sha1hex}\n%s",
                      at, script);
}

static void put_claim(struct fixture *f)
{
    store_expect(&f->store, NULL, "DEL schedule " BOOKED " " PAIRS " " RESERVED);
    store_expect(&f->store, NULL, "HSET fedpush:claimed:m0 9 %s", "q\njob");
}

static redisReply *settle_by(struct fixture *f, const char *script)
{
    char score[32];

    retry_score(score, (f->base_ms + MINUTE_MS) * 1000);
    char *word = mem_printf("%s 15 500 00000000000000a1 1000000 " HOST, score);
    redisReply *reply = redisCommand(
        f->store.direct,
        "EVAL %s 15 fedpush:claimed:m0 queue:push retry schedule dead queues fedpush:recoveries "
        "fedpush:ledger:m0 queue:pull " RESERVED " " PAIRS " " HELD
        " fedpush:wait:m0 fedpush:identities " BOOKED
        " 1800000000.0 9 schedule %s job %s booked %s",
        script, word, "", "00000000000000a1 9");
    free(word);
    return reply;
}

static void dying_anywhere_loses_no_booked_job(void **state)
{
    struct fixture *f = *state;
    bool died = true;
    int steps = 0;

    for (; died; steps++) {
        char *script = dying(script_settle, steps);
        put_claim(f);
        redisReply *reply = settle_by(f, script);
        died = reply->type == REDIS_REPLY_ERROR;
        if (died)
            assert_non_null(strstr(reply->str, "died"));
        freeReplyObject(reply);
        free(script);
        int64_t claimed = number(f, "HEXISTS fedpush:claimed:m0 9");
        int64_t there = number(f, "ZCARD schedule");
        assert_true(claimed + there >= 1);
        freeReplyObject(settle_by(f, script_settle)); /* replayed, or too late */
        store_expect(&f->store, "0", "HEXISTS fedpush:claimed:m0 9");
        store_expect(&f->store, "job", "ZRANGE schedule 0 -1");
    }
    assert_true(steps > 10);
}

static void dying_anywhere_keeps_what_is_called_back(void **state)
{
    struct fixture *f = *state;
    bool died = true;
    int steps = 0;

    for (; died; steps++) {
        char *script = dying(script_release, steps);
        store_expect(&f->store, NULL, "DEL schedule " BOOKED " " PAIRS " " RESERVED);
        for (int i = 1; i <= 3; i++) {
            const char job[2] = {(char)('0' + i), '\0'};
            book(f, 0, (struct booking){.job = job, .at_ms = HOUR_MS, .share_ms = 1000});
        }
        redisReply *reply = redisCommand(
            f->store.direct,
            "EVAL %s 5 " BOOKED " " PAIRS " " RESERVED " retry schedule " HOST " 10 5", script);
        died = reply->type == REDIS_REPLY_ERROR;
        freeReplyObject(reply);
        free(script);
        store_expect(&f->store, "3", "ZCARD schedule");
        release(f, 10, 5);
        store_expect(&f->store, "3", "ZCARD schedule");
        for (int i = 1; i <= 3; i++) {
            const char job[2] = {(char)('0' + i), '\0'};
            assert_true(comes_ms(f, job) < HOUR_MS);
        }
    }
    assert_true(steps > 10);
}

static void a_full_redis_books_and_calls_back(void **state)
{
    struct fixture *f = *state;

    add(f, 0, (struct booking){.job = "1", .at_ms = HOUR_MS, .share_ms = 700, .pair = 7});
    store_expect(&f->store, "OK", "CONFIG SET maxmemory-policy noeviction");
    store_expect(&f->store, "OK", "CONFIG SET maxmemory 1");
    server_wait(f->store.base, &f->machines[0].settled);
    assert_int_equal(comes_ms(f, "1"), HOUR_MS + 700);
    store_expect(&f->store, "1", "ZCARD " BOOKED);
    release(f, 1, 0);
    assert_int_equal(f->moved, 1);
    assert_true(comes_ms(f, "1") < HOUR_MS);
}

/* --- coming back --- */

static void what_is_booked_is_called_back_in_order(void **state)
{
    enum { BOOKED_MS = HOUR_MS / 2 };
    struct fixture *f = *state;
    char job[8];

    for (int i = 1; i <= 5; i++) {
        snprintf(job, sizeof(job), "%d", i);
        book(f, (unsigned)i % 2,
             (struct booking){
                 .job = job, .at_ms = BOOKED_MS, .share_ms = 60000, .pair = 7, .created_s = i});
    }
    book(f, 0, (struct booking){.job = "other", .host = "b.example", .at_ms = BOOKED_MS});
    store_expect(&f->store, "1", "ZREM schedule 2"); /* somebody has it by now */
    release(f, 3, 2000);
    assert_int_equal(f->moved, 3);
    assert_int_equal(f->left, 1);
    int64_t first_ms = comes_ms(f, "1");
    assert_true(first_ms < BOOKED_MS / 2);
    assert_int_equal(comes_ms(f, "3"), first_ms + 2000);
    assert_int_equal(comes_ms(f, "4"), first_ms + 4000);
    assert_int_equal(comes_ms(f, "5"), BOOKED_MS + 5 * 60000);
    assert_int_equal(comes_ms(f, "other"), BOOKED_MS);
    assert_int_equal(number(f, "HGET " RESERVED " " HOST), f->base_ms + BOOKED_MS + 5 * 60000);
    store_expect(&f->store, "1", "EXISTS " PAIRS);
    release(f, 100, 2000);
    assert_int_equal(f->moved, 1);
    assert_int_equal(f->left, 0);
    /* Behind the others, though asked for later. */
    assert_in_range(comes_ms(f, "5") - first_ms, 6000, 6001);
    assert_true(number(f, "HGET " RESERVED " " HOST) < f->base_ms + BOOKED_MS);
    release(f, 100, 0);
    assert_int_equal(f->moved + f->left, 0);
}

static void nothing_is_called_back_to_later(void **state)
{
    struct fixture *f = *state;

    book(f, 0, (struct booking){.job = "1", .at_ms = HOUR_MS});
    book(f, 0, (struct booking){.job = "2", .at_ms = HOUR_MS + 1000, .verb = SETTLE_RETRY});
    book(f, 0, (struct booking){.job = "3", .at_ms = HOUR_MS + 2000});
    release(f, 100, 2 * HOUR_MS);
    assert_int_equal(f->moved, 3);
    assert_true(comes_ms(f, "1") < HOUR_MS);
    assert_true(fabs(score_of(f, "retry", "2") - (double)(f->base_ms + HOUR_MS + 1000) / 1000) <
                0.001);
    assert_int_equal(comes_ms(f, "3"), HOUR_MS + 2000);
}

static void a_call_looks_at_so_many(void **state)
{
    enum { MORE = 30 };
    struct fixture *f = *state;
    char job[8];

    for (int i = 0; i < FLEET_RELEASE_MAX + MORE; i++) {
        snprintf(job, sizeof(job), "%d", i);
        add(f, 0, (struct booking){.job = job, .at_ms = HOUR_MS, .share_ms = 10});
    }
    server_wait(f->store.base, &f->machines[0].settled);
    release(f, 1000, 1);
    assert_int_equal(f->moved, FLEET_RELEASE_MAX);
    assert_int_equal(f->left, MORE);
    release(f, 1000, 1);
    assert_int_equal(f->left, 0);
}

static void what_is_gone_holds_nothing_up(void **state)
{
    struct fixture *f = *state;
    char job[8];

    for (int i = 0; i < 730; i++) {
        snprintf(job, sizeof(job), "%d", i);
        add(f, 0, (struct booking){.job = job, .at_ms = HOUR_MS, .share_ms = 10});
    }
    server_wait(f->store.base, &f->machines[0].settled);
    store_expect(&f->store, "725", "ZREMRANGEBYRANK schedule 0 724");
    release(f, 2, 1);
    assert_int_equal(f->moved, 2);
    assert_int_equal(f->left, 3);
    assert_true(comes_ms(f, "726") < HOUR_MS);
    assert_true(comes_ms(f, "727") > HOUR_MS);
}

#define DELIVERY(n) "{\"class\":\"ActivityPub::DeliveryWorker\",\"jid\":\"" n "\"}"

static void on_due(void *arg, enum redis_status status, const redisReply *reply)
{
    struct fixture *f = arg;

    assert_int_equal(status, REDIS_REPLIED);
    f->reply[0] = '\0';
    for (size_t i = 3; reply->type == REDIS_REPLY_ARRAY && i < reply->elements; i += 4)
        snprintf(f->reply + strlen(f->reply), sizeof(f->reply) - strlen(f->reply), "%s;",
                 reply->element[i]->str);
    f->answered = true;
}

/* The jobs that due.lua takes at this time. */
static const char *due(struct fixture *f, const char *zset, const char *kind, int64_t at_ms)
{
    struct script_call *call = script_begin(SCRIPT_DUE);
    char now[32];

    retry_score(now, (f->base_ms + at_ms) * 1000);
    script_key(call, "fedpush:identities");
    script_key(call, "fedpush:claimed:m1");
    script_key(call, zset);
    script_key(call, "fedpush:recoveries");
    script_key(call, "fedpush:ledger:m1");
    script_key(call, "fedpush:held:m1");
    script_key(call, PAIRS);
    script_key(call, "retry");
    script_key(call, "schedule");
    script_arg(call, STR("m1"));
    script_arg(call, str_of(now));
    script_arg_number(call, 100);
    script_arg_number(call, 100000);
    script_arg_number(call, 100);
    script_arg(call, str_of(kind));
    script_arg_number(call, 0);
    script_arg_number(call, 100);
    f->answered = false;
    script_send(call, f->machines[1].redis, on_due, f);
    server_wait(f->store.base, &f->answered);
    return f->reply;
}

static void what_is_booked_comes_back_at_its_time(void **state)
{
    struct fixture *f = *state;

    book(f, 0, (struct booking){.job = DELIVERY("1"), .at_ms = 5000, .share_ms = 700});
    book(f, 0,
         (struct booking){
             .job = DELIVERY("2"), .at_ms = 5000, .share_ms = 700, .verb = SETTLE_RETRY});
    book(f, 0, (struct booking){.job = DELIVERY("3"), .at_ms = 5000, .share_ms = 700});
    assert_string_equal(due(f, "schedule", "s", 5699), "");
    assert_string_equal(due(f, "retry", "r", 6399), "");
    assert_string_equal(due(f, "schedule", "s", 5702), DELIVERY("1") ";");
    assert_string_equal(due(f, "retry", "r", 6402), DELIVERY("2") ";");
    release(f, 10, 0); /* the first two are passed over */
    assert_int_equal(f->moved, 1);
    assert_string_equal(due(f, "schedule", "s", HOUR_MS), DELIVERY("3") ";");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, start, end)
    const struct CMUnitTest tests[] = {
        TEST(machines_book_on_one_clock),
        TEST(the_clock_is_an_hour_ahead_at_most),
        TEST(without_a_share_the_score_counts),
        TEST(no_two_jobs_have_one_score),
        TEST(one_that_can_not_be_written_holds_up_no_other),
        TEST(a_job_of_no_known_time_is_booked),
        TEST(undo_never_overtakes_follow),
        TEST(those_that_come_back_together_keep_their_order),
        TEST(what_comes_back_keeps_its_place),
        TEST(pairs_are_bounded),
        TEST(absurd_times_are_no_order),
        TEST(what_is_booked_is_bounded),
        TEST(what_is_broken_stops_no_job),
        TEST(a_replay_books_nothing),
        TEST(keys_of_a_batch_stay_apart),
        TEST(dying_anywhere_loses_no_booked_job),
        TEST(dying_anywhere_keeps_what_is_called_back),
        TEST(a_full_redis_books_and_calls_back),
        TEST(what_is_booked_is_called_back_in_order),
        TEST(nothing_is_called_back_to_later),
        TEST(a_call_looks_at_so_many),
        TEST(what_is_gone_holds_nothing_up),
        TEST(what_is_booked_comes_back_at_its_time),
    };
    return cmocka_run_group_tests_name("booking", tests, NULL, NULL);
}
