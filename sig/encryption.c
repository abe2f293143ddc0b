#include "sig/encryption.h"

#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "base/json.h"
#include "base/secret.h"

enum { IV_BYTES = 12, TAG_BYTES = 16, KEY_COUNT = 2, MAX_FIELD_BYTES = 64 };

struct keys {
    unsigned char bytes[KEY_COUNT][ENCRYPTION_KEY_BYTES]; /* by SHA-256, by SHA-1 */
};

struct encryption {
    struct keys *keys; /* of OPENSSL_secure_malloc */
    struct json *json;
    bool proven; /* a value was opened with them */
};

/* A value taken apart. */
struct envelope {
    unsigned char iv[IV_BYTES];
    unsigned char tag[TAG_BYTES];
    struct buf ciphertext;
    bool compressed;
};

static bool derive(struct str primary_key, struct str salt, const EVP_MD *digest,
                   unsigned char key[ENCRYPTION_KEY_BYTES])
{
    return PKCS5_PBKDF2_HMAC(primary_key.ptr, (int)primary_key.len, (const unsigned char *)salt.ptr,
                             (int)salt.len, ENCRYPTION_ROUNDS, digest, ENCRYPTION_KEY_BYTES,
                             key) == 1;
}

struct encryption *encryption_create(struct str primary_key, struct str salt)
{
    struct keys *keys = OPENSSL_secure_malloc(sizeof(*keys));

    if (keys == NULL || !derive(primary_key, salt, EVP_sha256(), keys->bytes[0]) ||
        !derive(primary_key, salt, EVP_sha1(), keys->bytes[1])) {
        OPENSSL_secure_clear_free(keys, sizeof(*keys));
        ERR_clear_error();
        return NULL;
    }
    struct encryption *encryption = mem_alloc(sizeof(*encryption));
    encryption->keys = keys;
    encryption->json = json_create();
    return encryption;
}

void encryption_destroy(struct encryption *encryption)
{
    if (encryption == NULL)
        return;
    OPENSSL_secure_clear_free(encryption->keys, sizeof(*encryption->keys));
    json_destroy(encryption->json);
    free(encryption);
}

/* ---- the envelope ---- */

/* Base64 as Ruby's strict_decode64 takes it: padded, and nothing else in it. */
static bool decode(struct json_value value, struct buf *text, unsigned char *bytes, size_t max,
                   size_t *len)
{
    buf_reset(text);
    return json_to_text(value, text) && !text->overflow &&
           sodium_base642bin(bytes, max, text->ptr, text->len, NULL, len, NULL,
                             sodium_base64_VARIANT_ORIGINAL) == 0;
}

static bool decode_exactly(struct json_value value, unsigned char *bytes, size_t len)
{
    struct buf text;
    size_t decoded;

    buf_init(&text, MAX_FIELD_BYTES);
    bool good = decode(value, &text, bytes, len, &decoded) && decoded == len;
    buf_clear(&text);
    return good;
}

static bool decode_ciphertext(struct json_value value, struct buf *ciphertext)
{
    struct buf text;
    unsigned char bytes[ENCRYPTION_MAX_SEALED_BYTES];
    size_t len;

    buf_init(&text, ENCRYPTION_MAX_SEALED_BYTES);
    bool good = decode(value, &text, bytes, sizeof(bytes), &len);
    if (good)
        buf_put(ciphertext, bytes, len);
    buf_clear(&text);
    return good;
}

static enum fp_err read_flag(struct json_value value, bool *flag, struct err *err)
{
    *flag = value.type == JSON_TRUE;
    if (*flag || value.type == JSON_FALSE || value.type == JSON_ABSENT)
        return FP_OK;
    return err_set(err, FP_INVALID, "its encrypted value does not say whether it is compressed");
}

static enum fp_err read_headers(const struct json *json, struct json_value headers,
                                struct envelope *envelope, struct err *err)
{
    if (json_member(json, headers, STR("k")).type != JSON_ABSENT)
        return err_set(err, FP_INVALID,
                       "it has a data key of its own (envelope encryption), which Mastodon does "
                       "not use");
    if (json_member(json, headers, STR("i")).type != JSON_ABSENT)
        return err_set(err, FP_INVALID,
                       "it refers to one key of several, which Mastodon does not use");
    if (!decode_exactly(json_member(json, headers, STR("iv")), envelope->iv, IV_BYTES))
        return err_set(err, FP_INVALID,
                       "its encrypted value has no initialization vector of %d "
                       "bytes",
                       IV_BYTES);
    if (!decode_exactly(json_member(json, headers, STR("at")), envelope->tag, TAG_BYTES))
        return err_set(err, FP_INVALID, "its encrypted value has no authentication tag of %d bytes",
                       TAG_BYTES);
    return read_flag(json_member(json, headers, STR("c")), &envelope->compressed, err);
}

static enum fp_err read_envelope(struct encryption *encryption, struct str sealed,
                                 struct envelope *envelope, struct err *err)
{
    const struct json *json = encryption->json;
    struct json_value root;
    const char *reason;

