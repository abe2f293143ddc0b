/* The header fields on the wire, by Mastodon's version. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "worker/request.h"

static const struct mastodon_version v4_2 = {4, 2, 0, "4.2.0", "5.1.1"};
static const struct mastodon_version v4_3 = {4, 3, 23, "4.3.23", "5.2.0"};
static const struct mastodon_version v4_4 = {4, 4, 22, "4.4.22", "5.3.1"};
static const struct mastodon_version v4_5 = {4, 5, 15, "4.5.15+glitch", "5.3.1"};
static const struct mastodon_version v4_6 = {4, 6, 5, "4.6.5", "5.3.1"};
static const struct mastodon_version v4_7 = {4, 7, 0, "4.7.0-alpha.2", "5.3.1"};

static const struct request_values post = {
    .user_agent = {"agent", 5},
    .host = {"remote.example:8443", 19},
    .date = {"Sun, 06 Nov 1994 08:49:37 GMT", 29},
    .digest = {"SHA-256=abc=", 12},
    .content_type = {"application/activity+json", 25},
    .synchronization = {"collectionId=\"x\", digest=\"y\"", 28},
    .signature = {"keyId=\"k\"", 9},
};

/* Names in their order, without those that libcurl is told to leave out. */
static void expect_names(const struct mastodon_version *version, struct request_values values,
                         const char *expected)
{
    struct buf names;

    struct curl_slist *list = request_headers(version, &values);
    buf_init(&names, 4096);
    for (const struct curl_slist *field = list; field != NULL; field = field->next) {
        struct str line = str_of(field->data);
        size_t colon = str_find(line, ':');
        assert_true(colon < line.len);
        if (colon + 1 < line.len)
            buf_printf(&names, "%.*s ", (int)colon, line.ptr);
    }
    assert_string_equal(buf_cstr(&names), expected);
    buf_clear(&names);
    free(list);
}

static void fields_stand_in_mastodons_order(void **state)
{
    static const char older[] = "User-Agent Host Date Accept-Encoding Digest Content-Type "
                                "Collection-Synchronization Signature Connection ";
    (void)state;

    expect_names(&v4_2, post, older);
    expect_names(&v4_3, post, older);
    expect_names(&v4_4, post, older);
    expect_names(&v4_5, post, older);
    expect_names(&v4_6, post, older);
    expect_names(&v4_7, post,
                 "User-Agent Host Date Accept-Encoding Content-Type Collection-Synchronization "
                 "Digest Connection Signature ");
}

static void what_is_empty_is_left_out(void **state)
{
    struct request_values values = post;
    (void)state;

    values.synchronization = STR_NULL;
    expect_names(&v4_5, values,
                 "User-Agent Host Date Accept-Encoding Digest Content-Type Signature Connection ");
    values.digest = values.content_type = STR_NULL; /* a GET */
    expect_names(&v4_5, values, "User-Agent Host Date Accept-Encoding Signature Connection ");
    expect_names(&v4_7, values, "User-Agent Host Date Accept-Encoding Connection Signature ");
}

static void an_rfc_9421_request_is_mastodons_second_knock(void **state)
{
    struct request_values values = post;
    (void)state;

    values.digest = STR("sha-256=:abc=:");
    values.signature = STR("sig1=:abc=:");
    values.signature_input = STR("sig1=();created=1");
    expect_names(&v4_7, values,
                 "User-Agent Host Date Accept-Encoding Content-Type Collection-Synchronization "
                 "content-digest Connection signature signature-input ");
    expect_names(&v4_3, values,
                 "User-Agent Host Date Accept-Encoding Content-Type Collection-Synchronization "
                 "content-digest Connection signature signature-input ");
}

static bool has_line(const struct curl_slist *list, const char *line)
{
    for (; list != NULL; list = list->next) {
        if (strcmp(list->data, line) == 0)
            return true;
    }
    return false;
}

static void values_are_byte_for_byte(void **state)
{
    struct curl_slist *list = request_headers(&v4_5, &post);
    (void)state;

    assert_true(has_line(list, "Host: remote.example:8443"));
    assert_true(has_line(list, "Date: Sun, 06 Nov 1994 08:49:37 GMT"));
    assert_true(has_line(list, "Accept-Encoding: gzip"));
    assert_true(has_line(list, "Connection: Keep-Alive"));
    assert_true(has_line(list, "Collection-Synchronization: collectionId=\"x\", digest=\"y\""));
    assert_true(has_line(list, "Expect:")); /* left out */
    assert_true(has_line(list, "Accept:"));
    assert_string_equal(list->data, "Host:"); /* before ours: libcurl's own place for it */
    free(list);
}

static void expect_agent(const struct mastodon_version *version, const char *expected)
{
    struct buf agent;

    buf_init(&agent, 1024);
    request_put_user_agent(&agent, version, STR("social.example"));
    assert_string_equal(buf_cstr(&agent), expected);
    buf_clear(&agent);
}

static void the_agent_is_named_as_by_that_release(void **state)
{
    (void)state;
    expect_agent(&v4_2, "http.rb/5.1.1 (Mastodon/4.2.0; +https://social.example/)");
    expect_agent(&v4_3, "Mastodon/4.3.23 (http.rb/5.2.0; +https://social.example/)");
    expect_agent(&v4_4, "Mastodon/4.4.22 (http.rb/5.3.1; +https://social.example/)");
    expect_agent(&v4_6, "Mastodon/4.6.5 (http.rb/5.3.1; +https://social.example/)");
    expect_agent(&v4_5, "Mastodon/4.5.15+glitch (http.rb/5.3.1; +https://social.example/)");
    expect_agent(&v4_7, "Mastodon/4.7.0-alpha.2 (http.rb/5.3.1; +https://social.example/)");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fields_stand_in_mastodons_order),
        cmocka_unit_test(what_is_empty_is_left_out),
        cmocka_unit_test(an_rfc_9421_request_is_mastodons_second_knock),
        cmocka_unit_test(values_are_byte_for_byte),
        cmocka_unit_test(the_agent_is_named_as_by_that_release),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
