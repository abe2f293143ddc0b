#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <sodium.h>

#include "base/hosts.h"

/* "ADDRESS ADDRESS" of a name, or "-". */
static const char *find(const struct hosts *hosts, const char *name, char out[256])
{
    struct dns_result result;
    size_t len = 0;

    if (!hosts_find(hosts, str_of(name), &result))
        return "-";
    for (size_t i = 0; i < result.count; i++) {
        char text[INET6_ADDRSTRLEN];
        inet_ntop(result.addresses[i].family, &result.addresses[i].ip, text, sizeof(text));
        len += (size_t)snprintf(out + len, 256 - len, "%s%s", i > 0 ? " " : "", text);
    }
    return out;
}

static void a_hosts_file_is_read_as_the_c_library_does(void **state)
{
    static const struct {
        const char *name, *addresses;
    } cases[] = {
        {"redis.internal", "192.0.2.7 2001:db8::7"},
        {"REDIS.internal", "192.0.2.7 2001:db8::7"},
        {"r", "192.0.2.7"},
        {"last", "192.0.2.9"},
        {"commented", "-"},
        {"bad", "-"},
        {"", "-"},
    };
    char out[256];
    struct hosts *hosts = hosts_create();
    (void)state;

    hosts_read(hosts, STR("# a comment\n\n192.0.2.7\tredis.internal r # commented\n"
                          "300.1.1.1 bad\n2001:db8::7 Redis.Internal\r\n192.0.2.8\n"
                          "192.0.2.9  last"));
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        assert_string_equal(find(hosts, cases[i].name, out), cases[i].addresses);
    hosts_destroy(hosts);
}

static void localhost_is_always_this_machine(void **state)
{
    char out[256];
    struct hosts *hosts = hosts_create();
    (void)state;

    hosts_read(hosts, STR("192.0.2.7 localhost\n"));
    assert_string_equal(find(hosts, "localhost", out), "127.0.0.1 ::1");
    assert_string_equal(find(hosts, "Redis.LocalHost", out), "127.0.0.1 ::1");
    assert_string_equal(find(hosts, "notlocalhost", out), "-");
    hosts_destroy(hosts);
}

static void a_name_has_at_most_sixteen_addresses(void **state)
{
    struct dns_result result;
    struct hosts *hosts = hosts_create();
    (void)state;

    for (int i = 0; i < 40; i++)
        hosts_read(hosts, STR("192.0.2.7 n\n"));
    assert_true(hosts_find(hosts, STR("n"), &result));
    assert_int_equal(result.count, DNS_MAX_ADDRESSES);
    hosts_destroy(hosts);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_hosts_file_is_read_as_the_c_library_does),
        cmocka_unit_test(localhost_is_always_this_machine),
        cmocka_unit_test(a_name_has_at_most_sixteen_addresses),
    };
    if (sodium_init() == -1)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
