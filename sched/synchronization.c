#include "sched/synchronization.h"

#include "base/postgres.h"

enum { MAX_USERNAME_BYTES = 255, MAX_PATTERN_BYTES = 16 * 1024 };

struct str synchronization_prefix(struct str uri)
{
    size_t scheme = str_starts_with(uri, STR("https://"))  ? 8
                    : str_starts_with(uri, STR("http://")) ? 7
                                                           : 0;
    size_t host = str_find(str_slice(uri, scheme), '/');

    if (scheme == 0 || host == 0)
        return STR_NULL;
    return (struct str){uri.ptr, scheme + host};
}

void synchronization_add(struct synchronization_digest *digest, struct str uri)
{
    unsigned char one[DIGEST_SHA256_BYTES];

    digest_sha256(uri, one);
    for (size_t i = 0; i < sizeof(one); i++)
        digest->bytes[i] ^= one[i];
}

void synchronization_put_patterns(struct buf *array, struct str prefix)
{
    struct buf pattern;

    buf_init(&pattern, MAX_PATTERN_BYTES);
    for (size_t i = 0; i < prefix.len; i++) {
        if (prefix.ptr[i] == '\\' || prefix.ptr[i] == '%' || prefix.ptr[i] == '_')
            buf_put_char(&pattern, '\\');
        buf_put_char(&pattern, prefix.ptr[i]);
    }
    postgres_array_add(array, buf_str(&pattern));
    buf_put_str(&pattern, STR("/%"));
    postgres_array_add(array, buf_str(&pattern));
    buf_clear(&pattern);
}

bool synchronization_is_username(struct str username)
{
    for (size_t i = 0; i < username.len; i++) {
        char c = username.ptr[i];
        bool plain = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
        /* The instance actor's may be a host name, with a port. */
        if (!plain && c != '_' && c != '-' && c != '.' && c != ':')
            return false;
    }
    return username.len > 0 && username.len <= MAX_USERNAME_BYTES;
}

static void put_hex(struct buf *out, const struct synchronization_digest *digest)
{
    static const char digits[] = "0123456789abcdef";

    for (size_t i = 0; i < sizeof(digest->bytes); i++) {
        buf_put_char(out, digits[digest->bytes[i] >> 4]);
        buf_put_char(out, digits[digest->bytes[i] & 15]);
    }
}

void synchronization_put_value(struct buf *out, struct str web_domain,
                               const struct synchronization_sender *sender,
                               const struct synchronization_digest *digest)
{
    buf_printf(out, "collectionId=\"https://%.*s/", STR_ARG(web_domain));
    if (sender->id_scheme == SYNCHRONIZATION_SCHEME_NUMERIC)
        buf_printf(out, "ap/users/%lld", (long long)sender->account_id);
    else
        buf_printf(out, "users/%.*s", STR_ARG(sender->username));
    buf_put_str(out, STR("/followers\", digest=\""));
    if (digest != NULL)
        put_hex(out, digest);
    buf_printf(out, "\", url=\"https://%.*s/users/%.*s/followers_synchronization\"",
               STR_ARG(web_domain), STR_ARG(sender->username));
}
