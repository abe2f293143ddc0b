#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <jansson.h>
#include <sodium.h>
#include <string.h>

#include "base/digest.h"
#include "sig/actor.h"
#include "sig/cavage.h"
#include "sig/date.h"

static const char *text_of(const json_t *object, const char *name)
{
    return json_string_value(json_object_get(object, name));
}

/* ---- vectors ---- */

static struct str *value_for(struct cavage_request *request, const char *name)
{
    if (strcmp(name, "host") == 0)
        return &request->host;
    if (strcmp(name, "date") == 0)
        return &request->date;
    if (strcmp(name, "digest") == 0)
        return &request->digest;
    if (strcmp(name, "content-type") == 0)
        return &request->content_type;
    if (strcmp(name, "collection-synchronization") == 0)
        return &request->synchronization;
    return NULL;
}

/* False: it covers what this service never signs, as (created) or content-length. */
static bool read_style(const json_t *vector, struct cavage_style *style)
{
    static const char *const names[] = {
        "(request-target)", "host", "date", "digest", "content-type", "collection-synchronization"};
    size_t i;
    json_t *covered;

    *style = (struct cavage_style){0};
    json_array_foreach(json_object_get(vector, "covered"), i, covered)
    {
        size_t at = 0;
        while (at < CAVAGE_COMPONENTS && strcmp(names[at], json_string_value(covered)) != 0)
            at++;
        if (at == CAVAGE_COMPONENTS)
            return false;
        style->covered[style->count++] = (enum cavage_component)at;
    }
    return true;
}

static struct cavage_request read_request(const json_t *vector)
{
    struct cavage_request request = {.method = SIGN_POST,
                                     .target = str_of(text_of(vector, "request_target"))};
    size_t i;
    json_t *header;

    json_array_foreach(json_object_get(vector, "headers"), i, header)
    {
        struct str *value = value_for(&request, json_string_value(json_array_get(header, 0)));
        if (value != NULL)
            *value = str_of(json_string_value(json_array_get(header, 1)));
    }
    return request;
}

static void check_vector(const json_t *vector, const struct cavage_style *style)
{
    struct cavage_request request = read_request(vector);
    const char *base64 = text_of(vector, "signature_base64");
    unsigned char signature[1024];
    size_t len;
    struct buf out;

    assert_int_equal(cavage_check(style, &request, NULL), FP_OK);
    buf_init(&out, 1 << 16);
    cavage_put_signing_string(&out, style, &request);
    assert_string_equal(buf_cstr(&out), text_of(vector, "signing_string"));
    buf_reset(&out);
    assert_int_equal(sodium_base642bin(signature, sizeof(signature), base64, strlen(base64), NULL,
                                       &len, NULL, sodium_base64_VARIANT_ORIGINAL),
                     0);
    cavage_put_header(&out, style, str_of(text_of(vector, "key_id")), signature, len);
    assert_string_equal(buf_cstr(&out),
                        text_of(json_object_get(vector, "expected_headers"), "Signature"));
    buf_clear(&out);
}

static size_t check_file(const char *path)
{
    json_t *file = json_load_file(path, 0, NULL);
    struct cavage_style style;
    size_t checked = 0;
    size_t i;
    json_t *vector;

    assert_non_null(file);
    json_array_foreach(json_object_get(file, "vectors"), i, vector)
    {
        if (json_is_true(json_object_get(vector, "expect_error")) || !read_style(vector, &style))
            continue;
        check_vector(vector, &style);
        checked++;
    }
    json_decref(file);
    return checked;
}

static void published_signatures_come_out_byte_for_byte(void **state)
{
    (void)state;
    assert_int_equal(check_file(TEST_DATA_DIR "/vectors/cavage-mastodon-posts.json"), 7);
    assert_int_equal(check_file(TEST_DATA_DIR "/vectors/cavage-edge-cases.json"), 19);
    assert_int_equal(check_file(TEST_DATA_DIR "/vectors/cavage-draft12-appendix-c.json"), 2);
}

/* ---- Mastodon's versions ---- */

