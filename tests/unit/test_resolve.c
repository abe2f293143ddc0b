#include <arpa/inet.h>
#include <arpa/nameser.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>
#include <sodium.h>

#include "base/loop.h"
#include "server.h"
#include "worker/resolve.h"

/* A name server on the test's own loop. What it says follows from the name's first letter: a: one
 * address with `ttl_s`; n: no such name; b: broken; s: silence. */
struct names {
    int fd;
    char address[32];
    struct event *event;
    unsigned ttl_s;
    unsigned questions; /* for A */
};

struct fixture {
    struct event_base *base;
    struct names names;
    struct dns *dns;
    struct clock clock;
    int64_t now_ms;
    struct resolver *resolver;
    unsigned answers;
    unsigned wanted;
    bool enough; /* answers >= wanted */
    struct dns_result result;
    struct resolve_wait *other; /* cancelled by the first answer */
    bool asks_again;
};

static void put_u16(struct buf *out, unsigned value)
{
    buf_put_char(out, (char)(value >> 8));
    buf_put_char(out, (char)value);
}

static void put_answer(struct buf *out, const struct names *names, const unsigned char *query,
                       size_t question_len, bool a)
{
    char kind = (char)query[13];
    unsigned code = kind == 'n' ? ns_r_nxdomain : kind == 'b' ? ns_r_servfail : ns_r_noerror;
    bool found = kind == 'a' && a;

    buf_put(out, query, 2);
    put_u16(out, 0x8180U | code);
    put_u16(out, 1);
    put_u16(out, found);
    put_u16(out, 0);
    put_u16(out, 0);
    buf_put(out, query + 12, question_len);
    if (!found)
        return;
    put_u16(out, 0xc00c);
    put_u16(out, ns_t_a);
    put_u16(out, ns_c_in);
    put_u16(out, names->ttl_s >> 16);
    put_u16(out, names->ttl_s & 0xffff);
    put_u16(out, 4);
    buf_put(out, "\xc0\x00\x02\x01", 4);
}

static void on_question(evutil_socket_t fd, short what, void *arg)
{
    struct names *names = arg;
    unsigned char query[512] = {0};
    struct sockaddr_in from;
    socklen_t from_len = sizeof(from);
    struct buf out;
    size_t end = 12;
    (void)what;

    ssize_t n = recvfrom(fd, query, sizeof(query) - 1, 0, (struct sockaddr *)&from, &from_len);
    assert_true(n > 16);
    while (query[end] != 0)
        end += query[end] + 1U;
    bool a = query[end + 2] == ns_t_a;
    names->questions += a;
    if (query[13] == 's')
        return;
    buf_init(&out, 512);
    put_answer(&out, names, query, end + 5 - 12, a);
    sendto(fd, out.ptr, out.len, 0, (struct sockaddr *)&from, from_len);
    buf_clear(&out);
}

static void names_start(struct names *names, struct event_base *base)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t len = sizeof(address);

    names->fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    assert_int_equal(bind(names->fd, (struct sockaddr *)&address, len), 0);
    assert_int_equal(getsockname(names->fd, (struct sockaddr *)&address, &len), 0);
    snprintf(names->address, sizeof(names->address), "127.0.0.1:%u", ntohs(address.sin_port));
    names->event = event_new(base, names->fd, EV_READ | EV_PERSIST, on_question, names);
    event_add(names->event, NULL);
    names->ttl_s = 300;
}

static int64_t mono_ms(void *arg)
{
    return *(int64_t *)arg;
}

static int start(void **state)
{
    struct fixture *f = mem_alloc(sizeof(*f));
    struct err err;

    if (sodium_init() < 0)
        return 1;
    f->base = loop_create();
    names_start(&f->names, f->base);
    f->dns = dns_create(f->base, &(struct dns_options){str_of(f->names.address), false, 10 * 1000},
                        &err);
    assert_non_null(f->dns);
    f->now_ms = 1000000;
    f->clock = (struct clock){mono_ms, NULL, &f->now_ms};
    f->resolver = resolver_create(f->base, &f->clock, f->dns);
    *state = f;
    return 0;
}

