#include "sched/pair.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <openssl/evp.h>

static uint64_t name_of(struct str account, struct str inbox)
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    uint64_t pair = 0;
    struct buf text;

    buf_init(&text, account.len + inbox.len + 1);
    buf_put_str(&text, account);
    buf_put_char(&text, ' ');
    buf_put_str(&text, inbox);
    if (EVP_Digest(text.ptr, text.len, digest, NULL, EVP_sha1(), NULL) == 1) {
        for (unsigned i = 0; i < 8; i++)
            pair = pair << 8 | digest[i];
    }
    buf_clear(&text);
    return pair;
}

/* What stands behind the first `text`, or an empty slice at the end. */
static struct str behind(struct str in, struct str text)
{
    const char *found = memmem(in.ptr, in.len, text.ptr, text.len);

    if (found == NULL)
        return (struct str){in.ptr + in.len, 0};
    found += text.len;
    return (struct str){found, (size_t)(in.ptr + in.len - found)};
}

static size_t digits(struct str text)
{
    size_t count = 0;

    while (count < text.len && text.ptr[count] >= '0' && text.ptr[count] <= '9')
        count++;
    return count;
}

uint64_t pair_of_payload(struct str payload)
{
    if (payload.len == 0)
        return 0;
    struct str rest = behind(behind(payload, STR("\"args\":[\"")), STR("}\","));
    struct str account = {rest.ptr, digits(rest)};
    const char *end;

    rest = (struct str){rest.ptr + account.len, rest.len - account.len};
    if (account.len == 0 || !str_starts_with(rest, STR(",\"")))
        return 0;
    rest = (struct str){rest.ptr + 2, rest.len - 2};
    end = memchr(rest.ptr, '"', rest.len);
    if (end == NULL || end == rest.ptr)
        return 0;
    return name_of(account, (struct str){rest.ptr, (size_t)(end - rest.ptr)});
}

uint64_t pair_of(int64_t account_id, struct str inbox)
{
    char account[24];

    snprintf(account, sizeof(account), "%" PRId64, account_id);
    return name_of(str_of(account), inbox);
}

void pair_text(char text[PAIR_TEXT], uint64_t pair)
{
    snprintf(text, PAIR_TEXT, "%016" PRIx64, pair);
}
