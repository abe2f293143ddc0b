#include "sig/cavage.h"

#include "base/base64.h"

static const char *const component_names[CAVAGE_COMPONENTS] = {
    [CAVAGE_REQUEST_TARGET] = "(request-target)",
    [CAVAGE_HOST] = "host",
    [CAVAGE_DATE] = "date",
    [CAVAGE_DIGEST] = "digest",
    [CAVAGE_CONTENT_TYPE] = "content-type",
    [CAVAGE_SYNCHRONIZATION] = "collection-synchronization",
};

/* The whole order of each generation; what a request doesn't have is left out of it. */
static const enum cavage_component order_4_2[CAVAGE_COMPONENTS] = {
    CAVAGE_REQUEST_TARGET, CAVAGE_HOST,         CAVAGE_DATE,
    CAVAGE_DIGEST,         CAVAGE_CONTENT_TYPE, CAVAGE_SYNCHRONIZATION,
};
static const enum cavage_component order_4_3[CAVAGE_COMPONENTS] = {
    CAVAGE_HOST,           CAVAGE_DATE, CAVAGE_DIGEST, CAVAGE_CONTENT_TYPE, CAVAGE_SYNCHRONIZATION,
    CAVAGE_REQUEST_TARGET,
};
static const enum cavage_component order_4_7[CAVAGE_COMPONENTS] = {
    CAVAGE_HOST,   CAVAGE_DATE,           CAVAGE_CONTENT_TYPE, CAVAGE_SYNCHRONIZATION,
    CAVAGE_DIGEST, CAVAGE_REQUEST_TARGET,
};

static bool is_covered(enum cavage_component component, enum sign_method method,
                       bool synchronization)
{
    switch (component) {
    case CAVAGE_REQUEST_TARGET:
    case CAVAGE_HOST:
    case CAVAGE_DATE:
        return true;
    case CAVAGE_DIGEST:
    case CAVAGE_CONTENT_TYPE:
        return method == SIGN_POST;
    case CAVAGE_SYNCHRONIZATION:
        return method == SIGN_POST && synchronization;
    case CAVAGE_COMPONENTS:
        break;
    }
    return false;
}

struct cavage_style cavage_style_for(const struct mastodon_version *version,
                                     enum sign_method method, bool synchronization)
{
    struct cavage_style style = {0};
    const enum cavage_component *order = order_4_7;

    if (mastodon_version_compare(version, 4, 3, 0) < 0) {
        order = order_4_2;
        style.without_query = true;
    } else if (mastodon_version_compare(version, 4, 7, 0) < 0) {
        order = order_4_3;
    }
    for (size_t i = 0; i < CAVAGE_COMPONENTS; i++) {
        if (is_covered(order[i], method, synchronization))
            style.covered[style.count++] = order[i];
    }
    return style;
}

static struct str request_value(const struct cavage_style *style,
                                const struct cavage_request *request,
                                enum cavage_component component)
{
    switch (component) {
    case CAVAGE_REQUEST_TARGET:
        return style->without_query
                   ? (struct str){request->target.ptr, str_find(request->target, '?')}
                   : request->target;
    case CAVAGE_HOST:
        return request->host;
    case CAVAGE_DATE:
        return request->date;
    case CAVAGE_DIGEST:
        return request->digest;
    case CAVAGE_CONTENT_TYPE:
        return request->content_type;
    case CAVAGE_SYNCHRONIZATION:
        return request->synchronization;
    case CAVAGE_COMPONENTS:
        break;
    }
    return STR_NULL;
}

static bool is_printable(struct str s, char first)
{
    for (size_t i = 0; i < s.len; i++) {
        if (s.ptr[i] < first || s.ptr[i] > '~')
            return false;
    }
    return true;
}

enum fp_err cavage_check(const struct cavage_style *style, const struct cavage_request *request,
                         struct err *err)
{
    for (size_t i = 0; i < style->count; i++) {
        enum cavage_component component = style->covered[i];
        struct str value = request_value(style, request, component);

        if (value.len == 0 || str_trim(value).len != value.len || !is_printable(value, ' '))
            return err_set(err, FP_INVALID, "the value of %s cannot be signed",
                           component_names[component]);
    }
    /* A blank would end the target early on the request line. */
    if (request->target.len == 0 || request->target.ptr[0] != '/' ||
        !is_printable(request->target, '!'))
        return err_set(err, FP_INVALID, "the request target is not a path");
    return FP_OK;
}

bool cavage_key_id_valid(struct str key_id)
{
    return key_id.len > 0 && is_printable(key_id, '!') && str_find(key_id, '"') == key_id.len &&
           str_find(key_id, '\\') == key_id.len && str_find(key_id, ',') == key_id.len;
}

void cavage_put_signing_string(struct buf *out, const struct cavage_style *style,
                               const struct cavage_request *request)
{
    for (size_t i = 0; i < style->count; i++) {
        enum cavage_component component = style->covered[i];

        if (i > 0)
            buf_put_char(out, '\n');
        buf_put_str(out, str_of(component_names[component]));
        buf_put_str(out, STR(": "));
        if (component == CAVAGE_REQUEST_TARGET)
            buf_put_str(out, request->method == SIGN_POST ? STR("post ") : STR("get "));
        buf_put_str(out, request_value(style, request, component));
    }
}

void cavage_put_header(struct buf *out, const struct cavage_style *style, struct str key_id,
                       const unsigned char *signature, size_t signature_len)
{
    buf_put_str(out, STR("keyId=\""));
    buf_put_str(out, key_id);
    /* No blank after the commas: some parsers split there and don't trim. */
    buf_put_str(out, STR("\",algorithm=\"rsa-sha256\",headers=\""));
    for (size_t i = 0; i < style->count; i++) {
        if (i > 0)
            buf_put_char(out, ' ');
        buf_put_str(out, str_of(component_names[style->covered[i]]));
    }
    buf_put_str(out, STR("\",signature=\""));
    base64_put(out, signature, signature_len);
    buf_put_char(out, '"');
}
