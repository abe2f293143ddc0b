/* The cache in front of the resolver, against a name server on loopback, on a clock of the test's
 * choice. What a name is called says how the server answers it. */
#include <arpa/nameser.h>
#include <netinet/in.h>
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

enum { MAX_HELD = 1024, PER_S = 200 };

struct question {
    unsigned char bytes[512];
    size_t len;
    struct sockaddr_in from;
};

struct fixture {
    struct event_base *base;
    int fd;
    struct event *event;
    unsigned asked; /* for A records */
    struct question held[MAX_HELD];
    size_t held_count;
    bool release; /* "hold…" is answered too */
    bool failing; /* "fail…" is answered with SERVFAIL */

    int64_t now_ms;
    int64_t step_ms; /* added at each reading */
    struct clock clock;
    struct dns *dns;
    struct resolver *resolver;

    struct dns_result result;
    unsigned answers;
    unsigned wanted;
    bool done;
    const char *then; /* asked for within the callback */
};

/* --- the name server: what the first label says, as hold7.test, missing.test, broken.test,
 * ttl60.test, lie60.test (missing when it is asked for first) --- */

/* Behind the header and the name. */
static size_t type_at(const struct question *q)
{
    size_t at = 12;

    while (q->bytes[at] != 0)
        at += q->bytes[at] + 1U;
    assert_true(at + 5 <= q->len);
    return at + 1;
}

static unsigned type_of(const struct question *q)
{
    return q->bytes[type_at(q) + 1]; /* its low byte */
}

static void reply(struct fixture *f, struct question *q)
{
    const char *label = (const char *)q->bytes + 13;
    unsigned char out[600];
    unsigned ttl = 60;
    size_t len = type_at(q) + 4;
    bool a = type_of(q) == ns_t_a;

    memcpy(out, q->bytes, len);
    out[2] = 0x81;
    out[3] = 0x80;
    memset(out + 6, 0, 6);
    if (strncmp(label, "missing", 7) == 0 || (strncmp(label, "lie", 3) == 0 && f->asked == 1)) {
        out[3] |= ns_r_nxdomain;
    } else if (strncmp(label, "broken", 6) == 0 || (strncmp(label, "fail", 4) == 0 && f->failing) ||
               strncmp(label, "lie-broken", 10) == 0) {
        out[3] |= ns_r_servfail;
    } else if (a) {
        sscanf(label, "ttl%u", &ttl);
        const unsigned char record[] = {0xc0,
                                        0x0c,
                                        0,
                                        ns_t_a,
                                        0,
                                        ns_c_in,
                                        (unsigned char)(ttl >> 24),
                                        (unsigned char)(ttl >> 16),
                                        (unsigned char)(ttl >> 8),
                                        (unsigned char)ttl,
                                        0,
                                        4,
                                        192,
                                        0,
                                        2,
                                        1};
        out[7] = 1;
        memcpy(out + len, record, sizeof(record));
        len += sizeof(record);
    }
    sendto(f->fd, out, len, 0, (struct sockaddr *)&q->from, sizeof(q->from));
}

static void on_question(evutil_socket_t fd, short what, void *arg)
{
    struct fixture *f = arg;
    struct question q = {.len = 0};
    socklen_t from_len = sizeof(q.from);
    (void)what;

    ssize_t n =
        recvfrom(fd, q.bytes, sizeof(q.bytes) - 1, 0, (struct sockaddr *)&q.from, &from_len);
    assert_true(n > 12 + 4);
    q.len = (size_t)n;
    q.bytes[n] = 0;
    f->asked += type_of(&q) == ns_t_a;
    if (strncmp((const char *)q.bytes + 13, "hold", 4) != 0 || f->release) {
        reply(f, &q);
        return;
    }
    assert_true(f->held_count < MAX_HELD);
    f->held[f->held_count++] = q;
}

static void release(struct fixture *f)
{
    f->release = true;
    while (f->held_count > 0)
        reply(f, &f->held[--f->held_count]);
}

/* --- the fixture --- */

static int64_t mono_ms(void *arg)
{
    struct fixture *f = arg;
    return f->now_ms += f->step_ms;
}

