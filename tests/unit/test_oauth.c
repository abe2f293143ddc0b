#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "admin/oauth.h"
#include "admin/permission.h"

static char id[] = "a b&c";
static char secret[] = "s3cret";
static char domain[] = "social.test";
static char other[] = "https://own.test/";
static char none[] = "";

/* RFC 7636, appendix B. */
static const char verifier[] = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
static const char challenge[] = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

static void expect_url(struct config *config, const char *expected)
{
    struct oauth oauth;
    struct buf url;

    buf_init(&url, 4096);
    oauth_init(&oauth, config, STR("https://fed.test/x"));
    oauth_put_authorize_url(&oauth, STR("stAte"), str_of(verifier), &url);
    assert_string_equal(buf_cstr(&url), expected);
    oauth_clear(&oauth);
    buf_clear(&url);
}

static void a_browser_is_sent_to_the_instance_with_what_it_asks(void **state)
{
    struct config config = {.web_domain = domain,
                            .admin_oauth_id = id,
                            .admin_oauth_secret = secret,
                            .admin_oauth_url = none,
                            .mastodon = {.major = 4, .minor = 3}};
    (void)state;

    assert_true(oauth_is_configured(&config));
    expect_url(&config,
               "https://social.test/oauth/authorize?response_type=code&client_id=a%20b%26c"
               "&redirect_uri=https%3A%2F%2Ffed.test%2Fx%2Fapi%2Fv1%2Flogin%2Fmastodon%2Fcallback"
               "&scope=profile&state=stAte"
               "&code_challenge=E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
               "&code_challenge_method=S256");
    config.admin_oauth_url = other;
    config.mastodon.minor = 2; /* knows no narrower scope */
    expect_url(&config,
               "https://own.test/oauth/authorize?response_type=code&client_id=a%20b%26c"
               "&redirect_uri=https%3A%2F%2Ffed.test%2Fx%2Fapi%2Fv1%2Flogin%2Fmastodon%2Fcallback"
               "&scope=read%3Aaccounts&state=stAte"
               "&code_challenge=E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
               "&code_challenge_method=S256");
    config.admin_oauth_id = none;
    assert_false(oauth_is_configured(&config));
}

static void passes_are_random_and_known_by_their_hash(void **state)
{
    char first[PASS_TEXT_BYTES];
    char second[PASS_TEXT_BYTES];
    char hash[PASS_HASH_BYTES];
    char made[PASS_TEXT_BYTES];
    (void)state;

    pass_make(first);
    pass_make(second);
    assert_int_equal(strlen(first), PASS_TEXT_BYTES - 1);
    assert_string_not_equal(first, second);
    pass_hash(STR("abc"), hash);
    assert_string_equal(hash, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    pass_challenge(str_of(verifier), made);
    assert_string_equal(made, challenge);
    assert_true(pass_equal(STR("abc"), STR("abc")));
    assert_false(pass_equal(STR("abc"), STR("abd")));
    assert_false(pass_equal(STR("abc"), STR("ab")));
    assert_false(pass_equal(STR(""), STR("")));
}

static void only_two_permissions_let_in(void **state)
{
    (void)state;
    assert_true(permission_suffices(1));
    assert_true(permission_suffices(2));
    assert_true(permission_suffices(0x7fffffff));
    assert_false(permission_suffices(0));
    assert_false(permission_suffices(0x7ffffffc));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_browser_is_sent_to_the_instance_with_what_it_asks),
        cmocka_unit_test(passes_are_random_and_known_by_their_hash),
        cmocka_unit_test(only_two_permissions_let_in),
    };
    return sodium_init() == -1 ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
