/*
 * The order of one sender's jobs for one inbox between machines (pair.lua in claim.lua, due.lua,
 * settle.lua and their kin), against a real Redis.
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

#include "sched/pair.h"
#include "sched/scripts.h"
#include "store.h"

#define JOB(n, account, inbox)                                                                     \
    "{\"retry\":16,\"queue\":\"push\",\"args\":[\"{\\\"n\\\":" #n "}\"," #account                  \
    ",\"https://" inbox "\",{}],\"class\":\"ActivityPub::DeliveryWorker\",\"jid\":\"" #n           \
    "\",\"created_at\":" #n ".5,\"enqueued_at\":" #n ".5}"
#define FOLLOW JOB(1, 7, "a.example/inbox")
#define UNDO JOB(2, 7, "a.example/inbox")
#define AGAIN JOB(3, 7, "a.example/inbox")
#define OTHER JOB(4, 8, "a.example/inbox")

struct fixture {
    struct store store;
    char pair[PAIR_TEXT]; /* of FOLLOW */
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

static const char *run(struct fixture *f, const char *script, int keys, int count,
                       const char *const *words)
{
    const char *command[48] = {"EVAL", script};
    char number[8];
    struct buf text;

    snprintf(number, sizeof(number), "%d", keys);
    command[2] = number;
    for (int i = 0; i < count; i++)
        command[i + 3] = words[i];
    redisReply *reply = redisCommandArgv(f->store.direct, count + 3, command, NULL);
    buf_init(&text, sizeof(f->reply) - 1);
    flatten(&text, reply);
    snprintf(f->reply, sizeof(f->reply), "%s", buf_cstr(&text));
    buf_clear(&text);
    freeReplyObject(reply);
    return f->reply;
}

#define COUNT(words) (int)(sizeof(words) / sizeof((words)[0]))

/* Machine m0 or m1, which knows of the other one. */
static const char *claim_by(struct fixture *f, const char *script, int machine)
{
    static const char *const m0[] = {"fedpush:identities",
                                     "fedpush:claimed:m0",
                                     "fedpush:wait:m0",
                                     "queue:push",
                                     "fedpush:recoveries",
                                     "fedpush:ledger:m0",
                                     "fedpush:held:m0",
                                     "fedpush:pairs",
                                     "retry",
                                     "schedule",
                                     "fedpush:wait:m1",
                                     "fedpush:held:m1",
                                     "m0",
                                     "10",
                                     "100000",
                                     "q",
                                     "m1"};
    static const char *const m1[] = {"fedpush:identities",
                                     "fedpush:claimed:m1",
                                     "fedpush:wait:m1",
                                     "queue:push",
                                     "fedpush:recoveries",
                                     "fedpush:ledger:m1",
                                     "fedpush:held:m1",
                                     "fedpush:pairs",
                                     "retry",
                                     "schedule",
                                     "fedpush:wait:m0",
                                     "fedpush:held:m0",
                                     "m1",
                                     "10",
                                     "100000",
                                     "q",
                                     "m0"};
    return run(f, script, 12, COUNT(m0), machine == 0 ? m0 : m1);
}

static const char *claim(struct fixture *f, int machine)
{
    return claim_by(f, script_claim, machine);
}

/* m1, of what m0 may have in its hands. */
static const char *due(struct fixture *f)
{
    static const char *const words[] = {"fedpush:identities",
                                        "fedpush:claimed:m1",
                                        "schedule",
                                        "fedpush:recoveries",
                                        "fedpush:ledger:m1",
                                        "fedpush:held:m1",
                                        "fedpush:pairs",
                                        "retry",
                                        "schedule",
                                        "fedpush:held:m0",
                                        "m1",
                                        "1000",
                                        "10",
                                        "100000",
                                        "100",
                                        "s",
                                        "0",
                                        "10"};
    return run(f, script_due, 10, COUNT(words), words);
}

