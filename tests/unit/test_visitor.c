#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "admin/visitor.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

struct setting {
    const char *listen, *url, *proxies;
};
static const struct setting plain = {"127.0.0.1:4480", "", ""};
static const struct setting public = {"127.0.0.1:4480", "https://fed.test/admin/",
                                      "10.0.0.0/8, 127.0.0.1"};
static const struct setting local = {"unix:/run/fedpush.sock", "https://fed.test", "unix"};

static void make_rules(struct visit_rules *rules, const struct setting *setting)
{
    char listen[64];
    char url[64];
    char proxies[64];
    struct config config = {
        .admin_listen = listen, .admin_url = url, .admin_trusted_proxies = proxies};

    snprintf(listen, sizeof(listen), "%s", setting->listen);
    snprintf(url, sizeof(url), "%s", setting->url);
    snprintf(proxies, sizeof(proxies), "%s", setting->proxies);
    visit_rules_init(rules, &config);
}

/* `peer`: an address, or "unix". */
static struct web_peer peer_of(const char *text)
{
    struct web_peer peer = {.family = AF_UNIX, .local = true, .loopback = true};

    if (strcmp(text, "unix") == 0)
        return peer;
    peer = (struct web_peer){0};
    assert_true(network_parse_address(str_of(text), &peer.family, peer.address));
    peer.loopback = strcmp(text, "::1") == 0 || peer.address[0] == 127;
    return peer;
}

static struct visitor visit(const struct setting *setting, const char *peer, const char *fields)
{
    char *text = mem_printf("GET / HTTP/1.1\r\n%s\r\n", fields);
    struct web_peer from = peer_of(peer);
    struct visit_rules rules;
    struct visitor visitor;
    struct web_head head;

    assert_int_equal(web_head_parse(&head, str_of(text)), 0);
    const struct web_request request = {.head = &head, .peer = &from};
    make_rules(&rules, setting);
    visitor_read(&visitor, &rules, &request);
    visit_rules_clear(&rules);
    free(text);
    return visitor;
}

static void only_who_comes_straight_is_local(void **state)
{
    static const struct {
        const char *peer, *fields;
        bool local;
    } cases[] = {
        {"127.0.0.1", "", true},
        {"127.9.9.9", "", true},
        {"::1", "", true},
        {"unix", "", true},
        {"10.0.0.1", "", false},
        {"2001:db8::1", "", false},
        {"127.0.0.1", "X-Forwarded-For: 127.0.0.1\r\n", false},
        {"127.0.0.1", "X-FORWARDED-PROTO: https\r\n", false},
        {"127.0.0.1", "X-Forwarded-: \r\n", false},
        {"127.0.0.1", "forwarded: for=127.0.0.1\r\n", false},
        {"127.0.0.1", "X-Real-Ip: 127.0.0.1\r\n", false},
        {"unix", "X-Forwarded-For: 127.0.0.1\r\n", false},
        {"127.0.0.1", "Via: 1.1 proxy\r\n", false},
        {"127.0.0.1", "X-Forwarder: me\r\n", true},
    };
    (void)state;

    for (size_t i = 0; i < COUNT(cases); i++) {
        if (visit(&plain, cases[i].peer, cases[i].fields).loopback != cases[i].local ||
            (!cases[i].local && visit(&public, cases[i].peer, cases[i].fields).loopback))
            fail_msg("%s %s", cases[i].peer, cases[i].fields);
    }
}

static void only_names_of_ours_are_served(void **state)
{
    static const struct {
        const struct setting *setting;
        const char *fields;
        bool ours;
    } cases[] = {
        {&plain, "Host: localhost:4480\r\n", true},
        {&plain, "Host: 127.0.0.1:4480\r\n", true},
        {&plain, "Host: [::1]:4480\r\n", true},
        {&plain, "Host: localhost\r\n", false},
        {&plain, "Host: localhost:80\r\n", false},
        {&plain, "Host: localhost:4480:1\r\n", false},
        {&plain, "Host: localhost.evil.test:4480\r\n", false},
        {&plain, "Host: evil.test\r\n", false},
        {&plain, "Host:\r\n", false},
        {&plain, "", false},
        {&public, "Host: fed.test\r\n", true},
        {&public, "Host: FED.test\r\n", true},
        {&public, "Host: fed.test:443\r\n", true},
        {&public, "Host: fed.test:80\r\n", false},
        {&public, "Host: fed.test:4430\r\n", false},
        {&public, "Host: a.fed.test\r\n", false},
        {&public, "Host: fed.test.\r\n", false},
        {&public, "Host: localhost:4480\r\n", true},
        {&public, "Host: evil.test\r\nX-Forwarded-Host: fed.test\r\n", true}, /* a proxy's */
        {&public, "Host: fed.test\r\nX-Forwarded-Host: evil.test\r\n", false},
        {&plain, "Host: evil.test\r\nX-Forwarded-Host: localhost:4480\r\n", false},
        {&local, "Host: localhost\r\n", true},
        {&local, "Host: fed.test\r\n", true},
        {&local, "Host: evil.test\r\n", false},
    };
    (void)state;

    for (size_t i = 0; i < COUNT(cases); i++) {
        const char *peer = cases[i].setting == &local ? "unix" : "127.0.0.1";
        if (visit(cases[i].setting, peer, cases[i].fields).our_host != cases[i].ours)
            fail_msg("%zu: %s", i, cases[i].fields);
    }
}

