#include "admin/visitor.h"

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "admin/forwarded.h"
#include "base/listen.h"
#include "base/url.h"

static char *without_last_slash(struct str text)
{
    while (text.len > 0 && text.ptr[text.len - 1] == '/')
        text.len--;
    return str_dup(text);
}

static void take_proxies(struct visit_rules *rules, struct str list)
{
    struct str word;

    while ((word = network_next_word(&list)).len > 0) {
        if (str_equal(word, STR("unix")))
            rules->local_proxy = true;
        else if (rules->proxy_count < CONFIG_MAX_TRUSTED_PROXIES &&
                 network_parse(&rules->proxies[rules->proxy_count], word))
            rules->proxy_count++;
    }
}

void visit_rules_init(struct visit_rules *rules, const struct config *config)
{
    struct listen_address address;
    struct url url = {0};
    bool known =
        config->admin_url[0] != '\0' && url_parse(&url, str_of(config->admin_url), NULL) == FP_OK;

    *rules = (struct visit_rules){.origin = str_dup(known ? url.origin : STR_NULL),
                                  .host = str_dup(known ? url.authority : STR_NULL),
                                  .prefix = without_last_slash(known ? url.path : STR_NULL),
                                  .url = without_last_slash(known ? url.text : STR_NULL),
                                  .https = known && url.https};
    if (known)
        url_clear(&url);
    if (listen_parse(&address, str_of(config->admin_listen)))
        rules->port = address.port;
    take_proxies(rules, str_of(config->admin_trusted_proxies));
}

void visit_rules_clear(struct visit_rules *rules)
{
    free(rules->origin);
    free(rules->host);
    free(rules->prefix);
    free(rules->url);
}

static bool is_trusted(const struct visit_rules *rules, int family, const unsigned char *address)
{
    for (size_t i = 0; i < rules->proxy_count; i++) {
        if (network_has(&rules->proxies[i], family, address))
            return true;
    }
    return false;
}

bool visit_is_proxy(const struct visit_rules *rules, const struct web_peer *peer)
{
    return peer->local ? rules->local_proxy : is_trusted(rules, peer->family, peer->address);
}

/* ---- names of ours ---- */

/* "localhost:4480", with our port or, over a Unix socket, any; without one it is port 80. */
static bool is_local_host(const struct visit_rules *rules, struct str host)
{
    static const char *const names[] = {"localhost", "127.0.0.1", "[::1]"};

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        struct str name = str_of(names[i]);
        int64_t port = 80;
        if (host.len < name.len || !str_equal_nocase((struct str){host.ptr, name.len}, name))
            continue;
        struct str rest = str_slice(host, name.len);
        if (rest.len > 0 &&
            (rest.ptr[0] != ':' || !str_to_i64(str_slice(rest, 1), 1, 65535, &port)))
            continue;
        return rules->port == 0 || port == rules->port;
    }
    return false;
}

static bool is_public_host(const struct visit_rules *rules, struct str host)
{
    struct str ours = str_of(rules->host);
    struct str otherwise = rules->https ? STR(":443") : STR(":80");

    if (ours.len == 0)
        return false;
    if (str_equal_nocase(host, ours))
        return true;
    /* The default port may stand there. */
    return host.len == ours.len + otherwise.len && str_ends_with(host, otherwise) &&
           str_equal_nocase((struct str){host.ptr, ours.len}, ours) &&
           (str_find(ours, ':') == ours.len || str_ends_with(ours, STR("]")));
}

static bool is_our_origin(const struct visit_rules *rules, struct str origin)
{
    if (rules->origin[0] != '\0' && str_equal_nocase(origin, str_of(rules->origin)))
        return true;
    return str_starts_with(origin, STR("http://")) &&
           is_local_host(rules, str_slice(origin, sizeof("http://") - 1));
}

bool visitor_came_by_url(const struct visit_rules *rules, const struct web_head *head)
{
    struct str origin = web_head_field(head, STR("Origin"));

    if (rules->origin[0] == '\0')
        return false;
    if (origin.ptr != NULL)
        return str_equal_nocase(origin, str_of(rules->origin));
    return !is_local_host(rules, web_head_field(head, STR("Host")));
}

/* The origin of a Referer: up to its third slash. */
static struct str origin_of(struct str url)
{
    size_t slashes = 0;

    for (size_t i = 0; i < url.len; i++) {
        if (url.ptr[i] == '/' && ++slashes == 3)
            return (struct str){url.ptr, i};
    }
    return url;
}

bool visitor_is_same_origin(const struct visit_rules *rules, const struct web_head *head)
{
    struct str origin = web_head_field(head, STR("Origin"));
    struct str site = web_head_field(head, STR("Sec-Fetch-Site"));
    struct str referer = web_head_field(head, STR("Referer"));

    if (site.ptr != NULL && !str_equal(site, STR("same-origin")))
        return false;
    if (origin.ptr != NULL)
        return is_our_origin(rules, origin);
    if (referer.ptr != NULL)
        return is_our_origin(rules, origin_of(referer));
    return site.ptr != NULL;
}

/* ---- where from ---- */

/* nginx that was told nothing else says nothing of whom it forwards, but speaks HTTP/1.0. */
static bool is_forwarded(const struct web_head *head)
{
    static const struct str prefix = {"X-Forwarded-", sizeof("X-Forwarded-") - 1};

    if (head->old)
        return true;
    for (size_t i = 0; i < head->field_count; i++) {
        struct str name = head->fields[i].name;
        if (str_equal_nocase(name, STR("Forwarded")) || str_equal_nocase(name, STR("X-Real-IP")) ||
            str_equal_nocase(name, STR("Via")) ||
            (name.len >= prefix.len &&
             str_equal_nocase((struct str){name.ptr, prefix.len}, prefix)))
            return true;
    }
    return false;
}

/* Each proxy appends who came to it: the first address from the right that isn't a proxy of ours is
 * the visitor, and what stands left of it is what he says himself. */
static void follow_proxies(struct visitor *visitor, const struct visit_rules *rules,
                           const struct web_head *head)
{
    struct forwarded forwarded;
    unsigned char address[16];
    int family;

    forwarded_begin(&forwarded, head);
    while (forwarded_next(&forwarded, &family, address)) {
        visitor->family = family;
        memcpy(visitor->address, address, sizeof(visitor->address));
        if (!is_trusted(rules, family, address))
            return;
    }
}

void visitor_read(struct visitor *visitor, const struct visit_rules *rules,
                  const struct web_request *request)
{
    const struct web_peer *peer = request->peer;
    struct str host = web_head_field(request->head, STR("Host"));
    bool proxy = visit_is_proxy(rules, peer);

    *visitor = (struct visitor){.family = peer->family,
                                .loopback = peer->loopback && !is_forwarded(request->head)};
    memcpy(visitor->address, peer->address, sizeof(visitor->address));
    if (proxy) {
        struct str forwarded = web_head_field(request->head, STR("X-Forwarded-Host"));
        if (forwarded.ptr != NULL)
            host = forwarded;
        follow_proxies(visitor, rules, request->head);
    }
    visitor->our_host = is_public_host(rules, host) || is_local_host(rules, host);
}
