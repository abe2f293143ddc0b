/* The Lua scripts, called through script.c, against a real Redis. */
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

#include "sched/script.h"
#include "store.h"

#define BIG_ID "116543210987654321" /* above 2^53 */
#define JOB(n)                                                                                     \
    "{\"class\":\"ActivityPub::DeliveryWorker\",\"args\":[\"{}\"," BIG_ID                          \
    ",\"https://a.example/inbox\"],\"jid\":\"" n "\"}"

struct fixture {
    struct store store;
    struct redis *redis;
    bool ready;
    bool answered;
    char reply[8192];
};

static void flatten(struct buf *out, const redisReply *reply)
{
    if (reply->type == REDIS_REPLY_ARRAY) {
        for (size_t i = 0; i < reply->elements; i++) {
            if (i > 0)
                buf_put_char(out, '|');
            flatten(out, reply->element[i]);
        }
    } else if (reply->type == REDIS_REPLY_INTEGER) {
        buf_printf(out, "%lld", reply->integer);
    } else {
        buf_put(out, reply->str, (size_t)reply->len);
    }
}

static void on_reply(void *arg, enum redis_status status, const redisReply *reply)
{
    struct fixture *f = arg;
    struct buf text;

    assert_int_equal(status, REDIS_REPLIED);
    buf_init(&text, sizeof(f->reply) - 1);
    flatten(&text, reply);
    assert_false(text.overflow);
    snprintf(f->reply, sizeof(f->reply), "%s", buf_cstr(&text));
    buf_clear(&text);
    f->answered = true;
}

static const char *ask(struct fixture *f, struct script_call *call)
{
    f->answered = false;
    script_send(call, f->redis, on_reply, f);
    server_wait(f->store.base, &f->answered);
    return f->reply;
}

/* Keys, NULL, arguments, NULL. */
static const char *run(struct fixture *f, enum script script, ...)
{
    struct script_call *call = script_begin(script);
    const char *word;
    va_list words;

    va_start(words, script);
    while ((word = va_arg(words, const char *)) != NULL)
        script_key(call, word);
    while ((word = va_arg(words, const char *)) != NULL)
        script_arg(call, str_of(word));
    va_end(words);
    return ask(f, call);
}

#define IDENTITIES "fedpush:identities"
#define CLAIMED "fedpush:claimed:me"
#define WAIT "fedpush:wait:me"
#define RECOVERIES "fedpush:recoveries"
#define LEDGER "fedpush:ledger:me"
#define TOTAL "fedpush:ledger"
#define RESERVED "fedpush:reserved"
#define PAIRS "fedpush:pairs"
#define HELD "fedpush:held:me"
#define END ((const char *)NULL)

static const char *beat(struct fixture *f, const char *how)
{
    return run(f, SCRIPT_BEAT, IDENTITIES, HELD, END, "me", how, END);
}

static const char *claim(struct fixture *f, const char *jobs, const char *bytes)
{
    return run(f, SCRIPT_CLAIM, IDENTITIES, CLAIMED, WAIT, "queue:push", RECOVERIES, LEDGER, HELD,
               PAIRS, END, "me", jobs, bytes, "q", END);
}

static const char *claim_pull(struct fixture *f, const char *jobs)
{
    return run(f, SCRIPT_CLAIM, IDENTITIES, CLAIMED, WAIT, "queue:pull", RECOVERIES, LEDGER, HELD,
               PAIRS, END, "me", jobs, "1000000", "p", END);
}

static const char *due_of(struct fixture *f, const char *look, const char *turn)
{
    return run(f, SCRIPT_DUE, IDENTITIES, CLAIMED, "retry", RECOVERIES, LEDGER, HELD, PAIRS,
               "retry", "schedule", END, "me", "10", "10", "1000000", look, "r", turn, "2", END);
}

static const char *due(struct fixture *f, const char *zset, const char *kind, const char *now)
{
    return run(f, SCRIPT_DUE, IDENTITIES, CLAIMED, zset, RECOVERIES, LEDGER, HELD, PAIRS, "retry",
               "schedule", END, "me", now, "10", "1000000", "100", kind, "0", "200", END);
}

