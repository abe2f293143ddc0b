/*
 * The simulator's store (tests/sim/store.c) against what it stands for: the same random steps for
 * both, the scripts in a real Redis whose clock is the test's. After each step both must hold the
 * same jobs at the same places and times.
 */
#include <inttypes.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <hiredis/hiredis.h>

#include "base/str.h"
#include "sched/away.h"
#include "sched/pair.h"
#include "sched/scripts.h"
#include "server.h"
#include "tests/sim/dice.h"
#include "tests/sim/store.h"

enum {
    MACHINES = 2,
    HOSTS = 3,
    ACCOUNTS = 4,
    STEPS = 400, /* of each run */
    BATCH = 5,   /* claims that end in one call */
    WORDS = 80,
    WORD_BYTES = 400,
    STEPS_OF_ONE = 240, /* before its times are so close that chance decides who is first */
    SCORE_US = 100,
};

/* A command under construction. */
struct words {
    char text[WORDS][WORD_BYTES];
    int count;
};

struct fixture {
    struct server server;
    redisContext *redis;
    struct dice dice;
    struct jobs jobs;
    struct store store;
    int64_t now_ms; /* Unix time */
    uint32_t held[MACHINES][4096];
    unsigned held_count[MACHINES];
    uint64_t steps;
    unsigned hosts; /* of this run */
    unsigned accounts;
};

static int start(void **state)
{
    struct fixture *f = mem_alloc(sizeof(*f));

    server_start_redis(&f->server);
    f->redis = redisConnectUnix(f->server.socket);
    if (f->redis == NULL || f->redis->err != 0)
        return 1;
    f->now_ms = 1750000000000;
    *state = f;
    return 0;
}

static int end(void **state)
{
    struct fixture *f = *state;

    jobs_clear(&f->jobs);
    redisFree(f->redis);
    server_stop(&f->server);
    free(f);
    return 0;
}

static void put(struct words *words, const char *format, ...)
{
    va_list args;

    assert_true(words->count < WORDS);
    va_start(args, format);
    assert_in_range(vsnprintf(words->text[words->count], WORD_BYTES, format, args), 0,
                    WORD_BYTES - 1);
    va_end(args);
    words->count++;
}

static redisReply *ask(struct fixture *f, const struct words *words)
{
    const char *list[WORDS];

    for (int i = 0; i < words->count; i++)
        list[i] = words->text[i];
    redisReply *reply = redisCommandArgv(f->redis, words->count, list, NULL);
    assert_non_null(reply);
    if (reply->type == REDIS_REPLY_ERROR)
        fail_msg("%s: %s", words->text[0], reply->str);
    return reply;
}

/* Time is the test's, and what a script executes is counted. */
static const char before_scripts[] =
    "local real = redis\n"
    "local function counted(fn)\n"
    "  return function(name, ...)\n"
    "    real.call('INCR', 'commands')\n"
    "    if name == 'TIME' then return {'%" PRId64 "', '%" PRId64 "'} end\n"
    "    return fn(name, ...)\n"
    "  end\n"
    "end\n"
    "local redis = {call = counted(real.call), pcall = counted(real.pcall),\n"
    "               sha1hex = real.sha1hex}\n";

static redisReply *run(struct fixture *f, const char *script, int keys, const struct words *words)
{
    const char *list[WORDS + 3];
    char count[16];
    char *before = mem_printf(before_scripts, f->now_ms / 1000, f->now_ms % 1000 * 1000);
    char *text = mem_printf("%s%s", before, script);

    snprintf(count, sizeof(count), "%d", keys);
    list[0] = "EVAL";
    list[1] = text;
    list[2] = count;
    for (int i = 0; i < words->count; i++)
        list[3 + i] = words->text[i];
    redisReply *reply = redisCommandArgv(f->redis, words->count + 3, list, NULL);
    assert_non_null(reply);
    if (reply->type == REDIS_REPLY_ERROR)
        fail_msg("step %" PRIu64 ": %s", f->steps, reply->str);
    free(before);
    free(text);
    return reply;
}

