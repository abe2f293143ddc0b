#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "sched/job.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* The parts of a payload, in the order in which Sidekiq writes them. */
#define ARGS                                                                                       \
    "[\"{\\\"id\\\":\\\"https://a.example/1\\\"}\",109876543210987654,\"https://b.example/"        \
    "inbox\"]"
#define HEAD "{\"retry\":16,\"queue\":\"push\",\"dead\":false,\"args\":"
#define CLASS ",\"class\":\"ActivityPub::DeliveryWorker\",\"jid\":\"97e05f8094f866d8caf56d32\""
#define TIMES_MS ",\"created_at\":1795419278055,\"enqueued_at\":1795419278056"
#define TIMES_S ",\"created_at\":1795418989.322322,\"enqueued_at\":1795418989.3224125"

static int setup(void **state)
{
    *state = json_create();
    return 0;
}

static int teardown(void **state)
{
    json_destroy(*state);
    return 0;
}

static void assert_str(struct str actual, const char *expected)
{
    if (!str_equal(actual, str_of(expected)))
        fail_msg("\"%.*s\" instead of \"%s\"", STR_ARG(actual), expected);
}

static void assert_body(const struct job *job, const char *expected)
{
    struct buf body;

    buf_init(&body, job->body_json.len);
    job_put_body(job, &body);
    assert_str(buf_str(&body), expected);
    assert_false(body.overflow);
    buf_clear(&body);
}

static struct job parse(struct json *json, const char *payload)
{
    struct job job;
    job_parse(&job, json, str_of(payload));
    return job;
}

static void assert_kind(struct json *json, const char *payload, enum job_kind kind)
{
    struct job job = parse(json, payload);

    if (job.kind != kind)
        fail_msg("kind %d (%s): %s", (int)job.kind, job.reason, payload);
    assert_int_equal(job.reason[0] == '\0', kind == JOB_DELIVERY);
    job_clear(&job);
}

static void a_delivery_of_sidekiq_8_is_understood(void **state)
{
    struct job job = parse(*state, HEAD ARGS CLASS TIMES_MS "}");

    assert_int_equal(job.kind, JOB_DELIVERY);
    assert_str(job.class_name, "ActivityPub::DeliveryWorker");
    assert_string_equal(job.jid, "97e05f8094f866d8caf56d32");
    assert_body(&job, "{\"id\":\"https://a.example/1\"}");
    assert_true(job.account_id == 109876543210987654);
    assert_str(job.inbox_url, "https://b.example/inbox");
    assert_false(job.low_priority);
    assert_false(job.bypass_availability);
    assert_false(job.has_lock);
    assert_false(job.dead);
    assert_false(job.has_failed_at);
    assert_int_equal(job.max_retries, 16);
    assert_int_equal(job.retry_count, -1);
    assert_int_equal(job.retry_queue.len, 0);
    assert_true(job.integer_ms_times);
    assert_true(job.created_at_s > 1795419278.0549 && job.created_at_s < 1795419278.0551);
    job_clear(&job);
}

static void times_of_sidekiq_6_and_7_are_seconds(void **state)
{
    struct job job = parse(*state, HEAD ARGS CLASS TIMES_S "}");

    assert_int_equal(job.kind, JOB_DELIVERY);
    assert_false(job.integer_ms_times);
    assert_true(job.created_at_s > 1795418989.3223 && job.created_at_s < 1795418989.3224);
    job_clear(&job);
}

static void what_a_poller_pushed_is_known(void **state)
{
    static const struct {
        const char *times;
        bool moved;
    } rows[] = {
        {TIMES_MS, false},
        {TIMES_S, false},
        {",\"created_at\":1795419278055,\"enqueued_at\":1795419290056", true},
        {",\"created_at\":1795418989.3,\"enqueued_at\":1795418999.3", true},
        {",\"created_at\":1795418989.3,\"enqueued_at\":1795418999300", true}, /* both versions */
        {",\"created_at\":1795418989.3", false},
        {",\"enqueued_at\":1795418999.3", false},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char text[1024];
        snprintf(text, sizeof(text), HEAD ARGS CLASS "%s}", rows[i].times);
        struct job job = parse(*state, text);
        assert_int_equal(job.moved, rows[i].moved);
        job_clear(&job);
    }
}

