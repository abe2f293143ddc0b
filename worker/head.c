#include "worker/head.h"

#include <string.h>

#include "base/url.h"

void head_init(struct head *head, bool keep)
{
    head->keep = keep;
    head->bytes = 0;
    head->lines = 0;
    head->date.len = head->retry_after.len = 0;
    buf_init(&head->location, URL_MAX_BYTES);
    buf_init(&head->text, HEAD_MAX_BYTES);
}

void head_clear(struct head *head)
{
    buf_clear(&head->location);
    buf_clear(&head->text);
}

static void forget(struct head *head)
{
    head->date.len = head->retry_after.len = 0;
    buf_reset(&head->location);
    buf_reset(&head->text);
}

static bool is_field(struct str line, struct str name, struct str *value)
{
    if (line.len <= name.len || !str_equal_nocase((struct str){line.ptr, name.len}, name))
        return false;
    *value = str_trim(str_slice(line, name.len));
    return true;
}

static void set(struct head_field *field, struct str value)
{
    field->len = value.len <= sizeof(field->text) ? value.len : 0;
    if (field->len > 0)
        memcpy(field->text, value.ptr, field->len);
}

bool head_add(struct head *head, struct str line)
{
    struct str value;

    head->bytes += line.len;
    if (head->bytes > HEAD_MAX_BYTES || ++head->lines > HEAD_MAX_LINES)
        return false;
    if (str_starts_with(line, STR("HTTP/")))
        forget(head);
    if (head->keep)
        buf_put_str(&head->text, line);
    if (is_field(line, STR("location:"), &value)) {
        buf_reset(&head->location);
        buf_put_str(&head->location, value);
    } else if (is_field(line, STR("date:"), &value)) {
        set(&head->date, value);
    } else if (is_field(line, STR("retry-after:"), &value)) {
        set(&head->retry_after, value);
    }
    return true;
}

struct str head_field(const struct head_field *field)
{
    return (struct str){field->text, field->len};
}
