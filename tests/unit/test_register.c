/* Being a Sidekiq process: what Redis holds after a beat, for each version, and who may register.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/log.h"
#include "sched/register.h"
#include "store.h"

#define SELF "vm:42:abcdefabcdef"
#define JOB(jid, more)                                                                             \
    "{\"class\":\"D\",\"args\":[\"{\\\"a\\\":\\\"é\\\"}\"],\"jid\":\"" jid "\"" more "}"
#define CREATED ",\"created_at\":1795419278055"

static const char *const queues[] = {"push", "pull", NULL};

struct fixture {
    struct store store;
    struct redis *redis;
    struct clock clock;
    struct membership *membership;
    struct incumbent_version sidekiq;
    struct registration *registration;
    bool joined;
    unsigned quiet;
    unsigned stopped;
};

static int64_t mono_ms(void *arg)
{
    (void)arg;
    return 1000;
}

static int64_t wall_us(void *arg)
{
    (void)arg;
    return 1795419299000001; /* 2026-11-23 07:34:59 UTC */
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

static void on_joined(void *arg)
{
    ((struct fixture *)arg)->joined = true;
}

static void on_fenced(void *arg)
{
    (void)arg;
    fail();
}

static void on_quiet(void *arg)
{
    ((struct fixture *)arg)->quiet++;
}

static void on_stop(void *arg)
{
    ((struct fixture *)arg)->stopped++;
}

static int start(void **state)
{
    static const struct redis_handlers handlers = {on_ready, on_lost};
    struct fixture *f = mem_alloc(sizeof(*f));

    log_open("test", LOG_LEVEL_ERROR);
    store_start(&f->store);
    f->clock = (struct clock){mono_ms, wall_us, f};
    f->redis = redis_create(f->store.base, f->store.dns, &f->store.endpoint, "test", &handlers, f);
    f->membership = membership_create(f->store.base, &f->clock, f->redis, &f->store.keys,
                                      &(struct membership_handlers){on_joined, on_fenced, f});
    assert_true(incumbent_version_parse(&f->sidekiq, STR("8.0.9")));
    f->registration = register_create(&(struct register_options){.clock = &f->clock,
                                                                 .redis = f->redis,
                                                                 .keys = &f->store.keys,
                                                                 .membership = f->membership,
                                                                 .sidekiq = &f->sidekiq,
                                                                 .queues = queues,
                                                                 .concurrency = 60,
                                                                 .started_us = 1795410000000009,
                                                                 .quiet = on_quiet,
                                                                 .stop = on_stop,
                                                                 .arg = f});
    membership_adopt(f->membership, STR(SELF));
    server_wait(f->store.base, &f->joined);
    *state = f;
    return 0;
}

static int end(void **state)
{
    struct fixture *f = *state;

    redis_destroy(f->redis);
    register_destroy(f->registration);
    membership_destroy(f->membership);
    store_stop(&f->store);
    free(f);
    return 0;
}

/* Two rounds: the beat's own, and what its first answer leads to. */
static void finish(struct fixture *f)
{
    store_settle(&f->store, f->redis, 2);
}

static void beat(struct fixture *f)
{
    register_beat(f->registration, 7, NULL, 0);
    finish(f);
}

