/* Any text, read as policies, as what a drop removed and as a reason: what is read is whole JSON,
 * and a reason that is read has its very text. */
#include <assert.h>
#include <jansson.h>

#include "base/phrase.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const struct said *said, struct str text, bool known)
{
    struct buf list;

    buf_init(&list, 65536);
    said_put_list(said, &list);
    json_t *found = json_loadb(list.ptr, list.len, JSON_ALLOW_NUL, NULL);
    assert(json_array_size(found) == (known ? 1 : 0));
    json_decref(found);
    buf_clear(&list);
    assert(!known || said->text.len > 0);
    assert(said->text.len <= 2 * text.len + 256);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const groups[] = {"policy", "drop"};
    const struct str text = {(const char *)data, size};
    struct said said;

    for (size_t i = 0; i < sizeof(groups) / sizeof(groups[0]); i++) {
        said_init(&said, 65536);
        check(&said, text, said_read(&said, ", ", groups[i], text));
        said_clear(&said);
    }
    said_init(&said, 65536);
    bool known = said_read_reason(&said, text);
    check(&said, text, known);
    assert(!known || str_equal(buf_str(&said.text), text));
    said_clear(&said);
    return 0;
}