static const char *settle_last(struct fixture *f, const char *seq, const char *verb, const char *a,
                               const char *b, const char *jid, const char *last)
{
    return run(f, SCRIPT_SETTLE, CLAIMED, "queue:push", "retry", "schedule", "dead", "queues",
               RECOVERIES, LEDGER, "queue:pull", RESERVED, PAIRS, HELD, WAIT, IDENTITIES,
               "queue:fedpush_ruby", END, "1800000000.000001", seq, verb, a, b, jid, verb, last,
               END);
}

/* Without what it says of the list. */
static const char *settle(struct fixture *f, const char *seq, const char *verb, const char *a,
                          const char *b, const char *jid)
{
    settle_last(f, seq, verb, a, b, jid, "");
    if (strchr(f->reply, '|') != NULL)
        *strrchr(f->reply, '|') = '\0';
    return f->reply;
}

static const char *recover(struct fixture *f, const char *seq, const char *jid, const char *poison)
{
    return run(f, SCRIPT_RECOVER, IDENTITIES, CLAIMED, WAIT, "queue:push", "retry", "schedule",
               "dead", RECOVERIES, LEDGER, TOTAL, "queue:pull", HELD, END, "me", "1800000000",
               "100", seq, jid, poison, END);
}

static const char *condemn(struct fixture *f, const char *how)
{
    return run(f, SCRIPT_CONDEMN, IDENTITIES, END, "me", how, END);
}

static void push(struct fixture *f, const char *key, const char *job)
{
    store_expect(&f->store, NULL, "LPUSH %s %s", key, job);
}

static void test_beat_and_condemn(void **state)
{
    struct fixture *f = *state;

    assert_string_equal(beat(f, "beat"), "FENCED"); /* never joined */
    assert_true(strtod(beat(f, "join"), NULL) > 1.6e9);
    assert_true(strtod(beat(f, "beat"), NULL) > 1.6e9);
    /* Redis prints the same number with another digit now and then. */
    store_expect(&f->store, "1", "ZCOUNT " IDENTITIES " %s %s", f->reply, f->reply);
    assert_string_equal(condemn(f, "stale"), "ALIVE");
    assert_true(strtod(beat(f, "beat"), NULL) > 1.6e9);
    store_expect(&f->store, NULL, "ZADD " IDENTITIES " 1600000000 me"); /* long ago */
    assert_string_equal(condemn(f, "stale"), "OK");
    store_expect(&f->store, "-1", "ZSCORE " IDENTITIES " me");
    assert_string_equal(beat(f, "beat"), "FENCED");
    assert_string_equal(beat(f, "join"), "FENCED"); /* not as long as it is condemned */
    store_expect(&f->store, "1", "ZREM " IDENTITIES " me");
    beat(f, "join");
    assert_string_equal(condemn(f, "own"), "OK"); /* however fresh */
}

static void test_condemned_identity_gets_nothing(void **state)
{
    struct fixture *f = *state;

    push(f, "queue:push", JOB("1"));
    store_expect(&f->store, NULL, "ZADD retry 5 %s", JOB("2"));
    for (int i = 0; i < 2; i++) {
        assert_string_equal(claim(f, "10", "1000"), "FENCED");
        assert_string_equal(due(f, "retry", "r", "10"), "FENCED");
        assert_string_equal(
            run(f, SCRIPT_ADOPT, IDENTITIES, CLAIMED, LEDGER, END, "me", "1", "q\n{}", END),
            "FENCED");
        store_expect(&f->store, NULL, "ZADD " IDENTITIES " -1 me");
    }
    store_expect(&f->store, "1", "LLEN queue:push");
    store_expect(&f->store, "1", "ZCARD retry");
    store_expect(&f->store, "0", "EXISTS " CLAIMED);
}

static void test_claim_takes_the_wait_list_then_the_oldest(void **state)
{
    struct fixture *f = *state;

    beat(f, "join");
    push(f, "queue:push", JOB("2"));
    push(f, "queue:push", JOB("3"));
    push(f, "queue:push", JOB("4"));
    push(f, WAIT, JOB("1"));
    store_expect(&f->store, NULL, "HSET " RECOVERIES " x y");
    assert_string_equal(claim(f, "3", "1000000"),
                        "1|1|" JOB("1") "||2|" JOB("2") "||3|" JOB("3") "|");
    store_expect(&f->store, JOB("4"), "LRANGE queue:push 0 -1");
    store_expect(&f->store, "0", "EXISTS " WAIT);
    store_expect(&f->store, "3|q\n" JOB("1") "|q\n" JOB("3"), "HMGET " CLAIMED " seq 1 3");
    assert_string_equal(claim(f, "10", "0"), "1"); /* no room */
    push(f, "queue:push", JOB("5"));
    assert_string_equal(claim(f, "10", "1"), "1|4|" JOB("4") "|"); /* the bound is passed once */
    assert_string_equal(claim(f, "10", "1000"), "1|5|" JOB("5") "|");
    assert_string_equal(claim(f, "10", "1000"), "1");
}