static void odd_times_are_no_times(void **state)
{
    static const char *const odd[] = {
        "null",
        "\"1\"",
        "-1",
        "1e999",
        "1e300",
        "1795419278055000000",
        "[1795419278055]",
        "1.00000000000000000000000000000000000000000000000000000000000000000001"};

    for (size_t i = 0; i < COUNT(odd); i++) {
        struct buf text;
        buf_init(&text, 10000);
        buf_printf(&text, HEAD ARGS CLASS ",\"created_at\":%s}", odd[i]);
        struct job job = parse(*state, buf_cstr(&text));
        assert_int_equal(job.kind, JOB_DELIVERY);
        assert_true(job.created_at_s < 0.5);
        assert_false(job.integer_ms_times);
        job_clear(&job);
        buf_clear(&text);
    }
}

static void a_body_is_decoded_when_it_is_needed(void **state)
{
    const char *payload = HEAD "[\"{\\\"a\\\":\\\"\\u00e4\\/\\ud83d\\ude00\\\"}\",7,"
                               "\"https:\\/\\/b.example\\/inbox\"]" CLASS "}";
    struct job job = parse(*state, payload);

    assert_int_equal(job.kind, JOB_DELIVERY);
    assert_true(job.body_json.ptr > payload && job.body_json.ptr < payload + strlen(payload));
    assert_body(&job, "{\"a\":\"\u00e4/\U0001f600\"}");
    assert_str(job.inbox_url, "https://b.example/inbox");
    job_clear(&job);
}

static void an_inbox_that_is_no_url_is_still_a_delivery(void **state)
{
    struct job job = parse(*state, HEAD "[\"\",-99,\"not a url\"]" CLASS "}");

    assert_int_equal(job.kind, JOB_DELIVERY);
    assert_int_equal(job.account_id, -99);
    assert_body(&job, "");
    assert_str(job.inbox_url, "not a url");
    job_clear(&job);
}

static void low_priority_jobs_have_their_own_limit(void **state)
{
    struct job job =
        parse(*state, "{\"args\":" ARGS ",\"class\":\"ActivityPub::LowPriorityDeliveryWorker\"}");

    assert_int_equal(job.kind, JOB_DELIVERY);
    assert_true(job.low_priority);
    assert_int_equal(job.max_retries, 8);
    assert_true(job.dead);
    assert_string_equal(job.jid, "");
    job_clear(&job);
}

static void retry_says_how_often(void **state)
{
    static const struct {
        const char *retry;
        int64_t max_retries;
    } cases[] = {{"true", 25}, {"false", -1}, {"null", 16}, {"0", 0}, {"3", 3}, {"16", 16}};

    for (size_t i = 0; i < COUNT(cases); i++) {
        struct buf text;
        buf_init(&text, 10000);
        buf_printf(&text, "{\"retry\":%s,\"args\":" ARGS CLASS "}", cases[i].retry);
        struct job job = parse(*state, buf_cstr(&text));
        assert_int_equal(job.kind, JOB_DELIVERY);
        assert_int_equal(job.max_retries, cases[i].max_retries);
        job_clear(&job);
        buf_clear(&text);
    }
}

/* Payloads that begin as a good delivery and go on with one member more. */
static void assert_kind_with(struct json *json, const char *member, enum job_kind kind)
{
    struct buf text;

    buf_init(&text, 10000);
    buf_printf(&text, "{\"queue\":\"push\",\"args\":" ARGS CLASS ",%s}", member);
    assert_kind(json, buf_cstr(&text), kind);
    buf_clear(&text);
}

static void assert_kind_of_args(struct json *json, const char *args, enum job_kind kind)
{
    struct buf text;

    buf_init(&text, 10000);
    buf_printf(&text, HEAD "%s" CLASS "}", args);
    assert_kind(json, buf_cstr(&text), kind);
    buf_clear(&text);
}

