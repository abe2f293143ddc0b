#include "base/phrase.h"

#include <math.h>

#include "base/escape.h"
#include "base/json.h"

enum { VALUE_COLUMNS = 1000, TEXT_COLUMNS = 2000, MAX_VALUES = 8 };

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
        if (!str_equal(say->name, name))
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
        buf_printf(out, "%s\"%.*s\":", i > 0 ? "," : "", STR_ARG(say->name));
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

void said_add_made(struct said *said, const char *separator, enum phrase phrase, struct str text,
                   struct str params)
{
    struct buf piece;

    buf_init(&piece, PHRASE_TEXT_BYTES + PHRASE_PARAMS_BYTES);
    if (said->text.len > 0)
        buf_put_str(&piece, str_of(separator));
    buf_put_str(&piece, text);
    buf_put_str(&said->text, buf_str(&piece));
    buf_reset(&piece);
    buf_put_str(&piece, said->objects.len > 0 ? STR(",{\"text\":") : STR("{\"text\":"));
    put_clean(&piece, text, TEXT_COLUMNS);
    buf_printf(&piece, ",\"code\":\"%s\",\"params\":%.*s}", table[phrase].code, STR_ARG(params));
    if (!piece.overflow)
        buf_put_str(&said->objects, buf_str(&piece));
    buf_clear(&piece);
}

void said_add(struct said *said, const char *separator, enum phrase phrase, struct says says)
{
    struct buf text;
    struct buf params;

    buf_init(&text, PHRASE_TEXT_BYTES);
    buf_init(&params, PHRASE_PARAMS_BYTES);
    phrase_put_text(&text, phrase, says);
    phrase_put_params(&params, says, VALUE_COLUMNS);
    said_add_made(said, separator, phrase, buf_str(&text),
                  params.overflow ? STR("{}") : buf_str(&params));
    buf_clear(&params);
    buf_clear(&text);
}

/* ---- reading ---- */

/* "4 min": seconds. */
static bool read_age(struct str text, double *seconds)
{
    static const struct {
        const char *unit;
        double seconds;
    } units[] = {{"s", 1}, {"min", 60}, {"h", 3600}, {"d", 86400}};
    struct str number = {text.ptr, str_find(text, ' ')};
    int64_t count;

    for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
        if (!str_equal(str_slice(text, number.len + 1), str_of(units[i].unit)))
            continue;
        if (!str_to_i64(number, 0, INT32_MAX, &count))
            return false;
        *seconds = (double)count * units[i].seconds;
        return true;
    }
    return false;
}

/* False: no such value stands there. */
static bool read_value(struct say *value, struct str name, struct str text, bool numbers)
{
    int64_t number;

    *value = (struct say){name, SAY_TYPE_NUMBER, text, 0, NULL};
    if (str_ends_with(name, STR("_s")))
        return read_age(text, &value->number);
    if (numbers && str_to_i64(text, 0, INT64_MAX, &number))
        value->number = (double)number;
    else
        value->type = SAY_TYPE_TEXT;
    return text.len > 0;
}

/* How much of `text` stands before `end`; all, when nothing follows. */
static size_t length_before(struct str text, struct str end)
{
    size_t len = 0;

    while (len < text.len && (end.len == 0 || !str_starts_with(str_slice(text, len), end)))
        len++;
    return len;
}

/* The values that `text` has in the holes of the phrase. */
static bool read_values(enum phrase phrase, struct str text, bool numbers,
                        struct say values[MAX_VALUES], size_t *count)
{
    struct str rest = str_of(table[phrase].english);
    struct str plain = {rest.ptr, str_find(rest, '{')};

    for (*count = 0; str_starts_with(text, plain); (*count)++) {
        text = str_slice(text, plain.len);
        rest = str_slice(rest, plain.len);
        if (rest.len == 0)
            return text.len == 0;
        struct str hole = hole_of(rest);
        rest = str_slice(rest, hole.len + 2);
        plain = (struct str){rest.ptr, str_find(rest, '{')};
        struct str given = {text.ptr, length_before(text, plain)};
        if (hole.len == 0 || *count == MAX_VALUES ||
            !read_value(&values[*count], hole, given, numbers))
            return false;
        text = str_slice(text, given.len);
    }
    return false;
}

static bool is_of_group(enum phrase phrase, struct str group)
{
    struct str code = str_of(table[phrase].code);
    return str_starts_with(code, group) && code.len > group.len && code.ptr[group.len] == '.';
}

static bool read_phrase(struct said *said, const char *separator, const char *group,
                        struct str text, bool numbers)
{
    struct say values[MAX_VALUES];
    size_t count;

    for (int n = PHRASE_NONE + 1; n < PHRASES; n++) {
        enum phrase phrase = (enum phrase)n;
        if (!is_of_group(phrase, str_of(group)) ||
            !read_values(phrase, text, numbers, values, &count))
            continue;
        said_add(said, separator, phrase, (struct says){values, count});
        return true;
    }
    return false;
}

bool said_read(struct said *said, const char *separator, const char *group, struct str text)
{
    return read_phrase(said, separator, group, text, true);
}

bool said_read_reason(struct said *said, struct str text)
{
    return read_phrase(said, "", "reason", text, false);
}

struct say say_reason(struct str name, struct said *own, const char *text)
{
    if (said_read_reason(own, str_of(text)))
        return (struct say){name, SAY_TYPE_SAID, STR_NULL, 0, own};
    return (struct say){name, SAY_TYPE_TEXT, str_of(text), 0, NULL};
}
