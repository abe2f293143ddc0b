/* A clerk with errands that need no server. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdlib.h>

#include "admin/clerk.h"
#include "base/loop.h"
#include "server.h"

enum { MAX_QUEUED = 4, ERRANDS = 20 };

static char none[] = "";
static char redis[] = "redis://127.0.0.1:1/0";
static const struct config config = {.resolvers = none,
                                     .redis_namespace = none,
                                     .redis_base_url = redis,
                                     .redis_sidekiq_url = redis,
                                     .redis_cache_url = redis,
                                     .redis_ca_file = none,
                                     .redis_cert_file = none,
                                     .redis_key_file = none};

struct job {
    struct errand errand; /* first */
    struct fixture *fixture;
    pthread_t ran_in;
    unsigned order;
    bool done;
};

struct fixture {
    struct event_base *base;
    struct clerk *clerk;
    sem_t started;
    sem_t go_on;
    unsigned ran;
    struct job jobs[ERRANDS];
};

static void run(struct errand *errand, struct desk *desk)
{
    struct job *job = (struct job *)errand;

    assert_non_null(desk);
    job->ran_in = pthread_self();
    job->order = job->fixture->ran++;
}

static void run_slowly(struct errand *errand, struct desk *desk)
{
    struct job *job = (struct job *)errand;

    run(errand, desk);
    sem_post(&job->fixture->started);
    sem_wait(&job->fixture->go_on);
}

static void on_done(struct errand *errand)
{
    ((struct job *)errand)->done = true;
}

static int set_up(void **state)
{
    struct fixture *f = mem_alloc(sizeof(*f));
    struct err err;

    f->base = loop_create();
    sem_init(&f->started, 0, 0);
    sem_init(&f->go_on, 0, 0);
    f->clerk = clerk_create(f->base, &config, CLERK_STATE, MAX_QUEUED, &err);
    if (f->clerk == NULL)
        return -1;
    for (size_t i = 0; i < ERRANDS; i++)
        f->jobs[i] = (struct job){.errand = {.run = run, .done = on_done}, .fixture = f};
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;

    clerk_destroy(f->clerk);
    event_base_free(f->base);
    sem_destroy(&f->started);
    sem_destroy(&f->go_on);
    free(f);
    return 0;
}

static void errands_run_in_order_in_another_thread(void **state)
{
    struct fixture *f = *state;

    for (size_t i = 0; i < ERRANDS; i++) {
        while (!clerk_submit(f->clerk, &f->jobs[i].errand))
            server_run(f->base, 1);
    }
    server_wait(f->base, &f->jobs[ERRANDS - 1].done);
    for (size_t i = 0; i < ERRANDS; i++) {
        assert_true(f->jobs[i].done);
        assert_int_equal(f->jobs[i].order, i);
        assert_false(pthread_equal(f->jobs[i].ran_in, pthread_self()));
    }
}

static void no_more_wait_than_there_is_room_for(void **state)
{
    struct fixture *f = *state;

    f->jobs[0].errand.run = run_slowly;
    assert_true(clerk_submit(f->clerk, &f->jobs[0].errand));
    sem_wait(&f->started);
    for (size_t i = 1; i <= MAX_QUEUED; i++)
        assert_true(clerk_submit(f->clerk, &f->jobs[i].errand));
    assert_false(clerk_submit(f->clerk, &f->jobs[MAX_QUEUED + 1].errand));
    sem_post(&f->go_on);
    server_wait(f->base, &f->jobs[MAX_QUEUED].done);
    assert_true(clerk_submit(f->clerk, &f->jobs[MAX_QUEUED + 1].errand));
    server_wait(f->base, &f->jobs[MAX_QUEUED + 1].done);
}

static void what_waits_at_the_end_is_not_run(void **state)
{
    struct fixture *f = *state;

    f->jobs[0].errand.run = run_slowly;
    assert_true(clerk_submit(f->clerk, &f->jobs[0].errand));
    sem_wait(&f->started);
    assert_true(clerk_submit(f->clerk, &f->jobs[1].errand));
    sem_post(&f->go_on);
    clerk_destroy(f->clerk);
    f->clerk = NULL;
    assert_false(f->jobs[0].done);
    assert_true(f->ran <= 2 && !f->jobs[1].done);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        CASE(errands_run_in_order_in_another_thread),
        CASE(no_more_wait_than_there_is_room_for),
        CASE(what_waits_at_the_end_is_not_run),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