static void members_that_change_how_a_job_runs_are_handed_off(void **state)
{
    static const char *const refused[] = {
        "\"lock_digest\":\"uniquejobs:1\"",
        "\"lock_digest\":null",
        "\"bid\":\"b\"",
        "\"backtrace\":true",
        "\"backtrace\":2",
        "\"log_level\":\"debug\"",
        "\"profile\":\"x\"",
        "\"retry_for\":3600",
        "\"retry\":\"16\"",
        "\"retry\":1.5",
        "\"retry\":-1",
        "\"retry\":[]",
        "\"retry\":99999999999999999999",
        "\"retry_count\":1.5",
        "\"retry_count\":\"1\"",
        "\"retry_count\":-1",
        "\"retry_count\":true",
        "\"retry_count\":9223372036854775807",
        "\"retry_queue\":5",
        "\"class\":\"ActivityPub::MigratedFollowDeliveryWorker\"",
    };
    static const char *const taken[] = {
        "\"bid\":null",
        "\"backtrace\":false",
        "\"retry_count\":null",
        "\"retry_queue\":null",
        "\"tags\":[\"a\"]",
        "\"cattr\":{\"a\":1}",
        "\"anything\":{\"else\":[1,2]}",
        "\"locale\":\"en\"",
    };

    for (size_t i = 0; i < COUNT(refused); i++)
        assert_kind_with(*state, refused[i], JOB_HANDOFF);
    for (size_t i = 0; i < COUNT(taken); i++)
        assert_kind_with(*state, taken[i], JOB_DELIVERY);
}

static void arguments_of_another_shape_are_handed_off(void **state)
{
    static const char *const refused[] = {
        "[]",
        "[\"b\"]",
        "[\"b\",1]",
        "[\"b\",1,\"u\",{},1]",
        "[{},1,\"u\"]",
        "[\"b\",\"1\",\"u\"]",
        "[\"b\",1.0,\"u\"]",
        "[\"b\",1e3,\"u\"]",
        "[\"b\",9223372036854775808,\"u\"]",
        "[\"b\",null,\"u\"]",
        "[\"b\",1,null]",
        "[\"b\",1,\"u\",null]",
        "[\"b\",1,\"u\",[]]",
        "[\"b\",1,\"u\",{\"sign_with\":\"x\"}]",
        "[\"b\",1,\"u\",{\"sign_with\":null}]",
        "[\"b\",1,\"u\",{\"bypass_availability\":1}]",
        "[\"b\",1,\"u\",{\"other\":false}]",
        "[\"b\",1,\"u\",{\"bypass_availability\":true,\"bypass_availability\":false}]",
    };
    static const char *const taken[] = {
        "[\"b\",1,\"u\",{}]",
        "[\"b\",1,\"u\",{\"synchronize_followers\":false}]",
        "[\"b\",1,\"u\",{\"synchronize_followers\":null}]",
        "[\"b\",-9223372036854775808,\"u\",{\"bypass_availability\":null}]",
    };

    for (size_t i = 0; i < COUNT(refused); i++)
        assert_kind_of_args(*state, refused[i], JOB_HANDOFF);
    for (size_t i = 0; i < COUNT(taken); i++)
        assert_kind_of_args(*state, taken[i], JOB_DELIVERY);
}

static void synchronize_followers_is_read_as_ruby_reads_it(void **state)
{
    static const struct {
        const char *args;
        bool wanted;
    } cases[] = {
        {"[\"b\",1,\"u\"]", false},
        {"[\"b\",1,\"u\",{}]", false},
        {"[\"b\",1,\"u\",{\"synchronize_followers\":false}]", false},
        {"[\"b\",1,\"u\",{\"synchronize_followers\":null}]", false},
        {"[\"b\",1,\"u\",{\"synchronize_followers\":true}]", true},
        {"[\"b\",1,\"u\",{\"synchronize_followers\":0}]", true},
        {"[\"b\",1,\"u\",{\"synchronize_followers\":\"\",\"bypass_availability\":true}]", true},
    };

    for (size_t i = 0; i < COUNT(cases); i++) {
        char *payload = mem_printf(HEAD "%s" CLASS "}", cases[i].args);
        struct job job = parse(*state, payload);
        assert_int_equal(job.kind, JOB_DELIVERY);
        assert_int_equal(job.synchronize_followers, cases[i].wanted);
        job_clear(&job);
        free(payload);
    }
}

