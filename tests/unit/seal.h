/*
 * Makes what Active Record encryption stores, with OpenSSL's functions, in good forms and bad ones.
 */
#ifndef FEDPUSH_TESTS_UNIT_SEAL_H
#define FEDPUSH_TESTS_UNIT_SEAL_H

#include "base/str.h"

#define SEAL_PRIMARY_KEY "fedpush-primary-key-000000000000"
#define SEAL_SALT "fedpush-key-derivation-salt-0000"

struct seal {
    struct str plain;
    bool deflated;
    size_t iv_bytes, tag_bytes;
    const char *more; /* further header members, with a leading comma */
};

char *seal_make(const struct seal *seal); /* free() it */
char *seal_pem(const char *pem);          /* as Mastodon stores it; free() it */

#endif
