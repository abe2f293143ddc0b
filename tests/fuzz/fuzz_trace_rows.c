/* A first line as an address of an activity, and the rest as what a machine answers: nothing is
 * read beyond its end, and each row is one that was told of. */
#include <assert.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "admin/trace_ids.h"
#include "admin/trace_rows.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_ids(struct str text)
{
    struct trace_ids ids;

    if (trace_ids_init(&ids, text, NULL) == FP_OK) {
        assert(ids.count > 0);
        if (ids.username.len > 0)
            trace_ids_add_account(&ids, text, STR("1"));
        for (size_t i = 0; i < ids.count; i++)
            assert(strncmp(ids.ids[i], "http", 4) == 0 && strpbrk(ids.ids[i], " \n\"\\") == NULL);
    }
    trace_ids_clear(&ids);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str text = {(const char *)data, size};
    size_t end = str_find(text, '\n');
    struct trace_rows rows;
    size_t count;

    if (sodium_init() == -1)
        abort();
    check_ids((struct str){text.ptr, end});
    trace_rows_init(&rows, 1000);
    trace_rows_add_answer(&rows, STR("m:1:x"), str_slice(text, end + 1));
    struct trace_row **sorted = trace_rows_sorted(&rows, &count);
    for (size_t i = 0; i < count; i++)
        assert(sorted[i]->state < TRACE_STATES && sorted[i]->status <= 999);
    free(sorted);
    trace_rows_clear(&rows);
    return 0;
}
