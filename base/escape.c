#include "base/escape.h"

#include "base/utf8.h"

struct range {
    uint32_t first, last;
};

/* Besides controls: what can't be seen, or changes how its surroundings are seen. */
static const struct range hidden[] = {
    {0x00ad, 0x00ad},   /* soft hyphen */
    {0x034f, 0x034f},   /* grapheme joiner */
    {0x061c, 0x061c},   /* Arabic letter mark */
    {0x115f, 0x1160},   /* Hangul fillers */
    {0x17b4, 0x17b5},   /* Khmer inherent vowels */
    {0x180b, 0x180f},   /* Mongolian separators */
    {0x200b, 0x200f},   /* zero width, direction marks */
    {0x2028, 0x202e},   /* separators, embeddings, overrides */
    {0x2060, 0x206f},   /* joiners, isolates */
    {0x3164, 0x3164},   /* Hangul filler */
    {0xfe00, 0xfe0f},   /* variation selectors */
    {0xfeff, 0xfeff},   /* byte order mark */
    {0xffa0, 0xffa0},   /* Hangul filler */
    {0xfff0, 0xfffb},   /* annotations */
    {0xe0000, 0xe0fff}, /* tags, variation selectors */
};
static const struct range wide[] = {
    {0x1100, 0x115e},   {0x2329, 0x232a},   {0x2e80, 0x303e},   {0x3041, 0xa4cf},
    {0xa960, 0xa97c},   {0xac00, 0xd7a3},   {0xf900, 0xfaff},   {0xfe10, 0xfe19},
    {0xfe30, 0xfe6f},   {0xff01, 0xff60},   {0xffe0, 0xffe6},   {0x1f004, 0x1f004},
    {0x1f0cf, 0x1f0cf}, {0x1f18e, 0x1f18e}, {0x1f191, 0x1f19a}, {0x1f200, 0x1f320},
    {0x1f32d, 0x1f64f}, {0x1f680, 0x1f6ff}, {0x1f7e0, 0x1f7eb}, {0x1f90c, 0x1f9ff},
    {0x1fa70, 0x1faff}, {0x20000, 0x3fffd},
};

static bool is_within(uint32_t code, const struct range *ranges, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (code >= ranges[i].first && code <= ranges[i].last)
            return true;
    }
    return false;
}

/* Of a well-formed sequence. */
static uint32_t code_point(struct str sequence)
{
    static const unsigned char lead_bits[] = {0, 0x7f, 0x1f, 0x0f, 0x07};
    uint32_t code = (unsigned char)sequence.ptr[0] & lead_bits[sequence.len];

    for (size_t i = 1; i < sequence.len; i++)
        code = code << 6 | ((unsigned char)sequence.ptr[i] & 0x3f);
    return code;
}

static bool is_hostile(uint32_t code)
{
    return code < 0x20 || (code >= 0x7f && code < 0xa0) || (code & 0xfffe) == 0xfffe ||
           is_within(code, hidden, sizeof(hidden) / sizeof(hidden[0]));
}

/* A byte that begins no character has no code point. */
static void put_hostile(struct buf *out, struct str piece, bool formed, enum escape_sink sink)
{
    uint32_t code = formed ? code_point(piece) : (unsigned char)piece.ptr[0];

    if (sink != ESCAPE_LOG)
        buf_put_char(out, '?');
    else if (!formed || code < 0x80)
        buf_printf(out, "\\x%02x", code);
    else
        buf_printf(out, code > 0xffff ? "\\U%08x" : "\\u%04x", code);
}

static void put_plain(struct buf *out, struct str piece, enum escape_sink sink)
{
    char c = piece.ptr[0];

    if (sink == ESCAPE_MAIL_HEADER && piece.len > 1) {
        buf_put_char(out, '?');
        return;
    }
    if ((sink == ESCAPE_LOG || sink == ESCAPE_LABEL) && (c == '"' || c == '\\'))
        buf_put_char(out, '\\');
    else if (sink == ESCAPE_CSV && c == '"')
        buf_put_char(out, '"');
    buf_put_str(out, piece);
}

/* Full-width signs count, too: some spreadsheets fold them. */
static bool is_formula(struct str text)
{
    static const char *const signs[] = {
        "=", "+", "-", "@", "\xef\xbc\x9d", "\xef\xbc\x8b", "\xef\xbc\x8d", "\xef\xbc\xa0"};

    text = str_trim(text);
    for (size_t i = 0; i < sizeof(signs) / sizeof(signs[0]); i++) {
        if (str_starts_with(text, str_of(signs[i])))
            return true;
    }
    return false;
}

size_t escape_put(struct buf *out, struct str text, enum escape_sink sink, size_t max_columns)
{
    size_t columns = 0;

    if (sink == ESCAPE_CSV)
        buf_put_str(out, is_formula(text) ? STR("\"'") : STR("\""));
    while (text.len > 0) {
        size_t length = utf8_sequence(text);
        struct str piece = {text.ptr, length > 0 ? length : 1};
        uint32_t code = length > 0 ? code_point(piece) : 0;
        bool hostile = length == 0 || is_hostile(code);
        size_t width = !hostile && is_within(code, wide, sizeof(wide) / sizeof(wide[0])) ? 2 : 1;
        if (columns + width > max_columns)
            break;
        if (hostile)
            put_hostile(out, piece, length > 0, sink);
        else
            put_plain(out, piece, sink);
        columns += width;
        text = str_slice(text, piece.len);
    }
    if (sink == ESCAPE_CSV)
        buf_put_char(out, '"');
    return columns;
}
