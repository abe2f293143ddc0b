#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <jansson.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "sig/digest.h"

static const char *text_of(const json_t *vector, const char *name)
{
    return json_string_value(json_object_get(vector, name));
}

static void check_vector(const json_t *vector)
{
    const char *base64 = text_of(vector, "body_base64");
    bool content = strcmp(text_of(vector, "scheme"), "content-digest") == 0;
    const char *expected =
        text_of(json_object_get(vector, "expected_headers"), content ? "Content-Digest" : "Digest");
    size_t room = strlen(base64) + 1;
    unsigned char *body = mem_alloc(room);
    unsigned char sha256[DIGEST_SHA256_BYTES];
    char header[DIGEST_HEADER_BYTES];
    size_t len;

    assert_int_equal(sodium_base642bin(body, room, base64, strlen(base64), NULL, &len, NULL,
                                       sodium_base64_VARIANT_ORIGINAL),
                     0);
    digest_sha256((struct str){(const char *)body, len}, sha256);
    if (content)
        digest_content_header(sha256, header);
    else
        digest_header(sha256, header);
    assert_string_equal(header, expected);
    free(body);
}

static void published_digests_come_out_byte_for_byte(void **state)
{
    json_t *file = json_load_file(TEST_DATA_DIR "/vectors/digests.json", 0, NULL);
    size_t checked = 0;
    size_t i;
    json_t *vector;
    (void)state;

    assert_non_null(file);
    json_array_foreach(json_object_get(file, "vectors"), i, vector)
    {
        check_vector(vector);
        checked++;
    }
    assert_int_equal(checked, 15);
    json_decref(file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(published_digests_come_out_byte_for_byte)};
    return cmocka_run_group_tests_name("digest", tests, NULL, NULL);
}
