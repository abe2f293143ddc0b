#include "admin/words.h"

#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/utf8.h"

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
    struct buf safe;

    buf_init(&safe, 256);
    words_put_safe(&safe, str_of(word), 60);
    fprintf(stderr, "fedpush: %s: \"%s\" isn't understood; see `fedpush %s --help`\n", command,
            buf_cstr(&safe), command);
    buf_clear(&safe);
    return FP_EXIT_USAGE;
}

void words_put_safe(struct buf *out, struct str text, size_t columns)
{
    for (size_t n = 0; text.len > 0 && n < columns; n++) {
        size_t length = utf8_sequence(text);
        unsigned char first = (unsigned char)text.ptr[0];
        /* U+0080 to U+009F are control characters, too */
        bool control = length == 0 || first < 0x20 || first == 0x7f ||
                       (length == 2 && first == 0xc2 && (unsigned char)text.ptr[1] < 0xa0);
        if (control)
            buf_put_char(out, '?');
        else
            buf_put(out, text.ptr, length);
        text = str_slice(text, length > 0 ? length : 1);
    }
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