static const char *settle(struct fixture *f, const char *identity, const char *seq,
                          const char *verb, const char *a, const char *b, const char *last)
{
    char claimed[32];
    char held[32];
    char wait[32];
    snprintf(claimed, sizeof(claimed), "fedpush:claimed:%s", identity);
    snprintf(held, sizeof(held), "fedpush:held:%s", identity);
    snprintf(wait, sizeof(wait), "fedpush:wait:%s", identity);
    const char *const words[] = {claimed,
                                 "queue:push",
                                 "retry",
                                 "schedule",
                                 "dead",
                                 "queues",
                                 "fedpush:recoveries",
                                 "fedpush:ledger:x",
                                 "queue:pull",
                                 "fedpush:reserved",
                                 "fedpush:pairs",
                                 held,
                                 wait,
                                 "fedpush:identities",
                                 "fedpush:booked:a.example",
                                 "fedpush:wait:m1",
                                 "fedpush:held:m1",
                                 "1800000000.0",
                                 seq,
                                 verb,
                                 a,
                                 b,
                                 "",
                                 "word",
                                 last};
    return run(f, script_settle, 17, COUNT(words), words);
}

static void push(struct fixture *f, const char *job)
{
    store_expect(&f->store, NULL, "LPUSH queue:push %s", job);
}

static void expect_held(struct fixture *f, const char *identity, const char *expected)
{
    store_expect(&f->store, expected, "HGET fedpush:held:%s %s", identity, f->pair);
}

static const char *last(struct fixture *f, int seq)
{
    static char text[64];
    snprintf(text, sizeof(text), "%s %d", f->pair, seq);
    return text;
}

/* --- names --- */

static void both_languages_name_pairs_alike(void **state)
{
    struct fixture *f = *state;
    static const char *const jobs[] = {
        FOLLOW,
        OTHER,
        JOB(5, 116543210987654321, "b.example/users/%C3%A9?x=1"),
        "{\"args\":[\"}\\\",8,\\\"no}\",9,\"https://a.example/\\u0026\"]}",
        "{\"args\":[\"{}\",-99,\"https://a.example/inbox\"]}",
        "{\"args\":[\"{}\", 1,\"https://a.example/inbox\"]}",
        "{\"args\":[\"{}\",1,2]}",
        "{\"args\":[\"{}\",1,\"\"]}",
        "{\"args\":[\"{}\",1,\"https://a.example",
        "{\"args\":[1,\"{}\",1,\"https://a.example\"]}",
        "{\"args\":[\"}\",",
        "{\"args\":[\"",
        "not JSON",
        "",
    };
    int named = 0;

    for (size_t i = 0; i < sizeof(jobs) / sizeof(jobs[0]); i++) {
        uint64_t pair = pair_of_payload(str_of(jobs[i]));
        char text[PAIR_TEXT] = "";
        store_expect(&f->store, NULL, "DEL queue:push fedpush:held:m0 fedpush:claimed:m0");
        push(f, jobs[i]);
        claim(f, 0);
        if (pair != 0)
            pair_text(text, pair);
        store_expect(&f->store, text, "HKEYS fedpush:held:m0");
        named += pair != 0;
    }
    assert_int_equal(named, 4);
    assert_true(pair_of_payload(STR(FOLLOW)) == pair_of(7, STR("https://a.example/inbox")));
    assert_true(pair_of_payload(STR(FOLLOW)) != pair_of_payload(STR(OTHER)));
}

/* --- between machines --- */