static struct cavage_request some_request(enum sign_method method)
{
    return (struct cavage_request){
        .method = method,
        .target = STR("/inbox?x=1"),
        .host = STR("remote.example"),
        .date = STR("Sun, 06 Nov 1994 08:49:37 GMT"),
        .digest = STR("SHA-256=k6I5cakU5erL8KjSUVTNownDwccvu5kU1Hxg88toFYg="),
        .content_type = STR("application/activity+json"),
        .synchronization = STR("collectionId=\"https://a.example/f\", digest=\"00\""),
    };
}

static void assert_signing_sha256(int minor, const char *expected_hex)
{
    struct mastodon_version version = {.major = 4, .minor = minor};
    struct cavage_style style = cavage_style_for(&version, SIGN_POST, false);
    struct cavage_request request = some_request(SIGN_POST);
    unsigned char sha256[DIGEST_SHA256_BYTES];
    char hex[2 * DIGEST_SHA256_BYTES + 1];
    struct buf out;

    buf_init(&out, 4096);
    cavage_put_signing_string(&out, &style, &request);
    digest_sha256(buf_str(&out), sha256);
    buf_clear(&out);
    sodium_bin2hex(hex, sizeof(hex), sha256, sizeof(sha256));
    assert_string_equal(hex, expected_hex);
}

static void signing_strings_are_those_of_each_mastodon(void **state)
{
    (void)state;
    assert_signing_sha256(2, "2b3c845802e36a3c01971633136f60d5b537052cd86cba411c6bd7df43a74ab8");
    for (int minor = 3; minor <= 6; minor++)
        assert_signing_sha256(minor,
                              "6ca12929786d69ed847a77c54e267b108686aa34049c66f1883eda2961cc439c");
    assert_signing_sha256(7, "921ff289ef7cf82a2e1391e28c85b7ec9f8a023333b6cc060b5294198e700611");
}

static void assert_names(int minor, enum sign_method method, bool synchronization,
                         const char *expected)
{
    struct mastodon_version version = {.major = 4, .minor = minor};
    struct cavage_style style = cavage_style_for(&version, method, synchronization);
    char wanted[256];
    struct buf out;

    buf_init(&out, 4096);
    cavage_put_header(&out, &style, STR("k"), (const unsigned char *)"\xff", 1);
    snprintf(wanted, sizeof(wanted),
             "keyId=\"k\",algorithm=\"rsa-sha256\",headers=\"%s\",signature=\"/w==\"", expected);
    assert_string_equal(buf_cstr(&out), wanted);
    buf_clear(&out);
}

static void synchronization_is_signed_where_mastodon_signs_it(void **state)
{
    (void)state;
    assert_names(2, SIGN_POST, true,
                 "(request-target) host date digest content-type collection-synchronization");
    assert_names(3, SIGN_POST, true,
                 "host date digest content-type collection-synchronization (request-target)");
    assert_names(7, SIGN_POST, true,
                 "host date content-type collection-synchronization digest (request-target)");
}

static void a_get_covers_host_date_and_target(void **state)
{
    struct mastodon_version version = {.major = 4, .minor = 2};
    struct cavage_style style = cavage_style_for(&version, SIGN_GET, true);
    struct cavage_request request = some_request(SIGN_GET);
    struct buf out;
    (void)state;

    assert_names(3, SIGN_GET, true, "host date (request-target)");
    assert_names(7, SIGN_GET, true, "host date (request-target)");
    buf_init(&out, 4096);
    cavage_put_signing_string(&out, &style, &request);
    assert_string_equal(buf_cstr(&out), "(request-target): get /inbox\nhost: remote.example\n"
                                        "date: Sun, 06 Nov 1994 08:49:37 GMT");
    buf_clear(&out);
}

/* ---- what is refused ---- */

static enum fp_err check(const struct cavage_request *request)
{
    struct mastodon_version version = {.major = 4, .minor = 5};
    struct cavage_style style = cavage_style_for(&version, SIGN_POST, true);
    struct err err;
    return cavage_check(&style, request, &err);
}

