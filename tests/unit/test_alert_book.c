/* When an alert fires, is over and is told, with times of the test's own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "admin/alert_book.h"
#include "admin/alert_pace.h"

enum { EVERY = (1 << ALERT_RULES) - 1, HOUR = 3600 };

static struct alert_looks looks;
static struct alert_book book;
static struct alert_news news[ALERT_MAX];
static double now_s;

static int setup(void **state)
{
    (void)state;
    alert_book_init(&book);
    looks = (struct alert_looks){.looked = EVERY};
    now_s = 1764400000;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    alert_book_clear(&book);
    return 0;
}

static void see(enum alert_rule rule, const char *subject, enum alert_grade grade)
{
    struct alert_look *look = &looks.list[looks.count++];

    *look = (struct alert_look){.rule = rule, .grade = grade};
    snprintf(look->id, sizeof(look->id), "%s%s", alert_rule_name(rule), subject);
    snprintf(look->words.text, sizeof(look->words.text), "text %zu", looks.count);
    snprintf(look->words.code, sizeof(look->words.code), "alert.text");
    snprintf(look->words.params, sizeof(look->words.params), "{\"n\":%zu}", looks.count);
}

/* What was seen goes on for so long, looked at each five seconds. */
static void pass(double seconds)
{
    for (double end_s = now_s + seconds; now_s < end_s; now_s += 5)
        alert_book_look(&book, &looks, now_s);
    alert_book_look(&book, &looks, now_s);
}

static void see_nothing_for(double seconds)
{
    looks.count = 0;
    pass(seconds);
}

static void see_for(enum alert_rule rule, const char *subject, enum alert_grade grade,
                    double seconds)
{
    looks.count = 0;
    see(rule, subject, grade);
    pass(seconds);
}

static bool fires(const char *id)
{
    for (size_t i = 0; i < book.count; i++) {
        if (strcmp(book.alerts[i]->id, id) == 0)
            return book.alerts[i]->state == ALERT_FIRING;
    }
    return false;
}

/* Takes what mail is to be told. */
static size_t tell(void)
{
    size_t count = alert_book_news(&book, ALERT_MAIL, now_s, news);

    alert_book_told(&book, ALERT_MAIL, news, count, now_s);
    return count;
}

static void it_fires_only_when_it_lasts(void **state)
{
    (void)state;

    see_for(ALERT_HANDOFF, " default", ALERT_BAD, 55);
    assert_false(fires("handoff default"));
    see_nothing_for(5);
    see_for(ALERT_HANDOFF, " default", ALERT_BAD, 55);
    assert_false(fires("handoff default"));
    assert_false(book.changed); /* nothing to keep yet */
    pass(5);
    assert_true(fires("handoff default"));
    assert_true(book.changed);
    assert_int_equal((int)(now_s - book.alerts[0]->since_s), 60);
}

static void each_subject_is_an_alert_of_its_own(void **state)
{
    (void)state;

    see(ALERT_SUSPICION, " mx1", ALERT_BAD);
    pass(40);
    see(ALERT_SUSPICION, " mx2", ALERT_BAD);
    pass(20);
    assert_true(fires("suspicion mx1"));
    assert_false(fires("suspicion mx2"));
}

static void of_two_looks_at_one_subject_the_worse_counts(void **state)
{
    (void)state;

    see(ALERT_KEYS, " mx1", ALERT_GOOD);
    see(ALERT_KEYS, " mx1", ALERT_BAD);
    see(ALERT_KEYS, " mx1", ALERT_GOOD);
    pass(120);
    assert_true(fires("keys mx1"));
    assert_string_equal(book.alerts[0]->words.text, "text 2");
}

static void between_good_and_bad_nothing_changes(void **state)
{
    (void)state;

    see_for(ALERT_QUEUE_AGE, "", ALERT_BETWEEN, 300);
    assert_int_equal(book.count, 0);
    see_for(ALERT_QUEUE_AGE, "", ALERT_BAD, 30);
    see_for(ALERT_QUEUE_AGE, "", ALERT_BETWEEN, 300);
    assert_true(fires("queue-age"));
    see_for(ALERT_QUEUE_AGE, "", ALERT_GOOD, 55);
    see_for(ALERT_QUEUE_AGE, "", ALERT_BETWEEN, 0);
    see_for(ALERT_QUEUE_AGE, "", ALERT_GOOD, 55);
    assert_true(fires("queue-age"));
    pass(5);
    assert_false(fires("queue-age"));
}

