/* Which Sidekiq runs: from processes, jobs and settings, and how soon a change is followed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "sched/incumbent.h"
#include "store.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* `info` as the versions write it. */
#define INFO_6                                                                                     \
    "{\"hostname\":\"vm\",\"started_at\":100.5,\"pid\":1,\"tag\":\"\",\"concurrency\":5,"          \
    "\"queues\":[\"default\"],\"labels\":[],\"identity\":\"vm:1:aa\"}"
#define INFO(started, version)                                                                     \
    "{\"hostname\":\"vm\",\"started_at\":" started ",\"pid\":2,\"tag\":\"live\",\"concurrency\":"  \
    "5,\"queues\":[\"default\"],\"weights\":[{\"default\":0}],\"labels\":[],\"identity\":"         \
    "\"vm:2:bb\",\"version\":\"" version "\",\"embedded\":false}"
#define INFO_FEDPUSH                                                                               \
    "{\"hostname\":\"vm\",\"started_at\":999.5,\"pid\":3,\"tag\":\"fedpush\",\"queues\":"          \
    "[\"push\"],\"weights\":[{\"push\":0}],\"labels\":[\"fedpush\"],\"version\":\"8.1.6\"}"

static void versions_are_read(void **state)
{
    static const struct {
        const char *text;
        int major, minor;
    } good[] = {{"6.5.12", 6, 5}, {"8.0.9", 8, 0}, {"8.1.6.pre", 8, 1}, {"9.0.0", 9, 0}};
    static const char *const bad[] = {
        "",       "8",       "5.2.1",
        "x.y.z",  "8.1.6\n", "8.0.<b>",
        "-8.1.0", "8..1",    "8.1.00000000000000000000000000000000000"};
    struct incumbent_version version;

    (void)state;
    for (size_t i = 0; i < COUNT(good); i++) {
        assert_true(incumbent_version_parse(&version, str_of(good[i].text)));
        assert_string_equal(version.text, good[i].text);
        assert_int_equal(version.major, good[i].major);
        assert_int_equal(version.minor, good[i].minor);
    }
    for (size_t i = 0; i < COUNT(bad); i++) {
        if (incumbent_version_parse(&version, str_of(bad[i])))
            fail_msg("took \"%s\"", bad[i]);
    }
}

static void expect(const struct incumbent_evidence *evidence, const char *words)
{
    struct buf out;

    buf_init(&out, 512);
    incumbent_describe(evidence, &out);
    assert_string_equal(buf_cstr(&out), words);
    buf_clear(&out);
}

static void the_process_that_started_last_decides(void **state)
{
    static const char *const strange[] = {"",
                                          "[]",
                                          "{",
                                          "{\"version\":7}",
                                          "{\"version\":\"x\"}",
                                          "{\"labels\":[],\"started_at\":1e9}"};
    struct incumbent_evidence e;

    (void)state;
    incumbent_evidence_init(&e, "8.1.6", false);
    expect(&e, "8.1.6, by Mastodon's version; no Sidekiq is running");
    incumbent_see_process(&e, STR("vm:3:cc"), STR(INFO_FEDPUSH));
    for (size_t i = 0; i < COUNT(strange); i++)
        incumbent_see_process(&e, STR("vm:9:dd"), str_of(strange[i]));
    expect(&e, "8.1.6, by Mastodon's version; no Sidekiq is running");
    incumbent_see_process(&e, STR("vm:1:aa"), STR(INFO_6));
    expect(&e, "6.5.12, seen in vm:1");
    incumbent_see_process(&e, STR("vm:2:bb"), STR(INFO("200.5", "7.3.9")));
    expect(&e, "7.3.9, seen in vm:2");
    incumbent_see_process(&e, STR("vm:4:ee"), STR(INFO("150.5", "8.0.9")));
    incumbent_see_process(&e, STR("vm:1:aa"), STR(INFO_6)); /* in whatever order */
    expect(&e, "7.3.9, seen in vm:2");
}

static void a_setting_wins(void **state)
{
    struct incumbent_evidence e;
    struct incumbent_version version;

    (void)state;
    incumbent_evidence_init(&e, "7.1.0", true);
    incumbent_see_process(&e, STR("vm:2:bb"), STR(INFO("200.5", "8.0.9")));
    e.job_seen = e.job_integer_ms = true;
    expect(&e, "7.1.0, set by FEDPUSH_SIDEKIQ_VERSION");
    assert_int_equal(incumbent_decide(&e, &version), INCUMBENT_SET);
    assert_int_equal(version.major, 7);
}

static void jobs_speak_where_no_process_does(void **state)
{
    static const struct {
        const char *configured;
        bool integer_ms;
        const char *words;
    } cases[] = {
        {"6.5.12", true, "8.0.9, by the form of its jobs"},
        {"7.3.9", true, "8.0.9, by the form of its jobs"},
        {"8.1.6", false, "7.3.9, by the form of its jobs"},
        {"8.1.6", true, "8.1.6, by Mastodon's version; no Sidekiq is running"},
        {"6.5.12", false, "6.5.12, by Mastodon's version; no Sidekiq is running"},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct incumbent_evidence e;
        incumbent_evidence_init(&e, cases[i].configured, false);
        e.job_seen = true;
        e.job_integer_ms = cases[i].integer_ms;
        expect(&e, cases[i].words);
    }
}