static int start(void **state)
{
    struct fixture *f = mem_alloc(sizeof(*f));
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t len = sizeof(address);
    char servers[32];
    struct err err;

    f->base = loop_create();
    f->fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    setsockopt(f->fd, SOL_SOCKET, SO_RCVBUF, &(int){1 << 20}, sizeof(int)); /* all that is asked */
    assert_int_equal(bind(f->fd, (struct sockaddr *)&address, len), 0);
    assert_int_equal(getsockname(f->fd, (struct sockaddr *)&address, &len), 0);
    f->event = event_new(f->base, f->fd, EV_READ | EV_PERSIST, on_question, f);
    event_add(f->event, NULL);
    snprintf(servers, sizeof(servers), "127.0.0.1:%u", ntohs(address.sin_port));
    f->dns = dns_create(
        f->base, &(struct dns_options){.servers = str_of(servers), .timeout_ms = 10000}, &err);
    assert_non_null(f->dns);
    f->now_ms = 1000000;
    f->clock = (struct clock){mono_ms, NULL, f};
    f->resolver = resolver_create(
        f->base, &f->clock, f->dns,
        &(struct resolver_options){.per_s = PER_S, .own_name = STR("hold-own.test")});
    *state = f;
    return 0;
}

static int end(void **state)
{
    struct fixture *f = *state;

    resolver_destroy(f->resolver);
    dns_destroy(f->dns);
    event_free(f->event);
    close(f->fd);
    event_base_free(f->base);
    free(f);
    return 0;
}

static void on_result(void *arg, const struct dns_result *result);

static struct resolve_wait *ask(struct fixture *f, const char *host)
{
    unsigned before = f->answers;
    struct resolve_wait *wait = resolver_ask(f->resolver, str_of(host), on_result, f);
    assert_int_equal(f->answers, before); /* never before it returns */
    return wait;
}

static void on_result(void *arg, const struct dns_result *result)
{
    struct fixture *f = arg;
    const char *then = f->then;

    f->then = NULL;
    if (then != NULL)
        ask(f, then);
    f->result = *result;
    f->answers++;
    f->done = f->answers >= f->wanted;
}

static void wait_for(struct fixture *f, unsigned answers)
{
    f->wanted = answers;
    f->done = f->answers >= answers;
    server_wait(f->base, &f->done);
    assert_int_equal(f->answers, answers);
}

static void look_up(struct fixture *f, const char *host)
{
    ask(f, host);
    wait_for(f, f->answers + 1);
}

/* --- tests --- */

/* The answer lives for exactly so long. */
static void expect_life(struct fixture *f, const char *host, enum dns_status status, int64_t ms)
{
    f->asked = 0;
    look_up(f, host);
    assert_int_equal(f->result.status, status);
    assert_int_equal(f->asked, 1);
    f->now_ms += ms - 1;
    look_up(f, host);
    assert_int_equal(f->result.status, status);
    assert_int_equal(f->asked, 1);
    f->now_ms += 1;
    look_up(f, host);
    assert_int_equal(f->asked, 2);
}

static void answers_live_for_their_ttl_within_bounds(void **state)
{
    struct fixture *f = *state;

    expect_life(f, "ttl60.test", DNS_FOUND, 60 * 1000);
    assert_int_equal(f->result.count, 1);
    assert_int_equal(f->result.addresses[0].ip.v4.s_addr, htonl(0xc0000201));
    expect_life(f, "ttl0.test", DNS_FOUND, 5 * 1000);
    expect_life(f, "ttl86400.test", DNS_FOUND, 3600 * 1000);
}

/* Once by others' answers of the last second, then by that of a name that is asked again. */
static void a_name_without_an_answer_is_to_blame_while_others_get_theirs(void **state)
{
    struct fixture *f = *state;

    look_up(f, "ttl60.test");
    look_up(f, "broken1.test");
    assert_int_equal(f->result.status, DNS_UNSERVED);
    assert_int_equal(f->asked, 2);
    f->now_ms += 1000;
    look_up(f, "broken2.test");
    assert_int_equal(f->result.status, DNS_UNSERVED);
    assert_int_equal(f->asked, 4);
    f->now_ms += 4000 - 1;
    look_up(f, "broken1.test"); /* that lives for 5 s */
    assert_int_equal(f->asked, 4);
    f->now_ms += 1;
    look_up(f, "broken1.test");
    assert_int_equal(f->result.status, DNS_UNSERVED);
    assert_int_equal(f->asked, 6);
}

