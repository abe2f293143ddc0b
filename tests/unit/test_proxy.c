#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "base/proxy.h"

static struct config config_of(char *plain, char *hidden)
{
    return (struct config){.http_proxy = plain, .http_hidden_proxy = hidden};
}

static void expect(const char *text, const char *address, const char *authorization)
{
    char copy[256];
    struct config config = config_of(copy, NULL);
    struct proxies proxies;
    struct err err;

    snprintf(copy, sizeof(copy), "%s", text);
    if (proxies_init(&proxies, &config, &err) != FP_OK)
        fail_msg("%s: %s", text, err.message);
    assert_string_equal(proxies.plain.address, address);
    if (authorization != NULL)
        assert_string_equal(proxies.plain.authorization, authorization);
    else
        assert_null(proxies.plain.authorization);
    proxies_clear(&proxies);
}

static void urls_are_understood_as_mastodon_does(void **state)
{
    (void)state;
    expect("http://proxy.example:3128", "http://proxy.example:3128", NULL);
    expect("http://Proxy.example", "http://proxy.example:80", NULL);
    expect("https://proxy.example/", "http://proxy.example:443", NULL);
    expect("http://[2001:DB8::1]:3128/", "http://[2001:db8::1]:3128", NULL);
    expect("http://127.0.0.1:8118", "http://127.0.0.1:8118", NULL);
    /* only with both */
    expect("http://me@proxy.example:1", "http://proxy.example:1", NULL);
    expect("http://me:secret@proxy.example:1", "http://proxy.example:1",
           "Proxy-Authorization: Basic bWU6c2VjcmV0");
    expect("http://me:@proxy.example:1", "http://proxy.example:1",
           "Proxy-Authorization: Basic bWU6");
    expect("http://me:a@b@proxy.example:1/x@y", "http://proxy.example:1",
           "Proxy-Authorization: Basic bWU6YUBi");
}

static void what_is_no_proxy_is_refused_without_its_value(void **state)
{
    static const char *const texts[] = {
        "proxy.example:3128",
        "socks5://me:secret@proxy.example",
        "http://",
        "http://me:secret@",
        "http://me:sec ret@proxy.example",
        "http:secret",
        "http://me:secret@p.example:0",
        "http://secret.p.example:x",
        "secret",
    };
    char copy[256];
    (void)state;

    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct config config = config_of(NULL, copy);
        struct proxies proxies;
        struct err err;
        snprintf(copy, sizeof(copy), "%s", texts[i]);
        assert_int_equal(proxies_init(&proxies, &config, &err), FP_INVALID);
        assert_true(str_starts_with(str_of(err.message), STR("http_hidden_proxy: ")));
        assert_null(strstr(err.message, "secret"));
    }
}

static void hidden_services_have_their_own(void **state)
{
    char plain[] = "http://plain.example:1";
    char hidden[] = "http://hidden.example:2";
    char none[] = "";
    struct config config = config_of(plain, hidden);
    struct proxies proxies;
    struct err err;
    (void)state;

    assert_int_equal(proxies_init(&proxies, &config, &err), FP_OK);
    assert_ptr_equal(proxy_for(&proxies, STR("a.example")), &proxies.plain);
    assert_ptr_equal(proxy_for(&proxies, STR("onion")), &proxies.plain);
    assert_ptr_equal(proxy_for(&proxies, STR("a.onion.example")), &proxies.plain);
    assert_ptr_equal(proxy_for(&proxies, STR("abc.onion")), &proxies.hidden);
    assert_ptr_equal(proxy_for(&proxies, STR("abc.i2p")), &proxies.hidden);
    proxies_clear(&proxies);
    config = config_of(plain, none);
    assert_int_equal(proxies_init(&proxies, &config, &err), FP_OK);
    assert_ptr_equal(proxy_for(&proxies, STR("abc.onion")), &proxies.plain);
    proxies_clear(&proxies);
    config = config_of(none, hidden);
    assert_int_equal(proxies_init(&proxies, &config, &err), FP_OK);
    assert_null(proxy_for(&proxies, STR("a.example")));
    assert_ptr_equal(proxy_for(&proxies, STR("abc.onion")), &proxies.hidden);
    proxies_clear(&proxies);
}

static void named_ones_keep_their_order(void **state)
{
    char list[] = "eu=http://p.example:1, tor-2=http://me:s3cret@q.example:2";
    struct config config = {.proxies = list};
    struct proxies proxies;
    struct buf names;
    struct err err;
    (void)state;

    assert_int_equal(proxies_init(&proxies, &config, &err), FP_OK);
    assert_string_equal(proxy_named(&proxies, 1)->address, "http://p.example:1");
    assert_string_equal(proxy_named(&proxies, 2)->address, "http://q.example:2");
    assert_non_null(proxy_named(&proxies, 2)->authorization);
    assert_null(proxy_named(&proxies, 0));
    assert_null(proxy_named(&proxies, 3));
    assert_null(proxy_for(&proxies, STR("a.example")));
    proxies_clear(&proxies);
    buf_init(&names, 100);
    proxy_put_names(&names, str_of(list));
    assert_string_equal(buf_cstr(&names), "eu,tor-2");
    assert_int_equal(proxy_name_place(buf_str(&names), STR("tor-2")), 2);
    assert_int_equal(proxy_name_place(buf_str(&names), STR("tor")), 0);
    assert_int_equal(proxy_name_place(STR_NULL, STR("tor")), 0);
    buf_clear(&names);
}

static void wrong_names_are_refused_without_their_values(void **state)
{
    static const char *const texts[] = {"http://me:s3cret@p.example",
                                        "EU=http://me:s3cret@p.example",
                                        "=http://me:s3cret@p.example",
                                        "eu=",
                                        "eu=s3cret",
                                        "eu=http://s3cret.example,eu=http://p.example",
                                        "eu=http://s3cret.example,,us=http://p.example"};
    char copy[256];
    (void)state;

    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct config config = {.proxies = copy};
        struct proxies proxies;
        struct err err;
        snprintf(copy, sizeof(copy), "%s", texts[i]);
        if (proxies_init(&proxies, &config, &err) != FP_INVALID)
            fail_msg("accepted: %s", texts[i]);
        assert_true(str_starts_with(str_of(err.message), STR("FEDPUSH_PROXIES: ")));
        assert_null(strstr(err.message, "s3cret"));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(urls_are_understood_as_mastodon_does),
        cmocka_unit_test(what_is_no_proxy_is_refused_without_its_value),
        cmocka_unit_test(hidden_services_have_their_own),
        cmocka_unit_test(named_ones_keep_their_order),
        cmocka_unit_test(wrong_names_are_refused_without_their_values),
    };
    return cmocka_run_group_tests_name("proxy", tests, NULL, NULL);
}
