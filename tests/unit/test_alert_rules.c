/* Which figures are bad, and what is said of them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "admin/alert_rules.h"

static const struct alert_limits limits = {
    .queue_age_s = 300, .followers = 100, .memory_percent = 90};

static struct alert_looks looks;

static json_t *parse(const char *text)
{
    json_error_t error;
    json_t *value = json_loads(text, 0, &error);

    if (value == NULL)
        fail_msg("%s: %s", text, error.text);
    return value;
}

static void look_at(const char *overview)
{
    json_t *value = parse(overview);

    looks = (struct alert_looks){.looked = 0};
    alert_rules_overview(&looks, value, &limits);
    json_decref(value);
}

static void look_at_domains(const char *page, double now_s)
{
    json_t *value = parse(page);

    looks = (struct alert_looks){.looked = 0};
    alert_rules_domains(&looks, value, &limits, now_s);
    json_decref(value);
}

static const struct alert_look *found(const char *id)
{
    for (size_t i = 0; i < looks.count; i++) {
        if (strcmp(looks.list[i].id, id) == 0)
            return &looks.list[i];
    }
    return NULL;
}

static void each_rule_has_a_limit(void **state)
{
    static const struct {
        const char *overview, *id;
        enum alert_grade grade;
    } cases[] = {
        {"{\"queues\": [{\"name\": \"push\", \"length\": 9, \"oldest_age_s\": 300}]}", "queue-age",
         ALERT_BAD},
        {"{\"queues\": [{\"name\": \"push\", \"length\": 9, \"oldest_age_s\": 299.9}]}",
         "queue-age", ALERT_BETWEEN},
        {"{\"queues\": [{\"name\": \"push\", \"length\": 9, \"oldest_age_s\": 150}]}", "queue-age",
         ALERT_GOOD},
        {"{\"handoff\": [{\"queue\": \"default\", \"length\": 3, \"consumers\": 0}]}",
         "handoff default", ALERT_BAD},
        {"{\"handoff\": [{\"queue\": \"default\", \"length\": 3, \"consumers\": 1}]}",
         "handoff default", ALERT_GOOD},
        {"{\"suspicious\": [\"mx1\"]}", "suspicion mx1", ALERT_BAD},
        {"{\"held_by_dead\": 1}", "dead-owners", ALERT_BAD},
        {"{\"held_by_dead\": 0}", "dead-owners", ALERT_GOOD},
        {"{\"redis\": {\"used_bytes\": 90, \"max_bytes\": 100}}", "redis-memory", ALERT_BAD},
        {"{\"redis\": {\"used_bytes\": 86, \"max_bytes\": 100}}", "redis-memory", ALERT_BETWEEN},
        {"{\"redis\": {\"used_bytes\": 85, \"max_bytes\": 100}}", "redis-memory", ALERT_GOOD},
        {"{\"machines\": [{\"report\": {\"host\": \"mx1\", \"keys_waiting\": 2}}]}", "keys mx1",
         ALERT_BAD},
        {"{\"machines\": [{\"report\": {\"host\": \"mx1\", \"keys_waiting\": 0}}]}", "keys mx1",
         ALERT_GOOD},
        {"{\"ledger\": {\"missing\": 1}}", "ledger", ALERT_BAD},
        {"{\"ledger\": {\"missing\": -1}}", "ledger", ALERT_BAD},
        {"{\"ledger\": {\"missing\": 0}}", "ledger", ALERT_GOOD},
    };
    (void)state;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        look_at(cases[i].overview);
        const struct alert_look *look = found(cases[i].id);
        if (look == NULL || look->grade != cases[i].grade)
            fail_msg("%s: %s", cases[i].overview, look == NULL ? "no look" : look->words.text);
        assert_true(looks.looked == 1U << look->rule);
        assert_true(look->words.text[0] != '\0');
        assert_int_equal(alert_rule_of(str_of(look->id)), look->rule);
    }
}

static void what_is_unknown_is_not_looked_at(void **state)
{
    (void)state;

    look_at("{\"queues\": [{\"name\": \"push\", \"length\": null, \"oldest_age_s\": null}],"
            " \"redis\": null, \"ledger\": null, \"held_by_dead\": null, \"machines\": null}");
    assert_int_equal(looks.looked, 0);
    assert_int_equal(looks.count, 0);
    look_at("{}");
    assert_int_equal(looks.looked, 0);
    look_at("[]");
    assert_int_equal(looks.looked, 0);
}

static void what_may_be_so_is_good(void **state)
{
    (void)state;

    look_at("{\"redis\": {\"used_bytes\": 90, \"max_bytes\": null}, \"suspicious\": [],"
            " \"machines\": [{\"report\": null}], \"handoff\": [],"
            " \"queues\": [{\"name\": \"pull\", \"length\": 9, \"oldest_age_s\": 9999}]}");
    assert_int_equal(looks.count, 0);
    assert_true(looks.looked == (1U << ALERT_REDIS_MEMORY | 1U << ALERT_SUSPICION |
                                 1U << ALERT_KEYS | 1U << ALERT_HANDOFF));
}

static void the_text_names_the_remedy(void **state)
{
    (void)state;

    look_at("{\"queues\": [{\"name\": \"push\", \"length\": 1234, \"oldest_age_s\": 400}]}");
    assert_string_equal(looks.list[0].words.text,
                        "queue push: the oldest of 1234 jobs has waited for 7 "
                        "min (limit: 5 min): fedpush status");
    look_at("{\"paused\": {\"until\": null},"
            " \"queues\": [{\"name\": \"push\", \"length\": 1, \"oldest_age_s\": 400}]}");
    assert_non_null(strstr(looks.list[0].words.text, ": all is paused: fedpush resume"));
    assert_string_equal(looks.list[0].words.code, "alert.queue_paused");
    assert_string_equal(looks.list[0].words.params, "{\"jobs\":1,\"age_s\":400,\"limit_s\":300}");
    look_at("{\"handoff\": [{\"queue\": \"default\", \"length\": 3, \"consumers\": 0}]}");
    assert_string_equal(looks.list[0].words.text,
                        "queue default: no live Sidekiq process serves it (3 "
                        "jobs wait): start one with -q default");
}

#define ITEM(host, state, followers, since)                                                        \
    "{\"items\": [{\"host\": \"" host "\", \"state\": \"" state "\", \"followers\": " followers    \
    ", \"failing_since\": " since ", \"last_error\": \"refused\"}]}"

static void a_domain_counts_by_its_followers(void **state)
{
    static const struct {
        const char *page;
        bool bad;
    } cases[] = {
        {ITEM("a.example", "open", "100", "1000"), true},
        {ITEM("a.example", "failing", "5000", "1100"), true},
        {ITEM("a.example", "open", "99", "1000"), false},
        {ITEM("a.example", "open", "null", "1000"), false},
        {ITEM("a.example", "open", "100", "1101"), false}, /* not for a quarter of an hour yet */
        {ITEM("a.example", "open", "100", "null"), false},
        {ITEM("a.example", "paused", "100", "1000"), false},
        {ITEM("a.example", "unavailable", "100", "1000"), false},
    };
    (void)state;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        look_at_domains(cases[i].page, 2000);
        if ((found("domain-down a.example") != NULL) != cases[i].bad)
            fail_msg("%s", cases[i].page);
    }
    look_at_domains(ITEM("a.example", "open", "120", "200"), 2000);
    assert_string_equal(looks.list[0].words.text,
                        "domain a.example has failed for 30 min; 120 accounts "
                        "there follow accounts here; last error: refused");
}

