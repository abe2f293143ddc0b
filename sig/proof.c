#include "sig/proof.h"

#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_SIGNATURE_BYTES = 1024, MAX_STRING_BYTES = 64 * 1024 };

/* What stands in Base64 between `before` and `end`, decoded. 0: there is none. */
static size_t signature_of(struct str header, struct str before, char end,
                           unsigned char out[MAX_SIGNATURE_BYTES])
{
    size_t len = 0;

    for (size_t at = 0; at + before.len <= header.len; at++) {
        if (memcmp(header.ptr + at, before.ptr, before.len) != 0)
            continue;
        struct str text = str_slice(header, at + before.len);
        text.len = str_find(text, end);
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

static bool verifies(struct str public_pem, struct str text, const unsigned char *signature,
                     size_t len)
{
    EVP_PKEY *key = len > 0 && public_pem.len > 0 && public_pem.len < MAX_STRING_BYTES
                        ? read_key(public_pem)
                        : NULL;
    EVP_MD_CTX *context = EVP_MD_CTX_new();

    if (context == NULL)
        abort();
    bool holds =
        key != NULL && EVP_PKEY_is_a(key, "RSA") == 1 &&
        EVP_DigestVerifyInit(context, NULL, EVP_sha256(), NULL, key) == 1 &&
        EVP_DigestVerify(context, signature, len, (const unsigned char *)text.ptr, text.len) == 1;
    EVP_MD_CTX_free(context);
    EVP_PKEY_free(key);
    return holds;
}

bool proof_holds(struct str public_pem, const struct cavage_style *style,
                 const struct cavage_request *request, struct str header)
{
    unsigned char bytes[MAX_SIGNATURE_BYTES];
    size_t len = signature_of(header, STR("signature=\""), '"', bytes);
    struct buf text;

    buf_init(&text, MAX_STRING_BYTES);
    cavage_put_signing_string(&text, style, request);
    bool holds = verifies(public_pem, buf_str(&text), bytes, len);
    buf_clear(&text);
    return holds;
}

/* The base that a receiver builds of what it got: the parameters are the field's own bytes. */
static void put_received_base(struct buf *out, const struct rfc9421_request *request,
                              struct str params)
{
    buf_printf(out, "\"@method\": POST\n\"@target-uri\": %.*s%.*s\n\"content-digest\": %.*s\n",
               STR_ARG(request->origin), STR_ARG(request->target),
               STR_ARG(request->content_digest));
    buf_put_str(out, STR("\"@signature-params\": "));
    buf_put_str(out, params);
}

bool proof_holds_rfc9421(struct str public_pem, const struct rfc9421_request *request,
                         struct str signature_input, struct str signature)
{
    static const char covered[] = "sig1=(\"@method\" \"@target-uri\" \"content-digest\");";
    unsigned char bytes[MAX_SIGNATURE_BYTES];
    size_t len = signature_of(signature, STR("sig1=:"), ':', bytes);
    struct buf text;

    if (!str_starts_with(signature_input, str_of(covered)))
        return false;
    buf_init(&text, MAX_STRING_BYTES);
    put_received_base(&text, request, str_slice(signature_input, strlen("sig1=")));
    bool holds = verifies(public_pem, buf_str(&text), bytes, len);
    buf_clear(&text);
    return holds;
}
