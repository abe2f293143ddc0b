/* Array literals: one parameter carries a whole batch. */
#include "base/postgres.h"
#include "base/utf8.h"

void postgres_array_add(struct buf *array, struct str element)
{
    struct buf clean;

    buf_init(&clean, element.len * 3 + 1); /* U+FFFD takes three bytes */
    utf8_put_clean(&clean, element, clean.max_bytes);
    buf_put_char(array, array->len == 0 ? '{' : ',');
    buf_put_char(array, '"');
    for (size_t i = 0; i < clean.len; i++) {
        if (clean.ptr[i] == '"' || clean.ptr[i] == '\\')
            buf_put_char(array, '\\');
        buf_put_char(array, clean.ptr[i]);
    }
    buf_put_char(array, '"');
    buf_clear(&clean);
}

void postgres_array_end(struct buf *array)
{
    if (array->len == 0)
        buf_put_char(array, '{');
    buf_put_char(array, '}');
}
