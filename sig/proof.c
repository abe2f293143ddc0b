#include "sig/proof.h"

#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_SIGNATURE_BYTES = 1024, MAX_STRING_BYTES = 64 * 1024 };

/* The quoted parameter `signature` of the header, decoded. 0: there is none. */
static size_t signature_of(struct str header, unsigned char out[MAX_SIGNATURE_BYTES])
{
    static const char name[] = "signature=\"";
    const size_t name_len = sizeof(name) - 1;
    size_t len = 0;

    for (size_t at = 0; at + name_len <= header.len; at++) {
        if (memcmp(header.ptr + at, name, name_len) != 0)
            continue;
        struct str text = str_slice(header, at + name_len);
        text.len = str_find(text, '"');
        if (sodium_base642bin(out, MAX_SIGNATURE_BYTES, text.ptr, text.len, NULL, &len, NULL,
                              sodium_base64_VARIANT_ORIGINAL) != 0)
            len = 0;
        break;
    }
    return len;
}

static EVP_PKEY *read_key(struct str pem)
{
    BIO *bio = BIO_new_mem_buf(pem.ptr, (int)pem.len);
    EVP_PKEY *key = bio != NULL ? PEM_read_bio_PUBKEY(bio, NULL, NULL, NULL) : NULL;

    BIO_free(bio);
    return key;
}

bool proof_holds(struct str public_pem, const struct cavage_style *style,
                 const struct cavage_request *request, struct str header)
{
    unsigned char signature[MAX_SIGNATURE_BYTES];
    size_t len = signature_of(header, signature);
    EVP_PKEY *key = len > 0 && public_pem.len > 0 && public_pem.len < MAX_STRING_BYTES
                        ? read_key(public_pem)
                        : NULL;
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    struct buf text;

    if (context == NULL)
        abort();
    buf_init(&text, MAX_STRING_BYTES);
    cavage_put_signing_string(&text, style, request);
    bool holds =
        key != NULL && EVP_PKEY_is_a(key, "RSA") == 1 &&
        EVP_DigestVerifyInit(context, NULL, EVP_sha256(), NULL, key) == 1 &&
        EVP_DigestVerify(context, signature, len, (const unsigned char *)text.ptr, text.len) == 1;
    buf_clear(&text);
    EVP_MD_CTX_free(context);
    EVP_PKEY_free(key);
    return holds;
}
