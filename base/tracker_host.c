#include <string.h>

#include "base/hostname.h"
#include "base/url.h"

/*
 * Addressable's normalized_host, step by step as it does it: strip, lower-case, percent-decode
 * (only then, so that "%41" stays "A"), A-labels, one trailing dot, percent-normalize.
 */

static void put_decoded(struct buf *out, struct str text)
{
    for (size_t i = 0; i < text.len; i++) {
        int byte = text.ptr[i] == '%' ? str_hex_byte(text, i + 1) : -1;
        if (byte >= 0) {
            buf_put_char(out, (char)byte);
            i += 2;
        } else {
            buf_put_char(out, text.ptr[i]);
        }
    }
}

/* IDNA2003, which Mastodon's library speaks, maps what UTS 46 keeps: sharp s and final sigma. */
static void put_idna2003_mapped(struct buf *out, struct str text)
{
    static const struct {
        struct str from, to;
    } map[] = {{{"\xc3\x9f", 2}, {"ss", 2}},
               {{"\xe1\xba\x9e", 3}, {"ss", 2}},
               {{"\xcf\x82", 2}, {"\xcf\x83", 2}}};

    while (text.len > 0) {
        size_t len = 1;
        struct str put = {text.ptr, 1};
        for (size_t i = 0; i < sizeof(map) / sizeof(map[0]); i++) {
            if (str_starts_with(text, map[i].from)) {
                len = map[i].from.len;
                put = map[i].to;
            }
        }
        buf_put_str(out, put);
        text = str_slice(text, len);
    }
}

static void put_percent_normalized(struct buf *out, struct str text)
{
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.ptr[i];
        bool kept = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                    (c != '\0' && strchr("-._~!$&'()*+,;=:[]", c) != NULL);
        if (kept)
            buf_put_char(out, (char)c);
        else
            buf_printf(out, "%%%02X", c);
    }
}

/* Without user name and port, neither of which has brackets in it. */
static struct str host_of(struct str authority)
{
    size_t bracket = str_find(authority, '[');

    for (size_t at = bracket; at > 0; at--) {
        if (authority.ptr[at - 1] == '@') {
            authority = str_slice(authority, at);
            break;
        }
    }
    for (size_t at = authority.len; at > 0 && authority.ptr[at - 1] != ']'; at--) {
        if (authority.ptr[at - 1] == ':')
            return (struct str){authority.ptr, at - 1};
    }
    return authority;
}

static struct str without_trailing_dot(struct str host)
{
    if (host.len > 1 && host.ptr[host.len - 1] == '.' && host.ptr[host.len - 2] != '.')
        host.len--;
    return host;
}

static bool is_delimiter(char c)
{
    return c == '/' || c == '?' || c == '#';
}

/* Between "//" and path, query or fragment; false when Addressable wouldn't parse the text. */
static bool find_authority(struct str url, struct str *authority)
{
    if (str_starts_with(url, STR("https://")))
        url = str_slice(url, 8);
    else if (str_starts_with(url, STR("http://")))
        url = str_slice(url, 7);
    else
        return false;
    authority->ptr = url.ptr;
    authority->len = 0;
    while (authority->len < url.len && !is_delimiter(url.ptr[authority->len]))
        authority->len++;
    return true;
}

/* A host that can't be converted stays as it is. */
static void put_a_labels(struct buf *out, struct str host)
{
    struct buf mapped;

    if (hostname_is_ascii(host)) { /* hostname_to_ascii would lower-case once more */
        buf_put_str(out, host);
        return;
    }
    buf_init(&mapped, SIZE_MAX);
    put_idna2003_mapped(&mapped, host);
    if (!hostname_to_ascii(buf_str(&mapped), out))
        buf_put_str(out, host);
    buf_clear(&mapped);
}

char *url_tracker_host(struct str inbox_url)
{
    struct str authority;
    struct buf now;
    struct buf next;

    if (!find_authority(inbox_url, &authority))
        return str_dup(inbox_url);
    buf_init(&now, SIZE_MAX); /* at most three times the input */
    buf_init(&next, SIZE_MAX);
    hostname_put_lower(&now, str_trim(host_of(authority)));
    put_decoded(&next, buf_str(&now));
    buf_reset(&now);
    put_a_labels(&now, buf_str(&next));
    buf_reset(&next);
    put_percent_normalized(&next, without_trailing_dot(buf_str(&now)));
    char *key = str_dup(buf_str(&next));
    buf_clear(&now);
    buf_clear(&next);
    return key;
}
