#include "admin/forwarded.h"

#include <string.h>
#include <sys/socket.h>

#include "base/network.h"

enum { PORT_DIGITS = 5 };

void forwarded_begin(struct forwarded *forwarded, const struct web_head *head)
{
    bool usual = web_head_count(head, STR("X-Forwarded-For")) > 0;

    *forwarded = (struct forwarded){.head = head,
                                    .name = usual ? STR("X-Forwarded-For") : STR("Forwarded"),
                                    .pairs = !usual,
                                    .fields_left = head->field_count};
}

/* What stands behind the last separator that isn't within quotes, taken off the list. */
static struct str take_last(struct str *list, char separator)
{
    size_t start = list->len;
    bool quoted = false;

    while (start > 0 && (quoted || list->ptr[start - 1] != separator)) {
        start--;
        quoted ^= list->ptr[start] == '"';
    }
    struct str entry = str_trim(str_slice(*list, start));
    list->len = start > 0 ? start - 1 : 0;
    return entry;
}

/* Of an entry in pairs: the value of its only `for`; .ptr is NULL when it isn't that. */
static struct str value_of_for(struct str pairs)
{
    struct str value = STR_NULL;

    while (pairs.len > 0) {
        struct str pair = take_last(&pairs, ';');
        size_t equals = str_find(pair, '=');
        if (!str_equal_nocase((struct str){pair.ptr, equals}, STR("for")) || equals == pair.len)
            continue;
        if (value.ptr != NULL)
            return STR_NULL;
        value = str_slice(pair, equals + 1);
    }
    return value;
}

static struct str without_quotes(struct str text)
{
    bool quoted = text.len >= 2 && text.ptr[0] == '"' && text.ptr[text.len - 1] == '"';
    return quoted ? (struct str){text.ptr + 1, text.len - 2} : text;
}

/* Digits, or a name that hides it: "_x". */
static bool is_port(struct str text)
{
    bool hidden = text.len > 1 && text.ptr[0] == '_';

    for (size_t i = hidden; i < text.len; i++) {
        char c = text.ptr[i];
        bool digit = c >= '0' && c <= '9';
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        if (!digit && !(hidden && (letter || c == '.' || c == '_' || c == '-')))
            return false;
    }
    return text.len > 0 && (hidden || text.len <= PORT_DIGITS);
}

/* An address without its port, and without its brackets; .ptr is NULL when it isn't of that form.
 */
static struct str without_port(struct str node)
{
    bool bracketed = node.len > 0 && node.ptr[0] == '[';
    size_t end = str_find(node, bracketed ? ']' : ':');
    struct str rest = str_slice(node, bracketed ? end + 1 : end);

    /* Without brackets, two colons are an address of IPv6, and no port can be told from it. */
    if (!bracketed && str_find(str_slice(rest, 1), ':') < str_slice(rest, 1).len)
        return node;
    if ((bracketed && end == node.len) ||
        (rest.len > 0 && (rest.ptr[0] != ':' || !is_port(str_slice(rest, 1)))))
        return STR_NULL;
    return bracketed ? (struct str){node.ptr + 1, end - 1} : (struct str){node.ptr, end};
}

static bool parse_node(struct str node, int *family, unsigned char address[16])
{
    struct str text = without_port(node);

    memset(address, 0, 16);
    if (text.len == 0 || !network_parse_address(text, family, address))
        return false;
    network_unmap(family, address);
    return true;
}

bool forwarded_next(struct forwarded *forwarded, int *family, unsigned char address[16])
{
    while (forwarded->list.len == 0) {
        if (forwarded->fields_left == 0)
            return false;
        const struct web_field *field = &forwarded->head->fields[--forwarded->fields_left];
        if (str_equal_nocase(field->name, forwarded->name))
            forwarded->list = field->value;
    }
    struct str entry = take_last(&forwarded->list, ',');
    return parse_node(without_quotes(forwarded->pairs ? value_of_for(entry) : entry), family,
                      address);
}
