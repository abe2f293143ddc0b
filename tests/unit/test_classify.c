#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "worker/classify.h"

#define URL STR("https://a.example/inbox")

static void expect(const struct failure *failure, enum failure_kind kind, const char *error_class,
                   const char *message)
{
    assert_int_equal(failure->kind, kind);
    assert_int_equal(failure->error_class.len, strlen(error_class));
    assert_memory_equal(failure->error_class.ptr, error_class, strlen(error_class));
    assert_string_equal(failure->message, message);
}

static void names_that_do_not_resolve(void **state)
{
    struct failure failure;
    (void)state;

    classify_dns(&failure, &(struct dns_result){.status = DNS_NO_NAME}, URL);
    expect(&failure, FAILURE_NO_NAME, "HTTP::ConnectionError",
           "failed to connect: no such name on https://a.example/inbox");
    classify_dns(&failure, &(struct dns_result){.status = DNS_NO_ANSWER}, URL);
    expect(&failure, FAILURE_RESOLVER, "HTTP::ConnectionError",
           "failed to connect: the name cannot be resolved now on https://a.example/inbox");
    classify_dns(&failure, &(struct dns_result){.status = DNS_UNSERVED}, URL);
    expect(&failure, FAILURE_UNSERVED, "HTTP::ConnectionError",
           "failed to connect: the name cannot be resolved now on https://a.example/inbox");
    classify_dns(&failure, &(struct dns_result){.status = DNS_BAD_NAME}, URL);
    expect(&failure, FAILURE_NO_NAME, "HTTP::ConnectionError",
           "failed to connect: not a name that can be resolved on https://a.example/inbox");
}

#define CONNECTION "HTTP::ConnectionError"
#define TLS "OpenSSL::SSL::SSLError"
#define HEADER "HTTP::ResponseHeaderError"

static void failures_below_http(void **state)
{
    static const struct {
        enum http_end end;
        CURLcode code;
        int os_errno;
        bool by_proxy;
        enum failure_kind kind;
        const char *error_class;
    } cases[] = {
        {HTTP_FAILED, CURLE_COULDNT_CONNECT, ECONNREFUSED, false, FAILURE_REFUSED, CONNECTION},
        {HTTP_FAILED, CURLE_COULDNT_CONNECT, EHOSTUNREACH, false, FAILURE_UNREACHABLE, CONNECTION},
        {HTTP_FAILED, CURLE_COULDNT_CONNECT, ENETUNREACH, false, FAILURE_UNREACHABLE, CONNECTION},
        {HTTP_FAILED, CURLE_COULDNT_CONNECT, ETIMEDOUT, false, FAILURE_TIMEOUT, CONNECTION},
        {HTTP_FAILED, CURLE_COULDNT_CONNECT, ECONNRESET, false, FAILURE_RESET, CONNECTION},
        {HTTP_FAILED, CURLE_COULDNT_CONNECT, 0, false, FAILURE_OTHER, CONNECTION},
        {HTTP_FAILED, CURLE_COULDNT_CONNECT, ECONNREFUSED, true, FAILURE_OTHER, CONNECTION},
        {HTTP_FAILED, CURLE_GOT_NOTHING, 0, false, FAILURE_RESET, CONNECTION},
        {HTTP_FAILED, CURLE_RECV_ERROR, ECONNRESET, false, FAILURE_RESET, CONNECTION},
        {HTTP_FAILED, CURLE_RECV_ERROR, 0, true, FAILURE_OTHER, CONNECTION},
        {HTTP_FAILED, CURLE_SEND_ERROR, EPIPE, false, FAILURE_RESET, CONNECTION},
        {HTTP_FAILED, CURLE_PARTIAL_FILE, 0, false, FAILURE_RESET, CONNECTION},
        {HTTP_FAILED, CURLE_OPERATION_TIMEDOUT, 0, false, FAILURE_TIMEOUT, "HTTP::TimeoutError"},
        {HTTP_TIMED_OUT, CURLE_OPERATION_TIMEDOUT, 0, false, FAILURE_TIMEOUT, "HTTP::TimeoutError"},
        {HTTP_FAILED, CURLE_SSL_CONNECT_ERROR, 0, false, FAILURE_TLS, TLS},
        {HTTP_FAILED, CURLE_PEER_FAILED_VERIFICATION, 0, false, FAILURE_CERTIFICATE, TLS},
        {HTTP_FAILED, CURLE_PEER_FAILED_VERIFICATION, 0, true, FAILURE_CERTIFICATE, TLS},
        {HTTP_FAILED, CURLE_WEIRD_SERVER_REPLY, 0, false, FAILURE_OTHER, HEADER},
        {HTTP_FAILED, CURLE_UNSUPPORTED_PROTOCOL, 0, false, FAILURE_OTHER, HEADER},
    };
    (void)state;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct failure failure;
        struct http_result result = {.end = cases[i].end,
                                     .code = cases[i].code,
                                     .os_errno = cases[i].os_errno,
                                     .error = "words"};
        classify_http(&failure, &result, cases[i].by_proxy, URL);
        expect(&failure, cases[i].kind, cases[i].error_class, "words on https://a.example/inbox");
    }
}

static void refusals_and_bounds_of_our_own(void **state)
{
    struct failure failure;
    (void)state;

    classify_http(&failure, &(struct http_result){.end = HTTP_REFUSED_ADDRESS}, false, URL);
    expect(&failure, FAILURE_OTHER, "Mastodon::PrivateNetworkAddressError",
           "private address refused on https://a.example/inbox");
    classify_http(&failure, &(struct http_result){.end = HTTP_TOO_MUCH_HEADER}, false, URL);
    expect(&failure, FAILURE_OTHER, "HTTP::ResponseHeaderError",
           "response header too long on https://a.example/inbox");
}

static void messages_are_one_bounded_printable_line(void **state)
{
    struct failure failure;
    char long_text[3000];
    char long_url[2049];
    (void)state;

    classify_text(&failure, FAILURE_OTHER, STR("X"), "said \"\r\n\x1b[2J\xc3\xa9\x7f\"", URL);
    assert_string_equal(failure.message, "said \"???[2J???\" on https://a.example/inbox");
    memset(long_text, 'x', sizeof(long_text));
    long_text[sizeof(long_text) - 1] = '\0';
    memset(long_url, 'u', sizeof(long_url));
    classify_text(&failure, FAILURE_OTHER, STR("X"), long_text,
                  (struct str){long_url, sizeof(long_url)});
    assert_int_equal(strlen(failure.message), MESSAGE_MAX_ERROR_BYTES - 1);
    assert_non_null(strstr(failure.message, "x on u")); /* the URL is never crowded out */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_that_do_not_resolve),
        cmocka_unit_test(failures_below_http),
        cmocka_unit_test(refusals_and_bounds_of_our_own),
        cmocka_unit_test(messages_are_one_bounded_printable_line),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
