#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <sodium.h>
#include <string.h>

#include "sched/tally.h"

static const char alone[] = "9ef8625ccfc68ddb1cf698ebdfeb9c425ac832bebc443342599e55c0292e3fe3";
static const char both[] = "ea9d9242f766739b6d41599394acb9258e821e0a145695b1001dc44d8503e265";
static const char nobody[] = "0000000000000000000000000000000000000000000000000000000000000000";

#define ALICE STR("https://remote.example/users/alice")
#define BOB STR("https://remote.example/users/bob")
#define REMOTE STR("https://remote.example")

static void assert_digest(const struct tally *tally, struct str prefix, const char *expected)
{
    struct synchronization_digest digest;
    char text[2 * DIGEST_SHA256_BYTES + 1] = "";

    if (tally_find(tally, prefix, &digest))
        sodium_bin2hex(text, sizeof(text), digest.bytes, sizeof(digest.bytes));
    assert_string_equal(text, expected);
}

static void every_server_is_counted_at_once(void **state)
{
    struct tally *tally = tally_create(100000);
    (void)state;

    tally_add(tally, ALICE);
    tally_add(tally, STR("https://other.example/users/alice"));
    tally_add(tally, STR("https://remote.example.evil/users/alice"));
    tally_add(tally, STR("https://remote.example:443/users/alice"));
    tally_add(tally, STR("HTTPS://remote.example/users/alice"));
    tally_add(tally, STR(""));
    tally_add(tally, BOB);
    assert_int_equal(tally_servers(tally), 4);
    assert_digest(tally, REMOTE, both);
    assert_digest(tally, STR("https://nowhere.example"), nobody);
    tally_reset(tally);
    tally_add(tally, ALICE);
    assert_digest(tally, REMOTE, alone);
    tally_destroy(tally);
}

static void a_narrow_pass_counts_what_was_wanted(void **state)
{
    struct tally *tally = tally_create(100000);
    struct buf patterns;
    (void)state;

    buf_init(&patterns, 1000);
    tally_put_patterns(tally, &patterns);
    assert_string_equal(buf_cstr(&patterns), "{\"http%\"}");
    buf_reset(&patterns);
    tally_want(tally, REMOTE);
    tally_want(tally, REMOTE);
    tally_want(tally, STR_NULL);
    tally_narrow(tally);
    tally_put_patterns(tally, &patterns);
    assert_string_equal(buf_cstr(&patterns),
                        "{\"https://remote.example\",\"https://remote.example/%\"}");
    tally_add(tally, ALICE);
    tally_add(tally, STR("https://other.example/users/alice"));
    assert_digest(tally, REMOTE, alone);
    assert_digest(tally, STR("https://other.example"), "");
    assert_digest(tally, STR("https://nowhere.example"), "");
    tally_reset(tally);
    assert_digest(tally, STR("https://nowhere.example"), nobody);
    buf_clear(&patterns);
    tally_destroy(tally);
}

static void a_full_tally_still_counts_what_was_wanted(void **state)
{
    struct tally *tally = tally_create(1000);
    char uri[64];
    (void)state;

    tally_want(tally, REMOTE);
    for (int i = 0; i < 100; i++) {
        snprintf(uri, sizeof(uri), "https://h%d.example/users/a", i);
        tally_add(tally, str_of(uri));
    }
    tally_add(tally, ALICE);
    assert_in_range(tally_bytes(tally), 1000, 1400);
    assert_digest(tally, REMOTE, alone);
    assert_digest(tally, STR("https://h99.example"), "");
    tally_destroy(tally);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_server_is_counted_at_once),
        cmocka_unit_test(a_narrow_pass_counts_what_was_wanted),
        cmocka_unit_test(a_full_tally_still_counts_what_was_wanted),
    };
    if (sodium_init() < 0)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
