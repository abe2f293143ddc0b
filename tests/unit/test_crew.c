/* The supervisor's policy with a clock of the test's and no process. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/err.h"
#include "base/str.h"
#include "worker/crew.h"

enum { WORKERS = 2, SIGNER = 0, WORKER_0, WORKER_1, QUARANTINE, SCHEDULER, ADMIN };
static const char *const names[] = {"signer", "w0", "w1", "quarantine", "scheduler", "admin"};

struct fixture {
    struct crew crew;
    struct buf log; /* what the crew did, in order */
    bool spawn_fails;
    int64_t now_ms;
};

static bool spawn(void *arg, size_t child)
{
    struct fixture *f = arg;
    buf_printf(&f->log, "spawn %s;", names[child]);
    return !f->spawn_fails;
}

static void connect_pair(void *arg, size_t child, size_t peer)
{
    struct fixture *f = arg;
    buf_printf(&f->log, "%s-%s;", names[child], names[peer]);
}

static void send_start(void *arg, size_t child)
{
    struct fixture *f = arg;
    buf_printf(&f->log, "start %s;", names[child]);
}

static void send_stop(void *arg, size_t child)
{
    struct fixture *f = arg;
    buf_printf(&f->log, "stop %s;", names[child]);
}

static void send_drain(void *arg, size_t child, unsigned seconds)
{
    struct fixture *f = arg;
    buf_printf(&f->log, "drain %s %u;", names[child], seconds);
}

static void send_ping(void *arg, size_t child)
{
    struct fixture *f = arg;
    buf_printf(&f->log, "ping %s;", names[child]);
}

static void kill_child(void *arg, size_t child, const char *reason)
{
    struct fixture *f = arg;
    assert_non_null(reason);
    buf_printf(&f->log, "kill %s;", names[child]);
}

static void on_state(void *arg, enum crew_state state)
{
    struct fixture *f = arg;
    buf_printf(&f->log, "[%s];", crew_state_names[state]);
}

static const struct crew_actions actions = {spawn,      connect_pair, send_start, send_stop,
                                            send_drain, send_ping,    kill_child, on_state};

/* All that happened since the last call. */
static void assert_did(struct fixture *f, const char *expected)
{
    assert_string_equal(buf_cstr(&f->log), expected);
    buf_reset(&f->log);
}

static void forget(struct fixture *f)
{
    buf_reset(&f->log);
}

static int set_up(void **state)
{
    struct fixture *f = mem_alloc(sizeof(*f));

    buf_init(&f->log, 64 * 1024);
    f->now_ms = 1000000;
    crew_init(&f->crew, WORKERS, false, 1, &actions, f);
    *state = f;
    return 0;
}

static int set_up_with_admin(void **state)
{
    struct fixture *f;

    set_up(state);
    f = *state;
    crew_init(&f->crew, WORKERS, true, 1, &actions, f);
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    buf_clear(&f->log);
    free(f);
    return 0;
}

static void all_ready(struct fixture *f)
{
    static const size_t order[] = {SIGNER, WORKER_0, WORKER_1, SCHEDULER};
    for (size_t i = 0; i < sizeof(order) / sizeof(order[0]); i++)
        crew_ready(&f->crew, order[i], f->now_ms);
}

static void run(struct fixture *f)
{
    crew_step(&f->crew, f->now_ms);
    all_ready(f);
    assert_int_equal(f->crew.state, CREW_RUNNING);
    forget(f);
}

static void pong(struct fixture *f, size_t child)
{
    crew_pong(&f->crew, child, f->now_ms);
}

/* To the crew's own next time, as the loop would. */
static void advance(struct fixture *f)
{
    f->now_ms = crew_next_ms(&f->crew);
    assert_true(f->now_ms != INT64_MAX);
    crew_step(&f->crew, f->now_ms);
}

static void exits(struct fixture *f, size_t child, int code)
{
    crew_exited(&f->crew, child, code, f->now_ms);
}

static void each_is_started_after_all_have_their_channels(void **state)
{
    struct fixture *f = *state;

    crew_step(&f->crew, f->now_ms);
    assert_did(f, "spawn signer;spawn w0;w0-signer;spawn w1;w1-signer;"
                  "spawn scheduler;scheduler-w0;scheduler-w1;"
                  "start signer;start w0;start w1;start scheduler;");
    crew_ready(&f->crew, SIGNER, f->now_ms);
    crew_ready(&f->crew, WORKER_0, f->now_ms);
    crew_ready(&f->crew, WORKER_1, f->now_ms);
    assert_did(f, "");
    crew_ready(&f->crew, SCHEDULER, f->now_ms);
    assert_did(f, "[running];");
}

