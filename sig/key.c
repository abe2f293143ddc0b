#include "sig/key.h"

#include <assert.h>
#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum { MIN_EXPONENT_BITS = 17 }; /* an odd number of 17 bits is at least 65537 */

struct key_copy {
    EVP_PKEY *pkey; /* NULL until first used */
    EVP_PKEY_CTX *context;
};

struct key {
    EVP_PKEY *original;
    atomic_flag original_taken; /* the first thread signs with it, the others with duplicates */
    unsigned copy_count;
    struct key_copy copies[];
};

/* One block of a PEM text, decoded. */
struct pem_block {
    char *name;
    char *header;
    unsigned char *bytes;
    long len;
};

static bool pem_block_read(struct pem_block *block, BIO *bio)
{
    return PEM_read_bio_ex(bio, &block->name, &block->header, &block->bytes, &block->len,
                           PEM_FLAG_SECURE | PEM_FLAG_EAY_COMPATIBLE) == 1;
}

static void pem_block_clear(struct pem_block *block)
{
    OPENSSL_secure_free(block->name);
    OPENSSL_secure_free(block->header);
    OPENSSL_secure_clear_free(block->bytes, (size_t)block->len);
}

static EVP_PKEY *decode_pkcs8(const unsigned char *bytes, long len)
{
    PKCS8_PRIV_KEY_INFO *info = d2i_PKCS8_PRIV_KEY_INFO(NULL, &bytes, len);
    EVP_PKEY *pkey = info != NULL ? EVP_PKCS82PKEY(info) : NULL;

    PKCS8_PRIV_KEY_INFO_free(info);
    return pkey;
}

enum block_kind { BLOCK_OTHER = 0, BLOCK_PKCS1, BLOCK_PKCS8, BLOCK_OTHER_KEY, BLOCK_ENCRYPTED };

static enum block_kind block_kind(const struct pem_block *block)
{
    if (strcmp(block->name, "ENCRYPTED PRIVATE KEY") == 0 ||
        strstr(block->header, "ENCRYPTED") != NULL)
        return BLOCK_ENCRYPTED;
    if (strcmp(block->name, "RSA PRIVATE KEY") == 0)
        return BLOCK_PKCS1;
    if (strcmp(block->name, "PRIVATE KEY") == 0)
        return BLOCK_PKCS8;
    return str_ends_with(str_of(block->name), STR("PRIVATE KEY")) ? BLOCK_OTHER_KEY : BLOCK_OTHER;
}

/* `err` is filled when the block is a private key that can't be taken. */
static EVP_PKEY *decode_block(const struct pem_block *block, struct err *err)
{
    const unsigned char *bytes = block->bytes;
    EVP_PKEY *pkey = NULL;

    switch (block_kind(block)) {
    case BLOCK_OTHER:
        return NULL;
    case BLOCK_ENCRYPTED:
        err_set(err, FP_INVALID, "the private key is encrypted with a passphrase");
        return NULL;
    case BLOCK_OTHER_KEY:
        err_set(err, FP_INVALID, "the private key is not an RSA key");
        return NULL;
    case BLOCK_PKCS1:
        pkey = d2i_PrivateKey(EVP_PKEY_RSA, NULL, &bytes, block->len);
        break;
    case BLOCK_PKCS8:
        pkey = decode_pkcs8(bytes, block->len);
        break;
    }
    if (pkey == NULL)
        err_set(err, FP_INVALID, "the private key cannot be decoded");
    return pkey;
}

static EVP_PKEY *read_pem(struct str pem, struct err *err)
{
    struct pem_block block;
    EVP_PKEY *pkey = NULL;
    BIO *bio = BIO_new_mem_buf(pem.ptr, (int)pem.len);

    if (bio == NULL) {
        err_set(err, FP_UNAVAILABLE, "no memory for a private key");
        return NULL;
    }
    err->code = FP_OK;
    while (pkey == NULL && err->code == FP_OK && pem_block_read(&block, bio)) {
        pkey = decode_block(&block, err);
        pem_block_clear(&block);
    }
    BIO_free(bio);
    if (pkey == NULL && err->code == FP_OK)
        err_set(err, FP_INVALID, "it is not a private key in PEM form");
    return pkey;
}

