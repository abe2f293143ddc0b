#include "base/log_line.h"

#include <string.h>

#include "base/escape.h"
#include "base/utf8.h"

/* --- writing --- */

void log_line_put_value(struct buf *line, struct str value)
{
    bool plain = value.len > 0 && value.len <= LOG_LINE_VALUE_COLUMNS;

    for (size_t i = 0; i < value.len && plain; i++) {
        char c = value.ptr[i];
        plain = c > ' ' && c < 0x7f && c != '"' && c != '=' && c != '\\';
    }
    if (plain) {
        buf_put_str(line, value);
        return;
    }
    buf_put_char(line, '"');
    escape_put(line, value, ESCAPE_LOG, LOG_LINE_VALUE_COLUMNS);
    buf_put_char(line, '"');
}

/* --- reading --- */

static const struct str start = {"level=", 6};

/* "<6>" */
static struct str without_priority(struct str text)
{
    bool has = text.len > 3 && text.ptr[0] == '<' && text.ptr[1] >= '0' && text.ptr[1] <= '7' &&
               text.ptr[2] == '>';
    return has ? str_slice(text, 3) : text;
}

static bool is_tag(struct str word)
{
    int64_t pid;

    if (!str_starts_with(word, STR("fedpush")))
        return false;
    word = str_slice(word, strlen("fedpush"));
    return word.len == 0 ||
           (word.ptr[0] == '[' && word.ptr[word.len - 1] == ']' &&
            str_to_i64((struct str){word.ptr + 1, word.len - 2}, 1, INT64_MAX, &pid));
}

/* What is behind the header, or nothing. The first ": " ends it: times have none, and only what
 * somebody else quotes has quotes before it. */
static struct str behind_header(struct str text)
{
    const char *end = memmem(text.ptr, text.len, ": ", 2);
    size_t tag;

    size_t length = end != NULL ? (size_t)(end - text.ptr) : 0;
    if (length == 0 || memchr(text.ptr, '"', length) != NULL)
        return STR_NULL;
    for (tag = length; tag > 0 && text.ptr[tag - 1] != ' '; tag--) {
    }
    return is_tag((struct str){text.ptr + tag, length - tag}) ? str_slice(text, length + 2)
                                                              : STR_NULL;
}

bool log_line_open(struct log_line *line, struct str text)
{
    line->rest = without_priority(text);
    if (!str_starts_with(line->rest, start))
        line->rest = text.len > 0 ? without_priority(behind_header(text)) : STR_NULL;
    return str_starts_with(line->rest, start);
}

static bool take_key(struct str *rest, struct str *key)
{
    size_t len = 0;

    while (len < rest->len &&
           ((rest->ptr[len] >= 'a' && rest->ptr[len] <= 'z') ||
            (rest->ptr[len] >= '0' && rest->ptr[len] <= '9') || rest->ptr[len] == '_'))
        len++;
    *key = (struct str){rest->ptr, len};
    if (len == 0 || len == rest->len || rest->ptr[len] != '=')
        return false;
    *rest = str_slice(*rest, len + 1);
    return true;
}

static void put_character(struct buf *value, uint32_t code)
{
    char bytes[4];
    size_t len = code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    static const unsigned char leads[] = {0, 0, 0xc0, 0xe0, 0xf0};

    for (size_t i = len; i-- > 1; code >>= 6)
        bytes[i] = (char)(0x80 | (code & 0x3f));
    bytes[0] = (char)(leads[len] | code);
    buf_put(value, bytes, len);
}

/* `digits` hexadecimal digits; false: they aren't there, or are no character. */
static bool take_code(struct str *rest, size_t digits, uint32_t *code)
{
    *code = 0;
    for (size_t i = 0; i < digits; i += 2) {
        int byte = str_hex_byte(*rest, i);
        if (byte < 0)
            return false;
        *code = *code << 8 | (uint32_t)byte;
    }
    *rest = str_slice(*rest, digits);
    return *code <= 0x10ffff;
}

/* What stands behind a backslash. */
static bool take_escape(struct str *rest, struct buf *value)
{
    uint32_t code;
    char kind = rest->len > 0 ? rest->ptr[0] : '\0';

    *rest = str_slice(*rest, 1);
    switch (kind) {
    case '"':
    case '\\':
        buf_put_char(value, kind);
        return true;
    case 'x':
        if (!take_code(rest, 2, &code))
            return false;
        buf_put_char(value, (char)code);
        return true;
    case 'u':
    case 'U':
        if (!take_code(rest, kind == 'u' ? 4 : 8, &code))
            return false;
        put_character(value, code);
        return true;
    default:
        return false;
    }
}

static bool take_quoted(struct str *rest, struct buf *value)
{
    *rest = str_slice(*rest, 1);
    while (rest->len > 0 && rest->ptr[0] != '"') {
        if (rest->ptr[0] != '\\') {
            buf_put_char(value, rest->ptr[0]);
            *rest = str_slice(*rest, 1);
            continue;
        }
        *rest = str_slice(*rest, 1);
        if (!take_escape(rest, value))
            return false;
    }
    bool closed = rest->len > 0;
    *rest = str_slice(*rest, 1);
    return closed;
}

bool log_line_next(struct log_line *line, struct str *key, struct buf *value)
{
    bool good;

    buf_reset(value);
    if (!take_key(&line->rest, key))
        return false;
    if (line->rest.len > 0 && line->rest.ptr[0] == '"') {
        good = take_quoted(&line->rest, value);
    } else {
        size_t end = str_find(line->rest, ' ');
        buf_put(value, line->rest.ptr, end);
        line->rest = str_slice(line->rest, end);
        good = end > 0;
    }
    good = good && !value->overflow && (line->rest.len == 0 || line->rest.ptr[0] == ' ');
    line->rest = good ? str_slice(line->rest, 1) : STR_NULL;
    return good;
}