static void all_are_pinged_each_five_seconds(void **state)
{
    struct fixture *f = *state;

    run(f);
    assert_int_equal(crew_next_ms(&f->crew), f->now_ms + CREW_PING_MS);
    advance(f);
    assert_did(f, "ping signer;ping w0;ping w1;ping scheduler;");
}

static void the_silent_one_is_killed_and_replaced(void **state)
{
    struct fixture *f = *state;
    int64_t start_ms = f->now_ms;

    run(f);
    while (f->crew.children[WORKER_1].state != CHILD_ENDING) {
        assert_true(f->now_ms - start_ms < CREW_SILENCE_MS);
        forget(f);
        advance(f);
        pong(f, SIGNER);
        pong(f, WORKER_0);
        pong(f, SCHEDULER);
    }
    assert_int_equal(f->now_ms - start_ms, CREW_SILENCE_MS);
    assert_did(f, "ping signer;ping w0;kill w1;ping scheduler;");
    exits(f, WORKER_1, -9);
    assert_did(f, "spawn w1;w1-signer;w1-scheduler;start w1;");
}

static void the_scheduler_may_be_silent_a_little_longer(void **state)
{
    struct fixture *f = *state;
    int64_t start_ms = f->now_ms;

    run(f);
    while (f->crew.children[SCHEDULER].state != CHILD_ENDING) {
        assert_true(f->now_ms - start_ms < CREW_SCHEDULER_SILENCE_MS);
        advance(f);
        pong(f, SIGNER);
        pong(f, WORKER_0);
        pong(f, WORKER_1);
    }
    assert_int_equal(f->now_ms - start_ms, CREW_SCHEDULER_SILENCE_MS);
}

static void its_own_sleep_is_nobodys_silence(void **state)
{
    struct fixture *f = *state;

    run(f);
    f->now_ms += 60000;
    crew_step(&f->crew, f->now_ms);
    assert_did(f, "ping signer;ping w0;ping w1;ping scheduler;");
}

static void who_dies_young_waits_longer_each_time(void **state)
{
    static const int64_t delays_ms[] = {100, 200, 400, 800, 1600, 3200, 6400, 10000, 10000, 10000};
    struct fixture *f = *state;

    run(f);
    for (size_t i = 0; i < sizeof(delays_ms) / sizeof(delays_ms[0]); i++) {
        exits(f, WORKER_0, 1);
        assert_did(f, "");
        assert_int_equal(f->crew.children[WORKER_0].due_ms, f->now_ms + delays_ms[i]);
        while (f->crew.children[WORKER_0].state == CHILD_WAITING) {
            advance(f);
            for (size_t child = SIGNER; child <= SCHEDULER; child++)
                pong(f, child);
        }
        forget(f);
    }
}

static void who_dies_old_is_replaced_at_once(void **state)
{
    struct fixture *f = *state;

    run(f);
    f->now_ms += CREW_YOUNG_MS;
    exits(f, SIGNER, -11);
    assert_did(f, "ping w0;ping w1;ping scheduler;spawn signer;signer-w0;signer-w1;start signer;");
}

static void a_worker_is_not_started_without_a_signer(void **state)
{
    struct fixture *f = *state;

    run(f);
    exits(f, SIGNER, -11);
    f->now_ms += 50;
    exits(f, WORKER_0, -11);
    f->now_ms += 50;
    crew_step(&f->crew, f->now_ms);
    assert_did(f, "spawn signer;signer-w1;start signer;");
    advance(f);
    assert_did(f, "spawn w0;w0-signer;w0-scheduler;start w0;");
}

static void a_worker_waits_in_spawned_until_the_signer_lives(void **state)
{
    struct fixture *f = *state;

    run(f);
    exits(f, WORKER_0, -11); /* due in 100 ms */
    f->now_ms += 50;
    exits(f, SIGNER, -11); /* due in 150 ms */
    f->now_ms += 50;
    crew_step(&f->crew, f->now_ms);
    assert_did(f, "spawn w0;w0-scheduler;");
    assert_int_equal(f->crew.children[WORKER_0].state, CHILD_SPAWNED);
    advance(f);
    assert_did(f, "spawn signer;signer-w0;signer-w1;start signer;start w0;");
}

