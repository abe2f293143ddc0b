/* Against a real redis-server on a Unix socket, a loopback port and a TLS port in a temporary
 * folder. */
#include <arpa/inet.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>
#include <sodium.h>

#include "base/loop.h"
#include "base/redis.h"

/* ---- the server ---- */

struct server {
    char dir[64];
    unsigned port, tls_port;
    pid_t pid;
};

/* A name in the abstract namespace, as the integration tests take one for each of their ports:
 * it is this process's until it ends. */
static bool reserve(unsigned port)
{
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    int len = snprintf(name.sun_path + 1, sizeof(name.sun_path) - 1, "fedpush-test-port-%u", port);

    assert_true(fd != -1);
    if (bind(fd, (struct sockaddr *)&name,
             (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)len)) == 0)
        return true;
    close(fd);
    return false;
}

/* Below the ephemeral range, so that no connection takes it while no server listens there. */
static unsigned free_port(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_ANY)}};
    bool free = false;
    unsigned port;

    for (port = 10000 + (unsigned)getpid() * 10 % 20000; !free; port++) {
        int fd = socket(AF_INET, SOCK_STREAM, 0);
        address.sin_port = htons((uint16_t)port);
        free = bind(fd, (struct sockaddr *)&address, sizeof(address)) == 0 && reserve(port);
        close(fd);
    }
    return port - 1;
}

static void shell(const char *format, ...) FP_PRINTF(1, 2);
static void shell(const char *format, ...)
{
    char command[2048];
    va_list args;

    va_start(args, format);
    assert_true(vsnprintf(command, sizeof(command), format, args) < (int)sizeof(command));
    va_end(args);
    assert_int_equal(system(command), 0);
}

/* ca.pem signs server.pem for localhost and 127.0.0.1; other.pem is a stranger's. */
static void make_certificates(const char *dir)
{
    static const char request[] = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 "
                                  "-nodes -days 2";
    shell("cd %s && { %s -subj /CN=test-ca -keyout ca.key -out ca.pem && "
          "%s -subj /CN=stranger -keyout other.key -out other.pem && "
          "%s -subj /CN=server -CA ca.pem -CAkey ca.key -keyout server.key -out server.pem "
          "-addext 'subjectAltName=DNS:localhost,IP:127.0.0.1' "
          "-addext basicConstraints=critical,CA:FALSE; } >openssl.log 2>&1",
          dir, request, request, request);
}

static void server_start(struct server *server)
{
    char config[80];

    snprintf(config, sizeof(config), "%s/redis.conf", server->dir);
    server->pid = fork();
    assert_true(server->pid >= 0);
    if (server->pid == 0) {
        int null = open("/dev/null", O_WRONLY);
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        dup2(null, STDOUT_FILENO);
        execlp("redis-server", "redis-server", config, (char *)NULL);
        _exit(127); /* seen by every test as a server that never answers */
    }
}

static void server_stop(struct server *server)
{
    int status;

    kill(server->pid, SIGKILL);
    assert_int_equal(waitpid(server->pid, &status, 0), server->pid);
    assert_true(WIFSIGNALED(status)); /* it was there until now */
}

static void server_prepare(struct server *server)
{
    char path[80];

    snprintf(server->dir, sizeof(server->dir), "/tmp/fedpush-test-XXXXXX");
    assert_non_null(mkdtemp(server->dir));
    make_certificates(server->dir);
    server->port = free_port();
    server->tls_port = free_port();
    snprintf(path, sizeof(path), "%s/redis.conf", server->dir);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fprintf(file,
            "dir %s\nbind 127.0.0.1\nport %u\nunixsocket %s/redis.sock\nsave \"\"\n"
            "tls-port %u\ntls-cert-file server.pem\ntls-key-file server.key\n"
            "tls-ca-cert-file ca.pem\ntls-auth-clients no\n"
            "user fedpush on >p@ss:word ~* &* +@all\n",
            server->dir, server->port, server->dir, server->tls_port);
    assert_int_equal(fclose(file), 0);
}

/* ---- the fixture ---- */

enum { MAX_LOG = 64 };