static void what_follows_goes_where_the_first_is(void **state)
{
    struct fixture *f = *state;

    push(f, FOLLOW);
    assert_string_equal(claim(f, 0), "0|1|" FOLLOW "|");
    expect_held(f, "m0", "1");
    push(f, UNDO);
    push(f, OTHER);
    push(f, AGAIN);
    assert_string_equal(claim(f, 1), "0|1|" OTHER "|");
    store_expect(&f->store, AGAIN "|" UNDO, "LRANGE fedpush:wait:m0 0 -1");
    store_expect(&f->store, "0", "EXISTS queue:push");
    expect_held(f, "m0", "1 2");
    assert_string_equal(settle(f, "m0", "1", "done", "", "", last(f, 1)), "1|2");
    expect_held(f, "m0", "0 2"); /* for what waits */
    push(f, JOB(9, 7, "a.example/inbox"));
    assert_string_equal(claim(f, 1), "0");
    assert_string_equal(claim(f, 0),
                        "0|2|" UNDO "||3|" AGAIN "||4|" JOB(9, 7, "a.example/inbox") "|");
    expect_held(f, "m0", "4");
    settle(f, "m0", "2", "done", "", "", "");
    settle(f, "m0", "4", "done", "", "", last(f, 3)); /* the answer with 4 isn't read yet */
    expect_held(f, "m0", "4");
    settle(f, "m0", "3", "done", "", "", last(f, 4));
    expect_held(f, "m0", "nil");
    push(f, FOLLOW);
    assert_string_equal(claim(f, 1), "0|2|" FOLLOW "|");
}

static void what_blmove_took_counts(void **state)
{
    struct fixture *f = *state;

    push(f, FOLLOW);
    store_expect(&f->store, FOLLOW, "LMOVE queue:push fedpush:wait:m0 RIGHT LEFT");
    push(f, UNDO);
    assert_string_equal(claim(f, 1), "0");
    assert_string_equal(claim(f, 0), "0|1|" FOLLOW "||2|" UNDO "|");
    push(f, AGAIN);
    store_expect(&f->store, AGAIN, "LMOVE queue:push fedpush:wait:m1 RIGHT LEFT");
    assert_string_equal(claim(f, 1), "0"); /* its own, but it belongs behind the others */
    assert_string_equal(claim(f, 0), "0|3|" AGAIN "|");
}

/* Others are put in front of it before its machine comes to it. */
static void what_blmove_took_counts_wherever_it_stands(void **state)
{
    struct fixture *f = *state;

    push(f, OTHER);
    assert_string_equal(claim(f, 0), "0|1|" OTHER "|");
    push(f, FOLLOW);
    store_expect(&f->store, FOLLOW, "LMOVE queue:push fedpush:wait:m0 RIGHT LEFT");
    for (int i = 0; i < 3; i++) {
        push(f, OTHER);
        assert_string_equal(claim(f, 1), "0");
    }
    push(f, UNDO);
    assert_string_equal(claim(f, 1), "0");
    store_expect(&f->store, UNDO, "LINDEX fedpush:wait:m0 0");
    assert_string_equal(claim(f, 0),
                        "0|2|" FOLLOW "||3|" OTHER "||4|" OTHER "||5|" OTHER "||6|" UNDO "|");
    expect_held(f, "m0", "6");
}

static void what_was_passed_on_is_not_waited_for(void **state)
{
    struct fixture *f = *state;

    push(f, FOLLOW);
    assert_string_equal(claim(f, 0), "0|1|" FOLLOW "|");
    push(f, UNDO);
    store_expect(&f->store, UNDO, "LMOVE queue:push fedpush:wait:m1 RIGHT LEFT");
    push(f, AGAIN);
    assert_string_equal(claim(f, 0), "0"); /* behind the other one */
    expect_held(f, "m1", "0 2");
    assert_string_equal(claim(f, 1), "0"); /* both belong behind the first */
    expect_held(f, "m1", "nil");
    assert_string_equal(claim(f, 0), "0|2|" UNDO "||3|" AGAIN "|");
    expect_held(f, "m0", "3");
}

/* Redis has lost that both have let go: it doesn't go to and fro for good. */
static void what_two_machines_seem_to_have_is_claimed(void **state)
{
    struct fixture *f = *state;
    int claims = 0;

    store_expect(&f->store, NULL, "HSET fedpush:held:m0 %s 40", f->pair);
    store_expect(&f->store, NULL, "HSET fedpush:held:m1 %s 50", f->pair);
    push(f, FOLLOW);
    for (; strstr(f->reply, FOLLOW) == NULL; claims++) {
        assert_true(claims < 8);
        claim(f, claims % 2);
    }
    store_expect(&f->store, "0", "EXISTS queue:push fedpush:wait:m0 fedpush:wait:m1");
    int holder = (claims - 1) % 2;
    expect_held(f, holder == 0 ? "m0" : "m1", "1");
    settle(f, holder == 0 ? "m0" : "m1", "1", "done", "", "", last(f, 1));
    push(f, UNDO); /* the other one claims it, and lets go */
    claim(f, holder);
    claim(f, 1 - holder);
    assert_non_null(strstr(f->reply, UNDO));
}

