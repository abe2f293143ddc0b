/* What stands in keypairs.private_key: never more than a key may have, whatever is there. */
#include <assert.h>
#include <stdlib.h>

#include "base/secret.h"
#include "sig/encryption.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    static struct encryption *encryption;
    struct buf plain;
    struct err err;

    if (encryption == NULL)
        encryption = encryption_create(STR("fedpush-primary-key-000000000000"),
                                       STR("fedpush-key-derivation-salt-0000"));
    assert(encryption != NULL);
    secret_buf_init(&plain, ENCRYPTION_MAX_PLAIN_BYTES);
    enum fp_err code =
        encryption_open(encryption, (struct str){(const char *)bytes, len}, &plain, &err);
    if (code != FP_OK && plain.len > 0)
        abort();
    if (plain.overflow)
        abort();
    secret_buf_clear(&plain);
    return 0;
}