static void the_hash_is_the_union_of_what_all_versions_read(void **state)
{
    struct fixture *f = *state;
    char hostname[256] = "";

    assert_int_equal(gethostname(hostname, sizeof(hostname) - 1), 0);
    beat(f);
    store_expect(&f->store, SELF, "SMEMBERS processes");
    char *info = mem_printf(
        "{\"hostname\":\"%s\",\"started_at\":1795410000.000009,\"pid\":42,\"tag\":\"fedpush\","
        "\"concurrency\":60,\"capsules\":{\"default\":{\"concurrency\":60,\"mode\":\"strict\","
        "\"weights\":{\"push\":0,\"pull\":0}}},\"queues\":[\"push\",\"pull\"],"
        "\"weights\":[{\"push\":0,\"pull\":0}],\"labels\":[\"fedpush\"],\"identity\":\"" SELF
        "\",\"version\":\"8.0.9\",\"embedded\":false}|60|7|1795419299.000001|false",
        hostname);
    store_expect(&f->store, info, "HMGET " SELF " info concurrency busy beat quiet");
    free(info);
    store_expect(&f->store, "1|1", "EVAL %s 1 " SELF,
                 "return {tonumber(redis.call('HGET', KEYS[1], 'rss')) > 100 and 1 or 0, "
                 "tonumber(redis.call('HGET', KEYS[1], 'rtt_us')) and 1 or 0}");
    store_expect(&f->store, "7", "HLEN " SELF);
    store_expect(&f->store, "60", "TTL " SELF);
    register_set_quiet(f->registration);
    assert_true(incumbent_version_parse(&f->sidekiq, STR("7.3.9")));
    beat(f);
    store_expect(&f->store, "true", "HGET " SELF " quiet");
    store_expect(&f->store, "1", "EVAL %s 1 " SELF,
                 "return string.find(redis.call('HGET', KEYS[1], 'info'), "
                 "'\"version\":\"7.3.9\"', 1, true) and 1 or 0");
}

static void the_pace_is_the_versions(void **state)
{
    static const struct {
        const char *version;
        unsigned seconds;
    } cases[] = {{"6.5.12", 5}, {"7.3.9", 10}, {"8.0.9", 10}, {"8.1.6", 10}};
    struct fixture *f = *state;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_true(incumbent_version_parse(&f->sidekiq, str_of(cases[i].version)));
        assert_int_equal(register_beat_s(f->registration), cases[i].seconds);
    }
}

static void totals_and_days_are_counted_once(void **state)
{
    struct fixture *f = *state;

    beat(f);
    store_expect(&f->store, "0", "EXISTS stat:processed stat:failed");
    register_count(f->registration, STR("D"), false, 10);
    register_count(f->registration, STR("D"), true, 0);
    register_count(f->registration, STR("D"), false, 30);
    beat(f);
    beat(f);
    store_expect(
        &f->store, "3|1|3|1",
        "MGET stat:processed stat:failed stat:processed:2026-11-23 stat:failed:2026-11-23");
    store_expect(&f->store, "157680000", "TTL stat:processed:2026-11-23");
    store_expect(&f->store, "157680000", "TTL stat:failed:2026-11-23");
    store_expect(&f->store, "-1", "TTL stat:processed");
    store_expect(&f->store, "3|1|40", "HMGET j|261123|7:34 D|p D|f D|ms");
    register_count(f->registration, STR("D"), false, 1);
    register_leave(f->registration); /* what came since the last beat, too */
    finish(f);
    store_expect(&f->store, "4", "GET stat:processed");
    store_expect(&f->store, "4", "HGET j|261123|7:34 D|p");
}

static struct claim *claim_of(uint64_t seq, const char *payload, int64_t run_at_s)
{
    struct claim *claim = claim_create(seq, ORIGIN_QUEUE, STR_NULL, str_of(payload));
    struct json *json = json_create();

    job_parse(&claim->job, json, (struct str){claim->payload, claim->payload_bytes});
    claim->parsed = true;
    claim->dispatched_us = run_at_s * 1000000 + 999999;
    json_destroy(json);
    return claim;
}

