/* The way to the master, through Sentinels and past servers that no longer are one: against peers
 * of this test's own, on loopback, that answer by a script. */
#include <arpa/inet.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/listener.h>
#include <setjmp.h>
#include <signal.h>
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

#include "base/clock.h"
#include "base/loop.h"
#include "base/redis.h"
#include "base/redis_sentinel.h"

/* ---- peers ---- */

enum { MAX_SEEN = 1024 };

/* What it says to each of these commands; NULL: nothing. To all others it says +OK. */
struct peer {
    struct evconnlistener *listener;
    unsigned port;
    const char *auth, *sentinel, *role, *ping;
    unsigned connections; /* so far */
    unsigned open;        /* of them, now */
    char seen[MAX_SEEN];  /* every command's words, a line each */
};

struct visit {
    struct peer *peer;
    redisReader *reader;
};

static const char *answer_of(const struct peer *peer, const char *command)
{
    if (strcmp(command, "AUTH") == 0)
        return peer->auth;
    if (strcmp(command, "SENTINEL") == 0)
        return peer->sentinel;
    if (strcmp(command, "ROLE") == 0)
        return peer->role;
    return strcmp(command, "PING") == 0 ? peer->ping : "+OK\r\n";
}

static void on_peer_read(struct bufferevent *stream, void *arg)
{
    struct visit *visit = arg;
    struct evbuffer *input = bufferevent_get_input(stream);
    size_t len = evbuffer_get_length(input);
    void *parsed = NULL;

    redisReaderFeed(visit->reader, (const char *)evbuffer_pullup(input, -1), len);
    evbuffer_drain(input, len);
    while (redisReaderGetReply(visit->reader, &parsed) == REDIS_OK && parsed != NULL) {
        const redisReply *command = parsed;
        for (size_t i = 0; i < command->elements; i++) {
            size_t used = strlen(visit->peer->seen);
            snprintf(visit->peer->seen + used, MAX_SEEN - used, "%s%c", command->element[i]->str,
                     i + 1 < command->elements ? ' ' : '\n');
        }
        const char *answer = answer_of(visit->peer, command->element[0]->str);
        if (answer != NULL)
            bufferevent_write(stream, answer, strlen(answer));
        freeReplyObject(parsed);
    }
}

static void on_peer_event(struct bufferevent *stream, short what, void *arg)
{
    struct visit *visit = arg;
    (void)what;

    visit->peer->open--;
    redisReaderFree(visit->reader);
    free(visit);
    bufferevent_free(stream);
}

static void on_visit(struct evconnlistener *listener, evutil_socket_t fd, struct sockaddr *from,
                     int len, void *arg)
{
    struct visit *visit = mem_alloc(sizeof(*visit));
    struct bufferevent *stream =
        bufferevent_socket_new(evconnlistener_get_base(listener), fd, BEV_OPT_CLOSE_ON_FREE);
    (void)from;
    (void)len;

    *visit = (struct visit){arg, redisReaderCreate()};
    visit->peer->connections++;
    visit->peer->open++;
    bufferevent_setcb(stream, on_peer_read, NULL, on_peer_event, visit);
    bufferevent_enable(stream, EV_READ | EV_WRITE);
}

static void peer_open(struct peer *peer, struct event_base *base)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t len = sizeof(address);

    *peer = (struct peer){.auth = "+OK\r\n", .ping = "+PONG\r\n", .role = "*1\r\n$6\r\nmaster\r\n"};
    peer->listener =
        evconnlistener_new_bind(base, on_visit, peer, LEV_OPT_CLOSE_ON_FREE | LEV_OPT_REUSEABLE, 8,
                                (struct sockaddr *)&address, sizeof(address));
    assert_non_null(peer->listener);
    assert_int_equal(
        getsockname(evconnlistener_get_fd(peer->listener), (struct sockaddr *)&address, &len), 0);
    peer->port = ntohs(address.sin_port);
}

/* ---- the fixture: two Sentinels, two servers ---- */

struct fixture {
    struct event_base *base;
    struct dns *dns;
    struct redis_endpoint endpoint;
    struct redis *redis;
    struct peer one, two, first, second;
    char addresses[2][64]; /* of `first` and `second`, as a Sentinel says them */
    char log[64];          /* r ready, l lost, + replied, ! error reply, x lost command */
    char reason[256];
    char until;
};

static void happened(struct fixture *fixture, char what)
{
    size_t len = strlen(fixture->log);

    if (len < sizeof(fixture->log) - 1)
        fixture->log[len] = what;
    if (what == fixture->until)
        event_base_loopbreak(fixture->base);
}

