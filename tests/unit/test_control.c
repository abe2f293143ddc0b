#include <errno.h>
#include <fcntl.h>
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

#include "base/control.h"
#include "base/loop.h"

struct side {
    struct event_base *base;
    struct control *control;
    unsigned messages;
    unsigned wanted; /* ends the loop */
    bool destroys;   /* itself, within the handler */
    enum control_type type;
    char text[64];
    int fd;
    unsigned closed;
    char reason[128];
};

static bool on_message(void *arg, struct control *control, enum control_type type,
                       struct str payload, int fd)
{
    struct side *side = arg;

    side->messages++;
    side->type = type;
    side->fd = fd;
    snprintf(side->text, sizeof(side->text), "%.*s", STR_ARG(payload));
    if (side->destroys) {
        control_destroy(control);
        side->control = NULL;
    }
    if (side->messages == side->wanted)
        event_base_loopbreak(side->base);
    return type != CONTROL_DRAINED; /* stands for a message that does not decode */
}

static void on_closed(void *arg, struct control *control, const char *reason)
{
    struct side *side = arg;

    side->closed++;
    snprintf(side->reason, sizeof(side->reason), "%s", reason);
    control_destroy(control);
    side->control = NULL;
    event_base_loopbreak(side->base);
}

static const struct control_handlers handlers = {on_message, on_closed};

struct pair {
    struct event_base *base;
    struct side a, b;
    int raw; /* a's other end, until `b` is opened on it */
};

static int setup(void **state)
{
    struct pair *pair = mem_alloc(sizeof(*pair));
    int fds[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, fds), 0);
    pair->base = loop_create();
    pair->a = (struct side){.base = pair->base, .fd = -1};
    pair->b = (struct side){.base = pair->base, .fd = -1};
    pair->a.control = control_create(pair->base, fds[0], &handlers, &pair->a);
    pair->raw = fds[1];
    *state = pair;
    return 0;
}

static int teardown(void **state)
{
    struct pair *pair = *state;

    control_destroy(pair->a.control);
    control_destroy(pair->b.control);
    if (pair->raw >= 0)
        close(pair->raw);
    event_base_free(pair->base);
    free(pair);
    return 0;
}

static void open_other_side(struct pair *pair)
{
    pair->b.control = control_create(pair->base, pair->raw, &handlers, &pair->b);
    pair->raw = -1;
}

static bool run(struct event_base *base)
{
    struct timeval limit = {30, 0};

    event_base_loopexit(base, &limit);
    event_base_dispatch(base);
    return event_base_got_break(base);
}

static void a_message_carries_a_descriptor(void **state)
{
    struct pair *pair = *state;
    int ends[2];
    char byte = 0;

    open_other_side(pair);
    pair->b.wanted = 1;
    assert_int_equal(pipe(ends), 0);
    control_send(pair->a.control, CONTROL_PEER, STR("\x02\x01"), ends[1]);
    close(ends[1]);
    assert_true(run(pair->base));
    assert_int_equal(pair->b.type, CONTROL_PEER);
    assert_string_equal(pair->b.text, "\x02\x01");
    assert_true(pair->b.fd >= 0);
    assert_int_equal(fcntl(pair->b.fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
    assert_int_equal(write(pair->b.fd, "y", 1), 1);
    assert_int_equal(read(ends[0], &byte, 1), 1);
    assert_int_equal(byte, 'y');
    close(pair->b.fd);
    close(ends[0]);
}

static void messages_keep_their_borders_and_order_when_queued(void **state)
{
    struct pair *pair = *state;
    int ends[2];
    char *large = mem_alloc(CONTROL_MAX_BYTES);

    memset(large, 'x', CONTROL_MAX_BYTES);
    assert_int_equal(pipe(ends), 0);
    for (int i = 0; i < 100; i++)
        control_send(pair->a.control, CONTROL_CONFIG, (struct str){large, CONTROL_MAX_BYTES}, -1);
    control_send(pair->a.control, CONTROL_PEER, STR("last"), ends[1]);
    close(ends[1]); /* the queue has its own */
    open_other_side(pair);
    pair->b.wanted = 101;
    assert_true(run(pair->base));
    assert_int_equal(pair->b.messages, 101);
    assert_string_equal(pair->b.text, "last");
    assert_true(pair->b.fd >= 0);
    close(pair->b.fd);
    close(ends[0]);
    free(large);
}

static void who_does_not_read_is_closed_and_not_from_within_send(void **state)
{
    struct pair *pair = *state;

    for (int i = 0; i < 5000; i++)
        control_send(pair->a.control, CONTROL_PING, STR("12345678"), -1);
    assert_int_equal(pair->a.closed, 0);
    assert_true(run(pair->base));
    assert_int_equal(pair->a.closed, 1);
    assert_string_equal(pair->a.reason, "the other side does not read");
}

static void surplus_descriptors_are_closed(void **state)
{
    struct pair *pair = *state;
    int ends[2];
    char byte;
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(3 * sizeof(int))];
    } ancillary;
    char packet[] = {CONTROL_PEER, 0, 'p'};
    struct iovec whole = {packet, sizeof(packet)};
    struct msghdr message = {.msg_iov = &whole,
                             .msg_iovlen = 1,
                             .msg_control = &ancillary,
                             .msg_controllen = sizeof(ancillary.bytes)};

    memset(&ancillary, 0, sizeof(ancillary));
    assert_int_equal(pipe(ends), 0);
    const int three[] = {ends[1], ends[1], ends[1]};
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    *header = (struct cmsghdr){CMSG_LEN(sizeof(three)), SOL_SOCKET, SCM_RIGHTS};
    memcpy(CMSG_DATA(header), three, sizeof(three));
    assert_int_equal(sendmsg(pair->raw, &message, 0), sizeof(packet));
    close(ends[1]);
    pair->a.wanted = 1;
    assert_true(run(pair->base));
    assert_true(pair->a.fd >= 0);
    close(pair->a.fd); /* if it was the last one, the pipe ends */
    assert_int_equal(fcntl(ends[0], F_SETFL, O_NONBLOCK), 0);
    assert_int_equal(read(ends[0], &byte, 1), 0);
    close(ends[0]);
}

