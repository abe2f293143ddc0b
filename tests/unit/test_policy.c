/* The text of policies, and which one decides about a host. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/policy.h"

static void what_is_accepted_comes_out_as_it_went_in(void **state)
{
    static const char *const texts[] = {
        "1",
        "1 paused",
        "1 paused=1800000000 now",
        "1 drop=1800000000",
        "1 window=2 rate=60000 proxy=eu-1 http=2 scheme=cavage limits_until=1800000000",
        "1 paused scheme=rfc9421 of=example.org",
        "1 paused=1800000000 of=example.org",
        "1 paused of=example.org,other.example/1800000000,*.third.example",
        "1 paused=1800000000 of=example.org/1700000000,other.example/1800000000",
        "1 exempt limits_until=1800000000",
    };
    struct policy policy;
    struct buf out;

    (void)state;
    buf_init(&out, POLICY_MAX_TEXT_BYTES);
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        buf_reset(&out);
        assert_true(policy_parse(&policy, str_of(texts[i])));
        policy_put(&out, &policy);
        assert_string_equal(buf_cstr(&out), texts[i]);
    }
    buf_clear(&out);
}

static void other_texts_are_refused(void **state)
{
    static const char *const texts[] = {
        "",
        "2",
        "1 ",
        "1  paused",
        "1 paused paused",
        "1 paused=0",
        "1 paused=-5",
        "1 paused=x",
        "1 window=0",
        "1 window=257",
        "1 rate=0",
        "1 rate=60001",
        "1 rate=1 window=1",
        "1 proxy=",
        "1 proxy=A",
        "1 http=1",
        "1 scheme=auto",
        "1 loud",
        "1 of=EXAMPLE.org",
        "1 paused\n",
        "1 drop=9999999999",
        "1 paused of=a.example,",
        "1 paused of=,a.example",
        "1 paused of=a.example/1800000000",
        "1 paused=1800000000 of=a.example,b.example/1800000000",
        "1 paused of=a.example/1700000000,b.example/1800000000",
        "1 paused=1900000000 of=a.example/1700000000,b.example/1800000000",
        "1 paused of=a.example,b.example/x",
        "1 paused of=a.b,b.b,c.b,d.b,e.b,f.b,g.b,h.b,i.b",
        "10",
    };
    struct policy policy;

    (void)state;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        if (policy_parse(&policy, str_of(texts[i])))
            fail_msg("accepted: %s", texts[i]);
        assert_true(policy_is_empty(&policy));
    }
}

static struct policy parsed(const char *text)
{
    struct policy policy;
    assert_true(policy_parse(&policy, str_of(text)));
    return policy;
}

static void ends_come_by_themselves(void **state)
{
    struct policy policy = parsed("1 paused=1000 now window=2 limits_until=2000");
    struct policy now = policy_at(&policy, 999);

    (void)state;
    assert_true(now.paused && now.now && now.window == 2);
    assert_int_equal(policy_next_change_s(&policy, 999), 1000);
    now = policy_at(&policy, 1000);
    assert_true(!now.paused && !now.now && now.window == 2);
    assert_int_equal(policy_next_change_s(&policy, 1000), 2000);
    now = policy_at(&policy, 2000);
    assert_true(policy_is_empty(&now));
    assert_int_equal(policy_next_change_s(&policy, 2000), 0);
    policy = parsed("1 drop=1000");
    assert_int_equal(policy_next_change_s(&policy, 1500), 1000 + POLICY_DROP_S);
    now = policy_at(&policy, 1000 + POLICY_DROP_S - 1);
    assert_int_equal(now.drop_s, 1000);
    now = policy_at(&policy, 1000 + POLICY_DROP_S);
    assert_true(policy_is_empty(&now));
}

static void expect_text(const struct policy *policy, const char *text)
{
    struct buf out;

    buf_init(&out, POLICY_MAX_TEXT_BYTES);
    policy_put(&out, policy);
    assert_string_equal(buf_cstr(&out), text);
    buf_clear(&out);
}

static void no_pause_takes_over_or_shortens_anothers(void **state)
{
    struct policy policy = parsed("1 paused window=2 of=one.org");
    struct policy now;
    struct str of;
    size_t at = 0;

    (void)state;
    assert_true(policy_pause(&policy, STR("two.org"), 2000));
    expect_text(&policy, "1 paused window=2 of=one.org,two.org/2000");
    assert_true(policy_next_of(&policy, &at, &of) && str_equal(of, STR("one.org")));
    assert_true(policy_next_of(&policy, &at, &of) && str_equal(of, STR("two.org")));
    assert_false(policy_next_of(&policy, &at, &of));
    assert_true(policy_pause(&policy, STR("one.org"), 1500)); /* its own may become shorter */
    expect_text(&policy, "1 paused=2000 window=2 of=two.org/2000,one.org/1500");
    now = policy_at(&policy, 1500);
    expect_text(&now, "1 paused=2000 window=2 of=two.org");
    now = policy_at(&policy, 2000);
    expect_text(&now, "1 window=2");
    policy_resume(&policy, STR("three.org"));
    policy_resume(&policy, STR("two.org"));
    expect_text(&policy, "1 paused=1500 window=2 of=one.org");
    policy_resume(&policy, STR("one.org"));
    expect_text(&policy, "1 window=2");
}