struct fixture {
    struct server server;
    struct event_base *base;
    struct dns *dns;
    struct redis_endpoint endpoint;
    struct redis *redis;
    /* What happened, a letter each: r ready, l lost, + replied, ! error reply, x lost command. */
    char log[MAX_LOG];
    char reason[256];
    char reply[256]; /* the last one's text */
    char until;      /* ends the loop when it happens */
    bool again;      /* the next reply's callback sends another command */
    bool reconnects; /* the next reply's callback reconnects */
    bool destroys;   /* the next callback destroys the connection */
};

static void happened(struct fixture *fixture, char what)
{
    size_t len = strlen(fixture->log);

    if (len < MAX_LOG - 1)
        fixture->log[len] = what;
    if (fixture->destroys) {
        fixture->destroys = false;
        redis_destroy(fixture->redis);
        fixture->redis = NULL;
        event_base_loopbreak(fixture->base);
    }
    if (what == fixture->until)
        event_base_loopbreak(fixture->base);
}

static void on_ready(void *arg)
{
    struct fixture *fixture = arg;
    assert_true(redis_is_ready(fixture->redis));
    happened(fixture, 'r');
}

static void on_lost(void *arg, const char *reason)
{
    struct fixture *fixture = arg;
    snprintf(fixture->reason, sizeof(fixture->reason), "%s", reason);
    assert_false(redis_is_ready(fixture->redis));
    assert_int_equal(redis_outstanding(fixture->redis), 0);
    happened(fixture, 'l');
}

static void send_words(struct fixture *fixture, const char *first, const char *second);

static void on_reply(void *arg, enum redis_status status, const redisReply *reply)
{
    struct fixture *fixture = arg;

    if (status == REDIS_LOST) {
        assert_null(reply);
        happened(fixture, 'x');
        return;
    }
    snprintf(fixture->reply, sizeof(fixture->reply), "%s", reply->str != NULL ? reply->str : "");
    if (fixture->again) {
        fixture->again = false;
        send_words(fixture, "PING", "again");
    }
    if (fixture->reconnects) {
        fixture->reconnects = false;
        redis_reconnect(fixture->redis, "asked for");
    }
    happened(fixture, reply->type == REDIS_REPLY_ERROR ? '!' : '+');
}

