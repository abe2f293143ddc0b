/* The Digest header of RFC 3230 as ActivityPub servers expect it. */
#ifndef FEDPUSH_SIG_DIGEST_H
#define FEDPUSH_SIG_DIGEST_H

#include "base/digest.h"

/* "SHA-256=" and 44 characters of padded base64, and the NUL. */
enum { DIGEST_HEADER_BYTES = 8 + 44 + 1 };

/* One digest, the algorithm in upper case: several receivers compare it byte for byte. */
void digest_header(const unsigned char sha256[DIGEST_SHA256_BYTES], char out[DIGEST_HEADER_BYTES]);

#endif
