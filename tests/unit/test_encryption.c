#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "base/secret.h"
#include "seal.h"
#include "sig/encryption.h"

/* Rails' own classes made these values (7.2.2; 8.1.3 has the same form). */
static const char brief[] = "fedpush known answer (short, not compressed)";
static const char of_brief[] =
    "{\"p\":\"JVLR6Nzbcj5JwkrhaK6eAP4VFTN24V7vKmksGjz3nonYzqs0ZKnPtweA41w=\",\"h\":{\"iv\":"
    "\"W8EgfpmwiXfo8d+q\",\"at\":\"uLXAnPyP/4Q0/jE4beS4Hg==\"}}";
static const char of_brief_by_sha1[] =
    "{\"p\":\"NbF4VkmsS9D9X7IeJfB/5YkMTItZkjomDuKv+OPzNJPV38/EkxaLznE/8Xk=\",\"h\":{\"iv\":"
    "\"2sSoWjWu8H7Jw1cL\",\"at\":\"JdBA5YsYz5R7J37m+WFvOA==\"}}";
static const char of_long[] =
    "{\"p\":\"PtyfQNW40FY+wQfaEpEfBJTvezzu5P/n8wQ0CiocjhvRAVjB9MmMb1w6KMAquYrmqwR8GmHsD5UstT6FKMYDr"
    "iduw5tlcek=\",\"h\":{\"iv\":\"C9o/5v1f03wMBFMc\",\"at\":\"9zLmKnMLkNmokwAevfobbA==\",\"c\":"
    "true}}";
static const char of_long_as_binary[] =
    "{\"p\":\"zV/"
    "Vo5hwIOIanLZy2nlojtwiXRwIW8fCDYu2th3MY7FkSaY2WyBHx0ZiiVJlyUMQCA5ahwt8FbGji2ZtzoaptE"
    "byTSLsBhU=\",\"h\":{\"iv\":\"ImLDs+BEfIQhgFGf\",\"at\":\"3vWkzrZ/H2w2UpNSHidyCQ==\",\"e\":"
    "\"QVNDSUktOEJJVA==\",\"c\":true}}";

static struct encryption *make(void)
{
    struct encryption *encryption = encryption_create(str_of(SEAL_PRIMARY_KEY), str_of(SEAL_SALT));
    assert_non_null(encryption);
    return encryption;
}

static int set_up(void **state)
{
    *state = make();
    return 0;
}

static int tear_down(void **state)
{
    encryption_destroy(*state);
    return 0;
}

static void assert_opens(struct encryption *encryption, const char *sealed, struct str plain)
{
    struct buf out;
    struct err err = {0};

    secret_buf_init(&out, ENCRYPTION_MAX_PLAIN_BYTES);
    assert_int_equal(encryption_open(encryption, str_of(sealed), &out, &err), FP_OK);
    assert_int_equal(out.len, plain.len);
    assert_memory_equal(out.ptr, plain.ptr, plain.len);
    secret_buf_clear(&out);
}

static void assert_refused(struct encryption *encryption, const char *sealed, enum fp_err code,
                           const char *reason)
{
    struct buf out;
    struct err err = {0};

    secret_buf_init(&out, ENCRYPTION_MAX_PLAIN_BYTES);
    assert_int_equal(encryption_open(encryption, str_of(sealed), &out, &err), code);
    assert_non_null(strstr(err.message, reason));
    assert_int_equal(out.len, 0);
    secret_buf_clear(&out);
}

/* ---- what Rails wrote ---- */

static void known_answers_are_opened(void **state)
{
    struct buf text;

    buf_init(&text, 1024);
    buf_put_str(&text, STR("-----BEGIN TEST-----\n"));
    for (int i = 0; i < 6; i++)
        buf_put_str(&text, STR("fedpush-known-answer-line-0123456789\n"));
    buf_put_str(&text, STR("-----END TEST-----\n"));
    assert_int_equal(text.len, 262);
    assert_opens(*state, of_brief, str_of(brief));
    assert_opens(*state, of_brief_by_sha1, str_of(brief));
    assert_opens(*state, of_long, buf_str(&text));
    assert_opens(*state, of_long_as_binary, buf_str(&text));
    buf_clear(&text);
}

/* ---- values that the test makes ---- */

static const struct seal good = {
    .plain = {brief, sizeof(brief) - 1}, .iv_bytes = 12, .tag_bytes = 16, .more = ""};

static void assert_made_opens(struct encryption *encryption, const struct seal *made)
{
    char *sealed = seal_make(made);
    assert_opens(encryption, sealed, made->plain);
    free(sealed);
}

static void assert_made_refused(struct encryption *encryption, const struct seal *made,
                                const char *reason)
{
    char *sealed = seal_make(made);
    assert_refused(encryption, sealed, FP_INVALID, reason);
    free(sealed);
}

static void unknown_headers_are_passed_over(void **state)
{
    struct seal made = good;

    assert_made_opens(*state, &made);
    made.more = ",\"e\":\"VVMtQVNDSUk=\",\"x\":{\"y\":1},\"c\":false";
    assert_made_opens(*state, &made);
}

