#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/json_escape.h"
#include "base/utf8.h"

int32_t json_hex4(const char *at, const char *end)
{
    struct str digits = {at, (size_t)(end - at)};
    int high = str_hex_byte(digits, 0);
    int low = str_hex_byte(digits, 2);

    return high >= 0 && low >= 0 ? high << 8 | low : -1;
}

bool json_is_high_surrogate(int32_t unit)
{
    return unit >= 0xd800 && unit <= 0xdbff;
}

bool json_is_low_surrogate(int32_t unit)
{
    return unit >= 0xdc00 && unit <= 0xdfff;
}

static size_t encode_utf8(uint32_t code, char out[4])
{
    if (code < 0x80) {
        out[0] = (char)code;
        return 1;
    }
    if (code < 0x800) {
        out[0] = (char)(0xc0 | code >> 6);
        out[1] = (char)(0x80 | (code & 0x3f));
        return 2;
    }
    if (code < 0x10000) {
        out[0] = (char)(0xe0 | code >> 12);
        out[1] = (char)(0x80 | (code >> 6 & 0x3f));
        out[2] = (char)(0x80 | (code & 0x3f));
        return 3;
    }
    out[0] = (char)(0xf0 | code >> 18);
    out[1] = (char)(0x80 | (code >> 12 & 0x3f));
    out[2] = (char)(0x80 | (code >> 6 & 0x3f));
    out[3] = (char)(0x80 | (code & 0x3f));
    return 4;
}

/* Behind "\u", in a string that was checked. *at moves behind the escape. */
static size_t decode_unicode_escape(const char **at, const char *end, char out[4])
{
    int32_t unit = json_hex4(*at, end);
    uint32_t code = (uint32_t)unit;

    *at += 4;
    if (json_is_high_surrogate(unit)) {
        code = 0x10000 + ((code - 0xd800) << 10) + (uint32_t)(json_hex4(*at + 2, end) - 0xdc00);
        *at += 6;
    }
    return encode_utf8(code, out);
}

static char decode_short_escape(char c)
{
    switch (c) {
    case 'b':
        return '\b';
    case 'f':
        return '\f';
    case 'n':
        return '\n';
    case 'r':
        return '\r';
    case 't':
        return '\t';
    default:
        return c;
    }
}

size_t json_copy_text(struct json_value string, char *out)
{
    const char *at = string.raw.ptr + 1;
    const char *end = string.raw.ptr + string.raw.len - 1;
    char *start = out;

    while (at < end) {
        if (*at != '\\') {
            *out++ = *at++;
        } else if (at[1] == 'u') {
            at += 2;
            out += decode_unicode_escape(&at, end, out);
        } else {
            *out++ = decode_short_escape(at[1]);
            at += 2;
        }
    }
    return (size_t)(out - start);
}

bool json_to_text(struct json_value string, struct buf *out)
{
    if (string.type != JSON_STRING)
        return false;
    if (memchr(string.raw.ptr, '\\', string.raw.len) == NULL) {
        buf_put(out, string.raw.ptr + 1, string.raw.len - 2);
        return true;
    }
    char *decoded = mem_alloc(string.raw.len);
    buf_put(out, decoded, json_copy_text(string, decoded));
    free(decoded);
    return true;
}

static void put_escaped(struct buf *out, char c)
{
    static const char short_escapes[][2] = {{'"', '"'},  {'\\', '\\'}, {'\b', 'b'}, {'\f', 'f'},
                                            {'\n', 'n'}, {'\r', 'r'},  {'\t', 't'}};

    for (size_t i = 0; i < sizeof(short_escapes) / sizeof(short_escapes[0]); i++) {
        if (short_escapes[i][0] == c) {
            buf_put_char(out, '\\');
            buf_put_char(out, short_escapes[i][1]);
            return;
        }
    }
    buf_printf(out, "\\u%04x", (unsigned)c);
}

void json_put_string(struct buf *out, struct str text)
{
    size_t run = 0; /* where the bytes begin that go out as they are */
    size_t at = 0;

    buf_put_char(out, '"');
    while (at < text.len) {
        unsigned char c = (unsigned char)text.ptr[at];
        size_t len = c < 0x80 ? 1 : utf8_sequence(str_slice(text, at));
        if (len == 0 || c < 0x20 || c == '"' || c == '\\') {
            buf_put(out, text.ptr + run, at - run);
            if (len > 0)
                put_escaped(out, (char)c);
            else
                buf_put_str(out, STR("\xef\xbf\xbd"));
            len = 1;
            run = at + 1;
        }
        at += len;
    }
    if (text.len > run)
        buf_put(out, text.ptr + run, text.len - run);
    buf_put_char(out, '"');
}
