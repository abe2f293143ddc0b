#include "base/digest.h"

#include <openssl/sha.h>

void digest_sha256(struct str body, unsigned char out[DIGEST_SHA256_BYTES])
{
    SHA256((const unsigned char *)body.ptr, body.len, out);
}
