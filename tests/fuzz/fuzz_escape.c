/* Any text in any sink: what comes out is UTF-8 of one line without a control or hidden character,
 * no longer than asked for, and ends no quotes around it. */
#include <assert.h>
#include <string.h>

#include "base/escape.h"
#include "base/utf8.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MAX_COLUMNS = 300 };

static void check_characters(struct str text)
{
    while (text.len > 0) {
        size_t length = utf8_sequence(text);
        unsigned char first = (unsigned char)text.ptr[0];
        assert(length > 0 && first >= 0x20 && first != 0x7f);
        if (length == 2)
            assert(first != 0xc2 || (unsigned char)text.ptr[1] >= 0xa0);
        if (length == 3) {
            static const char bidirectional[][4] = {
                "\xe2\x80\xaa", "\xe2\x80\xab", "\xe2\x80\xac", "\xe2\x80\xad", "\xe2\x80\xae",
                "\xe2\x81\xa6", "\xe2\x81\xa7", "\xe2\x81\xa8", "\xe2\x81\xa9", "\xe2\x80\x8b"};
            for (size_t i = 0; i < sizeof(bidirectional) / sizeof(bidirectional[0]); i++)
                assert(memcmp(text.ptr, bidirectional[i], 3) != 0);
        }
        text = str_slice(text, length);
    }
}

/* Each quote has its escape in front of it, and no escape is left open. */
static void check_quoted(struct str text, char escape)
{
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] == escape) {
            i++;
            assert(i < text.len && (escape == '\\' || text.ptr[i] == '"'));
        } else {
            assert(text.ptr[i] != '"');
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str text = {(const char *)data, size};

    for (int sink = 0; sink < ESCAPE_SINKS; sink++) {
        struct buf out;
        buf_init(&out, 65536);
        size_t columns = escape_put(&out, text, (enum escape_sink)sink, MAX_COLUMNS);
        struct str shown = buf_str(&out);
        assert(columns <= MAX_COLUMNS && !out.overflow);
        check_characters(shown);
        if (sink == ESCAPE_LOG || sink == ESCAPE_LABEL)
            check_quoted(shown, '\\');
        if (sink == ESCAPE_CSV) {
            assert(shown.len >= 2 && shown.ptr[0] == '"' && shown.ptr[shown.len - 1] == '"');
            assert(strchr("=+-@", shown.ptr[1]) == NULL || shown.ptr[1] == '\0');
            check_quoted((struct str){shown.ptr + 1, shown.len - 2}, '"');
        }
        buf_clear(&out);
    }
    return 0;
}