static void jobs_at_work_are_shown_as_they_stand(void **state)
{
    struct fixture *f = *state;
    struct claim *claims[] = {
        claim_of(26, JOB("a1", CREATED), 1795419200),
        claim_of(27, JOB("a2", ""), 1795419201), /* no created_at: the reaper would fail */
        claim_of(28, "{\"class\":\"D\",\"args\":[]" CREATED "}", 1795419202), /* no jid */
        claim_of(29, JOB("a3", ",\"created_at\":1795419278.055"), 1795419203),
    };
    struct work work[4];

    for (size_t i = 0; i < 4; i++)
        work[i] = (struct work){claims[i], i < 3 ? STR("push") : STR("pull")};
    beat(f);
    register_beat(f->registration, 4, work, 4);
    finish(f);
    store_expect(&f->store, "2", "HLEN " SELF ":work");
    store_expect(&f->store,
                 "{\"queue\":\"push\",\"payload\":\"{\\\"class\\\":\\\"D\\\",\\\"args\\\":[\\\"{"
                 "\\\\\\\"a\\\\\\\":\\\\\\\"é\\\\\\\"}\\\"],\\\"jid\\\":\\\"a1\\\","
                 "\\\"created_at\\\":1795419278055}\",\"run_at\":1795419200}",
                 "HGET " SELF ":work 1a");
    store_expect(&f->store, "1", "HEXISTS " SELF ":work 1d");
    store_expect(&f->store, "60", "TTL " SELF ":work");
    beat(f);
    store_expect(&f->store, "0", "EXISTS " SELF ":work");
    for (size_t i = 0; i < 4; i++)
        claim_destroy(claims[i]);
}

static void what_is_shown_is_bounded(void **state)
{
    struct fixture *f = *state;
    enum { JOBS = REGISTER_MAX_WORK + 5 };
    struct claim *small = claim_of(1, JOB("a1", CREATED), 1795419200);
    struct claim *big;
    struct work work[JOBS];
    struct claim copies[JOBS];
    char *filler = mem_alloc(REGISTER_MAX_WORK_BYTES / 2);

    memset(filler, 'x', REGISTER_MAX_WORK_BYTES / 2 - 1);
    char *payload = mem_printf(JOB("%s", CREATED ",\"filler\":\"%s\""), "b1", filler);
    big = claim_of(2, payload, 1795419200);
    for (uint64_t i = 0; i < JOBS; i++) {
        copies[i] = *small;
        copies[i].seq = i + 1;
        work[i] = (struct work){&copies[i], STR("push")};
    }
    beat(f);
    register_beat(f->registration, JOBS, work, JOBS);
    finish(f);
    store_expect(&f->store, "200", "HLEN " SELF ":work");
    store_expect(&f->store, "0", "HEXISTS " SELF ":work c9"); /* the oldest come first */
    copies[JOBS - 1].job.has_lock = true;
    register_beat(f->registration, JOBS, work, JOBS);
    finish(f);
    store_expect(&f->store, "200", "HLEN " SELF ":work");
    store_expect(&f->store, "1", "HEXISTS " SELF ":work cd"); /* locked: always */
    for (unsigned i = 0; i < 3; i++)
        work[i].claim = big;
    register_beat(f->registration, 4, work, 4);
    finish(f);
    store_expect(&f->store, "2|1|1", "EVAL %s 1 " SELF ":work",
                 "return {redis.call('HLEN', KEYS[1]), redis.call('HEXISTS', KEYS[1], '2'), "
                 "redis.call('HEXISTS', KEYS[1], '4')}");
    claim_destroy(small);
    claim_destroy(big);
    free(payload);
    free(filler);
}

static void one_order_a_beat_is_obeyed(void **state)
{
    struct fixture *f = *state;

    store_expect(&f->store, NULL, "LPUSH " SELF "-signals TSTP");
    store_expect(&f->store, NULL, "LPUSH " SELF "-signals TTIN");
    store_expect(&f->store, NULL, "LPUSH " SELF "-signals TERM");
    beat(f);
    assert_int_equal(f->quiet, 1);
    assert_int_equal(f->stopped, 0);
    store_expect(&f->store, "2", "LLEN " SELF "-signals");
    beat(f);
    assert_int_equal(f->quiet + f->stopped, 1);
    beat(f);
    assert_int_equal(f->stopped, 1);
    store_expect(&f->store, "0", "EXISTS " SELF "-signals");
}

