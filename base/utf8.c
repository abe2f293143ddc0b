#include "base/utf8.h"

/* Bytes that follow a lead byte, and the range of the first of them: it alone tells overlong forms
 * and surrogates (Unicode, table 3-7). */
struct lead {
    size_t following;
    unsigned char low, high;
};

static struct lead lead_of(unsigned char byte)
{
    if (byte >= 0xc2 && byte <= 0xdf)
        return (struct lead){1, 0x80, 0xbf};
    if (byte == 0xe0)
        return (struct lead){2, 0xa0, 0xbf};
    if (byte == 0xed)
        return (struct lead){2, 0x80, 0x9f};
    if (byte >= 0xe1 && byte <= 0xef)
        return (struct lead){2, 0x80, 0xbf};
    if (byte == 0xf0)
        return (struct lead){3, 0x90, 0xbf};
    if (byte >= 0xf1 && byte <= 0xf3)
        return (struct lead){3, 0x80, 0xbf};
    if (byte == 0xf4)
        return (struct lead){3, 0x80, 0x8f};
    return (struct lead){0, 0, 0};
}

size_t utf8_length(struct str text, bool *valid)
{
    unsigned char first = (unsigned char)text.ptr[0];
    struct lead lead;

    *valid = first < 0x80;
    if (*valid)
        return 1;
    lead = lead_of(first);
    for (size_t i = 1; i <= lead.following; i++) {
        unsigned char low = i == 1 ? lead.low : 0x80;
        unsigned char high = i == 1 ? lead.high : 0xbf;
        if (i == text.len || (unsigned char)text.ptr[i] < low || (unsigned char)text.ptr[i] > high)
            return i;
    }
    *valid = lead.following > 0;
    return lead.following + 1;
}

size_t utf8_encode(uint32_t code, char out[4])
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

struct str utf8_prefix(struct str text, size_t max)
{
    size_t at = 0;
    bool valid;

    for (size_t count = 0; count < max && at < text.len; count++)
        at += utf8_length(str_slice(text, at), &valid);
    return (struct str){text.ptr, at};
}
