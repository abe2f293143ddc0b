/* A signature of ours, seen by its receiver. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <sodium.h>

#include "sig/proof.h"

struct pair {
    EVP_PKEY *key;
    struct str public_pem; /* of `bio` */
    BIO *bio;
};

static const struct mastodon_version version = {.major = 4, .minor = 5, .patch = 0};

static struct pair make_pair(EVP_PKEY *key)
{
    struct pair pair = {.key = key, .bio = BIO_new(BIO_s_mem())};
    char *text;

    assert_non_null(key);
    assert_int_equal(PEM_write_bio_PUBKEY(pair.bio, key), 1);
    long len = BIO_get_mem_data(pair.bio, &text);
    pair.public_pem = (struct str){text, (size_t)len};
    return pair;
}

static void clear_pair(struct pair *pair)
{
    EVP_PKEY_free(pair->key);
    BIO_free(pair->bio);
}

static struct cavage_request request_of(const char *target)
{
    return (struct cavage_request){.method = SIGN_POST,
                                   .target = str_of(target),
                                   .host = STR("a.example"),
                                   .date = STR("Sun, 06 Nov 1994 08:49:37 GMT"),
                                   .digest =
                                       STR("SHA-256=47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="),
                                   .content_type = STR("application/activity+json")};
}

static size_t sign_text(unsigned char signature[512], const struct pair *pair,
                        const struct buf *text)
{
    size_t len = 512;
    EVP_MD_CTX *context = EVP_MD_CTX_new();

    assert_int_equal(EVP_DigestSignInit(context, NULL, EVP_sha256(), NULL, pair->key), 1);
    assert_int_equal(
        EVP_DigestSign(context, signature, &len, (const unsigned char *)text->ptr, text->len), 1);
    EVP_MD_CTX_free(context);
    return len;
}

static void sign(struct buf *header, const struct pair *pair, const struct cavage_style *style,
                 const struct cavage_request *request)
{
    unsigned char signature[512];
    struct buf text;

    buf_init(&text, 4096);
    cavage_put_signing_string(&text, style, request);
    size_t len = sign_text(signature, pair, &text);
    cavage_put_header(header, style, STR("https://b.example/users/a#main-key"), signature, len);
    buf_clear(&text);
}

static void test_it_holds_for_its_request_and_key_only(void **state)
{
    struct cavage_style style = cavage_style_for(&version, SIGN_POST, false);
    struct cavage_request request = request_of("/inbox");
    struct cavage_request other = request_of("/outbox");
    struct pair pair = make_pair(EVP_RSA_gen(2048));
    struct pair stranger = make_pair(EVP_RSA_gen(2048));
    struct buf header;

    (void)state;
    buf_init(&header, 4096);
    sign(&header, &pair, &style, &request);
    assert_true(proof_holds(pair.public_pem, &style, &request, buf_str(&header)));
    assert_false(proof_holds(pair.public_pem, &style, &other, buf_str(&header)));
    assert_false(proof_holds(stranger.public_pem, &style, &request, buf_str(&header)));
    buf_clear(&header);
    clear_pair(&pair);
    clear_pair(&stranger);
}

static void test_what_is_none_does_not_hold(void **state)
{
    static const char *const headers[] = {
        "", "signature", "signature=\"", "signature=\"!!!!\"", "signature=\"AAAA\"", "keyId=\"x\""};
    struct cavage_style style = cavage_style_for(&version, SIGN_POST, false);
    struct cavage_request request = request_of("/inbox");
    struct pair rsa = make_pair(EVP_RSA_gen(2048));
    struct pair ed25519 = make_pair(EVP_PKEY_Q_keygen(NULL, NULL, "ED25519"));
    struct buf header;

    (void)state;
    for (size_t i = 0; i < sizeof(headers) / sizeof(headers[0]); i++)
        assert_false(proof_holds(rsa.public_pem, &style, &request, str_of(headers[i])));
    buf_init(&header, 4096);
    sign(&header, &rsa, &style, &request);
    assert_false(proof_holds(STR_NULL, &style, &request, buf_str(&header)));
    assert_false(proof_holds(STR("no key"), &style, &request, buf_str(&header)));
    assert_false(proof_holds(ed25519.public_pem, &style, &request, buf_str(&header)));
    buf_clear(&header);
    clear_pair(&rsa);
    clear_pair(&ed25519);
}

static void test_rfc9421_holds_for_its_request_and_key_only(void **state)
{
    struct rfc9421_request request = {.method = SIGN_POST,
                                      .origin = STR("https://a.example"),
                                      .target = STR("/inbox?x=1"),
                                      .content_digest = STR("sha-256=:47DEQpj8HBSa:"),
                                      .created_s = 784111777,
                                      .key_id = STR("https://b.example/users/a#main-key"),
                                      .names_algorithm = true};
    struct pair pair = make_pair(EVP_RSA_gen(2048));
    struct pair stranger = make_pair(EVP_RSA_gen(2048));
    unsigned char bytes[512];
    struct buf texts[3];

    (void)state;
    for (size_t i = 0; i < 3; i++)
        buf_init(&texts[i], 4096);
    rfc9421_put_base(&texts[0], &request);
    rfc9421_put_signature_input(&texts[1], &request);
    rfc9421_put_signature(&texts[2], bytes, sign_text(bytes, &pair, &texts[0]));
    struct str input = buf_str(&texts[1]);
    struct str signature = buf_str(&texts[2]);
    assert_true(proof_holds_rfc9421(pair.public_pem, &request, input, signature));
    assert_false(proof_holds_rfc9421(stranger.public_pem, &request, input, signature));
    assert_false(proof_holds_rfc9421(pair.public_pem, &request, STR("sig1=()"), signature));
    assert_false(proof_holds_rfc9421(pair.public_pem, &request, input, STR("sig1=:AAAA:")));
    assert_false(proof_holds_rfc9421(pair.public_pem, &request, input, STR_NULL));
    request.target = STR("/inbox?x=2");
    assert_false(proof_holds_rfc9421(pair.public_pem, &request, input, signature));
    for (size_t i = 0; i < 3; i++)
        buf_clear(&texts[i]);
    clear_pair(&pair);
    clear_pair(&stranger);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_it_holds_for_its_request_and_key_only),
        cmocka_unit_test(test_what_is_none_does_not_hold),
        cmocka_unit_test(test_rfc9421_holds_for_its_request_and_key_only),
    };
    return sodium_init() < 0 ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