static void a_dead_scheduler_takes_the_workers_along_before_the_next(void **state)
{
    struct fixture *f = *state;

    run(f);
    f->now_ms += CREW_YOUNG_MS - 1;
    for (size_t child = SIGNER; child <= SCHEDULER; child++)
        pong(f, child);
    exits(f, SCHEDULER, -9);
    assert_did(f, "[restarting];kill w0;kill w1;ping signer;");
    f->now_ms += 1000;
    exits(f, WORKER_1, -9);
    assert_did(f, "");
    exits(f, WORKER_0, -9);
    assert_did(f, "[starting];spawn w0;w0-signer;spawn w1;w1-signer;"
                  "spawn scheduler;scheduler-w0;scheduler-w1;"
                  "start w0;start w1;start scheduler;");
    all_ready(f);
    assert_did(f, "[running];");
}

static void a_refusal_at_the_start_ends_the_supervisor_with_its_code(void **state)
{
    struct fixture *f = *state;

    crew_step(&f->crew, f->now_ms);
    forget(f);
    crew_lost(&f->crew, SIGNER, f->now_ms);
    exits(f, SIGNER, FP_EXIT_CONFIG);
    assert_did(f, "[stopping];stop w0;stop w1;stop scheduler;");
    exits(f, WORKER_0, 0);
    exits(f, SCHEDULER, 0);
    assert_did(f, "");
    exits(f, WORKER_1, 0);
    assert_did(f, "[ended];");
    assert_int_equal(f->crew.exit_code, FP_EXIT_CONFIG);
    assert_int_equal(crew_next_ms(&f->crew), INT64_MAX);
}

static void a_refusal_later_is_a_crash(void **state)
{
    struct fixture *f = *state;

    run(f);
    exits(f, WORKER_0, FP_EXIT_CONFIG);
    assert_int_equal(f->crew.state, CREW_RUNNING);
    assert_int_equal(f->crew.children[WORKER_0].state, CHILD_WAITING);
}

static void stop_and_reap(struct fixture *f)
{
    for (size_t child = SIGNER; child <= SCHEDULER; child++) {
        if (child != QUARANTINE)
            exits(f, child, 0);
    }
}

static void the_first_sigterm_drains(void **state)
{
    struct fixture *f = *state;

    run(f);
    crew_terminate(&f->crew, 25, f->now_ms);
    assert_did(f, "[draining];drain scheduler 25;");
    exits(f, SIGNER, -11); /* what is on the wire may still want a signature */
    advance(f);
    assert_did(f, "spawn signer;signer-w0;signer-w1;start signer;");
    crew_drained(&f->crew, f->now_ms);
    assert_did(f, "[stopping];stop signer;stop w0;stop w1;stop scheduler;");
    stop_and_reap(f);
    assert_did(f, "[ended];");
    assert_int_equal(f->crew.exit_code, FP_EXIT_OK);
}

static void the_second_sigterm_kills(void **state)
{
    struct fixture *f = *state;

    run(f);
    crew_terminate(&f->crew, 25, f->now_ms);
    forget(f);
    crew_terminate(&f->crew, 25, f->now_ms);
    assert_did(f, "[killing];kill signer;kill w0;kill w1;kill scheduler;");
    stop_and_reap(f);
    assert_did(f, "[ended];");
    assert_int_equal(f->crew.exit_code, FP_EXIT_FAILURE);
}

static void a_drain_ends_at_its_deadline(void **state)
{
    struct fixture *f = *state;
    int64_t start_ms = f->now_ms;

    run(f);
    crew_terminate(&f->crew, 2, f->now_ms);
    while (f->crew.state == CREW_DRAINING) {
        forget(f);
        advance(f);
        for (size_t child = SIGNER; child <= SCHEDULER; child++)
            pong(f, child);
    }
    assert_int_equal(f->now_ms - start_ms, 2000 + CREW_STOP_MS);
    assert_did(f, "[killing];kill signer;kill w0;kill w1;kill scheduler;");
    stop_and_reap(f);
    assert_int_equal(f->crew.exit_code, FP_EXIT_FAILURE);
}

static void who_does_not_stop_is_killed_after_five_seconds(void **state)
{
    struct fixture *f = *state;
    int64_t start_ms = f->now_ms;

    run(f);
    crew_terminate(&f->crew, 25, f->now_ms);
    crew_drained(&f->crew, f->now_ms);
    exits(f, SIGNER, 0);
    exits(f, WORKER_0, 0);
    exits(f, WORKER_1, 0);
    forget(f);
    advance(f);
    assert_int_equal(f->now_ms - start_ms, CREW_STOP_MS);
    assert_did(f, "[killing];kill scheduler;");
    exits(f, SCHEDULER, -9);
    assert_did(f, "[ended];");
    assert_int_equal(f->crew.exit_code, FP_EXIT_OK); /* everything had been returned */
}

