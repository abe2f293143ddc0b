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

#include "base/dns.h"
#include "base/loop.h"

/* ---- a name server on the test's own loop ---- */

enum { NO_NAME = ns_r_nxdomain, BROKEN = ns_r_servfail, SILENT = -1 };

struct zone {
    const char *name;
    int a_code; /* the answer's code to a question for A, or SILENT */
    unsigned a_count, a_ttl;
    int aaaa_code;
    unsigned aaaa_count, aaaa_ttl;
    unsigned alias_ttl; /* 0: none; else an alias stands before the addresses */
};

static const struct zone zones[] = {
    {"both.test", 0, 1, 300, 0, 1, 60, 0},
    {"v4.test", 0, 2, 300, 0, 0, 0, 0},
    {"alias.test", 0, 1, 500, 0, 0, 0, 10},
    {"many.test", 0, 20, 30, 0, 16, 30, 0},
    {"missing.test", NO_NAME, 0, 0, NO_NAME, 0, 0, 0},
    {"empty.test", 0, 0, 0, 0, 0, 0, 0},
    {"broken.test", BROKEN, 0, 0, BROKEN, 0, 0, 0},
    {"halfbroken.test", BROKEN, 0, 0, 0, 0, 0, 0},
    {"v4only.test", 0, 1, 20, BROKEN, 0, 0, 0},
    {"silent.test", SILENT, 0, 0, SILENT, 0, 0, 0},
};

struct server {
    int fd;
    char address[32]; /* "127.0.0.1:PORT" */
    struct event *event;
    unsigned questions;
};

static void put_u16(struct buf *out, unsigned value)
{
    buf_put_char(out, (char)(value >> 8));
    buf_put_char(out, (char)value);
}

static void put_record(struct buf *out, unsigned type, unsigned ttl, const void *data, size_t len)
{
    put_u16(out, 0xc00c); /* the question's name */
    put_u16(out, type);
    put_u16(out, ns_c_in);
    put_u16(out, 0);
    put_u16(out, ttl);
    put_u16(out, (unsigned)len);
    buf_put(out, data, len);
}

static void put_addresses(struct buf *out, unsigned type, unsigned count, unsigned ttl)
{
    unsigned char v4[] = {192, 0, 2, 0};
    unsigned char v6[] = {0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0};

    for (unsigned i = 1; i <= count; i++) {
        v4[3] = (unsigned char)i;
        v6[15] = (unsigned char)i;
        if (type == ns_t_a)
            put_record(out, type, ttl, v4, sizeof(v4));
        else
            put_record(out, type, ttl, v6, sizeof(v6));
    }
}

/* The name as text; returns the question's length. */
static size_t read_question(const unsigned char *at, char name[256], unsigned *type)
{
    size_t i = 0;

    name[0] = '\0';
    while (at[i] != 0) {
        size_t used = strlen(name);
        snprintf(name + used, 256 - used, "%s%.*s", used > 0 ? "." : "", at[i],
                 (const char *)at + i + 1);
        i += at[i] + 1U;
    }
    *type = (unsigned)at[i + 1] << 8 | at[i + 2];
    return i + 5;
}

static void put_answer(struct buf *out, const struct zone *zone, unsigned type,
                       const unsigned char *query, size_t question_len)
{
    bool a = type == ns_t_a;
    unsigned count = a ? zone->a_count : zone->aaaa_count;

    buf_put(out, query, 2);
    put_u16(out, 0x8180U | (unsigned)(a ? zone->a_code : zone->aaaa_code));
    put_u16(out, 1);
    put_u16(out, count + (zone->alias_ttl > 0 ? 1 : 0));
    put_u16(out, 0);
    put_u16(out, 0);
    buf_put(out, query + 12, question_len);
    if (zone->alias_ttl > 0)
        put_record(out, ns_t_cname, zone->alias_ttl, "\xc0\x0c", 2);
    put_addresses(out, type, count, a ? zone->a_ttl : zone->aaaa_ttl);
}

static void on_question(evutil_socket_t fd, short what, void *arg)
{
    struct server *server = arg;
    unsigned char query[512] = {0};
    struct sockaddr_in from;
    socklen_t from_len = sizeof(from);
    char name[256];
    unsigned type;
    struct buf out;
    (void)what;

    ssize_t n = recvfrom(fd, query, sizeof(query) - 1, 0, (struct sockaddr *)&from, &from_len);
    assert_true(n > 12);
    size_t question_len = read_question(query + 12, name, &type);
    const struct zone *zone = NULL;
    for (size_t i = 0; i < sizeof(zones) / sizeof(zones[0]); i++) {
        if (strcmp(zones[i].name, name) == 0)
            zone = &zones[i];
    }
    assert_non_null(zone);
    server->questions++;
    if (zone->a_code == SILENT)
        return;
    buf_init(&out, 4096);
    put_answer(&out, zone, type, query, question_len);
    assert_false(out.overflow);
    sendto(fd, out.ptr, out.len, 0, (struct sockaddr *)&from, from_len);
    buf_clear(&out);
}

