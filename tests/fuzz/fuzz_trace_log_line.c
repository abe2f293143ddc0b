/* Any text as a log: what is found in it is an outcome of a row, and the rows stay whole. */
#include <assert.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "admin/trace_rows.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void on_found(void *arg, const struct trace_logged *logged)
{
    assert(logged->inbox.len > 0 && logged->result < HEALTH_RESULTS && logged->at_ms > 0);
    assert(logged->status >= 0 && logged->status <= 999 && logged->attempt >= 0);
    trace_rows_add_logged(arg, logged);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str text = {(const char *)data, size};
    struct trace_log_lines lines;
    struct trace_rows rows;
    struct trace_ids ids;

    if (sodium_init() == -1 || trace_ids_init(&ids, STR("https://d/statuses/1"), NULL) != FP_OK)
        abort();
    trace_rows_init(&rows, 1000);
    trace_log_lines_init(&lines, &ids, on_found, &rows);
    while (text.len > 0) {
        size_t end = str_find(text, '\n');
        assert(trace_log_lines_take(&lines, (struct str){text.ptr, end}));
        text = str_slice(text, end + 1);
    }
    assert(lines.outcomes >= (int64_t)table_count(rows.rows));
    trace_log_lines_clear(&lines);
    trace_rows_clear(&rows);
    trace_ids_clear(&ids);
    return 0;
}