static void send_words(struct fixture *fixture, const char *first, const char *second)
{
    const struct str words[] = {str_of(first), str_of(second)};
    redis_send(fixture->redis, on_reply, fixture, second != NULL ? 2 : 1, words);
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

static void run_until_answered(struct fixture *fixture)
{
    while (redis_outstanding(fixture->redis) > 0)
        run_until(fixture, '+');
}

static void open_url(struct fixture *fixture, const char *url, const char *ca)
{
    static const struct redis_handlers handlers = {on_ready, on_lost};
    struct err err;
    char ca_file[80] = "";

    if (ca != NULL)
        snprintf(ca_file, sizeof(ca_file), "%s/%s", fixture->server.dir, ca);
    assert_int_equal(redis_endpoint_parse(&fixture->endpoint, str_of(url), str_of(ca_file), &err),
                     FP_OK);
    fixture->redis =
        redis_create(fixture->base, fixture->dns, &fixture->endpoint, "test", &handlers, fixture);
    assert_false(redis_is_ready(fixture->redis));
    assert_string_equal(fixture->log, "");
}

static void open_socket(struct fixture *fixture)
{
    char url[128];
    snprintf(url, sizeof(url), "unix://%s/redis.sock", fixture->server.dir);
    open_url(fixture, url, NULL);
}

static void open_port(struct fixture *fixture, const char *userinfo, const char *path)
{
    char url[128];
    snprintf(url, sizeof(url), "redis://%s127.0.0.1:%u%s", userinfo, fixture->server.port, path);
    open_url(fixture, url, NULL);
}

static void open_tls(struct fixture *fixture, const char *host, const char *ca)
{
    char url[128];
    snprintf(url, sizeof(url), "rediss://%s:%u", host, fixture->server.tls_port);
    open_url(fixture, url, ca);
}

static struct server shared;

static int setup(void **state)
{
    struct fixture *fixture = mem_alloc(sizeof(*fixture));
    struct err err;

    fixture->server = shared;
    fixture->base = loop_create();
    fixture->dns = dns_create(fixture->base,
                              &(struct dns_options){STR("127.0.0.1:9"), false, false, 200}, &err);
    assert_non_null(fixture->dns);
    *state = fixture;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;

    redis_destroy(fixture->redis);
    redis_endpoint_clear(&fixture->endpoint);
    dns_destroy(fixture->dns);
    event_base_loop(fixture->base, EVLOOP_NONBLOCK); /* libevent frees a stream a turn later */
    event_base_free(fixture->base);
    shared.pid = fixture->server.pid;
    free(fixture);
    return 0;
}

/* ---- the tests ---- */

static void a_command_is_answered_over_a_unix_socket(void **state)
{
    struct fixture *fixture = *state;

    open_socket(fixture);
    run_until(fixture, 'r');
    send_words(fixture, "ECHO", "hello");
    assert_int_equal(redis_outstanding(fixture->redis), 1);
    run_until(fixture, '+');
    assert_string_equal(fixture->reply, "hello");
    assert_int_equal(redis_outstanding(fixture->redis), 0);
    assert_int_equal(redis_oldest_ms(fixture->redis), 0);
}

static void user_password_and_database_are_used(void **state)
{
    struct fixture *fixture = *state;

    open_port(fixture, "fedpush:p%40ss:word@", "/3");
    run_until(fixture, 'r');
    send_words(fixture, "ACL", "WHOAMI");
    run_until(fixture, '+');
    assert_string_equal(fixture->reply, "fedpush");
    fixture->log[0] = '\0';
    send_words(fixture, "CLIENT", "INFO");
    run_until(fixture, '+');
    assert_non_null(strstr(fixture->reply, " db=3 "));
}

static void a_wrong_password_is_told_and_tried_again(void **state)
{
    struct fixture *fixture = *state;

    open_port(fixture, "fedpush:secret@", "");
    run_until(fixture, 'l');
    assert_string_equal(fixture->reason, "AUTH: WRONGPASS");
    run_until(fixture, 'l');
    assert_string_equal(fixture->log, "ll");
}

static void a_database_that_does_not_exist_is_told(void **state)
{
    struct fixture *fixture = *state;

    open_port(fixture, "", "/999");
    run_until(fixture, 'l');
    assert_string_equal(fixture->reason, "SELECT: ERR");
}

static void an_error_reply_is_the_owners_to_judge(void **state)
{
    struct fixture *fixture = *state;

    open_socket(fixture);
    run_until(fixture, 'r');
    send_words(fixture, "NONSENSE", NULL);
    run_until(fixture, '!');
    assert_true(redis_is_ready(fixture->redis));
}

static void commands_of_one_turn_are_one_round_trip(void **state)
{
    struct fixture *fixture = *state;

    open_port(fixture, "", "/2");
    run_until(fixture, 'r');
    for (int i = 0; i < 10; i++)
        send_words(fixture, "PING", NULL);
    assert_int_equal(redis_outstanding(fixture->redis), 10);
    run_until_answered(fixture);
    assert_int_equal(redis_round_trips(fixture->redis), 1);
    fixture->again = true;
    send_words(fixture, "PING", NULL);
    run_until_answered(fixture);
    assert_string_equal(fixture->reply, "again");
    assert_int_equal(redis_round_trips(fixture->redis), 3);
}

static void a_large_value_comes_back_whole(void **state)
{
    enum { BYTES = 8 * 1024 * 1024 };
    struct fixture *fixture = *state;
    char *value = mem_alloc(BYTES);

    memset(value, 'v', BYTES);
    open_tls(fixture, "localhost", "ca.pem");
    run_until(fixture, 'r');
    const struct str set[] = {STR("SET"), STR("large"), {value, BYTES}};
    redis_send(fixture->redis, on_reply, fixture, 3, set);
    send_words(fixture, "STRLEN", "large");
    send_words(fixture, "GET", "large");
    run_until_answered(fixture);
    assert_string_equal(fixture->log, "r+++");
    assert_int_equal(strspn(fixture->reply, "v"), sizeof(fixture->reply) - 1);
    free(value);
}

static void a_callback_may_reconnect(void **state)
{
    struct fixture *fixture = *state;

    open_socket(fixture);
    run_until(fixture, 'r');
    fixture->reconnects = true;
    for (int i = 0; i < 3; i++)
        send_words(fixture, "PING", NULL);
    run_until(fixture, 'r');
    assert_string_equal(fixture->log, "r+xxlr");
    assert_string_equal(fixture->reason, "asked for");
}

static void each_callback_may_destroy_the_connection(void **state)
{
    struct fixture *fixture = *state;

    open_socket(fixture); /* ready */
    fixture->destroys = true;
    run_until(fixture, 'r');
    assert_null(fixture->redis);
    redis_endpoint_clear(&fixture->endpoint);
    memset(fixture->log, 0, sizeof(fixture->log));

    open_socket(fixture); /* a reply, with others behind it */
    run_until(fixture, 'r');
    for (int i = 0; i < 3; i++)
        send_words(fixture, "PING", NULL);
    fixture->destroys = true;
    run_until(fixture, '+');
    assert_string_equal(fixture->log, "r+");
    redis_endpoint_clear(&fixture->endpoint);
    memset(fixture->log, 0, sizeof(fixture->log));

    open_socket(fixture); /* a lost command, with others and `lost` behind it */
    for (int i = 0; i < 3; i++)
        send_words(fixture, "PING", NULL);
    fixture->destroys = true;
    run_until(fixture, 'x');
    assert_string_equal(fixture->log, "x");
    event_base_loop(fixture->base, EVLOOP_NONBLOCK);
    assert_string_equal(fixture->log, "x");
}

static void what_is_sent_before_it_is_ready_is_lost(void **state)
{
    struct fixture *fixture = *state;

    open_socket(fixture);
    send_words(fixture, "PING", NULL);
    assert_string_equal(fixture->log, ""); /* not from inside redis_send */
    run_until(fixture, 'r');
    assert_string_equal(fixture->log, "xr");
}

static void a_server_that_went_away_is_found_again(void **state)
{
    struct fixture *fixture = *state;

    open_port(fixture, "", "");
    run_until(fixture, 'r');
    send_words(fixture, "BLPOP", "nothing"); /* wrong: too few words, but answered */
    run_until(fixture, '!');
    const struct str wait[] = {STR("BLPOP"), STR("nothing"), STR("0")};
    redis_send(fixture->redis, on_reply, fixture, 3, wait);
    event_base_loop(fixture->base, EVLOOP_NONBLOCK);
    server_stop(&fixture->server);
    run_until(fixture, 'l');
    assert_string_equal(fixture->log, "r!xl");
    run_until(fixture, 'l'); /* a failed attempt */
    assert_string_equal(fixture->reason, "Connection refused");
    server_start(&fixture->server);
    run_until(fixture, 'r');
    send_words(fixture, "ECHO", "back");
    run_until(fixture, '+');
    assert_string_equal(fixture->reply, "back");
}

static void tls_is_verified_by_name_and_by_address(void **state)
{
    static const char *const hosts[] = {"localhost", "127.0.0.1"};
    struct fixture *fixture = *state;

    for (size_t i = 0; i < 2; i++) {
        open_tls(fixture, hosts[i], "ca.pem");
        run_until(fixture, 'r');
        send_words(fixture, "ECHO", "sealed");
        run_until(fixture, '+');
        assert_string_equal(fixture->reply, "sealed");
        redis_destroy(fixture->redis);
        redis_endpoint_clear(&fixture->endpoint);
        memset(fixture->log, 0, sizeof(fixture->log));
    }
    fixture->redis = NULL;
}

static void tls_refuses_what_it_can_not_verify(void **state)
{
    static const struct {
        const char *host, *ca, *reason;
    } cases[] = {
        {"localhost", "other.pem", "TLS: certificate refused: "},
        {"localhost", NULL, "TLS: certificate refused: "}, /* not one of the system's CAs */
        {"other.localhost", "ca.pem", "TLS: certificate refused: hostname mismatch"},
        {"localhost", "missing.pem", "TLS: no CA certificates can be read"},
    };
    struct fixture *fixture = *state;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        open_tls(fixture, cases[i].host, cases[i].ca);
        run_until(fixture, 'l');
        assert_string_equal(fixture->log, "l");
        assert_memory_equal(fixture->reason, cases[i].reason, strlen(cases[i].reason));
        redis_destroy(fixture->redis);
        redis_endpoint_clear(&fixture->endpoint);
        memset(fixture->log, 0, sizeof(fixture->log));
    }
    fixture->redis = NULL;
}

