/* RFC 9421's base and fields against published vectors, made from each vector's URL and body. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <jansson.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "base/url.h"
#include "sig/digest.h"
#include "sig/key.h"
#include "sig/rfc9421.h"
#include "sig/scheme.h"

static const char *text_of(const json_t *object, const char *name)
{
    return json_string_value(json_object_get(object, name));
}

static void body_digest(const json_t *vector, unsigned char sha256[DIGEST_SHA256_BYTES])
{
    const char *base64 = text_of(vector, "body_base64");
    size_t room = strlen(base64) + 1;
    unsigned char *body = mem_alloc(room);
    size_t len;

    assert_int_equal(sodium_base642bin(body, room, base64, strlen(base64), NULL, &len, NULL,
                                       sodium_base64_VARIANT_ORIGINAL),
                     0);
    digest_sha256((struct str){(const char *)body, len}, sha256);
    free(body);
}

/* False: it covers or says what this service never does (@authority, expires, Ed25519, a key id
 * with an escape). */
static bool is_ours(const json_t *vector)
{
    static const char *const params[] = {"created", "keyid", "alg"};
    const json_t *given = json_object_get(vector, "params");

    if (json_array_size(json_object_get(vector, "covered")) != 3 ||
        strncmp(text_of(vector, "name"), "ed25519", 7) == 0 ||
        !cavage_key_id_valid(str_of(text_of(vector, "key_id"))))
        return false;
    for (size_t i = 0; i < json_array_size(given); i++) {
        const json_t *name = json_array_get(json_array_get(given, i), 0);
        if (i >= 3 || strcmp(json_string_value(name), params[i]) != 0)
            return false;
    }
    return true;
}

static void check_signature(const json_t *vector, const struct rfc9421_request *request)
{
    const json_t *expected = json_object_get(vector, "expected_headers");
    unsigned char sha256[DIGEST_SHA256_BYTES];
    unsigned char signature[KEY_MAX_SIGNATURE_BYTES];
    struct err err = {0};
    struct buf out;
    size_t len;
    struct key *key = key_create(str_of(text_of(vector, "key_pem")), 1, &err);

    assert_non_null(key);
    assert_int_equal(key_bits(key), 2048);
    buf_init(&out, 1 << 16);
    rfc9421_put_base(&out, request);
    assert_string_equal(buf_cstr(&out), text_of(vector, "signing_string"));
    digest_sha256(buf_str(&out), sha256);
    assert_true(key_sign(key, 0, sha256, signature, &len));
    buf_reset(&out);
    rfc9421_put_signature(&out, signature, len);
    assert_string_equal(buf_cstr(&out), text_of(expected, "Signature"));
    buf_reset(&out);
    rfc9421_put_signature_input(&out, request);
    assert_string_equal(buf_cstr(&out), text_of(expected, "Signature-Input"));
    assert_string_equal(request->content_digest.ptr, text_of(expected, "Content-Digest"));
    buf_clear(&out);
    key_destroy(key);
}

static void check_vector(const json_t *vector)
{
    const json_t *params = json_object_get(vector, "params");
    unsigned char sha256[DIGEST_SHA256_BYTES];
    char digest[DIGEST_HEADER_BYTES];
    struct err err = {0};
    struct url url;

    assert_int_equal(url_parse(&url, str_of(text_of(vector, "url")), &err), FP_OK);
    body_digest(vector, sha256);
    digest_content_header(sha256, digest);
    const struct rfc9421_request request = {
        .method = SIGN_POST,
        .origin = url.origin,
        .target = url.target,
        .content_digest = str_of(digest),
        .created_s = json_integer_value(json_array_get(json_array_get(params, 0), 1)),
        .key_id = str_of(text_of(vector, "key_id")),
        .names_algorithm = json_array_size(params) == 3,
    };
    assert_int_equal(rfc9421_check(&request, &err), FP_OK);
    check_signature(vector, &request);
    url_clear(&url);
}

static void published_signatures_come_out_byte_for_byte(void **state)
{
    json_t *file = json_load_file(TEST_DATA_DIR "/vectors/rfc9421-posts.json", 0, NULL);
    size_t checked = 0;
    size_t i;
    json_t *vector;
    (void)state;

    assert_non_null(file);
    json_array_foreach(json_object_get(file, "vectors"), i, vector)
    {
        if (!is_ours(vector))
            continue;
        check_vector(vector);
        checked++;
    }
    assert_int_equal(checked, 4);
    json_decref(file);
}

/* Whatever a vector covers: its base signed with its key is its signature. Ed25519 keys are not
 * ours; key_create refuses them. */
static size_t check_primitive(const char *path)
{
    json_t *file = json_load_file(path, 0, NULL);
    unsigned char sha256[DIGEST_SHA256_BYTES];
    unsigned char signature[KEY_MAX_SIGNATURE_BYTES];
    char base64[sodium_base64_ENCODED_LEN(KEY_MAX_SIGNATURE_BYTES, sodium_base64_VARIANT_ORIGINAL)];
    size_t checked = 0;
    size_t i;
    size_t len;
    json_t *vector;

    assert_non_null(file);
    json_array_foreach(json_object_get(file, "vectors"), i, vector)
    {
        struct err err = {0};
        struct key *key = key_create(str_of(text_of(vector, "key_pem")), 1, &err);
        if (key == NULL)
            continue;
        digest_sha256(str_of(text_of(vector, "signing_string")), sha256);
        assert_true(key_sign(key, 0, sha256, signature, &len));
        sodium_bin2base64(base64, sizeof(base64), signature, len, sodium_base64_VARIANT_ORIGINAL);
        assert_string_equal(base64, text_of(vector, "signature_base64"));
        key_destroy(key);
        checked++;
    }
    json_decref(file);
    return checked;
}