/* --- jobs --- */

static void put_job(const struct fixture *f, struct words *words, uint32_t number)
{
    const struct sim_job *job = &f->jobs.list[number];

    put(words,
        "{\"n\":\"%06u\",\"class\":\"ActivityPub::DeliveryWorker\",\"args\":[\"{}\",%u,"
        "\"https://h%u/inbox\"],\"jid\":\"j%u\",\"created_at\":%" PRId64 ".%03" PRId64 "}",
        number, job->account, job->host, number, job->created_ms / 1000, job->created_ms % 1000);
}

static uint32_t number_of(const char *text)
{
    assert_memory_equal(text, "{\"n\":\"", 6);
    return (uint32_t)strtoul(text + 6, NULL, 10);
}

static void put_pair(char text[PAIR_TEXT], const struct sim_job *job)
{
    char inbox[32];

    snprintf(inbox, sizeof(inbox), "https://h%u/inbox", job->host);
    pair_text(text, pair_of(job->account, str_of(inbox)));
}

static void push(struct fixture *f)
{
    struct words words = {.count = 0};
    const struct sim_job job = {.created_ms = f->now_ms,
                                .host = (uint32_t)dice_below(&f->dice, f->hosts),
                                .account = 1 + (uint32_t)dice_below(&f->dice, f->accounts),
                                .after = JOB_NONE,
                                .retry_count = -1};
    uint32_t number = jobs_add(&f->jobs, &job);

    store_push(&f->store, number);
    put(&words, "LPUSH");
    put(&words, "queue:push");
    put_job(f, &words, number);
    freeReplyObject(ask(f, &words));
    f->now_ms++; /* no two were made at once */
}

/* --- what is claimed --- */

/* A score that is taken moves a job on by a microsecond or some in Redis; the store has no such
 * look-up. */
static void same_time(int64_t real_us, int64_t us)
{
    assert_true(llabs(real_us - us) <= SCORE_US);
}

/* `due`: they come from a sorted set, and the reply has their scores, too. Both took the same
 * jobs, in the same order but for those that were due at one time. */
static void same_claims(struct fixture *f, unsigned machine, const redisReply *reply, bool due,
                        const uint32_t *jobs, unsigned found)
{
    size_t width = due ? 4 : 3;

    assert_int_equal(reply->type, REDIS_REPLY_ARRAY);
    assert_int_equal(reply->elements, 1 + width * found);
    for (unsigned i = 0; i < found; i++) {
        redisReply **own = &reply->element[1 + width * i];
        struct sim_job *job = &f->jobs.list[number_of(own[width - 2]->str)];
        assert_int_equal(job->place, JOB_CLAIMED);
        if (due)
            same_time(job->score_us, f->jobs.list[jobs[i]].score_us);
        else
            assert_ptr_equal(job, &f->jobs.list[jobs[i]]);
        job->seq = (uint32_t)strtoul(own[0]->str, NULL, 10);
        f->held[machine][f->held_count[machine]++] = number_of(own[width - 2]->str);
    }
}

static void claim(struct fixture *f, unsigned machine)
{
    unsigned other = 1 - machine;
    unsigned most = 1 + (unsigned)dice_below(&f->dice, 12);
    uint32_t jobs[16];
    struct words words = {.count = 0};

    put(&words, "fedpush:identities");
    put(&words, "fedpush:claimed:m%u", machine);
    put(&words, "fedpush:wait:m%u", machine);
    put(&words, "queue:push");
    put(&words, "fedpush:recoveries");
    put(&words, "fedpush:ledger:m%u", machine);
    put(&words, "fedpush:held:m%u", machine);
    put(&words, "fedpush:pairs");
    put(&words, "retry");
    put(&words, "schedule");
    put(&words, "fedpush:wait:m%u", other);
    put(&words, "fedpush:held:m%u", other);
    put(&words, "m%u", machine);
    put(&words, "%u", most);
    put(&words, "1000000");
    put(&words, "q");
    put(&words, "m%u", other);
    redisReply *reply = run(f, script_claim, 12, &words);
    same_claims(f, machine, reply, false, jobs,
                store_claim(&f->store, machine, false, f->now_ms, most, jobs));
    freeReplyObject(reply);
}