static void test_due_takes_plain_deliveries_that_are_due(void **state)
{
    struct fixture *f = *state;
    static const char locked[] =
        "{\"class\":\"ActivityPub::DeliveryWorker\",\"lock_digest\":\"d\"}";

    beat(f, "join");
    store_expect(&f->store, NULL, "ZADD retry 1795419280.392171 %s", JOB("1"));
    store_expect(&f->store, NULL, "ZADD retry 5 %s", "{\"class\":\"Other\"}");
    store_expect(&f->store, NULL, "ZADD retry 6 %s", locked);
    store_expect(&f->store, NULL, "ZADD retry 1895419280 %s", JOB("2"));
    store_expect(&f->store, NULL, "ZADD schedule 7.5 %s", JOB("3"));
    due(f, "retry", "r", "1800000000");
    /* Redis prints the score in its own way; the claim keeps it so. */
    char expected[512];
    char score[64];
    assert_int_equal(sscanf(f->reply, "0|1|%63[^|]|", score), 1);
    assert_true(strtod(score, NULL) > 1795419280.3921 && strtod(score, NULL) < 1795419280.3922);
    snprintf(expected, sizeof(expected), "r%s\n%s", score, JOB("1"));
    store_expect(&f->store, expected, "HGET " CLAIMED " 1");
    assert_string_equal(due(f, "retry", "r", "1800000000"), "0");
    store_expect(&f->store, "3", "ZCARD retry");
    assert_string_equal(due(f, "schedule", "s", "1800000000"), "0|2|7.5|" JOB("3") "|");
    assert_string_equal(settle(f, "1", "return", "", "", ""), "1");
    store_expect(&f->store, score, "ZSCORE retry %s", JOB("1"));
    assert_string_equal(settle(f, "2", "return", "", "", ""), "1");
    store_expect(&f->store, "7.5", "ZSCORE schedule %s", JOB("3"));
}

static void test_due_looks_behind_what_is_left_to_ruby(void **state)
{
    struct fixture *f = *state;

    beat(f, "join");
    for (int i = 0; i < 6; i++)
        store_expect(&f->store, NULL, "ZADD retry 1 {\"lock_digest\":%d}", i);
    store_expect(&f->store, NULL, "ZADD retry 2 %s", JOB("1"));
    store_expect(&f->store, NULL, "ZADD retry 11 %s", JOB("2")); /* not due */
    /* Behind three come ranks 3 to 6, two each turn. */
    assert_string_equal(due_of(f, "3", "0"), "0");
    assert_string_equal(due_of(f, "3", "1"), "0|1|2|" JOB("1") "|");
    /* What is taken in front moves those behind it up; one at a time each is reached. */
    store_expect(&f->store, NULL, "ZADD retry 0 %s", JOB("3"));
    store_expect(&f->store, NULL, "ZADD retry 2 %s", JOB("4"));
    assert_string_equal(due_of(f, "3", "1"), "0|2|0|" JOB("3") "|");
    assert_string_equal(due_of(f, "3", "3"), "0|3|2|" JOB("4") "|");
    assert_string_equal(due_of(f, "7", "0"), "0"); /* nothing is behind */
    assert_string_equal(due_of(f, "6", "5"), "0");
}

/* Redis isn't made to read hundreds of them at once; what is behind them is reached all the same.
 */
static void test_due_looks_behind_large_ones(void **state)
{
    struct fixture *f = *state;
    char *large = mem_alloc((1 << 20) + 1);

    memset(large, 'x', 1 << 20);
    beat(f, "join");
    for (int i = 0; i < 6; i++)
        store_expect(&f->store, NULL, "ZADD retry 1 %s%d", large, i);
    store_expect(&f->store, NULL, "ZADD retry 2 %s", JOB("1"));
    for (int turn = 0; turn < 3; turn++) {
        char text[2] = {(char)('0' + turn), '\0'};
        assert_string_equal(due_of(f, "100", text), "0"); /* 1 and 2, then 3 + turn and the next */
    }
    assert_string_equal(due_of(f, "100", "3"), "0|1|2|" JOB("1") "|");
    free(large);
}