static void published_bases_give_the_published_signatures(void **state)
{
    (void)state;
    assert_int_equal(check_primitive(TEST_DATA_DIR "/vectors/rfc9421-posts.json"), 11);
    assert_int_equal(check_primitive(TEST_DATA_DIR "/vectors/rfc9421-published.json"), 1);
}

/* Vectors that cover @authority too still say what @target-uri is: all URLs, then. */
static void target_uris_are_those_of_the_vectors(void **state)
{
    json_t *file = json_load_file(TEST_DATA_DIR "/vectors/rfc9421-posts.json", 0, NULL);
    size_t i;
    json_t *vector;
    (void)state;

    assert_non_null(file);
    json_array_foreach(json_object_get(file, "vectors"), i, vector)
    {
        const json_t *components = json_object_get(vector, "components");
        struct err err = {0};
        struct url url;

        assert_int_equal(url_parse(&url, str_of(text_of(vector, "url")), &err), FP_OK);
        assert_true(str_equal(url.text, str_of(text_of(components, "@target-uri"))));
        assert_int_equal(url.origin.len + url.target.len, url.text.len);
        if (text_of(components, "@authority") != NULL)
            assert_true(str_equal(url.authority, str_of(text_of(components, "@authority"))));
        url_clear(&url);
    }
    json_decref(file);
}

static struct rfc9421_request some_request(void)
{
    return (struct rfc9421_request){.method = SIGN_POST,
                                    .origin = STR("https://remote.example"),
                                    .target = STR("/inbox?x=1"),
                                    .content_digest = STR("sha-256=:abc=:"),
                                    .created_s = 784111777,
                                    .key_id = STR("https://social.test/users/a#main-key")};
}

static void a_get_covers_method_and_target(void **state)
{
    struct rfc9421_request request = some_request();
    struct buf out;
    (void)state;

    request.method = SIGN_GET;
    request.content_digest = STR_NULL;
    assert_int_equal(rfc9421_check(&request, NULL), FP_OK);
    buf_init(&out, 4096);
    rfc9421_put_base(&out, &request);
    assert_string_equal(buf_cstr(&out),
                        "\"@method\": GET\n\"@target-uri\": https://remote.example/inbox?x=1\n"
                        "\"@signature-params\": (\"@method\" \"@target-uri\");created=784111777;"
                        "keyid=\"https://social.test/users/a#main-key\"");
    buf_clear(&out);
}

static void values_that_would_forge_lines_are_refused(void **state)
{
    struct rfc9421_request request = some_request();
    struct err err;
    (void)state;

    assert_int_equal(rfc9421_check(&request, &err), FP_OK);
    request.target = STR("/inbox\n\"@method\": GET");
    assert_int_equal(rfc9421_check(&request, &err), FP_INVALID);
    request.target = STR("inbox");
    assert_int_equal(rfc9421_check(&request, &err), FP_INVALID);
    request = some_request();
    request.origin = STR("https://remote.example\r");
    assert_int_equal(rfc9421_check(&request, &err), FP_INVALID);
    request.origin = STR_NULL;
    assert_int_equal(rfc9421_check(&request, &err), FP_INVALID);
    request = some_request();
    request.content_digest = STR_NULL;
    assert_int_equal(rfc9421_check(&request, &err), FP_INVALID);
}

static void expect_input(unsigned bits, const char *expected_end)
{
    const struct scheme_request request = {.scheme = SCHEME_RFC9421,
                                           .plain = {.method = SIGN_GET, .target = STR("/")},
                                           .origin = STR("https://remote.example"),
                                           .key_id = STR("k"),
                                           .key_bits = bits};
    struct buf signature;
    struct buf input;

    buf_init(&signature, 4096);
    buf_init(&input, 4096);
    scheme_put_fields(&signature, &input, &request, (const unsigned char *)"\xff", 1);
    assert_string_equal(buf_cstr(&signature), "sig1=:/w==:");
    assert_true(str_ends_with(buf_str(&input), str_of(expected_end)));
    buf_clear(&signature);
    buf_clear(&input);
}

static void the_algorithm_is_named_for_large_keys_only(void **state)
{
    (void)state;
    expect_input(2048, ";keyid=\"k\"");
    expect_input(3072, ";keyid=\"k\";alg=\"rsa-v1_5-sha256\"");
    expect_input(4096, ";keyid=\"k\";alg=\"rsa-v1_5-sha256\"");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(published_signatures_come_out_byte_for_byte),
        cmocka_unit_test(published_bases_give_the_published_signatures),
        cmocka_unit_test(target_uris_are_those_of_the_vectors),
        cmocka_unit_test(a_get_covers_method_and_target),
        cmocka_unit_test(values_that_would_forge_lines_are_refused),
        cmocka_unit_test(the_algorithm_is_named_for_large_keys_only),
    };
    return cmocka_run_group_tests_name("rfc9421", tests, NULL, NULL);
}
