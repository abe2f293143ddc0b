#include "admin/web_head.h"

#include <string.h>

static bool is_token(struct str text)
{
    static const char others[] = "!#$%&'*+-.^_`|~";

    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        bool alphanumeric =
            (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        if (!alphanumeric && (c == '\0' || strchr(others, c) == NULL))
            return false;
    }
    return text.len > 0;
}

/* Nothing that a log, a proxy or a terminal could take for something else. */
static bool is_text(struct str text)
{
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.ptr[i];
        if ((c < ' ' && c != '\t') || c == 0x7f)
            return false;
    }
    return true;
}

size_t web_head_find_end(struct str bytes)
{
    const char *end = bytes.len > 0 ? memmem(bytes.ptr, bytes.len, "\r\n\r\n", 4) : NULL;
    return end != NULL ? (size_t)(end - bytes.ptr) + 4 : 0;
}

/* The line before the next CR LF. */
static struct str take_line(struct str *bytes)
{
    const char *end = memmem(bytes->ptr, bytes->len, "\r\n", 2);
    struct str line = {bytes->ptr, end != NULL ? (size_t)(end - bytes->ptr) : bytes->len};

    *bytes = str_slice(*bytes, line.len + 2);
    return line;
}

static int parse_request_line(struct web_head *head, struct str line)
{
    size_t end = str_find(line, ' ');
    head->method = (struct str){line.ptr, end};
    line = str_slice(line, end + 1);
    end = str_find(line, ' ');
    head->target = (struct str){line.ptr, end};
    struct str version = str_slice(line, end + 1);
    if (!is_token(head->method) || head->target.len == 0 || !is_text(head->target))
        return 400;
    head->keep_alive = str_equal(version, STR("HTTP/1.1"));
    head->old = str_equal(version, STR("HTTP/1.0"));
    if (!head->keep_alive && !head->old)
        return str_starts_with(version, STR("HTTP/")) ? 505 : 400;
    return 0;
}

static int parse_field(struct web_head *head, struct str line)
{
    size_t colon = str_find(line, ':');
    struct str name = {line.ptr, colon};

    /* A blank before the colon, or at the start of a line (folding), is no token. */
    if (colon == line.len || !is_token(name) || !is_text(line))
        return 400;
    if (head->field_count == WEB_MAX_FIELDS)
        return 431;
    struct str value = str_trim(str_slice(line, colon + 1));
    if (value.len == 0)
        value = (struct str){line.ptr + line.len, 0}; /* empty is not absent */
    head->fields[head->field_count++] = (struct web_field){name, value};
    return 0;
}

struct str web_head_field(const struct web_head *head, struct str name)
{
    for (size_t i = 0; i < head->field_count; i++) {
        if (str_equal_nocase(head->fields[i].name, name))
            return head->fields[i].value;
    }
    return STR_NULL;
}

size_t web_head_count(const struct web_head *head, struct str name)
{
    size_t count = 0;

    for (size_t i = 0; i < head->field_count; i++)
        count += str_equal_nocase(head->fields[i].name, name);
    return count;
}

/* Whose value must be one, or two parties may act on different ones. */
static bool has_twins(const struct web_head *head)
{
    static const char *const single[] = {"Host",          "Content-Length", "Cookie",
                                         "Authorization", "Origin",         "X-Fedpush-CSRF"};

    for (size_t i = 0; i < sizeof(single) / sizeof(single[0]); i++) {
        if (web_head_count(head, str_of(single[i])) > 1)
            return true;
    }
    return false;
}

static int parse_framing(struct web_head *head)
{
    struct str length = web_head_field(head, STR("Content-Length"));
    struct str connection = web_head_field(head, STR("Connection"));
    int64_t bytes = 0;

    if (web_head_field(head, STR("Transfer-Encoding")).ptr != NULL)
        return 501; /* no client of this API needs it, and it is what requests are smuggled with */
    if (length.ptr != NULL && !str_to_i64(length, 0, INT64_MAX, &bytes))
        return 400;
    if (bytes > WEB_BODY_MAX_BYTES)
        return 413;
    head->body_bytes = (size_t)bytes;
    if (str_equal_nocase(connection, STR("close")))
        head->keep_alive = false;
    return 0;
}

int web_head_parse(struct web_head *head, struct str bytes)
{
    *head = (struct web_head){0};
    int status = parse_request_line(head, take_line(&bytes));
    while (status == 0) {
        struct str line = take_line(&bytes);
        if (line.len == 0)
            break;
        status = parse_field(head, line);
    }
    if (status == 0 && has_twins(head))
        status = 400;
    return status == 0 ? parse_framing(head) : status;
}

/* ---- paths, queries, cookies ---- */

static bool decode(struct str text, bool plus_is_blank, struct buf *out)
{
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        if (c == '%') {
            int byte = str_hex_byte(text, i + 1);
            if (byte < 0)
                return false;
            c = (char)byte;
            i += 2;
        } else if (c == '+' && plus_is_blank) {
            c = ' ';
        }
        buf_put_char(out, c);
    }
    return !out->overflow;
}

static bool is_safe_path(struct str path)
{
    for (size_t i = 0; i < path.len; i++) {
        unsigned char c = (unsigned char)path.ptr[i];
        if (c < ' ' || c == 0x7f || c == '\\')
            return false;
    }
    while (path.len > 0) {
        path = str_slice(path, 1); /* its slash */
        struct str segment = {path.ptr, str_find(path, '/')};
        if (str_equal(segment, STR(".")) || str_equal(segment, STR("..")))
            return false;
        path = str_slice(path, segment.len);
    }
    return true;
}

bool web_target_parse(struct str target, struct buf *path, struct str *query)
{
    size_t question = str_find(target, '?');
    size_t start = path->len;

    *query = str_slice(target, question + 1);
    if (target.len == 0 || target.ptr[0] != '/' ||
        !decode((struct str){target.ptr, question}, false, path))
        return false;
    return is_safe_path(str_slice(buf_str(path), start));
}

struct str web_path_without(struct str path, struct str prefix)
{
    if (prefix.len > 0 && path.len > prefix.len && str_starts_with(path, prefix) &&
        path.ptr[prefix.len] == '/')
        return str_slice(path, prefix.len);
    return path;
}

bool web_query_value(struct str query, struct str name, struct buf *out)
{
    while (query.len > 0) {
        struct str pair = {query.ptr, str_find(query, '&')};
        query = str_slice(query, pair.len + 1);
        size_t equals = str_find(pair, '=');
        if (str_equal((struct str){pair.ptr, equals}, name))
            return decode(str_slice(pair, equals + 1), true, out);
    }
    return false;
}

struct str web_cookie(struct str cookies, struct str name)
{
    while (cookies.len > 0) {
        struct str pair = {cookies.ptr, str_find(cookies, ';')};
        cookies = str_slice(cookies, pair.len + 1);
        pair = str_trim(pair);
        size_t equals = str_find(pair, '=');
        if (equals < pair.len && str_equal((struct str){pair.ptr, equals}, name))
            return str_slice(pair, equals + 1);
    }
    return STR_NULL;
}
