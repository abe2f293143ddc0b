#include "admin/api_input.h"

#include <stdlib.h>
#include <string.h>

#include "base/escape.h"

enum { SHOWN_COLUMNS = 60 };

/* A parameter of the query or a member of the body that isn't known. */
static void refuse_name(struct err *err, bool member, struct str name, const char *const *names,
                        size_t count)
{
    struct buf known;
    struct buf safe;

    buf_init(&known, 400);
    buf_init(&safe, 400);
    escape_put(&safe, name, ESCAPE_JSON, SHOWN_COLUMNS);
    for (size_t i = 0; i < count; i++)
        buf_printf(&known, "%s%s", i > 0 ? ", " : "", names[i]);
    if (count > 0)
        err_say(err, FP_INVALID, member ? PHRASE_ASK_MEMBER : PHRASE_ASK_PARAMETER,
                SAYS(SAY_STR("name", buf_str(&safe)), SAY_STR("known", buf_str(&known))));
    else
        err_say(err, FP_INVALID, member ? PHRASE_ASK_NO_MEMBER : PHRASE_ASK_NO_PARAMETER,
                SAYS(SAY_STR("name", buf_str(&safe))));
    buf_clear(&safe);
    buf_clear(&known);
}

/* --- query --- */

/* NULL: not an escape, or a byte that belongs into no value. */
static char *decode(struct str text)
{
    struct buf out;

    buf_init(&out, API_MAX_VALUE_BYTES);
    for (size_t i = 0; i < text.len; i++) {
        int byte = text.ptr[i] == '+' ? ' ' : (unsigned char)text.ptr[i];
        if (text.ptr[i] == '%') {
            byte = str_hex_byte(text, i + 1); /* none is no value's either */
            i += 2;
        }
        if (byte < 0x20 || byte == 0x7f) {
            buf_clear(&out);
            return NULL;
        }
        buf_put_char(&out, (char)byte);
    }
    char *value = out.overflow ? NULL : str_dup(buf_str(&out));
    buf_clear(&out);
    return value;
}

static bool take_pair(struct api_query *query, struct str pair, struct err *err)
{
    size_t equals = str_find(pair, '=');
    struct str name = {pair.ptr, equals};

    for (size_t i = 0; i < query->count; i++) {
        if (!str_equal(name, str_of(query->names[i])))
            continue;
        if (query->values[i] != NULL) {
            err_say(err, FP_INVALID, PHRASE_ASK_TWICE, SAYS(SAY_TEXT("name", query->names[i])));
            return false;
        }
        query->values[i] = decode(str_slice(pair, equals + 1));
        if (query->values[i] == NULL)
            err_say(
                err, FP_INVALID, PHRASE_ASK_ENCODING,
                SAYS(SAY_TEXT("name", query->names[i]), SAY_NUMBER("most", API_MAX_VALUE_BYTES)));
        return query->values[i] != NULL;
    }
    refuse_name(err, false, name, query->names, query->count);
    return false;
}

bool api_query_parse(struct api_query *query, struct str text, const char *const *names,
                     size_t count, struct err *err)
{
    *query = (struct api_query){.count = count, .names = names};
    while (text.len > 0) {
        struct str pair = {text.ptr, str_find(text, '&')};
        text = str_slice(text, pair.len + 1);
        if (pair.len > 0 && !take_pair(query, pair, err))
            return false;
    }
    return true;
}

void api_query_clear(struct api_query *query)
{
    for (size_t i = 0; i < query->count; i++) {
        free(query->values[i]);
        query->values[i] = NULL;
    }
}

struct str api_query_text(const struct api_query *query, size_t index)
{
    return str_of(query->values[index]);
}

bool api_query_number(const struct api_query *query, size_t index, int64_t min, int64_t max,
                      int64_t *number, struct err *err)
{
    if (query->values[index] == NULL || query->values[index][0] == '\0' ||
        str_to_i64(str_of(query->values[index]), min, max, number))
        return true;
    err_say(err, FP_INVALID, PHRASE_ASK_NUMBER,
            SAYS(SAY_TEXT("name", query->names[index]), SAY_NUMBER("least", min),
                 SAY_NUMBER("most", max)));
    return false;
}

/* --- body --- */

json_t *api_body_parse(struct str text, const char *const *names, size_t count, struct err *err)
{
    json_error_t problem;
    const char *name;
    json_t *value;
    json_t *body;

    if (str_trim(text).len == 0)
        return json_object();
    body = json_loadb(text.ptr, text.len, JSON_REJECT_DUPLICATES, &problem);
    if (!json_is_object(body)) {
        err_say(err, FP_INVALID, PHRASE_ASK_OBJECT, SAYS_NOTHING);
        json_decref(body);
        return NULL;
    }
    json_object_foreach(body, name, value)
    {
        size_t i = 0;
        while (i < count && strcmp(names[i], name) != 0)
            i++;
        if (i < count)
            continue;
        refuse_name(err, true, str_of(name), names, count);
        json_decref(body);
        return NULL;
    }
    return body;
}

/* What is to be looked at; NULL: nothing is said. */
static const json_t *member_of(const json_t *body, const char *name)
{
    const json_t *value = json_object_get(body, name);
    return json_is_null(value) ? NULL : value;
}

bool api_body_number(const json_t *body, const char *name, int64_t min, int64_t max,
                     int64_t *number, struct err *err)
{
    const json_t *value = member_of(body, name);

    if (value == NULL)
        return true;
    if (json_is_integer(value) && json_integer_value(value) >= min &&
        json_integer_value(value) <= max) {
        *number = json_integer_value(value);
        return true;
    }
    err_say(err, FP_INVALID, PHRASE_ASK_WHOLE_NUMBER,
            SAYS(SAY_TEXT("name", name), SAY_NUMBER("least", min), SAY_NUMBER("most", max)));
    return false;
}

bool api_body_flag(const json_t *body, const char *name, bool *flag, struct err *err)
{
    const json_t *value = member_of(body, name);

    if (value == NULL)
        return true;
    *flag = json_is_true(value);
    if (json_is_boolean(value))
        return true;
    err_say(err, FP_INVALID, PHRASE_ASK_FLAG, SAYS(SAY_TEXT("name", name)));
    return false;
}

bool api_body_text(const json_t *body, const char *name, const char **text, struct err *err)
{
    const json_t *value = member_of(body, name);

    if (value == NULL)
        return true;
    *text = json_string_value(value);
    if (*text != NULL && strlen(*text) == json_string_length(value))
        return true;
    err_say(err, FP_INVALID, PHRASE_ASK_TEXT, SAYS(SAY_TEXT("name", name)));
    return false;
}
