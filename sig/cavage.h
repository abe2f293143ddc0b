/*
 * HTTP signatures after draft-cavage-http-signatures-12, as Mastodon makes them: rsa-sha256, no
 * (created) or (expires). Pure: values in, signing string and header out.
 */
#ifndef FEDPUSH_SIG_CAVAGE_H
#define FEDPUSH_SIG_CAVAGE_H

#include "base/config.h"
#include "base/err.h"
#include "base/message.h"
#include "base/str.h"

enum cavage_component {
    CAVAGE_REQUEST_TARGET = 0,
    CAVAGE_HOST,
    CAVAGE_DATE,
    CAVAGE_DIGEST,
    CAVAGE_CONTENT_TYPE,
    CAVAGE_SYNCHRONIZATION,
    CAVAGE_COMPONENTS,
};

/* What is covered, in signing order. */
struct cavage_style {
    size_t count;
    enum cavage_component covered[CAVAGE_COMPONENTS];
    bool without_query; /* (request-target) is the path alone: Mastodon up to 4.2 */
};

/* The order of that Mastodon: receivers take any, so this is about being a drop-in. A GET (after a
 * 303) covers host, date and (request-target). */
struct cavage_style cavage_style_for(const struct mastodon_version *version,
                                     enum sign_method method, bool synchronization);

/* The exact values of the request's header fields; those that aren't covered may be empty. */
struct cavage_request {
    enum sign_method method;
    struct str target; /* as on the request line, query included */
    struct str host;   /* with the port when it isn't the default */
    struct str date;
    struct str digest;
    struct str content_type;
    struct str synchronization;
};

/* FP_INVALID naming the field when a covered value is empty, has blanks at its ends or anything but
 * printable ASCII: a line break in a value would forge signed lines. */
enum fp_err cavage_check(const struct cavage_style *style, const struct cavage_request *request,
                         struct err *err) FP_MUST_CHECK;
/* No escape in a key id is understood by all parsers: printable ASCII without '"', '\', ',' and
 * blank, and not empty. */
bool cavage_key_id_valid(struct str key_id);

/* Both append. The request has passed cavage_check, the key id cavage_key_id_valid. */
void cavage_put_signing_string(struct buf *out, const struct cavage_style *style,
                               const struct cavage_request *request);
void cavage_put_header(struct buf *out, const struct cavage_style *style, struct str key_id,
                       const unsigned char *signature, size_t signature_len);

#endif