static void rubbish_closes_the_channel_with_a_reason(void **state)
{
    static const char too_large[CONTROL_MAX_BYTES + 3] = {1};
    static const char refused[] = {CONTROL_DRAINED, 0};
    static const struct {
        const char *bytes;
        size_t len;
        const char *reason;
    } cases[] = {
        {"\x01", 1, "message without a type"},
        {"\x00\x00", 2, "message of type 0"},
        {refused, sizeof(refused), "message does not decode"},
        {too_large, sizeof(too_large), "message too large"},
    };
    (void)state;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        void *each;
        setup(&each);
        struct pair *pair = each;
        assert_int_equal(send(pair->raw, cases[i].bytes, cases[i].len, 0), cases[i].len);
        assert_true(run(pair->base));
        assert_int_equal(pair->a.closed, 1);
        assert_string_equal(pair->a.reason, cases[i].reason);
        teardown(&each);
    }
}

static void send_ready(int fd)
{
    static const char ready[] = {CONTROL_READY, 0};
    assert_int_equal(send(fd, ready, sizeof(ready), 0), sizeof(ready));
}

static void last_words_are_read_before_the_end(void **state)
{
    struct pair *pair = *state;

    control_send(pair->a.control, CONTROL_PING, STR("never read"), -1);
    send_ready(pair->raw);
    close(pair->raw); /* with a message unread: reported as a reset */
    pair->raw = -1;
    control_send(pair->a.control, CONTROL_PING, STR("nobody"), -1);
    assert_true(run(pair->base));
    assert_int_equal(pair->a.messages, 1);
    assert_int_equal(pair->a.type, CONTROL_READY);
    assert_int_equal(pair->a.closed, 1);
    assert_string_equal(pair->a.reason, "closed by the other side");
}

static void a_handler_may_destroy_the_channel(void **state)
{
    struct pair *pair = *state;
    char byte;

    pair->a.destroys = true;
    pair->a.wanted = 1;
    send_ready(pair->raw);
    send_ready(pair->raw);
    assert_true(run(pair->base));
    assert_int_equal(pair->a.messages, 1);
    assert_int_equal(pair->a.closed, 0);
    ssize_t n = recv(pair->raw, &byte, 1, MSG_DONTWAIT);
    assert_true(n == 0 || (n == -1 && errno == ECONNRESET));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_message_carries_a_descriptor, setup, teardown),
        cmocka_unit_test_setup_teardown(messages_keep_their_borders_and_order_when_queued, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(who_does_not_read_is_closed_and_not_from_within_send, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(surplus_descriptors_are_closed, setup, teardown),
        cmocka_unit_test(rubbish_closes_the_channel_with_a_reason),
        cmocka_unit_test_setup_teardown(last_words_are_read_before_the_end, setup, teardown),
        cmocka_unit_test_setup_teardown(a_handler_may_destroy_the_channel, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
