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

#include "base/ipc.h"
#include "base/loop.h"

enum { REFUSED_TYPE = 99, ECHO_TYPE = 98 };

struct side {
    struct event_base *base;
    struct ipc *ipc;
    unsigned frames;
    unsigned wanted; /* ends the loop */
    uint16_t type;
    size_t bytes; /* of the last payload */
    uint64_t sum; /* of all payload bytes */
    unsigned closed;
    char reason[128];
};

static bool on_frame(void *arg, struct ipc *ipc, uint16_t type, struct str payload)
{
    struct side *side = arg;

    side->frames++;
    side->type = type;
    side->bytes = payload.len;
    for (size_t i = 0; i < payload.len; i++)
        side->sum += (unsigned char)payload.ptr[i];
    if (type == ECHO_TYPE)
        ipc_send(ipc, 1, payload);
    if (side->frames == side->wanted)
        event_base_loopbreak(side->base);
    return type != REFUSED_TYPE;
}

static void on_closed(void *arg, struct ipc *ipc, const char *reason)
{
    struct side *side = arg;

    side->closed++;
    snprintf(side->reason, sizeof(side->reason), "%s", reason);
    ipc_destroy(ipc);
    side->ipc = NULL;
    event_base_loopbreak(side->base);
}

static const struct ipc_handlers handlers = {on_frame, on_closed};

struct pair {
    struct event_base *base;
    struct side side;
    int peer; /* the raw other end */
};

static int setup(void **state)
{
    struct pair *pair = mem_alloc(sizeof(*pair));
    int fds[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    pair->base = loop_create();
    pair->side.base = pair->base;
    pair->side.ipc = ipc_create(pair->base, fds[0], &handlers, &pair->side);
    pair->peer = fds[1];
    *state = pair;
    return 0;
}

static int teardown(void **state)
{
    struct pair *pair = *state;

    ipc_destroy(pair->side.ipc);
    if (pair->peer >= 0)
        close(pair->peer);
    event_base_free(pair->base);
    free(pair);
    return 0;
}

/* Until a callback ends the loop; false after five seconds. */
static bool run(struct event_base *base)
{
    struct timeval limit = {30, 0};

    event_base_loopexit(base, &limit);
    event_base_dispatch(base);
    return event_base_got_break(base);
}

static void write_all(int fd, const void *bytes, size_t len)
{
    assert_int_equal(write(fd, bytes, len), (ssize_t)len);
}

static void a_frame_arrives_whole_however_it_is_cut(void **state)
{
    struct pair *pair = *state;
    static const char frame[] = "\x07\x00\x00\x00\x05\x00hello";

    for (size_t i = 0; i < sizeof(frame) - 1; i++) {
        assert_int_equal(pair->side.frames, 0);
        write_all(pair->peer, frame + i, 1);
        event_base_loop(pair->base, EVLOOP_NONBLOCK);
    }
    assert_int_equal(pair->side.frames, 1);
    assert_int_equal(pair->side.type, 5);
    assert_int_equal(pair->side.bytes, 5);
    assert_int_equal(pair->side.sum, 'h' + 'e' + 'l' + 'l' + 'o');
}

static void frames_of_one_turn_leave_in_one_write(void **state)
{
    struct pair *pair = *state;
    char bytes[64];

    ipc_send(pair->side.ipc, 1, STR("ab"));
    ipc_send(pair->side.ipc, 0x203, STR(""));
    assert_int_equal(ipc_pending_bytes(pair->side.ipc), 14);
    assert_int_equal(recv(pair->peer, bytes, sizeof(bytes), MSG_DONTWAIT), -1);
    event_base_loop(pair->base, EVLOOP_NONBLOCK);
    assert_int_equal(ipc_pending_bytes(pair->side.ipc), 0);
    assert_int_equal(recv(pair->peer, bytes, sizeof(bytes), MSG_DONTWAIT), 14);
    assert_memory_equal(bytes, "\x04\0\0\0\x01\0ab\x02\0\0\0\x03\x02", 14);
}

static void the_largest_frame_passes_between_two_channels(void **state)
{
    struct pair *pair = *state;
    struct side other = {.base = pair->base, .wanted = 2};
    char *bytes = mem_alloc(IPC_MAX_FRAME_BYTES - 2);

    memset(bytes, 3, IPC_MAX_FRAME_BYTES - 2);
    other.ipc = ipc_create(pair->base, pair->peer, &handlers, &other);
    pair->peer = -1;
    ipc_send(pair->side.ipc, 7, STR("x"));
    ipc_send(pair->side.ipc, 8, (struct str){bytes, IPC_MAX_FRAME_BYTES - 2});
    assert_true(run(pair->base));
    assert_int_equal(other.frames, 2);
    assert_int_equal(other.type, 8);
    assert_int_equal(other.bytes, IPC_MAX_FRAME_BYTES - 2);
    assert_int_equal(other.sum, 'x' + 3 * (uint64_t)(IPC_MAX_FRAME_BYTES - 2));
    ipc_destroy(other.ipc);
    free(bytes);
}

static void a_handler_may_answer(void **state)
{
    struct pair *pair = *state;
    char bytes[64];

    pair->side.wanted = 1;
    write_all(pair->peer, "\x04\0\0\0\x62\0ok", 8);
    assert_true(run(pair->base));
    event_base_loop(pair->base, EVLOOP_NONBLOCK);
    assert_int_equal(recv(pair->peer, bytes, sizeof(bytes), MSG_DONTWAIT), 8);
    assert_memory_equal(bytes, "\x04\0\0\0\x01\0ok", 8);
}

static void bad_frames_close_the_channel_with_a_reason(void **state)
{
    static const struct {
        const char *bytes;
        size_t len;
        const char *reason;
    } cases[] = {
        {"\x01\x00\x40\x00", 4, "frame too large"},
        {"\xff\xff\xff\xff", 4, "frame too large"},
        {"\x01\x00\x00\x00", 4, "frame without a type"},
        {"\x00\x00\x00\x00", 4, "frame without a type"},
        {"\x02\x00\x00\x00\x00\x00", 6, "frame of type 0"},
        {"\x02\x00\x00\x00\x63\x00", 6, "frame does not decode"},
    };
    (void)state;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        void *each;
        setup(&each);
        struct pair *pair = each;
        write_all(pair->peer, cases[i].bytes, cases[i].len);
        assert_true(run(pair->base));
        assert_int_equal(pair->side.closed, 1);
        assert_string_equal(pair->side.reason, cases[i].reason);
        teardown(&each);
    }
}