static void trusted_proxies_tell_who_came_to_them(void **state)
{
    static const struct {
        const char *peer, *fields, *address;
    } cases[] = {
        {"10.1.1.1", "X-Forwarded-For: 192.0.2.7\r\n", "192.0.2.7"},
        {"10.1.1.1", "X-Forwarded-For: 192.0.2.9, 192.0.2.7\r\n", "192.0.2.7"},
        {"10.1.1.1", "X-Forwarded-For: 192.0.2.7, 10.2.2.2\r\n", "192.0.2.7"},
        {"10.1.1.1", "X-Forwarded-For: 192.0.2.9\r\nX-Forwarded-For: 192.0.2.7\r\n", "192.0.2.7"},
        {"10.1.1.1", "X-Forwarded-For: 192.0.2.9\r\nX-Forwarded-For: 10.3.3.3\r\n", "192.0.2.9"},
        {"10.1.1.1", "X-Forwarded-For: 2001:db8::7\r\n", "2001:db8::7"},
        {"10.1.1.1", "X-Forwarded-For: ::ffff:192.0.2.7\r\n", "192.0.2.7"},
        {"10.1.1.1", "X-Forwarded-For: 192.0.2.7, ::ffff:10.2.2.2\r\n", "192.0.2.7"},
        {"10.1.1.1", "X-Forwarded-For: nonsense\r\n", "10.1.1.1"},
        {"10.1.1.1", "X-Forwarded-For: 192.0.2.9, nonsense\r\n", "10.1.1.1"},
        {"10.1.1.1", "X-Forwarded-For:\r\n", "10.1.1.1"},
        {"10.1.1.1", "X-Forwarded-For: 192.0.2.9, 192.0.2.7:4711\r\n", "192.0.2.7"},
        {"10.1.1.1", "X-Forwarded-For: 192.0.2.7:4711, 10.2.2.2:80\r\n", "192.0.2.7"},
        {"10.1.1.1", "X-Forwarded-For: [2001:db8::7]:443\r\n", "2001:db8::7"},
        {"10.1.1.1", "X-Forwarded-For: [2001:db8::7]\r\n", "2001:db8::7"},
        {"10.1.1.1", "X-Forwarded-For: \"[2001:db8::7]:443\"\r\n", "2001:db8::7"},
        {"10.1.1.1", "X-Forwarded-For: [::ffff:192.0.2.7]:443\r\n", "192.0.2.7"},
        {"10.1.1.1", "Forwarded: for=192.0.2.7\r\n", "192.0.2.7"},
        {"10.1.1.1", "Forwarded: proto=https; For=\"192.0.2.7:4711\" ;by=10.1.1.1\r\n",
         "192.0.2.7"},
        {"10.1.1.1", "Forwarded: for=192.0.2.9, for=\"[2001:db8::7]:443\";proto=https\r\n",
         "2001:db8::7"},
        {"10.1.1.1", "Forwarded: for=\"[2001:db8::7]:_port\", for=10.2.2.2\r\n", "2001:db8::7"},
        {"10.1.1.1", "Forwarded: for=192.0.2.7\r\nForwarded: for=10.2.2.2\r\n", "192.0.2.7"},
        {"10.1.1.1", "Forwarded: for=unknown\r\n", "10.1.1.1"},
        {"10.1.1.1", "Forwarded: for=_hidden, for=10.2.2.2\r\n", "10.2.2.2"},
        {"10.1.1.1", "Forwarded: proto=https\r\n", "10.1.1.1"},
        /* What proxies say by both counts as the usual one has it. */
        {"10.1.1.1", "Forwarded: for=192.0.2.9\r\nX-Forwarded-For: 192.0.2.7\r\n", "192.0.2.7"},
        {"10.1.1.1", "Forwarded: for=192.0.2.9\r\nX-Forwarded-For: unknown\r\n", "10.1.1.1"},
        {"192.0.2.1", "Forwarded: for=192.0.2.7\r\n", "192.0.2.1"},
        {"192.0.2.1", "X-Forwarded-For: 192.0.2.7\r\n", "192.0.2.1"}, /* nobody's proxy */
    };
    (void)state;

    for (size_t i = 0; i < COUNT(cases); i++) {
        struct visitor visitor = visit(&public, cases[i].peer, cases[i].fields);
        char text[INET6_ADDRSTRLEN] = "";
        inet_ntop(visitor.family, visitor.address, text, sizeof(text));
        assert_string_equal(text, cases[i].address);
    }
    struct visitor visitor = visit(&local, "unix", "X-Forwarded-For: 192.0.2.7\r\n");
    assert_int_equal(visitor.family, AF_INET);
    visitor = visit(&plain, "unix", "X-Forwarded-For: 192.0.2.7\r\n");
    assert_int_equal(visitor.family, AF_UNIX);
}