static void due(struct fixture *f, unsigned machine)
{
    bool schedule = dice_below(&f->dice, 2) == 0;
    unsigned most = 1 + (unsigned)dice_below(&f->dice, 12);
    uint32_t jobs[16];
    struct words words = {.count = 0};

    put(&words, "fedpush:identities");
    put(&words, "fedpush:claimed:m%u", machine);
    put(&words, schedule ? "schedule" : "retry");
    put(&words, "fedpush:recoveries");
    put(&words, "fedpush:ledger:m%u", machine);
    put(&words, "fedpush:held:m%u", machine);
    put(&words, "fedpush:pairs");
    put(&words, "retry");
    put(&words, "schedule");
    put(&words, "fedpush:held:m%u", 1 - machine);
    put(&words, "m%u", machine);
    put(&words, "%" PRId64 ".%03" PRId64, f->now_ms / 1000, f->now_ms % 1000);
    put(&words, "%u", most);
    put(&words, "1000000");
    put(&words, "1000");
    put(&words, schedule ? "s" : "r");
    put(&words, "0");
    put(&words, "0");
    redisReply *reply = run(f, script_due, 10, &words);
    same_claims(f, machine, reply, true, jobs,
                store_due(&f->store, machine, schedule, f->now_ms, most, jobs,
                          &(struct ahead_sim){.wanted = false}));
    freeReplyObject(reply);
}

/* --- what ends --- */

/* "PAIR SEQ" when nothing else of its pair is left in the machine's hands. */
static void put_last(const struct fixture *f, struct words *words, unsigned machine,
                     uint32_t number)
{
    const struct sim_job *job = &f->jobs.list[number];
    char pair[PAIR_TEXT];

    for (unsigned i = 0; i < f->held_count[machine]; i++) {
        const struct sim_job *other = &f->jobs.list[f->held[machine][i]];
        if (other->account == job->account && other->host == job->host) {
            put(words, "%s", "");
            return;
        }
    }
    put_pair(pair, job);
    put(words, "%s %" PRIu64, pair, f->store.seqs[machine]);
}

static uint32_t let_one_go(struct fixture *f, unsigned machine)
{
    unsigned i = (unsigned)dice_below(&f->dice, f->held_count[machine]);
    uint32_t number = f->held[machine][i];

    f->held[machine][i] = f->held[machine][--f->held_count[machine]];
    return number;
}

/* Adds to the script's arguments how a claim ends, and ends it in the store: when it comes in
 * milliseconds, or 1. */
static int64_t settle_one(struct fixture *f, unsigned machine, struct words *args)
{
    uint32_t number = let_one_go(f, machine);
    struct sim_job *job = &f->jobs.list[number];
    int64_t at_us = (f->now_ms + (int64_t)dice_below(&f->dice, 60000)) * 1000 + number % 1000;
    int64_t share_ms = dice_below(&f->dice, 2) == 0 ? 1 + (int64_t)dice_below(&f->dice, 900) : 0;
    char pair[PAIR_TEXT];
    int64_t answer = 1;

    put(args, "%" PRIu32, job->seq);
    switch (dice_below(&f->dice, 10)) {
    case 0:
        put(args, "done");
        put(args, "%s", "");
        put(args, "%s", "");
        store_settle_over(&f->store, number, JOB_DELIVERED);
        break;
    case 1:
        put(args, "return");
        put(args, "%s", "");
        put(args, "%s", "");
        store_settle_return(&f->store, machine, number, f->now_ms);
        break;
    case 2: /* it failed */
        put(args, "retry");
        put(args, "%" PRId64 ".%06" PRId64, at_us / 1000000, at_us % 1000000);
        put_job(f, args, number);
        job->retry_count = 0;
        store_settle_at(&f->store, number, at_us);
        break;
    default:
        put_pair(pair, job);
        put(args, job->retry_count >= 0 ? "retry" : "schedule");
        put(args, "%" PRId64 ".%06" PRId64 " %u %" PRId64 " %s %" PRId64 " h%u", at_us / 1000000,
            at_us % 1000000, 14 + job->host, share_ms, pair, job->created_ms * 1000, job->host);
        put_job(f, args, number);
        answer = store_settle_booked(&f->store, number, at_us, share_ms, f->now_ms) / 1000;
        break;
    }
    put(args, "%s", "");
    put(args, "word");
    put_last(f, args, machine, number);
    return answer;
}

