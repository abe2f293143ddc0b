#include "sig/digest.h"

#include <openssl/evp.h>
#include <stdio.h>

/* 44 characters and EVP_EncodeBlock's NUL. */
enum { BASE64_BYTES = 44 + 1 };

void digest_header(const unsigned char sha256[DIGEST_SHA256_BYTES], char out[DIGEST_HEADER_BYTES])
{
    char base64[BASE64_BYTES];

    EVP_EncodeBlock((unsigned char *)base64, sha256, DIGEST_SHA256_BYTES);
    snprintf(out, DIGEST_HEADER_BYTES, "SHA-256=%s", base64);
}

void digest_content_header(const unsigned char sha256[DIGEST_SHA256_BYTES],
                           char out[DIGEST_HEADER_BYTES])
{
    char base64[BASE64_BYTES];

    EVP_EncodeBlock((unsigned char *)base64, sha256, DIGEST_SHA256_BYTES);
    snprintf(out, DIGEST_HEADER_BYTES, "sha-256=:%s:", base64);
}
