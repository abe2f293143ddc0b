/* The Metrics page's keys and numbers, as each version of Sidekiq reads them, in a real Redis. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "sched/metrics.h"
#include "store.h"

#define JOB "ActivityPub::DeliveryWorker"
#define LOW "ActivityPub::LowPriorityDeliveryWorker"

/* One minute where each padding shows: 2026-11-03 07:05:09 UTC, and one where none does. */
enum { PADDED_S = 1793689509, PLAIN_S = 1795419299 /* 2026-11-23 07:34:59 */ };

struct fixture {
    struct store store;
    struct clock clock;
    int64_t wall_s;
    struct incumbent_version sidekiq;
    struct metrics *metrics;
};

static int64_t wall_us(void *arg)
{
    return *(int64_t *)arg * 1000000;
}

static int start(void **state)
{
    struct fixture *f = mem_alloc(sizeof(*f));

    store_start(&f->store);
    f->wall_s = PADDED_S;
    f->clock = (struct clock){NULL, wall_us, &f->wall_s};
    store_connect(&f->store);
    f->metrics = metrics_create(&f->clock, f->store.redis, &f->store.keys, &f->sidekiq);
    *state = f;
    return 0;
}

static int end(void **state)
{
    struct fixture *f = *state;

    redis_destroy(f->store.redis);
    metrics_destroy(f->metrics);
    store_stop(&f->store);
    free(f);
    return 0;
}

static void use(struct fixture *f, const char *version)
{
    assert_true(incumbent_version_parse(&f->sidekiq, str_of(version)));
}

static void flush(struct fixture *f)
{
    metrics_flush(f->metrics);
    store_settle(&f->store, f->store.redis, 1);
}

static void count_some(struct fixture *f)
{
    metrics_count(f->metrics, STR(JOB), false, 19);
    metrics_count(f->metrics, STR(JOB), false, 20);
    metrics_count(f->metrics, STR(JOB), false, 29);
    metrics_count(f->metrics, STR(JOB), true, 7777);
    metrics_count(f->metrics, STR(LOW), true, 5);
}

/* The three fields of each class; a failure's time counts nowhere. */
static void expect_totals(struct fixture *f, const char *key, const char *ttl_s)
{
    store_expect(&f->store, "4|1|68|1|1|nil",
                 "HMGET %s " JOB "|p " JOB "|f " JOB "|ms " LOW "|p " LOW "|f " LOW "|ms", key);
    store_expect(&f->store, ttl_s, "TTL %s", key);
}

static void expect_histogram(struct fixture *f, const char *key)
{
    store_expect(&f->store, "1|2|0|0",
                 "BITFIELD_RO %s GET u16 #0 GET u16 #1 GET u16 #2 GET u16 #25", key);
    store_expect(&f->store, "28800", "TTL %s", key);
}

static void sidekiq_7_pads_day_and_hour_of_a_histogram(void **state)
{
    struct fixture *f = *state;

    use(f, "7.3.9");
    count_some(f);
    flush(f);
    expect_totals(f, "j|20261103|7:5", "28800");
    expect_histogram(f, JOB "-03-07:5");
    store_expect(&f->store, "2", "DBSIZE");
    f->wall_s = PLAIN_S;
    count_some(f);
    flush(f);
    expect_totals(f, "j|20261123|7:34", "28800");
    expect_histogram(f, JOB "-23-07:34");
    store_expect(&f->store, "4", "DBSIZE");
}

static void sidekiq_8_pads_the_minute_of_a_hash(void **state)
{
    static const char *const versions[] = {"8.0.9", "8.1.6"};
    struct fixture *f = *state;

    for (size_t i = 0; i < 2; i++) {
        store_expect(&f->store, "OK", "FLUSHALL");
        use(f, versions[i]);
        f->wall_s = PADDED_S;
        count_some(f);
        flush(f);
        expect_totals(f, "j|261103|7:05", "28800");
        expect_totals(f, "j|261103|7:0", "259200");
        expect_histogram(f, "h|" JOB "-3-7:5");
        store_expect(&f->store, "3", "DBSIZE");
        f->wall_s = PLAIN_S;
        count_some(f);
        flush(f);
        expect_totals(f, "j|261123|7:34", "28800");
        expect_totals(f, "j|261123|7:3", "259200");
        expect_histogram(f, "h|" JOB "-23-7:34");
        store_expect(&f->store, "6", "DBSIZE");
    }
}

static void sidekiq_6_has_no_such_page(void **state)
{
    struct fixture *f = *state;

    use(f, "6.5.12");
    count_some(f);
    flush(f);
    store_expect(&f->store, "0", "DBSIZE");
    use(f, "8.1.6"); /* what was counted under 6 is over */
    flush(f);
    store_expect(&f->store, "0", "DBSIZE");
}

static void flushes_of_one_minute_add_up_and_saturate(void **state)
{
    struct fixture *f = *state;

    use(f, "8.1.6");
    count_some(f);
    flush(f);
    metrics_count(f->metrics, STR(JOB), false, 1000000);
    flush(f);
    flush(f); /* nothing to tell */
    store_expect(&f->store, "5|1|1000068", "HMGET j|261103|7:05 " JOB "|p " JOB "|f " JOB "|ms");
    store_expect(&f->store, "1|2|1",
                 "BITFIELD_RO h|" JOB "-3-7:5 GET u16 #0 GET u16 #1 GET u16 #25");
    for (unsigned i = 0; i < 70000; i++)
        metrics_count(f->metrics, STR(JOB), false, 1);
    flush(f);
    store_expect(&f->store, "65535|2", "BITFIELD_RO h|" JOB "-3-7:5 GET u16 #0 GET u16 #1");
    store_expect(&f->store, "70005", "HGET j|261103|7:05 " JOB "|p");
}

static void what_would_break_a_reader_is_left_out(void **state)
{
    struct fixture *f = *state;
    char name[] = "A::Worker0";

    use(f, "8.1.6");
    metrics_count(f->metrics, STR("A|B"), false, 1);
    metrics_count(f->metrics, STR(""), false, 1);
    flush(f);
    store_expect(&f->store, "0", "DBSIZE");
    for (; name[9] < '0' + METRICS_MAX_CLASSES + 1; name[9]++)
        metrics_count(f->metrics, str_of(name), true, 1);
    flush(f);
    store_expect(&f->store, "16", "HLEN j|261103|7:05"); /* runs and failures of eight */
}

static void slots_begin_at_their_limits(void **state)
{
    static const uint64_t limits_ms[] = {
        20,   30,   45,   65,    100,   150,   225,   335,   500,    750,    1100,   1700,  2500,
        3800, 5750, 8500, 13000, 20000, 30000, 45000, 65000, 100000, 150000, 225000, 335000};

    (void)state;
    assert_int_equal(metrics_slot(0), 0);
    for (unsigned i = 0; i < 25; i++) {
        assert_int_equal(metrics_slot(limits_ms[i] - 1), i);
        assert_int_equal(metrics_slot(limits_ms[i]), i + 1);
    }
    assert_int_equal(metrics_slot(UINT64_MAX), 25);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(sidekiq_7_pads_day_and_hour_of_a_histogram, start, end),
        cmocka_unit_test_setup_teardown(sidekiq_8_pads_the_minute_of_a_hash, start, end),
        cmocka_unit_test_setup_teardown(sidekiq_6_has_no_such_page, start, end),
        cmocka_unit_test_setup_teardown(flushes_of_one_minute_add_up_and_saturate, start, end),
        cmocka_unit_test_setup_teardown(what_would_break_a_reader_is_left_out, start, end),
        cmocka_unit_test(slots_begin_at_their_limits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
