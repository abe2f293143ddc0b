#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>
#include <sodium.h>

#include "worker/pin.h"

static const struct dns_address v4 = {.family = AF_INET, .ip.v4 = {0x0100007f}};

static struct url url_of(const char *text)
{
    struct url url;
    struct err err;
    assert_int_equal(url_parse(&url, str_of(text), &err), FP_OK);
    return url;
}

static struct pin *take(struct pins *pins, const char *text, struct curl_slist **list)
{
    struct url url = url_of(text);
    struct pin *pin = pin_take(pins, &url, &v4, 1, list);
    url_clear(&url);
    return pin;
}

/* The list must be exactly these lines; frees it. */
static void expect(struct curl_slist **list, const char *first, const char *second)
{
    assert_string_equal((*list)->data, first);
    if (second == NULL) {
        assert_null((*list)->next);
    } else {
        assert_string_equal((*list)->next->data, second);
        assert_null((*list)->next->next);
    }
    curl_slist_free_all(*list);
    *list = NULL;
}

static void addresses_are_listed_as_libcurl_wants_them(void **state)
{
    struct dns_address both[] = {{.family = AF_INET6}, v4};
    struct pins *pins = pins_create();
    struct url url = url_of("https://a.example:8443/inbox");
    struct curl_slist *list = NULL;
    (void)state;

    assert_int_equal(inet_pton(AF_INET6, "2001:db8::1", &both[0].ip.v6), 1);
    struct pin *pin = pin_take(pins, &url, both, 2, &list);
    expect(&list, "a.example:8443:[2001:db8::1],127.0.0.1", NULL);
    pin_release(pin);
    pins_destroy(pins);
    url_clear(&url);
}

static void names_leave_when_nobody_uses_them(void **state)
{
    struct pins *pins = pins_create();
    struct curl_slist *list = NULL;
    (void)state;

    struct pin *a = take(pins, "https://a.example/", &list);
    expect(&list, "a.example:443:127.0.0.1", NULL);
    struct pin *again = take(pins, "https://a.example/other", &list);
    expect(&list, "a.example:443:127.0.0.1", NULL);
    pin_release(a);
    struct pin *b = take(pins, "http://b.example/", &list); /* a is still in use */
    expect(&list, "b.example:80:127.0.0.1", NULL);
    pin_release(again);
    pin_release(b);
    b = take(pins, "http://a.example/", &list);
    assert_string_equal(list->data, "-a.example:443");
    assert_string_equal(list->next->data, "-b.example:80");
    assert_string_equal(list->next->next->data, "a.example:80:127.0.0.1");
    curl_slist_free_all(list);
    assert_int_equal(pins_held(pins), 1);
    pin_release(b);
    pins_destroy(pins);
}

static void a_name_that_was_about_to_leave_comes_back(void **state)
{
    struct pins *pins = pins_create();
    struct curl_slist *list = NULL;
    (void)state;

    pin_release(take(pins, "https://a.example/", &list));
    expect(&list, "a.example:443:127.0.0.1", NULL);
    pin_release(take(pins, "https://a.example/", &list));
    expect(&list, "-a.example:443", "a.example:443:127.0.0.1"); /* with its new addresses */
    pins_destroy(pins);
}

static void memory_does_not_grow_with_the_hosts(void **state)
{
    struct pins *pins = pins_create();
    (void)state;

    for (int i = 0; i < 1000; i++) {
        struct curl_slist *list = NULL;
        char *text = mem_printf("https://host-%d.example/", i);
        pin_release(take(pins, text, &list));
        curl_slist_free_all(list);
        free(text);
        assert_int_equal(pins_held(pins), 1);
    }
    pins_destroy(pins);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(addresses_are_listed_as_libcurl_wants_them),
        cmocka_unit_test(names_leave_when_nobody_uses_them),
        cmocka_unit_test(a_name_that_was_about_to_leave_comes_back),
        cmocka_unit_test(memory_does_not_grow_with_the_hosts),
    };
    if (sodium_init() < 0)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
