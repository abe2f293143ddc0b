/*
 * An RSA private key, parsed once. It is kept in as many copies as there are threads that sign with
 * it, each made by its thread at its first signature: sharing one costs a tenth of the speed.
 */
#ifndef FEDPUSH_SIG_KEY_H
#define FEDPUSH_SIG_KEY_H

#include "base/digest.h"
#include "base/err.h"
#include "base/str.h"

enum {
    KEY_MIN_BITS = 2048,
    KEY_MAX_BITS = 4096,
    KEY_MAX_PEM_BYTES = 16 * 1024,
    KEY_MAX_SIGNATURE_BYTES = KEY_MAX_BITS / 8,
};

struct key;

/*
 * Reads the first private key of a PEM text: PKCS#1 ("RSA PRIVATE KEY", as Mastodon stores it) or
 * PKCS#8 ("PRIVATE KEY"). Only RSA of KEY_MIN_BITS to KEY_MAX_BITS with an odd public exponent of
 * at least 65537. Never asks for a passphrase. NULL with err filled (the text is never in it):
 * FP_INVALID, or FP_UNAVAILABLE when there was no memory for it. The text remains the caller's, to
 * be wiped. `copies`: how many threads will sign.
 */
struct key *key_create(struct str pem, unsigned copies, struct err *err);
/* No thread may be signing with it any more. NULL is fine. */
void key_destroy(struct key *key);

unsigned key_bits(const struct key *key); /* of its modulus */

/*
 * Signs a SHA-256 (RSASSA-PKCS1-v1_5). `copy` < copies; a copy is one thread's at a time. False
 * when the key can't sign, or there was no memory for the copy.
 */
bool key_sign(struct key *key, unsigned copy, const unsigned char sha256[DIGEST_SHA256_BYTES],
              unsigned char signature[KEY_MAX_SIGNATURE_BYTES], size_t *len) FP_MUST_CHECK;

#endif
