#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <jansson.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <pthread.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "sig/heap.h"
#include "sig/key.h"

static const char *text_of(const json_t *object, const char *name)
{
    return json_string_value(json_object_get(object, name));
}

/* ---- PEM of any form; free() it ---- */

enum form { FORM_PKCS1 = 0, FORM_PKCS8, FORM_PKCS1_ENCRYPTED, FORM_PKCS8_ENCRYPTED, FORM_PUBLIC };

static void write_pem(BIO *bio, EVP_PKEY *pkey, enum form form)
{
    unsigned char password[] = "secret";
    int written = 0;

    switch (form) {
    case FORM_PKCS1:
        written = PEM_write_bio_PrivateKey_traditional(bio, pkey, NULL, NULL, 0, NULL, NULL);
        break;
    case FORM_PKCS8:
        written = PEM_write_bio_PKCS8PrivateKey(bio, pkey, NULL, NULL, 0, NULL, NULL);
        break;
    case FORM_PKCS1_ENCRYPTED:
        written = PEM_write_bio_PrivateKey_traditional(bio, pkey, EVP_aes_128_cbc(), password, 6,
                                                       NULL, NULL);
        break;
    case FORM_PKCS8_ENCRYPTED:
        written = PEM_write_bio_PKCS8PrivateKey(bio, pkey, EVP_aes_128_cbc(), (char *)password, 6,
                                                NULL, NULL);
        break;
    case FORM_PUBLIC:
        written = PEM_write_bio_PUBKEY(bio, pkey);
        break;
    }
    assert_int_equal(written, 1);
}

static char *pem_of(EVP_PKEY *pkey, enum form form)
{
    BIO *bio = BIO_new(BIO_s_mem());
    char *data;

    write_pem(bio, pkey, form);
    long len = BIO_get_mem_data(bio, &data);
    char *text = str_dup((struct str){data, (size_t)len});
    BIO_free(bio);
    return text;
}

struct keys {
    EVP_PKEY *rsa;
    char *pkcs1;
    char *pkcs8;
};

static int make_keys(void **state)
{
    struct keys *keys = mem_alloc(sizeof(*keys));

    keys->rsa = EVP_RSA_gen(2048);
    keys->pkcs1 = pem_of(keys->rsa, FORM_PKCS1);
    keys->pkcs8 = pem_of(keys->rsa, FORM_PKCS8);
    *state = keys;
    return keys->rsa != NULL ? 0 : -1;
}

static int free_keys(void **state)
{
    struct keys *keys = *state;

    EVP_PKEY_free(keys->rsa);
    free(keys->pkcs1);
    free(keys->pkcs8);
    free(keys);
    return 0;
}

static void assert_accepted(const char *pem)
{
    struct err err = {0};
    struct key *key = key_create(str_of(pem), 1, &err);

    if (key == NULL)
        fail_msg("refused: %s", err.message);
    key_destroy(key);
}

static void assert_refused(const char *pem, const char *reason)
{
    struct err err = {0};

    assert_null(key_create(str_of(pem), 1, &err));
    assert_int_equal(err.code, FP_INVALID);
    if (strstr(err.message, reason) == NULL)
        fail_msg("\"%s\" is not in \"%s\"", reason, err.message);
}

/* ---- signatures ---- */

static void check_vector(const json_t *vector)
{
    struct err err = {0};
    struct key *key = key_create(str_of(text_of(vector, "key_pem")), 2, &err);
    unsigned char sha256[DIGEST_SHA256_BYTES];
    unsigned char signature[KEY_MAX_SIGNATURE_BYTES];
    char base64[1024];
    size_t len;

    if (key == NULL)
        fail_msg("%s: %s", text_of(vector, "name"), err.message);
    digest_sha256(str_of(text_of(vector, "signing_string")), sha256);
    for (unsigned copy = 0; copy < 2; copy++) {
        for (int again = 0; again < 2; again++) { /* the context is reused */
            assert_true(key_sign(key, copy, sha256, signature, &len));
            sodium_bin2base64(base64, sizeof(base64), signature, len,
                              sodium_base64_VARIANT_ORIGINAL);
            assert_string_equal(base64, text_of(vector, "signature_base64"));
        }
    }
    key_destroy(key);
}

static size_t check_file(const char *path)
{
    json_t *file = json_load_file(path, 0, NULL);
    size_t checked = 0;
    size_t i;
    json_t *vector;

    assert_non_null(file);
    json_array_foreach(json_object_get(file, "vectors"), i, vector)
    {
        const char *algorithm = text_of(vector, "algorithm");
        if (algorithm == NULL || strcmp(algorithm, "rsa-sha256") != 0)
            continue;
        check_vector(vector);
        checked++;
    }
    json_decref(file);
    return checked;
}

