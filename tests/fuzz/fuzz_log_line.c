/* Any text as a line of a log: nothing is read beyond its end. Any text as a value: it is read as
 * it was written. */
#include <assert.h>
#include <string.h>

#include "base/log_line.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_line(struct str text)
{
    struct log_line line;
    struct str key;
    struct buf value;

    buf_init(&value, 8192);
    if (log_line_open(&line, text)) {
        while (log_line_next(&line, &key, &value))
            assert(key.len > 0 && key.ptr >= text.ptr && key.ptr + key.len < text.ptr + text.len);
    }
    buf_clear(&value);
}

static void read_value(struct str text)
{
    struct log_line line;
    struct str key;
    struct buf written;
    struct buf value;

    buf_init(&written, 16384);
    buf_init(&value, 8192);
    buf_put_str(&written, STR("level="));
    log_line_put_value(&written, text);
    bool good = log_line_open(&line, buf_str(&written)) && log_line_next(&line, &key, &value);
    assert(good && line.rest.len == 0);
    /* What is cut is cut at a character. */
    assert(value.len <= text.len && memcmp(value.ptr, text.ptr, value.len) == 0);
    assert(value.len == text.len || text.len > LOG_LINE_VALUE_COLUMNS / 2);
    buf_clear(&value);
    buf_clear(&written);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str text = {(const char *)data, size};

    read_line(text);
    if (size > 0)
        read_value(text);
    return 0;
}
