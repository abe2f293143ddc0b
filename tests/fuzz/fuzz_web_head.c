/* Any bytes: what is accepted as a head has no control character in any part, and all parts lie in
 * it; a path that is accepted goes nowhere but down. */
#include <assert.h>
#include <string.h>

#include "admin/web_head.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_part(struct str whole, struct str part)
{
    assert(part.ptr >= whole.ptr && part.ptr + part.len <= whole.ptr + whole.len);
    for (size_t i = 0; i < part.len; i++) {
        unsigned char c = (unsigned char)part.ptr[i];
        assert((c >= ' ' || c == '\t') && c != 0x7f);
    }
}

static void check_head(struct str whole, const struct web_head *head)
{
    check_part(whole, head->method);
    check_part(whole, head->target);
    assert(head->method.len > 0 && head->target.len > 0);
    assert(head->body_bytes <= WEB_BODY_MAX_BYTES && head->field_count <= WEB_MAX_FIELDS);
    for (size_t i = 0; i < head->field_count; i++) {
        check_part(whole, head->fields[i].name);
        check_part(whole, head->fields[i].value);
        assert(str_find(head->fields[i].name, ':') == head->fields[i].name.len);
    }
    assert(web_head_count(head, STR("Content-Length")) <= 1);
    assert(web_head_count(head, STR("Transfer-Encoding")) == 0);
    assert(web_head_count(head, STR("Host")) <= 1);
}

static void check_target(struct str target)
{
    struct str query;
    struct str value;
    struct buf path;

    buf_init(&path, WEB_HEAD_MAX_BYTES);
    if (web_target_parse(target, &path, &query)) {
        const char *text = buf_cstr(&path);
        assert(text[0] == '/' && strlen(text) == path.len);
        assert(strstr(text, "/../") == NULL && !str_ends_with(buf_str(&path), STR("/..")));
        assert(strchr(text, '\\') == NULL && path.len <= target.len);
        value = web_path_without(buf_str(&path), STR("/a"));
        assert(value.len > 0 && value.ptr[0] == '/');
    }
    buf_reset(&path);
    (void)web_query_value(target, STR("a"), &path);
    value = web_cookie(target, STR("a"));
    assert(value.len <= target.len && str_find(value, ';') == value.len);
    buf_clear(&path);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str bytes = {(const char *)data, size};
    struct web_head head;

    size_t end = web_head_find_end(bytes);
    assert(end <= size);
    if (end > 0 && web_head_parse(&head, (struct str){bytes.ptr, end}) == 0) {
        check_head(bytes, &head);
        check_target(head.target);
    }
    check_target(bytes);
    return 0;
}
