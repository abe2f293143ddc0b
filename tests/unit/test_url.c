#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "base/url.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static void assert_str(struct str actual, const char *expected)
{
    if (!str_equal(actual, str_of(expected)))
        fail_msg("\"%.*s\" instead of \"%s\"", STR_ARG(actual), expected);
}

static void assert_refused(struct str text)
{
    struct url url;
    struct err err = {0};

    if (url_parse(&url, text, &err) != FP_INVALID)
        fail_msg("accepted: %.*s", STR_ARG(text));
    assert_int_equal(err.code, FP_INVALID);
    assert_string_not_equal(err.message, "");
    assert_null(url.memory);
}

static struct url parse(const char *text)
{
    struct url url;
    struct err err = {0};

    if (url_parse(&url, str_of(text), &err) != FP_OK)
        fail_msg("%s: %s", text, err.message);
    return url;
}

static void urls_are_normalized(void **state)
{
    static const struct {
        const char *text, *authority, *target;
    } cases[] = {
        {"https://Recv.TEST/Inbox", "recv.test", "/Inbox"},
        {"HTTPS://recv.test/inbox", "recv.test", "/inbox"},
        {"https://recv.test:443/inbox", "recv.test", "/inbox"},
        {"https://recv.test:0443/inbox", "recv.test", "/inbox"},
        {"https://recv.test:/inbox", "recv.test", "/inbox"},
        {"http://recv.test:80/inbox", "recv.test", "/inbox"},
        {"http://recv.test:443/inbox", "recv.test:443", "/inbox"},
        {"https://recv.test:80/inbox", "recv.test:80", "/inbox"},
        {"https://recv.test:8443/inbox", "recv.test:8443", "/inbox"},
        {"https://recv.test", "recv.test", "/"},
        {"https://recv.test?x=1", "recv.test", "/?x=1"},
        {"https://recv.test/inbox?", "recv.test", "/inbox?"},
        {"https://recv.test/inbox?a?b/../c", "recv.test", "/inbox?a?b/../c"},
        {"https://recv.test/a/../b/./c", "recv.test", "/b/c"},
        {"https://recv.test/a/b/..", "recv.test", "/a/"},
        {"https://recv.test/a/b/.", "recv.test", "/a/b/"},
        {"https://recv.test/..", "recv.test", "/"},
        {"https://recv.test/../../x", "recv.test", "/x"},
        {"https://recv.test/a//../b", "recv.test", "/a/b"},
        {"https://recv.test/...", "recv.test", "/..."},
        {"https://recv.test//a;b=c/inbox", "recv.test", "//a;b=c/inbox"},
        {"https://b\303\274cher.test/inbox", "xn--bcher-kva.test", "/inbox"},
        {"https://B\303\234CHER.test/inbox", "xn--bcher-kva.test", "/inbox"},
        {"https://fa\xc3\x9f.test/", "xn--fa-hia.test", "/"},
        {"https://recv.test/users/\xe3\x81\x82/inbox", "recv.test", "/users/%E3%81%82/inbox"},
        {"https://recv.test/%7euser/%E3%81%82%2Fx", "recv.test", "/%7euser/%E3%81%82%2Fx"},
        {"https://recv.test/a b", "recv.test", "/a%20b"},
        {"https://recv.test/?q='", "recv.test", "/?q=%27"},
        {"https://recv.test/o'x", "recv.test", "/o'x"},
        {"https://recv.test/\"<>\\^`{|}?\"<>\\^`{|}", "recv.test",
         "/%22%3C%3E%5C%5E%60%7B%7C%7D?%22%3C%3E%5C%5E%60%7B%7C%7D"},
        {"https://recv.test/a%", "recv.test", "/a%"},
        {"https://recv.test/inbox#frag?x", "recv.test", "/inbox"},
        {"https://recv.test#frag", "recv.test", "/"},
        {"http://[2001:DB8::1]:3000/x", "[2001:db8::1]:3000", "/x"},
        {"https://[::1]", "[::1]", "/"},
        {"https://[::ffff:1.2.3.4]/", "[::ffff:1.2.3.4]", "/"},
        {"https://192.0.2.1:8080/", "192.0.2.1:8080", "/"},
        {"https://exa_mple.com/", "exa_mple.com", "/"},
        {"https://1.example/", "1.example", "/"},
        {"https://0x7f.example/", "0x7f.example", "/"},
        {"https://localhost/", "localhost", "/"},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct url url = parse(cases[i].text);
        assert_str(url.authority, cases[i].authority);
        assert_str(url.target, cases[i].target);
        url_clear(&url);
    }
}