static void bypass_availability_is_read(void **state)
{
    struct job job = parse(*state, HEAD "[\"b\",1,\"u\",{\"synchronize_followers\":false,"
                                        "\"bypass_availability\":true}]" CLASS "}");

    assert_int_equal(job.kind, JOB_DELIVERY);
    assert_true(job.bypass_availability);
    job_clear(&job);
}

static void other_classes_are_handed_off_with_what_is_known(void **state)
{
    struct job job = parse(*state, "{\"retry\":true,\"queue\":\"push\",\"args\":[1,{}],\"class\":"
                                   "\"ActivityPub::\\u0055pdateDistributionWorker\",\"jid\":\"a\","
                                   "\"lock_digest\":\"uniquejobs:2\",\"failed_at\":1.5}");

    assert_int_equal(job.kind, JOB_HANDOFF);
    assert_str(job.class_name, "ActivityPub::UpdateDistributionWorker");
    assert_string_equal(job.jid, "a");
    assert_true(job.has_lock);
    assert_true(job.has_failed_at);
    job_clear(&job);
}

static void what_no_ruby_could_run_is_malformed(void **state)
{
    static const char *const malformed[] = {
        "",
        "x",
        "null",
        "[]",
        "\"\"",
        "{",
        HEAD,
        HEAD ARGS CLASS ",}",
        HEAD ARGS CLASS "}}",
        "{}",
        "{\"class\":\"ActivityPub::DeliveryWorker\"}",
        "{\"args\":[],\"class\":null}",
        "{\"args\":{},\"class\":\"ActivityPub::DeliveryWorker\"}",
        "{\"args\":[NaN],\"class\":\"ActivityPub::DeliveryWorker\"}",
    };

    for (size_t i = 0; i < COUNT(malformed); i++)
        assert_kind(*state, malformed[i], JOB_MALFORMED);
}

static void what_ruby_may_take_is_handed_off(void **state)
{
    static const char *const lax[] = {
        HEAD "[\"\xff\",1,\"u\"]" CLASS "}",
        HEAD "[\"\\ud800\",1,\"u\"]" CLASS "}",
        HEAD "[\"\\q\",1,\"u\"]" CLASS "}",
        "/* */" HEAD ARGS CLASS "}",
        HEAD "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]" CLASS "}",
    };

    for (size_t i = 0; i < COUNT(lax); i++)
        assert_kind(*state, lax[i], JOB_HANDOFF);
}

static void payloads_above_the_limit_are_handed_off(void **state)
{
    char *payload = mem_alloc(JOB_MAX_PAYLOAD_BYTES + 1);
    struct job job;

    memset(payload, ' ', JOB_MAX_PAYLOAD_BYTES + 1);
    job_parse(&job, *state, (struct str){payload, JOB_MAX_PAYLOAD_BYTES + 1});
    assert_int_equal(job.kind, JOB_HANDOFF);
    job_clear(&job);
    job_parse(&job, *state, (struct str){payload, JOB_MAX_PAYLOAD_BYTES});
    assert_int_equal(job.kind, JOB_MALFORMED);
    job_clear(&job);
    free(payload);
}

static void overlong_job_ids_are_left_out(void **state)
{
    static const char *const jids[] = {
        "0123456789012345678901234567890123456789012345678901234567890123", "a\\u0000b"};

    for (size_t i = 0; i < COUNT(jids); i++) {
        struct buf text;
        buf_init(&text, 10000);
        buf_printf(&text, "{\"args\":" ARGS ",\"class\":\"X\",\"jid\":\"%s\"}", jids[i]);
        struct job job = parse(*state, buf_cstr(&text));
        assert_string_equal(job.jid, "");
        job_clear(&job);
        buf_clear(&text);
    }
}