static void published_signatures_are_made_with_every_copy(void **state)
{
    (void)state;
    assert_int_equal(check_file(TEST_DATA_DIR "/vectors/cavage-mastodon-posts.json"), 7);
    assert_int_equal(check_file(TEST_DATA_DIR "/vectors/cavage-edge-cases.json"), 19);
}

struct signing {
    struct key *key;
    unsigned copy;
    bool good;
};

static void *sign_often(void *arg)
{
    struct signing *signing = arg;
    unsigned char sha256[DIGEST_SHA256_BYTES] = {1};
    unsigned char first[KEY_MAX_SIGNATURE_BYTES];
    unsigned char signature[KEY_MAX_SIGNATURE_BYTES];
    size_t len;

    signing->good = key_sign(signing->key, signing->copy, sha256, first, &len);
    for (int i = 0; i < 50 && signing->good; i++)
        signing->good = key_sign(signing->key, signing->copy, sha256, signature, &len) &&
                        memcmp(first, signature, len) == 0;
    return NULL;
}

static void threads_sign_with_their_copies_at_once(void **state)
{
    const struct keys *keys = *state;
    struct err err;
    struct key *key = key_create(str_of(keys->pkcs1), 4, &err);
    struct signing signing[4];
    pthread_t threads[4];

    assert_non_null(key);
    for (unsigned i = 0; i < 4; i++) {
        signing[i] = (struct signing){.key = key, .copy = i};
        assert_int_equal(pthread_create(&threads[i], NULL, sign_often, &signing[i]), 0);
    }
    for (unsigned i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
        assert_true(signing[i].good);
    }
    key_destroy(key);
}

/* ---- forms of PEM ---- */

static char *replace_all(const char *text, const char *from, const char *to)
{
    struct buf out;
    const char *found;

    buf_init(&out, 1 << 16);
    while ((found = strstr(text, from)) != NULL) {
        buf_put(&out, text, (size_t)(found - text));
        buf_put_str(&out, str_of(to));
        text = found + strlen(from);
    }
    buf_put_str(&out, str_of(text));
    char *result = str_dup(buf_str(&out));
    buf_clear(&out);
    return result;
}

static void usual_forms_are_accepted(void **state)
{
    const struct keys *keys = *state;
    char *crlf = replace_all(keys->pkcs1, "\n", "\r\n");
    char *public_part = pem_of(keys->rsa, FORM_PUBLIC);
    char *both = mem_printf("%s%s", public_part, keys->pkcs1);
    char *after_noise = mem_printf("\xef\xbb\xbfsome text\n%s", keys->pkcs8);

    assert_accepted(keys->pkcs1);
    assert_accepted(keys->pkcs8);
    assert_accepted(crlf);
    assert_accepted(both);
    assert_accepted(after_noise);
    free(crlf);
    free(public_part);
    free(both);
    free(after_noise);
}

static void broken_forms_are_refused(void **state)
{
    const struct keys *keys = *state;
    char *one_line = replace_all(keys->pkcs1, "\n", " ");
    char *wrong_label = replace_all(keys->pkcs1, "RSA PRIVATE KEY", "PRIVATE KEY");
    char *public_part = pem_of(keys->rsa, FORM_PUBLIC);
    char *cut = str_dup((struct str){keys->pkcs1, strlen(keys->pkcs1) / 2});
    char *huge = mem_printf("%*s%s", KEY_MAX_PEM_BYTES, "", keys->pkcs1);

    assert_refused("", "empty");
    assert_refused("no key at all", "PEM");
    assert_refused(one_line, "PEM");
    assert_refused(wrong_label, "decoded");
    assert_refused(public_part, "PEM");
    assert_refused(cut, "PEM");
    assert_refused(huge, "longer");
    free(one_line);
    free(wrong_label);
    free(public_part);
    free(cut);
    free(huge);
}

/* A prompt would read from the terminal, or from standard input where there is none: it would wait
 * here for ever. */
static void an_encrypted_key_is_refused_without_asking(void **state)
{
    const struct keys *keys = *state;
    char *pkcs1 = pem_of(keys->rsa, FORM_PKCS1_ENCRYPTED);
    char *pkcs8 = pem_of(keys->rsa, FORM_PKCS8_ENCRYPTED);
    int ends[2];
    int before = dup(STDIN_FILENO);

    assert_int_equal(pipe(ends), 0);
    assert_true(dup2(ends[0], STDIN_FILENO) == STDIN_FILENO);
    alarm(10);
    assert_refused(pkcs1, "encrypted");
    assert_refused(pkcs8, "encrypted");
    alarm(0);
    if (before >= 0) {
        dup2(before, STDIN_FILENO);
        close(before);
    }
    close(ends[0]);
    close(ends[1]);
    free(pkcs1);
    free(pkcs8);
}

/* ---- kinds of keys ---- */

