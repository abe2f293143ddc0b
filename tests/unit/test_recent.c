#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <sodium.h>

#include "sched/recent.h"

static void the_id_is_the_objects_own(void **state)
{
    static const struct {
        const char *body, *id;
    } rows[] = {
        {"{\"id\":\"https://a.test/1\",\"type\":\"Create\"}", "https://a.test/1"},
        {" {\n\"@context\" : [ \"x\", {\"id\":\"no\", \"a\":[{\"id\":\"no\"}]}] , \"id\" "
         ":\t\"yes\" }",
         "yes"},
        {"{\"object\":{\"id\":\"no\"},\"id\":\"yes\"}", "yes"},
        {"{\"a\":\"id\",\"b\":\"\\\"id\\\":\\\"no\\\"\",\"id\":\"yes\"}", "yes"},
        {"{\"a\":\"\\\\\",\"id\":\"yes\"}", "yes"},
        {"{\"n\":[1,2],\"t\":true,\"id\":\"https:\\/\\/a.test\\/1\"}", "https://a.test/1"},
        {"{\"type\":\"Delete\",\"actor\":\"x\"}", ""},
        {"{\"object\":{\"id\":\"no\"}}", ""},
        {"{\"id\":7}", ""},
        {"{\"id\":null,\"x\":\"no\"}", ""},
        {"{\"id\":\"\\u0061\"}", ""},
        {"[{\"id\":\"no\"}]", ""},
        {"[1,\"id\",\"no\"]", ""},
        {"\"id\"", ""},
        {"}{\"id\":\"no\"}", ""},
        {"x{\"id\":\"no\"}", ""},
        {"{\"id\":\"cut", ""},
        {"{\"id\":\"cut\\", ""},
        {"{\"id\":", ""},
        {"{\"id\"", ""},
        {"{\"id", ""},
        {"", ""},
    };
    char text[RECENT_MAX_ID_BYTES];
    (void)state;

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        /* Of its exact length, so that a sanitizer sees a read beyond it. */
        size_t length = strlen(rows[i].body);
        char *body = memcpy(mem_alloc(length + 1), rows[i].body, length);
        body = mem_realloc(body, length > 0 ? length : 1);
        struct str id = recent_id_of((struct str){body, length}, text);
        if (!str_equal(id, str_of(rows[i].id)))
            fail_msg("%s: %.*s", rows[i].body, STR_ARG(id));
        free(body);
    }
}

static void an_endless_id_is_none(void **state)
{
    char text[RECENT_MAX_ID_BYTES];
    struct buf body;
    (void)state;

    for (size_t length = RECENT_MAX_ID_BYTES - 2; length < RECENT_MAX_ID_BYTES + 3; length++) {
        buf_init(&body, 8192);
        buf_put_str(&body, STR("{\"id\":\"\\/"));
        for (size_t i = 2; i < length; i++)
            buf_put_char(&body, 'x');
        buf_put_str(&body, STR("\"}"));
        assert_int_equal(recent_id_of(buf_str(&body), text).len,
                         length < RECENT_MAX_ID_BYTES ? length - 1 : 0);
        buf_clear(&body);
    }
}

static int start(void **state)
{
    if (sodium_init() < 0)
        return -1;
    *state = recent_create();
    return 0;
}

static int end(void **state)
{
    recent_destroy(*state);
    return 0;
}

static void add(struct recent *recent, const char *id, const char *inbox, enum health_result result,
                uint16_t status, int64_t at_ms)
{
    char *body = mem_printf("\"{\\\"id\\\":\\\"%s\\\"}\"", id);
    const struct job job = {.body_json = str_of(body)};
    recent_add(
        recent, recent_activity(recent, &job),
        &(struct health_event){
            .inbox = str_of(inbox), .result = result, .status = status, .wall_us = at_ms * 1000});
    free(body);
}

static void put(void *arg, const struct recent_outcome *outcome)
{
    buf_printf(arg, "%.*s %d %u %d|", STR_ARG(outcome->inbox), (int)outcome->result,
               outcome->status, (int)outcome->at_ms);
}

static void expect(struct recent *recent, const char *id, const char *expected)
{
    struct buf found;

    buf_init(&found, 4096);
    recent_each(recent, recent_activity_of_id(recent, str_of(id)), put, &found);
    assert_string_equal(buf_cstr(&found), expected);
    buf_clear(&found);
}

static void the_latest_outcome_of_each_inbox_is_found(void **state)
{
    struct recent *recent = *state;

    add(recent, "one", "https://a.test/", HEALTH_RETRIED, 503, 1);
    add(recent, "one", "https://b.test/", HEALTH_DELIVERED, 202, 2);
    add(recent, "two", "https://a.test/", HEALTH_REJECTED, 410, 3);
    add(recent, "one", "https://a.test/", HEALTH_EXHAUSTED, 0, 4);
    for (int i = 0; i < 2; i++)
        expect(recent, "one", "https://a.test/ 3 0 4|https://b.test/ 0 202 2|");
    expect(recent, "two", "https://a.test/ 2 410 3|");
    expect(recent, "three", "");
    const struct job job = {.body_json = STR("\"{}\"")};
    recent_add(recent, recent_activity(recent, &job), &(struct health_event){.wall_us = 1});
    assert_int_equal(recent_count(recent), 4);
}

static void the_oldest_outcomes_go(void **state)
{
    struct recent *recent = *state;

    add(recent, "first", "https://first.test/", HEALTH_DELIVERED, 202, 1);
    for (int i = 0; i < RECENT_OUTCOMES - 1; i++)
        add(recent, "many", "https://a.test/", HEALTH_DELIVERED, 202, 2);
    expect(recent, "first", "https://first.test/ 0 202 1|");
    size_t bytes = recent_bytes(recent);
    add(recent, "many", "https://a.test/", HEALTH_DELIVERED, 202, 3);
    expect(recent, "first", "");
    assert_int_equal(recent_count(recent), RECENT_OUTCOMES);
    assert_true(recent_bytes(recent) < bytes); /* its inbox went along */
}

static void memory_is_bounded(void **state)
{
    struct recent *recent = *state;
    char inbox[1024];

    for (int i = 0; i < 20000; i++) {
        snprintf(inbox, sizeof(inbox), "https://a.test/%d/%0900d", i, 0);
        add(recent, "one", inbox, HEALTH_DELIVERED, 202, 1);
        assert_true(recent_bytes(recent) <= RECENT_BYTES);
    }
    assert_in_range(recent_count(recent), 3000, 6000);
}

static void another_process_hashes_otherwise(void **state)
{
    struct recent *other = recent_create();

    assert_int_not_equal(recent_activity_of_id(*state, STR("one")),
                         recent_activity_of_id(other, STR("one")));
    recent_destroy(other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_id_is_the_objects_own),
        cmocka_unit_test(an_endless_id_is_none),
        cmocka_unit_test_setup_teardown(the_latest_outcome_of_each_inbox_is_found, start, end),
        cmocka_unit_test_setup_teardown(the_oldest_outcomes_go, start, end),
        cmocka_unit_test_setup_teardown(memory_is_bounded, start, end),
        cmocka_unit_test_setup_teardown(another_process_hashes_otherwise, start, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