static bool has_good_exponent(const EVP_PKEY *pkey)
{
    BIGNUM *e = NULL;

    if (EVP_PKEY_get_bn_param(pkey, OSSL_PKEY_PARAM_RSA_E, &e) != 1)
        return false;
    bool good = BN_is_odd(e) && BN_num_bits(e) >= MIN_EXPONENT_BITS;
    BN_free(e);
    return good;
}

/* EVP_PKEY_check would take 31 ms: that is the time of 140 signatures. */
static enum fp_err check_kind(const EVP_PKEY *pkey, struct err *err)
{
    int bits = EVP_PKEY_get_bits(pkey);

    if (!EVP_PKEY_is_a(pkey, "RSA"))
        return err_set(err, FP_INVALID, "the private key is not an RSA key");
    if (bits < KEY_MIN_BITS || bits > KEY_MAX_BITS)
        return err_set(err, FP_INVALID, "the RSA key has %d bits instead of %d to %d", bits,
                       KEY_MIN_BITS, KEY_MAX_BITS);
    if (!has_good_exponent(pkey))
        return err_set(err, FP_INVALID, "the RSA key has a weak public exponent");
    return FP_OK;
}

struct key *key_create(struct str pem, unsigned copies, struct err *err)
{
    if (pem.len == 0 || pem.len > KEY_MAX_PEM_BYTES) {
        err_set(err, FP_INVALID, "the private key is empty or longer than %d bytes",
                KEY_MAX_PEM_BYTES);
        return NULL;
    }
    EVP_PKEY *pkey = read_pem(pem, err);
    if (pkey != NULL && check_kind(pkey, err) != FP_OK) {
        EVP_PKEY_free(pkey);
        pkey = NULL;
    }
    ERR_clear_error(); /* else it surfaces in a later call of somebody else */
    if (pkey == NULL)
        return NULL;
    struct key *key = mem_alloc(sizeof(*key) + copies * sizeof(key->copies[0]));
    key->original = pkey;
    atomic_flag_clear(&key->original_taken);
    key->copy_count = copies;
    return key;
}

void key_destroy(struct key *key)
{
    if (key == NULL)
        return;
    for (unsigned i = 0; i < key->copy_count; i++) {
        EVP_PKEY_CTX_free(key->copies[i].context);
        EVP_PKEY_free(key->copies[i].pkey);
    }
    EVP_PKEY_free(key->original);
    free(key);
}

unsigned key_bits(const struct key *key)
{
    return (unsigned)EVP_PKEY_get_bits(key->original);
}

static EVP_PKEY *take_pkey(struct key *key)
{
    if (atomic_flag_test_and_set(&key->original_taken))
        return EVP_PKEY_dup(key->original);
    EVP_PKEY_up_ref(key->original);
    return key->original;
}

/* Without the digest's name OpenSSL would sign happily, and nobody could verify it. */
static EVP_PKEY_CTX *make_context(EVP_PKEY *pkey)
{
    EVP_PKEY_CTX *context = EVP_PKEY_CTX_new(pkey, NULL);

    if (context != NULL && EVP_PKEY_sign_init(context) == 1 &&
        EVP_PKEY_CTX_set_rsa_padding(context, RSA_PKCS1_PADDING) == 1 &&
        EVP_PKEY_CTX_set_signature_md(context, EVP_sha256()) == 1)
        return context;
    EVP_PKEY_CTX_free(context);
    return NULL;
}

static bool make_copy(struct key *key, struct key_copy *copy)
{
    if (copy->pkey == NULL)
        copy->pkey = take_pkey(key);
    if (copy->pkey != NULL && copy->context == NULL)
        copy->context = make_context(copy->pkey);
    return copy->context != NULL;
}

bool key_sign(struct key *key, unsigned copy, const unsigned char sha256[DIGEST_SHA256_BYTES],
              unsigned char signature[KEY_MAX_SIGNATURE_BYTES], size_t *len)
{
    assert(copy < key->copy_count);
    *len = KEY_MAX_SIGNATURE_BYTES;
    bool signed_it =
        make_copy(key, &key->copies[copy]) &&
        EVP_PKEY_sign(key->copies[copy].context, signature, len, sha256, DIGEST_SHA256_BYTES) == 1;
    if (!signed_it)
        ERR_clear_error();
    return signed_it;
}
