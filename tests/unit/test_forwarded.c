#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <stdlib.h>

#include "admin/forwarded.h"
#include "base/str.h"

/* All addresses of a request, from the right, with blanks between them. */
static void expect(const char *fields, const char *expected)
{
    char *text = mem_printf("GET / HTTP/1.1\r\n%s\r\n\r\n", fields);
    struct forwarded forwarded;
    struct web_head head;
    unsigned char address[16];
    char shown[INET6_ADDRSTRLEN];
    struct buf all;
    int family;

    buf_init(&all, 65536);
    if (web_head_parse(&head, str_of(text)) != 0)
        fail_msg("no head: %s", fields);
    forwarded_begin(&forwarded, &head);
    while (forwarded_next(&forwarded, &family, address)) {
        assert_non_null(inet_ntop(family, address, shown, sizeof(shown)));
        buf_printf(&all, "%s%s", all.len > 0 ? " " : "", shown);
    }
    if (!str_equal(buf_str(&all), str_of(expected)))
        fail_msg("%s: %s, not %s", fields, buf_cstr(&all), expected);
    buf_clear(&all);
    free(text);
}

static void entries_come_from_the_right(void **state)
{
    (void)state;

    expect("Host: a", "");
    expect("X-Forwarded-For: 192.0.2.1", "192.0.2.1");
    expect("X-Forwarded-For: 192.0.2.1, 192.0.2.2\r\nx-forwarded-for:192.0.2.3 ,192.0.2.4",
           "192.0.2.4 192.0.2.3 192.0.2.2 192.0.2.1");
    expect("X-Forwarded-For: 192.0.2.1\r\nX-Forwarded-For:\r\nX-Real-IP: 192.0.2.2", "192.0.2.1");
    expect("Forwarded: for=192.0.2.1, for=192.0.2.2;proto=http;by=192.0.2.9,FOR=\"192.0.2.3\"",
           "192.0.2.3 192.0.2.2 192.0.2.1");
    expect("Forwarded: for=192.0.2.1\r\nX-Forwarded-For: 192.0.2.2", "192.0.2.2");
}

static void an_entry_may_have_a_port(void **state)
{
    static const struct {
        const char *node, *address;
    } cases[] = {
        {"203.0.113.7", "203.0.113.7"},
        {"203.0.113.7:4711", "203.0.113.7"},
        {"203.0.113.7:_hidden", "203.0.113.7"},
        {"[2001:db8::1]", "2001:db8::1"},
        {"[2001:db8::1]:443", "2001:db8::1"},
        {"[2001:DB8::1]:_a.B-9_", "2001:db8::1"},
        {"2001:db8::1", "2001:db8::1"},
        {"2001:db8::1:443", "2001:db8::1:443"}, /* that is an address, too */
        {"::1", "::1"},
        {"[::ffff:203.0.113.7]:443", "203.0.113.7"},
        {"::ffff:203.0.113.7", "203.0.113.7"},
    };
    (void)state;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        static const char *const forms[] = {"X-Forwarded-For: %s", "X-Forwarded-For: \"%s\"",
                                            "Forwarded: for=%s", "Forwarded: for=\"%s\"",
                                            "Forwarded: by=_a;for=\"%s\";host=\"a;for=b,c\""};
        for (size_t k = 0; k < sizeof(forms) / sizeof(forms[0]); k++) {
            size_t place = str_find(str_of(forms[k]), '%');
            char *fields =
                mem_printf("%.*s%s%s", (int)place, forms[k], cases[i].node, forms[k] + place + 2);
            expect(fields, cases[i].address);
            free(fields);
        }
    }
}