static void server_init(struct server *server, struct event_base *base)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t len = sizeof(address);

    server->fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    assert_int_equal(bind(server->fd, (struct sockaddr *)&address, len), 0);
    assert_int_equal(getsockname(server->fd, (struct sockaddr *)&address, &len), 0);
    snprintf(server->address, sizeof(server->address), "127.0.0.1:%u", ntohs(address.sin_port));
    server->event = event_new(base, server->fd, EV_READ | EV_PERSIST, on_question, server);
    event_add(server->event, NULL);
}

/* ---- the tests ---- */

struct fixture {
    struct event_base *base;
    struct server server;
    struct dns *dns;
    struct dns_result result;
    unsigned answers;
    bool destroys; /* the resolver, within the callback */
};

static int setup(void **state)
{
    struct fixture *fixture = mem_alloc(sizeof(*fixture));
    struct err err;

    fixture->base = loop_create();
    server_init(&fixture->server, fixture->base);
    fixture->dns =
        dns_create(fixture->base,
                   &(struct dns_options){str_of(fixture->server.address), false, false, 200}, &err);
    assert_non_null(fixture->dns);
    *state = fixture;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;

    dns_destroy(fixture->dns);
    event_free(fixture->server.event);
    close(fixture->server.fd);
    event_base_free(fixture->base);
    free(fixture);
    return 0;
}

static void on_result(void *arg, const struct dns_result *result)
{
    struct fixture *fixture = arg;

    fixture->answers++;
    if (fixture->destroys) {
        struct dns *dns = fixture->dns;
        fixture->destroys = false;
        fixture->dns = NULL;
        dns_destroy(dns);
        assert_int_equal(fixture->result.status, DNS_CANCELLED); /* the other one's */
    }
    fixture->result = *result;
    event_base_loopbreak(fixture->base);
}

static void run(struct fixture *fixture)
{
    struct timeval limit = {30, 0};

    event_base_loopexit(fixture->base, &limit);
    event_base_dispatch(fixture->base);
    assert_true(event_base_got_break(fixture->base));
}

static void look_up(struct fixture *fixture, struct str name)
{
    unsigned before = fixture->answers;

    dns_lookup(fixture->dns, name, on_result, fixture);
    assert_int_equal(fixture->answers, before); /* never before it returns */
    run(fixture);
    assert_int_equal(fixture->answers, before + 1);
}

static void each_answer_has_its_status(void **state)
{
    static const struct {
        const char *name;
        enum dns_status status;
        size_t v4, v6;
        uint32_t ttl_s;
    } cases[] = {
        {"both.test", DNS_FOUND, 1, 1, 60},      {"v4.test", DNS_FOUND, 2, 0, 300},
        {"both.test.", DNS_FOUND, 1, 1, 60},     {"alias.test", DNS_FOUND, 1, 0, 10},
        {"many.test", DNS_FOUND, 8, 8, 30},      {"missing.test", DNS_NO_NAME, 0, 0, 0},
        {"empty.test", DNS_NO_NAME, 0, 0, 0},    {"broken.test", DNS_NO_ANSWER, 0, 0, 0},
        {"v4only.test", DNS_FOUND, 1, 0, 20},    {"halfbroken.test", DNS_NO_ANSWER, 0, 0, 0},
        {"silent.test", DNS_NO_ANSWER, 0, 0, 0},
    };
    struct fixture *fixture = *state;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        size_t v4 = 0;
        look_up(fixture, str_of(cases[i].name));
        const struct dns_result *result = &fixture->result;
        assert_int_equal(result->status, cases[i].status);
        for (size_t at = 0; at < result->count; at++)
            v4 += result->addresses[at].family == AF_INET;
        assert_int_equal(v4, cases[i].v4);
        assert_int_equal(result->count - v4, cases[i].v6);
        assert_int_equal(result->ttl_s, cases[i].ttl_s);
    }
    assert_int_equal(fixture->server.questions, 2 * sizeof(cases) / sizeof(cases[0]));
    assert_int_equal(dns_queries_sent(fixture->dns), fixture->server.questions);
}

static void addresses_are_those_of_the_answer(void **state)
{
    struct fixture *fixture = *state;
    char text[INET6_ADDRSTRLEN];

    look_up(fixture, STR("both.test"));
    const struct dns_address *found = fixture->result.addresses;
    inet_ntop(found[0].family, &found[0].ip, text, sizeof(text));
    assert_string_equal(text, "192.0.2.1");
    inet_ntop(found[1].family, &found[1].ip, text, sizeof(text));
    assert_string_equal(text, "2001:db8::1");
}

