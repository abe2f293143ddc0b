/*
 * HTTP Message Signatures after RFC 9421 with the Content-Digest of RFC 9530, as Mastodon 4.7 makes
 * them in its second knock: label "sig1", ("@method" "@target-uri" "content-digest"), created and
 * keyid, RSASSA-PKCS1-v1_5 with SHA-256. Pure: values in, signature base and fields out.
 */
#ifndef FEDPUSH_SIG_RFC9421_H
#define FEDPUSH_SIG_RFC9421_H

#include "base/err.h"
#include "base/message.h"
#include "base/str.h"

struct rfc9421_request {
    enum sign_method method;   /* a GET (after a 303) has no content and covers no digest */
    struct str origin;         /* url.origin: lower case, a default port left out */
    struct str target;         /* as on the request line, query included */
    struct str content_digest; /* the field's value; empty for GET */
    int64_t created_s;         /* the time that the Date field says */
    struct str key_id;         /* has passed cavage_key_id_valid: nothing in it needs an escape */
    /*
     * alg="rsa-v1_5-sha256". Mastodon sends none, and a verifier that knows the key needs none. But
     * WordPress takes the size of a key for the hash to use (SHA-384 from 3072 bits, SHA-512 from
     * 4096) unless it is told, so that it is told for keys of more than 2048 bits, and only then.
     */
    bool names_algorithm;
};

/* FP_INVALID naming the component when one is empty or anything but printable ASCII without blanks
 * at its ends: a line break would forge signed lines. */
enum fp_err rfc9421_check(const struct rfc9421_request *request, struct err *err) FP_MUST_CHECK;

/* All append; the request has passed rfc9421_check. The base's last line and Signature-Input say
 * the same bytes. */
void rfc9421_put_base(struct buf *out, const struct rfc9421_request *request);
void rfc9421_put_signature_input(struct buf *out, const struct rfc9421_request *request);
void rfc9421_put_signature(struct buf *out, const unsigned char *signature, size_t len);

#endif
