#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

#include "base/listen.h"

static void addresses_are_understood(void **state)
{
    struct listen_address address;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
    struct sockaddr_un local;
    (void)state;

    assert_true(listen_parse(&address, STR("127.0.0.1:4480")));
    memcpy(&v4, &address.address, sizeof(v4));
    assert_int_equal(address.len, sizeof(v4));
    assert_true(v4.sin_family == AF_INET && ntohs(v4.sin_port) == 4480 && address.port == 4480);
    assert_int_equal(ntohl(v4.sin_addr.s_addr), INADDR_LOOPBACK);
    assert_true(listen_parse(&address, STR("[::1]:80")));
    memcpy(&v6, &address.address, sizeof(v6));
    assert_true(v6.sin6_family == AF_INET6 && ntohs(v6.sin6_port) == 80);
    assert_memory_equal(&v6.sin6_addr, &in6addr_loopback, sizeof(in6addr_loopback));
    assert_true(listen_parse(&address, STR("unix:/run/fedpush/page.sock")));
    memcpy(&local, &address.address, sizeof(local));
    assert_true(local.sun_family == AF_UNIX && address.port == 0);
    assert_string_equal(local.sun_path, "/run/fedpush/page.sock");
    assert_string_equal(address.path, "/run/fedpush/page.sock");
}

static void anything_else_is_refused(void **state)
{
    static const char *const texts[] = {"",
                                        "4480",
                                        ":4480",
                                        "127.0.0.1",
                                        "127.0.0.1:",
                                        "127.0.0.1:0",
                                        "127.0.0.1:65536",
                                        "127.0.0.1:x",
                                        "localhost:4480",
                                        "::1:4480",
                                        "[::1]",
                                        "[127.0.0.1]:80",
                                        "[::1:80",
                                        "unix:",
                                        "unix:/",
                                        "unix:relative",
                                        "1.2.3:80",
                                        "http://127.0.0.1:80"};
    struct listen_address address;
    char *path = mem_printf("unix:/%0110d", 1);
    (void)state;

    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        if (listen_parse(&address, str_of(texts[i])))
            fail_msg("accepted: %s", texts[i]);
    }
    assert_false(listen_parse(&address, str_of(path))); /* longer than a socket's name may be */
    free(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(addresses_are_understood),
        cmocka_unit_test(anything_else_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