static void a_job_id_is_found_without_parsing(void **state)
{
    static const struct {
        const char *payload;
        const char *jid; /* NULL: not plainly there */
    } cases[] = {
        {HEAD ARGS CLASS TIMES_MS "}", "97e05f8094f866d8caf56d32"},
        {"{\"jid\":\"a\"}", "a"},
        {"{\"args\":[\"{\\\"jid\\\":\\\"no\\\"}\"],\"jid\":\"yes\"}", "yes"},
        {"{\"args\":[\",\\\"jid\\\":\\\"no\\\"\"],\"jid\":\"yes\"}", "yes"},
        {"{\"args\":[{\"jid\":\"no\"}],\"jid\":\"yes\"}", NULL},
        {"{\"a\\\"jid\":\"no\"}", NULL},
        {"{\"jid\":\"a b\"}", NULL},
        {"{\"jid\":\"\"}", NULL},
        {"{\"jid\":\"abc", NULL},
        {"{\"jid\":\"", NULL},
        {"{\"jid\": \"a\"}", NULL},
        {"{\"jid\":5}", NULL},
        {"{\"jid\":\"0123456789012345678901234567890123456789012345678901234567890123\"}", NULL},
        {"", NULL},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        char jid[64] = "unset";
        bool found = job_peek_jid(str_of(cases[i].payload), jid);
        if (found != (cases[i].jid != NULL))
            fail_msg("%s: %d", cases[i].payload, (int)found);
        assert_string_equal(jid, cases[i].jid != NULL ? cases[i].jid : "unset");
    }
}

struct put_case {
    const char *before;
    bool integer_ms;
    int64_t now_us;
    int64_t count;
    const char *after;
};

static void assert_retried(struct json *json, const struct put_case *c)
{
    struct job_failure failure = {STR("push"), STR("RuntimeError"), STR("kaboom"), c->now_us,
                                  c->integer_ms};
    struct job job = parse(json, c->before);
    struct buf out;
    int64_t count = -5;

    buf_init(&out, 100000);
    job_put_retry(&out, json, &job, &failure, &count);
    assert_str(buf_str(&out), c->after);
    assert_int_equal(count, c->count);
    buf_clear(&out);
    job_clear(&job);
}

#define KABOOM ",\"error_message\":\"kaboom\",\"error_class\":\"RuntimeError\""
#define OLD_ERROR ",\"error_message\":\"ol\\\"d\",\"error_class\":\"Old::Error\""

static void failures_are_written_as_sidekiq_does(void **state)
{
    static const struct put_case cases[] = {
        /* 8.0, 8.1: first and second failure */
        {HEAD ARGS CLASS TIMES_MS "}", true, 1795419278392999, 0,
         HEAD ARGS CLASS TIMES_MS KABOOM ",\"failed_at\":1795419278392,\"retry_count\":0}"},
        {HEAD ARGS CLASS TIMES_MS OLD_ERROR ",\"failed_at\":1795419278392,\"retry_count\":0}", true,
         1795419299000000, 1,
         HEAD ARGS CLASS TIMES_MS KABOOM
         ",\"failed_at\":1795419278392,\"retry_count\":1,\"retried_at\":1795419299000}"},
        /* third */
        {HEAD ARGS CLASS TIMES_MS OLD_ERROR
         ",\"failed_at\":1795419278392,\"retry_count\":1,\"retried_at\":1795419299000}",
         true, 1795419399000000, 2,
         HEAD ARGS CLASS TIMES_MS KABOOM
         ",\"failed_at\":1795419278392,\"retry_count\":2,\"retried_at\":1795419399000}"},
        /* 7.3 */
        {HEAD ARGS CLASS TIMES_S "}", false, 1795418989705717, 0,
         HEAD ARGS CLASS TIMES_S KABOOM ",\"failed_at\":1795418989.705717,\"retry_count\":0}"},
        /* 6.5: second failure */
        {HEAD ARGS CLASS TIMES_S OLD_ERROR ",\"failed_at\":1795418959.206438,\"retry_count\":0}",
         false, 1795418965262315, 1,
         HEAD ARGS CLASS TIMES_S KABOOM
         ",\"failed_at\":1795418959.206438,\"retry_count\":1,\"retried_at\":1795418965.262315}"},
        /* an upgrade in between: units are mixed, what stands there stays */
        {HEAD ARGS CLASS TIMES_S OLD_ERROR ",\"failed_at\":1795418959.206438,\"retry_count\":4}",
         true, 1795419399000000, 5,
         HEAD ARGS CLASS TIMES_S KABOOM
         ",\"failed_at\":1795418959.206438,\"retry_count\":5,\"retried_at\":1795419399000}"},
        /* whole seconds keep a fraction */
        {HEAD ARGS CLASS "}", false, 1795418965000000, 0,
         HEAD ARGS CLASS KABOOM ",\"failed_at\":1795418965.0,\"retry_count\":0}"},
        {HEAD ARGS CLASS "}", false, 1795418965120000, 0,
         HEAD ARGS CLASS KABOOM ",\"failed_at\":1795418965.12,\"retry_count\":0}"},
    };

    for (size_t i = 0; i < COUNT(cases); i++)
        assert_retried(*state, &cases[i]);
}

