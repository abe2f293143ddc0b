#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/message.h"
#include "worker/retry_after.h"

enum { EXAMPLE_S = 784111777 }; /* Sun, 06 Nov 1994 08:49:37 GMT: RFC 9110's own */
static const int64_t now_s = 1795419280;

static uint32_t ms_of(const char *value, const char *date)
{
    return retry_after_ms(str_of(value), str_of(date), now_s);
}

static void seconds_are_capped_at_six_hours(void **state)
{
    (void)state;
    assert_int_equal(ms_of("120", ""), 120000);
    assert_int_equal(ms_of("  1\t", ""), 1000);
    assert_int_equal(ms_of("21599", ""), 21599000);
    assert_int_equal(ms_of("21600", ""), 21600000);
    assert_int_equal(ms_of("21601", ""), MESSAGE_MAX_RETRY_AFTER_MS);
    assert_int_equal(ms_of("99999999999999999999999999999999", ""), MESSAGE_MAX_RETRY_AFTER_MS);
    assert_int_equal(ms_of("0", ""), 0);
}

static void what_says_nothing_usable_is_none(void **state)
{
    static const char *const values[] = {
        "",
        " ",
        "-1",
        "+5",
        "1.5",
        "5s",
        "0x10",
        "1 2",
        "soon",
        "1,2",
        "Sun",
        "Sun,",
        "Sun, 06 Nov 1994",
        "Sun, 06 Nov 2994 08:49:37",
        "Sun, 06 Nov 2994 08:49:37 CET",
        "Sun, 31 Feb 2994 08:49:37 GMT",
        "Sun, 00 Nov 2994 08:49:37 GMT",
        "Sun, 06 Nov 2994 24:00:00 GMT",
        "Sun, 06 Nov 2994 08:60:00 GMT",
        "Sun, 06 Nov 2994 08:49:61 GMT",
        "Son, 06 Nov 2994 08:49:37 GMT",
        "Sun, 06 nov 2994 08:49:37 GMT",
        "Sun, 06 Nov 2994 08:49:37 GMT.",
        "Sunday, 06 Nov 2994 08:49:37 GMT",
        "Sun, 06-Nov-50 08:49:37 GMT",
    };
    (void)state;

    for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++)
        assert_int_equal(ms_of(values[i], ""), 0);
}

static void dates_have_three_forms(void **state)
{
    static const char *const forms[] = {"Sun, 06 Nov 1994 08:49:37 GMT",
                                        "Sunday, 06-Nov-94 08:49:37 GMT",
                                        "Sun Nov  6 08:49:37 1994"};
    int64_t s;
    (void)state;

    for (size_t i = 0; i < 3; i++) {
        assert_true(http_date_parse(str_of(forms[i]), now_s, &s));
        assert_true(s == EXAMPLE_S);
        assert_int_equal(retry_after_ms(str_of(forms[i]), STR_NULL, EXAMPLE_S - 90), 90000);
    }
    assert_true(http_date_parse(STR("Thu Jan 01 00:00:00 1970"), now_s, &s));
    assert_true(s == 0);
    assert_true(http_date_parse(STR("Thu, 29 Feb 2024 23:59:60 GMT"), now_s, &s));
    assert_true(s == 1709251200);
    assert_false(http_date_parse(STR("Thu, 29 Feb 2100 00:00:00 GMT"), now_s, &s));
    assert_true(http_date_parse(STR("Fri, 31 Dec 9999 23:59:59 GMT"), now_s, &s));
    assert_true(s == 253402300799);
}

/* now_s is in 2026. */
static void years_of_two_digits_are_near(void **state)
{
    int64_t s;
    (void)state;

    assert_true(http_date_parse(STR("Friday, 01-Jan-27 00:00:00 GMT"), now_s, &s));
    assert_true(s == 1798761600);
    assert_true(http_date_parse(STR("Friday, 01-Jan-76 00:00:00 GMT"), now_s, &s));
    assert_true(s == 3345062400); /* 2076 */
    assert_true(http_date_parse(STR("Friday, 01-Jan-77 00:00:00 GMT"), now_s, &s));
    assert_true(s == 220924800); /* 1977 */
}

static void dates_count_from_the_answers_own(void **state)
{
    (void)state;
    /* now_s is Mon, 23 Nov 2026 07:34:40 GMT */
    assert_int_equal(ms_of("Mon, 23 Nov 2026 07:35:40 GMT", ""), 60000);
    /* an hour behind us, and a minute is what it means */
    assert_int_equal(ms_of("Mon, 23 Nov 2026 06:35:40 GMT", "Mon, 23 Nov 2026 06:34:40 GMT"),
                     60000);
    assert_int_equal(ms_of("Mon, 23 Nov 2026 08:35:40 GMT", " Monday, 23-Nov-26 08:34:40 GMT"),
                     60000);
    /* garbage, or years away: ours */
    assert_int_equal(ms_of("Mon, 23 Nov 2026 07:35:40 GMT", "yesterday"), 60000);
    assert_int_equal(ms_of("Mon, 23 Nov 2026 07:35:40 GMT", "Thu, 01 Jan 1970 00:00:00 GMT"),
                     60000);
    /* never in the past, never more than six hours */
    assert_int_equal(ms_of("Mon, 23 Nov 2026 07:34:40 GMT", ""), 0);
    assert_int_equal(ms_of("Sun, 06 Nov 1994 08:49:37 GMT", ""), 0);
    assert_int_equal(ms_of("Fri, 31 Dec 9999 23:59:59 GMT", ""), MESSAGE_MAX_RETRY_AFTER_MS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(seconds_are_capped_at_six_hours),
        cmocka_unit_test(what_says_nothing_usable_is_none),
        cmocka_unit_test(dates_have_three_forms),
        cmocka_unit_test(years_of_two_digits_are_near),
        cmocka_unit_test(dates_count_from_the_answers_own),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