static void without_any_answer_the_resolver_is_to_blame(void **state)
{
    struct fixture *f = *state;

    look_up(f, "fail-later.test");
    f->failing = true;
    f->now_ms += 60 * 1000;
    ask(f, "broken1.test");
    ask(f, "broken2.test");
    ask(f, "broken3.test");
    wait_for(f, 4);
    assert_int_equal(f->result.status, DNS_NO_ANSWER);
    assert_in_range(f->asked, 5, 7); /* one question more for all who wait for it */
    f->release = true;               /* the one that failed as a witness isn't the next one */
    f->now_ms += 5 * 1000;
    look_up(f, "broken1.test");
    assert_int_equal(f->result.status, DNS_UNSERVED);
}

/* Who has found no name yet asks for our own. */
static void our_own_name_is_the_first_witness(void **state)
{
    struct fixture *f = *state;

    ask(f, "broken.test");
    for (int i = 0; i < 1500 && f->held_count == 0; i++)
        server_run(f->base, 20);
    assert_true(f->held_count > 0);
    assert_int_equal(f->answers, 0);
    release(f);
    wait_for(f, 1);
    assert_int_equal(f->result.status, DNS_UNSERVED);
}

/* However long ago it was found, and however many others were missing before it. */
static void a_name_that_was_found_is_a_witness_among_many_that_are_missing(void **state)
{
    struct fixture *f = *state;
    char host[64];

    for (int i = 0; i < 70; i++) {
        f->now_ms += 20;
        snprintf(host, sizeof(host), "missing%d.test", i);
        look_up(f, host);
    }
    for (int i = 0; i < 70; i++) { /* nor is one of these that nobody asked for within the day */
        f->now_ms += 20;
        snprintf(host, sizeof(host), "ttl%d.test", 60 + i);
        look_up(f, host);
    }
    f->now_ms += 26 * 3600 * 1000;
    look_up(f, "ttl300.test");
    f->now_ms += 3000;
    look_up(f, "broken.test");
    assert_int_equal(f->result.status, DNS_UNSERVED);
}

/* As on most servers, whose own name stands in /etc/hosts. */
static void our_own_name_is_asked_for_whatever_the_hosts_file_says(void **state)
{
    struct fixture *f = *state;
    const struct resolver_options options = {.per_s = PER_S, .own_name = STR("own.localhost")};

    resolver_destroy(f->resolver);
    f->resolver = resolver_create(f->base, &f->clock, f->dns, &options);
    look_up(f, "broken.test");
    assert_int_equal(f->result.status, DNS_UNSERVED);
    assert_int_equal(f->asked, 2);
    look_up(f, "own.localhost"); /* who delivers there goes by it */
    assert_int_equal(f->result.status, DNS_FOUND);
    assert_int_equal(f->result.addresses[0].ip.v4.s_addr, htonl(INADDR_LOOPBACK));
    assert_int_equal(f->asked, 2);
}

/* An answer to anybody else decides, too. */
static void any_answer_ends_the_doubt(void **state)
{
    struct fixture *f = *state;

    ask(f, "broken.test");
    for (int i = 0; i < 1500 && f->held_count == 0; i++)
        server_run(f->base, 20);
    ask(f, "ttl60.test");
    wait_for(f, 2);
    assert_true(f->held_count > 0);
    look_up(f, "broken.test");
    assert_int_equal(f->result.status, DNS_UNSERVED);
}

/* Its server stops to answer about a name that was found. */
static void let_expire(struct fixture *f, const char *host)
{
    f->release = true;
    look_up(f, host);
    f->release = false;
    f->now_ms += 60 * 1000;
}