static int end(void **state)
{
    struct fixture *f = *state;

    resolver_destroy(f->resolver);
    dns_destroy(f->dns);
    event_free(f->names.event);
    close(f->names.fd);
    event_base_free(f->base);
    free(f);
    return 0;
}

static void on_result(void *arg, const struct dns_result *result)
{
    struct fixture *f = arg;

    if (f->other != NULL)
        resolver_cancel(f->other);
    f->other = NULL;
    if (f->asks_again) {
        f->asks_again = false;
        resolver_ask(f->resolver, STR("192.0.2.9"), on_result, f);
    }
    f->result = *result;
    f->answers++;
    f->enough = f->answers >= f->wanted;
}

static struct resolve_wait *ask(struct fixture *f, const char *host)
{
    unsigned before = f->answers;
    struct resolve_wait *wait = resolver_ask(f->resolver, str_of(host), on_result, f);
    assert_int_equal(f->answers, before); /* never from within */
    return wait;
}

static void answered(struct fixture *f, unsigned count)
{
    f->wanted = count;
    f->enough = f->answers >= count;
    if (!f->enough)
        server_wait(f->base, &f->enough);
    assert_int_equal(f->answers, count);
}

/* Asks, and says whether the name server was asked for it. */
static bool asked(struct fixture *f, const char *host)
{
    unsigned before = f->names.questions;
    ask(f, host);
    answered(f, f->answers + 1);
    return f->names.questions != before;
}

static void expect_lifetime(struct fixture *f, const char *host, int64_t lifetime_ms)
{
    assert_true(asked(f, host));
    f->now_ms += lifetime_ms - 1;
    assert_false(asked(f, host));
    f->now_ms += 1;
    assert_true(asked(f, host));
}

static void test_found_names_live_for_their_ttl_within_bounds(void **state)
{
    static const struct {
        const char *host;
        unsigned ttl_s;
        int64_t lifetime_ms;
    } cases[] = {
        {"a0.test", 0, 5000},        {"a1.test", 4, 5000},       {"a2.test", 6, 6000},
        {"a3.test", 300, 300000},    {"a4.test", 3599, 3599000}, {"a5.test", 3601, 3600000},
        {"a6.test", 86400, 3600000},
    };
    struct fixture *f = *state;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        f->names.ttl_s = cases[i].ttl_s;
        expect_lifetime(f, cases[i].host, cases[i].lifetime_ms);
        assert_int_equal(f->result.status, DNS_FOUND);
        assert_int_equal(f->result.count, 1);
    }
}

static void test_failures_live_for_a_while(void **state)
{
    struct fixture *f = *state;

    expect_lifetime(f, "nothing.test", 60000);
    assert_int_equal(f->result.status, DNS_NO_NAME);
    expect_lifetime(f, "broken.test", 5000);
    assert_int_equal(f->result.status, DNS_NO_ANSWER);
}

static void test_one_look_up_serves_all_that_ask(void **state)
{
    struct fixture *f = *state;

    for (unsigned i = 0; i < 10; i++)
        ask(f, "a.test");
    answered(f, 10);
    assert_int_equal(f->names.questions, 1);
    assert_int_equal(resolver_cached(f->resolver), 1);
    assert_false(asked(f, "a.test"));
}

static void test_cancelled_ones_are_not_called(void **state)
{
    struct fixture *f = *state;
    struct resolve_wait *first = ask(f, "a.test");

    ask(f, "a.test");
    resolver_cancel(first);
    answered(f, 1);
    assert_false(asked(f, "a.test"));
    resolver_cancel(ask(f, "a.test")); /* its answer was on its way already */
    server_run(f->base, 50);
    assert_int_equal(f->answers, 2);
}