static void the_domains_of_a_pause_are_bounded(void **state)
{
    struct policy policy = {.paused = false};
    char name[POLICY_MAX_NAME_BYTES + 1];

    (void)state;
    for (int i = 0; i < POLICY_MAX_SHARES; i++) {
        snprintf(name, sizeof(name), "h%d.example", i);
        assert_true(policy_pause(&policy, str_of(name), 0));
    }
    assert_false(policy_pause(&policy, STR("one.more"), 0));
    assert_true(policy_pause(&policy, STR("h3.example"), 2000));
    policy_resume(&policy, STR("h4.example"));
    assert_true(policy_pause(&policy, STR("one.more"), 0));
    memset(name, 'a', sizeof(name) - 1);
    name[sizeof(name) - 1] = '\0';
    policy = (struct policy){.paused = false};
    struct policy before = policy;
    for (name[0] = 'a'; policy_pause(&policy, str_of(name), 2000); name[0]++)
        before = policy;
    assert_in_range(name[0], 'a' + 2, 'a' + POLICY_MAX_SHARES - 1); /* too long */
    assert_string_equal(policy.of, before.of);
}

static void names_are_hosts_patterns_the_fleet_or_machines(void **state)
{
    static const char *const good[] = {"example.org", "*.example.org",        "*",
                                       "@host",       "@host:1:abc",          "10.0.0.1",
                                       "[::1]",       "xn--bcher-kva.example"};
    static const char *const bad[] = {"",     "EXAMPLE.org", "example.org.", ".example.org",
                                      "*.",   "*.*.org",     "a b",          "@",
                                      "@a b", "a/b",         ":version",     "a:1"};

    (void)state;
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
        assert_true(policy_name_is_valid(str_of(good[i])));
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        if (policy_name_is_valid(str_of(bad[i])))
            fail_msg("accepted: %s", bad[i]);
    }
    assert_true(policy_name_is_below(STR("a.example.org"), STR("example.org")));
    assert_true(policy_name_is_below(STR("*.a.example.org"), STR("example.org")));
    assert_false(policy_name_is_below(STR("*.example.org"), STR("example.org")));
    assert_false(policy_name_is_below(STR("badexample.org"), STR("example.org")));
}

static void expect(const struct policy_book *book, const char *host, const char *name)
{
    const struct policy_entry *found = policy_book_find(book, str_of(host), 1000);

    if (name == NULL) {
        assert_null(found);
    } else {
        assert_non_null(found);
        assert_string_equal(found->name, name);
    }
}

static void the_most_specific_policy_in_force_decides(void **state)
{
    struct policy_book *book = policy_book_create();

    (void)state;
    assert_true(policy_book_put(book, STR("*.example.org"), 1, STR("1 paused")));
    assert_true(policy_book_put(book, STR("*.b.example.org"), 2, STR("1 window=1")));
    assert_true(policy_book_put(book, STR("c.b.example.org"), 3, STR("1 rate=5")));
    assert_true(policy_book_put(book, STR("d.b.example.org"), 4, STR("1")));
    assert_true(policy_book_put(book, STR("e.b.example.org"), 5, STR("1 paused=900")));
    expect(book, "example.org", NULL);
    expect(book, "org", NULL);
    expect(book, "a.example.org", "*.example.org");
    expect(book, "z.y.x.example.org", "*.example.org");
    expect(book, "b.example.org", "*.example.org");
    expect(book, "x.b.example.org", "*.b.example.org");
    expect(book, "c.b.example.org", "c.b.example.org");
    expect(book, "d.b.example.org", "*.b.example.org"); /* taken back */
    expect(book, "e.b.example.org", "*.b.example.org"); /* over */
    assert_true(policy_book_put(book, STR("c.b.example.org"), 6, STR("1")));
    expect(book, "c.b.example.org", "*.b.example.org");
    assert_string_equal(policy_book_find_above(book, STR("c.b.example.org"), 1000)->name,
                        "*.b.example.org");
    assert_string_equal(policy_book_find_above(book, STR("*.b.example.org"), 1000)->name,
                        "*.example.org");
    assert_null(policy_book_find_above(book, STR("*.example.org"), 1000));
    assert_true(policy_book_put(book, STR("c.b.example.org"), 7, STR("1 exempt")));
    expect(book, "c.b.example.org", "c.b.example.org");
    assert_int_equal(policy_book_count(book), 5);
    policy_book_destroy(book);
}

