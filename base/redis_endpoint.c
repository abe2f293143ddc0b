#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

#include "base/redis.h"
#include "base/secret.h"
#include "base/tls.h"

enum { DEFAULT_PORT = 6379, SENTINEL_PORT = 26379, MAX_DB = 1 << 20 };

/* A new string, or NULL when an escape is broken or stands for a NUL. */
static char *percent_decode(struct str text)
{
    char *out = mem_alloc(text.len + 1);
    size_t len = 0;

    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        if (c == '%') {
            int byte = str_hex_byte(text, i + 1);
            c = byte >= 0 ? (char)byte : '\0';
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
static enum fp_err parse_credentials(char **user_out, char **password_out, struct str userinfo,
                                     struct err *err)
{
    size_t colon = str_find(userinfo, ':');
    struct str user = colon < userinfo.len ? (struct str){userinfo.ptr, colon} : STR_NULL;
    struct str password = colon < userinfo.len ? str_slice(userinfo, colon + 1) : userinfo;

    if (user.len > 0 && (*user_out = percent_decode(user)) == NULL)
        return refuse(err, "bad %-escape in the user");
    if (password.len > 0 && (*password_out = percent_decode(password)) == NULL)
        return refuse(err, "bad %-escape in the password");
    return FP_OK;
}

static enum fp_err parse_userinfo(struct redis_endpoint *endpoint, struct str userinfo,
                                  struct err *err)
{
    return parse_credentials(&endpoint->user, &endpoint->password, userinfo, err);
}

static enum fp_err parse_host_and_port(char **host_out, uint16_t *port_out, struct str text,
                                       int64_t port, struct err *err)
{
    struct str host = text;
    struct str rest;

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
    *host_out = str_dup(host);
    *port_out = (uint16_t)port;
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
        code = parse_host_and_port(&endpoint->host, &endpoint->port, str_slice(authority, at),
                                   DEFAULT_PORT, err);
    return code == FP_OK ? parse_db(endpoint, db, err) : code;
}

static enum fp_err parse_sentinels(struct redis_endpoint *endpoint, struct str list,
                                   struct err *err)
{
    while (list.len > 0) {
        struct redis_place *place = &endpoint->sentinels[endpoint->sentinel_count];
        struct str item = {list.ptr, str_find(list, ',')};
        list = str_slice(list, item.len + 1);
        if (endpoint->sentinel_count == REDIS_MAX_SENTINELS)
            return refuse(err, "more than 16 Sentinels");
        enum fp_err code =
            parse_host_and_port(&place->host, &place->port, str_trim(item), SENTINEL_PORT, err);
        if (code != FP_OK)
            return code;
        endpoint->sentinel_count++;
    }
    return endpoint->sentinel_count > 0 ? FP_OK : refuse(err, "no Sentinel");
}

static enum fp_err parse_sentinel(struct redis_endpoint *endpoint, struct str rest, struct err *err)
{
    struct str query = str_slice(rest, str_find(rest, '?') + 1);
    rest.len = str_find(rest, '?');
    struct str authority = {rest.ptr, str_find(rest, '/')};
    struct str path = str_slice(rest, authority.len + 1);
    struct str master = {path.ptr, str_find(path, '/')};
    size_t at = userinfo_len(authority);
    enum fp_err code = parse_sentinels(endpoint, str_slice(authority, at), err);

    if (code == FP_OK && at > 0)
        code = parse_userinfo(endpoint, (struct str){authority.ptr, at - 1}, err);
    if (code == FP_OK)
        code =
            parse_credentials(&endpoint->sentinel_user, &endpoint->sentinel_password, query, err);
    if (code == FP_OK && (master.len == 0 || (endpoint->master = percent_decode(master)) == NULL))
        code = refuse(err, "no name of a master");
    return code == FP_OK ? parse_db(endpoint, str_slice(path, master.len + 1), err) : code;
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
    else if (str_equal_nocase(scheme, STR("redis+sentinel")))
        code = parse_sentinel(endpoint, rest, err);
    else
        code = refuse(err, "unknown scheme");
    if (code != FP_OK)
        redis_endpoint_clear(endpoint);
    return code;
}

void redis_endpoint_set_certificate(struct redis_endpoint *endpoint, struct str cert_file,
                                    struct str key_file)
{
    free(endpoint->cert_file);
    free(endpoint->key_file);
    endpoint->cert_file = cert_file.len > 0 ? str_dup(cert_file) : NULL;
    endpoint->key_file = key_file.len > 0 ? str_dup(key_file) : NULL;
}

SSL_CTX *redis_endpoint_tls(const struct redis_endpoint *endpoint, const char **problem)
{
    SSL_CTX *context = tls_context_create(endpoint->ca_file);

    *problem = NULL;
    if (context == NULL) {
        *problem = "TLS: no CA certificates can be read; check FEDPUSH_REDIS_CA_FILE";
    } else if (endpoint->cert_file != NULL &&
               !tls_context_add_certificate(context, endpoint->cert_file, endpoint->key_file)) {
        *problem =
            "TLS: no certificate with its key can be read; check FEDPUSH_REDIS_CERT_FILE and "
            "FEDPUSH_REDIS_KEY_FILE";
        SSL_CTX_free(context);
        context = NULL;
    }
    return context;
}

void redis_endpoint_clear(struct redis_endpoint *endpoint)
{
    free(endpoint->unix_path);
    free(endpoint->host);
    free(endpoint->user);
    secret_free(endpoint->password);
    free(endpoint->ca_file);
    free(endpoint->cert_file);
    free(endpoint->key_file);
    free(endpoint->master);
    for (size_t i = 0; i < REDIS_MAX_SENTINELS; i++)
        free(endpoint->sentinels[i].host);
    free(endpoint->sentinel_user);
    secret_free(endpoint->sentinel_password);
    *endpoint = (struct redis_endpoint){0};
}

static bool same(const char *a, const char *b)
{
    return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

bool redis_endpoint_equal(const struct redis_endpoint *a, const struct redis_endpoint *b)
{
    bool equal = a->tls == b->tls && a->port == b->port && a->db == b->db &&
                 same(a->unix_path, b->unix_path) && same(a->host, b->host) &&
                 same(a->user, b->user) && same(a->password, b->password) &&
                 same(a->ca_file, b->ca_file) && same(a->cert_file, b->cert_file) &&
                 same(a->key_file, b->key_file) && same(a->master, b->master) &&
                 a->sentinel_count == b->sentinel_count &&
                 same(a->sentinel_user, b->sentinel_user) &&
                 same(a->sentinel_password, b->sentinel_password);

    for (size_t i = 0; equal && i < a->sentinel_count; i++)
        equal = a->sentinels[i].port == b->sentinels[i].port &&
                same(a->sentinels[i].host, b->sentinels[i].host);
    return equal;
}

static void put_place(struct buf *out, const struct redis_place *place)
{
    bool v6 = strchr(place->host, ':') != NULL;
    buf_printf(out, "%s%s%s:%u", v6 ? "[" : "", place->host, v6 ? "]" : "", place->port);
}

void redis_endpoint_describe(const struct redis_endpoint *endpoint, struct buf *out)
{
    if (endpoint->unix_path != NULL) {
        buf_printf(out, "unix://%s?db=%d", endpoint->unix_path, endpoint->db);
        return;
    }
    if (endpoint->host != NULL) {
        const struct redis_place place = {endpoint->host, endpoint->port};
        buf_printf(out, "%s://", endpoint->tls ? "rediss" : "redis");
        put_place(out, &place);
        buf_printf(out, "/%d", endpoint->db);
        return;
    }
    buf_printf(out, "master %s of the Sentinels ", endpoint->master);
    for (size_t i = 0; i < endpoint->sentinel_count; i++) {
        buf_put_str(out, i > 0 ? STR(", ") : STR_NULL);
        put_place(out, &endpoint->sentinels[i]);
    }
    buf_printf(out, ", database %d", endpoint->db);
}
