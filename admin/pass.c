#include "admin/pass.h"

#include <sodium.h>

static void encode(const unsigned char *bytes, char text[PASS_TEXT_BYTES])
{
    sodium_bin2base64(text, PASS_TEXT_BYTES, bytes, PASS_BYTES,
                      sodium_base64_VARIANT_URLSAFE_NO_PADDING);
}

void pass_make(char text[PASS_TEXT_BYTES])
{
    unsigned char bytes[PASS_BYTES];

    randombytes_buf(bytes, sizeof(bytes));
    encode(bytes, text);
}

void pass_hash(struct str text, char hash[PASS_HASH_BYTES])
{
    unsigned char bytes[crypto_hash_sha256_BYTES];

    crypto_hash_sha256(bytes, (const unsigned char *)text.ptr, text.len);
    sodium_bin2hex(hash, PASS_HASH_BYTES, bytes, sizeof(bytes));
}

void pass_challenge(struct str text, char challenge[PASS_TEXT_BYTES])
{
    unsigned char bytes[crypto_hash_sha256_BYTES];

    crypto_hash_sha256(bytes, (const unsigned char *)text.ptr, text.len);
    encode(bytes, challenge);
}

bool pass_equal(struct str a, struct str b)
{
    return a.len == b.len && a.len > 0 && sodium_memcmp(a.ptr, b.ptr, a.len) == 0;
}