static void all_parts_agree(void **state)
{
    struct url url = parse("http://Recv.TEST:8080/a/b?c=d#e");

    (void)state;
    assert_false(url.https);
    assert_int_equal(url.port, 8080);
    assert_false(url.default_port);
    assert_false(url.ip_literal);
    assert_str(url.host, "recv.test");
    assert_str(url.authority, "recv.test:8080");
    assert_str(url.origin, "http://recv.test:8080");
    assert_str(url.target, "/a/b?c=d");
    assert_str(url.path, "/a/b");
    assert_str(url.text, "http://recv.test:8080/a/b?c=d");
    url_clear(&url);
    assert_null(url.memory);

    url = parse("https://[::1]/");
    assert_true(url.https);
    assert_true(url.default_port);
    assert_int_equal(url.port, 443);
    assert_true(url.ip_literal);
    assert_str(url.host, "[::1]");
    url_clear(&url);

    url = parse("https://192.0.2.1/");
    assert_true(url.ip_literal);
    url_clear(&url);
}

static void doubtful_urls_are_refused(void **state)
{
    static const char *const refused[] = {
        "",
        "recv.test/inbox",
        "//recv.test/inbox",
        "/inbox",
        "https:/recv.test",
        "https:recv.test",
        "ftp://recv.test/",
        "file:///etc/passwd",
        "javascript:alert(1)",
        " https://recv.test/",
        "https://",
        "https:///inbox",
        "https://?x",
        "https://#x",
        "https://:443/",
        "https://user:pw@recv.test/inbox",
        "https://user@recv.test/",
        "https://@recv.test/",
        "https://recv.test\\@evil.test/",
        "https://recv.test/in\r\nbox",
        "https://recv.test/\t",
        "https://recv.test/\x7f",
        "https://re\nv.test/",
        "https://recv .test/",
        "https://recv.test /",
        "https://recv.test:0/",
        "https://recv.test:65536/",
        "https://recv.test:-1/",
        "https://recv.test:+80/",
        "https://recv.test:8a/",
        "https://recv.test:1:2/",
        "https://recv.test:99999999999999999999/",
        "https://recv.test./inbox",
        "https://./",
        "https://.recv.test/",
        "https://recv..test/",
        "https://recv%2etest/",
        "https://re%00v.test/",
        "https://127.1/",
        "https://0x7f.1/",
        "https://2130706433/",
        "https://0x7f000001/",
        "https://192.168.0.1./",
        "https://192.168.0.01/",
        "https://192.168.0.256/",
        "https://1.2.3/",
        "https://recv.0x1/",
        "https://recv.0x/",
        "https://1.2.3.4.5/",
        "https://\xef\xbc\x91\xef\xbc\x92\xef\xbc\x97.1/",
        "https://[::1/",
        "https://[]/",
        "https://[/",
        "https://[::1]x/",
        "https://[::1]:x/",
        "https://[fe80::1%25eth0]/",
        "https://[fe80::1%eth0]/",
        "https://[1.2.3.4]/",
        "https://[::1]]/",
        "https://x[::1]/",
        "https://::1/",
        "https://recv.test*/",
        "https://b\xff.test/",
        "https://\xc3\xbc:80:80/",
        "https://recv.test\xe3\x80\x82/",
    };

    (void)state;
    for (size_t i = 0; i < COUNT(refused); i++)
        assert_refused(str_of(refused[i]));
    assert_refused(STR("https://recv.test/\0"));
    assert_refused(STR("https://recv.test\0.evil.test/"));
    assert_refused(STR_NULL);
}

static struct buf filled(const char *before, char c, size_t count, const char *behind)
{
    struct buf text;

    buf_init(&text, 100000);
    buf_put_str(&text, str_of(before));
    for (size_t i = 0; i < count; i++)
        buf_put_char(&text, c);
    buf_put_str(&text, str_of(behind));
    return text;
}

static void lengths_are_bounded(void **state)
{
    static const char label_62[] = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    struct url url;
    struct buf longest = filled("https://recv.test/", 'a', URL_MAX_BYTES - 18, "");
    struct buf longer = filled("https://recv.test/", 'a', URL_MAX_BYTES - 17, "");
    struct buf encoded = filled("https://recv.test/", ' ', 1000, "");
    struct buf label = filled("https://", 'a', 63, ".test/");
    struct buf long_label = filled("https://", 'a', 64, ".test/");
    struct buf name;

    (void)state;
    assert_int_equal(url_parse(&url, buf_str(&longest), NULL), FP_OK);
    assert_int_equal(url.text.len, URL_MAX_BYTES);
    url_clear(&url);
    assert_refused(buf_str(&longer));
    assert_refused(buf_str(&encoded));
    assert_int_equal(url_parse(&url, buf_str(&label), NULL), FP_OK);
    url_clear(&url);
    assert_refused(buf_str(&long_label));

    buf_init(&name, 1000);
    buf_printf(&name, "https://%s.%s.%s.%s.t/", label_62, label_62, label_62, label_62);
    assert_int_equal(url_parse(&url, buf_str(&name), NULL), FP_OK); /* 4 * 63 + 1 = 253 bytes */
    assert_int_equal(url.host.len, 253);
    url_clear(&url);
    buf_reset(&name);
    buf_printf(&name, "https://%s.%s.%s.%s.tt/", label_62, label_62, label_62, label_62);
    assert_refused(buf_str(&name));

    buf_clear(&longest);
    buf_clear(&longer);
    buf_clear(&encoded);
    buf_clear(&label);
    buf_clear(&long_label);
    buf_clear(&name);
}