/* Other machines that registered, with a beat so many seconds old. */
static void other_machine(struct fixture *f, const char *identity, int age_s)
{
    store_expect(&f->store, NULL, "ZADD fedpush:identities %ld %s", (long)time(NULL) - age_s,
                 identity);
    store_expect(&f->store, NULL, "SADD processes %s", identity);
}

static void four_machines_register_and_a_fifth_waits(void **state)
{
    struct fixture *f = *state;

    store_expect(&f->store, NULL, "SADD processes ruby:1:a ruby:2:b ruby:3:c ruby:4:d ruby:5:e");
    other_machine(f, "fp:1:a", 0);
    other_machine(f, "fp:2:b", 5);
    other_machine(f, "fp:3:c", 30);
    beat(f);
    store_expect(&f->store, "1", "SISMEMBER processes " SELF); /* the fourth */
    assert_int_equal(register_processes(f->registration), 9);
    other_machine(f, "fp:4:d", 0); /* came while this one was away */
    beat(f);
    store_expect(&f->store, "0", "SISMEMBER processes " SELF);
    store_expect(&f->store, NULL, "DEL " SELF);
    store_expect(&f->store, NULL, "LPUSH " SELF "-signals TERM");
    register_count(f->registration, STR("D"), false, 10);
    beat(f);
    store_expect(&f->store, "0", "EXISTS " SELF); /* nothing is shown, and nothing obeyed */
    assert_int_equal(f->stopped, 0);
    store_expect(&f->store, "1", "GET stat:processed"); /* but it counts */
    store_expect(&f->store, NULL, "DEL " SELF "-signals");
    other_machine(f, "fp:2:b", 90); /* died: its place is free */
    beat(f);
    store_expect(&f->store, "1", "SISMEMBER processes " SELF);
    store_expect(&f->store, "7", "HLEN " SELF);
}

static void leaving_takes_it_off_the_list(void **state)
{
    struct fixture *f = *state;
    struct claim *claim = claim_of(26, JOB("a1", CREATED), 1795419200);
    struct work work = {claim, STR("push")};

    store_expect(&f->store, NULL, "SADD processes ruby:1:a");
    beat(f);
    register_beat(f->registration, 1, &work, 1);
    register_leave(f->registration);
    finish(f);
    store_expect(&f->store, "ruby:1:a", "SMEMBERS processes");
    store_expect(&f->store, "0", "EXISTS " SELF ":work");
    claim_destroy(claim);
}

static void a_lost_identity_is_shown_no_more(void **state)
{
    struct fixture *f = *state;

    beat(f);
    register_fenced(f->registration);
    f->joined = false;
    membership_adopt(f->membership, STR("vm:42:ffffffffffff"));
    server_wait(f->store.base, &f->joined);
    beat(f);
    store_expect(&f->store, "vm:42:ffffffffffff", "SMEMBERS processes");
    store_expect(&f->store, "7", "HLEN vm:42:ffffffffffff");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_hash_is_the_union_of_what_all_versions_read, start,
                                        end),
        cmocka_unit_test_setup_teardown(the_pace_is_the_versions, start, end),
        cmocka_unit_test_setup_teardown(totals_and_days_are_counted_once, start, end),
        cmocka_unit_test_setup_teardown(jobs_at_work_are_shown_as_they_stand, start, end),
        cmocka_unit_test_setup_teardown(what_is_shown_is_bounded, start, end),
        cmocka_unit_test_setup_teardown(one_order_a_beat_is_obeyed, start, end),
        cmocka_unit_test_setup_teardown(four_machines_register_and_a_fifth_waits, start, end),
        cmocka_unit_test_setup_teardown(leaving_takes_it_off_the_list, start, end),
        cmocka_unit_test_setup_teardown(a_lost_identity_is_shown_no_more, start, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