static void settle(struct fixture *f, unsigned machine)
{
    static const char *const keys[] = {"queue:push",
                                       "retry",
                                       "schedule",
                                       "dead",
                                       "queues",
                                       "fedpush:recoveries",
                                       "fedpush:ledger:m%u",
                                       "queue:pull",
                                       "fedpush:reserved",
                                       "fedpush:pairs",
                                       "fedpush:held:m%u",
                                       "fedpush:wait:m%u"};
    struct words words = {.count = 0};
    int64_t answers[BATCH];
    unsigned count = 0;

    put(&words, "fedpush:claimed:m%u", machine);
    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
        char key[WORD_BYTES];
        const char *own = strstr(keys[i], "m%u");
        snprintf(key, sizeof(key), "%.*s", own != NULL ? (int)(own - keys[i]) : 99, keys[i]);
        put(&words, own != NULL ? "%sm%u" : "%s", key, machine);
    }
    for (unsigned i = 0; i < HOSTS; i++)
        put(&words, "fedpush:booked:h%u", i);
    put(&words, "%" PRId64, f->now_ms / 1000);
    store_settle(&f->store);
    while (count < BATCH && f->held_count[machine] > 0)
        answers[count++] = settle_one(f, machine, &words);
    redisReply *reply = run(f, script_settle, 13 + HOSTS, &words);
    assert_int_equal(reply->elements, count + 1);
    for (unsigned i = 0; i < count; i++)
        assert_int_equal(reply->element[i]->integer, answers[i]);
    assert_int_equal(reply->element[count]->integer, f->store.wait[machine].count);
    freeReplyObject(reply);
}

static void release(struct fixture *f)
{
    uint32_t host = (uint32_t)dice_below(&f->dice, HOSTS);
    unsigned most = 1 + (unsigned)dice_below(&f->dice, 20);
    int64_t gap_ms = (int64_t)dice_below(&f->dice, 100);
    struct words words = {.count = 0};

    put(&words, "fedpush:booked:h%u", host);
    put(&words, "fedpush:pairs");
    put(&words, "fedpush:reserved");
    put(&words, "retry");
    put(&words, "schedule");
    put(&words, "h%u", host);
    put(&words, "%u", most);
    put(&words, "%" PRId64, gap_ms);
    unsigned moved;
    redisReply *reply = run(f, script_release, 5, &words);
    assert_int_equal(reply->element[1]->integer,
                     store_release(&f->store, host, most, gap_ms, f->now_ms, &moved));
    assert_int_equal(reply->element[0]->integer, moved);
    freeReplyObject(reply);
}

static void yield(struct fixture *f, unsigned machine)
{
    struct words words = {.count = 0};

    put(&words, "fedpush:identities");
    put(&words, "fedpush:wait:m%u", machine);
    put(&words, "queue:push");
    put(&words, "fedpush:held:m%u", machine);
    put(&words, "fedpush:claimed:m%u", machine);
    put(&words, "1000");
    freeReplyObject(run(f, script_yield, 5, &words));
    store_yield(&f->store, machine);
}

/* --- the same? --- */

