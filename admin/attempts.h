/*
 * How often a password may be tried: by address, slower with each wrong one, and in total. An IPv6
 * address is its /64, which one visitor has to himself.
 *
 * What counts is the fleet's count (attempts_store.h). This one is the machine's own, for while
 * Redis doesn't answer. Pure: times come in.
 */
#ifndef FEDPUSH_ADMIN_ATTEMPTS_H
#define FEDPUSH_ADMIN_ATTEMPTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    ATTEMPTS_FREE = 5,        /* wrong ones of an address before it has to wait */
    ATTEMPTS_FIRST_MS = 2000, /* then, doubling */
    ATTEMPTS_LONGEST_MS = 900000,
    ATTEMPTS_FORGOTTEN_MS = 3600000, /* after which an address is new again */
    ATTEMPTS_BURST = 20,             /* of all addresses that never got in */
    ATTEMPTS_EACH_MS = 3000,         /* then one each */
    ATTEMPTS_ADDRESSES = 1024,
};

struct attempts_entry {
    bool used;
    bool known; /* got in before: not held up by what others do */
    unsigned wrong;
    int family;
    unsigned char address[16];
    int64_t last_ms;
    int64_t blocked_until_ms;
};

struct attempts {
    double tokens;
    int64_t filled_ms;
    struct attempts_entry entries[ATTEMPTS_ADDRESSES];
};

/* How many bytes of an address are the visitor's own; 0: all of that family are one. */
size_t attempts_address_bytes(int family);
/* All times are monotonic milliseconds. */
void attempts_init(struct attempts *attempts, int64_t now_ms);
/* 0: go on; it counts as wrong until attempts_right. Otherwise how long to wait before the next. */
int64_t attempts_begin(struct attempts *attempts, int family, const unsigned char address[16],
                       int64_t now_ms);
void attempts_right(struct attempts *attempts, int family, const unsigned char address[16],
                    int64_t now_ms);

#endif
