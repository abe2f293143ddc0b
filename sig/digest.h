/* A body's digest as header fields: Digest of RFC 3230 as ActivityPub servers expect it, and
 * Content-Digest of RFC 9530. */
#ifndef FEDPUSH_SIG_DIGEST_H
#define FEDPUSH_SIG_DIGEST_H

#include "base/digest.h"

/* "SHA-256=" or "sha-256=:", 44 characters of padded base64, ":" and the NUL. */
enum { DIGEST_HEADER_BYTES = 9 + 44 + 1 + 1 };

/* One digest, the algorithm in upper case: several receivers compare it byte for byte. */
void digest_header(const unsigned char sha256[DIGEST_SHA256_BYTES], char out[DIGEST_HEADER_BYTES]);
/* The algorithm in lower case: it is a key of a structured dictionary. */
void digest_content_header(const unsigned char sha256[DIGEST_SHA256_BYTES],
                           char out[DIGEST_HEADER_BYTES]);

#endif