static void old_addresses_are_given_when_no_fresh_ones_come(void **state)
{
    struct fixture *f = *state;

    let_expire(f, "hold.test");
    ask(f, "hold.test");
    server_run(f->base, 300);
    assert_int_equal(f->answers, 1);
    f->now_ms += 199;
    server_run(f->base, 300);
    assert_int_equal(f->answers, 1);
    f->now_ms += 1;
    wait_for(f, 2);
    assert_int_equal(f->result.status, DNS_FOUND);
    look_up(f, "hold.test"); /* and now at once, while the question is open */
    assert_int_equal(f->asked, 2);
    release(f);
    server_run(f->base, 100);
    f->now_ms += 60 * 1000 - 1;
    look_up(f, "hold.test");
    assert_int_equal(f->asked, 2); /* what came is fresh */
}

static void old_addresses_are_given_for_a_day(void **state)
{
    struct fixture *f = *state;

    let_expire(f, "hold.test");
    f->now_ms += 24 * 3600 * 1000 - 1;
    ask(f, "hold.test");
    server_run(f->base, 50);
    f->now_ms += 200;
    wait_for(f, 2);
    release(f);
    server_run(f->base, 100);
    let_expire(f, "hold.test");
    f->now_ms += 24 * 3600 * 1000;
    ask(f, "hold.test");
    server_run(f->base, 50);
    f->now_ms += 10 * 1000;
    server_run(f->base, 300);
    assert_int_equal(f->answers, 3);
}

static void a_resolver_that_fails_leaves_old_addresses(void **state)
{
    struct fixture *f = *state;

    look_up(f, "fail-later.test");
    assert_int_equal(f->result.status, DNS_FOUND);
    f->failing = true;
    f->now_ms += 60 * 1000;
    look_up(f, "fail-later.test");
    assert_int_equal(f->result.status, DNS_FOUND);
    assert_int_equal(f->asked, 2);
    f->now_ms += 5 * 1000 - 1;
    look_up(f, "fail-later.test");
    assert_int_equal(f->asked, 2);
    f->now_ms += 1;
    look_up(f, "fail-later.test");
    assert_int_equal(f->asked, 3);
}

static void a_missing_name_is_asked_for_twice(void **state)
{
    struct fixture *f = *state;

    look_up(f, "missing.test");
    assert_int_equal(f->result.status, DNS_NO_NAME);
    assert_int_equal(f->asked, 2);
    f->now_ms += 60 * 1000 - 1;
    look_up(f, "missing.test");
    assert_int_equal(f->asked, 2);
    f->now_ms += 1;
    look_up(f, "missing.test");
    assert_int_equal(f->result.status, DNS_NO_NAME);
    assert_int_equal(f->asked, 3); /* what it said before counts */
}

static void a_resolver_that_errs_once_is_not_believed(void **state)
{
    struct fixture *f = *state;

    look_up(f, "lie60.test");
    assert_int_equal(f->result.status, DNS_FOUND);
    assert_int_equal(f->asked, 2);
    f->asked = 0;
    look_up(f, "lie-broken.test");
    assert_int_equal(f->result.status, DNS_UNSERVED);
}

static void one_look_up_answers_all_who_ask(void **state)
{
    struct fixture *f = *state;

    ask(f, "ttl60.test");
    ask(f, "ttl60.test");
    ask(f, "ttl60.test");
    wait_for(f, 3);
    assert_int_equal(f->asked, 1);
    assert_int_equal(resolver_cached(f->resolver), 1);
}

static void a_cancelled_wait_is_not_answered(void **state)
{
    struct fixture *f = *state;

    resolver_cancel(ask(f, "ttl60.test"));
    ask(f, "ttl60.test");
    wait_for(f, 1);
    resolver_cancel(ask(f, "ttl60.test")); /* its answer is there, and on its way */
    ask(f, "ttl60.test");
    wait_for(f, 2);
    server_run(f->base, 30);
    assert_int_equal(f->answers, 2);
    assert_int_equal(f->asked, 1);
}

static void a_callback_may_ask_again(void **state)
{
    struct fixture *f = *state;

    f->then = "ttl60.test"; /* the one being answered */
    ask(f, "ttl60.test");
    wait_for(f, 2);
    f->then = "missing.test";
    ask(f, "ttl60.test");
    wait_for(f, 4);
    assert_int_equal(f->result.status, DNS_NO_NAME);
}

static void ask_many(struct fixture *f, const char *prefix, int count)
{
    char host[64];

    for (int i = 0; i < count; i++) {
        snprintf(host, sizeof(host), "%s%d.test", prefix, i);
        ask(f, host);
    }
}