static void what_strangers_wrote_stays_one_line_of_text(void **state)
{
    char long_name[2000] = "";
    char page[4096];
    (void)state;

    look_at_domains(ITEM("a\\r\\nBcc: x\\u202e\\u001b[2J", "open", "100", "0"), 2000);
    assert_non_null(found("domain-down a??Bcc: x??[2J"));
    for (size_t i = 0; i + 3 < sizeof(long_name); i += 2)
        memcpy(long_name + i, "\xc3\xa9", 3);
    snprintf(page, sizeof(page),
             "{\"items\": [{\"host\": \"%s\", \"state\": \"open\", \"followers\": 100, "
             "\"failing_since\": 0}]}",
             long_name);
    look_at_domains(page, 2000);
    json_t *id = json_string(looks.list[0].id);
    json_t *text = json_string(looks.list[0].words.text);
    assert_non_null(id); /* valid UTF-8: cut at a character */
    assert_non_null(text);
    json_decref(id);
    json_decref(text);
}

static json_t *page_of(int from, int count, int matched)
{
    json_t *items = json_array();

    for (int i = 0; i < count; i++)
        json_array_append_new(items, json_pack("{s:o, s:s, s:i, s:i, s:s}", "host",
                                               json_sprintf("%d.example", from + i), "state",
                                               "open", "followers", 500, "failing_since", 0,
                                               "last_error", "refused"));
    return json_pack("{s:i, s:o}", "matched", matched, "items", items);
}