static void what_could_not_be_looked_at_stays_as_it_is(void **state)
{
    (void)state;

    see_for(ALERT_DOMAIN_DOWN, " a.example", ALERT_BAD, 0);
    assert_true(fires("domain-down a.example"));
    looks.looked &= ~(1U << ALERT_DOMAIN_DOWN);
    see_nothing_for(HOUR);
    assert_true(fires("domain-down a.example"));
    looks.looked = EVERY;
    see_nothing_for(120);
    assert_false(fires("domain-down a.example"));
}

static void what_fires_within_half_a_minute_is_told_together(void **state)
{
    (void)state;

    see(ALERT_HANDOFF, " default", ALERT_BAD);
    pass(40);
    see(ALERT_LEDGER, "", ALERT_BAD);
    pass(20);
    assert_true(fires("handoff default"));
    pass(25);
    assert_int_equal(tell(), 0); /* the ledger's isn't firing yet */
    pass(15);
    assert_int_equal(tell(), 2);
    assert_int_equal(news[0].kind, ALERT_NEWS_FIRING);
    pass(60);
    assert_int_equal(tell(), 0);
    see_nothing_for(60);
    assert_int_equal(tell(), 0);
    pass(30);
    assert_int_equal(tell(), 2);
    assert_int_equal(news[0].kind, ALERT_NEWS_OVER);
    pass(HOUR);
    assert_int_equal(tell(), 0);
}

static void each_sink_is_told_for_itself(void **state)
{
    (void)state;

    see_for(ALERT_LEDGER, "", ALERT_BAD, 90);
    assert_int_equal(tell(), 1);
    assert_int_equal(alert_book_news(&book, ALERT_WEBHOOK, now_s, news), 1);
    see_nothing_for(90); /* the webhook was never told, and needs no all-clear */
    assert_int_equal(alert_book_news(&book, ALERT_WEBHOOK, now_s, news), 0);
    assert_int_equal(alert_book_news(&book, ALERT_MAIL, now_s, news), 1);
}

static void what_goes_on_is_told_again_after_four_hours(void **state)
{
    (void)state;

    see(ALERT_DEAD_OWNERS, "", ALERT_BAD);
    see(ALERT_DOMAIN_DOWN, " a.example", ALERT_BAD);
    pass(210);
    assert_int_equal(tell(), 2);
    pass(4 * HOUR - 10);
    assert_int_equal(tell(), 0);
    pass(10);
    assert_int_equal(tell(), 1); /* nobody can do anything about the domain */
    assert_int_equal(news[0].kind, ALERT_NEWS_STILL);
    assert_string_equal(news[0].alert->id, "dead-owners");
    pass(HOUR);
    assert_int_equal(tell(), 0);
}

static void what_comes_and_goes_is_told_twice_in_four_hours(void **state)
{
    size_t told = 0;
    (void)state;

    for (int i = 0; i < 12; i++) { /* two hours */
        see_for(ALERT_QUEUE_AGE, "", ALERT_BAD, 300);
        told += tell();
        see_nothing_for(300);
        told += tell();
    }
    assert_int_equal(told, 3); /* it fires, is over, fires again */
    assert_true(fires("queue-age"));
    see_nothing_for(4 * HOUR - 310);
    assert_true(fires("queue-age"));
    pass(400);
    assert_false(fires("queue-age"));
    assert_int_equal(tell(), 1);
    assert_int_equal(news[0].kind, ALERT_NEWS_OVER);
    pass(4 * HOUR);
    assert_int_equal(book.count, 0);
}