static bool is_same(const struct setting *setting, const char *fields, bool *by_url)
{
    char *text = mem_printf("POST / HTTP/1.1\r\n%s\r\n", fields);
    struct visit_rules rules;
    struct web_head head;

    assert_int_equal(web_head_parse(&head, str_of(text)), 0);
    make_rules(&rules, setting);
    bool same = visitor_is_same_origin(&rules, &head);
    *by_url = visitor_came_by_url(&rules, &head);
    visit_rules_clear(&rules);
    free(text);
    return same;
}

static void other_sites_are_recognized(void **state)
{
    static const struct {
        const struct setting *setting;
        const char *fields;
        bool same, by_url;
    } cases[] = {
        {&public, "Origin: https://fed.test\r\n", true, true},
        {&public, "Origin: http://localhost:4480\r\n", true, false},
        {&public, "Origin: http://fed.test\r\n", false, false},
        {&public, "Origin: https://fed.test:444\r\n", false, false},
        {&public, "Origin: https://fed.test.evil.test\r\n", false, false},
        {&public, "Origin: null\r\n", false, false},
        {&public, "Origin:\r\n", false, false},
        {&public, "Origin: https://fed.test\r\nSec-Fetch-Site: same-site\r\n", false, true},
        {&public, "Origin: https://fed.test\r\nSec-Fetch-Site: same-origin\r\n", true, true},
        {&public, "Sec-Fetch-Site: same-origin\r\nHost: fed.test\r\n", true, true},
        {&public, "Sec-Fetch-Site: none\r\n", false, true},
        {&public, "Referer: https://fed.test/admin/#/x\r\n", true, true},
        {&public, "Referer: https://fed.test.evil.test/\r\n", false, true},
        {&public, "Referer: https://evil.test/https://fed.test/\r\n", false, true},
        {&public, "Host: localhost:4480\r\n", false, false},
        {&plain, "Origin: http://127.0.0.1:4480\r\n", true, false},
        {&plain, "Origin: https://127.0.0.1:4480\r\n", false, false},
        {&plain, "Origin: http://127.0.0.1:4481\r\n", false, false},
        {&plain, "", false, false},
    };
    (void)state;

    for (size_t i = 0; i < COUNT(cases); i++) {
        bool by_url;
        bool same = is_same(cases[i].setting, cases[i].fields, &by_url);
        if (same != cases[i].same || by_url != cases[i].by_url)
            fail_msg("%zu: same %d, by url %d: %s", i, same, by_url, cases[i].fields);
    }
}

static void rules_are_those_of_the_url(void **state)
{
    struct visit_rules rules;
    (void)state;

    make_rules(&rules, &public);
    assert_string_equal(rules.origin, "https://fed.test");
    assert_string_equal(rules.prefix, "/admin");
    assert_string_equal(rules.url, "https://fed.test/admin");
    assert_true(rules.https && rules.port == 4480);
    visit_rules_clear(&rules);
    make_rules(&rules, &local);
    assert_string_equal(rules.prefix, "");
    assert_string_equal(rules.url, "https://fed.test");
    assert_true(rules.local_proxy && rules.port == 0);
    visit_rules_clear(&rules);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_who_comes_straight_is_local),
        cmocka_unit_test(only_names_of_ours_are_served),
        cmocka_unit_test(trusted_proxies_tell_who_came_to_them),
        cmocka_unit_test(other_sites_are_recognized),
        cmocka_unit_test(rules_are_those_of_the_url),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