static void an_unkillable_one_does_not_hold_the_supervisor(void **state)
{
    struct fixture *f = *state;

    run(f);
    crew_terminate(&f->crew, 25, f->now_ms);
    crew_terminate(&f->crew, 25, f->now_ms);
    forget(f);
    advance(f);
    assert_did(f, "[ended];");
}

static void a_scheduler_that_drained_by_itself_ends_all(void **state)
{
    struct fixture *f = *state;

    run(f);
    crew_drained(&f->crew, f->now_ms);
    assert_did(f, "[stopping];stop signer;stop w0;stop w1;stop scheduler;");
    stop_and_reap(f);
    assert_int_equal(f->crew.exit_code, FP_EXIT_OK);
}

static void a_scheduler_that_dies_in_the_drain_leaves_claims(void **state)
{
    struct fixture *f = *state;

    run(f);
    crew_terminate(&f->crew, 25, f->now_ms);
    forget(f);
    exits(f, SCHEDULER, -9);
    assert_did(f, "[stopping];stop signer;stop w0;stop w1;");
    exits(f, SIGNER, 0);
    exits(f, WORKER_0, 0);
    exits(f, WORKER_1, 0);
    assert_int_equal(f->crew.state, CREW_ENDED);
    assert_int_equal(f->crew.exit_code, FP_EXIT_FAILURE);
}

static void a_stuck_worker_is_killed_for_the_scheduler(void **state)
{
    struct fixture *f = *state;

    run(f);
    assert_true(crew_kill_worker(&f->crew, 1, f->now_ms));
    assert_did(f, "kill w1;");
    assert_true(crew_kill_worker(&f->crew, 1, f->now_ms));
    assert_did(f, ""); /* it is on its way */
    assert_false(crew_kill_worker(&f->crew, 2, f->now_ms));
}

static void the_quarantine_worker_comes_and_goes(void **state)
{
    struct fixture *f = *state;

    run(f);
    crew_quarantine(&f->crew, true, f->now_ms);
    assert_did(f, "spawn quarantine;quarantine-signer;quarantine-scheduler;start quarantine;");
    f->now_ms += 1000;
    exits(f, QUARANTINE, -11);
    advance(f);
    assert_did(f, "spawn quarantine;quarantine-signer;quarantine-scheduler;start quarantine;");
    crew_quarantine(&f->crew, false, f->now_ms);
    assert_did(f, "stop quarantine;");
    exits(f, QUARANTINE, 0);
    assert_did(f, "");
    assert_int_equal(f->crew.children[QUARANTINE].state, CHILD_ABSENT);
}

static void the_next_scheduler_asks_for_quarantine_anew(void **state)
{
    struct fixture *f = *state;

    run(f);
    crew_quarantine(&f->crew, true, f->now_ms);
    forget(f);
    exits(f, SCHEDULER, -9);
    exits(f, WORKER_0, -9);
    exits(f, WORKER_1, -9);
    assert_int_equal(f->crew.state, CREW_RESTARTING);
    exits(f, QUARANTINE, -9);
    assert_did(f, "[restarting];kill w0;kill w1;kill quarantine;"
                  "[starting];spawn w0;w0-signer;spawn w1;w1-signer;");
    assert_int_equal(f->crew.children[QUARANTINE].state, CHILD_ABSENT);
}

static void a_child_that_cannot_be_spawned_is_tried_again(void **state)
{
    struct fixture *f = *state;

    f->spawn_fails = true;
    crew_step(&f->crew, f->now_ms);
    assert_did(f, "spawn signer;spawn w0;spawn w1;spawn scheduler;");
    assert_int_equal(crew_next_ms(&f->crew), f->now_ms + CREW_MIN_BACKOFF_MS);
    f->spawn_fails = false;
    advance(f);
    all_ready(f);
    assert_int_equal(f->crew.state, CREW_RUNNING);
}

static void who_closes_its_socket_has_a_second_to_exit(void **state)
{
    struct fixture *f = *state;

    run(f);
    crew_lost(&f->crew, WORKER_0, f->now_ms);
    assert_did(f, "");
    assert_int_equal(crew_next_ms(&f->crew), f->now_ms + CREW_CLOSED_MS);
    advance(f);
    assert_did(f, "kill w0;");
}

/* ---- the admin process ---- */

static void the_admin_process_starts_last_and_is_waited_for_by_nobody(void **state)
{
    struct fixture *f = *state;

    crew_step(&f->crew, f->now_ms);
    assert_did(f, "spawn signer;spawn w0;w0-signer;spawn w1;w1-signer;"
                  "spawn scheduler;scheduler-w0;scheduler-w1;spawn admin;"
                  "start signer;start w0;start w1;start scheduler;start admin;");
    all_ready(f);
    assert_did(f, "[running];");
}

