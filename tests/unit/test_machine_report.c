#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "sched/machine_report.h"

static json_t *parse(const struct machine_report *report)
{
    struct buf text;
    json_error_t error;

    buf_init(&text, MACHINE_REPORT_BYTES);
    machine_report_put(&text, report);
    assert_false(text.overflow);
    json_t *root =
        json_loadb(buf_str(&text).ptr, buf_str(&text).len, JSON_REJECT_DUPLICATES, &error);
    assert_non_null(root);
    buf_clear(&text);
    return root;
}

static void assert_number(const json_t *object, const char *name, double expected)
{
    const json_t *value = json_object_get(object, name);
    assert_true(json_is_number(value));
    assert_true(json_number_value(value) == expected);
}

static void assert_text(const json_t *object, const char *name, const char *expected)
{
    assert_string_equal(json_string_value(json_object_get(object, name)), expected);
}

static void every_member_has_its_place(void **state)
{
    struct counts counts = {.results = {11, 12, 13, 14},
                            .sent_bytes = UINT64_C(1) << 40,
                            .unresolved = 15,
                            .latency = {[0] = 1, [23] = 2}};
    const struct machine_report report = {.at_ms = 1764400000007,
                                          .host = STR("mx1"),
                                          .mastodon = "4.5.15",
                                          .sidekiq = STR("8.1.6, seen in vm:1"),
                                          .state = "running",
                                          .suspicious = true,
                                          .started_ms = 1764300000500,
                                          .workers = 2,
                                          .in_flight = 3,
                                          .slots = 2048,
                                          .held = 100,
                                          .waiting = 80,
                                          .lookahead = 4096,
                                          .lanes = 300,
                                          .open_circuits = 4,
                                          .keys_waiting = 5,
                                          .lag_ms = 6,
                                          .cores = 0.25,
                                          .rss_bytes = 70000000,
                                          .recent = {21, 22, 23, 24},
                                          .counts = &counts,
                                          .handed_off = 16,
                                          .postgres = ""};
    json_t *root = parse(&report);
    const json_t *recent = json_object_get(root, "recent");
    const json_t *totals = json_object_get(root, "totals");
    const json_t *latency = json_object_get(root, "latency");
    (void)state;

    assert_number(root, "v", 1);
    assert_number(root, "at", 1764400000.007);
    assert_text(root, "host", "mx1");
    assert_text(root, "version", FEDPUSH_VERSION);
    assert_text(root, "mastodon", "4.5.15");
    assert_text(root, "sidekiq", "8.1.6, seen in vm:1");
    assert_text(root, "state", "running");
    assert_true(json_is_true(json_object_get(root, "suspicious")));
    assert_number(root, "started_at", 1764300000.5);
    static const char *const names[] = {
        "workers",       "in_flight",    "slots",  "held", "waiting",   "lookahead",   "lanes",
        "open_circuits", "keys_waiting", "lag_ms", "cpu",  "rss_bytes", "dns_failures"};
    static const double values[] = {2, 3, 2048, 100, 80, 4096, 300, 4, 5, 6, 0.25, 70000000, 15};
    for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++)
        assert_number(root, names[i], values[i]);
    static const char *const results[] = {"delivered", "retried", "rejected", "exhausted"};
    for (int i = 0; i < HEALTH_RESULTS; i++) {
        assert_number(totals, results[i], 11 + i);
        assert_number(recent, results[i], 21 + i);
    }
    assert_number(recent, "seconds", 60);
    assert_number(totals, "handed_off", 16);
    assert_number(totals, "sent_bytes", 1099511627776.0);
    assert_int_equal(json_array_size(latency), COUNTS_BUCKETS);
    assert_int_equal(json_integer_value(json_array_get(latency, 0)), 1);
    assert_int_equal(json_integer_value(json_array_get(latency, 23)), 2);
    assert_true(json_is_null(json_object_get(root, "postgres")));
    json_decref(root);
}

static void what_is_unknown_is_null_and_what_strangers_wrote_is_escaped(void **state)
{
    struct counts counts = {0};
    const struct machine_report report = {.host = STR("a\"b\n"),
                                          .mastodon = "",
                                          .state = "quiet",
                                          .cores = -1,
                                          .rss_bytes = -1,
                                          .counts = &counts,
                                          .postgres = "no \"route\""};
    json_t *root = parse(&report);
    (void)state;

    assert_true(json_is_null(json_object_get(root, "cpu")));
    assert_true(json_is_null(json_object_get(root, "rss_bytes")));
    assert_text(root, "host", "a\"b\n");
    assert_text(root, "postgres", "no \"route\"");
    json_decref(root);
}

static void the_largest_numbers_fit(void **state)
{
    struct counts counts;
    struct machine_report report = {.mastodon = "4.5.15",
                                    .state = "running",
                                    .postgres = "",
                                    .held = SIZE_MAX,
                                    .cores = 4096,
                                    .rss_bytes = INT64_MAX,
                                    .counts = &counts,
                                    .handed_off = UINT64_MAX};
    struct buf text;
    (void)state;

    memset(&counts, 0xff, sizeof(counts));
    memset(report.recent, 0xff, sizeof(report.recent));
    buf_init(&text, MACHINE_REPORT_BYTES - 1024 /* names and problems */);
    machine_report_put(&text, &report);
    assert_false(text.overflow);
    buf_clear(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_member_has_its_place),
        cmocka_unit_test(what_is_unknown_is_null_and_what_strangers_wrote_is_escaped),
        cmocka_unit_test(the_largest_numbers_fit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
