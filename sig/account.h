/*
 * A local account with its key, made of what Mastodon's database says of it. Pure.
 *
 * Which key, which key id: up to Mastodon 4.6 accounts.private_key, "<actor URI>#main-key".
 * From 4.7 on the account's row of `keypairs` goes first, "<actor URI>" with its local_fragment
 * (without one: its uri); accounts.private_key is for accounts without such a row, account by
 * account, as they are while Mastodon moves the keys.
 */
#ifndef FEDPUSH_SIG_ACCOUNT_H
#define FEDPUSH_SIG_ACCOUNT_H

#include <sodium.h>

#include "sig/encryption.h"
#include "sig/heap.h"
#include "sig/key.h"

enum { ACCOUNT_FINGERPRINT_BYTES = 32 };

struct account {
    int64_t id;
    char *key_id;
    struct key *key;
    bool suspended; /* its 401s are final; never the instance actor */
    unsigned references;
    unsigned char fingerprint[ACCOUNT_FINGERPRINT_BYTES]; /* of what it was made of */
    /* The keyring's. */
    int64_t read_ms;
    int64_t retry_ms;
    struct account *newer, *older;
};

/* An account found is good until it is given back, even if the keyring has dropped it by then. */
struct account *account_ref(struct account *account);
void account_unref(struct account *account);

/* One row of `accounts`, with its row of `keypairs`; slices are borrowed. */
struct account_row {
    int64_t id;
    struct str username;
    int64_t id_scheme;
    bool local;
    bool suspended;
    struct str pem;   /* accounts.private_key; empty: NULL */
    bool has_keypair; /* Mastodon 4.7: the rest is set, and counts instead of `pem` */
    struct str local_fragment;
    struct str uri;
    struct str sealed; /* keypairs.private_key, encrypted */
};

struct account_maker {
    struct str web_domain;
    unsigned copies; /* threads that sign */
    const struct heap *heap;
    struct encryption *encryption; /* NULL: not configured; keys in `keypairs` can't be read */
    unsigned char fingerprint_key[crypto_generichash_KEYBYTES];
};

/*
 * What tells whether a row still makes the same account (but for its suspension), without parsing
 * or decrypting anything. FP_INVALID: it makes none. FP_UNAVAILABLE: it can't now, as encryption
 * isn't configured. `err` is one line that names the account.
 */
enum fp_err account_fingerprint(const struct account_maker *maker, const struct account_row *row,
                                unsigned char fingerprint[ACCOUNT_FINGERPRINT_BYTES],
                                struct err *err) FP_MUST_CHECK;
/* Of a row with this fingerprint, with one reference. NULL with err filled: FP_INVALID when its key
 * can't be used, FP_UNAVAILABLE when it can't be made now (no memory, wrong encryption key). */
struct account *account_create(const struct account_maker *maker, const struct account_row *row,
                               const unsigned char fingerprint[ACCOUNT_FINGERPRINT_BYTES],
                               struct err *err);

#endif