static void same_list(struct fixture *f, const char *key, const struct ring *ring)
{
    redisReply *reply = redisCommand(f->redis, "LRANGE %s 0 -1", key);

    assert_int_equal(reply->elements, ring->count);
    for (size_t i = 0; i < ring->count; i++)
        assert_int_equal(number_of(reply->element[reply->elements - 1 - i]->str),
                         ring->jobs[(ring->first + i) & (ring->capacity - 1)]);
    freeReplyObject(reply);
}

/* Every job that Redis has in this set is there in the store, for the same microsecond. */
static void same_set(struct fixture *f, const char *key, enum job_place place)
{
    redisReply *reply = redisCommand(f->redis, "ZRANGE %s 0 -1 WITHSCORES", key);
    size_t count = 0;

    for (size_t i = 0; i < reply->elements; i += 2) {
        const struct sim_job *job = &f->jobs.list[number_of(reply->element[i]->str)];
        assert_int_equal(job->place, place);
        same_time((int64_t)floor(strtod(reply->element[i + 1]->str, NULL) * 1e6 + 0.5),
                  job->score_us);
    }
    for (uint32_t i = 0; i < f->jobs.count; i++)
        count += f->jobs.list[i].place == place;
    assert_int_equal(reply->elements / 2, count);
    freeReplyObject(reply);
}

static int64_t number(struct fixture *f, const char *format, unsigned index)
{
    redisReply *reply = redisCommand(f->redis, format, index);
    int64_t value = reply->type == REDIS_REPLY_STRING    ? strtoll(reply->str, NULL, 10)
                    : reply->type == REDIS_REPLY_INTEGER ? reply->integer
                                                         : 0;
    freeReplyObject(reply);
    return value;
}

/* What is booked of a pair, as "CREATED AT ...": all that is still awaited. */
static void same_order(struct fixture *f, uint32_t host, uint32_t account)
{
    const struct sim_job job = {.host = host, .account = account};
    int64_t created_ms[BOOKED_CHAIN];
    int64_t at_us[BOOKED_CHAIN];
    char pair[PAIR_TEXT];
    size_t next = 0;
    size_t count =
        booked_of_account(&f->store.hosts[host].booked, &job, f->now_ms * 1000, created_ms, at_us);

    put_pair(pair, &job);
    redisReply *reply = redisCommand(f->redis, "HGET fedpush:pairs %s", pair);
    char *rest = reply->type == REDIS_REPLY_STRING ? reply->str : NULL;
    while (rest != NULL && *rest != '\0') {
        int64_t created_us = strtoll(rest, &rest, 10);
        int64_t own_us = strtoll(rest, &rest, 10);
        if (own_us <= (f->now_ms - AWAY_GRACE_MS) * 1000)
            continue;
        assert_in_range(next, 0, count - 1);
        assert_int_equal(created_us, created_ms[next] * 1000);
        same_time(own_us, at_us[next++]);
    }
    assert_int_equal(next, count);
    freeReplyObject(reply);
}

/* Which machine has the pair in its hands. */
static void same_holder(struct fixture *f, uint32_t host, uint32_t account)
{
    const struct sim_job job = {.host = host, .account = account};
    int holder = owners_find(&f->store.owners, &job);
    char pair[PAIR_TEXT];

    put_pair(pair, &job);
    for (int i = 0; i < MACHINES; i++) {
        redisReply *reply = redisCommand(f->redis, "HEXISTS fedpush:held:m%d %s", i, pair);
        assert_int_equal(reply->integer, i == holder);
        freeReplyObject(reply);
    }
}

static void compare(struct fixture *f)
{
    same_list(f, "queue:push", &f->store.push);
    same_list(f, "fedpush:wait:m0", &f->store.wait[0]);
    same_list(f, "fedpush:wait:m1", &f->store.wait[1]);
    same_set(f, "retry", JOB_RETRY);
    same_set(f, "schedule", JOB_SCHEDULE);
    for (unsigned i = 0; i < HOSTS; i++) {
        for (uint32_t account = 1; account <= ACCOUNTS; account++) {
            same_order(f, i, account);
            same_holder(f, i, account);
        }
        assert_int_equal(number(f, "ZCARD fedpush:booked:h%u", i), f->store.hosts[i].booked.count);
        assert_int_equal(number(f, "HGET fedpush:reserved h%u", i), f->store.hosts[i].reserved_ms);
    }
}