static void retry_fields_are_replaced_where_they_stand(void **state)
{
    static const struct put_case cases[] = {
        {" { \"retry_count\" : 2 , \"args\":[\"b\",9007199254740993,\"u\"],\"queue\" : "
         "\"low\",\"class\":"
         "\"ActivityPub::DeliveryWorker\", \"x\":1.10 } \n",
         true, 1795419399000000, 3,
         " { \"retry_count\" : 3 , \"args\":[\"b\",9007199254740993,\"u\"],\"queue\" : "
         "\"push\",\"class\":"
         "\"ActivityPub::DeliveryWorker\", \"x\":1.10 " KABOOM ",\"retried_at\":1795419399000} \n"},
        {"{\"args\":" ARGS CLASS "}", true, 1795419399000000, 0,
         "{\"args\":" ARGS CLASS ",\"queue\":\"push\"" KABOOM
         ",\"failed_at\":1795419399000,\"retry_count\":0}"},
        {"{\"retry_queue\":\"l\\u006fw\",\"queue\":\"push\",\"args\":" ARGS CLASS "}", true,
         1795419399000000, 0,
         "{\"retry_queue\":\"l\\u006fw\",\"queue\":\"low\",\"args\":" ARGS CLASS KABOOM
         ",\"failed_at\":1795419399000,\"retry_count\":0}"},
        {"{\"args\":" ARGS CLASS ",\"retry_count\":null,\"queue\":\"push\"}", true,
         1795419399000000, 0,
         "{\"args\":" ARGS CLASS ",\"retry_count\":0,\"queue\":\"push\"" KABOOM
         ",\"failed_at\":1795419399000}"},
        {"{}", true, 1795419399000000, 0,
         "{\"queue\":\"push\"" KABOOM ",\"failed_at\":1795419399000,\"retry_count\":0}"},
    };

    for (size_t i = 0; i < COUNT(cases); i++)
        assert_retried(*state, &cases[i]);
}

static void a_written_retry_reads_back(void **state)
{
    struct job_failure failure = {STR("push"), STR("HTTP::ConnectionError"), STR("x"),
                                  1795419399000000, true};
    struct buf text;
    struct buf next;
    int64_t count = -1;

    buf_init(&text, 100000);
    buf_init(&next, 100000);
    buf_put_str(&text, STR(HEAD ARGS CLASS TIMES_MS "}"));
    for (int64_t n = 0; n < 20; n++) {
        struct job job;
        job_parse(&job, *state, buf_str(&text));
        assert_int_equal(job.kind, JOB_DELIVERY);
        assert_int_equal(job.retry_count, n - 1);
        assert_int_equal(job.has_failed_at, n > 0);
        assert_true(job.account_id == 109876543210987654);
        job_put_retry(&next, *state, &job, &failure, &count);
        assert_int_equal(count, n);
        job_clear(&job);
        buf_reset(&text);
        buf_put_str(&text, buf_str(&next));
        buf_reset(&next);
    }
    buf_clear(&text);
    buf_clear(&next);
}

