/*
 * Addresses and networks as settings name them: "10.0.0.0/8", "10.0.0.0/255.0.0.0", "::1". Pure.
 */
#ifndef FEDPUSH_BASE_NETWORK_H
#define FEDPUSH_BASE_NETWORK_H

#include "base/str.h"

struct network {
    int family; /* AF_INET, AF_INET6 */
    unsigned char bytes[16];
    unsigned prefix_bits;
};

/* An address's text, perhaps in brackets. */
bool network_parse_address(struct str text, int *family, unsigned char bytes[16]) FP_MUST_CHECK;
/* "::ffff:192.0.2.1", as a socket of both families has it, becomes the IPv4 address that it is. */
void network_unmap(int *family, unsigned char bytes[16]);
bool network_parse(struct network *network, struct str text) FP_MUST_CHECK;
bool network_has(const struct network *network, int family, const unsigned char *bytes);
/* Takes the next word of a list (commas and blanks between them) off *rest; empty: there is none.
 */
struct str network_next_word(struct str *rest);

#endif