static void test_a_callback_may_cancel_and_ask(void **state)
{
    struct fixture *f = *state;

    ask(f, "a.test");
    f->other = ask(f, "a.test");
    f->asks_again = true;
    answered(f, 2); /* the first one's, and that of what it asked */
    server_run(f->base, 50);
    assert_int_equal(f->answers, 2);
}

static void test_destroying_it_calls_nobody(void **state)
{
    struct fixture *f = *state;

    ask(f, "a.test");
    answered(f, 1);
    ask(f, "a.test"); /* cached, to be told in the next turn */
    ask(f, "silent.test");
    resolver_destroy(f->resolver);
    f->resolver = NULL;
    server_run(f->base, 50);
    assert_int_equal(f->answers, 1);
}

static void test_at_most_64_are_asked_for_at_once(void **state)
{
    struct fixture *f = *state;
    char host[32];

    for (unsigned i = 0; i < 70; i++) {
        snprintf(host, sizeof(host), "silent%u.test", i);
        ask(f, host);
    }
    ask(f, "a.test");
    server_run(f->base, 300); /* several rounds of the pace */
    assert_int_equal(f->names.questions, 64);
    assert_int_equal(f->answers, 0);
    assert_int_equal(resolver_cached(f->resolver), 71);
}

static void test_at_most_200_begin_in_a_second(void **state)
{
    struct fixture *f = *state;
    char host[32];

    for (unsigned i = 0; i < 450; i++) {
        snprintf(host, sizeof(host), "a%u.test", i);
        ask(f, host);
    }
    answered(f, 200);
    server_run(f->base, 200);
    assert_int_equal(f->answers, 200);
    f->now_ms += 999;
    server_run(f->base, 200);
    assert_int_equal(f->names.questions, 200);
    f->now_ms += 1;
    answered(f, 400);
    server_run(f->base, 200);
    assert_int_equal(f->answers, 400);
    f->now_ms += 1000;
    answered(f, 450);
    assert_int_equal(f->names.questions, 450);
}

/* 20,000 addresses, which need no name server, but the pace holds for them too. */
static void fill(struct fixture *f, unsigned from, unsigned to)
{
    char host[32];

    for (unsigned i = from; i < to; i += 200) {
        for (unsigned n = i; n < i + 200 && n < to; n++) {
            snprintf(host, sizeof(host), "10.1.%u.%u", n / 250, n % 250);
            ask(f, host);
        }
        f->now_ms += 1000;
        answered(f, f->answers + (to - i < 200 ? to - i : 200));
    }
}

static void test_the_oldest_answers_make_room(void **state)
{
    struct fixture *f = *state;

    f->names.ttl_s = 3600;
    assert_true(asked(f, "a-old.test"));
    fill(f, 0, 19998);
    assert_true(asked(f, "a-new.test"));
    assert_int_equal(resolver_cached(f->resolver), 20000);
    assert_false(asked(f, "a-old.test"));
    assert_true(asked(f, "a-more.test"));
    assert_int_equal(resolver_cached(f->resolver), 20000);
    assert_false(asked(f, "a-new.test"));
    assert_true(asked(f, "a-old.test")); /* was the oldest */
    assert_int_equal(resolver_cached(f->resolver), 20000);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, start, end)
    const struct CMUnitTest tests[] = {
        TEST(test_found_names_live_for_their_ttl_within_bounds),
        TEST(test_failures_live_for_a_while),
        TEST(test_one_look_up_serves_all_that_ask),
        TEST(test_cancelled_ones_are_not_called),
        TEST(test_a_callback_may_cancel_and_ask),
        TEST(test_destroying_it_calls_nobody),
        TEST(test_at_most_64_are_asked_for_at_once),
        TEST(test_at_most_200_begin_in_a_second),
        TEST(test_the_oldest_answers_make_room),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
