/* SHA-256 of bodies: scheduler, worker and signer must agree on it. */
#ifndef FEDPUSH_BASE_DIGEST_H
#define FEDPUSH_BASE_DIGEST_H

#include "base/str.h"

enum { DIGEST_SHA256_BYTES = 32 };

void digest_sha256(struct str body, unsigned char out[DIGEST_SHA256_BYTES]);

#endif