static void an_all_clear_survives_a_restart(void **state)
{
    json_t *kept;
    (void)state;

    see_for(ALERT_HANDOFF, " default", ALERT_BAD, 90);
    assert_int_equal(tell(), 1);
    kept = alert_to_json(book.alerts[0]);
    alert_book_clear(&book);
    assert_true(alert_book_restore(&book, STR("handoff default"), kept));
    json_decref(kept);
    assert_int_equal(tell(), 0);
    see_nothing_for(90);
    assert_int_equal(tell(), 1);
    assert_int_equal(news[0].kind, ALERT_NEWS_OVER);
    assert_string_equal(news[0].alert->words.text, "text 1");
    assert_string_equal(news[0].alert->words.code, "alert.text");
    assert_string_equal(news[0].alert->words.params, "{\"n\":1}");
    kept = alert_to_json(book.alerts[0]);
    alert_book_clear(&book);
    assert_true(alert_book_restore(&book, STR("handoff default"), kept));
    assert_false(alert_book_restore(&book, STR("from-the-future x"), kept));
    json_decref(kept);
    see_nothing_for(90);
    assert_int_equal(tell(), 0);
    see_for(ALERT_HANDOFF, " default", ALERT_BAD, 60);
    assert_true(book.alerts[0]->again);
}

/* What an older machine has written has words alone, and so it is written again. */
static void words_alone_are_kept(void **state)
{
    json_t *kept = json_pack("{s:i, s:b, s:f, s:s}", "v", 1, "firing", 1, "since", now_s, "text",
                             "words of old");
    (void)state;

    assert_true(alert_book_restore(&book, STR("ledger"), kept));
    json_decref(kept);
    assert_string_equal(book.alerts[0]->words.text, "words of old");
    assert_string_equal(book.alerts[0]->words.code, "");
    kept = alert_to_json(book.alerts[0]);
    assert_string_equal(json_string_value(json_object_get(kept, "text")), "words of old");
    assert_string_equal(json_string_value(json_object_get(kept, "code")), "");
    assert_int_equal(json_object_size(json_object_get(kept, "params")), 0);
    json_decref(kept);
}

static void a_clock_that_is_set_back_fires_nothing_early(void **state)
{
    (void)state;

    see_for(ALERT_LEDGER, "", ALERT_BAD, 30);
    now_s -= HOUR;
    pass(55);
    assert_false(fires("ledger"));
    pass(5);
    assert_true(fires("ledger"));
}

static void see_domains(int from, int to)
{
    char subject[32];

    for (int i = from; i < to; i++) {
        snprintf(subject, sizeof(subject), " %d.example", i);
        see(ALERT_DOMAIN_DOWN, subject, ALERT_BAD);
    }
}

static size_t count_of(enum alert_state state)
{
    size_t count = 0;

    for (size_t i = 0; i < book.count; i++)
        count += book.alerts[i]->state == state;
    return count;
}

static void many_domains_silence_nothing_else(void **state)
{
    (void)state;

    see_domains(0, 300);
    pass(0);
    see(ALERT_HANDOFF, " default", ALERT_BAD);
    see(ALERT_LEDGER, "", ALERT_BAD);
    for (int i = 0; i < 100; i++) {
        char subject[32];
        snprintf(subject, sizeof(subject), " mx%d", i);
        see(ALERT_SUSPICION, subject, ALERT_BAD);
        see(ALERT_KEYS, subject, ALERT_BAD);
    }
    see(ALERT_DEAD_OWNERS, "", ALERT_BAD);
    see(ALERT_REDIS_MEMORY, "", ALERT_BAD);
    see(ALERT_QUEUE_AGE, "", ALERT_BAD);
    pass(180);
    assert_true(fires("handoff default"));
    assert_true(fires("dead-owners"));
    assert_true(fires("redis-memory"));
    assert_true(fires("queue-age"));
    assert_true(fires("ledger"));
    assert_true(fires("suspicion mx0"));
    assert_true(fires("keys mx0"));
    assert_true(fires("suspicion"));
    assert_true(book.count <= ALERT_MAX);
}

static void those_without_a_place_are_counted(void **state)
{
    static const char text[] = "72 more domains with many followers are down: the page lists them";
    (void)state;

    see_domains(0, 200);
    pass(0);
    assert_true(fires("domain-down 127.example"));
    assert_false(fires("domain-down 128.example"));
    assert_true(fires("domain-down"));
    assert_int_equal(book.count, 129);
    assert_string_equal(book.alerts[128]->words.text, text);
    pass(30);
    assert_int_equal(tell(), 129);
    looks.count = 0;
    see_domains(0, 130);
    pass(120);
    assert_memory_equal(book.alerts[128]->words.text, "2 more ", 7);
    looks.count = 0;
    see_domains(0, 128);
    pass(120);
    assert_false(fires("domain-down"));
    assert_int_equal(count_of(ALERT_FIRING), 128);
}