static void on_ready(void *arg)
{
    happened(arg, 'r');
}

static void on_lost(void *arg, const char *reason)
{
    struct fixture *fixture = arg;

    snprintf(fixture->reason, sizeof(fixture->reason), "%s", reason);
    happened(fixture, 'l');
}

static void on_reply(void *arg, enum redis_status status, const redisReply *reply)
{
    char what = 'x';
    if (status == REDIS_REPLIED)
        what = reply->type == REDIS_REPLY_ERROR ? '!' : '+';
    happened(arg, what);
}

static void run_until(struct fixture *fixture, char what)
{
    struct timeval limit = {30, 0};

    fixture->until = what;
    event_base_loopexit(fixture->base, &limit);
    event_base_dispatch(fixture->base);
    if (!event_base_got_break(fixture->base))
        fail_msg("waited for '%c' in vain; log \"%s\", reason \"%s\"", what, fixture->log,
                 fixture->reason);
}

static void open_url(struct fixture *fixture, const char *url)
{
    static const struct redis_handlers handlers = {on_ready, on_lost};
    struct err err;

    assert_int_equal(redis_endpoint_parse(&fixture->endpoint, str_of(url), STR_NULL, &err), FP_OK);
    fixture->redis =
        redis_create(fixture->base, fixture->dns, &fixture->endpoint, "test", &handlers, fixture);
}

static void open_by_sentinels(struct fixture *fixture, const char *userinfo, const char *query)
{
    char url[256];

    snprintf(url, sizeof(url), "redis+sentinel://%s127.0.0.1:%u,127.0.0.1:%u/main/0?%s", userinfo,
             fixture->one.port, fixture->two.port, query);
    open_url(fixture, url);
}

static void ping(struct fixture *fixture)
{
    const struct str words[] = {STR("PING")};
    redis_send(fixture->redis, on_reply, fixture, 1, words);
}

static int setup(void **state)
{
    struct fixture *fixture = mem_alloc(sizeof(*fixture));
    struct err err;

    fixture->base = loop_create();
    fixture->dns = dns_create(fixture->base,
                              &(struct dns_options){STR("127.0.0.1:9"), false, false, 200}, &err);
    assert_non_null(fixture->dns);
    peer_open(&fixture->one, fixture->base);
    peer_open(&fixture->two, fixture->base);
    peer_open(&fixture->first, fixture->base);
    peer_open(&fixture->second, fixture->base);
    for (int i = 0; i < 2; i++)
        snprintf(fixture->addresses[i], sizeof(fixture->addresses[i]),
                 "*2\r\n$9\r\n127.0.0.1\r\n$5\r\n%05u\r\n",
                 i == 0 ? fixture->first.port : fixture->second.port);
    fixture->one.sentinel = fixture->two.sentinel = fixture->addresses[0];
    *state = fixture;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;
    struct peer *peers[] = {&fixture->one, &fixture->two, &fixture->first, &fixture->second};

    redis_destroy(fixture->redis);
    redis_endpoint_clear(&fixture->endpoint);
    event_base_loop(fixture->base, EVLOOP_NONBLOCK); /* libevent frees a stream a turn later */
    for (int i = 0; i < 4; i++) {
        if (peers[i]->listener != NULL)
            evconnlistener_free(peers[i]->listener);
        while (peers[i]->open > 0)
            event_base_loop(fixture->base, EVLOOP_ONCE);
    }
    dns_destroy(fixture->dns);
    event_base_loop(fixture->base, EVLOOP_NONBLOCK);
    event_base_free(fixture->base);
    free(fixture);
    return 0;
}

static void close_peer(struct peer *peer)
{
    evconnlistener_free(peer->listener);
    peer->listener = NULL;
}

/* ---- Sentinels ---- */

static void the_master_is_where_a_sentinel_says(void **state)
{
    struct fixture *fixture = *state;
    char expected[64];
    struct buf where;

    open_by_sentinels(fixture, "", "");
    run_until(fixture, 'r');
    ping(fixture);
    run_until(fixture, '+');
    assert_string_equal(fixture->one.seen, "SENTINEL get-master-addr-by-name main\n");
    assert_string_equal(fixture->first.seen, "ROLE\nPING\n");
    assert_int_equal(fixture->two.connections, 0);
    buf_init(&where, 256);
    redis_describe(fixture->redis, &where);
    snprintf(expected, sizeof(expected), "redis://127.0.0.1:%u/0, master main",
             fixture->first.port);
    assert_string_equal(buf_cstr(&where), expected);
    buf_clear(&where);
}