static void test_settle_writes_where_the_job_goes_on(void **state)
{
    struct fixture *f = *state;
    char n[2] = "1";

    beat(f, "join");
    for (; n[0] <= '8'; n[0]++) {
        char job[256];
        snprintf(job, sizeof(job), "{\"id\":" BIG_ID ",\"n\":%s}", n);
        push(f, "queue:push", job);
    }
    claim(f, "10", "1000000");
    store_expect(&f->store, NULL, "HSET " RECOVERIES " j1 a j2 b");
    assert_string_equal(settle(f, "1", "done", "", "", "j1"), "1");
    assert_string_equal(settle(f, "2", "retry", "5.000001", "R", ""), "1");
    assert_string_equal(settle(f, "3", "schedule", "6", "S", ""), "1");
    assert_string_equal(settle(f, "4", "dead", "D", "1800000000.5", ""), "1");
    assert_string_equal(settle(f, "5", "return", "", "", ""), "1");
    assert_string_equal(settle(f, "6", "handoff", "15 fedpush_ruby", "", ""), "1");
    assert_string_equal(settle(f, "7", "retry", "7", "", ""), "1");
    assert_string_equal(settle(f, "8", "schedule", "8", "", ""), "1");
    store_expect(&f->store, "j2|b", "HGETALL " RECOVERIES);
    store_expect(&f->store, "R", "ZRANGEBYSCORE retry 5 5.1");
    store_expect(&f->store, "S", "ZRANGEBYSCORE schedule 6 6");
    store_expect(&f->store, "D", "ZRANGEBYSCORE dead 1800000000.5 1800000000.5");
    store_expect(&f->store, "{\"id\":" BIG_ID ",\"n\":5}", "LRANGE queue:push 0 -1");
    store_expect(&f->store, "{\"id\":" BIG_ID ",\"n\":6}", "LRANGE queue:fedpush_ruby 0 -1");
    store_expect(&f->store, "fedpush_ruby", "SMEMBERS queues");
    store_expect(&f->store, "{\"id\":" BIG_ID ",\"n\":7}", "ZRANGEBYSCORE retry 7 7");
    store_expect(&f->store, "{\"id\":" BIG_ID ",\"n\":8}", "ZRANGEBYSCORE schedule 8 8");
    store_expect(&f->store, "seq|8", "HGETALL " CLAIMED);
    /* Again, as after a lost answer: nothing is written. */
    assert_string_equal(settle(f, "2", "retry", "9", "R2", ""), "0");
    assert_string_equal(settle(f, "5", "return", "", "", ""), "0");
    store_expect(&f->store, "2", "ZCARD retry");
    store_expect(&f->store, "1", "LLEN queue:push");
}

static void test_settle_answers_for_each(void **state)
{
    struct fixture *f = *state;

    beat(f, "join");
    push(f, "queue:push", JOB("1"));
    push(f, "queue:push", JOB("2"));
    claim(f, "10", "1000000");
    assert_string_equal(run(f, SCRIPT_SETTLE, CLAIMED, "queue:push", "retry", "schedule", "dead",
                            "queues", RECOVERIES, LEDGER, "queue:pull", RESERVED, PAIRS, HELD, WAIT,
                            IDENTITIES, END, "1800000000.000001", "2", "done", "", "", "",
                            "delivered", "", "7", "retry", "5", "X", "", "retried", "", "1",
                            "return", "", "", "", "returned", "", END),
                        "1|0|1|0");
    store_expect(&f->store, "0", "EXISTS retry");
    store_expect(&f->store, JOB("1"), "LRANGE queue:push 0 -1");
}

