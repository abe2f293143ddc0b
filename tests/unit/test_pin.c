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

static struct pin *start(struct pins *pins, const char *text, struct curl_slist **list)
{
    struct url url = url_of(text);
    struct pin *pin = pin_take(pins, &url, &v4, 1, list);
    url_clear(&url);
    return pin;
}

/* And libcurl reads it. */
static struct pin *take(struct pins *pins, const char *text, struct curl_slist **list)
{
    struct pin *pin = start(pins, text, list);
    pin_told(pin);
    return pin;
}

static void use(struct pin *pin)
{
    pin_told(pin);
    pin_release(pin, NULL);
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
    pin_release(pin, NULL);
    pins_destroy(pins);
    url_clear(&url);
}

static void libcurl_is_told_once(void **state)
{
    struct pins *pins = pins_create();
    struct curl_slist *list = NULL;
    (void)state;

    struct pin *a = take(pins, "https://a.example/", &list);
    expect(&list, "a.example:443:127.0.0.1", NULL);
    struct pin *again = take(pins, "https://a.example/other", &list);
    assert_null(list);
    struct pin *other_port = take(pins, "http://a.example/", &list);
    expect(&list, "a.example:80:127.0.0.1", NULL);
    pin_release(a, NULL);
    pin_release(again, NULL);
    pin_release(other_port, NULL);
    use(take(pins, "https://a.example/", &list));
    assert_null(list);
    pins_destroy(pins);
}

static void changed_addresses_are_told_again(void **state)
{
    static const struct dns_address moved = {.family = AF_INET, .ip.v4 = {0x0200007f}};
    static const struct dns_address both[] = {{.family = AF_INET, .ip.v4 = {0x0200007f}},
                                              {.family = AF_INET, .ip.v4 = {0x0300007f}}};
    struct pins *pins = pins_create();
    struct url url = url_of("https://a.example/");
    struct curl_slist *list = NULL;
    (void)state;

    use(pin_take(pins, &url, &v4, 1, &list));
    expect(&list, "a.example:443:127.0.0.1", NULL);
    use(pin_take(pins, &url, &moved, 1, &list));
    expect(&list, "a.example:443:127.0.0.2", NULL);
    use(pin_take(pins, &url, both, 2, &list));
    expect(&list, "a.example:443:127.0.0.2,127.0.0.3", NULL);
    use(pin_take(pins, &url, both, 2, &list));
    assert_null(list);
    pins_destroy(pins);
    url_clear(&url);
}

/* Takes and releases so many names; returns the last list. */
static struct curl_slist *visit(struct pins *pins, int count)
{
    struct curl_slist *list = NULL;

    for (int i = 0; i < count; i++) {
        char *text = mem_printf("https://host-%d.example/", i);
        curl_slist_free_all(list);
        list = NULL;
        use(take(pins, text, &list));
        free(text);
    }
    return list;
}

static void the_longest_idle_is_taken_out(void **state)
{
    struct pins *pins = pins_create();
    struct curl_slist *list = NULL;
    (void)state;

    struct pin *used = take(pins, "https://used.example/", &list);
    curl_slist_free_all(list);
    list = visit(pins, PINS_MAX_IDLE + 1);
    assert_null(list->next);
    curl_slist_free_all(list);
    list = NULL;
    assert_int_equal(pins_held(pins), PINS_MAX_IDLE + 2);
    struct pin *next = take(pins, "https://next.example/", &list);
    expect(&list, "-host-0.example:443", "next.example:443:127.0.0.1");
    pin_release(used, NULL);
    pin_release(next, NULL);
    pins_destroy(pins);
}

/* Nor does one that starts meanwhile rely on the other. */
static void what_libcurl_never_read_is_listed_again(void **state)
{
    struct pins *pins = pins_create();
    struct curl_slist *list = NULL;
    struct curl_slist *other_list = NULL;
    (void)state;

    struct pin *aborted = start(pins, "https://a.example/", &list);
    struct pin *other = start(pins, "https://a.example/", &other_list);
    pin_release(aborted, list);
    expect(&list, "a.example:443:127.0.0.1", NULL);
    pin_told(other);
    expect(&other_list, "a.example:443:127.0.0.1", NULL);
    use(start(pins, "https://a.example/", &list));
    assert_null(list);
    pin_release(other, NULL);
    struct pin *alone = start(pins, "https://b.example/", &list);
    pin_release(alone, list);
    expect(&list, "b.example:443:127.0.0.1", NULL);
    use(start(pins, "https://b.example/", &list));
    expect(&list, "b.example:443:127.0.0.1", NULL);
    pins_destroy(pins);
}

static void what_was_not_taken_out_is_the_next_to_be(void **state)
{
    struct pins *pins = pins_create();
    struct curl_slist *list = NULL;
    (void)state;

    curl_slist_free_all(visit(pins, PINS_MAX_IDLE + 1));
    struct pin *aborted = start(pins, "https://next.example/", &list);
    pin_release(aborted, list);
    expect(&list, "-host-0.example:443", "next.example:443:127.0.0.1");
    pin_release(take(pins, "https://next.example/", &list), NULL);
    expect(&list, "-host-0.example:443", "next.example:443:127.0.0.1");
    assert_int_equal(pins_held(pins), PINS_MAX_IDLE + 1);
    pins_destroy(pins);
}

static void memory_does_not_grow_with_the_hosts(void **state)
{
    struct pins *pins = pins_create();
    (void)state;

    curl_slist_free_all(visit(pins, 3 * PINS_MAX_IDLE));
    assert_in_range(pins_held(pins), PINS_MAX_IDLE, PINS_MAX_IDLE + 1);
    pins_destroy(pins);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(addresses_are_listed_as_libcurl_wants_them),
        cmocka_unit_test(libcurl_is_told_once),
        cmocka_unit_test(changed_addresses_are_told_again),
        cmocka_unit_test(the_longest_idle_is_taken_out),
        cmocka_unit_test(what_libcurl_never_read_is_listed_again),
        cmocka_unit_test(what_was_not_taken_out_is_the_next_to_be),
        cmocka_unit_test(memory_does_not_grow_with_the_hosts),
    };
    if (sodium_init() < 0)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