static void forms_that_mastodon_does_not_use_are_refused(void **state)
{
    struct seal made = good;

    made.more = ",\"k\":{\"p\":\"AAAA\",\"h\":{}}";
    assert_made_refused(*state, &made, "data key of its own");
    made.more = ",\"i\":\"AAAA\"";
    assert_made_refused(*state, &made, "one key of several");
    made.more = ",\"c\":1";
    assert_made_refused(*state, &made, "whether it is compressed");
}

static void what_is_not_encrypted_is_refused(void **state)
{
    assert_refused(*state, "-----BEGIN RSA PRIVATE KEY-----\n", FP_INVALID, "not encrypted");
    assert_refused(*state, "", FP_INVALID, "not encrypted");
    assert_refused(*state, "[]", FP_INVALID, "not encrypted");
    assert_refused(*state, "{}", FP_INVALID, "no payload");
    assert_refused(*state, "{\"p\":7,\"h\":{}}", FP_INVALID, "no payload");
    assert_refused(*state, "{\"p\":\"AAAA\"}", FP_INVALID, "no initialization vector");
    assert_refused(*state, "{\"p\":\"AA\",\"h\":{}}", FP_INVALID, "no payload"); /* unpadded */
    assert_refused(*state, "{\"p\":\"AAA\\n=\",\"h\":{}}", FP_INVALID, "no payload");
}

static void short_tags_and_other_vectors_are_refused(void **state)
{
    struct seal made = good;

    made.tag_bytes = 12; /* GCM itself would take it */
    assert_made_refused(*state, &made, "authentication tag of 16 bytes");
    made = good;
    made.iv_bytes = 16;
    assert_made_refused(*state, &made, "initialization vector of 12 bytes");
}

static void a_value_inflates_to_what_a_key_may_have_and_no_more(void **state)
{
    char *zeros = mem_alloc(64 * 1024);
    struct seal made = good;

    made.plain = (struct str){zeros, ENCRYPTION_MAX_PLAIN_BYTES};
    made.deflated = true;
    made.more = ",\"c\":true";
    assert_made_opens(*state, &made);
    made.plain.len++;
    assert_made_refused(*state, &made, "does not decompress");
    made.plain.len = 64 * 1024;
    assert_made_refused(*state, &made, "does not decompress");
    made = good;
    made.more = ",\"c\":true"; /* a lie */
    assert_made_refused(*state, &made, "does not decompress");
    made.plain = (struct str){zeros, ENCRYPTION_MAX_PLAIN_BYTES + 1};
    made.more = "";
    assert_made_refused(*state, &made, "longer than");
    free(zeros);
}

/* ---- the key ---- */

static char *changed(const char *text, const char *part, char by)
{
    char *copy = str_dup(str_of(text));
    char *at = strstr(copy, part);
    assert_non_null(at);
    assert_int_not_equal(*at, by);
    *at = by;
    return copy;
}

static void every_changed_bit_is_noticed(void **state)
{
    const char *const parts[] = {"JVLR6", "W8Egf", "uLXAn"};
    (void)state;

    for (size_t i = 0; i < 3; i++) {
        struct encryption *encryption = make();
        char *sealed = changed(of_brief, parts[i], 'A');
        assert_refused(encryption, sealed, FP_DENIED, "encrypted with another key");
        assert_opens(encryption, of_brief, str_of(brief));
        /* Now the keys are known to be right: it is this value that is wrong. */
        assert_refused(encryption, sealed, FP_INVALID, "encrypted with another key");
        free(sealed);
        encryption_destroy(encryption);
    }
}

static void another_primary_key_or_salt_opens_nothing(void **state)
{
    struct encryption *encryption = encryption_create(STR("another"), str_of(SEAL_SALT));
    (void)state;

    assert_refused(encryption, of_brief, FP_DENIED, "ACTIVE_RECORD_ENCRYPTION_PRIMARY_KEY");
    assert_refused(encryption, of_brief_by_sha1, FP_DENIED, "KEY_DERIVATION_SALT");
    encryption_destroy(encryption);
    encryption = encryption_create(str_of(SEAL_PRIMARY_KEY), STR("another"));
    assert_refused(encryption, of_brief, FP_DENIED, "another key");
    encryption_destroy(encryption);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(known_answers_are_opened, set_up, tear_down),
        cmocka_unit_test_setup_teardown(unknown_headers_are_passed_over, set_up, tear_down),
        cmocka_unit_test_setup_teardown(forms_that_mastodon_does_not_use_are_refused, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(what_is_not_encrypted_is_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(short_tags_and_other_vectors_are_refused, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_value_inflates_to_what_a_key_may_have_and_no_more, set_up,
                                        tear_down),
        cmocka_unit_test(every_changed_bit_is_noticed),
        cmocka_unit_test(another_primary_key_or_salt_opens_nothing),
    };
    if (sodium_init() < 0)
        return 1;
    return cmocka_run_group_tests_name("encryption", tests, NULL, NULL);
}