static void the_admin_process_dies_alone(void **state)
{
    static const int codes[] = {-11, FP_EXIT_CONFIG, FP_EXIT_NO_PERMISSION};
    struct fixture *f = *state;

    crew_step(&f->crew, f->now_ms);
    for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
        forget(f);
        exits(f, ADMIN, codes[i]); /* the first time at the start, when it would end the others */
        assert_int_equal(f->crew.children[ADMIN].state, CHILD_WAITING);
        assert_did(f, "");
        advance(f);
        assert_did(f, "spawn admin;start admin;");
        if (i == 0)
            all_ready(f);
    }
    assert_int_equal(f->crew.state, CREW_RUNNING);
}

static void the_admin_process_outlives_a_scheduler(void **state)
{
    struct fixture *f = *state;

    run(f);
    f->now_ms += CREW_YOUNG_MS;
    exits(f, SCHEDULER, -11);
    assert_did(f, "[restarting];kill w0;kill w1;ping signer;ping admin;");
    exits(f, ADMIN, -11);
    assert_did(f, "spawn admin;start admin;");
}

static void the_admin_process_is_stopped_when_all_others_are_gone(void **state)
{
    static const size_t others[] = {SIGNER, WORKER_0, WORKER_1};
    struct fixture *f = *state;

    run(f);
    crew_terminate(&f->crew, 25, f->now_ms);
    forget(f);
    crew_drained(&f->crew, f->now_ms);
    assert_did(f, "[stopping];stop signer;stop w0;stop w1;stop scheduler;");
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
        exits(f, others[i], 0);
    assert_did(f, "");
    exits(f, SCHEDULER, 0);
    assert_did(f, "stop admin;");
    exits(f, ADMIN, 0);
    assert_did(f, "[ended];");
    assert_int_equal(f->crew.exit_code, FP_EXIT_OK);
}

static void an_admin_process_that_does_not_stop_is_killed(void **state)
{
    static const size_t others[] = {SIGNER, WORKER_0, WORKER_1, SCHEDULER};
    struct fixture *f = *state;

    run(f);
    crew_drained(&f->crew, f->now_ms);
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
        exits(f, others[i], 0);
    forget(f);
    f->now_ms += CREW_STOP_MS;
    crew_step(&f->crew, f->now_ms);
    assert_did(f, "[killing];kill admin;");
    exits(f, ADMIN, -9);
    assert_did(f, "[ended];");
    assert_int_equal(f->crew.exit_code, FP_EXIT_OK);
}

int main(void)
{
#define ADMIN_CASE(name) cmocka_unit_test_setup_teardown(name, set_up_with_admin, tear_down)
#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        CASE(each_is_started_after_all_have_their_channels),
        CASE(all_are_pinged_each_five_seconds),
        CASE(the_silent_one_is_killed_and_replaced),
        CASE(the_scheduler_may_be_silent_a_little_longer),
        CASE(its_own_sleep_is_nobodys_silence),
        CASE(who_dies_young_waits_longer_each_time),
        CASE(who_dies_old_is_replaced_at_once),
        CASE(a_worker_is_not_started_without_a_signer),
        CASE(a_worker_waits_in_spawned_until_the_signer_lives),
        CASE(a_dead_scheduler_takes_the_workers_along_before_the_next),
        CASE(a_refusal_at_the_start_ends_the_supervisor_with_its_code),
        CASE(a_refusal_later_is_a_crash),
        CASE(the_first_sigterm_drains),
        CASE(the_second_sigterm_kills),
        CASE(a_drain_ends_at_its_deadline),
        CASE(who_does_not_stop_is_killed_after_five_seconds),
        CASE(an_unkillable_one_does_not_hold_the_supervisor),
        CASE(a_scheduler_that_drained_by_itself_ends_all),
        CASE(a_scheduler_that_dies_in_the_drain_leaves_claims),
        CASE(a_stuck_worker_is_killed_for_the_scheduler),
        CASE(the_quarantine_worker_comes_and_goes),
        CASE(the_next_scheduler_asks_for_quarantine_anew),
        CASE(a_child_that_cannot_be_spawned_is_tried_again),
        CASE(who_closes_its_socket_has_a_second_to_exit),
        ADMIN_CASE(the_admin_process_starts_last_and_is_waited_for_by_nobody),
        ADMIN_CASE(the_admin_process_dies_alone),
        ADMIN_CASE(the_admin_process_outlives_a_scheduler),
        ADMIN_CASE(the_admin_process_is_stopped_when_all_others_are_gone),
        ADMIN_CASE(an_admin_process_that_does_not_stop_is_killed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