static void a_normal_url_stays_as_it_is(void **state)
{
    static const char *const texts[] = {
        "https://b\303\274cher.test/\xe3\x81\x82?q=a b",
        "http://[2001:DB8::1]:3000/x/../y",
        "https://recv.test/%7e//a?",
        "https://192.0.2.1:1/.",
    };

    (void)state;
    for (size_t i = 0; i < COUNT(texts); i++) {
        struct url first = parse(texts[i]);
        struct url second;
        assert_int_equal(url_parse(&second, first.text, NULL), FP_OK);
        assert_true(str_equal(first.text, second.text));
        url_clear(&first);
        url_clear(&second);
    }
}

static const char *host_header(const json_t *vector)
{
    size_t i;
    json_t *header;

    json_array_foreach(json_object_get(vector, "headers"), i, header)
    {
        if (strcmp(json_string_value(json_array_get(header, 0)), "host") == 0)
            return json_string_value(json_array_get(header, 1));
    }
    return NULL;
}

static void check_vector(const json_t *vector)
{
    const char *name = json_string_value(json_object_get(vector, "name"));
    const char *target = json_string_value(json_object_get(vector, "request_target"));
    struct str text = str_of(json_string_value(json_object_get(vector, "url")));
    struct url url;
    struct err err;

    if (json_is_true(json_object_get(vector, "expect_error"))) {
        assert_refused(text);
        return;
    }
    if (url_parse(&url, text, &err) != FP_OK)
        fail_msg("%s: %s", name, err.message);
    /* The legacy form, which omits the query, signs the path alone. */
    bool without_query = strcmp(name, "query-string-omitted-compat") == 0;
    assert_str(without_query ? url.path : url.target, target);
    assert_str(url.authority, host_header(vector));
    url_clear(&url);
}

static void signature_vectors_have_these_hosts_and_targets(void **state)
{
    json_error_t error;
    json_t *file = json_load_file(TEST_DATA_DIR "/vectors/cavage-edge-cases.json", 0, &error);
    json_t *vectors = json_object_get(file, "vectors");
    json_t *vector;
    size_t i;

    (void)state;
    assert_int_equal(json_array_size(vectors), 21);
    json_array_foreach(vectors, i, vector)
    {
        check_vector(vector);
    }
    json_decref(file);
}

static void tracker_hosts_are_those_of_mastodon(void **state)
{
    static const struct {
        const char *text, *host;
    } cases[] = {
        {"https://EXAMPLE.com:8443/x", "example.com"},
        {"http://example.com", "example.com"},
        {"https://example.com?x", "example.com"},
        {"https://example.com#x", "example.com"},
        {"https://m\xc3\xbcller.example/", "xn--mller-kva.example"},
        {"https://M\xc3\x9cLLER.example/", "xn--mller-kva.example"},
        {"https://m%C3%BCller.example/", "xn--mller-kva.example"},
        {"https://stra\303\237e.example/", "strasse.example"},
        {"https://\xe2\x98\x83.example", "xn--n3h.example"},
        {"https://example.com./", "example.com"},
        {"https://example.com../", "example.com.."},
        {"http://[2001:DB8::1]/", "[2001:db8::1]"},
        {"http://[2001:DB8::1]:80/", "[2001:db8::1]"},
        {"http://a:b@[::1]:80/", "[::1]"},
        {"https://exa_mple.com/", "exa_mple.com"},
        {"https://user:pw@example.com/", "example.com"},
        {"https://a@b@example.com:1/", "example.com"},
        {"https://ex%41mple.com/", "exAmple.com"},
        {"https:// Example.com /", "example.com"},
        {"https://a b.example/", "a%20b.example"},
        {"https://b\xff.example/", "b%FF.example"},
        {"https://", ""},
        {"HTTPS://Example.com/", "HTTPS://Example.com/"},
        {"Https://Example.com/", "Https://Example.com/"},
        {"Example.com", "Example.com"},
        {"", ""},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        char *host = url_tracker_host(str_of(cases[i].text));
        assert_string_equal(host, cases[i].host);
        free(host);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(urls_are_normalized),
        cmocka_unit_test(all_parts_agree),
        cmocka_unit_test(doubtful_urls_are_refused),
        cmocka_unit_test(lengths_are_bounded),
        cmocka_unit_test(a_normal_url_stays_as_it_is),
        cmocka_unit_test(signature_vectors_have_these_hosts_and_targets),
        cmocka_unit_test(tracker_hosts_are_those_of_mastodon),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