static void the_next_sentinel_is_asked_and_remembered(void **state)
{
    struct fixture *fixture = *state;

    close_peer(&fixture->one);
    fixture->two.sentinel = fixture->addresses[1];
    open_by_sentinels(fixture, "", "");
    run_until(fixture, 'r');
    assert_string_equal(fixture->log, "r");
    assert_int_equal(fixture->first.connections, 0);
    assert_int_equal(fixture->second.connections, 1);
    peer_open(&fixture->one, fixture->base);
    redis_reconnect(fixture->redis, "asked for");
    run_until(fixture, 'r');
    assert_int_equal(fixture->two.connections, 2);
    assert_int_equal(fixture->one.connections, 0);
}

static void sentinels_that_do_not_know_are_told(void **state)
{
    static const struct {
        const char *answer, *reason;
    } cases[] = {
        {"*-1\r\n", "it knows no master \"main\""},
        {"-IDONTKNOW yet\r\n", "it does not say where the master is: IDONTKNOW"},
        {"*2\r\n$1\r\na\r\n$1\r\nb\r\n", "it does not say where the master is: unexpected reply"},
        {"*2\r\n$0\r\n\r\n$1\r\n7\r\n", "it does not say where the master is: unexpected reply"},
        {"+OK\r\n", "it does not say where the master is: unexpected reply"},
        {"rubbish\r\n", "protocol error"},
    };
    struct fixture *fixture = *state;
    char expected[160];

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        fixture->one.sentinel = fixture->two.sentinel = cases[i].answer;
        open_by_sentinels(fixture, "", "");
        run_until(fixture, 'l');
        snprintf(expected, sizeof(expected), "Sentinel 127.0.0.1:%u: %s", fixture->two.port,
                 cases[i].reason);
        assert_string_equal(fixture->reason, expected);
        redis_destroy(fixture->redis);
        redis_endpoint_clear(&fixture->endpoint);
    }
    fixture->redis = NULL;
    assert_int_equal(fixture->one.connections, sizeof(cases) / sizeof(cases[0]));
}

static void a_silent_sentinel_is_left_in_time(void **state)
{
    struct fixture *fixture = *state;
    struct clock clock = clock_system();
    int64_t begin_ms = clock_mono_ms(&clock);

    fixture->one.sentinel = NULL;
    open_by_sentinels(fixture, "", "");
    run_until(fixture, 'r');
    assert_string_equal(fixture->log, "r");
    assert_true(clock_mono_ms(&clock) - begin_ms >= REDIS_SENTINEL_LIMIT_MS - 1);
}

static void sentinels_get_the_credentials(void **state)
{
    struct fixture *fixture = *state;

    open_by_sentinels(fixture, "u:p@", "su:sp");
    run_until(fixture, 'r');
    assert_string_equal(fixture->one.seen, "AUTH su sp\nSENTINEL get-master-addr-by-name main\n");
    assert_string_equal(fixture->first.seen, "AUTH u p\nROLE\n");
}

static void a_sentinel_without_passwords_is_used_all_the_same(void **state)
{
    struct fixture *fixture = *state;

    fixture->one.auth = "-WRONGPASS of no use\r\n";
    open_by_sentinels(fixture, ":p@", ":p");
    run_until(fixture, 'r');
    assert_string_equal(fixture->log, "r");
    assert_string_equal(fixture->one.seen,
                        "AUTH default p\nSENTINEL get-master-addr-by-name main\n");
}

static void a_sentinel_that_refuses_the_password_is_told(void **state)
{
    struct fixture *fixture = *state;
    char expected[64];

    fixture->one.auth = fixture->two.auth = "-WRONGPASS of no use\r\n";
    fixture->one.sentinel = fixture->two.sentinel = "-NOAUTH required\r\n";
    open_by_sentinels(fixture, "", ":p");
    run_until(fixture, 'l');
    snprintf(expected, sizeof(expected), "Sentinel 127.0.0.1:%u: AUTH: WRONGPASS",
             fixture->two.port);
    assert_string_equal(fixture->reason, expected);
}

static void a_demoted_master_is_left_and_the_new_one_found(void **state)
{
    struct fixture *fixture = *state;

    fixture->first.role = "*1\r\n$5\r\nslave\r\n";
    open_by_sentinels(fixture, "", "");
    run_until(fixture, 'l');
    assert_string_equal(fixture->reason,
                        "it is a replica, though the Sentinels call it the master");
    fixture->one.sentinel = fixture->addresses[1];
    run_until(fixture, 'r');
    assert_int_equal(fixture->second.connections, 1);
    fixture->second.ping = "-READONLY You can't write against a read only replica.\r\n";
    fixture->one.sentinel = fixture->addresses[0];
    fixture->first.role = "*1\r\n$6\r\nmaster\r\n";
    ping(fixture);
    ping(fixture);
    run_until(fixture, 'r');
    assert_string_equal(fixture->log, "lr!xlr");
    assert_string_equal(fixture->reason, "READONLY");
    assert_int_equal(fixture->first.connections, 2);
}

