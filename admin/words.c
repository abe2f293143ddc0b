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
    words_print(stderr, "fedpush: %s: \"%.60s\" isn't understood; see `fedpush %s --help`", command,
                word, command);
    return FP_EXIT_USAGE;
}

void words_line(FILE *file, struct str text)
{
    struct buf line;

    buf_init(&line, 4 * MAX_COLUMNS + 1);
    escape_put(&line, text, ESCAPE_TERMINAL, MAX_COLUMNS);
    fprintf(file, "%s\n", buf_cstr(&line));
    buf_clear(&line);
}

void words_print(FILE *file, const char *format, ...)
{
    char *text;
    va_list args;

    va_start(args, format);
    if (vasprintf(&text, format, args) == -1)
        abort();
    va_end(args);
    words_line(file, str_of(text));
    free(text);
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

void words_put_cell(struct buf *out, struct str text, size_t columns)
{
    for (size_t used = escape_put(out, text, ESCAPE_TERMINAL, columns); used < columns; used++)
        buf_put_char(out, ' ');
}

void words_put_age(struct buf *out, double seconds)
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