static void an_end_within_a_frame_is_told_apart(void **state)
{
    struct pair *pair = *state;

    write_all(pair->peer, "\x02\x00\x00\x00\x01\x00\x09", 7);
    close(pair->peer);
    pair->peer = -1;
    assert_true(run(pair->base));
    assert_int_equal(pair->side.frames, 1);
    assert_string_equal(pair->side.reason, "closed by the other side within a frame");
}

static void last_words_are_read_though_ours_reach_nobody(void **state)
{
    struct pair *pair = *state;

    write_all(pair->peer, "\x03\x00\x00\x00\x04\x00x", 7);
    close(pair->peer);
    pair->peer = -1;
    ipc_send(pair->side.ipc, 1, STR("nobody reads this"));
    assert_true(run(pair->base));
    assert_int_equal(pair->side.frames, 1);
    assert_int_equal(pair->side.type, 4);
    assert_int_equal(pair->side.closed, 1);
    assert_string_equal(pair->side.reason, "closed by the other side");
}

static void a_flood_passes_whole(void **state)
{
    struct pair *pair = *state;
    struct side other = {.base = pair->base, .wanted = 2000};
    char bytes[8192];

    memset(bytes, 1, sizeof(bytes));
    other.ipc = ipc_create(pair->base, pair->peer, &handlers, &other);
    pair->peer = -1;
    for (int i = 0; i < 2000; i++)
        ipc_send(pair->side.ipc, 2, (struct str){bytes, sizeof(bytes)});
    assert_true(run(pair->base));
    assert_int_equal(other.frames, 2000);
    assert_int_equal(other.sum, 2000 * sizeof(bytes));
    assert_int_equal(ipc_pending_bytes(pair->side.ipc), 0);
    ipc_destroy(other.ipc);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_frame_arrives_whole_however_it_is_cut, setup, teardown),
        cmocka_unit_test_setup_teardown(frames_of_one_turn_leave_in_one_write, setup, teardown),
        cmocka_unit_test_setup_teardown(the_largest_frame_passes_between_two_channels, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_handler_may_answer, setup, teardown),
        cmocka_unit_test(bad_frames_close_the_channel_with_a_reason),
        cmocka_unit_test_setup_teardown(an_end_within_a_frame_is_told_apart, setup, teardown),
        cmocka_unit_test_setup_teardown(last_words_are_read_though_ours_reach_nobody, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_flood_passes_whole, setup, teardown),
    };
    signal(SIGPIPE, SIG_IGN); /* as every role does */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
