#include "admin/words.h"

#include <jansson.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/escape.h"

enum { MAX_COLUMNS = 16384 }; /* of one line */

bool words_has(int argc, char **argv, const char *name)
{
    for (int i = 0; i < argc; i++) {
        if (strcmp(argv[i], name) == 0)
            return true;
    }
    return false;
}

int words_unknown(const char *command, const char *word)
{
    return words_unknown_to(false, command, word);
}

int words_unknown_to(bool as_json, const char *command, const char *word)
{
    char *message = mem_printf("%s: \"%.60s\" isn't understood; see `fedpush %s --help`", command,
                               word, command);
    int code = words_usage(as_json, message);

    free(message);
    return code;
}

int words_usage(bool as_json, const char *message)
{
    struct err err;

    err_set(&err, FP_INVALID, "%s", message);
    return words_result(as_json, STR_NULL, &err);
}

void words_line(FILE *file, struct str text)
{
    struct buf line;

    buf_init(&line, 4 * MAX_COLUMNS + 1);
    escape_put(&line, text, ESCAPE_TERMINAL, MAX_COLUMNS);
    fprintf(file, "%s\n", buf_cstr(&line));
    buf_clear(&line);
}

static char *print(const char *format, va_list args) __attribute__((format(printf, 1, 0)));
static char *print(const char *format, va_list args)
{
    char *text;

    if (vasprintf(&text, format, args) == -1)
        abort();
    return text;
}

void words_print(FILE *file, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    char *text = print(format, args);
    va_end(args);
    words_line(file, str_of(text));
    free(text);
}

void words_text(FILE *file, struct str text)
{
    while (text.len > 0) {
        size_t end = str_find(text, '\n');
        words_line(file, (struct str){text.ptr, end});
        text = str_slice(text, end + 1);
    }
}

void words_ask(const char *format, ...)
{
    struct buf safe;
    va_list args;

    va_start(args, format);
    char *text = print(format, args);
    va_end(args);
    buf_init(&safe, 4 * MAX_COLUMNS + 1);
    escape_put(&safe, str_of(text), ESCAPE_TERMINAL, MAX_COLUMNS);
    fputs(buf_cstr(&safe), stdout);
    fflush(stdout);
    buf_clear(&safe);
    free(text);
}

void words_made(struct str text)
{
    fwrite(text.ptr != NULL ? text.ptr : "", 1, text.len, stdout);
}

void words_print_json(const json_t *value)
{
    json_dumpf(value, stdout, JSON_INDENT(1));
    putchar('\n');
}

json_t *words_json(struct str text)
{
    struct buf safe;

    buf_init(&safe, 4 * MAX_COLUMNS + 1);
    escape_put(&safe, text, ESCAPE_JSON, MAX_COLUMNS);
    json_t *value = json_string(buf_cstr(&safe));
    buf_clear(&safe);
    return value;
}

json_t *words_json_lines(struct str text)
{
    struct buf safe;

    buf_init(&safe, 4 * (text.len + 1));
    text = str_trim(text);
    while (text.len > 0) {
        size_t end = str_find(text, '\n');
        escape_put(&safe, (struct str){text.ptr, end}, ESCAPE_JSON, MAX_COLUMNS);
        if (end < text.len)
            buf_put_char(&safe, '\n');
        text = str_slice(text, end + 1);
    }
    json_t *value = json_string(buf_cstr(&safe));
    buf_clear(&safe);
    return value;
}

/* Takes `result`, which is filled; NULL: for people. */
static int end_result(json_t *result, struct str said, const struct err *err)
{
    if (result != NULL) {
        json_t *error = err != NULL ? words_json(str_of(err->message)) : json_null();
        json_object_set_new(result, "ok", json_boolean(err == NULL));
        json_object_set_new(result, "text", words_json_lines(said));
        json_object_set_new(result, "error", error);
        words_print_json(result);
        json_decref(result);
    } else {
        words_text(stdout, said);
    }
    if (err == NULL)
        return FP_EXIT_OK;
    words_print(stderr, "fedpush: %s", err->message);
    return err->code == FP_INVALID ? FP_EXIT_USAGE : FP_EXIT_UNAVAILABLE;
}

int words_result(bool as_json, struct str said, const struct err *err)
{
    return end_result(as_json ? json_object() : NULL, said, err);
}

int words_result_of(bool as_json, struct str said, bool complete, const struct err *err)
{
    json_t *result =
        as_json ? json_pack("{s:b}", "complete", (int)(err == NULL && complete)) : NULL;

    return end_result(result, said, err);
}

void words_put_cell(struct buf *out, struct str text, size_t columns)
{
    for (size_t used = escape_put(out, text, ESCAPE_TERMINAL, columns); used < columns; used++)
        buf_put_char(out, ' ');
}

json_t *words_json_said(const struct said *said)
{
    struct buf text;

    buf_init(&text, said->objects.len + 3);
    said_put_list(said, &text);
    json_t *list = json_loadb(text.ptr, text.len, 0, NULL);
    buf_clear(&text);
    return list;
}

json_t *words_json_done(const struct said *said)
{
    return json_pack("{s:b, s:o, s:o}", "ok", 1, "text", words_json_lines(buf_str(&said->text)),
                     "says", words_json_said(said));
}