static void expect_drop(const struct policy_book *book, const char *host, int64_t drop_s)
{
    const struct policy_entry *found = policy_book_find_drop(book, str_of(host), 1000);

    assert_int_equal(found != NULL ? found->policy.drop_s : 0, drop_s);
}

static void a_drop_stands_beside_what_else_was_ordered(void **state)
{
    struct policy_book *book = policy_book_create();
    struct policy policy;

    (void)state;
    assert_true(policy_book_put(book, STR("*.onion"), 1, STR("1 proxy=tor")));
    assert_true(policy_book_put(book, STR("foo.onion"), 2, STR("1 now drop=900")));
    assert_true(policy_book_put(book, STR("*.example.org"), 3, STR("1 paused drop=800")));
    assert_true(policy_book_put(book, STR("a.example.org"), 4, STR("1 drop=700 rate=5")));
    assert_true(policy_book_put(book, STR("b.example.org"), 5, STR("1 drop=950 window=2")));
    expect(book, "foo.onion", "*.onion");
    expect(book, "x.example.org", "*.example.org");
    expect(book, "a.example.org", "a.example.org");
    expect_drop(book, "foo.onion", 900);
    expect_drop(book, "bar.onion", 0);
    expect_drop(book, "x.example.org", 800);
    expect_drop(book, "a.example.org", 800); /* each hits what was made before it */
    expect_drop(book, "b.example.org", 950);
    assert_null(policy_book_find_drop(book, STR("foo.onion"), 900 + POLICY_DROP_S));
    assert_string_equal(policy_book_sum(book, STR("foo.onion"), 1000, &policy)->name, "*.onion");
    assert_string_equal(policy.proxy, "tor");
    assert_int_equal(policy.drop_s, 900);
    assert_true(policy_book_put(book, STR("*.onion"), 6, STR("1")));
    assert_string_equal(policy_book_sum(book, STR("foo.onion"), 1000, &policy)->name, "foo.onion");
    assert_int_equal(policy.drop_s, 900);
    assert_null(policy_book_sum(book, STR("bar.onion"), 1000, &policy));
    assert_true(policy_is_empty(&policy));
    policy_book_destroy(book);
}

static void a_book_is_bounded_and_takes_only_what_is_valid(void **state)
{
    struct policy_book *book = policy_book_create();
    char name[32];

    (void)state;
    assert_false(policy_book_put(book, STR("a b"), 1, STR("1")));
    assert_false(policy_book_put(book, STR("a.example"), 1, STR("loud")));
    for (int i = 0; i < POLICIES_MAX; i++) {
        snprintf(name, sizeof(name), "h%d.example", i);
        assert_true(policy_book_put(book, str_of(name), 1, STR("1 paused")));
    }
    assert_false(policy_book_put(book, STR("one.more"), 1, STR("1 paused")));
    assert_true(policy_book_put(book, STR("h7.example"), 2, STR("1")));
    policy_book_destroy(book);
}

static void a_value_has_its_version_in_front(void **state)
{
    int64_t version;
    struct str text;

    (void)state;
    assert_true(policy_value_parse(STR("1800000000000000 1 paused"), &version, &text));
    assert_int_equal(version, 1800000000000000);
    assert_true(str_equal(text, STR("1 paused")));
    assert_false(policy_value_parse(STR("1"), &version, &text));
    assert_false(policy_value_parse(STR("x 1"), &version, &text));
    assert_false(policy_value_parse(STR(" 1"), &version, &text));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_accepted_comes_out_as_it_went_in),
        cmocka_unit_test(other_texts_are_refused),
        cmocka_unit_test(ends_come_by_themselves),
        cmocka_unit_test(no_pause_takes_over_or_shortens_anothers),
        cmocka_unit_test(the_domains_of_a_pause_are_bounded),
        cmocka_unit_test(names_are_hosts_patterns_the_fleet_or_machines),
        cmocka_unit_test(the_most_specific_policy_in_force_decides),
        cmocka_unit_test(a_drop_stands_beside_what_else_was_ordered),
        cmocka_unit_test(a_book_is_bounded_and_takes_only_what_is_valid),
        cmocka_unit_test(a_value_has_its_version_in_front),
    };
    if (sodium_init() < 0)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