static void empty_hands_hold_no_pair(void **state)
{
    struct fixture *f = *state;

    store_expect(&f->store, NULL, "HSET fedpush:held:m0 %s 40 lost 41", f->pair);
    push(f, OTHER);
    push(f, JOB(6, 9, "b.example/inbox"));
    claim(f, 0);
    settle(f, "m0", "1", "done", "", "", "");
    expect_held(f, "m0", "40");
    settle(f, "m0", "2", "done", "", "", "");
    store_expect(&f->store, "0", "EXISTS fedpush:held:m0");
}

static void due_ones_are_left_to_who_has_the_pair(void **state)
{
    struct fixture *f = *state;

    push(f, FOLLOW);
    claim(f, 0);
    store_expect(&f->store, NULL, "ZADD schedule 5 %s", UNDO);
    store_expect(&f->store, NULL, "ZADD schedule 6 %s", OTHER);
    assert_string_equal(due(f), "0|1|6|" OTHER "|");
    store_expect(&f->store, UNDO, "ZRANGE schedule 0 -1");
    settle(f, "m0", "1", "done", "", "", last(f, 1));
    assert_string_equal(due(f), "0|2|5|" UNDO "|");
    expect_held(f, "m1", "2");
}

static void machines_are_told_who_they_are(void **state)
{
    struct fixture *f = *state;

    store_expect(&f->store, NULL, "ZADD fedpush:identities 100 m2");
    push(f, FOLLOW);
    assert_memory_equal(claim(f, 0), "FLEET|", 6);
    assert_non_null(strstr(f->reply, "|m2"));
    store_expect(&f->store, "1", "LLEN queue:push");
    store_expect(&f->store, NULL, "ZREM fedpush:identities m1 m2");
    assert_string_equal(claim(f, 0), "FLEET|m0");
    for (int i = 2; i < 18; i++)
        store_expect(&f->store, NULL, "ZADD fedpush:identities 100 m%d", i);
    store_expect(&f->store, NULL, "ZADD fedpush:identities 100 m1");
    assert_string_equal(claim(f, 0), "0|1|" FOLLOW "|"); /* too many to ask each */
    push(f, UNDO);
    assert_string_equal(claim(f, 1), "0|1|" UNDO "|");
}

static void a_job_is_passed_to_a_machine_that_is_there(void **state)
{
    struct fixture *f = *state;

    push(f, FOLLOW);
    push(f, OTHER);
    claim(f, 0);
    assert_string_equal(settle(f, "m0", "1", "pass", "16 m1", "", last(f, 1)), "1|0");
    store_expect(&f->store, FOLLOW, "LRANGE fedpush:wait:m1 0 -1");
    expect_held(f, "m1", "0 1");
    expect_held(f, "m0", "nil");
    push(f, UNDO);
    assert_string_equal(claim(f, 0), "0"); /* it belongs there, too */
    assert_string_equal(claim(f, 1), "0|1|" FOLLOW "||2|" UNDO "|");
    store_expect(&f->store, NULL, "ZADD fedpush:identities -1 m1");
    assert_string_equal(settle(f, "m0", "2", "pass", "16 m1", "", ""), "1|0");
    store_expect(&f->store, OTHER, "LRANGE queue:push 0 -1");
    store_expect(&f->store, "0", "EXISTS fedpush:wait:m1");
}

/* --- what is booked --- */

static int64_t now_s(struct fixture *f)
{
    redisReply *time = redisCommand(f->store.direct, "TIME");
    int64_t seconds = strtoll(time->element[0]->str, NULL, 10);
    freeReplyObject(time);
    return seconds;
}