static void assert_kind_refused(EVP_PKEY *pkey, enum form form, const char *reason)
{
    assert_non_null(pkey);
    char *pem = pem_of(pkey, form);
    assert_refused(pem, reason);
    free(pem);
    EVP_PKEY_free(pkey);
}

static EVP_PKEY *generate(int type, unsigned long exponent)
{
    EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_id(type, NULL);
    BIGNUM *e = BN_new();
    EVP_PKEY *pkey = NULL;

    BN_set_word(e, exponent);
    EVP_PKEY_keygen_init(context);
    EVP_PKEY_CTX_set_rsa_keygen_bits(context, 2048);
    EVP_PKEY_CTX_set1_rsa_keygen_pubexp(context, e);
    EVP_PKEY_keygen(context, &pkey);
    BN_free(e);
    EVP_PKEY_CTX_free(context);
    return pkey;
}

static void other_kinds_of_keys_are_refused(void **state)
{
    (void)state;
    assert_kind_refused(EVP_EC_gen("P-256"), FORM_PKCS8, "not an RSA key");
    assert_kind_refused(EVP_EC_gen("P-256"), FORM_PKCS1, "not an RSA key");
    assert_kind_refused(EVP_PKEY_Q_keygen(NULL, NULL, "ED25519"), FORM_PKCS8, "not an RSA key");
    assert_kind_refused(generate(EVP_PKEY_RSA_PSS, 65537), FORM_PKCS8, "not an RSA key");
    assert_kind_refused(EVP_RSA_gen(1024), FORM_PKCS1, "1024 bits");
    assert_kind_refused(generate(EVP_PKEY_RSA, 3), FORM_PKCS1, "exponent");
}

/* Numbers of that size without their primes, which would take seconds to find: nobody looks. */
static EVP_PKEY *large_key(int bits)
{
    static const char *const parts[] = {
        OSSL_PKEY_PARAM_RSA_N,           OSSL_PKEY_PARAM_RSA_D,
        OSSL_PKEY_PARAM_RSA_FACTOR1,     OSSL_PKEY_PARAM_RSA_FACTOR2,
        OSSL_PKEY_PARAM_RSA_EXPONENT1,   OSSL_PKEY_PARAM_RSA_EXPONENT2,
        OSSL_PKEY_PARAM_RSA_COEFFICIENT1};
    OSSL_PARAM_BLD *builder = OSSL_PARAM_BLD_new();
    EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_id(EVP_PKEY_RSA, NULL);
    BIGNUM *number = BN_new();
    EVP_PKEY *pkey = NULL;

    BN_rand(number, bits, BN_RAND_TOP_ONE, BN_RAND_BOTTOM_ODD);
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
        OSSL_PARAM_BLD_push_BN(builder, parts[i], number);
    OSSL_PARAM_BLD_push_ulong(builder, OSSL_PKEY_PARAM_RSA_E, 65537);
    OSSL_PARAM *params = OSSL_PARAM_BLD_to_param(builder);
    EVP_PKEY_fromdata_init(context);
    EVP_PKEY_fromdata(context, &pkey, EVP_PKEY_KEYPAIR, params);
    OSSL_PARAM_free(params);
    OSSL_PARAM_BLD_free(builder);
    EVP_PKEY_CTX_free(context);
    BN_free(number);
    return pkey;
}

static void a_key_too_large_is_refused_before_it_costs_anything(void **state)
{
    (void)state;
    assert_kind_refused(large_key(4104), FORM_PKCS1, "4104 bits");
    assert_kind_refused(large_key(8192), FORM_PKCS8, "8192 bits");
}

/* ---- where they are kept ---- */

static void keys_live_in_the_secure_heap(void **state)
{
    const struct keys *keys = *state;
    size_t before_bytes = CRYPTO_secure_used();
    struct err err;
    struct key *key = key_create(str_of(keys->pkcs1), 1, &err);

    assert_non_null(key);
    assert_true(CRYPTO_secure_used() >= before_bytes + 800);
    assert_true(CRYPTO_secure_used() <= before_bytes + HEAP_BYTES_A_KEY);
    key_destroy(key);
    assert_int_equal(CRYPTO_secure_used(), before_bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(published_signatures_are_made_with_every_copy),
        cmocka_unit_test(threads_sign_with_their_copies_at_once),
        cmocka_unit_test(usual_forms_are_accepted),
        cmocka_unit_test(broken_forms_are_refused),
        cmocka_unit_test(an_encrypted_key_is_refused_without_asking),
        cmocka_unit_test(other_kinds_of_keys_are_refused),
        cmocka_unit_test(a_key_too_large_is_refused_before_it_costs_anything),
        cmocka_unit_test(keys_live_in_the_secure_heap),
    };
    struct heap heap;

    heap_open(&heap, 64);
    if (heap.size_bytes == 0)
        return 1;
    return cmocka_run_group_tests_name("key", tests, make_keys, free_keys);
}
