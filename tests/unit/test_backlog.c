/* What waits in the queue, against a real Redis. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "sched/backlog.h"
#include "store.h"

struct fixture {
    struct store store;
    struct clock clock;
    int64_t now_ms;
    struct backlog *backlog;
};

static int64_t mono_ms(void *arg)
{
    return *(int64_t *)arg;
}

static int64_t wall_us(void *arg)
{
    return (INT64_C(1700000000000) + *(int64_t *)arg) * 1000;
}

static int start(void **state)
{
    struct fixture *f = mem_alloc(sizeof(*f));

    store_start(&f->store);
    f->now_ms = 100000;
    f->clock = (struct clock){mono_ms, wall_us, &f->now_ms};
    store_connect(&f->store);
    f->backlog = backlog_create(&f->clock, f->store.redis, &f->store.keys);
    *state = f;
    return 0;
}

static int end(void **state)
{
    struct fixture *f = *state;

    redis_destroy(f->store.redis);
    backlog_destroy(f->backlog);
    store_stop(&f->store);
    free(f);
    return 0;
}

/* Time goes on by a look, which is waited for. */
static void look(struct fixture *f)
{
    f->now_ms += BACKLOG_EACH_MS;
    backlog_tick(f->backlog);
    store_settle(&f->store, f->store.redis, 1);
}

static void nothing_is_known_before_the_first_look(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(backlog_length(f->backlog), -1);
    assert_int_equal(backlog_oldest_ms(f->backlog), -1);
    look(f);
    assert_int_equal(backlog_length(f->backlog), 0);
    assert_int_equal(backlog_oldest_ms(f->backlog), 0);
    f->now_ms += 3 * BACKLOG_EACH_MS; /* Redis doesn't answer any more */
    assert_int_equal(backlog_length(f->backlog), -1);
    assert_int_equal(backlog_oldest_ms(f->backlog), -1);
}

static void the_job_that_is_served_next_is_the_oldest(void **state)
{
    static const struct {
        const char *job;
        int64_t age_ms;
    } rows[] = {
        {"{\"enqueued_at\":1700000100.5,\"args\":[]}", 9500},
        {"{\"enqueued_at\":1700000100500}", 9500},
        {"{\"enqueued_at\":1700009999}", 0}, /* another machine's clock */
        {"{\"enqueued_at\":\"1700000100\"}", -1},
        {"{}", -1},
        {"{broken", -1},
    };
    struct fixture *f = *state;

    store_expect(&f->store, NULL, "LPUSH queue:push %s", "{\"enqueued_at\":1700000109}");
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        f->now_ms = 100000;
        store_expect(&f->store, NULL, "RPUSH queue:push %s", rows[i].job);
        look(f);
        assert_int_equal(backlog_length(f->backlog), 2);
        assert_int_equal(backlog_oldest_ms(f->backlog), rows[i].age_ms);
        store_expect(&f->store, NULL, "RPOP queue:push");
        backlog_destroy(f->backlog);
        f->backlog = backlog_create(&f->clock, f->store.redis, &f->store.keys);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(nothing_is_known_before_the_first_look, start, end),
        cmocka_unit_test_setup_teardown(the_job_that_is_served_next_is_the_oldest, start, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