static void every_machine_hears_what_is_booked(void **state)
{
    struct fixture *f = *state;
    char word[128];
    char expected[1024];
    long long at = (long long)now_s(f) + 600;

    push(f, FOLLOW);
    claim(f, 0);
    snprintf(word, sizeof(word), "%lld.0 15 0 %s 1500000 a.example", at, f->pair);
    settle(f, "m0", "1", "schedule", word, FOLLOW, last(f, 1));
    expect_held(f, "m0", "nil");
    push(f, UNDO);
    snprintf(expected, sizeof(expected), "0|1|%s|1500000 %lld000000", UNDO, at);
    assert_string_equal(claim(f, 1), expected);
    /* Called back: it comes sooner, and that is known. */
    const char *const release[] = {"fedpush:booked:a.example",
                                   "fedpush:pairs",
                                   "fedpush:reserved",
                                   "retry",
                                   "schedule",
                                   "a.example",
                                   "1",
                                   "10"};
    assert_string_equal(run(f, script_release, 5, COUNT(release), release), "1|0");
    push(f, OTHER);
    push(f, AGAIN);
    claim(f, 1);
    const char *booked = strstr(f->reply, "|1500000 ");
    assert_non_null(booked);
    assert_true(strtoll(booked + 9, NULL, 10) < (at - 500) * 1000000);
    /* It came: nothing is booked any more, and the others hear that. */
    store_expect(&f->store, NULL, "ZADD schedule XX 5 %s", FOLLOW);
    snprintf(expected, sizeof(expected), "0|4|5|%s|", FOLLOW);
    assert_string_equal(due(f), expected);
    store_expect(&f->store, "0", "EXISTS fedpush:pairs");
}

/* Ruby's poller put it back into its queue; or somebody has deleted it. */
static void what_comes_by_the_queue_is_booked_no_more(void **state)
{
    struct fixture *f = *state;
    long long now = (long long)now_s(f);
    char expected[1024];

    store_expect(&f->store, NULL, "HSET fedpush:pairs %s %s", f->pair, "nonsense");
    push(f, OTHER);
    push(f, AGAIN);
    claim(f, 0); /* is understood as nothing */
    store_expect(&f->store, NULL, "EVAL %s 0 %s %lld",
                 "local now = tonumber(ARGV[2]) return redis.call('HSET', 'fedpush:pairs', ARGV[1],"
                 "string.format('1500000 %d000000 2500000 %d000000 2600000 %d000000', now - 1, "
                 "now + 600, now + 700))",
                 f->pair, now);
    store_expect(&f->store, NULL, "ZADD retry %lld there", now + 600);
    /* What was made later is nothing to wait for, so that nobody looks whether it is there. */
    push(f, FOLLOW);
    snprintf(expected, sizeof(expected), "0|3|%s|2500000 %lld000000 2600000 %lld000000", FOLLOW,
             now + 600, now + 700);
    assert_string_equal(claim(f, 0), expected);
    push(f, UNDO); /* itself, whatever its entry says */
    snprintf(expected, sizeof(expected), "0|4|%s|2600000 %lld000000", UNDO, now + 700);
    assert_string_equal(claim(f, 0), expected);
    push(f, AGAIN);
    assert_string_equal(claim(f, 0), "0|5|" AGAIN "|");
    store_expect(&f->store, "0", "EXISTS fedpush:pairs");
}

/* What was due goes back to be due, and nobody passes it. */
static void what_is_due_again_is_awaited(void **state)
{
    struct fixture *f = *state;

    store_expect(&f->store, NULL, "ZADD schedule 5 %s", FOLLOW);
    assert_string_equal(due(f), "0|1|5|" FOLLOW "|");
    settle(f, "m1", "1", "return", "", "", last(f, 1));
    store_expect(&f->store, "5", "ZSCORE schedule %s", FOLLOW);
    push(f, UNDO);
    claim(f, 0);
    const char *booked = strstr(f->reply, "|1500000 ");
    assert_non_null(booked);
    assert_true(llabs(strtoll(booked + 9, NULL, 10) - (long long)now_s(f) * 1000000) < 60000000);
}

