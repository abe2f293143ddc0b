/* Base64 as header fields carry it: standard alphabet, padded, in one line. */
#ifndef FEDPUSH_BASE_BASE64_H
#define FEDPUSH_BASE_BASE64_H

#include "base/str.h"

/* Appends. */
void base64_put(struct buf *out, const unsigned char *bytes, size_t len);

#endif
