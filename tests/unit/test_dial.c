#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>
#include <sodium.h>

#include "base/dial.h"
#include "base/loop.h"

struct fixture {
    struct event_base *base;
    struct dns *dns;
    struct dial *dial;
    unsigned calls;
    int fd;
    char reason[128];
};

static int setup(void **state)
{
    struct fixture *fixture = mem_alloc(sizeof(*fixture));
    struct err err;

    fixture->base = loop_create();
    fixture->dns = dns_create(fixture->base,
                              &(struct dns_options){STR("127.0.0.1:9"), false, false, 100}, &err);
    assert_non_null(fixture->dns);
    fixture->fd = -1;
    *state = fixture;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;

    dial_destroy(fixture->dial);
    if (fixture->fd >= 0)
        close(fixture->fd);
    dns_destroy(fixture->dns);
    event_base_free(fixture->base);
    free(fixture);
    return 0;
}

static void on_dialed(void *arg, int fd, const char *reason)
{
    struct fixture *fixture = arg;

    fixture->calls++;
    fixture->fd = fd;
    snprintf(fixture->reason, sizeof(fixture->reason), "%s", reason != NULL ? reason : "");
    dial_destroy(fixture->dial);
    fixture->dial = NULL;
    event_base_loopbreak(fixture->base);
}

static void dial(struct fixture *fixture, const char *path, const char *host, uint16_t port)
{
    const struct dial_target target = {path, host, port};
    struct timeval limit = {30, 0};

    fixture->dial = dial_create(fixture->base, fixture->dns, &target, on_dialed, fixture);
    assert_int_equal(fixture->calls, 0); /* never from inside dial_create */
    event_base_loopexit(fixture->base, &limit);
    event_base_dispatch(fixture->base);
    assert_int_equal(fixture->calls, 1);
    fixture->calls = 0;
}

/* Listens on `family`'s loopback address; a port that nobody listens on when `backlog` is 0. */
static int loopback(int family, int backlog, uint16_t *port)
{
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    } address;
    socklen_t len = sizeof(address);
    int fd = socket(family, SOCK_STREAM, 0);

    memset(&address, 0, sizeof(address));
    if (family == AF_INET)
        address.v4 =
            (struct sockaddr_in){.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    else
        address.v6 =
            (struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    assert_int_equal(bind(fd, &address.any, len), 0);
    if (backlog > 0)
        assert_int_equal(listen(fd, backlog), 0);
    assert_int_equal(getsockname(fd, &address.any, &len), 0);
    *port = ntohs(family == AF_INET ? address.v4.sin_port : address.v6.sin6_port);
    return fd;
}

static void an_address_is_connected_to(void **state)
{
    struct fixture *fixture = *state;
    uint16_t port;
    int listener = loopback(AF_INET, 1, &port);

    dial(fixture, NULL, "127.0.0.1", port);
    assert_true(fixture->fd >= 0);
    int peer = accept(listener, NULL, NULL);
    assert_int_equal(write(fixture->fd, "x", 1), 1);
    assert_int_equal(read(peer, &(char){0}, 1), 1);
    close(peer);
    close(listener);
}

static void the_next_address_is_tried_when_one_refuses(void **state)
{
    struct fixture *fixture = *state;
    uint16_t port;
    int listener = loopback(AF_INET6, 1, &port); /* "localhost" is 127.0.0.1, then ::1 */

    dial(fixture, NULL, "localhost", port);
    assert_true(fixture->fd >= 0);
    close(listener);
}

static void failures_are_told_with_their_reason(void **state)
{
    struct fixture *fixture = *state;
    uint16_t port;
    int bound = loopback(AF_INET, 0, &port);
    static const struct {
        const char *path, *host, *reason;
    } cases[] = {
        {NULL, "127.0.0.1", "Connection refused"},
        {"/nonexistent/redis.sock", NULL, "No such file or directory"},
        {NULL, "bad name", "the host name is malformed"},
        {NULL, "redis.test", "the resolver gives no answer for the host name"},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        dial(fixture, cases[i].path, cases[i].host, port);
        assert_int_equal(fixture->fd, -1);
        assert_string_equal(fixture->reason, cases[i].reason);
    }
    close(bound);
}

static void a_destroyed_dial_never_calls_back(void **state)
{
    struct fixture *fixture = *state;
    const struct dial_target target = {NULL, "redis.test", 1};

    struct dial *resolving = dial_create(fixture->base, fixture->dns, &target, on_dialed, fixture);
    struct dial *fresh = dial_create(fixture->base, fixture->dns, &target, on_dialed, fixture);
    dial_destroy(fresh);
    event_base_loop(fixture->base, EVLOOP_NONBLOCK);
    dial_destroy(resolving);
    dial(fixture, NULL, "redis.test", 1); /* outlasts it */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(an_address_is_connected_to, setup, teardown),
        cmocka_unit_test_setup_teardown(the_next_address_is_tried_when_one_refuses, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(failures_are_told_with_their_reason, setup, teardown),
        cmocka_unit_test_setup_teardown(a_destroyed_dial_never_calls_back, setup, teardown),
    };
    if (sodium_init() == -1)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