    if (sealed.len > ENCRYPTION_MAX_SEALED_BYTES)
        return err_set(err, FP_INVALID, "its encrypted value is longer than %d bytes",
                       ENCRYPTION_MAX_SEALED_BYTES);
    if (!json_parse(encryption->json, sealed, &root, &reason) || root.type != JSON_OBJECT)
        return err_set(err, FP_INVALID, "it is not encrypted, as Mastodon demands");
    if (!decode_ciphertext(json_member(json, root, STR("p")), &envelope->ciphertext))
        return err_set(err, FP_INVALID, "its encrypted value has no payload");
    return read_headers(json, json_member(json, root, STR("h")), envelope, err);
}

/* ---- the plaintext ---- */

static bool decrypt(const struct envelope *envelope, const unsigned char *key, unsigned char *out)
{
    EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();
    unsigned char tag[TAG_BYTES];
    int len = 0;
    int rest = 0;

    if (context == NULL)
        return false;
    memcpy(tag, envelope->tag, sizeof(tag)); /* OpenSSL takes it without const */
    bool good = EVP_DecryptInit_ex(context, EVP_aes_256_gcm(), NULL, key, envelope->iv) == 1 &&
                EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_GCM_SET_TAG, TAG_BYTES, tag) == 1 &&
                EVP_DecryptUpdate(context, out, &len,
                                  (const unsigned char *)buf_str(&envelope->ciphertext).ptr,
                                  (int)envelope->ciphertext.len) == 1 &&
                EVP_DecryptFinal_ex(context, out + len, &rest) == 1;
    EVP_CIPHER_CTX_free(context);
    return good;
}

/* zlib's memory holds pieces of the key: it is wiped, whose size zlib doesn't tell. */
struct wiped {
    size_t len;
    max_align_t bytes[];
};

static voidpf wiped_alloc(voidpf opaque, uInt count, uInt size)
{
    size_t len = (size_t)count * size;
    struct wiped *block = mem_alloc(sizeof(*block) + len);

    (void)opaque;
    block->len = len;
    return block->bytes;
}

static void wiped_free(voidpf opaque, voidpf bytes)
{
    struct wiped *block = (struct wiped *)(void *)((char *)bytes - offsetof(struct wiped, bytes));

    (void)opaque;
    secret_wipe(block->bytes, block->len);
    free(block);
}

/* Into at most `max` bytes: what is longer is refused, not cut. */
static bool inflate_whole(unsigned char *in, size_t in_len, unsigned char *out, size_t max,
                          size_t *len)
{
    z_stream stream = {.zalloc = wiped_alloc,
                       .zfree = wiped_free,
                       .next_in = in,
                       .avail_in = (uInt)in_len,
                       .next_out = out,
                       .avail_out = (uInt)max};

    if (inflateInit(&stream) != Z_OK)
        return false;
    bool good = inflate(&stream, Z_FINISH) == Z_STREAM_END && stream.avail_in == 0;
    *len = max - stream.avail_out;
    inflateEnd(&stream);
    return good;
}

static enum fp_err unpack(const struct envelope *envelope, unsigned char *bytes, struct buf *plain,
                          struct err *err)
{
    unsigned char inflated[ENCRYPTION_MAX_PLAIN_BYTES];
    size_t len = envelope->ciphertext.len;
    const unsigned char *text = bytes;

    if (envelope->compressed) {
        bool good = inflate_whole(bytes, len, inflated, sizeof(inflated), &len);
        text = inflated;
        if (!good) {
            secret_wipe(inflated, sizeof(inflated));
            return err_set(err, FP_INVALID,
                           "its encrypted value does not decompress to %d bytes or less",
                           ENCRYPTION_MAX_PLAIN_BYTES);
        }
    }
    if (len <= ENCRYPTION_MAX_PLAIN_BYTES)
        buf_put(plain, text, len);
    if (envelope->compressed)
        secret_wipe(inflated, sizeof(inflated));
    if (len > ENCRYPTION_MAX_PLAIN_BYTES)
        return err_set(err, FP_INVALID, "it is longer than %d bytes", ENCRYPTION_MAX_PLAIN_BYTES);
    return FP_OK;
}

static enum fp_err open_envelope(struct encryption *encryption, const struct envelope *envelope,
                                 struct buf *plain, struct err *err)
{
    unsigned char bytes[ENCRYPTION_MAX_SEALED_BYTES];
    bool opened = false;

    for (size_t i = 0; i < KEY_COUNT && !opened; i++)
        opened = decrypt(envelope, encryption->keys->bytes[i], bytes);
    ERR_clear_error(); /* else it surfaces in a later call of somebody else */
    enum fp_err code =
        opened ? unpack(envelope, bytes, plain, err)
               : err_set(err, encryption->proven ? FP_INVALID : FP_DENIED,
                         "it was encrypted with another key: ACTIVE_RECORD_ENCRYPTION_PRIMARY_KEY "
                         "and ACTIVE_RECORD_ENCRYPTION_KEY_DERIVATION_SALT must be those of "
                         "Mastodon");
    encryption->proven = encryption->proven || opened;
    secret_wipe(bytes, envelope->ciphertext.len);
    return code;
}

enum fp_err encryption_open(struct encryption *encryption, struct str sealed, struct buf *plain,
                            struct err *err)
{
    struct envelope envelope = {0};

    buf_init(&envelope.ciphertext, ENCRYPTION_MAX_SEALED_BYTES);
    enum fp_err code = read_envelope(encryption, sealed, &envelope, err);
    if (code == FP_OK)
        code = open_envelope(encryption, &envelope, plain, err);
    buf_clear(&envelope.ciphertext);
    return code;
}
