#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "worker/classify.h"

#define URL "https://remote.test/inbox"

static void expect(const struct failure *failure, const char *error_class, const char *message)
{
    assert_true(str_equal(failure->error_class, str_of(error_class)));
    assert_string_equal(failure->message, message);
}

static void test_names_that_do_not_resolve(void **state)
{
    static const struct {
        enum dns_status status;
        const char *message;
    } cases[] = {
        {DNS_NO_NAME, "failed to connect: no such name on " URL},
        {DNS_BAD_NAME, "failed to connect: not a name that can be resolved on " URL},
        {DNS_NO_ANSWER, "failed to connect: the name cannot be resolved now on " URL},
        {DNS_CANCELLED, "failed to connect: the name cannot be resolved now on " URL},
    };
    (void)state;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct failure failure;
        classify_dns(&failure, &(struct dns_result){.status = cases[i].status}, STR(URL));
        expect(&failure, "HTTP::ConnectionError", cases[i].message);
    }
}

static void test_each_failure_has_the_class_ruby_would_raise(void **state)
{
    static const struct {
        CURLcode code;
        const char *error_class;
    } cases[] = {
        {CURLE_COULDNT_CONNECT, "HTTP::ConnectionError"},
        {CURLE_RECV_ERROR, "HTTP::ConnectionError"},
        {CURLE_GOT_NOTHING, "HTTP::ConnectionError"},
        {CURLE_OPERATION_TIMEDOUT, "HTTP::TimeoutError"},
        {CURLE_SSL_CONNECT_ERROR, "OpenSSL::SSL::SSLError"},
        {CURLE_PEER_FAILED_VERIFICATION, "OpenSSL::SSL::SSLError"},
        {CURLE_WEIRD_SERVER_REPLY, "HTTP::ResponseHeaderError"},
        {CURLE_UNSUPPORTED_PROTOCOL, "HTTP::ResponseHeaderError"},
    };
    (void)state;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct http_result result = {.end = HTTP_FAILED, .code = cases[i].code, .error = "words"};
        struct failure failure;
        classify_http(&failure, &result, STR(URL));
        expect(&failure, cases[i].error_class, "words on " URL);
    }
}

static void test_our_own_limits_have_words_of_their_own(void **state)
{
    struct http_result result = {
        .end = HTTP_REFUSED_ADDRESS, .code = CURLE_COULDNT_CONNECT, .error = "libcurl's words"};
    struct failure failure;
    (void)state;

    classify_http(&failure, &result, STR(URL));
    expect(&failure, "Mastodon::PrivateNetworkAddressError", "private address refused on " URL);
    result.end = HTTP_TIMED_OUT;
    classify_http(&failure, &result, STR(URL));
    expect(&failure, "HTTP::TimeoutError", "Read timed out on " URL);
    result.end = HTTP_TOO_MUCH_HEADER;
    classify_http(&failure, &result, STR(URL));
    expect(&failure, "HTTP::ResponseHeaderError", "response header too long on " URL);
}

static void test_the_message_is_one_printable_line(void **state)
{
    struct failure failure;
    (void)state;

    classify_text(&failure, STR("X"), "a\r\nb\x1b[1m\xc3\xa4\x7f~", STR(URL));
    expect(&failure, "X", "a??b?[1m???~ on " URL);
}

static void test_long_texts_are_cut_within_bounds(void **state)
{
    struct failure failure;
    char text[1000];
    char url[URL_MAX_BYTES + 1];
    (void)state;

    memset(text, 't', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    classify_text(&failure, STR("X"), text, STR(URL));
    assert_int_equal(strspn(failure.message, "t"), 400);
    assert_string_equal(failure.message + 400, " on " URL);
    memset(url, 'u', sizeof(url));
    classify_text(&failure, STR("X"), text, (struct str){url, sizeof(url)});
    assert_true(strlen(failure.message) < sizeof(failure.message));
    assert_memory_equal(failure.message + 400, " on uuu", 7);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names_that_do_not_resolve),
        cmocka_unit_test(test_each_failure_has_the_class_ruby_would_raise),
        cmocka_unit_test(test_our_own_limits_have_words_of_their_own),
        cmocka_unit_test(test_the_message_is_one_printable_line),
        cmocka_unit_test(test_long_texts_are_cut_within_bounds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
