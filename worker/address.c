#include "worker/address.h"

#include <arpa/inet.h>
#include <string.h>

struct named_range {
    const char *text;
    unsigned prefix_bits;
};

/* Mastodon's PrivateAddressCheck and Ruby's IPAddr private?, loopback?, link_local?. */
static const struct named_range refused_v4[] = {
    {"0.0.0.0", 8},      {"10.0.0.0", 8},     {"100.64.0.0", 10}, {"127.0.0.0", 8},
    {"169.254.0.0", 16}, {"172.16.0.0", 12},  {"192.0.0.0", 24},  {"192.0.2.0", 24},
    {"192.88.99.0", 24}, {"192.168.0.0", 16}, {"198.18.0.0", 15}, {"198.51.100.0", 24},
    {"203.0.113.0", 24}, {"224.0.0.0", 4},    {"240.0.0.0", 4},
};
static const struct named_range refused_v6[] = {
    {"::", 128},    {"::1", 128},      {"64:ff9b::", 96}, {"64:ff9b:1::", 48}, {"100::", 64},
    {"2001::", 32}, {"2001:10::", 28}, {"2001:20::", 28}, {"2001:db8::", 32},  {"2002::", 16},
    {"3fff::", 20}, {"fc00::", 7},     {"fe80::", 10},    {"ff00::", 8},
};

static enum fp_err parse_range(struct network *range, struct str text, struct err *err)
{
    if (network_parse(range, text))
        return FP_OK;
    return err_set(
        err, FP_INVALID,
        "ALLOWED_PRIVATE_ADDRESSES: \"%.*s\" is not an IP address or a range like 10.0.0.0/8",
        STR_ARG(text));
}

enum fp_err address_policy_init(struct address_policy *policy, struct str allowed, struct err *err)
{
    struct str word;

    policy->allowed_count = 0;
    policy->unwrap_compatible = true;
    while ((word = network_next_word(&allowed)).len > 0) {
        if (policy->allowed_count == ADDRESS_MAX_ALLOWED)
            return err_set(err, FP_INVALID, "ALLOWED_PRIVATE_ADDRESSES: more than %d ranges",
                           ADDRESS_MAX_ALLOWED);
        if (parse_range(&policy->allowed[policy->allowed_count], word, err) != FP_OK)
            return FP_INVALID;
        policy->allowed_count++;
    }
    return FP_OK;
}

bool address_unwraps_compatible(const struct mastodon_version *version)
{
    if (version->major == 4 && version->minor == 4)
        return version->patch >= 21;
    if (version->major == 4 && version->minor == 5)
        return version->patch >= 14;
    return mastodon_version_compare(version, 4, 6, 4) >= 0;
}

static bool is_refused(int family, const unsigned char *bytes)
{
    const struct named_range *ranges = family == AF_INET ? refused_v4 : refused_v6;
    size_t count = family == AF_INET ? sizeof(refused_v4) / sizeof(refused_v4[0])
                                     : sizeof(refused_v6) / sizeof(refused_v6[0]);

    for (size_t i = 0; i < count; i++) {
        struct network network = {.family = family, .prefix_bits = ranges[i].prefix_bits};
        if (inet_pton(family, ranges[i].text, network.bytes) == 1 &&
            network_has(&network, family, bytes))
            return true;
    }
    return false;
}

static bool is_listed(const struct address_policy *policy, int family, const unsigned char *bytes)
{
    for (size_t i = 0; i < policy->allowed_count; i++) {
        if (network_has(&policy->allowed[i], family, bytes))
            return true;
    }
    return false;
}

/* An IPv6 address that is an IPv4 address in disguise is judged as what it is. */
static bool unwraps(const struct address_policy *policy, const unsigned char *v6)
{
    static const unsigned char zeros[12];
    static const unsigned char mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

    if (memcmp(v6, mapped, sizeof(mapped)) == 0)
        return true;
    return policy->unwrap_compatible && memcmp(v6, zeros, sizeof(zeros)) == 0 &&
           (v6[12] != 0 || v6[13] != 0 || v6[14] != 0 || v6[15] > 1);
}

bool address_is_allowed(const struct address_policy *policy, const struct dns_address *address)
{
    const unsigned char *bytes = (const unsigned char *)&address->ip;
    int family = address->family;

    if (family != AF_INET && family != AF_INET6)
        return false;
    if (is_listed(policy, family, bytes))
        return true;
    if (family == AF_INET6 && unwraps(policy, bytes)) {
        family = AF_INET;
        bytes += 12;
        if (is_listed(policy, family, bytes))
            return true;
    }
    return !is_refused(family, bytes);
}

bool address_sockaddr_is_allowed(const struct address_policy *policy,
                                 const struct sockaddr *sockaddr)
{
    struct dns_address address = {.family = sockaddr->sa_family};

    if (sockaddr->sa_family == AF_INET) {
        struct sockaddr_in in;
        memcpy(&in, sockaddr, sizeof(in));
        address.ip.v4 = in.sin_addr;
    } else if (sockaddr->sa_family == AF_INET6) {
        struct sockaddr_in6 in6;
        memcpy(&in6, sockaddr, sizeof(in6));
        address.ip.v6 = in6.sin6_addr;
    }
    return address_is_allowed(policy, &address);
}

void address_put(struct buf *out, const struct dns_address *address)
{
    char text[INET6_ADDRSTRLEN] = "";

    inet_ntop(address->family, &address->ip, text, sizeof(text));
    buf_printf(out, address->family == AF_INET6 ? "[%s]" : "%s", text);
}
