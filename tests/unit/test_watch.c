/* When a socket is registered with the loop, and whom its events reach. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/loop.h"
#include "base/str.h"
#include "worker/watch.h"

struct fixture {
    struct event_base *base;
    struct watches *watches;
    int fds[2]; /* the first is watched */
    int calls;
    short what;
};

static void on_event(void *arg, int fd, short what)
{
    struct fixture *f = arg;
    assert_int_equal(fd, f->fds[0]);
    f->calls++;
    f->what = what;
}

static int setup(void **state)
{
    struct fixture *f = mem_alloc(sizeof(*f));

    f->base = loop_create();
    f->watches = watches_create(f->base, on_event, f);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, f->fds), 0);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    watches_destroy(f->watches);
    event_base_free(f->base);
    close(f->fds[0]);
    close(f->fds[1]);
    free(f);
    return 0;
}

static int registered(const struct fixture *f)
{
    return event_base_get_num_events(f->base, EVENT_BASE_COUNT_ADDED);
}

static void speak(const struct fixture *f)
{
    assert_int_equal(write(f->fds[1], "x", 1), 1);
}

static void turn(const struct fixture *f)
{
    event_base_loop(f->base, EVLOOP_ONCE | EVLOOP_NONBLOCK);
}

static void what_is_wanted_is_reported(void **state)
{
    struct fixture *f = *state;

    watches_want(f->watches, f->fds[0], EV_READ | EV_WRITE);
    turn(f);
    assert_int_equal(f->what, EV_WRITE);
    watches_want(f->watches, f->fds[0], EV_READ);
    speak(f);
    turn(f);
    assert_int_equal(f->what, EV_READ);
    assert_int_equal(f->calls, 2);
}

/* libcurl closes such a socket without a word: nothing of it may be left with the loop. */
static void what_does_not_stand_yet_is_forgotten_at_once(void **state)
{
    struct fixture *f = *state;

    watches_want(f->watches, f->fds[0], EV_READ);
    assert_int_equal(registered(f), 1);
    watches_want(f->watches, f->fds[0], 0);
    assert_int_equal(registered(f), 0);
}

static void what_stands_stays_registered(void **state)
{
    struct fixture *f = *state;

    watches_want(f->watches, f->fds[0], EV_WRITE);
    watches_establish(f->watches, f->fds[0]);
    watches_want(f->watches, f->fds[0], EV_READ);
    watches_want(f->watches, f->fds[0], 0);
    assert_int_equal(registered(f), 1);
    watches_want(f->watches, f->fds[0], EV_READ);
    speak(f);
    turn(f);
    assert_int_equal(f->calls, 1);
    watches_drop(f->watches, f->fds[0]);
    assert_int_equal(registered(f), 0);
}

/* The other side closes a connection that nobody uses: a look at it, and no more of them. */
static void what_nobody_wants_does_not_keep_the_loop_awake(void **state)
{
    struct fixture *f = *state;

    watches_establish(f->watches, f->fds[0]);
    watches_want(f->watches, f->fds[0], EV_READ);
    watches_want(f->watches, f->fds[0], 0);
    speak(f);
    turn(f);
    assert_int_equal(f->calls, 0);
    assert_int_equal(registered(f), 0);
    watches_want(f->watches, f->fds[0], EV_READ); /* what came meanwhile is not lost */
    turn(f);
    assert_int_equal(f->calls, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_is_wanted_is_reported, setup, teardown),
        cmocka_unit_test_setup_teardown(what_does_not_stand_yet_is_forgotten_at_once, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(what_stands_stays_registered, setup, teardown),
        cmocka_unit_test_setup_teardown(what_nobody_wants_does_not_keep_the_loop_awake, setup,
                                        teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
