/* Figures as Prometheus reads them. tests/integration/test_prometheus.py has promtool judge all. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "admin/prometheus.h"

static const char overview_text[] =
    "{\"at\": 1, \"paused\": null, \"suspicious\": [\"mx2\"], \"in_flight\": 5, \"held\": 9,"
    " \"held_by_dead\": 2, \"open_circuits\": 1, \"sidekiq\": \"8.0.9\","
    " \"queues\": [{\"name\": \"push\", \"length\": 7, \"oldest_age_s\": 1.5, \"consumers\": 2}],"
    " \"later\": {\"retry\": 1, \"schedule\": null, \"dead\": 3},"
    " \"handoff\": [{\"queue\": \"default\", \"length\": 4, \"consumers\": 0}],"
    " \"ledger\": {\"missing\": -1}, \"redis\": {\"used_bytes\": 1000000, \"max_bytes\": null},"
    " \"alerts\": [{\"id\": \"handoff default\"}],"
    " \"machines\": [{\"identity\": \"mx1:9:0\", \"alive\": false, \"report\": {\"host\": "
    "\"mx1\", \"in_flight\": 77}},"
    " {\"identity\": \"mx1:1:a\", \"alive\": true, \"report\": {\"host\": \"mx1\", \"version\": "
    "\"0.1.0\", \"mastodon\": \"4.5.15\", \"state\": \"running\", \"suspicious\": true,"
    " \"lag_ms\": 3, \"cpu\": null, \"rss_bytes\": 70000000, \"postgres\": null,"
    " \"totals\": {\"delivered\": 3, \"retried\": 1, \"rejected\": 0, \"exhausted\": 0,"
    " \"handed_off\": 2, \"sent_bytes\": 12345678901},"
    " \"latency\": [1,0,2,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,4]}},"
    " {\"identity\": \"mx2:1:b\", \"alive\": true, \"report\": {\"host\": \"mx2\", \"in_flight\": "
    "88}}]}";

static struct buf out;

static int setup(void **state)
{
    (void)state;
    buf_init(&out, 1 << 20);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    buf_clear(&out);
    return 0;
}

static json_t *parse(const char *text)
{
    json_error_t error;
    json_t *value = json_loads(text, 0, &error);

    if (value == NULL)
        fail_msg("%s in %s", error.text, text);
    return value;
}

static void put_overview(const char *text, struct str machine)
{
    json_t *overview = parse(text);

    prometheus_put_overview(&out, overview, machine);
    json_decref(overview);
}

static bool has(const char *line)
{
    char *whole = mem_printf("\n%s\n", line);
    bool found = strstr(buf_cstr(&out), whole) != NULL;

    free(whole);
    return found;
}

static void assert_has(const char *line)
{
    if (!has(line))
        fail_msg("no \"%s\" in:\n%s", line, buf_cstr(&out));
}

static void what_is_this_machines_is_its_own(void **state)
{
    (void)state;

    put_overview(overview_text, STR("mx1:1:"));
    assert_has("fedpush_up 1");
    assert_has("fedpush_info{version=\"0.1.0\",mastodon=\"4.5.15\",sidekiq=\"8.0.9\"} 1");
    assert_has("fedpush_state{state=\"running\"} 1");
    assert_has("fedpush_suspicious 1");
    assert_has("fedpush_postgres_up 1");
    assert_has("fedpush_loop_lag_seconds 0.003");
    assert_has("fedpush_resident_memory_bytes 70000000");
    assert_has("# TYPE fedpush_deliveries_total counter");
    assert_has("fedpush_deliveries_total{outcome=\"delivered\"} 3");
    assert_has("fedpush_handed_off_jobs_total 2");
    assert_has("fedpush_sent_bytes_total 12345678901");
    assert_null(strstr(buf_cstr(&out), "fedpush_cpu_cores"));  /* unknown */
    assert_null(strstr(buf_cstr(&out), "fedpush_in_flight ")); /* of others */
}

static void buckets_are_cumulative_and_in_seconds(void **state)
{
    (void)state;

    put_overview(overview_text, STR("mx1:1:"));
    assert_has("fedpush_delivery_duration_seconds_bucket{le=\"0.001\"} 1");
    assert_has("fedpush_delivery_duration_seconds_bucket{le=\"0.002\"} 1");
    assert_has("fedpush_delivery_duration_seconds_bucket{le=\"0.004\"} 3");
    assert_has("fedpush_delivery_duration_seconds_bucket{le=\"4194.304\"} 3");
    assert_has("fedpush_delivery_duration_seconds_bucket{le=\"+Inf\"} 7");
    assert_has("fedpush_delivery_duration_seconds_count 7");
}