static void error_messages_are_scrubbed_and_shortened(void **state)
{
    struct job job = parse(*state, "{\"queue\":\"push\",\"args\":" ARGS CLASS "}");
    struct job_failure failure = {.queue = STR("push"), .error_class = STR("E")};
    struct buf message;
    struct buf out;
    struct json_value root;
    const char *reason;
    int64_t count;

    buf_init(&message, 100000);
    buf_init(&out, 200000);
    buf_put_str(&message, STR("\xff\"\n"));
    for (int i = 0; i < 10100; i++)
        buf_put_str(&message, STR("\xe2\x82\xac"));
    failure.error_message = buf_str(&message);
    job_put_retry(&out, *state, &job, &failure, &count);
    assert_true(json_parse(*state, buf_str(&out), &root, &reason));
    buf_reset(&message);
    assert_true(json_to_text(json_member(*state, root, STR("error_message")), &message));
    assert_int_equal(message.len, 3 + 2 + 9997 * 3); /* U+FFFD, quote, newline, euros */
    assert_true(str_starts_with(buf_str(&message), STR("\xef\xbf\xbd\"\n\xe2\x82\xac")));
    buf_clear(&message);
    buf_clear(&out);
    job_clear(&job);
}

static void what_is_no_object_stays_as_it_is(void **state)
{
    static const char *const others[] = {"", "[1]", "{\"a\":", "null"};

    for (size_t i = 0; i < COUNT(others); i++) {
        struct put_case c = {others[i], true, 1, 0, others[i]};
        struct buf out;
        assert_retried(*state, &c);
        buf_init(&out, 1000);
        job_put_enqueued(&out, *state, str_of(others[i]), 1, true);
        assert_str(buf_str(&out), others[i]);
        buf_clear(&out);
    }
}

static void enqueued_at_is_refreshed(void **state)
{
    static const struct put_case cases[] = {
        {HEAD ARGS CLASS TIMES_MS KABOOM "}", true, 1795500000123456, 0,
         HEAD ARGS CLASS ",\"created_at\":1795419278055,\"enqueued_at\":1795500000123" KABOOM "}"},
        {HEAD ARGS CLASS TIMES_S "}", false, 1795500000123456, 0,
         HEAD ARGS CLASS ",\"created_at\":1795418989.322322,\"enqueued_at\":1795500000.123456}"},
        {HEAD ARGS CLASS ",\"created_at\":1795419278057}", true, 1795500000123456, 0,
         HEAD ARGS CLASS ",\"created_at\":1795419278057,\"enqueued_at\":1795500000123}"},
        {"{}", true, 1795500000123456, 0, "{\"enqueued_at\":1795500000123}"},
    };

    for (size_t i = 0; i < COUNT(cases); i++) {
        struct buf out;
        buf_init(&out, 100000);
        job_put_enqueued(&out, *state, str_of(cases[i].before), cases[i].now_us,
                         cases[i].integer_ms);
        assert_str(buf_str(&out), cases[i].after);
        buf_clear(&out);
    }
}

/* Only what Ruby takes for a name counts as one. */
static void enqueued_at_is_read_in_both_units(void **state)
{
    (void)state;
    assert_float_equal(job_enqueued_at_s(STR("{\"enqueued_at\":1795418989.25}")), 1795418989.25, 0);
    assert_float_equal(job_enqueued_at_s(STR("{\"enqueued_at\":1795419278250}")), 1795419278.25, 0);
    assert_float_equal(job_enqueued_at_s(STR("{\"enqueued_at\":\"1795418989\"}")), 0, 0);
    assert_float_equal(job_enqueued_at_s(STR("{\"enqueued_at\":-1}")), 0, 0);
    assert_float_equal(job_enqueued_at_s(STR("[1795418989]")), 0, 0);
    assert_float_equal(job_enqueued_at_s(STR("{\"enqueued_at\":")), 0, 0);
}

