/*
 * Active Record encryption (Rails 7 and 8), as Mastodon 4.7 keeps private keys in
 * keypairs.private_key: {"p":ciphertext,"h":{"iv":…,"at":tag,"c":compressed,"e":encoding}}, values
 * in base64, AES-256-GCM, the plaintext deflated when it is longer than 140 bytes. "e" names the
 * Ruby string's encoding and means nothing for a key. Key references ("i") and encrypted data keys
 * ("k") are forms that Mastodon doesn't use: they are refused, as is what isn't encrypted.
 *
 * The key is derived from Mastodon's ACTIVE_RECORD_ENCRYPTION_PRIMARY_KEY and
 * …_KEY_DERIVATION_SALT, both taken as they stand: PBKDF2 with HMAC-SHA256, 65,536 rounds. What an
 * earlier Mastodon wrote may need the key by HMAC-SHA1, which is tried second.
 */
#ifndef FEDPUSH_SIG_ENCRYPTION_H
#define FEDPUSH_SIG_ENCRYPTION_H

#include "base/err.h"
#include "base/str.h"

enum {
    ENCRYPTION_KEY_BYTES = 32,
    ENCRYPTION_ROUNDS = 65536,
    ENCRYPTION_MAX_SEALED_BYTES = 32 * 1024,
    ENCRYPTION_MAX_PLAIN_BYTES = 16 * 1024, /* inflated */
};

struct encryption;

/* Derives both keys (some 40 ms: once a process), into the secure heap where there is one. The
 * texts remain the caller's, to be wiped. NULL when OpenSSL has no memory. */
struct encryption *encryption_create(struct str primary_key, struct str salt);
void encryption_destroy(struct encryption *encryption); /* wipes; NULL is fine */

/*
 * Appends the plaintext to *plain, a secret_buf of ENCRYPTION_MAX_PLAIN_BYTES. Else *plain is as it
 * was and err is filled, with no part of the value:
 *   FP_INVALID  it is nothing that Mastodon wrote
 *   FP_DENIED   it was made with another key, and none fitted yet: the configuration is wrong. Once
 *               a value was opened, another key is that value's fault: FP_INVALID.
 */
enum fp_err encryption_open(struct encryption *encryption, struct str sealed, struct buf *plain,
                            struct err *err) FP_MUST_CHECK;

#endif