static void domains_take_no_others_place(void **state)
{
    json_t *full = page_of(0, 1000, 1000);
    json_t *cut = page_of(1000, 1000, 1500);
    json_t *overview = parse("{\"handoff\": [{\"queue\": \"default\", \"consumers\": 0, "
                             "\"length\": 3}], \"ledger\": {\"missing\": 1}}");
    (void)state;

    looks = (struct alert_looks){.looked = 0};
    alert_rules_domains(&looks, full, &limits, 2000);
    assert_true(looks.cut == 0);
    alert_rules_domains(&looks, cut, &limits, 2000);
    assert_true(looks.cut == 1U << ALERT_DOMAIN_DOWN);
    assert_int_equal(looks.domains, 2000);
    alert_rules_overview(&looks, overview, &limits);
    assert_non_null(found("handoff default"));
    assert_non_null(found("ledger"));
    assert_true(looks.cut == 1U << ALERT_DOMAIN_DOWN);
    alert_looks_forget(&looks);
    assert_true(looks.cut == 0 && looks.looked == 0 && looks.count == 0 && looks.domains == 0);
    json_decref(full);
    json_decref(cut);
    json_decref(overview);
}

/* More machines than there is room for: none of those left out is taken for good. */
static void what_has_no_room_is_said_to_be_cut(void **state)
{
    json_t *machines = json_array();
    (void)state;

    for (int i = 0; i < 300; i++)
        json_array_append_new(machines, json_pack("{s:{s:o, s:i}}", "report", "host",
                                                  json_sprintf("mx%d", i), "keys_waiting", 1));
    json_t *overview = json_pack("{s:o, s:{s:i}}", "machines", machines, "ledger", "missing", 1);
    looks = (struct alert_looks){.looked = 0};
    alert_rules_overview(&looks, overview, &limits);
    assert_non_null(found("ledger"));
    assert_int_equal(looks.count, ALERT_MAX_OTHER_LOOKS);
    assert_true(looks.cut == 1U << ALERT_KEYS);
    json_decref(overview);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_rule_has_a_limit),
        cmocka_unit_test(what_is_unknown_is_not_looked_at),
        cmocka_unit_test(what_may_be_so_is_good),
        cmocka_unit_test(the_text_names_the_remedy),
        cmocka_unit_test(a_domain_counts_by_its_followers),
        cmocka_unit_test(what_strangers_wrote_stays_one_line_of_text),
        cmocka_unit_test(domains_take_no_others_place),
        cmocka_unit_test(what_has_no_room_is_said_to_be_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
