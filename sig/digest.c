#include "sig/digest.h"

#include <openssl/evp.h>
#include <string.h>

void digest_header(const unsigned char sha256[DIGEST_SHA256_BYTES], char out[DIGEST_HEADER_BYTES])
{
    static const char name[] = "SHA-256=";

    memcpy(out, name, sizeof(name) - 1);
    EVP_EncodeBlock((unsigned char *)out + sizeof(name) - 1, sha256, DIGEST_SHA256_BYTES);
}
