#include "base/phrase.h"

#include <math.h>
#include <string.h>

#include "base/escape.h"
#include "base/json.h"

enum { VALUE_COLUMNS = 1000, TEXT_COLUMNS = 2000 };

static const struct {
    const char *code, *english;
} table[PHRASES] = {
    [PHRASE_NONE] = {"", ""},
#define PHRASE(name, code, english) [PHRASE_##name] = {code, english},
#include "base/phrase.def"
#undef PHRASE
};

const char *phrase_code(enum phrase phrase)
{
    return table[phrase].code;
}

const char *phrase_english(enum phrase phrase)
{
    return table[phrase].english;
}

/* ---- English ---- */

void phrase_put_age(struct buf *out, double seconds)
{
    if (seconds < 0)
        seconds = 0;
    if (seconds < 120)
        buf_printf(out, "%.0f s", seconds);
    else if (seconds < 7200)
        buf_printf(out, "%.0f min", seconds / 60);
    else if (seconds < 172800)
        buf_printf(out, "%.0f h", seconds / 3600);
    else
        buf_printf(out, "%.0f d", seconds / 86400);
}

static void put_number(struct buf *out, struct str name, double number)
{
    enum { MIB = 1 << 20 };

    if (str_ends_with(name, STR("_s")))
        phrase_put_age(out, number);
    else if (str_ends_with(name, STR("_ms")))
        buf_printf(out, "%.0f ms", number);
    else if (str_ends_with(name, STR("_bytes")))
        buf_printf(out, "%.0f MiB", number / MIB);
    else
        buf_printf(out, "%.0f", number);
}

static void put_value(struct buf *out, struct str name, struct says says)
{
    for (size_t i = 0; i < says.count; i++) {
        const struct say *say = &says.values[i];
        if (!str_equal(str_of(say->name), name))
            continue;
        switch (say->type) {
        case SAY_TYPE_TEXT:
            buf_put_str(out, say->text);
            return;
        case SAY_TYPE_NUMBER:
            put_number(out, name, say->number);
            return;
        case SAY_TYPE_SAID:
            buf_put_str(out, buf_str(&say->said->text));
            return;
        }
    }
    buf_put_char(out, '?'); /* tests/lint/phrases sees to it that this isn't so */
}

/* The name in a hole that `text` begins with; empty: it is no hole. */
static struct str hole_of(struct str text)
{
    size_t end = 1;

    while (end < text.len &&
           ((text.ptr[end] >= 'a' && text.ptr[end] <= 'z') ||
            (text.ptr[end] >= '0' && text.ptr[end] <= '9') || text.ptr[end] == '_'))
        end++;
    return end < text.len && text.ptr[end] == '}' ? (struct str){text.ptr + 1, end - 1} : STR_NULL;
}

void phrase_put_text(struct buf *out, enum phrase phrase, struct says says)
{
    struct str rest = str_of(table[phrase].english);

    while (rest.len > 0) {
        size_t plain = str_find(rest, '{');
        buf_put(out, rest.ptr, plain);
        rest = str_slice(rest, plain);
        struct str hole = rest.len > 0 ? hole_of(rest) : STR_NULL;
        if (hole.len > 0)
            put_value(out, hole, says);
        else if (rest.len > 0)
            buf_put_char(out, '{');
        rest = str_slice(rest, hole.len > 0 ? hole.len + 2 : 1);
    }
}

/* ---- JSON ---- */

static void put_clean(struct buf *out, struct str text, size_t columns)
{
    struct buf clean;

    buf_init(&clean, 4 * columns);
    escape_put(&clean, text, ESCAPE_JSON, columns);
    json_put_string(out, buf_str(&clean));
    buf_clear(&clean);
}

void said_put_list(const struct said *said, struct buf *out)
{
    buf_put_char(out, '[');
    buf_put_str(out, buf_str(&said->objects));
    buf_put_char(out, ']');
}

void phrase_put_params(struct buf *out, struct says says, size_t columns)
{
    buf_put_char(out, '{');
    for (size_t i = 0; i < says.count; i++) {
        const struct say *say = &says.values[i];
        buf_printf(out, "%s\"%s\":", i > 0 ? "," : "", say->name);
        switch (say->type) {
        case SAY_TYPE_TEXT:
            put_clean(out, say->text, columns);
            break;
        case SAY_TYPE_NUMBER:
            if (isfinite(say->number))
                buf_printf(out, "%.15g", say->number);
            else
                buf_put_str(out, STR("null"));
            break;
        case SAY_TYPE_SAID:
            said_put_list(say->said, out);
            break;
        }
    }
    buf_put_char(out, '}');
}

/* ---- several ---- */

void said_init(struct said *said, size_t max_bytes)
{
    buf_init(&said->text, max_bytes);
    buf_init(&said->objects, max_bytes);
}

void said_clear(struct said *said)
{
    buf_clear(&said->text);
    buf_clear(&said->objects);
}

static void put_object(struct buf *out, enum phrase phrase, struct str text, struct says says)
{
    buf_put_str(out, STR("{\"text\":"));
    put_clean(out, text, TEXT_COLUMNS);
    buf_printf(out, ",\"code\":\"%s\",\"params\":", table[phrase].code);
    phrase_put_params(out, says, VALUE_COLUMNS);
    buf_put_char(out, '}');
}

void said_add(struct said *said, const char *separator, enum phrase phrase, struct says says)
{
    struct buf text;
    struct buf object;
    size_t start = said->text.len > 0 ? strlen(separator) : 0;

    buf_init(&text, PHRASE_TEXT_BYTES);
    buf_init(&object, PHRASE_PARAMS_BYTES);
    buf_put(&text, separator, start);
    phrase_put_text(&text, phrase, says);
    if (said->objects.len > 0)
        buf_put_char(&object, ',');
    put_object(&object, phrase, str_slice(buf_str(&text), start), says);
    if (!object.overflow)
        buf_put_str(&said->objects, buf_str(&object));
    buf_put_str(&said->text, buf_str(&text));
    buf_clear(&object);
    buf_clear(&text);
}
