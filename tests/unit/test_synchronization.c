#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <sodium.h>
#include <string.h>

#include "base/postgres.h"
#include "sched/synchronization.h"

static void assert_digest(const struct synchronization_digest *digest, const char *hex)
{
    char text[2 * DIGEST_SHA256_BYTES + 1];

    sodium_bin2hex(text, sizeof(text), digest->bytes, sizeof(digest->bytes));
    assert_string_equal(text, hex);
}

static void the_digest_is_the_xor_of_every_uri(void **state)
{
    struct synchronization_digest digest = {{0}};
    (void)state;

    assert_digest(&digest, "0000000000000000000000000000000000000000000000000000000000000000");
    synchronization_add(&digest, STR("https://remote.example/users/alice"));
    assert_digest(&digest, "9ef8625ccfc68ddb1cf698ebdfeb9c425ac832bebc443342599e55c0292e3fe3");
    synchronization_add(&digest, STR("https://remote.example/users/bob"));
    assert_digest(&digest, "ea9d9242f766739b6d41599394acb9258e821e0a145695b1001dc44d8503e265");
    synchronization_add(&digest, STR("https://remote.example/users/alice"));
    synchronization_add(&digest, STR("https://remote.example/users/bob"));
    assert_digest(&digest, "0000000000000000000000000000000000000000000000000000000000000000");
}

static void a_prefix_is_taken_as_it_stands(void **state)
{
    static const char *const pairs[][2] = {
        {"https://remote.example/users/alice/inbox", "https://remote.example"},
        {"http://remote.example:3000/inbox", "http://remote.example:3000"},
        {"https://Remote.Example:443/inbox", "https://Remote.Example:443"},
        {"https://remote.example", "https://remote.example"},
        {"https://remote.example?a=b", "https://remote.example?a=b"},
        {"https://a@b.example/", "https://a@b.example"},
        {"HTTPS://remote.example/inbox", ""},
        {"https:///inbox", ""},
        {"https://", ""},
        {"http:/", ""},
        {" https://remote.example/", ""},
        {"ftp://remote.example/", ""},
        {"", ""},
    };
    (void)state;

    for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
        struct str prefix = synchronization_prefix(str_of(pairs[i][0]));
        assert_int_equal(prefix.len, strlen(pairs[i][1]));
        assert_memory_equal(prefix.len > 0 ? prefix.ptr : "", pairs[i][1], prefix.len);
    }
}

static void patterns_match_only_what_they_say(void **state)
{
    struct buf array;
    (void)state;

    buf_init(&array, 1000);
    synchronization_put_patterns(&array, STR("https://a_b%c\\d.example"));
    postgres_array_end(&array);
    /* each backslash of a pattern is doubled once more by the array */
    assert_string_equal(buf_cstr(&array), "{\"https://a\\\\_b\\\\%c\\\\\\\\d.example\","
                                          "\"https://a\\\\_b\\\\%c\\\\\\\\d.example/%\"}");
    buf_clear(&array);
}

static void assert_value(const struct synchronization_sender *sender,
                         const struct synchronization_digest *digest, const char *expected)
{
    struct buf value;

    buf_init(&value, 1000);
    synchronization_put_value(&value, STR("social.test"), sender, digest);
    assert_string_equal(buf_cstr(&value), expected);
    buf_clear(&value);
}

#define NOBODY "0000000000000000000000000000000000000000000000000000000000000000"

static void the_collection_is_numeric_for_numeric_accounts(void **state)
{
    const struct synchronization_digest nobody = {{0}};
    struct synchronization_sender sender = {116, STR("Alice"), 0};
    (void)state;

    assert_value(&sender, &nobody,
                 "collectionId=\"https://social.test/users/Alice/followers\", digest=\"" NOBODY
                 "\", url=\"https://social.test/users/Alice/followers_synchronization\"");
    sender.id_scheme = SYNCHRONIZATION_SCHEME_NUMERIC;
    assert_value(&sender, &nobody,
                 "collectionId=\"https://social.test/ap/users/116/followers\", digest=\"" NOBODY
                 "\", url=\"https://social.test/users/Alice/followers_synchronization\"");
    assert_value(&sender, NULL,
                 "collectionId=\"https://social.test/ap/users/116/followers\", digest=\"\", "
                 "url=\"https://social.test/users/Alice/followers_synchronization\"");
}

static void only_user_names_are_put_into_a_header(void **state)
{
    char long_name[300];
    (void)state;

    assert_true(synchronization_is_username(STR("Alice_b-c.d")));
    assert_true(synchronization_is_username(STR("social.test:3000")));
    assert_false(synchronization_is_username(STR("")));
    assert_false(synchronization_is_username(STR("a\"b")));
    assert_false(synchronization_is_username(STR("a\r\nb")));
    memset(long_name, 'a', sizeof(long_name));
    assert_true(synchronization_is_username((struct str){long_name, 255}));
    assert_false(synchronization_is_username((struct str){long_name, 256}));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_digest_is_the_xor_of_every_uri),
        cmocka_unit_test(a_prefix_is_taken_as_it_stands),
        cmocka_unit_test(patterns_match_only_what_they_say),
        cmocka_unit_test(the_collection_is_numeric_for_numeric_accounts),
        cmocka_unit_test(only_user_names_are_put_into_a_header),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