static void a_name_nobody_answers_for_is_told(void **state)
{
    struct fixture *fixture = *state;

    open_url(fixture, "redis://redis.test:6379", NULL);
    run_until(fixture, 'l');
    assert_string_equal(fixture->reason, "the resolver gives no answer for the host name");
}

/* A peer on a plain socket that says `speech` to everybody. */
static void speak(evutil_socket_t fd, short what, void *arg)
{
    const struct str *speech = arg;
    int peer = accept(fd, NULL, NULL);
    (void)what;

    assert_true(peer >= 0);
    assert_int_equal(write(peer, speech->ptr, speech->len), speech->len);
    close(peer);
}

static void rubbish_drops_the_connection(void **state)
{
    static struct {
        struct str speech;
        const char *reason;
    } cases[] = {
        {{"HTTP/1.1 400 Bad Request\r\n", 26}, "protocol error"},
        {{"%1\r\n+a\r\n+b\r\n", 12}, "protocol error"},
        {{"-ERR max number of clients reached\r\n", 36}, "a reply that nobody asked for ERR"},
        {{"", 0}, "closed by the server"},
    };
    struct fixture *fixture = *state;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t len = sizeof(address);
    char url[64];

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        int fd = socket(AF_INET, SOCK_STREAM, 0);
        address.sin_port = 0;
        assert_int_equal(bind(fd, (struct sockaddr *)&address, len), 0);
        assert_int_equal(listen(fd, 4), 0);
        assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &len), 0);
        struct event *event =
            event_new(fixture->base, fd, EV_READ | EV_PERSIST, speak, &cases[i].speech);
        event_add(event, NULL);
        snprintf(url, sizeof(url), "redis://127.0.0.1:%u", ntohs(address.sin_port));
        open_url(fixture, url, NULL);
        run_until(fixture, 'l');
        assert_string_equal(fixture->reason, cases[i].reason);
        redis_destroy(fixture->redis);
        redis_endpoint_clear(&fixture->endpoint);
        memset(fixture->log, 0, sizeof(fixture->log));
        event_free(event);
        close(fd);
    }
    fixture->redis = NULL;
}