/* The wait list is push's: a claim of pull leaves it alone. */
static void test_pull_is_claimed_and_returned_apart(void **state)
{
    struct fixture *f = *state;

    beat(f, "join");
    push(f, WAIT, "waiting");
    push(f, "queue:push", "other");
    for (int i = 1; i <= 4; i++)
        store_expect(&f->store, NULL, "LPUSH queue:pull %d", i);
    assert_string_equal(claim_pull(f, "3"), "0|1|1||2|2||3|3|");
    store_expect(&f->store, "p\n1|p\n3", "HMGET " CLAIMED " 1 3");
    store_expect(&f->store, "waiting", "LRANGE " WAIT " 0 -1");
    assert_string_equal(settle(f, "3", "return", "", "", ""), "1");
    store_expect(&f->store, "4|3", "LRANGE queue:pull 0 -1");
    assert_string_equal(settle(f, "2", "handoff", "15 fedpush_ruby", "edited", ""), "1");
    store_expect(&f->store, "edited", "LRANGE queue:fedpush_ruby 0 -1");
    assert_string_equal(claim(f, "1", "1000"), "0|4|waiting|");
    condemn(f, "own");
    recover(f, "4", "", "");
    assert_string_equal(recover(f, "1", "", ""), "1|0|0");
    store_expect(&f->store, "4|3|1", "LRANGE queue:pull 0 -1");
    store_expect(&f->store, "other|waiting", "LRANGE queue:push 0 -1");
}

static void test_dead_set_forgets_what_is_old(void **state)
{
    struct fixture *f = *state;

    beat(f, "join");
    push(f, "queue:push", JOB("1"));
    claim(f, "10", "1000000");
    store_expect(&f->store, NULL, "ZADD dead 1780000000 old 1790000000 young");
    settle(f, "1", "dead", "D", "1800000000", "");
    store_expect(&f->store, "young|D", "ZRANGE dead 0 -1");
}

static void test_recovery_keeps_the_order(void **state)
{
    struct fixture *f = *state;

    beat(f, "join");
    for (int i = 1; i <= 12; i++)
        store_expect(&f->store, NULL, "LPUSH queue:push %d", i);
    claim(f, "10", "1000000"); /* 1 to 10; 11 and 12 stay */
    store_expect(&f->store, NULL, "LPUSH queue:push new");
    store_expect(&f->store, NULL, "RPOPLPUSH queue:push " WAIT); /* 11 */
    assert_string_equal(recover(f, "10", "", ""), "ALIVE");
    condemn(f, "own");
    char seq[8];
    for (int i = 10; i >= 1; i--) {
        snprintf(seq, sizeof(seq), "%d", i);
        recover(f, seq, "", "");
    }
    assert_string_equal(f->reply, "1|0|0");
    store_expect(&f->store, "new|12|11|10|9|8|7|6|5|4|3|2|1", "LRANGE queue:push 0 -1");
    store_expect(&f->store, "0", "EXISTS " CLAIMED " " WAIT " " IDENTITIES);
}

static void test_recovery_returns_due_entries_and_counts(void **state)
{
    struct fixture *f = *state;

    store_expect(&f->store, NULL, "HSET " CLAIMED " seq 4 1 %s 2 %s 3 %s 4 %s",
                 "r1795419280.392\n" JOB("1"), "s8.5\n" JOB("2"), "q\n" JOB("3"), "q\n" JOB("4"));
    store_expect(&f->store, NULL, "HSET " RECOVERIES " 1 %s 3 %s", "1 1700000000",
                 "2 1700000000 alone");
    assert_string_equal(recover(f, "4", "4", ""), "1|0|3");
    assert_string_equal(recover(f, "3", "3", "poison"), "0|1|2");
    assert_string_equal(recover(f, "9", "9", ""), "0|0|2"); /* not there: no trace */
    assert_string_equal(recover(f, "2", "2", ""), "1|0|1");
    assert_string_equal(recover(f, "1", "1", ""), "1|0|0");
    store_expect(&f->store, JOB("1"), "ZRANGEBYSCORE retry 1795419280.392 1795419280.392");
    store_expect(&f->store, JOB("2"), "ZRANGEBYSCORE schedule 8.5 8.5");
    store_expect(&f->store, JOB("4"), "LRANGE queue:push 0 -1");
    store_expect(&f->store, "poison", "ZRANGEBYSCORE dead 1800000000 1800000000");
    store_expect(&f->store, "2 1800000000|1 1800000000|nil|1 1800000000|nil",
                 "HMGET " RECOVERIES " 1 2 3 4 9");
}

