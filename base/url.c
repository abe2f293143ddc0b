#include "base/url.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#include "base/hostname.h"

enum { MAX_HOST_BYTES = 253, MAX_LABEL_BYTES = 63 };

/* Bytes that some receivers encode before they verify, and others don't. */
#define DOUBTFUL " \"<>\\^`{|}"

/* A URL's text taken apart; slices of the input. */
struct parts {
    bool https;
    struct str authority;
    struct str host;  /* brackets included */
    struct str port;  /* digits, or empty */
    struct str path;  /* empty, or from its '/' on */
    struct str query; /* empty, or from its '?' on */
};

static struct str until(struct str s, size_t len)
{
    return (struct str){s.ptr, len < s.len ? len : s.len};
}

/* Offset of the first byte that is in `set`, or the length. */
static size_t find_any(struct str s, const char *set)
{
    size_t at = 0;
    while (at < s.len && (s.ptr[at] == '\0' || strchr(set, s.ptr[at]) == NULL))
        at++;
    return at;
}

static enum fp_err refuse(struct err *err, const char *why)
{
    return err_set(err, FP_INVALID, "URL refused: %s", why);
}

static bool has_control_byte(struct str text)
{
    for (size_t i = 0; i < text.len; i++) {
        if ((unsigned char)text.ptr[i] < 0x20 || text.ptr[i] == 0x7f)
            return true;
    }
    return false;
}

static bool split_scheme(struct str *text, bool *https)
{
    const struct str schemes[] = {STR("http://"), STR("https://")};

    for (size_t i = 0; i < 2; i++) {
        if (str_equal_nocase(until(*text, schemes[i].len), schemes[i])) {
            *https = i == 1;
            *text = str_slice(*text, schemes[i].len);
            return true;
        }
    }
    return false;
}

static bool split_port(struct parts *parts)
{
    struct str rest = parts->authority;
    size_t host_len = str_find(rest, ':');

    if (rest.len > 0 && rest.ptr[0] == '[') {
        host_len = str_find(rest, ']') + 1;
        if (host_len > rest.len)
            return false;
    }
    parts->host = until(rest, host_len);
    rest = str_slice(rest, host_len);
    if (rest.len > 0 && rest.ptr[0] != ':')
        return false;
    parts->port = str_slice(rest, 1);
    return true;
}

static enum fp_err split(struct parts *parts, struct str text, struct err *err)
{
    if (text.len > URL_MAX_BYTES)
        return refuse(err, "longer than 2,048 bytes");
    if (has_control_byte(text))
        return refuse(err, "a control byte");
    if (!split_scheme(&text, &parts->https))
        return refuse(err, "neither https:// nor http://");
    text = until(text, str_find(text, '#'));
    parts->authority = until(text, find_any(text, "/?"));
    text = str_slice(text, parts->authority.len);
    parts->path = until(text, str_find(text, '?'));
    parts->query = str_slice(text, parts->path.len);
    if (str_find(parts->authority, '@') < parts->authority.len)
        return refuse(err, "user name or password");
    if (!split_port(parts))
        return refuse(err, "host and port can't be told apart");
    return FP_OK;
}

static enum fp_err read_port(struct url *url, struct str digits, struct err *err)
{
    uint16_t usual = url->https ? 443 : 80;
    int64_t port = usual;

    if (digits.len > 0 && !str_to_i64(digits, 1, 65535, &port))
        return refuse(err, "a port outside 1 to 65535");
    url->port = (uint16_t)port;
    url->default_port = url->port == usual;
    return FP_OK;
}

static bool is_address(int family, struct str text)
{
    char copy[INET6_ADDRSTRLEN];
    struct in6_addr address; /* the larger one */

    if (text.len >= sizeof(copy) || memchr(text.ptr, '\0', text.len) != NULL)
        return false;
    memcpy(copy, text.ptr, text.len);
    copy[text.len] = '\0';
    return inet_pton(family, copy, &address) == 1;
}

static bool is_label_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
}

/* "1", "0x7f": what resolvers may take for a part of an IPv4 address. */
static bool looks_like_number(struct str label)
{
    size_t at = 0;

    if (str_starts_with(label, STR("0x"))) {
        at = 2;
        while (at < label.len && strchr("0123456789abcdef", label.ptr[at]) != NULL)
            at++;
    } else {
        while (at < label.len && label.ptr[at] >= '0' && label.ptr[at] <= '9')
            at++;
    }
    return at == label.len;
}

