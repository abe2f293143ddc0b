#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/redis.h"

static const char *text(const char *value)
{
    return value != NULL ? value : "-";
}

static void urls_that_are_understood(void **state)
{
    static const struct {
        const char *url, *user, *password, *described;
    } cases[] = {
        {"redis://localhost", "-", "-", "redis://localhost:6379/0"},
        {"redis://r.test:7000/3", "-", "-", "redis://r.test:7000/3"},
        {"redis://r.test/", "-", "-", "redis://r.test:6379/0"},
        {"REDISS://r.test/1?timeout=3", "-", "-", "rediss://r.test:6379/1"},
        {"redis://:secret@r.test", "-", "secret", "redis://r.test:6379/0"},
        {"redis://secret@r.test", "-", "secret", "redis://r.test:6379/0"},
        {"redis://me:s%40c%3aret@r.test:1", "me", "s@c:ret", "redis://r.test:1/0"},
        {"redis://m%65:a@b:c@r.test", "me", "a@b:c", "redis://r.test:6379/0"},
        {"redis://a+b:c+d@[2001:db8::1]:7", "a+b", "c+d", "redis://[2001:db8::1]:7/0"},
        {"unix:///run/r.sock", "-", "-", "unix:///run/r.sock?db=0"},
        {"redis+sentinel://one.test,[2001:db8::1]:7/m%2f1/3?su:sp", "-", "-",
         "master m/1 of the Sentinels one.test:26379, [2001:db8::1]:7, database 3"},
        {"redis+sentinel://u:p%40@one.test/m/", "u", "p@",
         "master m of the Sentinels one.test:26379, database 0"},
        {"unix://u:p@/run/r.sock?db=4", "u", "p", "unix:///run/r.sock?db=4"},
    };
    (void)state;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct redis_endpoint endpoint;
        struct err err;
        struct buf out;
        buf_init(&out, 256);
        assert_int_equal(redis_endpoint_parse(&endpoint, str_of(cases[i].url), STR_NULL, &err),
                         FP_OK);
        redis_endpoint_describe(&endpoint, &out);
        assert_string_equal(buf_cstr(&out), cases[i].described);
        assert_string_equal(text(endpoint.user), cases[i].user);
        assert_string_equal(text(endpoint.password), cases[i].password);
        redis_endpoint_clear(&endpoint);
        buf_clear(&out);
    }
}

static void urls_that_are_refused_without_showing_a_secret(void **state)
{
    static const char *const urls[] = {
        "",
        "localhost:6379",
        "http://:secret@r.test",
        "redis:r.test",
        "redis+sentinel:///m/0?:secret",
        "redis+sentinel://:secret@one.test",
        "redis+sentinel://one.test//0",
        "redis+sentinel://one.test,two.test:secret/m/0",
        "redis+sentinel://1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17/m/0",
        "redis://",
        "redis://:secret@",
        "redis://:secret@:6379",
        "redis://:secret@r.test:0",
        "redis://:secret@r.test:65536",
        "redis://:secret@r.test:x",
        "redis://:secret@r.test/x",
        "redis://:secret@r.test/-1",
        "redis://:secret%@r.test",
        "redis://:secret%4@r.test",
        "redis://:secret%00@r.test",
        "redis://:secret%zz@r.test",
        "redis://:secret/x@r.test",
        "redis://:secret r@r.test",
        "redis://:secret@[::1",
        "redis://:secret@[::1]x",
        "unix://secret",
        "unix://secret/run/r.sock",
        "unix:///run/r.sock?db=secret",
        "unix:///"
        "secret-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    };
    (void)state;

    for (size_t i = 0; i < sizeof(urls) / sizeof(urls[0]); i++) {
        struct redis_endpoint endpoint;
        struct err err = {0};
        assert_int_equal(redis_endpoint_parse(&endpoint, str_of(urls[i]), STR("/ca"), &err),
                         FP_INVALID);
        assert_null(strstr(err.message, "secret"));
        assert_non_null(strstr(err.message, "Redis URL"));
    }
}

static void every_part_counts_in_a_comparison(void **state)
{
    static const char *const urls[] = {
        "redis://u:p@h:1/2",
        "rediss://u:p@h:1/2",
        "redis://v:p@h:1/2",
        "redis://u:q@h:1/2",
        "redis://u:p@i:1/2",
        "redis://u:p@h:3/2",
        "redis://u:p@h:1/3",
        "redis://:p@h:1/2",
        "unix:///a",
        "unix:///b",
        "redis+sentinel://a:1/m/0",
        "redis+sentinel://b:1/m/0",
        "redis+sentinel://a:2/m/0",
        "redis+sentinel://a:1/n/0",
        "redis+sentinel://a:1,b:1/m/0",
        "redis+sentinel://a:1/m/0?u:p",
        "redis+sentinel://a:1/m/0?u:q",
        "redis+sentinel://a:1/m/0?v:p",
    };
    struct redis_endpoint a, b;
    struct err err;
    (void)state;

    for (size_t i = 0; i < sizeof(urls) / sizeof(urls[0]); i++) {
        for (size_t j = 0; j < sizeof(urls) / sizeof(urls[0]); j++) {
            assert_int_equal(redis_endpoint_parse(&a, str_of(urls[i]), STR_NULL, &err), FP_OK);
            assert_int_equal(redis_endpoint_parse(&b, str_of(urls[j]), STR_NULL, &err), FP_OK);
            assert_int_equal(redis_endpoint_equal(&a, &b), i == j);
            redis_endpoint_clear(&a);
            redis_endpoint_clear(&b);
        }
    }
    assert_int_equal(redis_endpoint_parse(&a, STR("redis://h"), STR("/ca"), &err), FP_OK);
    assert_int_equal(redis_endpoint_parse(&b, STR("redis://h"), STR("/cb"), &err), FP_OK);
    assert_false(redis_endpoint_equal(&a, &b));
    redis_endpoint_clear(&a);
    redis_endpoint_clear(&b);
    assert_int_equal(redis_endpoint_parse(&a, STR("redis://h"), STR_NULL, &err), FP_OK);
    assert_int_equal(redis_endpoint_parse(&b, STR("redis://h"), STR_NULL, &err), FP_OK);
    redis_endpoint_set_certificate(&a, STR("/c"), STR("/k"));
    assert_false(redis_endpoint_equal(&a, &b));
    redis_endpoint_set_certificate(&b, STR("/c"), STR("/l"));
    assert_false(redis_endpoint_equal(&a, &b));
    redis_endpoint_set_certificate(&b, STR("/c"), STR("/k"));
    assert_true(redis_endpoint_equal(&a, &b));
    redis_endpoint_clear(&a);
    redis_endpoint_clear(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(urls_that_are_understood),
        cmocka_unit_test(urls_that_are_refused_without_showing_a_secret),
        cmocka_unit_test(every_part_counts_in_a_comparison),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
