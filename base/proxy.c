#include "base/proxy.h"

#include <stdlib.h>
#include <string.h>

#include "base/base64.h"
#include "base/secret.h"

enum { MAX_USER_BYTES = 1024 };

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

enum fp_err proxies_init(struct proxies *proxies, const struct config *config, struct err *err)
{
    enum fp_err code;

    *proxies = (struct proxies){0};
    code = proxy_init(&proxies->plain, "http_proxy", str_of(config->http_proxy), err);
    if (code == FP_OK)
        code = proxy_init(&proxies->hidden, "http_hidden_proxy", str_of(config->http_hidden_proxy),
                          err);
    if (code != FP_OK)
        proxies_clear(proxies);
    return code;
}

void proxies_clear(struct proxies *proxies)
{
    proxy_clear(&proxies->plain);
    proxy_clear(&proxies->hidden);
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