static void without_ipv6_only_addresses_of_use_are_asked_for(void **state)
{
    struct fixture *fixture = *state;
    struct err err;
    const struct dns_options options = {
        .servers = str_of(fixture->server.address), .v4_only = true, .timeout_ms = 200};

    dns_destroy(fixture->dns);
    fixture->dns = dns_create(fixture->base, &options, &err);
    look_up(fixture, STR("both.test"));
    assert_int_equal(fixture->result.status, DNS_FOUND);
    for (size_t i = 0; i < fixture->result.count; i++)
        assert_int_equal(fixture->result.addresses[i].family, AF_INET);
    assert_int_equal(fixture->result.count, 1);
    assert_int_equal(dns_queries_sent(fixture->dns), 1);
}

static void literals_are_answered_without_asking(void **state)
{
    static const struct {
        const char *host;
        int family;
        const char *text;
    } cases[] = {
        {"192.0.2.77", AF_INET, "192.0.2.77"},
        {"2001:db8::5", AF_INET6, "2001:db8::5"},
        {"[2001:db8::5]", AF_INET6, "2001:db8::5"},
        {"localhost", AF_INET, "127.0.0.1"},
    };
    struct fixture *fixture = *state;
    char text[INET6_ADDRSTRLEN];

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        look_up(fixture, str_of(cases[i].host));
        const struct dns_address *found = fixture->result.addresses;
        assert_int_equal(fixture->result.status, DNS_FOUND);
        assert_int_equal(found[0].family, cases[i].family);
        inet_ntop(found[0].family, &found[0].ip, text, sizeof(text));
        assert_string_equal(text, cases[i].text);
    }
    assert_int_equal(dns_queries_sent(fixture->dns), 0);
}

static void names_that_can_not_be_asked_for(void **state)
{
    static const char long_label[] =
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.test";
    const struct str names[] = {
        STR(""),     STR("."),        STR("a..test"),       STR(".test"),
        STR("a b"),  STR("a\0b"),     STR("\xc3\xa4.test"), str_of(long_label),
        STR("[::1"), STR("a.test.."), STR("fe80::1%lo")};
    struct fixture *fixture = *state;

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        look_up(fixture, names[i]);
        assert_int_equal(fixture->result.status, DNS_BAD_NAME);
    }
    assert_int_equal(dns_queries_sent(fixture->dns), 0);
}

static void a_cancelled_look_up_never_calls_back(void **state)
{
    struct fixture *fixture = *state;

    dns_cancel(dns_lookup(fixture->dns, STR("both.test"), on_result, NULL));
    dns_cancel(dns_lookup(fixture->dns, STR("192.0.2.1"), on_result, NULL));
    look_up(fixture, STR("silent.test")); /* outlasts them */
    assert_int_equal(fixture->answers, 1);
}

static void what_is_outstanding_ends_as_cancelled(void **state)
{
    struct fixture *fixture = *state;

    dns_lookup(fixture->dns, STR("silent.test"), on_result, fixture);
    dns_lookup(fixture->dns, STR("both.test"), on_result, fixture);
    dns_lookup(fixture->dns, STR("192.0.2.1"), on_result, fixture);
    dns_destroy(fixture->dns);
    fixture->dns = NULL;
    assert_int_equal(fixture->answers, 3);
    assert_int_equal(fixture->result.status, DNS_CANCELLED);
}

static void a_callback_may_destroy_the_resolver(void **state)
{
    struct fixture *fixture = *state;

    dns_lookup(fixture->dns, STR("silent.test"), on_result, fixture);
    fixture->destroys = true;
    dns_lookup(fixture->dns, STR("both.test"), on_result, fixture);
    run(fixture);
    assert_int_equal(fixture->answers, 2);
    assert_int_equal(fixture->result.status, DNS_FOUND);
}

static void unusable_servers_are_refused(void **state)
{
    struct fixture *fixture = *state;
    struct err err;

    assert_null(
        dns_create(fixture->base, &(struct dns_options){STR("resolver"), false, false, 200}, &err));
    assert_int_equal(err.code, FP_INVALID);
    struct dns *dns = dns_create(
        fixture->base, &(struct dns_options){STR("[::1]:5353,192.0.2.1"), false, true, 200}, &err);
    assert_non_null(dns);
    dns_destroy(dns);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(each_answer_has_its_status, setup, teardown),
        cmocka_unit_test_setup_teardown(addresses_are_those_of_the_answer, setup, teardown),
        cmocka_unit_test_setup_teardown(without_ipv6_only_addresses_of_use_are_asked_for, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(literals_are_answered_without_asking, setup, teardown),
        cmocka_unit_test_setup_teardown(names_that_can_not_be_asked_for, setup, teardown),
        cmocka_unit_test_setup_teardown(a_cancelled_look_up_never_calls_back, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_outstanding_ends_as_cancelled, setup, teardown),
        cmocka_unit_test_setup_teardown(a_callback_may_destroy_the_resolver, setup, teardown),
        cmocka_unit_test_setup_teardown(unusable_servers_are_refused, setup, teardown),
    };
    if (sodium_init() == -1)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
