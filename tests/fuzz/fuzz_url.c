/* Any text: what is accepted is in normal form, of safe bytes only, and its parts agree. */
#include <assert.h>
#include <stdlib.h>

#include "base/url.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_bytes(struct str text)
{
    for (size_t i = 0; i < text.len; i++)
        assert(text.ptr[i] > 0x20 && text.ptr[i] < 0x7f);
}

static void check_parts(const struct url *url)
{
    assert(url->port != 0 && url->host.len > 0 && url->text.len <= URL_MAX_BYTES);
    assert(url->target.ptr[0] == '/' && url->path.ptr == url->target.ptr);
    assert(str_starts_with(url->authority, url->host));
    assert(str_starts_with(url->text, url->origin) && str_ends_with(url->text, url->target));
    assert(url->origin.len + url->target.len == url->text.len);
    assert(str_find(url->authority, '@') == url->authority.len);
    assert(str_find(url->text, '#') == url->text.len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str text = {(const char *)data, size};
    struct url url;
    struct url again;
    struct err err;

    if (url_parse(&url, text, &err) == FP_OK) {
        check_bytes(url.text);
        check_parts(&url);
        enum fp_err code = url_parse(&again, url.text, &err);
        assert(code == FP_OK && str_equal(url.text, again.text));
        assert(again.port == url.port && again.ip_literal == url.ip_literal);
        url_clear(&again);
        url_clear(&url);
    }
    char *host = url_tracker_host(text);
    assert(host != NULL);
    free(host);
    return 0;
}
