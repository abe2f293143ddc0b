/* Which addresses may be connected to: the edges of each refused range, and the exceptions. */
#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>

#include <cmocka.h>

#include "worker/address.h"

static struct dns_address parse(const char *text)
{
    struct dns_address address = {.family = strchr(text, ':') != NULL ? AF_INET6 : AF_INET};
    assert_int_equal(inet_pton(address.family, text, &address.ip), 1);
    return address;
}

static void init(struct address_policy *policy, const char *allowed)
{
    struct err err;
    assert_int_equal(address_policy_init(policy, str_of(allowed), &err), FP_OK);
}

static bool allows(const struct address_policy *policy, const char *text)
{
    struct dns_address address = parse(text);
    struct sockaddr_storage storage = {.ss_family = (sa_family_t)address.family};

    if (address.family == AF_INET) {
        struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr = address.ip.v4};
        memcpy(&storage, &in, sizeof(in));
    } else {
        struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_addr = address.ip.v6};
        memcpy(&storage, &in6, sizeof(in6));
    }
    bool allowed = address_is_allowed(policy, &address);
    assert_int_equal(address_sockaddr_is_allowed(policy, (struct sockaddr *)&storage), allowed);
    return allowed;
}

static void test_edges_of_refused_ranges(void **state)
{
    static const char *const refused[] = {"0.0.0.0",
                                          "0.255.255.255",
                                          "10.0.0.0",
                                          "10.255.255.255",
                                          "100.64.0.0",
                                          "100.127.255.255",
                                          "127.0.0.1",
                                          "127.255.255.255",
                                          "169.254.0.0",
                                          "169.254.169.254",
                                          "172.16.0.0",
                                          "172.31.255.255",
                                          "192.0.0.255",
                                          "192.0.2.1",
                                          "192.88.99.1",
                                          "192.168.0.0",
                                          "192.168.255.255",
                                          "198.18.0.0",
                                          "198.19.255.255",
                                          "198.51.100.7",
                                          "203.0.113.255",
                                          "224.0.0.0",
                                          "239.255.255.255",
                                          "240.0.0.0",
                                          "255.255.255.255",
                                          "::",
                                          "::1",
                                          "64:ff9b::8.8.8.8",
                                          "64:ff9b:1::1",
                                          "100::1",
                                          "2001::1",
                                          "2001:10::1",
                                          "2001:1f:ffff::",
                                          "2001:20::1",
                                          "2001:2f:ffff::",
                                          "2001:db8::1",
                                          "2002::1",
                                          "2002:808:808::",
                                          "3fff::1",
                                          "3fff:fff::",
                                          "fc00::",
                                          "fdff::1",
                                          "fe80::1",
                                          "febf::1",
                                          "ff00::",
                                          "ffff::1",
                                          "::ffff:127.0.0.1",
                                          "::ffff:10.1.2.3",
                                          "::ffff:169.254.169.254"};
    static const char *const good[] = {
        "1.0.0.0",         "8.8.8.8",         "9.255.255.255",   "11.0.0.0",
        "100.63.255.255",  "100.128.0.0",     "126.255.255.255", "128.0.0.0",
        "169.253.255.255", "169.255.0.0",     "172.15.255.255",  "172.32.0.0",
        "192.0.1.0",       "192.167.255.255", "192.169.0.0",     "198.17.255.255",
        "198.20.0.0",      "223.255.255.255", "2001:30::1",      "2001:4860:4860::8888",
        "2003::1",         "2a00::1",         "3ffe::1",         "3fff:1000::",
        "64:ff9b:2::1",    "fbff::1",         "fe7f::1",         "fec0::1",
        "::ffff:8.8.8.8"};
    struct address_policy policy;
    (void)state;

    init(&policy, "");
    for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
        if (allows(&policy, refused[i]))
            fail_msg("%s is allowed", refused[i]);
    }
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        if (!allows(&policy, good[i]))
            fail_msg("%s is refused", good[i]);
    }
}

static void test_compatible_addresses_by_version(void **state)
{
    static const struct {
        struct mastodon_version version;
        bool unwraps;
    } cases[] = {
        {{4, 2, 99, "", ""}, false}, {{4, 3, 99, "", ""}, false}, {{4, 4, 20, "", ""}, false},
        {{4, 4, 21, "", ""}, true},  {{4, 5, 13, "", ""}, false}, {{4, 5, 14, "", ""}, true},
        {{4, 6, 3, "", ""}, false},  {{4, 6, 4, "", ""}, true},   {{4, 7, 0, "", ""}, true},
        {{5, 0, 0, "", ""}, true},
    };
    struct address_policy policy;
    (void)state;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        assert_int_equal(address_unwraps_compatible(&cases[i].version), cases[i].unwraps);
    init(&policy, "");
    assert_false(allows(&policy, "::10.0.0.1"));
    assert_true(allows(&policy, "::8.8.8.8"));
    policy.unwrap_compatible = false;
    assert_true(allows(&policy, "::10.0.0.1"));
    assert_false(allows(&policy, "::1"));
    assert_false(allows(&policy, "::ffff:10.0.0.1"));
}