static void test_adopt_puts_back_and_never_overwrites(void **state)
{
    struct fixture *f = *state;

    beat(f, "join");
    store_expect(&f->store, NULL, "HSET " CLAIMED " seq 3 2 old");
    assert_string_equal(run(f, SCRIPT_ADOPT, IDENTITIES, CLAIMED, LEDGER, END, "me", "2", "new",
                            "9", "q\nnine", END),
                        "1");
    store_expect(&f->store, "9|old|q\nnine", "HMGET " CLAIMED " seq 2 9");
    store_expect(&f->store, NULL, "LPUSH queue:push job");
    assert_string_equal(claim(f, "1", "1000"), "0|10|job|");
    assert_string_equal(
        run(f, SCRIPT_ADOPT, IDENTITIES, CLAIMED, LEDGER, END, "me", "4", "q\nfour", END), "1");
    store_expect(&f->store, "10", "HGET " CLAIMED " seq"); /* never back */
}

static void test_leave_only_with_empty_hands(void **state)
{
    struct fixture *f = *state;

    beat(f, "join");
    push(f, "queue:push", "a");
    push(f, "queue:push", "b");
    claim(f, "1", "1000");
    store_expect(&f->store, NULL, "RPOPLPUSH queue:push " WAIT);
    push(f, "queue:push", "c");
    assert_string_equal(run(f, SCRIPT_LEAVE, IDENTITIES, CLAIMED, WAIT, "queue:push", LEDGER, TOTAL,
                            HELD, END, "me", END),
                        "1");
    store_expect(&f->store, "c", "LRANGE queue:push 0 -1");
    store_expect(&f->store, "1", "ZCARD " IDENTITIES);
    settle(f, "1", "return", "", "", "");
    assert_string_equal(run(f, SCRIPT_LEAVE, IDENTITIES, CLAIMED, WAIT, "queue:push", LEDGER, TOTAL,
                            HELD, END, "me", END),
                        "0");
    store_expect(&f->store, "c|a|b", "LRANGE queue:push 0 -1");
    store_expect(&f->store, "0", "EXISTS " CLAIMED " " WAIT " " IDENTITIES);
}

static void test_enqueue_moves_once(void **state)
{
    struct fixture *f = *state;

    store_expect(&f->store, NULL, "ZADD retry 1 entry");
    for (int i = 1; i >= 0; i--)
        assert_string_equal(run(f, SCRIPT_ENQUEUE, "retry", "queues", "queue:default", END, "entry",
                                "pushed", "default", END),
                            i == 1 ? "1" : "0");
    store_expect(&f->store, "pushed", "LRANGE queue:default 0 -1");
    store_expect(&f->store, "0", "EXISTS retry");
    store_expect(&f->store, "default", "SMEMBERS queues");
}

static const char *leave(struct fixture *f)
{
    return run(f, SCRIPT_LEAVE, IDENTITIES, CLAIMED, WAIT, "queue:push", LEDGER, TOTAL, HELD, END,
               "me", END);
}

static void test_ledger_counts_each_claim_once(void **state)
{
    struct fixture *f = *state;

    beat(f, "join");
    claim(f, "10", "1000000");
    store_expect(&f->store, "0", "EXISTS " LEDGER); /* nothing claimed, nothing written */
    for (int i = 0; i < 4; i++)
        push(f, "queue:push", JOB("q"));
    store_expect(&f->store, NULL, "ZADD retry 5 %s", JOB("r"));
    claim(f, "10", "1000000");
    due(f, "retry", "r", "10");
    store_expect(&f->store, "5", "HGET " LEDGER " claimed");
    run(f, SCRIPT_ADOPT, IDENTITIES, CLAIMED, LEDGER, END, "me", "2", "there", "9", "q\nlost", END);
    store_expect(&f->store, "6", "HGET " LEDGER " claimed");
    for (int i = 0; i < 2; i++) /* the second time as after a lost answer */
        run(f, SCRIPT_SETTLE, CLAIMED, "queue:push", "retry", "schedule", "dead", "queues",
            RECOVERIES, LEDGER, "queue:pull", RESERVED, PAIRS, HELD, WAIT, IDENTITIES, END,
            "1800000000.000001", "1", "done", "", "", "", "delivered", "", "2", "done", "", "", "",
            "delivered", "", "3", "retry", "5", "X", "", "retried", "", END);
    store_expect(&f->store, "6|2|1", "HMGET " LEDGER " claimed delivered retried");
    store_expect(&f->store, "3", "HLEN " LEDGER);
    store_expect(&f->store, "4", "HLEN " CLAIMED); /* 6 - 2 - 1 held, and the counter */
}

