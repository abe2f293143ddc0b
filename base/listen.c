#include "base/listen.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/un.h>

static bool parse_unix(struct listen_address *address, struct str path)
{
    struct sockaddr_un local = {.sun_family = AF_UNIX};

    if (path.len < 2 || path.ptr[0] != '/' || path.len >= sizeof(local.sun_path))
        return false;
    memcpy(local.sun_path, path.ptr, path.len);
    memcpy(address->path, path.ptr, path.len);
    memcpy(&address->address, &local, sizeof(local));
    address->len = sizeof(local);
    return true;
}

static bool parse_ip4(struct listen_address *address, const char *text)
{
    struct sockaddr_in local = {.sin_family = AF_INET, .sin_port = htons(address->port)};

    if (inet_pton(AF_INET, text, &local.sin_addr) != 1)
        return false;
    memcpy(&address->address, &local, sizeof(local));
    address->len = sizeof(local);
    return true;
}

static bool parse_ip6(struct listen_address *address, const char *text)
{
    struct sockaddr_in6 local = {.sin6_family = AF_INET6, .sin6_port = htons(address->port)};

    if (inet_pton(AF_INET6, text, &local.sin6_addr) != 1)
        return false;
    memcpy(&address->address, &local, sizeof(local));
    address->len = sizeof(local);
    return true;
}

bool listen_parse(struct listen_address *address, struct str text)
{
    char host[64] = "";
    int64_t port;

    *address = (struct listen_address){0};
    if (str_starts_with(text, STR("unix:")))
        return parse_unix(address, str_slice(text, 5));
    size_t colon = text.len;
    while (colon > 0 && text.ptr[colon - 1] != ':')
        colon--;
    if (colon < 2 || !str_to_i64(str_slice(text, colon), 1, 65535, &port))
        return false;
    struct str name = {text.ptr, colon - 1};
    bool bracketed = name.len > 2 && name.ptr[0] == '[' && name.ptr[name.len - 1] == ']';
    if (bracketed)
        name = (struct str){name.ptr + 1, name.len - 2};
    if (name.len >= sizeof(host))
        return false;
    memcpy(host, name.ptr, name.len);
    address->port = (uint16_t)port;
    return bracketed ? parse_ip6(address, host) : parse_ip4(address, host);
}
