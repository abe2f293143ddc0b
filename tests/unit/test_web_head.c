#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "admin/web_head.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static void expect_str(struct str got, const char *expected)
{
    if (!str_equal(got, str_of(expected)))
        fail_msg("\"%.*s\" instead of \"%s\"", STR_ARG(got), expected);
}

static void a_head_is_taken_apart(void **state)
{
    static const char text[] = "POST /a?b=c HTTP/1.1\r\nHost:  one.test \r\nCONTENT-length: 12\r\n"
                               "Empty:\r\n\r\nbody";
    struct str bytes = {text, sizeof(text) - 1};
    struct web_head head;
    (void)state;

    assert_int_equal(web_head_find_end(bytes), sizeof(text) - 1 - 4);
    assert_int_equal(web_head_find_end((struct str){text, 40}), 0);
    assert_int_equal(web_head_parse(&head, (struct str){text, web_head_find_end(bytes)}), 0);
    expect_str(head.method, "POST");
    expect_str(head.target, "/a?b=c");
    expect_str(web_head_field(&head, STR("host")), "one.test");
    expect_str(web_head_field(&head, STR("Empty")), "");
    assert_non_null(web_head_field(&head, STR("Empty")).ptr);
    assert_null(web_head_field(&head, STR("Other")).ptr);
    assert_int_equal(head.body_bytes, 12);
    assert_true(head.keep_alive);
}

static void who_wants_to_go_is_let_go(void **state)
{
    static const char *const texts[] = {"GET / HTTP/1.0\r\n\r\n",
                                        "GET / HTTP/1.1\r\nConnection: Close\r\n\r\n"};
    struct web_head head;
    (void)state;

    for (size_t i = 0; i < COUNT(texts); i++) {
        assert_int_equal(web_head_parse(&head, str_of(texts[i])), 0);
        assert_false(head.keep_alive);
        assert_int_equal(head.old, i == 0);
    }
}

static void what_can_be_read_in_two_ways_is_refused(void **state)
{
    static const struct {
        const char *text;
        int status;
    } cases[] = {
        {"GET\r\n\r\n", 400},
        {"GET /\r\n\r\n", 400},
        {"GET  / HTTP/1.1\r\n\r\n", 400},
        {"GET / HTTP/1.1 \r\n\r\n", 505},
        {"G(T / HTTP/1.1\r\n\r\n", 400},
        {"GET / HTTP/1.2\r\n\r\n", 505},
        {"GET / FTP/1.1\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\nA\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\n: b\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\nA : b\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\nA: b\r\n c\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\nA: b\nB: c\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\nA: b\rB: c\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\nHost: a\r\nhost: a\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\nCookie: a\r\nCookie: b\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\nOrigin: a\r\nOrigin: b\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\nAuthorization: a\r\nAuthorization: b\r\n\r\n", 400},
        {"POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n", 400},
        {"POST / HTTP/1.1\r\nContent-Length: +1\r\n\r\n", 400},
        {"POST / HTTP/1.1\r\nContent-Length: 1, 1\r\n\r\n", 400},
        {"POST / HTTP/1.1\r\nContent-Length:\r\n\r\n", 400},
        {"POST / HTTP/1.1\r\nContent-Length: 65537\r\n\r\n", 413},
        {"POST / HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n", 400},
        {"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", 501},
        {"POST / HTTP/1.1\r\nTransfer-Encoding:\r\n\r\n", 501},
    };
    struct web_head head;
    (void)state;

    for (size_t i = 0; i < COUNT(cases); i++) {
        int status = web_head_parse(&head, str_of(cases[i].text));
        if (status != cases[i].status)
            fail_msg("%d instead of %d: %s", status, cases[i].status, cases[i].text);
    }
}

static void the_number_of_fields_is_bounded(void **state)
{
    struct web_head head;
    struct buf text;
    (void)state;

    buf_init(&text, WEB_HEAD_MAX_BYTES);
    buf_put_str(&text, STR("GET / HTTP/1.1\r\n"));
    for (int i = 0; i < WEB_MAX_FIELDS; i++)
        buf_put_str(&text, STR("A: b\r\n"));
    buf_put_str(&text, STR("\r\n"));
    assert_int_equal(web_head_parse(&head, buf_str(&text)), 0);
    assert_int_equal(web_head_count(&head, STR("a")), WEB_MAX_FIELDS);
    text.len -= 2;
    buf_put_str(&text, STR("A: b\r\n\r\n"));
    assert_int_equal(web_head_parse(&head, buf_str(&text)), 431);
    buf_clear(&text);
}