/* NULL, or what is wrong with a name in lower-case ASCII. */
static const char *check_name(struct str name)
{
    struct str label;

    if (name.len > MAX_HOST_BYTES)
        return "host longer than 253 bytes";
    for (;;) {
        label = until(name, str_find(name, '.'));
        if (label.len == 0)
            return "an empty label in the host";
        if (label.len > MAX_LABEL_BYTES)
            return "a label of the host longer than 63 bytes";
        for (size_t i = 0; i < label.len; i++) {
            if (!is_label_char(label.ptr[i]))
                return "a byte that no host name has";
        }
        if (label.len == name.len)
            break;
        name = (struct str){name.ptr + label.len + 1, name.len - label.len - 1};
    }
    return looks_like_number(label) ? "a number that is no plain IPv4 address" : NULL;
}

static enum fp_err put_host(struct url *url, struct buf *out, struct str host, struct err *err)
{
    size_t start = out->len;
    const char *wrong;

    if (host.len == 0)
        return refuse(err, "no host");
    if (host.ptr[0] == '[') {
        if (!is_address(AF_INET6, (struct str){host.ptr + 1, host.len - 2}))
            return refuse(err, "no IPv6 address within brackets");
        url->ip_literal = true;
        hostname_put_lower(out, host);
        return FP_OK;
    }
    if (!hostname_to_ascii(host, out))
        return refuse(err, "the host can't be converted to A-labels");
    struct str name = str_slice(buf_str(out), start);
    url->ip_literal = is_address(AF_INET, name);
    wrong = url->ip_literal ? NULL : check_name(name);
    return wrong == NULL ? FP_OK : refuse(err, wrong);
}

/* Existing escapes stay as they are: receivers compare what was signed with what they got. */
static void put_encoded(struct buf *out, struct str text, const char *doubtful)
{
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.ptr[i];
        if (c >= 0x80 || strchr(doubtful, c) != NULL)
            buf_printf(out, "%%%02X", c);
        else
            buf_put_char(out, (char)c);
    }
}

/* Removes "." and ".." segments (RFC 3986, section 5.2.4). */
static void put_path(struct buf *out, struct str path)
{
    size_t start = out->len;

    while (path.len > 0) {
        struct str segment = str_slice(path, 1); /* behind its '/' */
        segment = until(segment, str_find(segment, '/'));
        bool last = segment.len + 1 == path.len;
        bool up = str_equal(segment, STR(".."));
        if (up) {
            while (out->len > start && out->ptr[out->len - 1] != '/')
                out->len--;
            if (out->len > start)
                out->len--;
        }
        if (up || str_equal(segment, STR("."))) {
            if (last)
                buf_put_char(out, '/');
        } else {
            buf_put_char(out, '/');
            put_encoded(out, segment, DOUBTFUL);
        }
        path = str_slice(path, segment.len + 1);
    }
    if (out->len == start)
        buf_put_char(out, '/');
}

static struct str between(const struct buf *text, size_t start, size_t end)
{
    return (struct str){text->ptr + start, end - start};
}

/* Writes the normal form into *text and lets the parts of *url point into it. */
static enum fp_err build(struct url *url, struct buf *text, const struct parts *parts,
                         struct err *err)
{
    buf_put_str(text, url->https ? STR("https://") : STR("http://"));
    size_t host = text->len;
    enum fp_err code = put_host(url, text, parts->host, err);
    if (code != FP_OK)
        return code;
    size_t host_end = text->len;
    if (!url->default_port)
        buf_printf(text, ":%u", url->port);
    size_t target = text->len;
    put_path(text, parts->path);
    size_t path_end = text->len;
    put_encoded(text, parts->query, DOUBTFUL "'"); /* which WHATWG's parsers encode there alone */
    if (text->overflow)
        return refuse(err, "longer than 2,048 bytes when encoded");
    (void)buf_cstr(text); /* so that `text` and `target` end in NUL */
    url->memory = text->ptr;
    url->host = between(text, host, host_end);
    url->authority = between(text, host, target);
    url->origin = between(text, 0, target);
    url->target = between(text, target, text->len);
    url->path = between(text, target, path_end);
    url->text = buf_str(text);
    return FP_OK;
}

enum fp_err url_parse(struct url *url, struct str text, struct err *err)
{
    struct parts parts = {0};
    struct buf normal;
    enum fp_err code;

    *url = (struct url){0};
    code = split(&parts, text, err);
    url->https = parts.https;
    if (code == FP_OK)
        code = read_port(url, parts.port, err);
    if (code != FP_OK)
        return code;
    buf_init(&normal, URL_MAX_BYTES);
    code = build(url, &normal, &parts, err);
    if (code != FP_OK) {
        buf_clear(&normal);
        *url = (struct url){0};
    }
    return code;
}

void url_clear(struct url *url)
{
    free(url->memory);
    *url = (struct url){0};
}
