/* "NAME\nHOST\nVALUE": what a book takes comes out as it went in, and any host may be looked up. */
#include <assert.h>
#include <sodium.h>

#include "base/policy.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct str take_line(struct str *rest)
{
    struct str line = {rest->ptr, str_find(*rest, '\n')};
    *rest = str_slice(*rest, line.len + 1);
    return line;
}

static void check_text(struct str text)
{
    struct policy policy;
    struct buf out;

    if (!policy_parse(&policy, text)) {
        assert(policy_is_empty(&policy));
        return;
    }
    buf_init(&out, POLICY_MAX_TEXT_BYTES);
    policy_put(&out, &policy);
    assert(!out.overflow && str_equal(buf_str(&out), text));
    buf_clear(&out);
    int64_t next_s = policy_next_change_s(&policy, 1000);
    assert(next_s == 0 || next_s > 1000);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str rest = {(const char *)data, size};
    struct str name = take_line(&rest);
    struct str host = take_line(&rest);
    struct policy_book *book;
    struct str text;
    int64_t version;

    if (sodium_init() < 0 || !policy_value_parse(rest, &version, &text))
        return 0;
    check_text(text);
    book = policy_book_create();
    if (policy_book_put(book, name, version, text))
        assert(str_equal(str_of(policy_book_get(book, name)->name), name));
    const struct policy_entry *found = policy_book_find(book, host, 1000);
    assert(found == NULL || found == policy_book_get(book, name));
    found = policy_book_find_drop(book, host, 1000);
    assert(found == NULL || found == policy_book_get(book, name));
    policy_book_destroy(book);
    return 0;
}
