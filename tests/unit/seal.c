#include "seal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <openssl/evp.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

enum { ROOM = 128 * 1024, KEY_BYTES = 32 };

/* Of SEAL_PRIMARY_KEY and SEAL_SALT, as Rails derived it. */
static const char key_in_hex[] = "6f1c82373f99c67bfc16e6d75f424883f11adf3b9b3e964a63502b24297c27fd";

static char *base64(const unsigned char *bytes, size_t len)
{
    size_t room = sodium_base64_ENCODED_LEN(len, sodium_base64_VARIANT_ORIGINAL);
    char *text = mem_alloc(room);
    sodium_bin2base64(text, room, bytes, len, sodium_base64_VARIANT_ORIGINAL);
    return text;
}

static void encrypt(const struct seal *seal, const unsigned char *iv, const unsigned char *in,
                    size_t len, unsigned char *out, unsigned char *tag)
{
    EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();
    unsigned char key[KEY_BYTES];
    int written;

    sodium_hex2bin(key, sizeof(key), key_in_hex, strlen(key_in_hex), NULL, NULL, NULL);
    EVP_EncryptInit_ex(context, EVP_aes_256_gcm(), NULL, NULL, NULL);
    EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_GCM_SET_IVLEN, (int)seal->iv_bytes, NULL);
    EVP_EncryptInit_ex(context, NULL, NULL, key, iv);
    EVP_EncryptUpdate(context, out, &written, in, (int)len);
    EVP_EncryptFinal_ex(context, out + written, &written);
    EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_GCM_GET_TAG, (int)seal->tag_bytes, tag);
    EVP_CIPHER_CTX_free(context);
}

char *seal_make(const struct seal *seal)
{
    unsigned char iv[16] = "initialization!";
    unsigned char tag[16];
    unsigned char *packed = mem_alloc(ROOM);
    unsigned char *bytes = mem_alloc(ROOM);
    uLongf len = ROOM;

    if (seal->deflated)
        assert_int_equal(compress(packed, &len, (const Bytef *)seal->plain.ptr, seal->plain.len),
                         Z_OK);
    else
        memcpy(packed, seal->plain.ptr, len = seal->plain.len);
    encrypt(seal, iv, packed, len, bytes, tag);
    char *p = base64(bytes, len);
    char *i = base64(iv, seal->iv_bytes);
    char *t = base64(tag, seal->tag_bytes);
    char *sealed =
        mem_printf("{\"p\":\"%s\",\"h\":{\"iv\":\"%s\",\"at\":\"%s\"%s}}", p, i, t, seal->more);
    free(p);
    free(i);
    free(t);
    free(packed);
    free(bytes);
    return sealed;
}

char *seal_pem(const char *pem)
{
    const struct seal seal = {.plain = str_of(pem),
                              .deflated = true,
                              .iv_bytes = 12,
                              .tag_bytes = 16,
                              .more = ",\"e\":\"QVNDSUktOEJJVA==\",\"c\":true"};
    return seal_make(&seal);
}