static void test_ledger_of_an_ended_identity_is_in_the_total(void **state)
{
    struct fixture *f = *state;

    store_expect(&f->store, NULL, "HSET " TOTAL " claimed 100 delivered 100");
    beat(f, "join");
    for (int i = 0; i < 3; i++)
        push(f, "queue:push", JOB("q"));
    claim(f, "2", "1000000");
    settle(f, "1", "done", "", "", "");
    assert_string_equal(leave(f), "1");
    store_expect(&f->store, "2", "HGET " LEDGER " claimed"); /* it holds one: it stays */
    settle(f, "2", "return", "", "", "");
    assert_string_equal(leave(f), "0");
    store_expect(&f->store, "0", "EXISTS " LEDGER);
    store_expect(&f->store, "102|100|1|1", "HMGET " TOTAL " claimed delivered done return");
    leave(f);
    store_expect(&f->store, "102", "HGET " TOTAL " claimed");
}

static void test_ledger_of_a_recovered_identity(void **state)
{
    struct fixture *f = *state;

    beat(f, "join");
    for (int i = 0; i < 4; i++)
        push(f, "queue:push", JOB("q"));
    claim(f, "3", "1000000");
    store_expect(&f->store, NULL, "RPOPLPUSH queue:push " WAIT); /* waits: never claimed */
    condemn(f, "own");
    recover(f, "3", "j", "");
    recover(f, "3", "j", ""); /* replayed */
    store_expect(&f->store, "3|1", "HMGET " LEDGER " claimed recovered");
    recover(f, "2", "j", "poison");
    assert_string_equal(recover(f, "1", "j", ""), "1|0|0");
    store_expect(&f->store, "0", "EXISTS " LEDGER);
    store_expect(&f->store, "3|2|1", "HMGET " TOTAL " claimed recovered dead");
}

/* Claims of a fedpush that kept no ledger. */
static void test_no_ledger_stays_none(void **state)
{
    struct fixture *f = *state;

    store_expect(&f->store, NULL, "HSET " CLAIMED " seq 2 1 %s 2 %s", "q\na", "q\nb");
    assert_string_equal(recover(f, "2", "j", ""), "1|0|1");
    store_expect(&f->store, "0", "EXISTS " LEDGER);
    assert_string_equal(recover(f, "1", "", "poison"), "0|1|0");
    store_expect(&f->store, "0", "EXISTS " LEDGER " " TOTAL);
}

/* The account may be wrong; no job waits for it. */
static void test_a_broken_ledger_stops_nothing(void **state)
{
    struct fixture *f = *state;

    beat(f, "join");
    store_expect(&f->store, NULL, "MSET " LEDGER " broken " HELD " broken " PAIRS " broken");
    store_expect(&f->store, NULL, "HSET " TOTAL " claimed broken");
    push(f, "queue:push", JOB("1"));
    assert_string_equal(claim(f, "1", "1000000"), "0|1|" JOB("1") "|");
    assert_string_equal(settle_last(f, "1", "done", "", "", "", "00000000000000a1 1"), "1|0");
    store_expect(&f->store, NULL, "HSET " CLAIMED " 2 q");
    assert_string_equal(settle(f, "2", "done", "", "", ""), "1");
    store_expect(&f->store, NULL, "HSET " CLAIMED " 2 q");
    store_expect(&f->store, NULL, "DEL " LEDGER);
    store_expect(&f->store, NULL, "HSET " LEDGER " claimed 1");
    condemn(f, "own");
    assert_string_equal(recover(f, "2", "", ""), "1|0|0");
    store_expect(&f->store, "0", "EXISTS " CLAIMED " " IDENTITIES);
}