static void what_is_the_fleets_every_machine_says(void **state)
{
    static const char *const machines[] = {"mx1:1:", "mx2:1:", "mx1:2:"};
    (void)state;

    for (size_t i = 0; i < 3; i++) {
        buf_reset(&out);
        put_overview(overview_text, str_of(machines[i]));
        assert_has("fedpush_fleet_in_flight 5");
        assert_has("fedpush_fleet_dead_owners_jobs 2");
        assert_has("fedpush_fleet_machines{state=\"alive\"} 2");
        assert_has("fedpush_fleet_machines{state=\"dead\"} 1");
        assert_has("fedpush_fleet_queue_jobs{queue=\"push\"} 7");
        assert_has("fedpush_fleet_queue_oldest_age_seconds{queue=\"push\"} 1.5");
        assert_has("fedpush_fleet_handoff_consumers{queue=\"default\"} 0");
        assert_has("fedpush_fleet_later_jobs{set=\"dead\"} 3");
        assert_has("fedpush_fleet_ledger_missing_jobs -1");
        assert_has("fedpush_fleet_redis_memory_bytes 1000000");
        assert_has("fedpush_fleet_suspicious_machines 1");
        assert_has("fedpush_fleet_paused 0");
        assert_has("fedpush_fleet_alerts 1");
        assert_null(strstr(buf_cstr(&out), "set=\"schedule\""));
        assert_null(strstr(buf_cstr(&out), "memory_max"));
    }
    assert_true(str_ends_with(str_of(buf_cstr(&out)), STR("\n")));
    assert_null(strstr(buf_cstr(&out), "fedpush_info"));
}

static void without_figures_it_is_down(void **state)
{
    (void)state;

    prometheus_put_overview(&out, NULL, STR("mx1:1:"));
    assert_string_equal(buf_cstr(&out), "# HELP fedpush_up 1: the scheduler of this machine "
                                        "reports.\n# TYPE fedpush_up gauge\nfedpush_up 0\n");
}

/* `count` domains, the busiest first. */
static json_t *page_of(size_t from, size_t count)
{
    json_t *items = json_array();

    for (size_t i = from; i < from + count; i++) {
        char *host = mem_printf("h%zu.example", i);
        json_array_append_new(
            items, json_pack("{s:s, s:s, s:i, s:i, s:i, s:i, s:i, s:n, s:i}", "host", host, "state",
                             i % 2 == 0 ? "healthy" : "open", "delivered", 1000 - (int)i, "retried",
                             1, "rejected", 0, "exhausted", 0, "total_delivered", 5000, "p95_ms",
                             "consecutive_failures", 0));
        free(host);
    }
    return json_pack("{s:o}", "items", items);
}

static void all_but_twenty_domains_are_one(void **state)
{
    struct prometheus_domains domains;
    size_t series = 0;
    (void)state;

    prometheus_domains_init(&domains);
    for (size_t i = 0; i < 4; i++) {
        json_t *page = page_of(15 * i, 15);
        prometheus_domains_add(&domains, page);
        json_decref(page);
    }
    prometheus_put_domains(&out, &domains);
    prometheus_domains_clear(&domains);
    assert_has("fedpush_domain_last_day_deliveries{domain=\"h19.example\",outcome=\"delivered\"} "
               "981");
    assert_null(strstr(buf_cstr(&out), "h20.example"));
    /* the sum of 1000 - i for 20 <= i < 60 */
    assert_has("fedpush_domain_last_day_deliveries{domain=\"other\",outcome=\"delivered\"} 38420");
    assert_has("fedpush_domain_last_day_deliveries{domain=\"other\",outcome=\"retried\"} 40");
    assert_has("fedpush_fleet_domains{state=\"healthy\"} 30");
    assert_has("fedpush_fleet_domains{state=\"open\"} 30");
    assert_has("fedpush_fleet_domains{state=\"idle\"} 0");
    assert_has("fedpush_domain_delivered_total{domain=\"h0.example\"} 5000");
    assert_null(strstr(buf_cstr(&out), "fedpush_domain_delivered_total{domain=\"other\"}"));
    for (const char *line = buf_cstr(&out); line != NULL; line = strchr(line, '\n')) {
        line += *line == '\n';
        series += *line != '#' && *line != '\0';
        if (*line == '\0')
            break;
    }
    assert_int_equal(series, 7 + 21 * 4 + 20 + 20);
}

static void no_host_breaks_out_of_its_label(void **state)
{
    struct prometheus_domains domains;
    json_t *page =
        parse("{\"items\": [{\"host\": \"a\\\"} 1\\nfake_metric{x=\\\"\\\\\", \"state\": "
              "\"open\", \"delivered\": 1}, {\"host\": \"other\", \"delivered\": 5}]}");
    (void)state;

    prometheus_domains_init(&domains);
    prometheus_domains_add(&domains, page);
    prometheus_put_domains(&out, &domains);
    prometheus_domains_clear(&domains);
    json_decref(page);
    assert_has("fedpush_domain_last_day_deliveries{domain=\"a\\\"} 1?fake_metric{x=\\\"\\\\\","
               "outcome=\"delivered\"} 1");
    assert_null(strstr(buf_cstr(&out), "\nfake"));
    /* a host of the name that the sum has is in it: no series is there twice */
    assert_has("fedpush_domain_last_day_deliveries{domain=\"other\",outcome=\"delivered\"} 5");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(what_is_this_machines_is_its_own),      TEST(buckets_are_cumulative_and_in_seconds),
        TEST(what_is_the_fleets_every_machine_says), TEST(without_figures_it_is_down),
        TEST(all_but_twenty_domains_are_one),        TEST(no_host_breaks_out_of_its_label),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
