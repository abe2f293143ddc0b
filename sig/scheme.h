/*
 * One request in either signature scheme: the text that is signed, and the header fields that carry
 * the signature. Pure.
 */
#ifndef FEDPUSH_SIG_SCHEME_H
#define FEDPUSH_SIG_SCHEME_H

#include "sig/cavage.h"
#include "sig/rfc9421.h"

/* Strings are borrowed. `plain.digest` is the field's value in that scheme: Digest, or
 * Content-Digest. */
struct scheme_request {
    enum sign_scheme scheme;
    struct cavage_style style;   /* SCHEME_CAVAGE */
    struct cavage_request plain; /* the fields of the request, whatever is covered */
    struct str origin;
    int64_t date_s; /* what plain.date says */
    struct str key_id;
    unsigned key_bits;
};

/* Appends what has to be signed. FP_INVALID when a value can't be part of it. */
enum fp_err scheme_put_text(struct buf *out, const struct scheme_request *request,
                            struct err *err) FP_MUST_CHECK;
/* Append the values of Signature and, unless it is SCHEME_CAVAGE, Signature-Input. The request has
 * passed scheme_put_text. */
void scheme_put_fields(struct buf *signature, struct buf *signature_input,
                       const struct scheme_request *request, const unsigned char *bytes,
                       size_t len);

#endif