enum what { PUSH = 0, CLAIM, DUE, SETTLE, RELEASE, YIELD, WAIT, WHATS };

static enum what choose(struct fixture *f)
{
    static const unsigned char weights[WHATS] = {30, 20, 10, 25, 5, 3, 7};
    uint64_t left = dice_below(&f->dice, 100);
    int what = PUSH;

    while (left >= weights[what])
        left -= weights[what++];
    return (enum what)what;
}

static void step(struct fixture *f, enum what what)
{
    unsigned machine = (unsigned)dice_below(&f->dice, MACHINES);

    switch (what) {
    case PUSH:
        push(f);
        break;
    case CLAIM:
        claim(f, machine);
        break;
    case DUE:
        due(f, machine);
        break;
    case SETTLE:
        settle(f, machine);
        break;
    case RELEASE:
        release(f);
        break;
    case YIELD:
        yield(f, machine);
        break;
    case WAIT:
    case WHATS:
        f->now_ms += (int64_t)dice_below(&f->dice, 20000);
        break;
    }
}

/* What the store counts as commands is what each kind of script executed, by and large. */
static void same_costs(struct fixture *f, const int64_t real[WHATS], const uint64_t counted[WHATS])
{
    assert_true(f->steps > 0);
    for (int what = CLAIM; what <= YIELD; what++) {
        if (real[what] < 100)
            continue;
        if (fabs((double)counted[what] / (double)real[what] - 1) > 0.25)
            fail_msg("kind %d: %" PRIu64 " commands counted, %" PRId64 " executed", what,
                     counted[what], real[what]);
    }
}

/* --- tests --- */

static void begin(struct fixture *f, uint64_t seed, unsigned hosts, unsigned accounts)
{
    f->hosts = hosts;
    f->accounts = accounts;
    f->steps = 0;
    f->held_count[0] = f->held_count[1] = 0;
    dice_init(&f->dice, seed);
    jobs_clear(&f->jobs);
    store_init(&f->store, &f->jobs, HOSTS);
    freeReplyObject(redisCommand(f->redis, "FLUSHALL"));
    for (unsigned i = 0; i < MACHINES; i++) {
        store_join(&f->store, i);
        freeReplyObject(redisCommand(f->redis, "ZADD fedpush:identities 1 m%u", i));
    }
}

static void run_alike(struct fixture *f, uint64_t seed, unsigned hosts, unsigned accounts,
                      unsigned steps)
{
    int64_t real[WHATS] = {0};
    uint64_t counted[WHATS] = {0};

    begin(f, seed, hosts, accounts);
    for (; f->steps < steps; f->steps++) {
        enum what what = choose(f);
        int64_t real_before = number(f, "GET commands", 0);
        uint64_t counted_before = f->store.commands;
        step(f, what);
        real[what] += number(f, "GET commands", 0) - real_before;
        counted[what] += f->store.commands - counted_before;
        compare(f);
    }
    same_costs(f, real, counted);
    store_clear(&f->store);
}

static void any_steps_end_alike(void **state)
{
    for (uint64_t seed = 1; seed <= 4; seed++)
        run_alike(*state, seed, HOSTS, ACCOUNTS, STEPS);
}

/* More of one than its chain has places for. */
static void one_pair_ends_alike(void **state)
{
    for (uint64_t seed = 5; seed <= 12; seed++)
        run_alike(*state, seed, 1, 1, STEPS_OF_ONE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(any_steps_end_alike),
                                       cmocka_unit_test(one_pair_ends_alike)};

    return cmocka_run_group_tests(tests, start, end);
}