static void test_exceptions(void **state)
{
    struct address_policy policy;
    (void)state;

    init(&policy, " 10.1.0.0/16,127.0.0.1\t192.168.3.0/25 \n fd00:1::/32,::1 ");
    assert_int_equal(policy.allowed_count, 5);
    assert_true(allows(&policy, "10.1.255.255"));
    assert_false(allows(&policy, "10.2.0.0"));
    assert_true(allows(&policy, "127.0.0.1"));
    assert_false(allows(&policy, "127.0.0.2"));
    assert_true(allows(&policy, "192.168.3.127"));
    assert_false(allows(&policy, "192.168.3.128"));
    assert_true(allows(&policy, "fd00:1:ffff::"));
    assert_false(allows(&policy, "fd00:2::"));
    assert_true(allows(&policy, "::1"));
    assert_true(allows(&policy, "::ffff:10.1.2.3")); /* in disguise */
    assert_false(allows(&policy, "::ffff:10.2.2.3"));
    init(&policy, "10.0.0.0/255.0.0.0, 172.16.0.0/255.240.0.0 [fd00::]/ffff:: [::1] "
                  "127.0.0.1/255.255.255.255");
    assert_true(allows(&policy, "10.255.255.255"));
    assert_true(allows(&policy, "172.31.0.1"));
    assert_false(allows(&policy, "192.168.0.1"));
    assert_true(allows(&policy, "fd00:1::"));
    assert_false(allows(&policy, "fd01::"));
    assert_true(allows(&policy, "::1"));
    assert_true(allows(&policy, "127.0.0.1"));
    assert_false(allows(&policy, "127.0.0.2"));
    init(&policy, "0.0.0.0/0");
    assert_true(allows(&policy, "10.2.0.0"));
    assert_false(allows(&policy, "fe80::1"));
}

static void test_bad_exceptions_are_named(void **state)
{
    static const char *const bad[] = {"10.0.0.0/33",     "10.0.0",           "localhost",
                                      "fe80::/129",      "10.0.0.0/-1",      "10.0.0.0/",
                                      "10.0.0.0/x",      "::1/64/2",         "10.0.0.0/255.0.255.0",
                                      "10.0.0.0/ffff::", "fd00::/255.0.0.0", "[]",
                                      "[10.0.0.1",       "0x0a.0.0.1",       "012.0.0.1",
                                      "167772161"};
    struct address_policy policy;
    struct err err;
    struct buf many;
    (void)state;

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        char text[64];
        snprintf(text, sizeof(text), "10.0.0.1, %s", bad[i]);
        assert_int_equal(address_policy_init(&policy, str_of(text), &err), FP_INVALID);
        assert_non_null(strstr(err.message, bad[i]));
        assert_non_null(strstr(err.message, "ALLOWED_PRIVATE_ADDRESSES"));
    }
    buf_init(&many, 65536);
    for (int i = 0; i <= ADDRESS_MAX_ALLOWED; i++)
        buf_put_str(&many, STR("10.0.0.1 "));
    assert_int_equal(address_policy_init(&policy, buf_str(&many), &err), FP_INVALID);
    buf_clear(&many);
}

static void test_other_families_are_refused(void **state)
{
    struct address_policy policy;
    struct sockaddr_un local = {.sun_family = AF_UNIX};
    (void)state;

    init(&policy, "0.0.0.0/0 ::/0");
    assert_false(address_sockaddr_is_allowed(&policy, (struct sockaddr *)&local));
}

static void test_text(void **state)
{
    struct buf text;
    struct dns_address v4 = parse("8.8.4.4");
    struct dns_address v6 = parse("2001:4860::1");
    (void)state;

    buf_init(&text, 100);
    address_put(&text, &v4);
    address_put(&text, &v6);
    assert_string_equal(buf_cstr(&text), "8.8.4.4[2001:4860::1]");
    buf_clear(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_edges_of_refused_ranges),
        cmocka_unit_test(test_compatible_addresses_by_version),
        cmocka_unit_test(test_exceptions),
        cmocka_unit_test(test_bad_exceptions_are_named),
        cmocka_unit_test(test_other_families_are_refused),
        cmocka_unit_test(test_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
