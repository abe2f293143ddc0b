#include "base/network.h"

#include <arpa/inet.h>
#include <string.h>

static size_t family_bytes(int family)
{
    return family == AF_INET ? 4 : 16;
}

bool network_parse_address(struct str text, int *family, unsigned char bytes[16])
{
    char copy[64];

    if (text.len >= 2 && text.ptr[0] == '[' && text.ptr[text.len - 1] == ']')
        text = (struct str){text.ptr + 1, text.len - 2};
    if (text.len == 0 || text.len >= sizeof(copy))
        return false;
    memcpy(copy, text.ptr, text.len);
    copy[text.len] = '\0';
    *family = strchr(copy, ':') != NULL ? AF_INET6 : AF_INET;
    return inet_pton(*family, copy, bytes) == 1;
}

void network_unmap(int *family, unsigned char bytes[16])
{
    static const unsigned char mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

    if (*family != AF_INET6 || memcmp(bytes, mapped, sizeof(mapped)) != 0)
        return;
    *family = AF_INET;
    memmove(bytes, bytes + 12, 4);
    memset(bytes + 4, 0, 12);
}

/* The bits of a mask like 255.0.0.0; false when ones follow zeros. */
static bool bits_of_mask(const unsigned char *mask, size_t len, unsigned *bits)
{
    *bits = 0;
    while (*bits < len * 8 && (mask[*bits / 8] & 0x80u >> *bits % 8) != 0)
        (*bits)++;
    for (size_t i = *bits; i < len * 8; i++) {
        if ((mask[i / 8] & 0x80u >> i % 8) != 0)
            return false;
    }
    return true;
}

/* What Ruby's IPAddr takes behind the slash: a number of bits, or a mask. */
static bool parse_prefix(struct str text, int family, unsigned *bits)
{
    unsigned char mask[16];
    int64_t number;
    int mask_family;

    if (str_to_i64(text, 0, (int64_t)family_bytes(family) * 8, &number)) {
        *bits = (unsigned)number;
        return true;
    }
    return network_parse_address(text, &mask_family, mask) && mask_family == family &&
           bits_of_mask(mask, family_bytes(family), bits);
}

bool network_parse(struct network *network, struct str text)
{
    size_t slash = str_find(text, '/');

    if (!network_parse_address((struct str){text.ptr, slash}, &network->family, network->bytes))
        return false;
    network->prefix_bits = (unsigned)family_bytes(network->family) * 8;
    return slash == text.len ||
           parse_prefix(str_slice(text, slash + 1), network->family, &network->prefix_bits);
}

bool network_has(const struct network *network, int family, const unsigned char *bytes)
{
    unsigned whole = network->prefix_bits / 8;
    unsigned rest = network->prefix_bits % 8;

    if (family != network->family || memcmp(bytes, network->bytes, whole) != 0)
        return false;
    unsigned mask = rest > 0 ? (0xffu << (8 - rest)) & 0xffu : 0;
    return rest == 0 || ((bytes[whole] ^ network->bytes[whole]) & mask) == 0;
}

static bool is_separator(char c)
{
    return c == ',' || c == ' ' || (c >= '\t' && c <= '\r');
}

struct str network_next_word(struct str *rest)
{
    size_t start = 0;

    while (start < rest->len && is_separator(rest->ptr[start]))
        start++;
    size_t end = start;
    while (end < rest->len && !is_separator(rest->ptr[end]))
        end++;
    struct str word = {rest->ptr + start, end - start};
    *rest = str_slice(*rest, end);
    return word;
}