/* Which hundred have the most followers changes, and those in the book are still down. */
static void who_has_a_place_keeps_it(void **state)
{
    (void)state;

    see_domains(0, 128);
    pass(60);
    looks.count = 0;
    see_domains(200, 300);
    see_domains(0, 128);
    pass(600);
    assert_true(fires("domain-down 127.example"));
    assert_false(fires("domain-down 200.example"));
}

static void what_is_over_and_told_makes_room(void **state)
{
    (void)state;

    see_domains(0, 128);
    pass(40);
    assert_int_equal(tell(), 128);
    see_nothing_for(180);
    assert_int_equal(count_of(ALERT_OVER), 128);
    see_for(ALERT_DOMAIN_DOWN, " late.example", ALERT_BAD, 0);
    assert_false(fires("domain-down late.example")); /* an all-clear is owed for each */
    assert_int_equal(tell(), 129);
    see_for(ALERT_DOMAIN_DOWN, " late.example", ALERT_BAD, 5);
    assert_true(fires("domain-down late.example"));
    assert_int_equal(count_of(ALERT_OVER), 127);
}

static void what_is_not_mentioned_is_unknown_when_looks_are_cut(void **state)
{
    (void)state;

    see_for(ALERT_DOMAIN_DOWN, " a.example", ALERT_BAD, 60);
    looks.cut = 1U << ALERT_DOMAIN_DOWN;
    see_nothing_for(HOUR);
    assert_true(fires("domain-down a.example"));
    see_for(ALERT_DOMAIN_DOWN, " a.example", ALERT_GOOD, 120);
    assert_false(fires("domain-down a.example"));
}

static void twenty_mails_an_hour(void **state)
{
    struct alert_pace pace = {.failures = 0};
    int sent = 0;
    (void)state;

    for (int minute = 0; minute < 180; minute++) {
        if (!alert_pace_allows(&pace, now_s + minute * 60))
            continue;
        alert_pace_sent(&pace, now_s + minute * 60);
        sent++;
    }
    assert_int_equal(sent, 60);
    assert_true(alert_pace_allows(&pace, now_s - HOUR)); /* a clock that was set back */
}

static void a_sink_that_fails_gets_time(void **state)
{
    static const int rests_s[] = {30, 60, 120, 240, 480, 600, 600};
    struct alert_pace pace = {.failures = 0};
    (void)state;

    for (size_t i = 0; i < sizeof(rests_s) / sizeof(rests_s[0]); i++) {
        alert_pace_failed(&pace, now_s);
        assert_false(alert_pace_allows(&pace, now_s + rests_s[i] - 1));
        now_s += rests_s[i];
        assert_true(alert_pace_allows(&pace, now_s));
    }
    alert_pace_sent(&pace, now_s);
    assert_true(alert_pace_allows(&pace, now_s));
    alert_pace_failed(&pace, now_s);
    assert_true(alert_pace_allows(&pace, now_s + 30));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(it_fires_only_when_it_lasts),
        TEST(each_subject_is_an_alert_of_its_own),
        TEST(of_two_looks_at_one_subject_the_worse_counts),
        TEST(between_good_and_bad_nothing_changes),
        TEST(what_could_not_be_looked_at_stays_as_it_is),
        TEST(what_fires_within_half_a_minute_is_told_together),
        TEST(each_sink_is_told_for_itself),
        TEST(what_goes_on_is_told_again_after_four_hours),
        TEST(what_comes_and_goes_is_told_twice_in_four_hours),
        TEST(an_all_clear_survives_a_restart),
        TEST(words_alone_are_kept),
        TEST(a_clock_that_is_set_back_fires_nothing_early),
        TEST(many_domains_silence_nothing_else),
        TEST(those_without_a_place_are_counted),
        TEST(who_has_a_place_keeps_it),
        TEST(what_is_over_and_told_makes_room),
        TEST(what_is_not_mentioned_is_unknown_when_looks_are_cut),
        TEST(twenty_mails_an_hour),
        TEST(a_sink_that_fails_gets_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
