/* What `fedpush jobs` shows of fixed figures. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "admin/jobs_view.h"

static const char figures_text[] =
    "{\"places\":{\"push\":{\"total\":5,\"classes\":{\"A\":2,\"B\\u001b[1m\":3},\"domains\":["
    "{\"host\":\"a.example\",\"count\":2},{\"host\":\"b\\u202e.example\",\"count\":3}]},"
    "\"retry\":{\"total\":7,\"classes\":{\"A\":7},\"domains\":["
    "{\"host\":\"a.example\",\"count\":6},{\"host\":\"c.example\",\"count\":1}]}},\"cut\":true}";

static const char shown_text[] = "                                             PUSH     PULL     "
                                 "HELD    RETRY SCHEDULE     DEAD\n"
                                 "all jobs                                        5        0       "
                                 " 0        7        0        0\n"
                                 "CLASS                                        PUSH     PULL     "
                                 "HELD    RETRY SCHEDULE     DEAD\n"
                                 "A                                               2        0       "
                                 " 0        7        0        0\n"
                                 "B?[1m                                           3        0       "
                                 " 0        0        0        0\n"
                                 "HOST                                         PUSH     PULL     "
                                 "HELD    RETRY SCHEDULE     DEAD\n"
                                 "a.example                                       2        0       "
                                 " 0        6        0        0\n"
                                 "b?.example                                      3        0       "
                                 " 0        0        0        0\n"
                                 "(1 more)\n"
                                 "at least: not all jobs of a place were looked at\n";

static const char little_text[] = "                                             PUSH     PULL     "
                                  "HELD    RETRY SCHEDULE     DEAD\n"
                                  "all jobs                                        4        0      "
                                  "  0        0        0        0\n"
                                  "that are meant                                  0        0      "
                                  "  0        0        0        0\n";

static void is_shown(const char *figures, size_t hosts, const char *expected)
{
    json_t *object = json_loads(figures, 0, NULL);
    struct buf out;

    assert_non_null(object);
    buf_init(&out, 65536);
    jobs_view_put(&out, object, hosts);
    assert_string_equal(buf_cstr(&out), expected);
    buf_clear(&out);
    json_decref(object);
}

static void places_stand_side_by_side(void **state)
{
    (void)state;
    is_shown(figures_text, 2, shown_text);
}

static void nothing_is_little(void **state)
{
    (void)state;
    is_shown("{\"places\":{\"push\":{\"total\":4,\"matched\":0}},\"cut\":false}", 10, little_text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(places_stand_side_by_side),
                                       cmocka_unit_test(nothing_is_little)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
