#include "base/proxy.h"

#include <stdlib.h>
#include <string.h>

#include "base/base64.h"
#include "base/secret.h"

enum { MAX_USER_BYTES = 1024, PROXY_NAME_MAX_BYTES = 32 };

static enum fp_err refuse(struct err *err, const char *variable)
{
    return err_set(
        err, FP_INVALID,
        "%s: is not a URL like http://proxy.example:3128 (with user:password@ before the "
        "host if the proxy wants them)",
        variable);
}

static bool is_printable(struct str text)
{
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] < '!' || text.ptr[i] > '~')
            return false;
    }
    return true;
}

static char *authorization_of(struct str user)
{
    struct buf header;

    if (str_find(user, ':') == user.len)
        return NULL;
    secret_buf_init(&header, 64 + 2 * MAX_USER_BYTES);
    buf_put_str(&header, STR("Proxy-Authorization: Basic "));
    base64_put(&header, (const unsigned char *)user.ptr, user.len);
    char *text = str_dup(buf_str(&header));
    secret_buf_clear(&header);
    return text;
}

/* Takes "USER@" out of the URL's authority: what is left is a URL like any other. */
static struct str take_user(struct str text, struct buf *rest)
{
    struct str user = STR_NULL;
    size_t scheme = str_find(text, ':') + 3;
    struct str authority = str_slice(text, scheme);
    size_t end = 0;

    while (end < authority.len && strchr("/?#", authority.ptr[end]) == NULL) {
        if (authority.ptr[end] == '@')
            user = (struct str){authority.ptr, end};
        end++;
    }
    buf_put_str(rest, (struct str){text.ptr, text.len - authority.len});
    buf_put_str(rest, user.ptr != NULL ? str_slice(authority, user.len + 1) : authority);
    return user;
}

static enum fp_err proxy_init(struct proxy *proxy, const char *variable, struct str text,
                              struct err *err)
{
    struct buf rest;
    struct str user;

    *proxy = (struct proxy){0};
    if (text.len == 0)
        return FP_OK;
    if (text.len > URL_MAX_BYTES)
        return refuse(err, variable);
    buf_init(&rest, URL_MAX_BYTES);
    user = take_user(text, &rest);
    bool good = user.len <= MAX_USER_BYTES && is_printable(user) &&
                url_parse(&proxy->url, buf_str(&rest), err) == FP_OK;
    buf_clear(&rest);
    if (!good)
        return refuse(err, variable);
    proxy->address = mem_printf("http://%.*s:%u", STR_ARG(proxy->url.host), proxy->url.port);
    proxy->authorization = authorization_of(user);
    return FP_OK;
}

static void proxy_clear(struct proxy *proxy)
{
    url_clear(&proxy->url);
    free(proxy->address);
    secret_free(proxy->authorization);
    *proxy = (struct proxy){0};
}

static bool is_name(struct str name)
{
    for (size_t i = 0; i < name.len; i++) {
        if (strchr("abcdefghijklmnopqrstuvwxyz0123456789-_", name.ptr[i]) == NULL)
            return false;
    }
    return name.len > 0 && name.len <= PROXY_NAME_MAX_BYTES;
}

/* Takes "NAME=URL" off the front. */
static struct str take_named(struct str *list, struct str *url)
{
    size_t end = str_find(*list, ',');
    struct str part = str_trim((struct str){list->ptr, end});
    size_t equals = str_find(part, '=');

    *list = str_slice(*list, end + 1);
    *url = str_slice(part, equals + 1);
    return (struct str){part.ptr, equals};
}

static enum fp_err named_init(struct proxies *proxies, struct str value, struct err *err)
{
    struct buf seen;
    enum fp_err code = FP_OK;

    buf_init(&seen, PROXIES_NAMED_MAX * (PROXY_NAME_MAX_BYTES + 1));
    while (value.len > 0 && code == FP_OK) {
        struct str url;
        struct str name = take_named(&value, &url);
        if (!is_name(name) || url.len == 0 || proxies->named_count == PROXIES_NAMED_MAX ||
            proxy_name_place(buf_str(&seen), name) != 0) {
            code = err_set(err, FP_INVALID,
                           "FEDPUSH_PROXIES: is not a list like tor=http://127.0.0.1:8118,eu=… of "
                           "at most %d proxies, each with a name of its own of a to z, 0 to 9, - "
                           "and _",
                           PROXIES_NAMED_MAX);
            break;
        }
        if (seen.len > 0)
            buf_put_char(&seen, ',');
        buf_put_str(&seen, name);
        code = proxy_init(&proxies->named[proxies->named_count++], "FEDPUSH_PROXIES", url, err);
    }
    buf_clear(&seen);
    return code;
}

enum fp_err proxies_init(struct proxies *proxies, const struct config *config, struct err *err)
{
    enum fp_err code;

    *proxies = (struct proxies){0};
    code = proxy_init(&proxies->plain, "http_proxy", str_of(config->http_proxy), err);
    if (code == FP_OK)
        code = proxy_init(&proxies->hidden, "http_hidden_proxy", str_of(config->http_hidden_proxy),
                          err);
    if (code == FP_OK)
        code = named_init(proxies, str_of(config->proxies), err);
    if (code != FP_OK)
        proxies_clear(proxies);
    return code;
}

void proxies_clear(struct proxies *proxies)
{
    proxy_clear(&proxies->plain);
    proxy_clear(&proxies->hidden);
    for (unsigned i = 0; i < PROXIES_NAMED_MAX; i++)
        proxy_clear(&proxies->named[i]);
    proxies->named_count = 0;
}

bool proxy_host_is_hidden(struct str host)
{
    return str_ends_with(host, STR(".onion")) || str_ends_with(host, STR(".i2p"));
}

const struct proxy *proxy_for(const struct proxies *proxies, struct str host)
{
    if (proxies->hidden.address != NULL && proxy_host_is_hidden(host))
        return &proxies->hidden;
    return proxies->plain.address != NULL ? &proxies->plain : NULL;
}

const struct proxy *proxy_named(const struct proxies *proxies, unsigned place)
{
    return place >= 1 && place <= proxies->named_count ? &proxies->named[place - 1] : NULL;
}

void proxy_put_names(struct buf *out, struct str value)
{
    const char *separator = "";
    struct str url;

    while (value.len > 0) {
        struct str name = take_named(&value, &url);
        buf_printf(out, "%s%.*s", separator, STR_ARG(name));
        separator = ",";
    }
}

unsigned proxy_name_place(struct str names, struct str name)
{
    unsigned place = 1;

    while (names.len > 0) {
        size_t end = str_find(names, ',');
        if (str_equal((struct str){names.ptr, end}, name))
            return place;
        names = str_slice(names, end + 1);
        place++;
    }
    return 0;
}
