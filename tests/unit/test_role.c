/* A role in a child process, the test as its supervisor. */
#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>
#include <sodium.h>

#include "base/role.h"

enum { LIMIT_S = 10, EXIT_OF_THE_ROLE = 42 };

static const char key_text[] = "0123456789abcdef0123456789abcdef";
static const struct str ticket_key = {key_text, TICKET_KEY_BYTES};

/* ---- the child: tells what happens to it, and leaves at a drain of 7 seconds ---- */

struct child {
    struct role_process process;
    char peers[64];
};

static void on_start(void *arg)
{
    struct child *child = arg;
    control_send(child->process.control, CONTROL_READY, str_of(child->peers), -1);
}

static void on_peer(void *arg, enum role role, unsigned index, int fd)
{
    struct child *child = arg;
    size_t used = strlen(child->peers);

    snprintf(child->peers + used, sizeof(child->peers) - used, "%s%u,", role_names[role], index);
    if (write(fd, "hello", 5) != 5)
        abort();
    close(fd);
}

static void tell(struct child *child, const char *format, ...) FP_PRINTF(2, 3);
static void tell(struct child *child, const char *format, ...)
{
    char text[128];
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    control_send(child->process.control, CONTROL_IDENTITY_GONE, str_of(text), -1);
}

static void on_reload(void *arg)
{
    struct child *child = arg;
    tell(child, "reload %s %d", child->process.config.web_domain,
         (int)child->process.config.log_level);
}

static void on_drain(void *arg, unsigned seconds)
{
    struct child *child = arg;
    tell(child, "drain %u", seconds);
    if (seconds == 7)
        role_exit(&child->process, EXIT_OF_THE_ROLE);
}

static void on_identity(void *arg, struct str text)
{
    tell(arg, "identity %.*s", STR_ARG(text));
}

/* ---- the fixture ---- */

struct fixture {
    int control;
    pid_t pid;
};

static void be_a_role(int fd, enum role role)
{
    struct role_handlers handlers = {on_start, on_peer, on_reload, on_drain, NULL};
    struct child child = {.peers = ""};

    if (role == ROLE_SCHEDULER)
        handlers.identity = on_identity;
    if (fd != CONTROL_FD && (dup2(fd, CONTROL_FD) == -1 || close(fd) == -1))
        _exit(99);
    _exit(role_run(&child.process, role, 1, &handlers, &child));
}

static void spawn(struct fixture *fixture, enum role role)
{
    int fds[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, fds), 0);
    fixture->control = fds[0];
    fixture->pid = fork();
    assert_true(fixture->pid >= 0);
    if (fixture->pid == 0) {
        if (fds[0] != CONTROL_FD)
            close(fds[0]);
        be_a_role(fds[1], role);
    }
    close(fds[1]);
}