static int start_server(void **state)
{
    (void)state;
    server_prepare(&shared);
    server_start(&shared);
    return 0;
}

static int stop_server(void **state)
{
    (void)state;
    server_stop(&shared);
    shell("rm -r %s", shared.dir);
    return 0;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_command_is_answered_over_a_unix_socket),
        TEST(user_password_and_database_are_used),
        TEST(a_wrong_password_is_told_and_tried_again),
        TEST(a_database_that_does_not_exist_is_told),
        TEST(an_error_reply_is_the_owners_to_judge),
        TEST(commands_of_one_turn_are_one_round_trip),
        TEST(a_large_value_comes_back_whole),
        TEST(a_callback_may_reconnect),
        TEST(each_callback_may_destroy_the_connection),
        TEST(what_is_sent_before_it_is_ready_is_lost),
        TEST(a_server_that_went_away_is_found_again),
        TEST(tls_is_verified_by_name_and_by_address),
        TEST(tls_refuses_what_it_can_not_verify),
        TEST(a_name_nobody_answers_for_is_told),
        TEST(rubbish_drops_the_connection),
    };
    signal(SIGPIPE, SIG_IGN); /* as every role does */
    if (sodium_init() == -1)
        return 1;
    return cmocka_run_group_tests(tests, start_server, stop_server);
}
