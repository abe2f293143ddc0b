#include "sig/scheme.h"

enum { COMMON_KEY_BITS = 2048 };

static struct rfc9421_request rfc9421_of(const struct scheme_request *request)
{
    return (struct rfc9421_request){.method = request->plain.method,
                                    .origin = request->origin,
                                    .target = request->plain.target,
                                    .content_digest = request->plain.digest,
                                    .created_s = request->date_s,
                                    .key_id = request->key_id,
                                    .names_algorithm = request->key_bits > COMMON_KEY_BITS};
}

enum fp_err scheme_put_text(struct buf *out, const struct scheme_request *request, struct err *err)
{
    enum fp_err code;

    if (request->scheme == SCHEME_RFC9421) {
        struct rfc9421_request values = rfc9421_of(request);
        code = rfc9421_check(&values, err);
        if (code == FP_OK)
            rfc9421_put_base(out, &values);
        return code;
    }
    code = cavage_check(&request->style, &request->plain, err);
    if (code == FP_OK)
        cavage_put_signing_string(out, &request->style, &request->plain);
    return code;
}

void scheme_put_fields(struct buf *signature, struct buf *signature_input,
                       const struct scheme_request *request, const unsigned char *bytes, size_t len)
{
    if (request->scheme == SCHEME_RFC9421) {
        struct rfc9421_request values = rfc9421_of(request);
        rfc9421_put_signature(signature, bytes, len);
        rfc9421_put_signature_input(signature_input, &values);
    } else {
        cavage_put_header(signature, &request->style, request->key_id, bytes, len);
    }
}