/* A full Redis still lets us take jobs up, end them and give them back. */
static void test_full_redis_refuses_nothing(void **state)
{
    struct fixture *f = *state;

    beat(f, "join");
    push(f, "queue:push", JOB("1"));
    push(f, "queue:push", JOB("2"));
    store_expect(&f->store, NULL, "ZADD retry 1 %s", JOB("3"));
    store_expect(&f->store, "OK", "CONFIG SET maxmemory-policy noeviction");
    store_expect(&f->store, "OK", "CONFIG SET maxmemory 1");
    store_expect(&f->store, "OOM command not allowed when used memory > 'maxmemory'.",
                 "SET more memory");
    assert_true(strtod(beat(f, "beat"), NULL) > 1.6e9);
    assert_string_equal(claim(f, "10", "1000000"), "0|1|" JOB("1") "||2|" JOB("2") "|");
    assert_string_equal(due(f, "retry", "r", "10"), "0|3|1|" JOB("3") "|");
    assert_string_equal(settle(f, "1", "retry", "5", "R", ""), "1");
    assert_string_equal(
        run(f, SCRIPT_ADOPT, IDENTITIES, CLAIMED, LEDGER, END, "me", "8", "q\n8", END), "1");
    assert_string_equal(
        run(f, SCRIPT_ENQUEUE, "retry", "queues", "queue:push", END, "R", "R'", "push", END), "1");
    assert_string_equal(condemn(f, "own"), "OK");
    assert_string_equal(recover(f, "3", "j", ""), "1|0|2");
    store_expect(&f->store, JOB("3"), "ZRANGE retry 0 -1");
}

static void test_forgotten_scripts_are_an_error_reply(void **state)
{
    struct fixture *f = *state;

    store_expect(&f->store, "OK", "SCRIPT FLUSH");
    assert_memory_equal(beat(f, "join"), "NOSCRIPT", 8);
    script_load(f->redis);
    assert_true(strtod(beat(f, "join"), NULL) > 1.6e9);
}

static void on_ready(void *arg)
{
    struct fixture *f = arg;
    script_load(f->redis);
    f->ready = true;
}

static void on_lost(void *arg, const char *reason)
{
    (void)arg;
    (void)reason;
}

static int start(void **state)
{
    static const struct redis_handlers handlers = {on_ready, on_lost};
    struct fixture *f = mem_alloc(sizeof(*f));

    signal(SIGPIPE, SIG_IGN);
    if (sodium_init() < 0)
        return 1;
    store_start(&f->store);
    f->redis = redis_create(f->store.base, f->store.dns, &f->store.endpoint, "test", &handlers, f);
    server_wait(f->store.base, &f->ready);
    *state = f;
    return 0;
}

static int clean(void **state)
{
    struct fixture *f = *state;
    store_expect(&f->store, "OK", "CONFIG SET maxmemory 0");
    store_expect(&f->store, "OK", "FLUSHALL");
    return 0;
}

static int end(void **state)
{
    struct fixture *f = *state;
    redis_destroy(f->redis);
    store_stop(&f->store);
    free(f);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_beat_and_condemn, clean),
        cmocka_unit_test_setup(test_condemned_identity_gets_nothing, clean),
        cmocka_unit_test_setup(test_claim_takes_the_wait_list_then_the_oldest, clean),
        cmocka_unit_test_setup(test_due_takes_plain_deliveries_that_are_due, clean),
        cmocka_unit_test_setup(test_due_looks_behind_what_is_left_to_ruby, clean),
        cmocka_unit_test_setup(test_due_looks_behind_large_ones, clean),
        cmocka_unit_test_setup(test_settle_writes_where_the_job_goes_on, clean),
        cmocka_unit_test_setup(test_settle_answers_for_each, clean),
        cmocka_unit_test_setup(test_pull_is_claimed_and_returned_apart, clean),
        cmocka_unit_test_setup(test_dead_set_forgets_what_is_old, clean),
        cmocka_unit_test_setup(test_recovery_keeps_the_order, clean),
        cmocka_unit_test_setup(test_recovery_returns_due_entries_and_counts, clean),
        cmocka_unit_test_setup(test_adopt_puts_back_and_never_overwrites, clean),
        cmocka_unit_test_setup(test_leave_only_with_empty_hands, clean),
        cmocka_unit_test_setup(test_enqueue_moves_once, clean),
        cmocka_unit_test_setup(test_ledger_counts_each_claim_once, clean),
        cmocka_unit_test_setup(test_ledger_of_an_ended_identity_is_in_the_total, clean),
        cmocka_unit_test_setup(test_ledger_of_a_recovered_identity, clean),
        cmocka_unit_test_setup(test_no_ledger_stays_none, clean),
        cmocka_unit_test_setup(test_a_broken_ledger_stops_nothing, clean),
        cmocka_unit_test_setup(test_full_redis_refuses_nothing, clean),
        cmocka_unit_test_setup(test_forgotten_scripts_are_an_error_reply, clean),
    };
    return cmocka_run_group_tests(tests, start, end);
}