/* --- ends --- */

static void who_takes_nothing_gives_its_list_back(void **state)
{
    struct fixture *f = *state;
    static const char *const yield[] = {"fedpush:identities", "fedpush:wait:m0",    "queue:push",
                                        "fedpush:held:m0",    "fedpush:claimed:m0", "10"};

    push(f, FOLLOW);
    claim(f, 0);
    push(f, UNDO);
    push(f, AGAIN);
    claim(f, 1);
    assert_string_equal(run(f, script_yield, 5, COUNT(yield), yield), "2");
    store_expect(&f->store, AGAIN "|" UNDO, "LRANGE queue:push 0 -1");
    expect_held(f, "m0", "1");
    claim(f, 1); /* the first is still there */
    expect_held(f, "m0", "1 2");
    settle(f, "m0", "1", "return", "", "", last(f, 1)); /* with what belongs behind it */
    expect_held(f, "m0", "nil");
    assert_string_equal(run(f, script_yield, 5, COUNT(yield), yield), "0");
    assert_string_equal(claim(f, 1), "0|1|" FOLLOW "||2|" UNDO "||3|" AGAIN "|");
}

static void who_leaves_gives_its_list_back(void **state)
{
    struct fixture *f = *state;
    static const char *const leave[] = {
        "fedpush:identities", "fedpush:claimed:m0", "fedpush:wait:m0", "queue:push",
        "fedpush:ledger:m0",  "fedpush:ledger",     "fedpush:held:m0", "m0"};

    push(f, FOLLOW);
    claim(f, 0);
    push(f, UNDO);
    claim(f, 1);
    assert_string_equal(run(f, script_leave, 7, COUNT(leave), leave), "1");
    store_expect(&f->store, UNDO, "LRANGE fedpush:wait:m0 0 -1");
    push(f, OTHER);
    store_expect(&f->store, OTHER, "LMOVE queue:push fedpush:wait:m0 RIGHT LEFT");
    settle(f, "m0", "1", "return", "", "", last(f, 1));
    store_expect(&f->store, OTHER, "LRANGE fedpush:wait:m0 0 -1");
    assert_string_equal(run(f, script_leave, 7, COUNT(leave), leave), "0");
    store_expect(&f->store, UNDO "|" FOLLOW "|" OTHER, "LRANGE queue:push 0 -1");
    store_expect(&f->store, "0",
                 "EXISTS fedpush:wait:m0 fedpush:claimed:m0 fedpush:held:m0 fedpush:ledger:m0");
}

static const char *recover(struct fixture *f, const char *seq)
{
    const char *const words[] = {"fedpush:identities",
                                 "fedpush:claimed:m0",
                                 "fedpush:wait:m0",
                                 "queue:push",
                                 "retry",
                                 "schedule",
                                 "dead",
                                 "fedpush:recoveries",
                                 "fedpush:ledger:m0",
                                 "fedpush:ledger",
                                 "queue:pull",
                                 "fedpush:held:m0",
                                 "m0",
                                 "1800000000",
                                 "100",
                                 seq,
                                 "",
                                 ""};
    return run(f, script_recover, 12, COUNT(words), words);
}

/* Its pairs stay its own until all of it is returned. */
static void who_died_is_waited_for(void **state)
{
    struct fixture *f = *state;

    push(f, FOLLOW);
    push(f, OTHER);
    push(f, UNDO);
    claim(f, 0);
    store_expect(&f->store, NULL, "ZADD fedpush:identities -1 m0");
    push(f, AGAIN);
    assert_string_equal(claim(f, 1), "0");
    assert_string_equal(recover(f, "3"), "2|0|2"); /* AGAIN, then UNDO */
    assert_string_equal(claim(f, 1), "0");
    store_expect(&f->store, AGAIN "|" UNDO, "LRANGE fedpush:wait:m0 0 -1");
    assert_string_equal(recover(f, "2"), "3|0|1");
    claim(f, 1);
    assert_string_equal(recover(f, "1"), "4|0|0");
    store_expect(&f->store, "0", "EXISTS fedpush:wait:m0 fedpush:claimed:m0 fedpush:held:m0");
    store_expect(&f->store, AGAIN "|" UNDO "|" OTHER "|" FOLLOW, "LRANGE queue:push 0 -1");
}