static void a_retry_queue_is_set_where_none_is(void **state)
{
    static const struct {
        const char *before, *after;
        bool has_one;
    } cases[] = {
        {HEAD ARGS CLASS "}", HEAD ARGS CLASS ",\"retry_queue\":\"push\"}", false},
        {"{\"class\":\"A\",\"args\":[],\"retry_queue\":null,\"b\":1}",
         "{\"class\":\"A\",\"args\":[],\"retry_queue\":\"push\",\"b\":1}", false},
        {"{\"class\":\"A\",\"args\":[],\"retry_queue\":false}",
         "{\"class\":\"A\",\"args\":[],\"retry_queue\":\"push\"}", false},
        {"{\"class\":\"A\",\"args\":[{\"retry_queue\":\"x\"}]}",
         "{\"class\":\"A\",\"args\":[{\"retry_queue\":\"x\"}],\"retry_queue\":\"push\"}", false},
        {"{\"class\":\"A\",\"args\":[],\"retry_queue\":\"low\"}", NULL, true},
        {"{\"class\":\"A\",\"args\":[],\"retry_queue\":7}", NULL, true},
    };

    for (size_t i = 0; i < COUNT(cases); i++) {
        struct job job;
        struct buf out;
        job_parse(&job, *state, str_of(cases[i].before));
        assert_int_equal(job.has_retry_queue, cases[i].has_one);
        job_clear(&job);
        if (cases[i].after == NULL)
            continue;
        buf_init(&out, 100000);
        job_put_retry_queue(&out, *state, str_of(cases[i].before), STR("push"));
        assert_str(buf_str(&out), cases[i].after);
        buf_clear(&out);
    }
}

static void the_queue_of_a_due_job(void **state)
{
    static const struct {
        const char *payload, *queue;
    } cases[] = {
        {"{\"queue\":\"push\"}", "push"},
        {"{\"queue\":\"p\\u0075ll\"}", "pull"},
        {"{}", "default"},
        {"{\"queue\":null}", "default"},
    };
    struct buf out;

    buf_init(&out, 100);
    for (size_t i = 0; i < COUNT(cases); i++) {
        buf_reset(&out);
        assert_true(job_queue(*state, str_of(cases[i].payload), &out));
        assert_str(buf_str(&out), cases[i].queue);
    }
    assert_false(job_queue(*state, STR("[]"), &out));
    assert_false(job_queue(*state, STR("{"), &out));
    buf_clear(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_delivery_of_sidekiq_8_is_understood),
        cmocka_unit_test(times_of_sidekiq_6_and_7_are_seconds),
        cmocka_unit_test(what_a_poller_pushed_is_known),
        cmocka_unit_test(odd_times_are_no_times),
        cmocka_unit_test(a_body_is_decoded_when_it_is_needed),
        cmocka_unit_test(an_inbox_that_is_no_url_is_still_a_delivery),
        cmocka_unit_test(low_priority_jobs_have_their_own_limit),
        cmocka_unit_test(retry_says_how_often),
        cmocka_unit_test(members_that_change_how_a_job_runs_are_handed_off),
        cmocka_unit_test(arguments_of_another_shape_are_handed_off),
        cmocka_unit_test(synchronize_followers_is_read_as_ruby_reads_it),
        cmocka_unit_test(bypass_availability_is_read),
        cmocka_unit_test(other_classes_are_handed_off_with_what_is_known),
        cmocka_unit_test(what_no_ruby_could_run_is_malformed),
        cmocka_unit_test(what_ruby_may_take_is_handed_off),
        cmocka_unit_test(payloads_above_the_limit_are_handed_off),
        cmocka_unit_test(overlong_job_ids_are_left_out),
        cmocka_unit_test(a_job_id_is_found_without_parsing),
        cmocka_unit_test(failures_are_written_as_sidekiq_does),
        cmocka_unit_test(retry_fields_are_replaced_where_they_stand),
        cmocka_unit_test(a_written_retry_reads_back),
        cmocka_unit_test(error_messages_are_scrubbed_and_shortened),
        cmocka_unit_test(what_is_no_object_stays_as_it_is),
        cmocka_unit_test(enqueued_at_is_refreshed),
        cmocka_unit_test(enqueued_at_is_read_in_both_units),
        cmocka_unit_test(a_retry_queue_is_set_where_none_is),
        cmocka_unit_test(the_queue_of_a_due_job),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