static void a_user_who_may_not_ask_for_the_role_is_told(void **state)
{
    struct fixture *fixture = *state;

    fixture->first.role = "-NOPERM this user\r\n";
    open_by_sentinels(fixture, "", "");
    run_until(fixture, 'l');
    assert_string_equal(fixture->reason, "ROLE: NOPERM");
}

static void it_may_be_destroyed_while_sentinels_are_asked(void **state)
{
    struct fixture *fixture = *state;

    fixture->one.sentinel = NULL;
    open_by_sentinels(fixture, "", "");
    while (strchr(fixture->one.seen, '\n') == NULL)
        event_base_loop(fixture->base, EVLOOP_ONCE);
    redis_destroy(fixture->redis);
    fixture->redis = NULL;
}

/* ---- without Sentinels ---- */

static void open_first(struct fixture *fixture)
{
    char url[64];
    snprintf(url, sizeof(url), "redis://127.0.0.1:%u", fixture->first.port);
    open_url(fixture, url);
}

static void replies_of_what_is_no_master_reconnect(void **state)
{
    static const struct {
        const char *answer, *reason; /* NULL: it stays connected */
    } cases[] = {
        {"-READONLY You can't write against a read only replica. script: 1, on @user_script:1.\r\n",
         "READONLY"},
        {"-ERR Error running script (call to f_1): @user_script:2: @user_script: 2: -READONLY You "
         "can't write against a read only replica.\r\n",
         "READONLY"},
        {"-LOADING Redis is loading the dataset in memory\r\n", "LOADING"},
        {"-MASTERDOWN Link with MASTER is down\r\n", "MASTERDOWN"},
        {"-UNBLOCKED force unblock from blocking operation, instance state changed\r\n",
         "UNBLOCKED"},
        {"-OOM command not allowed\r\n", NULL},
        {"-NOREPLICAS Not enough good replicas to write.\r\n", NULL},
        {"-ERR Error running script (call to f_1): READONLY is only a word here\r\n", NULL},
        {"+READONLY \r\n", NULL},
    };
    struct fixture *fixture = *state;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        memset(fixture->log, 0, sizeof(fixture->log));
        fixture->first.ping = cases[i].answer;
        open_first(fixture);
        run_until(fixture, 'r');
        ping(fixture);
        run_until(fixture, cases[i].reason != NULL ? 'l' : cases[i].answer[0] == '+' ? '+' : '!');
        assert_int_equal(redis_is_ready(fixture->redis), cases[i].reason == NULL);
        if (cases[i].reason != NULL) {
            assert_string_equal(fixture->log, "r!l");
            assert_string_equal(fixture->reason, cases[i].reason);
        }
        redis_destroy(fixture->redis);
        redis_endpoint_clear(&fixture->endpoint);
    }
    fixture->redis = NULL;
}

/* 50..100, 100..200, 200..400 ms: as if nothing had answered between. */
static void a_replica_is_tried_more_and_more_rarely(void **state)
{
    struct fixture *fixture = *state;
    struct clock clock = clock_system();
    int64_t begin_ms = clock_mono_ms(&clock);

    fixture->first.ping = "+PONG\r\n-READONLY You can't write\r\n";
    open_first(fixture);
    for (int i = 0; i < 4; i++) {
        run_until(fixture, 'r');
        ping(fixture);
        ping(fixture);
        run_until(fixture, 'l');
    }
    assert_true(clock_mono_ms(&clock) - begin_ms >= 350);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_master_is_where_a_sentinel_says),
        TEST(the_next_sentinel_is_asked_and_remembered),
        TEST(sentinels_that_do_not_know_are_told),
        TEST(a_silent_sentinel_is_left_in_time),
        TEST(sentinels_get_the_credentials),
        TEST(a_sentinel_without_passwords_is_used_all_the_same),
        TEST(a_sentinel_that_refuses_the_password_is_told),
        TEST(a_demoted_master_is_left_and_the_new_one_found),
        TEST(a_user_who_may_not_ask_for_the_role_is_told),
        TEST(it_may_be_destroyed_while_sentinels_are_asked),
        TEST(replies_of_what_is_no_master_reconnect),
        TEST(a_replica_is_tried_more_and_more_rarely),
    };
    signal(SIGPIPE, SIG_IGN); /* as every role does */
    if (sodium_init() == -1)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