static void what_names_no_address_ends_it(void **state)
{
    static const char *const nodes[] = {
        "",
        "unknown",
        "_hidden",
        "localhost",
        "203.0.113.7:",
        "203.0.113.7:x",
        "203.0.113.7:-1",
        "203.0.113.7:_",
        "203.0.113.7:123456",
        "203.0.113.7:80:90",
        "203.0.113.7/24",
        "203.0.113.7 80",
        "203.0.113.07",
        "203.0.113",
        "0xcb007107",
        ":80",
        "[",
        "]",
        "[]",
        "[]:80",
        "[2001:db8::1",
        "2001:db8::1]",
        "[2001:db8::1]443",
        "[2001:db8::1]:",
        "[2001:db8::1]:x",
        "[2001:db8::1]]",
        "[[2001:db8::1]]",
        "[2001:db8::1%eth0]:80",
        "[2001:db8::1]:80:90",
        "2001:db8::g",
        "\"203.0.113.7",
        "203.0.113.7\"",
        "\"\"203.0.113.7\"\"",
        "20\\3.0.113.7",
        "for=203.0.113.7",
    };
    (void)state;

    for (size_t i = 0; i < sizeof(nodes) / sizeof(nodes[0]); i++) {
        char *usual = mem_printf("X-Forwarded-For: 192.0.2.1, %s", nodes[i]);
        char *pairs = mem_printf("Forwarded: for=192.0.2.1, for=%s", nodes[i]);
        expect(usual, "");
        expect(pairs, "");
        free(usual);
        free(pairs);
    }
    expect("X-Forwarded-For: 192.0.2.1,", "");
    expect("Forwarded: for=192.0.2.1, proto=https", "");
    expect("Forwarded: for=192.0.2.1, 192.0.2.2", "");
    expect("Forwarded: for=192.0.2.1, for = 192.0.2.2", "");
    expect("Forwarded: for=192.0.2.1, for=192.0.2.2;for=192.0.2.2", "");
    expect("Forwarded: for=192.0.2.1, xfor=192.0.2.2;for", "");
}

/* What a stranger wrote stands left of what the proxy has appended. */
static void nothing_on_the_left_changes_what_a_proxy_says(void **state)
{
    static const char *const starts[] = {"\"",
                                         "for=\"",
                                         "for=\"192.0.2.1",
                                         "for=\\",
                                         "for=\"\\",
                                         ";",
                                         ",",
                                         "for=\"a\\\"b",
                                         "for=\"a\" \"",
                                         "for=192.0.2.1;",
                                         "[",
                                         "=\";for=192.0.2.1;\""};
    (void)state;

    for (size_t i = 0; i < sizeof(starts) / sizeof(starts[0]); i++) {
        char *text = mem_printf("GET / HTTP/1.1\r\nForwarded: %s, "
                                "for=\"203.0.113.7:80\";host=\"a,b\"\r\n\r\n",
                                starts[i]);
        struct forwarded forwarded;
        unsigned char address[16];
        struct web_head head;
        int family;

        assert_int_equal(web_head_parse(&head, str_of(text)), 0);
        forwarded_begin(&forwarded, &head);
        assert_true(forwarded_next(&forwarded, &family, address));
        assert_int_equal(family, AF_INET);
        assert_memory_equal(address, "\xcb\x00\x71\x07", 4);
        free(text);
    }
}

static void the_longest_list_ends(void **state)
{
    struct buf fields;
    struct buf expected;
    (void)state;

    buf_init(&fields, 16384);
    buf_init(&expected, 65536);
    buf_put_str(&fields, STR("X-Forwarded-For: ::1"));
    for (unsigned i = 0; i < 3000; i++) {
        buf_put_str(&fields, STR(",::1"));
        buf_put_str(&expected, STR("::1 "));
    }
    buf_put_str(&expected, STR("::1"));
    expect(buf_cstr(&fields), buf_cstr(&expected));
    buf_clear(&fields);
    buf_clear(&expected);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(entries_come_from_the_right),
        cmocka_unit_test(an_entry_may_have_a_port),
        cmocka_unit_test(what_names_no_address_ends_it),
        cmocka_unit_test(nothing_on_the_left_changes_what_a_proxy_says),
        cmocka_unit_test(the_longest_list_ends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