static void paths_are_decoded_once_and_stay_inside(void **state)
{
    static const struct {
        const char *target, *path, *query; /* path NULL: refused */
    } cases[] = {
        {"/", "/", ""},
        {"/a%20b?c=%20&d", "/a b", "c=%20&d"},
        {"/%2561", "/%61", ""},
        {"/a/..b/.c/...", "/a/..b/.c/...", ""},
        {"/domains/%C3%A4.test", "/domains/\xc3\xa4.test", ""},
        {"", NULL, NULL},
        {"a", NULL, NULL},
        {"*", NULL, NULL},
        {"http://a.test/", NULL, NULL},
        {"/..", NULL, NULL},
        {"/.", NULL, NULL},
        {"/a/../b", NULL, NULL},
        {"/a/%2e%2E/b", NULL, NULL},
        {"/a%2f..", NULL, NULL},
        {"/a\\b", NULL, NULL},
        {"/a%5Cb", NULL, NULL},
        {"/a%00", NULL, NULL},
        {"/a%0a", NULL, NULL},
        {"/a%7f", NULL, NULL},
        {"/a%", NULL, NULL},
        {"/a%2", NULL, NULL},
        {"/a%2g", NULL, NULL},
    };
    (void)state;

    for (size_t i = 0; i < COUNT(cases); i++) {
        struct str query;
        struct buf path;
        buf_init(&path, 1024);
        bool good = web_target_parse(str_of(cases[i].target), &path, &query);
        if (good != (cases[i].path != NULL))
            fail_msg("%s", cases[i].target);
        if (good) {
            expect_str(buf_str(&path), cases[i].path);
            expect_str(query, cases[i].query);
        }
        buf_clear(&path);
    }
}

static void a_prefix_is_taken_off_where_it_is(void **state)
{
    (void)state;
    expect_str(web_path_without(STR("/fed/api"), STR("/fed")), "/api");
    expect_str(web_path_without(STR("/fed/"), STR("/fed")), "/");
    expect_str(web_path_without(STR("/fed"), STR("/fed")), "/fed");
    expect_str(web_path_without(STR("/federation/"), STR("/fed")), "/federation/");
    expect_str(web_path_without(STR("/api"), STR("/fed")), "/api");
    expect_str(web_path_without(STR("/api"), STR("")), "/api");
}

static void values_are_found_in_queries_and_cookies(void **state)
{
    struct buf value;
    (void)state;

    buf_init(&value, 64);
    assert_true(web_query_value(STR("xa=1&a=b+c%2B&a=2"), STR("a"), &value));
    expect_str(buf_str(&value), "b c+");
    assert_false(web_query_value(STR("xa=1&b=2"), STR("a"), &value));
    assert_false(web_query_value(STR("a=%4"), STR("a"), &value));
    assert_false(web_query_value(STR_NULL, STR("a"), &value));
    buf_clear(&value);
    expect_str(web_cookie(STR("xfedpush=1; fedpush=a=b;other=2"), STR("fedpush")), "a=b");
    expect_str(web_cookie(STR("fedpush=1; fedpush=2"), STR("fedpush")), "1");
    assert_null(web_cookie(STR("fedpush; a=b"), STR("fedpush")).ptr);
    assert_null(web_cookie(STR_NULL, STR("fedpush")).ptr);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_head_is_taken_apart),
        cmocka_unit_test(who_wants_to_go_is_let_go),
        cmocka_unit_test(what_can_be_read_in_two_ways_is_refused),
        cmocka_unit_test(the_number_of_fields_is_bounded),
        cmocka_unit_test(paths_are_decoded_once_and_stay_inside),
        cmocka_unit_test(a_prefix_is_taken_off_where_it_is),
        cmocka_unit_test(values_are_found_in_queries_and_cookies),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
