/* Any bytes: parsing never reads outside of them, and what was accepted can be walked through and
 * written again. */
#include <assert.h>

#include "base/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void walk(struct json *json, struct json_value value, struct buf *scratch)
{
    size_t length = json_length(json, value);

    for (size_t i = 0; i < length; i++) {
        struct json_value child;
        if (value.type == JSON_OBJECT) {
            buf_reset(scratch);
            child = json_member_at(json, value, i, scratch);
            assert(json_member(json, value, buf_str(scratch)).type != JSON_ABSENT);
        } else {
            child = json_element(json, value, i);
        }
        assert(child.type != JSON_ABSENT);
        assert(child.raw.ptr > value.raw.ptr);
        assert(child.raw.ptr + child.raw.len < value.raw.ptr + value.raw.len);
        walk(json, child, scratch);
    }
}

/* A string's bytes come back after writing and reading. */
static void copy_string(struct json *json, struct json_value value, struct buf *text)
{
    struct buf written;
    struct buf again;
    struct json_value root;
    const char *reason;

    buf_init(&written, SIZE_MAX);
    buf_init(&again, SIZE_MAX);
    buf_reset(text);
    if (json_to_text(value, text)) {
        json_put_string(&written, buf_str(text));
        bool accepted = json_parse(json, buf_str(&written), &root, &reason);
        assert(accepted && json_to_text(root, &again));
        assert(str_equal(buf_str(text), buf_str(&again)));
    }
    buf_clear(&written);
    buf_clear(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str text = {(const char *)data, size};
    struct json *json = json_create();
    struct json_value root;
    const char *reason;
    struct buf scratch;
    int64_t number;

    buf_init(&scratch, SIZE_MAX);
    if (json_parse(json, text, &root, &reason)) {
        assert(!json_other_may_accept(json));
        walk(json, root, &scratch);
        if (json_to_i64(root, &number))
            assert(root.type == JSON_NUMBER);
        copy_string(json, root, &scratch);
    }
    buf_reset(&scratch);
    json_put_string(&scratch, text);
    bool accepted = json_parse(json, buf_str(&scratch), &root, &reason);
    assert(accepted && root.type == JSON_STRING);
    buf_clear(&scratch);
    json_destroy(json);
    return 0;
}