static int exit_code(struct fixture *fixture)
{
    int status;

    alarm(LIMIT_S); /* a child that stays is a failure, not a wait for ever */
    assert_int_equal(waitpid(fixture->pid, &status, 0), fixture->pid);
    alarm(0);
    close(fixture->control);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

static void send_message(struct fixture *fixture, enum control_type type, struct str payload,
                         int fd)
{
    struct event_base *base = event_base_new();
    static const struct control_handlers none = {NULL, NULL};
    struct control *control = control_create(base, dup(fixture->control), &none, NULL);

    control_send(control, type, payload, fd);
    control_destroy(control);
    event_base_free(base);
}

static void send_config(struct fixture *fixture, enum control_type type, enum role role,
                        const char *domain, enum log_level level)
{
    char *local_domain = mem_printf("LOCAL_DOMAIN=%s", domain);
    char version[] = "FEDPUSH_MASTODON_VERSION=4.5.1";
    char *environment[] = {local_domain, version, NULL};
    struct config config = {0};
    struct err err;
    struct buf bytes;

    if (config_load(&config, environment, NULL, &err) != FP_OK)
        fail_msg("%s", err.message);
    config.log_level = level;
    buf_init(&bytes, CONTROL_MAX_BYTES);
    config_encode(&config, role, &bytes);
    assert_false(bytes.overflow);
    send_message(fixture, type, buf_str(&bytes), -1);
    buf_clear(&bytes);
    config_clear(&config);
    free(local_domain);
}

/* The next message as "TYPE TEXT"; "-" at the end of the stream. */
static const char *next_message(struct fixture *fixture, char out[160])
{
    char packet[128];

    struct pollfd readable = {.fd = fixture->control, .events = POLLIN};
    if (poll(&readable, 1, LIMIT_S * 1000) != 1)
        return "nothing came";
    ssize_t n = recv(fixture->control, packet, sizeof(packet), 0);
    if (n < 2)
        return n == -1 ? strerror(errno) : "-";
    snprintf(out, 160, "%d %.*s", packet[0], (int)n - 2, packet + 2);
    return out;
}

#define assert_next(fixture, type, text)                                                           \
    do {                                                                                           \
        char expected_[160];                                                                       \
        char got_[160];                                                                            \
        snprintf(expected_, sizeof(expected_), "%d %s", (type), (text));                           \
        assert_string_equal(next_message((fixture), got_), expected_);                             \
    } while (0)

/* ---- the tests ---- */

static void a_worker_starts_answers_and_leaves(void **state)
{
    struct fixture fixture;
    int ends[2];
    char hello[6] = "";
    (void)state;

    spawn(&fixture, ROLE_WORKER);
    send_config(&fixture, CONTROL_CONFIG, ROLE_WORKER, "social.test", LOG_LEVEL_ERROR);
    assert_int_equal(pipe(ends), 0);
    send_message(&fixture, CONTROL_PEER, STR("\x01\x00"), ends[1]);
    send_message(&fixture, CONTROL_PEER, STR("\x03\x02"), ends[1]);
    close(ends[1]);
    send_message(&fixture, CONTROL_START, STR_NULL, -1);
    assert_next(&fixture, CONTROL_READY, "scheduler0,signer2,");
    assert_int_equal(read(ends[0], hello, 5), 5);
    assert_string_equal(hello, "hello");
    close(ends[0]);
    send_message(&fixture, CONTROL_PING, STR("12345678"), -1);
    assert_next(&fixture, CONTROL_PONG, "12345678");
    send_message(&fixture, CONTROL_DRAIN, STR("\x03\x01\x00\x00"), -1);
    assert_next(&fixture, CONTROL_IDENTITY_GONE, "drain 259");
    kill(fixture.pid, SIGTERM); /* the supervisor's to judge */
    kill(fixture.pid, SIGINT);
    kill(fixture.pid, SIGHUP);
    send_message(&fixture, CONTROL_DRAIN, STR("\x07\x00\x00\x00"), -1);
    assert_next(&fixture, CONTROL_IDENTITY_GONE, "drain 7");
    assert_int_equal(exit_code(&fixture), EXIT_OF_THE_ROLE);
}

static void a_scheduler_gets_its_identity_before_it_starts(void **state)
{
    struct fixture fixture;
    (void)state;

    spawn(&fixture, ROLE_SCHEDULER);
    send_config(&fixture, CONTROL_CONFIG, ROLE_SCHEDULER, "social.test", LOG_LEVEL_ERROR);
    send_message(&fixture, CONTROL_TICKET_KEY, ticket_key, -1);
    send_message(&fixture, CONTROL_IDENTITY, STR("new\nformer"), -1);
    assert_next(&fixture, CONTROL_IDENTITY_GONE, "identity new\nformer");
    send_message(&fixture, CONTROL_START, STR_NULL, -1);
    assert_next(&fixture, CONTROL_READY, "");
    send_message(&fixture, CONTROL_STOP, STR_NULL, -1);
    assert_int_equal(exit_code(&fixture), FP_EXIT_OK);
}

static void a_reload_replaces_only_what_is_reloadable(void **state)
{
    struct fixture fixture;
    char expected[64];
    (void)state;

    spawn(&fixture, ROLE_SIGNER);
    send_config(&fixture, CONTROL_CONFIG, ROLE_SIGNER, "social.test", LOG_LEVEL_ERROR);
    send_message(&fixture, CONTROL_TICKET_KEY, ticket_key, -1);
    send_message(&fixture, CONTROL_START, STR_NULL, -1);
    assert_next(&fixture, CONTROL_READY, "");
    send_config(&fixture, CONTROL_RELOAD, ROLE_SIGNER, "other.test", LOG_LEVEL_DEBUG);
    snprintf(expected, sizeof(expected), "reload social.test %d", LOG_LEVEL_DEBUG);
    assert_next(&fixture, CONTROL_IDENTITY_GONE, expected);
    send_message(&fixture, CONTROL_STOP, STR_NULL, -1);
    assert_int_equal(exit_code(&fixture), FP_EXIT_OK);
}

static void a_role_ends_with_its_supervisor(void **state)
{
    struct fixture fixture;
    (void)state;

    spawn(&fixture, ROLE_WORKER);
    send_config(&fixture, CONTROL_CONFIG, ROLE_WORKER, "social.test", LOG_LEVEL_ERROR);
    send_message(&fixture, CONTROL_START, STR_NULL, -1);
    assert_next(&fixture, CONTROL_READY, "");
    shutdown(fixture.control, SHUT_RDWR);
    assert_int_equal(exit_code(&fixture), FP_EXIT_OK);
}

static void what_is_not_expected_ends_the_role(void **state)
{
    static const struct {
        enum role role;
        bool configured;
        enum control_type type;
        struct str payload;
    } cases[] = {
        {ROLE_WORKER, false, CONTROL_START, {"", 0}},
        {ROLE_WORKER, false, CONTROL_CONFIG, {"nonsense", 8}},
        {ROLE_WORKER, true, CONTROL_PEER, {"\x01\x00", 2}}, /* no descriptor */
        {ROLE_WORKER, true, CONTROL_IDENTITY, {"x", 1}},
        {ROLE_WORKER, true, CONTROL_READY, {"", 0}},
        {ROLE_WORKER, true, (enum control_type)200, {"", 0}},
        {ROLE_WORKER, true, CONTROL_DRAIN, {"\x01\x00\x00\x00", 4}}, /* before START */
        {ROLE_WORKER, true, CONTROL_PING, {"1234567", 7}},
        {ROLE_WORKER, true, CONTROL_START, {"x", 1}},
        {ROLE_SCHEDULER, true, CONTROL_START, {"", 0}}, /* without an identity */
        {ROLE_SIGNER, true, CONTROL_START, {"", 0}},    /* without a ticket key */
        {ROLE_SIGNER, true, CONTROL_TICKET_KEY, {"short", 5}},
        {ROLE_SIGNER, false, CONTROL_TICKET_KEY, {key_text, TICKET_KEY_BYTES}},
        {ROLE_WORKER, true, CONTROL_TICKET_KEY, {key_text, TICKET_KEY_BYTES}}, /* not its own */
    };
    (void)state;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct fixture fixture;
        spawn(&fixture, cases[i].role);
        if (cases[i].configured)
            send_config(&fixture, CONTROL_CONFIG, cases[i].role, "social.test", LOG_LEVEL_ERROR);
        send_message(&fixture, cases[i].type, cases[i].payload, -1);
        assert_int_equal(exit_code(&fixture), FP_EXIT_SOFTWARE);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_worker_starts_answers_and_leaves),
        cmocka_unit_test(a_scheduler_gets_its_identity_before_it_starts),
        cmocka_unit_test(a_reload_replaces_only_what_is_reloadable),
        cmocka_unit_test(a_role_ends_with_its_supervisor),
        cmocka_unit_test(what_is_not_expected_ends_the_role),
    };
    if (sodium_init() == -1)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
