#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "sched/counts.h"

enum { START_MS = 7200000 };

static void add(struct counts *counts, enum health_result result, uint32_t total_ms, int64_t now_ms)
{
    counts_add(
        counts,
        &(struct health_event){
            .result = result, .total_ms = total_ms, .sent_bytes = 100, .unresolved = total_ms == 9},
        now_ms);
}

static void a_bucket_ends_where_the_next_begins(void **state)
{
    static const struct {
        uint32_t ms;
        unsigned bucket;
    } rows[] = {{0, 0},        {1, 1},        {2, 2},        {3, 2},          {4, 3},
                {7, 3},        {8, 4},        {1023, 10},    {1024, 11},      {4194303, 22},
                {4194304, 23}, {8388607, 23}, {8388608, 23}, {UINT32_MAX, 23}};
    (void)state;

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        assert_int_equal(counts_bucket(rows[i].ms), rows[i].bucket);
}

static void everything_is_counted_since_the_start(void **state)
{
    struct counts counts = {0};
    (void)state;

    add(&counts, HEALTH_DELIVERED, 0, START_MS);
    add(&counts, HEALTH_DELIVERED, 5, START_MS + 3600000);
    add(&counts, HEALTH_RETRIED, 9, START_MS + 3600000);
    add(&counts, HEALTH_REJECTED, 9, START_MS + 3600000);
    add(&counts, HEALTH_EXHAUSTED, 10000, START_MS + 7200000);
    assert_int_equal(counts.results[HEALTH_DELIVERED], 2);
    assert_int_equal(counts.results[HEALTH_RETRIED], 1);
    assert_int_equal(counts.results[HEALTH_REJECTED], 1);
    assert_int_equal(counts.results[HEALTH_EXHAUSTED], 1);
    assert_int_equal(counts.sent_bytes, 500);
    assert_int_equal(counts.unresolved, 2);
    assert_int_equal(counts.latency[0], 1);
    assert_int_equal(counts.latency[3], 1);
    assert_int_equal(counts.latency[4], 2);
    assert_int_equal(counts.latency[14], 1);
}

static void a_minute_later_it_is_no_longer_recent(void **state)
{
    struct counts counts = {0};
    uint64_t recent[HEALTH_RESULTS];
    (void)state;

    add(&counts, HEALTH_DELIVERED, 1, START_MS);
    add(&counts, HEALTH_DELIVERED, 1, START_MS + 999);
    add(&counts, HEALTH_RETRIED, 1, START_MS + 30000);
    counts_recent(&counts, START_MS + 59999, recent);
    assert_int_equal(recent[HEALTH_DELIVERED], 2);
    assert_int_equal(recent[HEALTH_RETRIED], 1);
    counts_recent(&counts, START_MS + 60000, recent);
    assert_int_equal(recent[HEALTH_DELIVERED], 0);
    assert_int_equal(recent[HEALTH_RETRIED], 1);
    add(&counts, HEALTH_REJECTED, 1, START_MS + 60000); /* takes the first one's place */
    counts_recent(&counts, START_MS + 89999, recent);
    assert_int_equal(recent[HEALTH_RETRIED], 1);
    assert_int_equal(recent[HEALTH_REJECTED], 1);
    counts_recent(&counts, START_MS + 300000, recent);
    assert_int_equal(recent[HEALTH_REJECTED], 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_bucket_ends_where_the_next_begins),
        cmocka_unit_test(everything_is_counted_since_the_start),
        cmocka_unit_test(a_minute_later_it_is_no_longer_recent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