/* --- against Redis --- */

struct fixture {
    struct store store;
    struct incumbent *incumbent;
};

static int start(void **state)
{
    struct fixture *f = mem_alloc(sizeof(*f));

    store_start(&f->store);
    store_connect(&f->store);
    f->incumbent = incumbent_create(f->store.redis, &f->store.keys, "6.5.12", false);
    *state = f;
    return 0;
}

static int end(void **state)
{
    struct fixture *f = *state;

    redis_destroy(f->store.redis);
    incumbent_destroy(f->incumbent);
    store_stop(&f->store);
    free(f);
    return 0;
}

/* Two rounds: the names, and what is known of each. */
static void look(struct fixture *f)
{
    incumbent_look(f->incumbent);
    store_settle(&f->store, f->store.redis, 2);
}

static void expect_version(struct fixture *f, int major, const char *text)
{
    assert_int_equal(incumbent_version(f->incumbent)->major, major);
    assert_string_equal(incumbent_version(f->incumbent)->text, text);
    struct str said = incumbent_said(f->incumbent);
    assert_true(str_starts_with(said, str_of(text)) && said.ptr[strlen(text)] == ',');
}

static void an_upgrade_and_a_rollback_are_followed(void **state)
{
    struct fixture *f = *state;

    look(f);
    expect_version(f, 6, "6.5.12");
    store_expect(&f->store, NULL, "SADD processes vm:2:bb gone:1:cc fp:3:dd");
    store_expect(&f->store, NULL, "HSET fp:3:dd info %s", INFO_FEDPUSH);
    look(f);
    expect_version(f, 6, "6.5.12");
    store_expect(&f->store, NULL, "HSET vm:2:bb info %s", INFO("200.5", "8.0.9"));
    look(f);
    expect_version(f, 8, "8.0.9");
    store_expect(&f->store, NULL, "DEL vm:2:bb"); /* it is remembered */
    look(f);
    expect_version(f, 8, "8.0.9");
    store_expect(&f->store, NULL, "SADD processes vm:4:ee");
    store_expect(&f->store, NULL, "HSET vm:4:ee info %s", INFO("300.5", "7.3.9"));
    look(f);
    expect_version(f, 7, "7.3.9");
}

static void jobs_count_until_a_process_is_seen(void **state)
{
    struct fixture *f = *state;

    incumbent_saw_job(f->incumbent, true);
    look(f);
    expect_version(f, 8, "8.0.9");
    incumbent_saw_job(f->incumbent, false);
    look(f);
    expect_version(f, 6, "6.5.12");
    incumbent_saw_job(f->incumbent, true);
    store_expect(&f->store, NULL, "SADD processes vm:2:bb");
    store_expect(&f->store, NULL, "HSET vm:2:bb info %s", INFO("200.5", "7.3.9"));
    look(f);
    expect_version(f, 7, "7.3.9"); /* jobs may be older than it */
    incumbent_saw_job(f->incumbent, true);
    expect_version(f, 7, "7.3.9"); /* and what isn't concluded isn't said */
    look(f);
    expect_version(f, 7, "7.3.9");
}

static void a_lost_answer_changes_nothing(void **state)
{
    struct fixture *f = *state;

    incumbent_saw_job(f->incumbent, true);
    f->store.ready = false;
    store_lose_answer(&f->store);
    incumbent_look(f->incumbent);
    server_wait(f->store.base, &f->store.ready);
    expect_version(f, 6, "6.5.12");
    look(f);
    expect_version(f, 8, "8.0.9");
}

static void an_upgrade_is_believed_where_nothing_else_is_known(void **state)
{
    struct fixture *f = *state;

    incumbent_configure(f->incumbent, "8.1.6");
    look(f);
    expect_version(f, 8, "8.1.6");
    store_expect(&f->store, NULL, "SADD processes vm:2:bb");
    store_expect(&f->store, NULL, "HSET vm:2:bb info %s", INFO("200.5", "7.3.9"));
    look(f);
    incumbent_configure(f->incumbent, "8.0.9");
    look(f);
    expect_version(f, 7, "7.3.9");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(versions_are_read),
        cmocka_unit_test(the_process_that_started_last_decides),
        cmocka_unit_test(a_setting_wins),
        cmocka_unit_test(jobs_speak_where_no_process_does),
        cmocka_unit_test_setup_teardown(an_upgrade_and_a_rollback_are_followed, start, end),
        cmocka_unit_test_setup_teardown(jobs_count_until_a_process_is_seen, start, end),
        cmocka_unit_test_setup_teardown(a_lost_answer_changes_nothing, start, end),
        cmocka_unit_test_setup_teardown(an_upgrade_is_believed_where_nothing_else_is_known, start,
                                        end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
