#include "base/hostname.h"

#include <curl/curl.h>
#include <locale.h>
#include <stdlib.h>
#include <string.h>

/* More than any name of 253 bytes can have been before. */
enum { MAX_CONVERTED_BYTES = 4096 };

bool hostname_is_ascii(struct str host)
{
    for (size_t i = 0; i < host.len; i++) {
        if ((unsigned char)host.ptr[i] >= 0x80)
            return false;
    }
    return true;
}

void hostname_put_lower(struct buf *out, struct str text)
{
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        buf_put_char(out, c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c);
    }
}

/* Nothing that libcurl's URL parser would take for another part of a URL. */
static bool is_plain(struct str host)
{
    for (size_t i = 0; i < host.len; i++) {
        char c = host.ptr[i];
        if ((unsigned char)c < 0x80 && !(c >= '0' && c <= '9') && !(c >= 'a' && c <= 'z') &&
            !(c >= 'A' && c <= 'Z') && (c == '\0' || strchr("-_.", c) == NULL))
            return false;
    }
    return host.len > 0;
}

static bool convert(const char *host, struct buf *out)
{
    CURLU *url = curl_url();
    char *converted = NULL;
    bool ok = url != NULL && curl_url_set(url, CURLUPART_SCHEME, "https", 0) == CURLUE_OK &&
              curl_url_set(url, CURLUPART_HOST, host, 0) == CURLUE_OK &&
              curl_url_get(url, CURLUPART_HOST, &converted, CURLU_PUNYCODE) == CURLUE_OK;

    ok = ok && hostname_is_ascii(str_of(converted));
    if (ok)
        hostname_put_lower(out, str_of(converted));
    curl_free(converted);
    curl_url_cleanup(url);
    return ok;
}

bool hostname_to_ascii(struct str host, struct buf *out)
{
    if (hostname_is_ascii(host)) {
        hostname_put_lower(out, host);
        return true;
    }
    if (host.len > MAX_CONVERTED_BYTES || !is_plain(host))
        return false;
    /* libidn2 reads its input in the thread's locale. */
    locale_t utf8 = newlocale(LC_CTYPE_MASK, "C.UTF-8", (locale_t)0);
    if (utf8 == (locale_t)0)
        return false;
    char *text = str_dup(host);
    locale_t before = uselocale(utf8);
    bool ok = convert(text, out);
    uselocale(before);
    freelocale(utf8);
    free(text);
    return ok;
}

void hostname_put_machine(struct buf *out, const char *name)
{
    if (name[0] == '\0')
        name = "localhost";
    for (size_t i = 0; i < HOSTNAME_MACHINE_BYTES && name[i] != '\0'; i++) {
        char c = name[i];
        bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                     c == '.' || c == '-' || c == '_';
        buf_put_char(out, plain ? c : '-');
    }
}
