/*
 * Checks a signature of ours as its receiver would: with the public key that the account's actor
 * shows. For tools and their tests; a delivery doesn't pay for it.
 */
#ifndef FEDPUSH_SIG_PROOF_H
#define FEDPUSH_SIG_PROOF_H

#include "sig/cavage.h"

/* `header` is the value that cavage_put_header made for this request. False: it isn't, or
 * `public_pem` is no RSA key, or the signature is another key's. */
bool proof_holds(struct str public_pem, const struct cavage_style *style,
                 const struct cavage_request *request, struct str header);

#endif
