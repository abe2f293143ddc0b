#include "base/utf8.h"

size_t utf8_sequence(struct str s)
{
    const unsigned char *p = (const unsigned char *)s.ptr;

    if (s.len == 0)
        return 0;
    if (p[0] < 0x80)
        return 1;
    if (p[0] < 0xc2 || p[0] > 0xf4)
        return 0;
    size_t len = p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;
    if (s.len < len)
        return 0;
    for (size_t i = 1; i < len; i++) {
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    }
    if ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f) ||
        (p[0] == 0xf0 && p[1] < 0x90) || (p[0] == 0xf4 && p[1] > 0x8f))
        return 0;
    return len;
}

void utf8_put_clean(struct buf *out, struct str text, size_t max_bytes)
{
    const struct str replacement = STR("\xef\xbf\xbd");
    size_t used = 0;

    while (text.len > 0) {
        size_t len = text.ptr[0] == '\0' ? 0 : utf8_sequence(text);
        struct str piece = len > 0 ? (struct str){text.ptr, len} : replacement;
        if (piece.len > max_bytes - used)
            return;
        buf_put_str(out, piece);
        used += piece.len;
        text = str_slice(text, len > 0 ? len : 1);
    }
}