/* --- what may go wrong --- */

/* The script as if Redis died at its so-manieth command. */
static char *dying(const char *script, int at)
{
    return mem_printf(
        "local real, count = redis, 0\n"
        "local function run(how) return function(...) count = count + 1\n"
        "if count > %d then error('died') end return real[how](...) end end\n"
        "local redis = {call = run('call'), pcall = run('pcall'), sha1hex = real.sha1hex}\n%s",
        at, script);
}

static void dying_anywhere_loses_no_job(void **state)
{
    struct fixture *f = *state;
    static const char *const jobs[] = {UNDO, OTHER, JOB(6, 9, "b.example/inbox")};
    bool died = true;
    int steps = 0;

    for (; died; steps++) {
        char *script = dying(script_claim, steps);
        store_expect(&f->store, NULL,
                     "DEL queue:push fedpush:wait:m0 fedpush:wait:m1 "
                     "fedpush:claimed:m0 fedpush:claimed:m1 fedpush:held:m0 "
                     "fedpush:held:m1");
        push(f, FOLLOW);
        claim(f, 0);
        for (size_t i = 0; i < 3; i++)
            push(f, jobs[i]);
        claim_by(f, script, 1);
        died = strstr(f->reply, "died") != NULL;
        free(script);
        for (size_t i = 0; i < 3; i++)
            store_expect(&f->store, "1", "EVAL %s 0 %s",
                         "local n = 0 "
                         "for _, key in ipairs({'queue:push', 'fedpush:wait:m0'}) do "
                         "n = n + (redis.call('LPOS', key, ARGV[1]) and 1 or 0) end "
                         "for _, value in ipairs(redis.call('HVALS', 'fedpush:claimed:m1')) do "
                         "if value == 'q\\n' .. ARGV[1] then n = n + 1 end end "
                         "return n > 0 and 1 or 0",
                         jobs[i]);
    }
    assert_true(steps > 15);
}

static int start(void **state)
{
    struct fixture *f = mem_alloc(sizeof(*f));

    signal(SIGPIPE, SIG_IGN);
    if (sodium_init() < 0)
        return 1;
    store_start(&f->store);
    pair_text(f->pair, pair_of_payload(STR(FOLLOW)));
    store_expect(&f->store, "2", "ZADD fedpush:identities 100 m0 100 m1");
    *state = f;
    return 0;
}

static int end(void **state)
{
    struct fixture *f = *state;

    store_stop(&f->store);
    free(f);
    return 0;
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, start, end)
    const struct CMUnitTest tests[] = {
        TEST(both_languages_name_pairs_alike),
        TEST(what_follows_goes_where_the_first_is),
        TEST(what_blmove_took_counts),
        TEST(what_blmove_took_counts_wherever_it_stands),
        TEST(what_was_passed_on_is_not_waited_for),
        TEST(what_two_machines_seem_to_have_is_claimed),
        TEST(empty_hands_hold_no_pair),
        TEST(due_ones_are_left_to_who_has_the_pair),
        TEST(machines_are_told_who_they_are),
        TEST(a_job_is_passed_to_a_machine_that_is_there),
        TEST(every_machine_hears_what_is_booked),
        TEST(what_comes_by_the_queue_is_booked_no_more),
        TEST(what_is_due_again_is_awaited),
        TEST(who_takes_nothing_gives_its_list_back),
        TEST(who_leaves_gives_its_list_back),
        TEST(who_died_is_waited_for),
        TEST(dying_anywhere_loses_no_job),
    };
    return cmocka_run_group_tests_name("pairs", tests, NULL, NULL);
}
