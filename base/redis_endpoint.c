#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

#include "base/redis.h"
#include "base/secret.h"

enum { DEFAULT_PORT = 6379, MAX_DB = 1 << 20 };

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* A new string, or NULL when an escape is broken or stands for a NUL. */
static char *percent_decode(struct str text)
{
    char *out = mem_alloc(text.len + 1);
    size_t len = 0;

    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        if (c == '%') {
            int high = i + 2 < text.len ? hex_digit(text.ptr[i + 1]) : -1;
            int low = high >= 0 ? hex_digit(text.ptr[i + 2]) : -1;
            c = low >= 0 ? (char)(high << 4 | low) : '\0';
            i += 2;
        }
        if (c == '\0') {
            secret_free(out);
            return NULL;
        }
        out[len++] = c;
    }
    return out;
}

/* Nothing of a URL stands in these texts: any part of it may be a password that was misplaced. */
static enum fp_err refuse(struct err *err, const char *what)
{
    return err_set(err, FP_INVALID,
                   "Redis URL: %s; expected redis[s]://[[USER]:PASSWORD@]HOST[:PORT][/DB] or "
                   "unix://PATH[?db=N]",
                   what);
}

/* USER:PASSWORD, :PASSWORD, or, as redis-client reads it, PASSWORD alone. */
static enum fp_err parse_userinfo(struct redis_endpoint *endpoint, struct str userinfo,
                                  struct err *err)
{
    size_t colon = str_find(userinfo, ':');
    struct str user = colon < userinfo.len ? (struct str){userinfo.ptr, colon} : STR_NULL;
    struct str password = colon < userinfo.len ? str_slice(userinfo, colon + 1) : userinfo;

    if (user.len > 0 && (endpoint->user = percent_decode(user)) == NULL)
        return refuse(err, "bad %-escape in the user");
    if (password.len > 0 && (endpoint->password = percent_decode(password)) == NULL)
        return refuse(err, "bad %-escape in the password");
    return FP_OK;
}

static enum fp_err parse_host_and_port(struct redis_endpoint *endpoint, struct str text,
                                       struct err *err)
{
    struct str host = text;
    struct str rest;
    int64_t port = DEFAULT_PORT;

    if (text.len > 0 && text.ptr[0] == '[') {
        size_t end = str_find(text, ']');
        if (end == text.len)
            return refuse(err, "\"]\" is missing");
        host = (struct str){text.ptr + 1, end - 1};
        rest = str_slice(text, end + 1);
    } else {
        host.len = str_find(text, ':');
        rest = str_slice(text, host.len);
    }
    if (host.len == 0)
        return refuse(err, "no host");
    if (rest.len > 0 && (rest.ptr[0] != ':' || !str_to_i64(str_slice(rest, 1), 1, 65535, &port)))
        return refuse(err, "bad port");
    endpoint->host = str_dup(host);
    endpoint->port = (uint16_t)port;
    return FP_OK;
}

static enum fp_err parse_db(struct redis_endpoint *endpoint, struct str digits, struct err *err)
{
    int64_t db = 0;

    if (digits.len > 0 && !str_to_i64(digits, 0, MAX_DB, &db))
        return refuse(err, "bad database number");
    endpoint->db = (int)db;
    return FP_OK;
}

/* Offset behind the last '@', or 0. */
static size_t userinfo_len(struct str authority)
{
    size_t len = authority.len;
    while (len > 0 && authority.ptr[len - 1] != '@')
        len--;
    return len;
}

static enum fp_err parse_tcp(struct redis_endpoint *endpoint, struct str rest, struct err *err)
{
    rest.len = str_find(rest, '?'); /* parameters of Ruby's client */
    struct str authority = {rest.ptr, str_find(rest, '/')};
    struct str db = str_slice(rest, authority.len + 1);
    size_t at = userinfo_len(authority);
    enum fp_err code = FP_OK;

    if (at > 0)
        code = parse_userinfo(endpoint, (struct str){authority.ptr, at - 1}, err);
    if (code == FP_OK)
        code = parse_host_and_port(endpoint, str_slice(authority, at), err);
    return code == FP_OK ? parse_db(endpoint, db, err) : code;
}

static enum fp_err parse_unix(struct redis_endpoint *endpoint, struct str rest, struct err *err)
{
    static const size_t max_path = sizeof(((struct sockaddr_un *)NULL)->sun_path) - 1;
    struct str path = str_slice(rest, str_find(rest, '/'));
    struct str authority = {rest.ptr, rest.len - path.len};
    struct str query = str_slice(path, str_find(path, '?') + 1);
    enum fp_err code = FP_OK;

    path.len = str_find(path, '?');
    if (path.len == 0 || userinfo_len(authority) != authority.len)
        return refuse(err, "no absolute path");
    if (path.len > max_path)
        return refuse(err, "the path of the socket is too long");
    if (authority.len > 0)
        code = parse_userinfo(endpoint, (struct str){authority.ptr, authority.len - 1}, err);
    endpoint->unix_path = str_dup(path);
    if (code == FP_OK && str_starts_with(query, STR("db=")))
        code = parse_db(endpoint, str_slice(query, 3), err);
    return code;
}

enum fp_err redis_endpoint_parse(struct redis_endpoint *endpoint, struct str url,
                                 struct str ca_file, struct err *err)
{
    struct str colon = STR("://");
    size_t at = str_find(url, ':');
    struct str scheme = {url.ptr, at};
    struct str rest = str_slice(url, at + colon.len);
    enum fp_err code;

    *endpoint = (struct redis_endpoint){.tls = str_equal_nocase(scheme, STR("rediss"))};
    for (size_t i = 0; i < url.len; i++) {
        if ((unsigned char)url.ptr[i] <= ' ' || url.ptr[i] == 0x7f)
            return refuse(err, "blank or control character");
    }
    if (!str_starts_with(str_slice(url, at), colon))
        return refuse(err, "no scheme");
    if (ca_file.len > 0)
        endpoint->ca_file = str_dup(ca_file);
    if (str_equal_nocase(scheme, STR("unix")))
        code = parse_unix(endpoint, rest, err);
    else if (endpoint->tls || str_equal_nocase(scheme, STR("redis")))
        code = parse_tcp(endpoint, rest, err);
    else
        code = refuse(err, "unknown scheme");
    if (code != FP_OK)
        redis_endpoint_clear(endpoint);
    return code;
}

void redis_endpoint_clear(struct redis_endpoint *endpoint)
{
    free(endpoint->unix_path);
    free(endpoint->host);
    free(endpoint->user);
    secret_free(endpoint->password);
    free(endpoint->ca_file);
    *endpoint = (struct redis_endpoint){0};
}

static bool same(const char *a, const char *b)
{
    return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

bool redis_endpoint_equal(const struct redis_endpoint *a, const struct redis_endpoint *b)
{
    return a->tls == b->tls && a->port == b->port && a->db == b->db &&
           same(a->unix_path, b->unix_path) && same(a->host, b->host) && same(a->user, b->user) &&
           same(a->password, b->password) && same(a->ca_file, b->ca_file);
}

void redis_endpoint_describe(const struct redis_endpoint *endpoint, struct buf *out)
{
    if (endpoint->unix_path != NULL) {
        buf_printf(out, "unix://%s?db=%d", endpoint->unix_path, endpoint->db);
        return;
    }
    bool v6 = strchr(endpoint->host, ':') != NULL;
    buf_printf(out, "%s://%s%s%s:%u/%d", endpoint->tls ? "rediss" : "redis", v6 ? "[" : "",
               endpoint->host, v6 ? "]" : "", endpoint->port, endpoint->db);
}
