#include "base/base64.h"

#include <openssl/evp.h>
#include <stdlib.h>

void base64_put(struct buf *out, const unsigned char *bytes, size_t len)
{
    char *text = mem_alloc(4 * ((len + 2) / 3) + 1);

    EVP_EncodeBlock((unsigned char *)text, bytes, (int)len);
    buf_put_str(out, str_of(text));
    free(text);
}