static void values_that_would_forge_lines_are_refused(void **state)
{
    struct cavage_request request = some_request(SIGN_POST);
    (void)state;

    assert_int_equal(check(&request), FP_OK);
    request.host = STR("remote.example\ndate: now");
    assert_int_equal(check(&request), FP_INVALID);
    request.host = STR_NULL;
    assert_int_equal(check(&request), FP_INVALID);
    request = some_request(SIGN_POST);
    request.synchronization = STR("a\rb");
    assert_int_equal(check(&request), FP_INVALID);
    request.synchronization = STR("trailing ");
    assert_int_equal(check(&request), FP_INVALID);
    request = some_request(SIGN_POST);
    request.content_type = STR("application/\x80");
    assert_int_equal(check(&request), FP_INVALID);
    request = some_request(SIGN_POST);
    request.target = STR("inbox");
    assert_int_equal(check(&request), FP_INVALID);
    request.target = STR("/in box");
    assert_int_equal(check(&request), FP_INVALID);
    request.target = STR("/inbox?\x7f");
    assert_int_equal(check(&request), FP_INVALID);
}

static void what_the_style_leaves_out_of_the_target_is_checked_too(void **state)
{
    struct mastodon_version version = {.major = 4, .minor = 2};
    struct cavage_style style = cavage_style_for(&version, SIGN_POST, false);
    struct cavage_request request = some_request(SIGN_POST);
    (void)state;

    request.target = STR("/inbox?a\r\nX: y");
    assert_int_equal(cavage_check(&style, &request, NULL), FP_INVALID);
}

static void key_ids_that_parsers_split_are_refused(void **state)
{
    (void)state;
    assert_true(cavage_key_id_valid(STR("https://social.test/users/alice#main-key")));
    assert_false(cavage_key_id_valid(STR("")));
    assert_false(cavage_key_id_valid(STR("https://social.test/users/a,b#main-key")));
    assert_false(cavage_key_id_valid(STR("https://social.test/users/a\"b#main-key")));
    assert_false(cavage_key_id_valid(STR("https://social.test/users/a\\b#main-key")));
    assert_false(cavage_key_id_valid(STR("https://social.test/users/a b#main-key")));
    assert_false(cavage_key_id_valid(STR("https://b\xc3\xbc"
                                         "cher.test/users/a#main-key")));
}

/* ---- date and actor ---- */

static void dates_are_imf_fixdate(void **state)
{
    char out[DATE_BYTES];
    (void)state;

    date_format(784111777, out);
    assert_string_equal(out, "Sun, 06 Nov 1994 08:49:37 GMT");
    date_format(0, out);
    assert_string_equal(out, "Thu, 01 Jan 1970 00:00:00 GMT");
    date_format(1709164800, out);
    assert_string_equal(out, "Thu, 29 Feb 2024 00:00:00 GMT");
    date_format(INT64_MAX, out);
    assert_string_equal(out, "Fri, 31 Dec 9999 23:59:59 GMT");
    date_format(INT64_MIN, out);
    assert_string_equal(out, "Thu, 01 Jan 1970 00:00:00 GMT");
}

static void assert_actor(int64_t id, const char *username, int64_t scheme, const char *expected)
{
    struct buf out;

    buf_init(&out, 1024);
    actor_put_uri(&out, STR("social.test"), id, str_of(username), scheme);
    assert_string_equal(buf_cstr(&out), expected);
    buf_clear(&out);
}

static void actor_uris_are_mastodons(void **state)
{
    (void)state;
    assert_actor(1, "Alice", 0, "https://social.test/users/Alice");
    assert_actor(115000000000000001, "bob", 1, "https://social.test/ap/users/115000000000000001");
    assert_actor(-99, "mastodon.internal", 1, "https://social.test/actor");
    assert_actor(-99, "social.test:3000", 0, "https://social.test/actor");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(published_signatures_come_out_byte_for_byte),
        cmocka_unit_test(signing_strings_are_those_of_each_mastodon),
        cmocka_unit_test(synchronization_is_signed_where_mastodon_signs_it),
        cmocka_unit_test(a_get_covers_host_date_and_target),
        cmocka_unit_test(values_that_would_forge_lines_are_refused),
        cmocka_unit_test(what_the_style_leaves_out_of_the_target_is_checked_too),
        cmocka_unit_test(key_ids_that_parsers_split_are_refused),
        cmocka_unit_test(dates_are_imf_fixdate),
        cmocka_unit_test(actor_uris_are_mastodons),
    };
    return cmocka_run_group_tests_name("cavage", tests, NULL, NULL);
}