static void at_most_256_look_ups_run_at_once(void **state)
{
    struct fixture *f = *state;

    f->step_ms = 1000;             /* their rate bounds nothing */
    for (int i = 0; i < 12; i++) { /* no more at once than the server's socket holds */
        const char prefix[] = {'h', 'o', 'l', 'd', (char)('a' + i), '\0'};
        ask_many(f, prefix, 50);
        server_run(f->base, 20);
    }
    assert_int_equal(f->asked, 256);
    assert_int_equal(f->answers, 0);
    release(f);
    wait_for(f, 600);
    assert_int_equal(f->asked, 600);
}

static void look_ups_begin_at_their_rate(void **state)
{
    struct fixture *f = *state;
    unsigned burst = PER_S / 10;

    ask_many(f, "ttl", 3 * PER_S);
    wait_for(f, burst);
    server_run(f->base, 200);
    assert_int_equal(f->asked, burst);
    for (int i = 0; i < 10; i++) { /* a second, in which the bucket is never full */
        f->now_ms += 50;
        server_run(f->base, 100);
        f->now_ms += 50;
        server_run(f->base, 100);
    }
    assert_in_range(f->asked, burst + PER_S - 2, burst + PER_S);
}

static void entries_are_bounded(void **state)
{
    struct fixture *f = *state;
    char host[64];

    f->step_ms = 1000; /* a fresh budget at each look: addresses need no server */
    for (int i = 0; i < 20050; i++) {
        snprintf(host, sizeof(host), "10.0.%d.%d", i / 250, i % 250);
        ask(f, host);
        if (i % 50 == 49)
            wait_for(f, (unsigned)i + 1);
    }
    assert_int_equal(resolver_cached(f->resolver), 20000);
}

/* Whoever asks then need not wait for the name server. */
static void a_foreseen_name_is_there_when_it_is_asked_for(void **state)
{
    struct fixture *f = *state;

    resolver_foresee(f->resolver, STR("hold.test"));
    for (int i = 0; i < 1500 && f->asked == 0; i++)
        server_run(f->base, 20);
    assert_int_equal(f->asked, 1);
    resolver_foresee(f->resolver, STR("hold.test"));
    release(f);
    look_up(f, "hold.test");
    assert_int_equal(f->result.status, DNS_FOUND);
    assert_int_equal(f->asked, 1);
}

static void nobody_is_called_after_the_end(void **state)
{
    struct fixture *f = *state;

    ask(f, "hold.test");
    ask(f, "ttl60.test");
    wait_for(f, 1);
    ask(f, "ttl60.test"); /* its answer would come in the next turn */
    resolver_destroy(f->resolver);
    f->resolver = NULL;
    release(f);
    server_run(f->base, 50);
    assert_int_equal(f->answers, 1);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, start, end)
    const struct CMUnitTest tests[] = {
        TEST(answers_live_for_their_ttl_within_bounds),
        TEST(a_name_without_an_answer_is_to_blame_while_others_get_theirs),
        TEST(without_any_answer_the_resolver_is_to_blame),
        TEST(our_own_name_is_the_first_witness),
        TEST(a_name_that_was_found_is_a_witness_among_many_that_are_missing),
        TEST(our_own_name_is_asked_for_whatever_the_hosts_file_says),
        TEST(any_answer_ends_the_doubt),
        TEST(old_addresses_are_given_when_no_fresh_ones_come),
        TEST(old_addresses_are_given_for_a_day),
        TEST(a_resolver_that_fails_leaves_old_addresses),
        TEST(a_missing_name_is_asked_for_twice),
        TEST(a_resolver_that_errs_once_is_not_believed),
        TEST(one_look_up_answers_all_who_ask),
        TEST(a_cancelled_wait_is_not_answered),
        TEST(a_callback_may_ask_again),
        TEST(at_most_256_look_ups_run_at_once),
        TEST(look_ups_begin_at_their_rate),
        TEST(entries_are_bounded),
        TEST(a_foreseen_name_is_there_when_it_is_asked_for),
        TEST(nobody_is_called_after_the_end),
    };
    if (sodium_init() < 0)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
