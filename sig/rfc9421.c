#include "sig/rfc9421.h"

#include <inttypes.h>

#include "base/base64.h"

static bool is_text(struct str value)
{
    for (size_t i = 0; i < value.len; i++) {
        if (value.ptr[i] < '!' || value.ptr[i] > '~')
            return false;
    }
    return value.len > 0;
}

enum fp_err rfc9421_check(const struct rfc9421_request *request, struct err *err)
{
    if (!is_text(request->origin))
        return err_set(err, FP_INVALID, "the origin cannot be signed");
    if (!is_text(request->target) || request->target.ptr[0] != '/')
        return err_set(err, FP_INVALID, "the request target is not a path");
    if (request->method == SIGN_POST && !is_text(request->content_digest))
        return err_set(err, FP_INVALID, "the value of content-digest cannot be signed");
    return FP_OK;
}

static void put_params(struct buf *out, const struct rfc9421_request *request)
{
    buf_put_str(out, request->method == SIGN_POST ? STR("(\"@method\" \"@target-uri\" "
                                                        "\"content-digest\")")
                                                  : STR("(\"@method\" \"@target-uri\")"));
    buf_printf(out, ";created=%" PRId64 ";keyid=\"", request->created_s);
    buf_put_str(out, request->key_id);
    buf_put_char(out, '"');
    if (request->names_algorithm)
        buf_put_str(out, STR(";alg=\"rsa-v1_5-sha256\""));
}

void rfc9421_put_base(struct buf *out, const struct rfc9421_request *request)
{
    buf_put_str(out, STR("\"@method\": "));
    buf_put_str(out, request->method == SIGN_POST ? STR("POST") : STR("GET"));
    buf_put_str(out, STR("\n\"@target-uri\": "));
    buf_put_str(out, request->origin);
    buf_put_str(out, request->target);
    if (request->method == SIGN_POST) {
        buf_put_str(out, STR("\n\"content-digest\": "));
        buf_put_str(out, request->content_digest);
    }
    buf_put_str(out, STR("\n\"@signature-params\": "));
    put_params(out, request);
}

void rfc9421_put_signature_input(struct buf *out, const struct rfc9421_request *request)
{
    buf_put_str(out, STR("sig1="));
    put_params(out, request);
}

void rfc9421_put_signature(struct buf *out, const unsigned char *signature, size_t len)
{
    buf_put_str(out, STR("sig1=:"));
    base64_put(out, signature, len);
    buf_put_char(out, ':');
}
