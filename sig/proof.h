/*
 * Checks a signature of ours as its receiver would: with the public key that the account's actor
 * shows. For tools and their tests; a delivery doesn't pay for it.
 */
#ifndef FEDPUSH_SIG_PROOF_H
#define FEDPUSH_SIG_PROOF_H

#include "sig/cavage.h"
#include "sig/rfc9421.h"

/* `header` is the value that cavage_put_header made for this request. False: it isn't, or
 * `public_pem` is no RSA key, or the signature is another key's. */
bool proof_holds(struct str public_pem, const struct cavage_style *style,
                 const struct cavage_request *request, struct str header);
/* The same of a signature after RFC 9421: `signature` and `signature_input` are the fields' values.
 * What the request's created_s, key_id and names_algorithm say doesn't count, as a receiver doesn't
 * know them: the field says it. */
bool proof_holds_rfc9421(struct str public_pem, const struct rfc9421_request *request,
                         struct str signature_input, struct str signature);

#endif
