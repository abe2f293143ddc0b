#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/mastodon.h"
#include "worker/request.h"

static struct mastodon_version version_of(const char *text)
{
    struct mastodon_version version;
    struct err err;
    assert_int_equal(mastodon_version_parse(&version, "version", str_of(text), &err), FP_OK);
    return version;
}

static const struct request_values post = {
    .user_agent = {"agent", 5},
    .host = {"remote.test", 11},
    .date = {"Tue, 14 Nov 2023 22:13:20 GMT", 29},
    .digest = {"SHA-256=abc=", 12},
    .content_type = {"application/activity+json", 25},
    .synchronization = {"collectionId=\"x\"", 16},
    .signature = {"keyId=\"k\"", 9},
};

/* Lines joined by "|". */
static void expect_headers(const char *version_text, const struct request_values *values,
                           const char *expected)
{
    struct mastodon_version version = version_of(version_text);
    struct curl_slist *list = request_headers(&version, values);
    struct buf text;

    buf_init(&text, 4096);
    for (const struct curl_slist *at = list; at != NULL; at = at->next)
        buf_printf(&text, "%s%s", at == list ? "" : "|", at->data);
    assert_string_equal(buf_cstr(&text), expected);
    buf_clear(&text);
    curl_slist_free_all(list);
}

#define DATE "Date: Tue, 14 Nov 2023 22:13:20 GMT|"

static void test_digest_comes_before_the_type_up_to_4_6(void **state)
{
    static const char *const versions[] = {"4.2.0", "4.3.0", "4.4.2", "4.5.15", "4.6.9"};
    (void)state;

    for (size_t i = 0; i < sizeof(versions) / sizeof(versions[0]); i++)
        expect_headers(versions[i], &post,
                       "User-Agent: agent|Host: remote.test|" DATE "Accept-Encoding: gzip|"
                       "Digest: SHA-256=abc=|Content-Type: application/activity+json|"
                       "Collection-Synchronization: collectionId=\"x\"|"
                       "Signature: keyId=\"k\"|Connection: Keep-Alive|Accept:|Expect:");
}

static void test_digest_and_connection_stand_before_the_signature_from_4_7(void **state)
{
    static const char *const versions[] = {"4.7.0", "4.7.3", "5.0.0"};
    (void)state;

    for (size_t i = 0; i < sizeof(versions) / sizeof(versions[0]); i++)
        expect_headers(versions[i], &post,
                       "User-Agent: agent|Host: remote.test|" DATE "Accept-Encoding: gzip|"
                       "Content-Type: application/activity+json|"
                       "Collection-Synchronization: collectionId=\"x\"|Digest: SHA-256=abc=|"
                       "Connection: Keep-Alive|Signature: keyId=\"k\"|Accept:|Expect:");
}

static void test_empty_values_leave_no_field(void **state)
{
    struct request_values values = post;
    (void)state;

    values.synchronization = STR_NULL;
    expect_headers("4.5.0", &values,
                   "User-Agent: agent|Host: remote.test|" DATE "Accept-Encoding: gzip|"
                   "Digest: SHA-256=abc=|Content-Type: application/activity+json|"
                   "Signature: keyId=\"k\"|Connection: Keep-Alive|Accept:|Expect:");
    values.digest = values.content_type = STR_NULL; /* GET */
    expect_headers("4.5.0", &values,
                   "User-Agent: agent|Host: remote.test|" DATE "Accept-Encoding: gzip|"
                   "Signature: keyId=\"k\"|Connection: Keep-Alive|Accept:|Expect:");
    expect_headers("4.7.0", &values,
                   "User-Agent: agent|Host: remote.test|" DATE "Accept-Encoding: gzip|"
                   "Connection: Keep-Alive|Signature: keyId=\"k\"|Accept:|Expect:");
}

static void test_user_agent_changed_its_form_with_4_3(void **state)
{
    static const struct {
        const char *version, *expected;
    } cases[] = {
        {"4.2.0", "http.rb/9.8.7 (Mastodon/4.2.0; +https://social.test/)"},
        {"4.2.29", "http.rb/9.8.7 (Mastodon/4.2.29; +https://social.test/)"},
        {"4.3.0", "Mastodon/4.3.0 (http.rb/9.8.7; +https://social.test/)"},
        {"4.5.15+glitch", "Mastodon/4.5.15+glitch (http.rb/9.8.7; +https://social.test/)"},
        {"4.7.1", "Mastodon/4.7.1 (http.rb/9.8.7; +https://social.test/)"},
    };
    (void)state;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct mastodon_version version = version_of(cases[i].version);
        struct buf out;
        snprintf(version.http_rb, sizeof(version.http_rb), "9.8.7");
        buf_init(&out, 256);
        request_put_user_agent(&out, &version, STR("social.test"));
        assert_string_equal(buf_cstr(&out), cases[i].expected);
        buf_clear(&out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_digest_comes_before_the_type_up_to_4_6),
        cmocka_unit_test(test_digest_and_connection_stand_before_the_signature_from_4_7),
        cmocka_unit_test(test_empty_values_leave_no_field),
        cmocka_unit_test(test_user_agent_changed_its_form_with_4_3),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
